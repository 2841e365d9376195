"""What holds on the CPU holds on a GPU: ``make gpu`` runs this file, and only there.

``MMBOOK_GPU`` names the device, ``cuda`` as a rule; ``cpu`` tries the tests themselves.
"""

import copy
import os
import shutil

import pytest
import torch
from torch import nn

from mmbook.data import Collate, end_token, start_token
from mmbook.encoders import (
    ConvAudioEncoder,
    ConvImageEncoder,
    FrameVideoEncoder,
    PatchImageEncoder,
    TextEncoder,
    TubeletVideoEncoder,
)
from mmbook.fusion import FUSIONS, fusion
from mmbook.generation import generate
from mmbook.heads import ClassificationHead, GenerationHead
from mmbook.models import MultimodalModel, Output
from mmbook.tokens import Tokens
from mmbook.training import (
    TrainingConfig,
    checkpoints,
    evaluate,
    fit,
    learning_rate,
    make_optimizer,
    predict,
)
from mmbook.training.order import ShuffledStream
from mmbook.world import CaptionedScenes, sample_scenes, scene_tokenizer

DEVICE = os.environ.get("MMBOOK_GPU", "")
pytestmark = pytest.mark.skipif(not DEVICE, reason="runs on a GPU, with make gpu")
CPU = torch.device("cpu")
TOKENIZER = scene_tokenizer()


def captioner(dropout: float = 0.0) -> MultimodalModel:
    torch.manual_seed(0)
    head = GenerationHead(
        len(TOKENIZER),
        32,
        start=start_token(TOKENIZER),
        end=end_token(TOKENIZER),
        pad=TOKENIZER.pad_token_id,
        context_width=32,
        dropout=dropout,
    )
    joined = fusion("concatenation", widths={"image": 32}, width=32)
    return MultimodalModel({"image": ConvImageEncoder(32)}, joined, head)


def captions(count: int = 64) -> CaptionedScenes:
    return CaptionedScenes(sample_scenes(count, seed=1))


def batch_of(data, rows: int = 8) -> dict:
    return Collate(TOKENIZER)([data[index] for index in range(rows)])


def settings(**changes) -> TrainingConfig:
    given = {"steps": 30, "batch_size": 16, "progress": False, "precision": "no"}
    return TrainingConfig(**given | changes)


def test_a_trained_model_comes_back_to_where_it_was():
    model = captioner()
    fit(model, captions(), settings(steps=2), Collate(TOKENIZER))
    assert {p.device for p in model.parameters()} == {CPU}
    model.to(DEVICE)
    fit(model, captions(), settings(steps=2), Collate(TOKENIZER))
    assert {p.device.type for p in model.parameters()} == {DEVICE}


def test_it_trains_as_on_the_cpu():
    """The losses of the first steps are the CPU's, which computes in another order."""
    history = fit(captioner(), captions(), settings(), Collate(TOKENIZER))
    model, losses = captioner().train(), []
    config = settings()
    optimizer, data = make_optimizer(model, config), captions()
    for step, rows in enumerate(ShuffledStream(len(data), config)):
        loss = model(**Collate(TOKENIZER)([data[row] for row in rows])).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step == 9:
            break
    assert history["loss"][:10] == pytest.approx(losses, rel=2e-3)


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_the_loss_falls_in_every_precision(precision):
    history = fit(
        captioner(),
        captions(),
        settings(steps=60, precision=precision, learning_rate=3e-3),
        Collate(TOKENIZER),
    )
    assert history["loss"][-1] < 0.6 * history["loss"][0]


def test_a_compiled_model_learns_the_same():
    """Compiled arithmetic rounds elsewhere; the run stays close."""
    runs = [
        fit(
            captioner(),
            captions(),
            settings(compile=how),
            Collate(TOKENIZER, pad_to=24),
        )
        for how in (False, True)
    ]
    plain, compiled = (run["loss"] for run in runs)
    assert compiled[:5] == pytest.approx(plain[:5], rel=1e-2)


def test_the_random_numbers_of_the_caller_go_on_as_if_none_had_been_drawn():
    model = captioner(dropout=0.5)
    torch.manual_seed(3)
    expected = torch.rand(3, device=DEVICE)
    torch.manual_seed(3)
    fit(model, captions(), settings(steps=2), Collate(TOKENIZER))
    assert torch.equal(torch.rand(3, device=DEVICE), expected)


def test_a_gradient_that_is_not_finite_stops_the_run():
    class Steep(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))

        def forward(self, **batch):
            return Output(loss=self.weight.sqrt())

    with pytest.raises(FloatingPointError, match="loss of step 0 is 0"):
        fit(Steep(), captions(), settings(steps=3), Collate(TOKENIZER))


