"""From items to batches: shapes, padding, and what is said of wrong ones."""

import pytest
import torch

from mmbook.data import (
    Collate,
    end_token,
    stack_audio,
    stack_images,
    start_token,
    token_ids,
)
from mmbook.world import (
    CaptionedScenes,
    describe,
    is_complete,
    render,
    sample_scenes,
    scene_tokenizer,
)

IGNORED = -100
TOKENIZER = scene_tokenizer()


def word(text):
    return TOKENIZER.convert_tokens_to_ids(text)


def test_captioned_scenes_hold_pictures_and_true_captions():
    scenes = sample_scenes(5, 0)
    data = CaptionedScenes(scenes, style="varied", size=32)
    item = data[3]
    assert len(data) == 5 and data.scenes == scenes
    assert item["image"].shape == (3, 32, 32) and item["image"].dtype == torch.uint8
    assert item["index"] == 3 and is_complete(item["caption"], scenes[3])
    clean = CaptionedScenes(scenes, noise=0, size=32)[3]["image"].float() / 255
    assert (clean - render([scenes[3]], 32, 0)[0]).abs().max() < 1 / 255


def test_captioned_scenes_are_the_same_for_the_same_seed():
    scenes = sample_scenes(300, 0)  # more than are rendered at once
    first, again = (CaptionedScenes(scenes, "varied", size=8, seed=1) for _ in range(2))
    other = CaptionedScenes(scenes, "varied", size=8, seed=2)
    assert torch.equal(first.images, again.images) and first.captions == again.captions
    assert not torch.equal(first.images, other.images)
    assert first.captions != other.captions
    assert describe(scenes[299]) == CaptionedScenes(scenes, size=8)[299]["caption"]


def test_a_batch_of_captions():
    data = CaptionedScenes(sample_scenes(8, 0))
    batch = Collate(TOKENIZER)([data[i] for i in range(8)])
    assert set(batch) == {"image", "labels"}
    assert (
        batch["image"].shape == (8, 3, 48, 48) and batch["image"].dtype == torch.float32
    )
    assert 0 <= batch["image"].min() and batch["image"].max() <= 1
    for row, caption in zip(batch["labels"], data.captions, strict=True):
        real = row[row != IGNORED]
        assert TOKENIZER.decode(real[:-1]) == caption
        assert real[-1] == TOKENIZER.eos_token_id
        assert (row[len(real) :] == IGNORED).all()  # padding stands behind


def test_text_is_read_with_a_mask_and_without_an_end():
    batch = Collate(TOKENIZER)([{"text": "a star"}, {"text": "a big red star"}])
    assert batch["text_mask"].tolist() == [[True, True, False, False], [True] * 4]
    assert batch["text"][0].tolist() == [word("a"), word("star"), 0, 0]
    assert batch["text"][1].tolist() == [word(w) for w in "a big red star".split()]


def test_labels_are_class_numbers():
    batch = Collate()([{"label": 2}, {"label": 0}])
    assert batch["labels"].tolist() == [2, 0] and batch["labels"].dtype == torch.long


def test_a_question_with_an_answer_has_both():
    items = [
        {"text": "a star", "caption": "red"},
        {"text": "a ring", "caption": "blue"},
    ]
    batch = Collate(TOKENIZER)(items)
    assert batch["text"].shape == batch["labels"].shape == (2, 2)


@pytest.mark.parametrize("kind", ["text", "caption"])
def test_long_sentences_are_cut_and_short_ones_padded(kind):
    items = [{kind: "a big red star above a ring"}, {kind: "a ring"}]
    key = "text" if kind == "text" else "labels"
    cut = Collate(TOKENIZER, max_length=4)(items)[key]
    assert cut.shape == (2, 4)
    if kind == "caption":
        assert cut[0, 3] == TOKENIZER.eos_token_id
    padded = Collate(TOKENIZER, pad_to=12)(items)[key]
    assert padded.shape == (2, 12)


def test_images_float_stay_and_features_are_kept():
    floats = [torch.rand(3, 4, 4), torch.rand(3, 4, 4)]
    assert torch.equal(stack_images(floats), torch.stack(floats))
    features = [torch.rand(5, 7).half()] * 2
    assert stack_images(features).shape == (2, 5, 7)
    assert stack_images(features).dtype == torch.float32
    bright = stack_images([torch.full((3, 2, 2), 255, dtype=torch.uint8)])
    assert torch.equal(bright, torch.ones(1, 3, 2, 2))


