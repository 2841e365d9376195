"""Rendering: range, determinism, the right colours, and equality with a slow twin."""

import math

import pytest
import torch

from mmbook.world import COLOURS, SHAPES, Scene, Thing, render, sample_scenes


def one(shape="circle", colour="red", size="big", x=0.5, y=0.5):
    return Scene((Thing(shape, colour, size, x, y),))


def test_shape_type_and_range():
    pictures = render(sample_scenes(9, 0, (1, 2, 3)), size=40, noise=0.3)
    assert pictures.shape == (9, 3, 40, 40) and pictures.dtype == torch.float32
    assert pictures.min() == 0 and pictures.max() == 1  # much noise, clipped


def test_the_seed_decides():
    scenes = sample_scenes(5, 0)
    assert torch.equal(render(scenes, seed=1), render(scenes, seed=1))
    assert not torch.equal(render(scenes, seed=1), render(scenes, seed=2))
    assert torch.equal(render(scenes, noise=0, seed=1), render(scenes, noise=0, seed=2))


def test_noise_is_as_strong_as_asked_for():
    scenes = [one(size="small")] * 200
    noisy, clean = render(scenes, noise=0.02), render(scenes, noise=0)
    corner = (noisy - clean)[:, 0, :12, :12].flatten(1)  # background only
    assert corner.std(1).mean().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("shape", [s for s in SHAPES if s != "ring"])
@pytest.mark.parametrize("colour", COLOURS)
def test_the_centre_has_the_things_colour(shape, colour):
    picture = render([one(shape, colour, x=0.3, y=0.6)], size=50, noise=0)[0]
    assert picture[:, 30, 15].tolist() == pytest.approx(COLOURS[colour])
    assert picture[:, 49, 49].tolist() == pytest.approx([0.93] * 3)


def test_a_ring_is_hollow():
    picture = render([one("ring", "blue")], size=50, noise=0)[0]
    assert picture[:, 25, 25].tolist() == pytest.approx([0.93] * 3)
    assert picture[:, 25, 25 + round(0.76 * 10)].tolist() == pytest.approx(
        COLOURS["blue"]
    )


def test_y_points_downwards_and_x_to_the_right():
    picture = render([one("square", "black", "small", x=0.8, y=0.2)], noise=0)[0]
    dark = (picture[0] < 0.5).nonzero().float().mean(0) / 48  # (row, column)
    assert dark.tolist() == pytest.approx([0.19, 0.79], abs=0.01)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", ["big", "small"])
def test_a_thing_fills_its_radius_and_stays_within_it(shape, size):
    scene = one(shape, "black", size)
    inside = render([scene], size=200, noise=0)[0, 0] < 0.5
    y, x = ((inside.nonzero() + 0.5) / 200 - 0.5).T
    reach = torch.hypot(x, y).max().item() / scene.things[0].radius
    assert 0.9 < reach < 1.25


def test_a_triangle_and_a_star_stand_upright():
    for shape in ("triangle", "star"):
        ink = 0.93 - render([one(shape, "black")], size=201, noise=0)[0, 0]
        torch.testing.assert_close(ink, ink.flip(1), atol=1e-3, rtol=0)
        widths = (ink > 0.4).sum(1)
        top = widths[widths > 0][:5].float().mean()
        assert top < widths[widths > 0][-5:].float().mean()


def test_many_pictures_at_once_equal_each_alone():
    scenes = sample_scenes(60, 0, (1, 2, 3))
    together = render(scenes, noise=0)
    alone = torch.cat([render([scene], noise=0) for scene in scenes])
    torch.testing.assert_close(together, alone, rtol=0, atol=0)


def test_later_things_are_painted_over_earlier_ones():
    below, above = (Thing("square", c, "big", 0.5, 0.5) for c in ("red", "blue"))
    picture = render([Scene((below, above))], noise=0)[0]
    assert picture[:, 24, 24].tolist() == pytest.approx(COLOURS["blue"])


def test_the_vectorised_picture_equals_a_loop_over_pixels():
    """Circle, square and cross, written down again, one pixel at a time."""

    def distance(thing, x, y):
        x, y, r = abs(x - thing.x), abs(y - thing.y), thing.radius
        if thing.shape == "circle":
            return math.hypot(x, y) - r
        if thing.shape == "square":
            return max(x, y) - 0.85 * r
        return max(max(x, y) - 0.95 * r, min(x, y) - 0.3 * r)

    things = (
        Thing("circle", "red", "big", 0.3, 0.3),
        Thing("cross", "green", "small", 0.7, 0.31),
        Thing("square", "blue", "small", 0.52, 0.77),
    )
    size, picture = 24, []
    for row in range(size):
        for column in range(size):
            pixel = [0.93] * 3
            for thing in things:
                away = distance(thing, (column + 0.5) / size, (row + 0.5) / size) * size
                alpha = min(max(0.5 - away, 0.0), 1.0)
                colour = COLOURS[thing.colour]
                pixel = [
                    p + alpha * (c - p) for p, c in zip(pixel, colour, strict=True)
                ]
            picture.append(pixel)
    slow = torch.tensor(picture).T.reshape(3, size, size)
    torch.testing.assert_close(render([Scene(things)], size, 0)[0], slow)


def test_nothing_to_render_is_named():
    with pytest.raises(ValueError, match="no scenes to render"):
        render([])
