"""Looking inside must show what really happened: compared with computations by hand."""

import functools
import itertools

import pytest
import torch

from mmbook.encoders import ConvImageEncoder, TextEncoder
from mmbook.explain import (
    attention_maps,
    attention_set,
    coalitions,
    cross_attention,
    gradients,
    integrated_gradients,
    occlusion,
    occlusion_maps,
    parts,
    randomised,
    rank_correlation,
    rollout,
    self_attention,
    shapley,
    word_scores,
)
from mmbook.fusion import Concatenation, MergedAttention
from mmbook.generation import generate
from mmbook.heads import ClassificationHead, GenerationHead
from mmbook.models import LanguageModel, MultimodalModel
from mmbook.saving import Configured
from mmbook.tokens import Tokens
from mmbook.world import COLOURS, Scene, Thing, render

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


# --- self-attention, and where it leads ---


def reader(layers=2, dropout=0.0):
    """Reads a picture and words, answers with one of five classes."""
    torch.manual_seed(1)
    eyes = ConvImageEncoder(16, size=48, channels=(8, 8))
    return MultimodalModel(
        {"image": eyes, "text": TextEncoder(20, 16, layers=1)},
        MergedAttention({"image": 16, "text": 16}, 16, layers=layers, dropout=dropout),
        ClassificationHead(16, 5, hidden=8),
    ).eval()


@pytest.fixture
def asked(batch):
    mask = torch.tensor([[True] * 4, [True, True, False, False], [True] * 4])
    return batch | {"text": torch.arange(12).view(3, 4), "text_mask": mask}


def score_of(model, answer=2):
    return lambda batch: model(**batch).logits[:, answer]


@torch.no_grad()
def test_self_attention_is_what_mixed_the_values(asked):
    model = reader()
    layer, said = model.fusion.blocks[1].attention, []
    handle = layer.register_forward_hook(lambda *call: said.append(call))
    weights = self_attention(model.train(), asked)
    handle.remove()
    assert weights.shape == (3, 2, 4, 40, 40) and model.training
    assert torch.allclose(weights.sum(-1), torch.ones(3, 2, 4, 40), atol=1e-5)
    assert torch.all(weights[1, ..., 38:] == 0)  # padding is not looked at
    _, (x,), out = said[0]
    values = layer.value(x).unflatten(-1, (4, 4)).transpose(1, 2)
    mixed = layer.out((weights[:, 1] @ values).transpose(1, 2).flatten(2))
    assert torch.allclose(mixed, out, atol=1e-5)
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_self_attention_of_an_encoder_and_wrong_parts(asked):
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


def test_setting_attention_to_its_own_weights_changes_nothing(asked):
    model = reader()
    layers = [block.attention for block in model.fusion.blocks]
    weights = list(self_attention(model, asked).unbind(1))
    before = model(**asked).logits
    with attention_set(layers, weights):
        assert torch.allclose(model(**asked).logits, before, atol=1e-5)
    even = torch.full((40, 40), 1 / 40, requires_grad=True)
    with attention_set(layers, [even, even]):
        other = model(**asked).logits
    assert not torch.allclose(other, before, atol=1e-3)
    other.sum().backward()
    assert even.grad.abs().sum() > 0
    assert torch.equal(model(**asked).logits, before)


def test_cross_attention_can_be_set(batch, ids):
    model = captioner().eval()
    crosses = [block.cross for block in model.head.blocks]
    weights = list(cross_attention(model, batch, ids).unbind(1))
    labels = ids.masked_fill(ids == PAD, -100)
    before = model(**batch, labels=labels).logits
    with attention_set(crosses, weights):
        after = model(**batch, labels=labels).logits
    assert torch.allclose(after, before, atol=1e-5)


# --- slopes ---


