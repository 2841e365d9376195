"""What must hold for every fusion in the table, also for those yet to come."""

from itertools import combinations

import pytest
import torch

from mmbook.fusion import FUSIONS, fusion
from mmbook.tokens import Tokens

WIDTHS = {"image": 6, "text": 8, "audio": 4}
D = 16
everyone = pytest.mark.parametrize("name", FUSIONS)


def make(name):
    torch.manual_seed(0)
    return fusion(name, widths=WIDTHS, width=D).eval()


def tokens(seed=0, rows=3):
    """Three modalities of different width and length, with padding in two of them."""
    torch.manual_seed(seed)
    values = {n: torch.randn(rows, 3 + i, w) for i, (n, w) in enumerate(WIDTHS.items())}
    lengths = {"image": [2, 3, 1], "text": [4, 2, 1], "audio": [5, 5, 5]}
    masks = {
        name: torch.arange(value.shape[1]) < torch.tensor(lengths[name])[:rows, None]
        for name, value in values.items()
    }
    return {name: Tokens(values[name], masks[name]) for name in WIDTHS}


@everyone
def test_tokens_of_the_promised_width_come_out(name):
    fused = make(name)(tokens())
    assert len(fused) == 3 and fused.width == make(name).width == D
    assert fused.mask.shape == fused.values.shape[:2]
    assert fused.values.isfinite().all()


@everyone
def test_every_parameter_is_saved_and_trained(name):
    module = make(name).train()
    assert set(module.state_dict()) >= {n for n, _ in module.named_parameters()}
    fused = module(tokens())
    (fused.values * fused.mask[..., None]).pow(3).sum().backward()
    for parameter_name, parameter in module.named_parameters():
        if not parameter_name.endswith("key.bias"):  # softmax does not see it
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.abs().max() > 1e-7, parameter_name


@everyone
def test_no_tensor_hides_from_state_dict(name):
    """Factors kept in a plain list are neither saved nor trained: a known mistake."""
    module = make(name)
    saved = {id(value) for value in module.state_dict(keep_vars=True).values()}

    def hidden(value):
        if isinstance(value, torch.Tensor):
            return id(value) not in saved
        if isinstance(value, dict):
            return any(hidden(item) for item in value.values())
        return isinstance(value, list | tuple) and any(hidden(item) for item in value)

    for part in module.modules():
        own = {k: v for k, v in vars(part).items() if not k.startswith("_")}
        assert not hidden(own), own.keys()


@everyone
@pytest.mark.parametrize(
    "given", [c for n in (1, 2) for c in combinations(WIDTHS, n)], ids="+".join
)
def test_a_missing_modality_is_not_an_error(name, given):
    some = {key: value for key, value in tokens().items() if key in given}
    fused = make(name)(some)
    assert fused.values.isfinite().all() and fused.width == D


@everyone
def test_a_modality_of_which_nothing_is_real_gives_no_nan(name):
    given = tokens()
    for modality in WIDTHS:
        hidden = torch.zeros(given[modality].mask.shape, dtype=torch.bool)
        fused = make(name)(given | {modality: Tokens(given[modality].values, hidden)})
        assert fused.pooled().isfinite().all(), modality


@everyone
def test_what_stands_at_padding_changes_nothing(name):
    given, module = tokens(), make(name)
    junk = {
        key: Tokens(part.values.masked_fill(~part.mask[..., None], 50.0), part.mask)
        for key, part in given.items()
    }
    first, second = module(given), module(junk)
    assert torch.equal(first.mask, second.mask)
    real = first.mask
    torch.testing.assert_close(first.values[real], second.values[real])


@everyone
def test_rows_do_not_mix(name):
    given, module = tokens(), make(name)
    alone = {k: Tokens(v.values[1:2], v.mask[1:2]) for k, v in given.items()}
    together = module(given)
    torch.testing.assert_close(module(alone).values[0], together.values[1])


@everyone
def test_the_order_in_the_dictionary_says_nothing(name):
    given, module = tokens(), make(name)
    turned = dict(reversed(given.items()))
    assert torch.equal(module(given).values, module(turned).values)


@everyone
def test_modalities_are_told_apart_by_their_marks(name):
    """The same values with the same projection: only the mark says what they are."""
    module = fusion(name, widths={"left": 4, "right": 4}, width=D)
    module.project["right"].load_state_dict(module.project["left"].state_dict())
    same = Tokens(torch.randn(2, 3, 4))
    left, right = (module.eval()({n: same}).values for n in ("left", "right"))
    assert not torch.allclose(left, right, atol=1e-4)


@everyone
def test_wrong_input_is_named(name):
    module, given = make(name), tokens()
    with pytest.raises(ValueError, match="any of image, text, audio; got nothing"):
        module({})
    with pytest.raises(ValueError, match=r"any of image, text, audio; got.*smell"):
        module({**given, "smell": given["text"]})
    with pytest.raises(ValueError, match=r"image.*width 6.*got.*9"):
        module({"image": Tokens(torch.zeros(2, 3, 9))})
    with pytest.raises(ValueError, match="at least one modality"):
        fusion(name, widths={}, width=D)


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match=r"one of concatenation, .*'magic'"):
        fusion("magic", widths=WIDTHS, width=D)


def test_concatenation_is_all_tokens_behind_each_other():
    given, module = tokens(), make("concatenation")
    fused = module(given)
    assert fused.values.shape == (3, 3 + 4 + 5, D)
    assert fused.mask[:, 3:7].equal(given["text"].mask)
    image = module.project["image"](given["image"].values) + module.mark["image"]
    torch.testing.assert_close(fused.values[:, :3], module.norm(image))


def test_cross_attention_asks_with_the_first_and_hears_the_others():
    given, module = tokens(), make("cross_attention")
    fused = module(given)
    assert fused.values.shape == (3, 3, D) and fused.mask.equal(given["image"].mask)
    louder = given | {"audio": Tokens(given["audio"].values * 2)}
    assert not torch.allclose(module(louder).values, fused.values)
    without = {key: value for key, value in given.items() if key != "image"}
    assert module(without).mask.equal(given["text"].mask)