def test_sounds_of_any_length_are_padded_and_masked():
    waves = [torch.tensor([0.5, -0.5, 0.25]), torch.tensor([1.0])]
    batch = Collate()([{"audio": wave, "label": 0} for wave in waves])
    assert batch["audio"].tolist() == [[0.5, -0.5, 0.25], [1.0, 0.0, 0.0]]
    assert batch["audio_mask"].tolist() == [[True] * 3, [True, False, False]]
    one = Collate()([{"audio": waves[1].half()}])
    assert one["audio"].dtype == torch.float32 and one["audio_mask"].all()


def test_sounds_are_padded_to_one_length():
    items = [{"audio": torch.ones(3)}, {"audio": torch.ones(2)}]
    batch = Collate(pad_audio_to=5)(items)
    assert batch["audio"].shape == batch["audio_mask"].shape == (2, 5)
    assert batch["audio_mask"].sum(1).tolist() == [3, 2]
    assert torch.equal(batch["audio"] != 0, batch["audio_mask"])
    assert Collate(pad_audio_to=3)(items)["audio"].shape == (2, 3)
    with pytest.raises(ValueError, match=r"3 samples is longer than the 2 to pad to"):
        Collate(pad_audio_to=2)(items)


def test_kept_features_of_sounds_are_padded_by_token():
    features = [torch.rand(4, 7), torch.rand(2, 7)]
    values, mask = stack_audio(features, pad_to=6)
    assert values.shape == (2, 6, 7) and mask.sum(1).tolist() == [4, 2]
    assert torch.equal(values[1, :2], features[1]) and not values[1, 2:].any()


def test_sounds_that_are_none_are_named():
    for wave, words in (
        (torch.zeros(5, dtype=torch.int16), r"int16: divide .* 32768"),
        (torch.zeros(0), r"waveform \(S,\) of one channel.* got \(0,\)"),
        (torch.zeros(2, 1, 5), r"got \(2, 1, 5\)"),
    ):
        with pytest.raises(ValueError, match=words):
            Collate()([{"audio": wave}])


def test_tokens_that_open_and_end_a_sentence():
    assert (start_token(TOKENIZER), end_token(TOKENIZER)) == (1, 2)

    class LikeBert:
        bos_token_id = eos_token_id = None
        cls_token_id, sep_token_id = 101, 102

    assert (start_token(LikeBert()), end_token(LikeBert())) == (101, 102)
    with pytest.raises(ValueError, match="none of bos_token_id, cls_token_id"):
        start_token(object())


def test_empty_sets_are_named():
    with pytest.raises(ValueError, match="no scenes"):
        CaptionedScenes([])
    with pytest.raises(ValueError, match="no items"):
        Collate(TOKENIZER)([])
    for kind in ("text", "caption"):
        with pytest.raises(ValueError, match="at least one word; got ' '"):
            Collate(TOKENIZER)([{kind: " "}])


def test_unknown_words_are_named():
    with pytest.raises(
        ValueError, match=r"unknown words 'pink', 'cat' in 'a pink cat'"
    ):
        Collate(TOKENIZER)([{"caption": "a star"}, {"caption": "a pink cat"}])


def test_a_tokenizer_of_word_pieces_may_have_unknown_ones():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    pieces = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]")
    assert token_ids(pieces, ["a cat"], 5) == [[1, 0]]


def test_a_missing_tokenizer_and_uneven_images_are_named():
    with pytest.raises(ValueError, match="give Collate a tokenizer"):
        Collate()([{"text": "a star"}])
    items = [{"image": torch.zeros(3, s, s)} for s in (4, 5)]
    with pytest.raises(ValueError, match=r"one shape; got.*\(3, 4, 4\).*\(3, 5, 5\)"):
        Collate()(items)


def test_items_that_do_not_hold_the_same_are_named():
    with pytest.raises(ValueError, match=r"caption.*image"):
        Collate(TOKENIZER)([{"caption": "a star"}, {"image": torch.zeros(3, 4, 4)}])