def quadratic(batch):
    """s = xᵀ A x / 2 + b x, of a (B, 3) input; with the slope A x + b."""
    a = torch.tensor([[2.0, 1.0, 0.0], [1.0, -4.0, 3.0], [0.0, 3.0, 6.0]])
    x = batch["x"]
    return ((x @ a) * x).sum(1) / 2 + x @ torch.tensor([1.0, 0.0, -2.0])


X = torch.tensor([[1.0, 2.0, 3.0], [0.0, -1.0, 0.5]])


def test_gradients_of_a_quadratic_by_hand():
    slope = gradients(quadratic, {"x": X}, "x")
    by_hand = torch.tensor([[5.0, 2.0, 22.0], [0.0, 5.5, -2.0]])
    assert torch.allclose(slope, by_hand)
    assert torch.allclose(
        gradients(quadratic, {"x": X}, "x", times_input=True), X * slope
    )


def test_smoothgrad_of_a_quadratic_is_its_gradient_on_average():
    slope = gradients(quadratic, {"x": X}, "x")
    noisy = gradients(quadratic, {"x": X}, "x", noise=0.1, samples=400)
    assert torch.allclose(noisy, slope, atol=0.1) and not torch.equal(noisy, slope)
    again = gradients(quadratic, {"x": X}, "x", noise=0.1, samples=400)
    assert torch.equal(noisy, again)


def test_integrated_gradients_of_a_quadratic_need_one_step():
    start = torch.tensor([0.5, -1.0, 2.0])
    share = integrated_gradients(quadratic, {"x": X}, "x", start, steps=1)
    gain = quadratic({"x": X}) - quadratic({"x": start.expand_as(X)})
    assert torch.allclose(share.sum(1), gain, atol=1e-5)


def test_linear_models_get_their_weights():
    weights = torch.tensor([3.0, -1.0, 0.5])

    def linear(batch):
        return batch["x"] @ weights + 7

    for share in (
        gradients(linear, {"x": X}, "x", times_input=True),
        integrated_gradients(linear, {"x": X}, "x", steps=3),
    ):
        assert torch.allclose(share, X * weights)


def test_the_error_of_completeness_falls_with_the_square_of_the_steps():
    def quartic(batch):
        return (batch["x"] ** 4).sum(1)

    gain = quartic({"x": X.double()})
    errors = [
        (
            integrated_gradients(quartic, {"x": X.double()}, "x", steps=n).sum(1) - gain
        ).abs()
        for n in (4, 8)
    ]
    assert torch.allclose(
        errors[0] / errors[1], torch.full((2,), 4.0).double(), rtol=0.05
    )


def test_gradients_of_a_model_agree_with_differences(asked):
    model = reader().double()
    asked = asked | {"image": asked["image"].double()}
    slope = gradients(score_of(model), asked)
    assert slope.shape == asked["image"].shape
    for place in (0, 1, 20, 33), (2, 0, 5, 47):
        up, down = asked["image"].clone(), asked["image"].clone()
        up[place] += 1e-5
        down[place] -= 1e-5
        with torch.no_grad():
            a, b = (score_of(model)(asked | {"image": x}) for x in (up, down))
        assert torch.allclose((a - b)[place[0]] / 2e-5, slope[place], atol=1e-6)
    assert all(p.grad is None for p in model.parameters())


def test_shares_are_complete_for_pictures_and_for_words(asked):
    model = reader()
    score = score_of(model)
    image = integrated_gradients(score, asked, baseline=0.9, steps=64)
    blank = asked | {"image": torch.full_like(asked["image"], 0.9)}
    gain = score(asked) - score(blank)
    assert torch.allclose(image.flatten(1).sum(1), gain, atol=0.01)
    words = model.encoders["text"].embedding
    share = integrated_gradients(score, asked, words, steps=64)
    assert share.shape == (3, 4, 16)
    handle = words.register_forward_hook(lambda *call: torch.zeros_like(call[-1]))
    silent = score(asked)
    handle.remove()
    assert torch.allclose(share.sum((1, 2)), score(asked) - silent, atol=0.01)
    assert not any(m._forward_hooks for m in model.modules())


