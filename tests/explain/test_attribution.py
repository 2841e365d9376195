"""Gradients and occlusion: compared with calculus, differences and computations by hand."""

import pytest
import torch

from mmbook.explain import (
    gradients,
    integrated_gradients,
    occlusion,
    occlusion_maps,
    word_scores,
)
from mmbook.heads import GenerationHead
from mmbook.models import MultimodalModel
from mmbook.saving import Configured
from mmbook.tokens import Tokens
from mmbook.world import COLOURS, Scene, Thing, render

END, PAD = 2, 0


def test_word_scores_add_up_to_the_loss(batch, ids, captioner):
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


def test_a_colour_word_depends_on_the_object_that_has_the_colour():
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


def test_covering_background_with_background_changes_nothing(captioner):
    scene = Scene((Thing("ring", "red", "small", 0.2, 0.2),))
    image = render([scene], noise=0)[0]
    drop = occlusion(captioner(), image, torch.tensor([5, END]), patch=12, stride=12)
    assert drop[:, 2:].abs().max() < 1e-6 and drop[:, :, 2:].abs().max() < 1e-6
    assert drop[:, 0, 0].abs().max() > 1e-4


def test_occlusion_compares_with_the_untouched_picture(captioner):
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


def test_gradients_of_a_model_agree_with_differences(asked, reader, score_of):
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


@pytest.mark.slow
def test_shares_are_complete_for_pictures_and_for_words(asked, reader, score_of):
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


def test_wrong_scores_and_inputs_are_explained(asked, reader, score_of):
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


def test_occlusion_maps_compare_with_the_untouched_picture(asked, reader, score_of):
    score, before = score_of(reader()), asked["image"].clone()
    maps = occlusion_maps(score, asked, patch=8, stride=8, fill=0.5)
    assert maps.shape == (3, 6, 6) and torch.equal(asked["image"], before)
    before[:, :, 16:24, 40:48] = 0.5
    drop = score(asked) - score(asked | {"image": before})
    assert torch.allclose(maps[:, 2, 5], drop, atol=1e-6)


def test_both_occlusions_agree(batch, ids, captioner):
    model = captioner().eval()
    words = occlusion(model, batch["image"][0], ids[0], patch=16, stride=12)
    third = occlusion_maps(
        lambda b: word_scores(model, b, ids[:1])[:, 2],
        {"image": batch["image"][:1]},
        patch=16,
        stride=12,
    )
    assert torch.allclose(third[0], words[2], atol=1e-5)


def test_occlusion_maps_say_what_they_need(asked, reader, score_of):
    score = score_of(reader())
    with pytest.raises(ValueError, match=r"image \(B, 3, H, W\)"):
        occlusion_maps(score, {"image": asked["image"][0]})
    with pytest.raises(ValueError, match="1 to 48 pixels"):
        occlusion_maps(score, asked, stride=50)
