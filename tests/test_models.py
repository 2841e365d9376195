"""The composed model: encoders, fusion, head, in the transformers convention."""

import copy
import pickle
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from mmbook.encoders import ConvImageEncoder, PatchImageEncoder, TextEncoder
from mmbook.fusion import FUSIONS, Concatenation, fusion
from mmbook.heads import ClassificationHead, GenerationHead, SharedSpaceHead
from mmbook.models import LanguageModel, MultimodalModel, Output
from mmbook.tokens import IGNORED, Tokens

WIDTHS = {"image": 8, "text": 6}
LABELS = torch.tensor([[4, 5, 2], [6, 2, IGNORED], [7, 2, IGNORED]])


def encoders():
    image = PatchImageEncoder(8, layers=1, heads=2, size=16, patch=8)
    return {"image": image, "text": TextEncoder(12, 6, layers=1, heads=2, max_length=8)}


def batch(rows=3):
    torch.manual_seed(0)
    lengths = torch.tensor([4, 2, 3])[:rows, None]
    return {
        "image": torch.rand(rows, 3, 16, 16),
        "text": torch.randint(1, 12, (rows, 4)),
        "text_mask": torch.arange(4)[None] < lengths,
    }


def model(name="concatenation", head=None):
    torch.manual_seed(0)
    head = head or GenerationHead(12, 16, 1, 2, 8, context_width=16)
    return MultimodalModel(
        encoders(), fusion(name, widths=WIDTHS, width=16), head
    ).eval()


@pytest.mark.parametrize("name", FUSIONS)
def test_the_model_is_its_parts_behind_each_other(name):
    whole, given = model(name), batch()
    tokens = {
        "image": whole.encoders["image"](given["image"]),
        "text": whole.encoders["text"](given["text"], given["text_mask"]),
    }
    logits, loss = whole.head(whole.fusion(tokens), LABELS)
    out = whole(**given, labels=LABELS)
    assert torch.equal(out.logits, logits) and torch.equal(out.loss, loss)
    assert whole.encode(given).values.shape[::2] == (3, 16)


def test_the_output_is_of_the_transformers_convention():
    out = model()(**batch(), labels=LABELS)
    assert out[0] is out.loss and out["logits"] is out[1] is out.logits
    assert out.loss.ndim == 0
    without = model()(**batch())
    assert without.loss is None and without[0] is without.logits


def test_an_output_is_what_the_outputs_of_transformers_are():
    """``accelerate`` makes one from its fields; ``Trainer`` reads its items."""
    loss, logits = torch.tensor(1.0), torch.rand(2, 3)
    out = Output(loss=loss, logits=logits)
    assert list(out.items()) == [("loss", loss), ("logits", logits)]
    assert out[:1] == (loss,) and out[-1] is logits and len(out) == 2
    twin = type(out)({name: value for name, value in out.items()})
    assert twin.loss is loss and twin.logits is logits and twin.embeddings is None
    for same in (copy.deepcopy(out), pickle.loads(pickle.dumps(out))):
        assert same.loss == loss and torch.equal(same["logits"], logits)
    assert list(Output(logits=logits)) == ["logits"]
    with pytest.raises(AttributeError, match="no 'losses'"):
        _ = out.losses
    with pytest.raises(TypeError, match="lgits"):
        Output(loss=loss, lgits=logits)


