"""What must hold for every fusion in the table, also for those yet to come."""

from itertools import combinations

import pytest
import torch

from mmbook.fusion import FUSIONS, count_operations, fusion
from mmbook.saving import Configured
from mmbook.tokens import Tokens

WIDTHS = {"image": 6, "text": 8, "audio": 4}
D = 16
VARIANTS = {
    "low_rank, one": {"rank": 1},
    "film, deep": {"layers": 3},
    "cross_attention, deep": {"layers": 2, "heads": 2},
    "gated_cross_attention, deep": {"layers": 2, "heads": 2},
    "merged_attention, deep": {"layers": 2, "heads": 2},
    "co_attention, deep": {"layers": 2, "heads": 2},
    "bottleneck, shallow": {"layers": 1, "shared": 1},
    "resampler, other": {"layers": 1, "queries": 3},
    "q_former, other": {"layers": 3, "queries": 3, "text": "audio"},
    "q_former, no text": {"text": "nobody"},
    "multimodal_convolution, causal": {"layers": 1, "window": 4, "causal": True},
    "transformer_xl, deep": {"layers": 3, "heads": 2, "memory": 0},
}
everyone = pytest.mark.parametrize("name", [*FUSIONS, *VARIANTS])
ASKING = (
    "cross_attention",
    "gated_cross_attention",
    "film",
)  # who asks can't be missing in one row alone


def make(name, widths=WIDTHS):
    torch.manual_seed(0)
    method, arguments = name.split(",")[0], VARIANTS.get(name, {})
    return opened(fusion(method, widths=widths, width=D, **arguments).eval())


def opened(module):
    """Gates that begin shut, half open: else nothing behind them could be seen."""
    for key, parameter in module.named_parameters():
        if key.endswith(".gates"):
            torch.nn.init.constant_(parameter, 0.7)
    return module


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
def test_it_comes_back_from_a_folder_with_its_arguments(name, tmp_path):
    module, given = make(name), tokens()
    again = Configured.from_pretrained(module.save_pretrained(tmp_path / "saved"))
    assert type(again) is type(module) and again.to_config() == module.to_config()
    assert again.to_config().items() >= VARIANTS.get(name, {}).items()
    assert torch.equal(again(given).values, module(given).values)


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
        module, nothing = make(name), torch.zeros_like(given[modality].mask)
        fused = module(given | {modality: Tokens(given[modality].values, nothing)})
        assert fused.values.isfinite().all(), modality
        fused.pooled().pow(2).sum().backward()
        for parameter in module.parameters():
            assert parameter.grad is None or parameter.grad.isfinite().all(), modality


@everyone
def test_where_nothing_at_all_is_real_nothing_comes_out(name):
    empty = {
        key: Tokens(part.values, part.mask & torch.tensor([[True], [False], [True]]))
        for key, part in tokens().items()
    }
    for given in (empty, {"text": empty["text"]}):
        fused = make(name)(given)
        assert fused.values.isfinite().all()
        assert fused.mask.any(1).tolist() == [True, False, True]


@pytest.mark.parametrize("modality", WIDTHS)
@pytest.mark.parametrize("name", FUSIONS)
def test_a_modality_of_padding_alone_is_as_good_as_missing(name, modality):
    """Also in some rows only, which lets a training leave it out example by example."""
    if name in ASKING and modality == next(iter(WIDTHS)):
        pytest.skip("the modality that asks gives the tokens that come out")
    given, module = tokens(), make(name)
    row = torch.tensor([[True], [False], [True]])
    part = Tokens(given[modality].values, given[modality].mask & row)
    partly = module(given | {modality: part}).pooled()
    without = module({k: v for k, v in given.items() if k != modality}).pooled()
    torch.testing.assert_close(partly[1], without[1])
    torch.testing.assert_close(partly[::2], module(given).pooled()[::2])


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
    module = make(name, widths={"left": 4, "right": 4})
    module.project["right"].load_state_dict(module.project["left"].state_dict())
    same = Tokens(torch.randn(2, 3, 4))
    left, right = (module({n: same}).values for n in ("left", "right"))
    assert not torch.allclose(left, right, atol=1e-4)


@everyone
def test_one_modality_is_enough_to_make_one(name):
    module = make(name, widths={"image": 6})
    fused = module({"image": tokens()["image"]})
    assert fused.values.isfinite().all() and fused.width == D


@everyone
def test_wrong_input_is_named(name):
    module, given = make(name), tokens()
    with pytest.raises(ValueError, match="any of image, text, audio; got nothing"):
        module({})
    with pytest.raises(ValueError, match=r"any of image, text, audio; got.*smell"):
        module({**given, "smell": given["text"]})
    with pytest.raises(ValueError, match=r"image.*width 6.*got.*9"):
        module({"image": Tokens(torch.zeros(2, 3, 9))})
    with pytest.raises(ValueError, match=r"one batch size; got image 3, text 2"):
        module({"image": given["image"], "text": Tokens(given["text"].values[:2])})
    with pytest.raises(ValueError, match="at least one modality"):
        make(name, widths={})


@pytest.mark.parametrize("argument", ["layers", "rank", "shared", "queries"])
def test_a_number_that_makes_nothing_is_named(argument):
    for name, method in FUSIONS.items():
        if argument in method(WIDTHS, D).to_config():
            with pytest.raises(
                ValueError, match=f"{argument} must be at least 1; got 0"
            ):
                fusion(name, widths=WIDTHS, width=D, **{argument: 0})


@everyone
def test_operations_grow_with_the_batch_and_leave_no_trace(name):
    given, module = tokens(), make(name)
    row = {key: Tokens(part.values[:1], part.mask[:1]) for key, part in given.items()}
    expected = 3 * count_operations(module, row)
    if name.startswith("transformer_xl"):  # the distances are the same for all rows
        expected -= (3 - 1) * len(module.blocks) * 2 * (3 + 4 + 5) * D * D
    assert count_operations(module, given) == expected > 0
    assert all(parameter.grad is None for parameter in module.parameters())


def test_operations_are_those_that_one_counts_by_hand():
    n = {"image": 3, "text": 4, "audio": 5}
    projections = sum(n[name] * width * D for name, width in WIDTHS.items())
    means = sum(width * D for width in WIDTHS.values())
    assert count_operations(make("sum"), tokens()) == 2 * 3 * means
    N = sum(n.values())
    block = N * 4 * D * D + 2 * N * N * D + N * 8 * D * D  # linear, attention, feed
    expected = 2 * 3 * (projections + block)
    assert count_operations(make("merged_attention"), tokens()) == expected


def test_a_mean_vector_is_the_mean_of_the_projected_tokens():
    """Although the mean is projected; and zero where nothing is real."""
    module, given = make("sum"), tokens()
    mask = given["text"].mask & torch.tensor([[True], [False], [True]])
    given["text"] = Tokens(given["text"].values, mask)
    vectors, parts = module.vectors(given), module.aligned(given)
    expected = torch.stack([part.pooled() for part in parts.values()], 1)
    torch.testing.assert_close(vectors.values, expected)
    assert not vectors.values[1, 1].any() and vectors.mask[:, 1].tolist() == [1, 0, 1]


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
