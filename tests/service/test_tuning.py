"""Tuned on what people said: better ones serve, others don't, worse ones go."""

import pytest

from mmbook.data import split_numbers
from mmbook.service.labels import Labels
from mmbook.service.tuning import check, right, same, tune
from mmbook.service.versions import Versions
from mmbook.training import TrainingConfig


@pytest.fixture
def data(tmp_path, folder):
    Versions(tmp_path / "versions").begin(folder)
    return tmp_path


def label(data, scenes, captions, version="1"):
    labels = Labels(data)
    for picture, caption in zip(scenes.images, captions, strict=False):
        labels.add(picture, caption, "said", version)


def test_it_learns_what_was_collected_and_serves(data, scenes):
    label(data, scenes, ["a ring and a star"] * 60)
    config = TrainingConfig(steps=40, batch_size=16, learning_rate=3e-3)
    name, difference = tune(data, config=config)
    assert name == "2" and difference.mean == 1
    versions = Versions(data / "versions")
    assert versions.history() == ["2", "1"]
    _, held = split_numbers(60, 0.3, 0)
    items = [Labels(data).items()[n] for n in held]
    assert right(versions.folder_of("2"), items) == [1.0] * 18


def test_what_learned_nothing_does_not_serve(data, scenes):
    label(data, scenes, ["a ring and a star"] * 20)
    config = TrainingConfig(steps=1, batch_size=4, learning_rate=1e-9)
    name, difference = tune(data, config=config)
    assert name == "2" and difference.sign == 0
    assert Versions(data / "versions").history() == ["1"]


def test_it_is_held_to_what_it_knew_before(data, scenes, folder):
    """A version that learns the labels and forgets the rest isn't better."""
    from mmbook.service.answering import Captioner

    said = Captioner.from_folder(folder).say(list(scenes.images[40:160]))
    known = [{"image": i, "caption": c}
             for i, c in zip(scenes.images[40:160], said, strict=True)]  # fmt: skip
    label(data, scenes, ["a ring"] * 12)
    config = TrainingConfig(steps=30, batch_size=8, learning_rate=3e-3)
    _, difference = tune(data, known, config)
    assert difference.mean < 0.5
    served = Versions(data / "versions").current
    assert (served == "2") == (difference.low > 0)


def test_without_labels_there_is_nothing_to_tune_on(data):
    with pytest.raises(ValueError, match="no labels"):
        tune(data)


def test_a_version_that_turns_out_worse_goes_back(data, scenes, folder):
    from mmbook.service.answering import Captioner

    versions = Versions(data / "versions")
    said = Captioner.from_folder(folder).say(list(scenes.images[:40]))
    other = versions.add(lambda place: make_mute(folder, place))
    versions._point([other, "1"])
    label(data, scenes, said[:29], version=other)
    assert check(data) is None and versions.current == "2"
    label(data, scenes, said, version=other)
    assert check(data).mean == -1
    assert versions.history() == ["1"]
    assert check(data) is None


def make_mute(folder, place):
    """A captioner that says one word, whatever it sees."""
    import torch

    from mmbook.models import MultimodalModel

    model = MultimodalModel.from_pretrained(folder)
    with torch.no_grad():
        model.head.bias[5] += 100
    model.save_pretrained(place)


@pytest.mark.parametrize(
    "said, caption, alike",
    [
        ("a big red ring", "a large red ring", True),
        ("a ring above a star", "a star below a ring", True),
        ("a ring above a star", "a star above a ring", False),
        ("A dog runs.", "a dog runs", True),
        ("a dog runs", "a cat runs", False),
    ],
)
def test_what_means_the_same_is_the_same(said, caption, alike):
    assert same(said, caption) is alike


def test_many_bad_labels_do_not_outvote_what_it_knew(data, scenes, folder):
    from mmbook.service.answering import Captioner

    said = Captioner.from_folder(folder).say(list(scenes.images[120:160]))
    pairs = zip(scenes.images[120:160], said, strict=True)
    known = [{"image": image, "caption": caption} for image, caption in pairs]
    label(data, scenes, ["a ring and a star"] * 120)
    config = TrainingConfig(steps=40, batch_size=16, learning_rate=3e-3)
    _, difference = tune(data, known, config)
    assert difference.sign < 0
    assert Versions(data / "versions").history() == ["1"]
