"""Looking inside must show what really happened: compared with computations by hand."""

import functools

import pytest
import torch

from mmbook.configuration import Configured
from mmbook.data.render import render
from mmbook.data.scenes import COLOURS, Scene, Thing
from mmbook.encoders import ConvImageEncoder
from mmbook.explain import (
    attention_maps,
    cross_attention,
    occlusion,
    parts,
    word_scores,
)
from mmbook.fusion import Concatenation
from mmbook.generation import generate
from mmbook.heads import ClassificationHead, GenerationHead
from mmbook.models import LanguageModel, MultimodalModel
from mmbook.tokens import Tokens

START, END, PAD = 1, 2, 0


def captioner(norm_first=True, dropout=0.0, encoder=None):
    torch.manual_seed(0)
    head = GenerationHead(
        20,
        width=16,
        layers=2,
        heads=4,
        max_length=10,
        context_width=16,
        norm_first=norm_first,
        dropout=dropout,
    )
    encoder = encoder or ConvImageEncoder(16, size=48, channels=(8, 8))
    return MultimodalModel({"image": encoder}, Concatenation({"image": 16}, 16), head)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return {"image": torch.rand(3, 3, 48, 48, generator=generator)}


@pytest.fixture
def ids():
    return torch.tensor([[5, 7, 9, END], [4, 4, END, PAD], [6, END, PAD, PAD]])


@pytest.mark.parametrize("norm_first", [True, False])
def test_weights_have_the_shape_and_rows_that_sum_to_one(batch, ids, norm_first):
    weights = cross_attention(captioner(norm_first), batch, ids)
    assert weights.shape == (3, 2, 4, 4, 36)
    assert torch.allclose(weights.sum(-1), torch.ones(3, 2, 4, 4), atol=1e-5)
    assert not weights.requires_grad


