"""From items to batches: what each becomes, and what is said of wrong ones."""

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from mmbook.data import Collate
from mmbook.encoders import TextEncoder
from mmbook.tokens import IGNORED
from mmbook.world import CaptionedScenes, sample_scenes, scene_tokenizer

TOKENIZER = scene_tokenizer()


def word(text):
    return TOKENIZER.convert_tokens_to_ids(text)


def test_a_batch_of_captions():
    data = CaptionedScenes(sample_scenes(8, 0))
    batch = Collate(TOKENIZER)([data[i] for i in range(8)])
    assert set(batch) == {"image", "labels"}
    assert batch["image"].shape == (8, 3, 48, 48)
    assert batch["image"].dtype == torch.float32
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


def test_a_pretrained_reader_gets_its_special_tokens_and_a_caption_does_not(like_bert):
    items = [{"text": "a dog", "caption": "dog"}, {"text": "dog", "caption": "a dog"}]
    batch = Collate(like_bert)(items)
    assert batch["text"].tolist() == [[2, 4, 5, 3], [2, 5, 3, 0]]
    assert batch["text_mask"].tolist() == [[True] * 4, [True] * 3 + [False]]
    assert batch["labels"].tolist() == [[5, 3, IGNORED], [4, 5, 3]]


def test_the_ids_of_a_text_are_those_of_its_tokenizer(like_bert):
    texts = ["a dog runs", "a dog"]
    expected = like_bert(texts, padding=True, return_tensors="pt")
    batch = Collate(like_bert)([{"text": text} for text in texts])
    assert torch.equal(batch["text"], expected["input_ids"])
    assert torch.equal(batch["text_mask"], expected["attention_mask"].bool())


def test_a_tokenizer_without_a_padding_token_is_taken(like_bert):
    like_bert.pad_token = None
    batch = Collate(like_bert)([{"text": "a dog runs"}, {"text": "a"}])
    assert batch["text"][1].tolist() == [2, 4, 3, 0, 0]
    assert batch["text_mask"].sum(1).tolist() == [5, 3]


def test_an_empty_text_is_a_row_without_real_tokens(like_bert):
    batch = Collate(TOKENIZER)([{"text": ""}, {"text": "a star"}])
    assert batch["text_mask"].tolist() == [[False, False], [True, True]]
    tokens = TextEncoder(len(TOKENIZER), 8, 2, 2)(batch["text"], batch["text_mask"])
    assert tokens.values.isfinite().all() and not tokens.pooled()[0].any()
    alone = Collate(TOKENIZER)([{"text": " "}])
    assert alone["text"].shape == (1, 1) and not alone["text_mask"].any()
    special = Collate(like_bert)([{"text": ""}])
    assert special["text"].tolist() == [[2, 3]] and special["text_mask"].all()


def test_an_empty_caption_is_an_error():
    with pytest.raises(ValueError, match="at least one word; got ' '"):
        Collate(TOKENIZER)([{"caption": " "}])


def test_labels_are_class_numbers():
    batch = Collate()([{"label": 2}, {"label": np.int64(0)}])
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
    padded = Collate(TOKENIZER, pad_to=12)(items)[key]
    assert padded.shape == (2, 12)
    for settings in ({"max_length": 4}, {"pad_to": 4}, {"max_length": 9, "pad_to": 4}):
        cut = Collate(TOKENIZER, **settings)(items)[key]
        assert cut.shape == (2, 4)
        if kind == "caption":
            assert cut[0, 3] == TOKENIZER.eos_token_id


def test_a_length_for_no_word_at_all_is_an_error():
    with pytest.raises(ValueError, match="must be 2 or more; got 1"):
        Collate(TOKENIZER, pad_to=1)


def test_sounds_of_any_length_are_padded_and_masked():
    waves = [torch.tensor([0.5, -0.5, 0.25]), torch.tensor([1.0])]
    batch = Collate()([{"audio": wave, "label": 0} for wave in waves])
    assert batch["audio"].tolist() == [[0.5, -0.5, 0.25], [1.0, 0.0, 0.0]]
    assert batch["audio_mask"].tolist() == [[True] * 3, [True, False, False]]
    one = Collate()([{"audio": waves[1].half()}])
    assert one["audio"].dtype == torch.float32 and one["audio_mask"].all()


@pytest.mark.parametrize("name", ["image", "video", "audio", "text"])
def test_features_stand_for_each_modality(name):
    features = [torch.rand(4, 7), torch.rand(2, 7)]
    batch = Collate()([{name: values} for values in features])
    assert batch[name].shape == (2, 4, 7)
    assert batch[f"{name}_mask"].sum(1).tolist() == [4, 2]
    assert torch.equal(batch[name][1, :2], features[1])
    same = Collate()([{name: values} for values in features[:1]])
    assert (f"{name}_mask" in same) == (name in ("audio", "text"))


def test_names_that_are_not_known_are_not_dropped():
    picture = torch.zeros(3, 4, 4)
    with pytest.raises(ValueError, match=r"'labels' is not known.*is it 'label'\?"):
        Collate()([{"image": picture, "labels": 1}])
    with pytest.raises(ValueError, match=r"'depth' is not known here: items hold im"):
        Collate()([{"image": picture, "depth": picture}])
    batch = Collate(ignore=("depth",))([{"image": picture, "depth": picture}])
    assert set(batch) == {"image"}


def test_bookkeeping_is_left_out_also_where_it_differs():
    first = {"label": 1, "index": 3, "speaker": "theo"}
    second = {"label": 0, "index": 4, "answer": "yes", "captions": ["a dog"]}
    assert Collate()([first, second])["labels"].tolist() == [1, 0]


def test_a_caption_and_a_label_do_not_hide_each_other():
    items = [{"caption": "a star", "label": 3}]
    with pytest.raises(ValueError, match="a caption and a label both become labels"):
        Collate(TOKENIZER)(items)
    assert Collate(ignore=("caption",))(items)["labels"].tolist() == [3]


def test_wrong_batches_are_named():
    with pytest.raises(ValueError, match="no items"):
        Collate(TOKENIZER)([])
    with pytest.raises(ValueError, match="give Collate a tokenizer"):
        Collate()([{"text": "a star"}])
    with pytest.raises(ValueError, match=r"hold the same; got caption \| image"):
        Collate(TOKENIZER)([{"caption": "a star"}, {"image": torch.zeros(3, 4, 4)}])


def test_a_tokenizer_of_a_folder_reads_as_it_did(like_bert, tmp_path):
    like_bert.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert Collate(again)([{"text": "a dog"}])["text"].tolist() == [[2, 4, 5, 3]]
