"""Word by word: the words are those of ``generate``, the maps those of ``explain``."""

import pytest
import torch

from mmbook.explain import attention_maps, cross_attention
from mmbook.generation import generate, to_text
from mmbook.models import LanguageModel
from mmbook.service.answering import Captioner
from mmbook.world import scene_tokenizer


def test_the_words_are_those_of_generate(folder, model, scenes):
    captioner = Captioner.from_folder(folder)
    ids = generate(model, {"image": scenes.images[:40] / 255})
    expected = to_text(ids, captioner.tokenizer)
    assert captioner.say(list(scenes.images[:40]), at_once=16) == expected
    assert len(set(expected)) > 1


def test_the_maps_are_those_of_explain_and_the_probabilities_those_of_the_model(
    folder, model, scenes
):
    captioner, batch = Captioner.from_folder(folder), {"image": scenes.images[:3] / 255}
    ids = generate(model, batch)
    expected = attention_maps(cross_attention(model, batch, ids), (3, 3))
    p = model(**batch, labels=ids).logits.softmax(-1)
    for step, row in enumerate(captioner.words(captioner.see(list(scenes.images[:3])))):
        for number, word in enumerate(row):
            if word is not None:
                found = torch.tensor(word.map)
                torch.testing.assert_close(found, expected[number, step])
                chosen = p[number, step, ids[number, step]].item()
                assert word.probability == pytest.approx(chosen, abs=1e-5)


def test_a_sentence_that_has_ended_is_silent_while_others_go_on(folder, scenes):
    captioner = Captioner.from_folder(folder)
    with torch.no_grad():  # the end comes where the picture says so
        captioner.head.bias[captioner.head.end] = 1.0
    pictures = list(scenes.images[:32])
    steps = list(captioner.words(captioner.see(pictures)))
    lengths = {
        sum(word is not None for word in row) for row in zip(*steps, strict=True)
    }
    for row in zip(*steps, strict=True):
        spoken = [word is not None for word in row]
        assert spoken == sorted(spoken, reverse=True)
    assert len(captioner.say(pictures)) == 32 and lengths


def test_a_tokenizer_beside_the_model_is_taken(model, tmp_path, scenes):
    model.save_pretrained(tmp_path)
    tokenizer = scene_tokenizer()
    before = Captioner.from_folder(tmp_path).say([scenes.images[0]])
    words = tokenizer.get_vocab()
    text = tokenizer.backend_tokenizer.to_str().replace('"circle"', '"disc"')
    assert "circle" in words
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
    after = Captioner.from_folder(tmp_path).say([scenes.images[0]])
    assert after == [before[0].replace("circle", "disc")]


def test_what_is_no_captioner_is_refused(model):
    with pytest.raises(TypeError, match="GenerationHead; got NoneType"):
        Captioner(torch.nn.Linear(2, 2), None)
    with pytest.raises((TypeError, AttributeError)):
        Captioner(LanguageModel(model.head), scene_tokenizer())


def test_a_model_of_another_vocabulary_says_what_it_lacks(model, tmp_path):
    from mmbook.heads import GenerationHead

    strange = GenerationHead(9, width=16, layers=1, heads=2, context_width=16)
    other = type(model)(dict(model.encoders), model.fusion, strange)
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(
        FileNotFoundError, match=r"has no tokenizer: tokenizer\.save_pre"
    ):
        Captioner.from_folder(tmp_path / "other")