def test_predict_and_evaluate_move_the_batches():
    model, data = captioner().to(DEVICE), captions(20)
    found = evaluate(model, data, Collate(TOKENIZER), batch_size=8)
    here = evaluate(model.cpu(), data, Collate(TOKENIZER), batch_size=8)
    assert found["loss"] == pytest.approx(here["loss"], rel=1e-3)
    logits = predict(model.to(DEVICE), data, Collate(TOKENIZER, pad_to=24))
    assert logits.device == CPU and len(logits) == 20


def test_validation_may_hand_over_batches_of_the_cpu():
    batch = batch_of(captions())

    def validate(model):
        said = generate(model, {"image": batch["image"]}, 8)
        return {"loss": model(**batch).loss, "words": said.shape[1]}

    history = fit(
        captioner(),
        captions(),
        settings(validate_every=10, patience=5),
        Collate(TOKENIZER),
        validate,
    )
    assert len(history.validations) == 3
    assert history.validations[-1]["loss"] < history.validations[0]["loss"]


@pytest.mark.parametrize("precision", ["no", "fp16"])
def test_a_run_is_taken_up_from_its_checkpoint(tmp_path, precision):
    """With its dropout, and in fp16 with its scaler."""
    given = {"precision": precision, "folder": tmp_path, "save_every": 10, "keep": 5}
    runs, scalers = [], []
    for workers in (0, 2):
        config = settings(workers=workers, **given)
        runs.append(fit(captioner(0.3), captions(), config, Collate(TOKENIZER)))
        last = checkpoints(tmp_path)[-1]
        scalers.append(torch.load(last / "state.pt", weights_only=True)["scaler"])
        for later in checkpoints(tmp_path)[2:]:  # of step 20 and 30
            shutil.rmtree(later)
    assert runs[1]["loss"] == pytest.approx(runs[0]["loss"], rel=1e-2)
    assert scalers[0] == scalers[1]
    assert bool(scalers[0]) == (precision == "fp16" and DEVICE != "cpu")


@pytest.mark.parametrize("method", ["greedy", "beam"])
def test_it_says_what_it_says_on_the_cpu(method):
    model, batch = captioner(), batch_of(captions())
    fit(model, captions(), settings(steps=200), Collate(TOKENIZER))
    batch = {"image": batch["image"]}
    here = generate(model, batch, 16, method)
    there = generate(copy.deepcopy(model).to(DEVICE), batch, 16, method)
    without = generate(model.to(DEVICE), batch, 16, method, use_cache=False)
    assert there.device.type == DEVICE
    assert torch.equal(here, there.cpu()) and torch.equal(there, without)


ENCODERS = {
    "convolutional image": (lambda: ConvImageEncoder(32), (2, 3, 48, 48)),
    "patch image": (lambda: PatchImageEncoder(32, 1), (2, 3, 48, 48)),
    "frame video": (
        lambda: FrameVideoEncoder(ConvImageEncoder(32), 4),
        (2, 4, 3, 48, 48),
    ),
    "tubelet video": (lambda: TubeletVideoEncoder(32, 1, frames=4), (2, 4, 3, 48, 48)),
    "convolutional audio": (lambda: ConvAudioEncoder(32), (2, 16_000)),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_gives_the_same_tokens(name):
    make, shape = ENCODERS[name]
    torch.manual_seed(0)
    encoder, x = make().eval(), torch.rand(shape)
    with torch.no_grad():
        here = encoder(x)
        there = encoder.to(DEVICE)(x.to(DEVICE))
    assert torch.allclose(here.values, there.values.cpu(), atol=2e-3)


def test_the_text_encoder_gives_the_same_tokens():
    torch.manual_seed(0)
    encoder = TextEncoder(len(TOKENIZER), 32, 1).eval()
    ids = batch_of(captions())["labels"].clamp(min=0)
    mask = ids > 0
    with torch.no_grad():
        here = encoder(ids, mask)
        there = encoder.to(DEVICE)(ids.to(DEVICE), mask.to(DEVICE))
    assert torch.allclose(here.values, there.values.cpu(), atol=2e-3)


@pytest.mark.parametrize("name", FUSIONS)
def test_a_fusion_gives_the_same_tokens(name):
    torch.manual_seed(0)
    joined = fusion(name, widths={"image": 16, "text": 16}, width=16).eval()
    parts = {key: Tokens(torch.randn(2, 5, 16)) for key in ("image", "text")}
    moved = {
        k: Tokens(t.values.to(DEVICE), t.mask.to(DEVICE)) for k, t in parts.items()
    }
    with torch.no_grad():
        here = joined(parts)
        there = joined.to(DEVICE)(moved)
    assert torch.allclose(here.values, there.values.cpu(), atol=2e-3)


def test_a_classifier_takes_batches_of_the_cpu():
    joined = fusion("concatenation", widths={"image": 32}, width=32)
    model = MultimodalModel(
        {"image": ConvImageEncoder(32)}, joined, ClassificationHead(32, 5)
    ).to(DEVICE)
    output = model(image=torch.rand(4, 3, 48, 48), labels=torch.arange(4))
    assert output.loss.device.type == output.logits.device.type == DEVICE