@torch.no_grad()
def test_first_layer_equals_a_computation_by_hand(batch, ids):
    model = captioner().eval()
    block = model.head.blocks[0]
    tokens = model.encode(batch)
    x = model.head.embedding(model.head.shifted(ids))
    x = x + block.attention(block.attention_norm(x), causal=True)
    query = block.cross.query(block.cross_norm(x))
    keys = block.cross.key(tokens.values)
    weights = cross_attention(model, batch, ids)
    for head in range(4):
        part = slice(4 * head, 4 * head + 4)  # width 16, four heads
        scores = query[..., part] @ keys[..., part].transpose(1, 2) / 4**0.5
        expected = scores.softmax(-1)
        assert torch.allclose(weights[:, 0, head], expected, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("norm_first", [True, False])
def test_output_of_the_last_layer_follows_from_the_weights(batch, ids, norm_first):
    model = captioner(norm_first).eval()
    cross, said = model.head.blocks[-1].cross, []
    handle = cross.register_forward_hook(lambda *call: said.append(call[-1]))
    weights = cross_attention(model, batch, ids)[:, -1]
    handle.remove()
    values = cross.value(model.encode(batch).values)  # (B, N, D)
    values = values.unflatten(-1, (4, 4)).transpose(1, 2)
    mixed = cross.out((weights @ values).transpose(1, 2).flatten(2))
    assert torch.allclose(mixed, said[0], atol=1e-5)


def test_a_row_does_not_know_its_own_word_but_the_next_row_does(batch, ids):
    model = captioner()
    changed = ids.clone()
    changed[:, 1] = 11
    before = cross_attention(model, batch, ids)
    after = cross_attention(model, batch, changed)
    assert torch.equal(before[..., :2, :], after[..., :2, :])
    assert not torch.allclose(before[..., 2, :], after[..., 2, :])


@torch.no_grad()
def test_weights_of_a_generated_word_are_those_of_its_step(batch):
    """Ask for one more word each time, and watch the step that says it."""
    model = captioner().eval()
    head, steps = model.head, 5
    said = generate(model, batch, max_new_tokens=steps)
    weights = cross_attention(model, batch, said)
    tokens = model.encode(batch)
    read = torch.cat([torch.full((3, 1), START), said], dim=1)
    for step in range(said.shape[1]):
        seen = []
        cross = head.blocks[-1].cross
        watch = functools.partial(lambda seen, _, args: seen.append(args), seen)
        handle = cross.register_forward_pre_hook(watch)
        logits = head.decode(read[:, : step + 1], tokens)[:, -1]
        handle.remove()
        open_rows = (said[:, :step] != END).all(1)
        assert torch.equal(logits.argmax(-1)[open_rows], said[open_rows, step])
        asked = cross.weights(*seen[0])[:, :, -1]  # (B, heads, N)
        assert torch.allclose(weights[:, -1, :, step], asked, atol=1e-5)


def test_masked_tokens_get_no_attention(ids):
    class Half(Configured):
        """An encoder of kept features whose second half is padding."""

        def forward(self, image, mask=None):
            return Tokens(image, torch.arange(6).expand(len(image), 6) < 3)

    weights = cross_attention(
        captioner(encoder=Half()), {"image": torch.randn(3, 6, 16)}, ids
    )
    assert torch.all(weights[..., 3:] == 0)
    assert torch.allclose(weights[..., :3].sum(-1), torch.ones(3, 2, 4, 4), atol=1e-5)


def test_model_is_left_as_it_was(batch, ids):
    model = captioner(dropout=0.5).train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    first = cross_attention(model, batch, ids)
    assert torch.equal(first, cross_attention(model, batch, ids))  # no dropout
    assert model.training and model.head.blocks[0].cross.training
    assert not any(module._forward_pre_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_hooks_are_removed_when_the_model_fails(batch):
    model = captioner()
    with pytest.raises(ValueError, match="text may have 10 tokens"):
        cross_attention(model, batch, torch.full((3, 11), 5))
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_labels_can_be_given_instead_of_generated_ids(batch, ids):
    model = captioner()
    labels = ids.masked_fill(ids == PAD, -100)
    assert torch.equal(
        cross_attention(model, batch, ids), cross_attention(model, batch, labels)
    )
    assert torch.equal(
        word_scores(model, batch, ids), word_scores(model, batch, labels)
    )


def test_maps_are_the_mean_laid_out_row_by_row():
    weights = torch.rand(2, 3, 4, 5, 6)
    maps = attention_maps(weights, (2, 3))
    assert maps.shape == (2, 5, 2, 3)
    expected = weights[1, :, :, 4, 5].mean()
    assert torch.allclose(maps[1, 4, 1, 2], expected)


def test_maps_skip_tokens_that_are_not_of_the_picture():
    weights = torch.rand(1, 1, 1, 2, 7)
    maps = attention_maps(weights, (2, 3), first=1)
    assert torch.equal(maps.flatten(), weights[..., 1:].flatten())


@pytest.mark.parametrize("first", [None, 2])
def test_maps_refuse_a_grid_that_does_not_fit(first):
    with pytest.raises(ValueError, match=r"2 × 3 has 6 tokens; the weights have 7"):
        attention_maps(torch.rand(1, 1, 1, 2, 7), (2, 3), first=first)
    with pytest.raises(ValueError, match=r"weights must be \(B, layers"):
        attention_maps(torch.rand(1, 2, 6), (2, 3))


def test_word_scores_add_up_to_the_loss(batch, ids):
    model = captioner().eval()
    labels = ids.masked_fill(ids == PAD, -100)
    loss = model(**batch, labels=labels).loss
    scores = word_scores(model, batch, ids)
    assert torch.allclose(-scores.sum() / (labels != -100).sum(), loss, atol=1e-5)
    assert torch.all(scores[ids == PAD] == 0)


RED, BLUE, OTHER = 3, 4, 5


class Pixels(Configured):
    """The picture's own colours are the tokens."""

    def forward(self, image, mask=None):
        return Tokens(image.flatten(2).transpose(1, 2), mask)


class Untouched(Configured):
    """A fusion of one modality that changes nothing."""

    def forward(self, tokens):
        return tokens["image"]


class ColourHead(GenerationHead):
    """Says a colour in proportion to the pixels that have it, by construction."""

    def decode(self, ids, tokens, cache=None):
        logits = torch.zeros(*ids.shape, 20)
        for word, name in (RED, "red"), (BLUE, "blue"):
            near = (tokens.values - torch.tensor(COLOURS[name])).abs().amax(-1) < 0.1
            logits[..., word] = near.sum(1, keepdim=True) / 20
        return logits


def test_a_colour_word_leans_on_the_thing_that_has_the_colour():
    scene = Scene(
        (
            Thing("circle", "red", "big", 0.25, 0.25),
            Thing("star", "blue", "big", 0.7, 0.7),
        )
    )
    image = render([scene], noise=0)[0]
    head = ColourHead(20, 16, context_width=16)
    model = MultimodalModel({"image": Pixels()}, Untouched(), head)
    drop = occlusion(model, image, torch.tensor([RED, BLUE, END]), 24, 12)
    assert drop.shape == (3, 4, 4)
    red, blue = drop[0], drop[1]
    assert divmod(int(red.argmax()), 4) in {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert divmod(int(blue.argmax()), 4) in {(2, 2), (2, 3), (3, 2)}
    assert red[:2, :2].mean() > 0.5 > red[3].abs().max()
    assert red[3, 3] <= 0  # covering blue makes red no less likely


def test_covering_background_with_background_changes_nothing():
    scene = Scene((Thing("ring", "red", "small", 0.2, 0.2),))
    image = render([scene], noise=0)[0]
    drop = occlusion(captioner(), image, torch.tensor([5, END]), patch=12, stride=12)
    assert drop[:, 2:].abs().max() < 1e-6 and drop[:, :, 2:].abs().max() < 1e-6
    assert drop[:, 0, 0].abs().max() > 1e-4


def test_occlusion_compares_with_the_untouched_picture():
    image = torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(2))
    model, ids, before = captioner(), torch.tensor([5, 6, END, PAD]), image.clone()
    drop = occlusion(model, image, ids, patch=8, stride=8, fill=0.5)
    assert torch.equal(image, before)
    image[:, 16:24, 40:48] = 0.5
    scores = [
        word_scores(model, {"image": x[None]}, ids[None])[0] for x in (before, image)
    ]
    assert torch.allclose(drop[:, 2, 5], scores[0] - scores[1], atol=1e-5)
    assert torch.all(drop[3] == 0)  # padding says nothing


def test_parts_that_were_frozen_in_eval_mode_stay_so(batch, ids):
    model = captioner().train()
    model.encoders.eval()
    cross_attention(model, batch, ids)
    assert model.training and model.head.training and not model.encoders.training


def test_wrong_use_is_explained(batch, ids):
    model = captioner()
    with pytest.raises(ValueError, match="2 sentences for 3 examples"):
        cross_attention(model, batch, ids[:2])
    with pytest.raises(ValueError, match="token numbers"):
        word_scores(model, batch, ids.float())
    with pytest.raises(ValueError, match="takes one picture"):
        occlusion(model, batch["image"], ids[0])
    with pytest.raises(ValueError, match="1 to 48 pixels"):
        occlusion(model, batch["image"][0], ids[0], stride=50)
    blind = MultimodalModel(
        {"image": ConvImageEncoder(16, channels=(8, 8))}, None, GenerationHead(20, 16)
    )
    with pytest.raises(ValueError, match="no cross-attention"):
        cross_attention(blind, batch, ids)
    for wrong in (
        MultimodalModel({}, None, ClassificationHead(16, 2)),
        LanguageModel(GenerationHead(20, 16)),
    ):
        with pytest.raises(TypeError, match="GenerationHead"):
            word_scores(wrong, batch, ids)


def test_parts_are_those_that_ran_with_the_shapes_that_flowed(batch, ids):
    model = captioner()
    found = parts(model, batch | {"labels": ids})
    assert [(p.name, p.kind) for p in found] == [
        ("image encoder", "ConvImageEncoder"),
        ("fusion", "Concatenation"),
        ("head", "GenerationHead"),
    ]
    eyes, joined, head = found
    assert eyes.given == {"image": (3, 3, 48, 48)} and eyes.out == {"out": (3, 36, 16)}
    assert joined.given == {"image": (3, 36, 16)} == {"image": eyes.out["out"]}
    assert head.out == {"out": (3, 4, 20)}
    assert sum(p.parameters for p in found) == sum(
        p.numel() for p in model.parameters()
    )
    assert not any(m._forward_hooks for m in model.modules()) and model.training


def test_parts_leave_no_hooks_behind_when_the_model_fails(batch):
    model = captioner()
    with pytest.raises(ValueError, match="this model reads"):
        parts(model, {"smell": batch["image"]})
    assert not any(m._forward_hooks for m in model.modules())
