"""Attention weights must be those with which the model computed: compared by hand."""

import functools

import pytest
import torch

from mmbook.encoders import ConvImageEncoder
from mmbook.explain import (
    attention_maps,
    cross_attention,
    occlusion,
    replaced_attention,
    rollout,
    self_attention,
    word_scores,
)
from mmbook.generation import generate
from mmbook.heads import ClassificationHead, GenerationHead
from mmbook.models import LanguageModel, MultimodalModel
from mmbook.saving import Configured
from mmbook.tokens import Tokens

START, END, PAD = 1, 2, 0


@pytest.mark.parametrize("norm_first", [True, False])
def test_weights_have_the_shape_and_rows_that_sum_to_one(
    batch, ids, norm_first, captioner
):
    weights = cross_attention(captioner(norm_first), batch, ids)
    assert weights.shape == (3, 2, 4, 4, 36)
    assert torch.allclose(weights.sum(-1), torch.ones(3, 2, 4, 4), atol=1e-5)
    assert not weights.requires_grad


@torch.no_grad()
def test_first_layer_equals_a_computation_by_hand(batch, ids, captioner):
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
def test_output_of_the_last_layer_follows_from_the_weights(
    batch, ids, norm_first, captioner
):
    model = captioner(norm_first).eval()
    cross, said = model.head.blocks[-1].cross, []
    handle = cross.register_forward_hook(lambda *call: said.append(call[-1]))
    weights = cross_attention(model, batch, ids)[:, -1]
    handle.remove()
    values = cross.value(model.encode(batch).values)  # (B, N, D)
    values = values.unflatten(-1, (4, 4)).transpose(1, 2)
    mixed = cross.out((weights @ values).transpose(1, 2).flatten(2))
    assert torch.allclose(mixed, said[0], atol=1e-5)


def test_a_row_does_not_know_its_own_word_but_the_next_row_does(batch, ids, captioner):
    model = captioner()
    changed = ids.clone()
    changed[:, 1] = 11
    before = cross_attention(model, batch, ids)
    after = cross_attention(model, batch, changed)
    assert torch.equal(before[..., :2, :], after[..., :2, :])
    assert not torch.allclose(before[..., 2, :], after[..., 2, :])


@torch.no_grad()
def test_weights_of_a_generated_word_are_those_of_its_step(batch, captioner):
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


def test_masked_tokens_get_no_attention(ids, captioner):
    class Half(Configured):
        """An encoder of kept features whose second half is padding."""

        def forward(self, image, mask=None):
            return Tokens(image, torch.arange(6).expand(len(image), 6) < 3)

    weights = cross_attention(
        captioner(encoder=Half()), {"image": torch.randn(3, 6, 16)}, ids
    )
    assert torch.all(weights[..., 3:] == 0)
    assert torch.allclose(weights[..., :3].sum(-1), torch.ones(3, 2, 4, 4), atol=1e-5)


def test_model_is_left_as_it_was(batch, ids, captioner):
    model = captioner(dropout=0.5).train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    first = cross_attention(model, batch, ids)
    assert torch.equal(first, cross_attention(model, batch, ids))  # no dropout
    assert model.training and model.head.blocks[0].cross.training
    assert not any(module._forward_pre_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_hooks_are_removed_when_the_model_fails(batch, captioner):
    model = captioner()
    with pytest.raises(ValueError, match="text may have 10 tokens"):
        cross_attention(model, batch, torch.full((3, 11), 5))
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_labels_can_be_given_instead_of_generated_ids(batch, ids, captioner):
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


def test_parts_that_were_frozen_in_eval_mode_stay_so(batch, ids, captioner):
    model = captioner().train()
    model.encoders.eval()
    cross_attention(model, batch, ids)
    assert model.training and model.head.training and not model.encoders.training


def test_wrong_use_is_explained(batch, ids, captioner):
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


@torch.no_grad()
def test_self_attention_is_what_mixed_the_values(asked, reader):
    model = reader()
    layer, said = model.fusion.blocks[1].attention, []
    handle = layer.register_forward_hook(lambda *call: said.append(call))
    weights = self_attention(model.train(), asked)
    handle.remove()
    assert weights.shape == (3, 2, 4, 40, 40) and model.training
    assert torch.allclose(weights.sum(-1), torch.ones(3, 2, 4, 40), atol=1e-5)
    assert torch.all(weights[1, ..., 38:] == 0)  # padding is not looked at
    _, (x, *_), out = said[0]
    values = layer.value(x).unflatten(-1, (4, 4)).transpose(1, 2)
    mixed = layer.out((weights[:, 1] @ values).transpose(1, 2).flatten(2))
    assert torch.allclose(mixed, out, atol=1e-5)
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_self_attention_of_an_encoder_and_wrong_parts(asked, reader):
    model = reader()
    inside = self_attention(model, asked, model.encoders["text"])
    assert inside.shape == (3, 1, 4, 4, 4)
    with pytest.raises(ValueError, match="ConvImageEncoder has no self-attention"):
        self_attention(model, asked, model.encoders["image"])
    with pytest.raises(ValueError, match="as many tokens"):
        self_attention(model, asked, model)


def test_rollout_of_two_layers_by_hand():
    first = torch.tensor([[0.0, 1.0], [0.5, 0.5]])
    second = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    weights = torch.stack([first, second])[None, :, None]
    expected = torch.tensor([[0.5, 0.5], [0.375, 0.625]])
    assert torch.allclose(rollout(weights)[0], expected)
    assert torch.allclose(rollout(weights, kept=0.0)[0], second @ first)
    assert torch.allclose(rollout(weights, kept=1.0)[0], torch.eye(2))


def test_rollout_is_a_distribution_and_wants_square_weights():
    rolled = rollout(torch.rand(2, 3, 4, 6, 6).softmax(-1))
    assert torch.allclose(rolled.sum(-1), torch.ones(2, 6), atol=1e-5)
    with pytest.raises(ValueError, match="as self_attention gives them"):
        rollout(torch.rand(2, 3, 4, 5, 6))


def test_setting_attention_to_its_own_weights_changes_nothing(asked, reader):
    model = reader()
    layers = [block.attention for block in model.fusion.blocks]
    weights = list(self_attention(model, asked).unbind(1))
    before = model(**asked).logits
    with replaced_attention(layers, weights):
        assert torch.allclose(model(**asked).logits, before, atol=1e-5)
    even = torch.full((40, 40), 1 / 40, requires_grad=True)
    with replaced_attention(layers, [even, even]):
        other = model(**asked).logits
    assert not torch.allclose(other, before, atol=1e-3)
    other.sum().backward()
    assert even.grad.abs().sum() > 0
    assert torch.equal(model(**asked).logits, before)


def test_cross_attention_can_be_set(batch, ids, captioner):
    model = captioner().eval()
    crosses = [block.cross for block in model.head.blocks]
    weights = list(cross_attention(model, batch, ids).unbind(1))
    labels = ids.masked_fill(ids == PAD, -100)
    before = model(**batch, labels=labels).logits
    with replaced_attention(crosses, weights):
        after = model(**batch, labels=labels).logits
    assert torch.allclose(after, before, atol=1e-5)
