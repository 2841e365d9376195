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
    expected = attention_maps(cross_attention(model, batch, ids), (6, 6))
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
    steps = list(captioner.words(captioner.see(list(scenes.images[:32]))))
    lengths = set()
    for row in zip(*steps, strict=True):
        spoken = [word is not None for word in row]
        assert spoken == sorted(spoken, reverse=True)
        lengths.add(sum(spoken))
    assert len(lengths) > 1 and len(steps) == max(lengths)


def test_a_tokenizer_beside_the_model_is_taken(model, tmp_path, scenes):
    model.save_pretrained(tmp_path)
    tokenizer, pictures = scene_tokenizer(), list(scenes.images[:30])
    before = Captioner.from_folder(tmp_path).say(pictures)
    assert any("circle" in caption for caption in before)
    text = tokenizer.backend_tokenizer.to_str().replace('"circle"', '"disc"')
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
    after = Captioner.from_folder(tmp_path).say(pictures)
    assert after == [caption.replace("circle", "disc") for caption in before]


def test_what_is_no_captioner_is_refused(model):
    with pytest.raises(TypeError, match="GenerationHead; got NoneType"):
        Captioner(torch.nn.Linear(2, 2), None)
    with pytest.raises((TypeError, AttributeError)):
        Captioner(LanguageModel(model.head), scene_tokenizer())


def test_a_model_of_another_vocabulary_says_what_it_lacks(model, tmp_path):
    from mmbook.heads import GenerationHead

    strange = GenerationHead(9, width=96, layers=1, heads=4, context_width=96)
    other = type(model)(dict(model.encoders), model.fusion, strange)
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(
        FileNotFoundError, match=r"has no tokenizer: tokenizer\.save_pre"
    ):
        Captioner.from_folder(tmp_path / "other")


@pytest.mark.slow
def test_a_captioner_of_photographs_is_served_with_its_pieces_of_words(tmp_path):
    """The one of the README, untrained: MobileNetV2 sees, byte-level pieces are said."""
    import mmbook as mm
    from mmbook.samples import photographs

    shown = photographs()
    tokenizer = mm.train_tokenizer([text for five in shown.references for text in five])
    torch.manual_seed(3)
    encoder = mm.PretrainedImageEncoder.from_pretrained("mmbook/mobilenet-v2", width=32)
    head = mm.GenerationHead.for_tokenizer(
        tokenizer, width=32, heads=4, max_length=12, context_width=32
    )
    torch.nn.init.normal_(head.embedding.word.weight)
    joined = mm.Concatenation({"image": 32}, 32)
    model = mm.MultimodalModel({"image": encoder}, joined, head).eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    captioner = Captioner.from_folder(tmp_path)
    pictures = [shown.pixels(n) for n in range(3)]
    ids = generate(model, mm.Collate()([{"image": p} for p in pictures]))
    assert captioner.say(pictures) == to_text(ids, tokenizer)
    steps = list(captioner.words(captioner.see(pictures)))
    assert torch.tensor(steps[0][0].map).shape == (7, 7)