def test_what_a_score_does_not_read_has_no_slope():
    batch = {"x": X, "y": X.clone()}
    weight = torch.ones(2, requires_grad=True)  # as models have them
    slope = gradients(lambda b: quadratic(b) * weight, batch, "y")
    assert torch.equal(slope, torch.zeros(2, 3))


def test_wrong_scores_and_inputs_are_explained(asked):
    model = reader()
    with pytest.raises(
        ValueError, match=r"one number for each row, \(3,\); got \(3, 5\)"
    ):
        gradients(lambda b: model(**b).logits, asked)
    with pytest.raises(ValueError, match="give the module that embeds them"):
        gradients(score_of(model), asked, "text")
    with pytest.raises(ValueError, match="got 'smell'"):
        integrated_gradients(score_of(model), asked, "smell")
    with pytest.raises(ValueError, match="score has no gradient"):
        gradients(torch.no_grad()(score_of(model)), asked)
    with pytest.raises(ValueError, match="must run once and give a tensor"):
        gradients(score_of(model), asked, model.encoders["image"])
    with pytest.raises(ValueError, match="steps must be 1 or more"):
        integrated_gradients(score_of(model), asked, steps=0)


# --- occlusion of any score ---


def test_occlusion_maps_compare_with_the_untouched_picture(asked):
    score, before = score_of(reader()), asked["image"].clone()
    maps = occlusion_maps(score, asked, patch=8, stride=8, fill=0.5)
    assert maps.shape == (3, 6, 6) and torch.equal(asked["image"], before)
    before[:, :, 16:24, 40:48] = 0.5
    drop = score(asked) - score(asked | {"image": before})
    assert torch.allclose(maps[:, 2, 5], drop, atol=1e-6)


def test_both_occlusions_agree(batch, ids):
    model = captioner().eval()
    words = occlusion(model, batch["image"][0], ids[0], patch=16, stride=12)
    third = occlusion_maps(
        lambda b: word_scores(model, b, ids[:1])[:, 2],
        {"image": batch["image"][:1]},
        patch=16,
        stride=12,
    )
    assert torch.allclose(third[0], words[2], atol=1e-5)


def test_occlusion_maps_say_what_they_need(asked):
    score = score_of(reader())
    with pytest.raises(ValueError, match=r"image \(B, 3, H, W\)"):
        occlusion_maps(score, {"image": asked["image"][0]})
    with pytest.raises(ValueError, match="1 to 48 pixels"):
        occlusion_maps(score, asked, stride=50)


# --- shares of modalities ---


def subsets(players):
    return [
        frozenset(p for n, p in enumerate(players) if number >> n & 1)
        for number in range(2 ** len(players))
    ]


def game(seed, players="abcd"):
    draw = torch.Generator().manual_seed(seed)
    return {
        s: torch.rand(5, generator=draw, dtype=torch.double) for s in subsets(players)
    }


def test_shapley_is_the_mean_over_all_orders():
    worth = game(0)
    orders = list(itertools.permutations("abcd"))
    share = dict.fromkeys("abcd", 0.0)
    for order in orders:
        for number, player in enumerate(order):
            before = frozenset(order[:number])
            gain = worth[before | {player}] - worth[before]
            share[player] = share[player] + gain / len(orders)
    for player, value in shapley(worth).items():
        assert torch.allclose(value, share[player], atol=1e-9)


def test_shapley_keeps_its_promises():
    worth = game(1)
    total = worth[frozenset("abcd")] - worth[frozenset()]
    assert torch.allclose(sum(shapley(worth).values()), total, atol=1e-6)  # efficiency
    idle = {s: worth[s - {"d"}] for s in worth}
    assert shapley(idle)["d"].abs().max() < 1e-6  # null player
    swap = str.maketrans("ab", "ba")
    same = {s: worth[s] + worth[frozenset(p.translate(swap) for p in s)] for s in worth}
    share = shapley(same)
    assert torch.allclose(share["a"], share["b"], atol=1e-6)  # symmetry
    other = game(2)
    both = shapley({s: worth[s] + 3 * other[s] for s in worth})  # linearity
    expected = shapley(worth)["c"] + 3 * shapley(other)["c"]
    assert torch.allclose(both["c"], expected, atol=1e-6)