def test_a_model_is_evaluated_by_trainer(tmp_path):
    from transformers import Trainer, TrainingArguments

    whole, given = model(head=ClassificationHead(16, 5)), batch()
    given["labels"] = torch.tensor([0, 4, 2])
    data = [{key: value[row] for key, value in given.items()} for row in range(3)]
    arguments = TrainingArguments(
        str(tmp_path),
        per_device_eval_batch_size=2,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    found = Trainer(whole, arguments, eval_dataset=data).predict(data)
    expected = whole(**given)
    torch.testing.assert_close(torch.tensor(found.predictions), expected.logits)
    assert found.label_ids.tolist() == [0, 4, 2]
    # the mean of the two batches' means, weighted by their rows
    assert found.metrics["test_loss"] == pytest.approx(expected.loss.item(), rel=1e-5)


@pytest.mark.slow
def test_importing_models_does_not_load_transformers():
    code = "import sys, mmbook.models; print('transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_loss_equals_the_aligned_cross_entropy_of_the_logits():
    out = model()(**batch(), labels=LABELS)
    torch.testing.assert_close(out.loss, F.cross_entropy(out.logits.mT, LABELS))


def test_more_padding_on_both_sides_changes_nothing():
    whole, given = model("cross_attention"), batch()
    wider = given | {
        "text": F.pad(given["text"], (0, 2), value=9),
        "text_mask": F.pad(given["text_mask"], (0, 2), value=False),
    }
    more = F.pad(LABELS, (0, 2), value=IGNORED)
    first, second = whole(**given, labels=LABELS), whole(**wider, labels=more)
    torch.testing.assert_close(first.loss, second.loss)
    torch.testing.assert_close(first.logits, second.logits[:, :3])


def test_a_batch_is_its_rows():
    whole, given = model(), batch()
    together = whole(**given, labels=LABELS).logits
    for row in range(3):
        alone = whole(**{k: v[[row]] for k, v in given.items()}, labels=LABELS[[row]])
        torch.testing.assert_close(alone.logits, together[[row]])


@pytest.mark.parametrize("name", FUSIONS)
def test_modalities_may_be_left_out(name):
    whole, given = model(name), batch()
    words = {key: given[key] for key in ("text", "text_mask")}
    for some in ({"image": given["image"]}, words, given | {"image": None}):
        assert whole(**some, labels=LABELS).loss.isfinite()


def test_items_make_the_loss_a_share_of_a_larger_batch():
    whole, given = model(), batch()
    mean = whole(**given, labels=LABELS).loss
    share = whole(**given, labels=LABELS, num_items_in_batch=torch.tensor(70)).loss
    torch.testing.assert_close(share, mean * 7 / 70)


def test_classes_and_pairs_are_heads_like_any_other():
    given = batch()
    classes = model(head=ClassificationHead(16, 5))
    labels = torch.tensor([0, 4, 2])
    out = classes(**given, labels=labels)
    torch.testing.assert_close(out.loss, F.cross_entropy(out.logits, labels))
    pair = MultimodalModel(encoders(), None, SharedSpaceHead(WIDTHS, 4)).eval()
    out = pair(**given)
    assert out.logits.shape == (3, 3) and set(out.embeddings) == set(WIDTHS)
    torch.testing.assert_close(
        out.loss, pair(**{k: v.flip(0) for k, v in given.items()}).loss
    )


def test_a_language_model_is_a_head_alone():
    head = GenerationHead(12, 16, 1, 2, 8)
    out = LanguageModel(head)(labels=LABELS)
    assert torch.equal(out.logits, head(None, LABELS)[0])
    torch.testing.assert_close(out.loss, F.cross_entropy(out.logits.mT, LABELS))


def test_gradients_reach_every_part():
    whole = model()
    whole(**batch(), labels=LABELS).loss.backward()
    for name, parameter in whole.named_parameters():
        used = "position.weight" in name or "word.weight" in name or "key.bias" in name
        assert used or parameter.grad.abs().max() > 0, name


def test_a_deep_copy_stands_alone_and_can_be_saved(tmp_path):
    whole = model()
    twin = copy.deepcopy(whole)
    with torch.no_grad():
        twin.head.bias += 1
    assert not torch.equal(twin.head.bias, whole.head.bias)
    twin.save_pretrained(tmp_path)
    again = MultimodalModel.from_pretrained(tmp_path)
    given = batch() | {"labels": LABELS}
    assert torch.equal(again(**given).logits, twin(**given).logits)


def test_a_new_encoder_needs_only_the_signature():
    class Numbers(torch.nn.Module):
        width = 2

        def forward(self, values, mask=None):
            return Tokens(values, mask)

    head, joined = ClassificationHead(4, 2), Concatenation({"numbers": 2}, 4)
    out = MultimodalModel({"numbers": Numbers()}, joined, head)(
        numbers=torch.rand(2, 3, 2)
    )
    assert out.logits.shape == (2, 2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "reads image, text.*got nothing"),
        ({"labels": LABELS}, "reads image, text.*got nothing"),
        ({"image": None}, "reads image, text.*got image=None"),
        ({"sound": torch.zeros(1)}, "reads image, text.*got sound"),
        ({"image": torch.rand(3, 16, 16, 3)}, r"\(B, 3, H, W\).*\(3, 16, 16, 3\)"),
        (
            {"image": torch.rand(2, 3, 16, 16), "text": batch()["text"]},
            "one batch size",
        ),
        (
            {"text": batch()["text"], "text_mask": torch.ones(3, 4)},
            r"bool \(B, 4\).*float32",
        ),
        (
            {"text": batch()["text"], "text_mask": torch.ones(3, 3).bool()},
            r"bool \(B, 4\).*\(3, 3\)",
        ),
    ],
)
def test_wrong_batches_are_named(given, words):
    with pytest.raises(ValueError, match=words):
        model()(**given)


def test_parts_that_do_not_fit_are_named():
    wrong = fusion("concatenation", widths={"image": 9, "text": 6}, width=16)
    whole = MultimodalModel(encoders(), wrong, ClassificationHead(16, 2))
    with pytest.raises(ValueError, match="image tokens of width 9; got 8"):
        whole(**batch())
    narrow = model(head=ClassificationHead(15, 2))
    with pytest.raises(ValueError, match="tokens of width 15; got 16"):
        narrow(**batch())


def test_conv_features_do_not_depend_on_the_rest_of_the_batch_when_evaluated():
    encoder = ConvImageEncoder(8, 16, channels=(4,)).eval()
    image = batch()["image"]
    torch.testing.assert_close(encoder(image).values[:1], encoder(image[:1]).values)