def test_two_bits_of_an_exclusive_or_share_alike():
    worth = dict.fromkeys(subsets("ab"), 0.5) | {frozenset("ab"): 1.0}
    assert shapley(worth) == {"a": 0.25, "b": 0.25}


@torch.no_grad()
def test_coalitions_leave_modalities_out_with_their_masks(asked):
    model = reader()
    worth = coalitions(score_of(model), asked | {"labels": torch.zeros(3)}, 0.2)
    assert set(worth) == set(subsets(["image", "text"]))
    assert torch.equal(worth[frozenset()], torch.full((3,), 0.2))
    alone = score_of(model)({"text": asked["text"], "text_mask": asked["text_mask"]})
    assert torch.equal(worth[frozenset({"text"})], alone)
    share = shapley(worth)
    total = score_of(model)(asked) - 0.2
    assert torch.allclose(share["image"] + share["text"], total, atol=1e-6)


def test_of_two_each_gets_half_of_coming_first_and_half_of_coming_second(asked):
    worth = coalitions(score_of(reader()), asked, 0.0)
    image, text = (worth[frozenset({m})] for m in ("image", "text"))
    both = worth[frozenset({"image", "text"})]
    assert torch.allclose(shapley(worth)["image"], (image + both - text) / 2, atol=1e-6)


def test_missing_subsets_and_modalities_are_named():
    with pytest.raises(ValueError, match="the empty one"):
        shapley({frozenset("a"): 1.0})
    with pytest.raises(ValueError, match="a batch with modalities"):
        coalitions(lambda b: b["x"], {"labels": X}, 0.0)


# --- can a map be believed? ---


def test_the_cascade_forgets_part_by_part_and_leaves_the_model_alone(asked):
    model = reader()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    logits = model(**asked).logits
    names = ["head", "fusion.blocks.1", "encoders"]
    generator = torch.random.get_rng_state()
    steps = list(randomised(model, names))
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert [name for name, _ in steps] == names
    for number, (_, forgetful) in enumerate(steps, 1):
        for name, value in forgetful.named_parameters():
            random = name.startswith(tuple(names[:number]))
            same = torch.equal(value, state[name])
            if random and value.ndim > 1:
                assert not same, name
            assert random or same, name
        assert not torch.allclose(forgetful(**asked).logits, logits, atol=1e-3)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    again = [m(**asked).logits for _, m in randomised(model, names)]
    assert torch.equal(again[-1], steps[-1][1](**asked).logits)


def test_the_cascade_names_unknown_parts():
    with pytest.raises(ValueError, match=r"such as .*head.*; got hat"):
        next(randomised(reader(), ["head", "hat"]))


def test_rank_correlation_by_hand():
    a = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]] * 4)
    b = torch.tensor(
        [[2.0, 30, 31, 32, 90], [5, 4, 3, 2, 1], [1, 2, 3, 5, 4], [7, 7, 7, 7, 7]]
    )
    expected = torch.tensor([1.0, -1.0, 0.9, 0.0])
    assert torch.allclose(rank_correlation(a, b), expected)
    assert torch.allclose(rank_correlation(a**3, b), expected)  # only order counts
    ties = rank_correlation(torch.tensor([[0.0, 0, 1]]), torch.tensor([[0.0, 1, 2]]))
    assert torch.allclose(ties, torch.tensor([0.75**0.5]))  # ranks 1.5, 1.5, 3
    with pytest.raises(ValueError, match="of one shape"):
        rank_correlation(a, b[:2])
