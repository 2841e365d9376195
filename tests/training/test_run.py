"""What surrounds the loop: stopping early, precision, speed, what is left behind."""

import copy
import json

import pytest
import torch
from runs import (
    COLLATE,
    DATA,
    TOKENIZER,
    assert_same_losses,
    captioner,
    train,
)
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmbook.data import Collate
from mmbook.models import MultimodalModel

# ------------------------------------------------------------------- stopping early


def scripted(values):
    """A validation that returns these numbers and keeps the weights it was shown."""
    shown, left = [], iter(values)

    def validate(model):
        assert not model.training and not torch.is_grad_enabled()
        shown.append({k: v.clone() for k, v in model.state_dict().items()})
        return {"score": next(left)}

    return validate, shown


EARLY = {"steps": 20, "validate_every": 2, "patience": 2, "metric": "score"}


@pytest.mark.parametrize(
    ("maximise", "scores", "best"),
    [(True, (1, 3, 2, 3), 1), (False, (3, 1, 2, 1), 1), (True, (1, 2, 3, 2, 1), 2)],
)
def test_stopping_early_restores_the_best_weights(maximise, scores, best):
    validate, shown = scripted(scores)
    model, history = train(validate=validate, maximise=maximise, **EARLY)
    assert history.stopped_early and len(history.validations) == len(scores)
    assert len(history.steps) == 2 * len(scores)
    for name, value in model.state_dict().items():
        assert torch.equal(value, shown[best][name]), name


def test_without_patience_training_goes_to_the_end():
    validate, shown = scripted((3, 2, 1))
    model, history = train(validate=validate, steps=6, validate_every=2)
    assert not history.stopped_early and len(history.steps) == 6
    for name, value in model.state_dict().items():
        assert torch.equal(value, shown[-1][name]), name
    assert model.training is False


def test_with_patience_the_best_weights_return_even_at_the_end():
    validate, shown = scripted((1, 5, 4))
    settings = EARLY | {"steps": 6, "patience": 9, "maximise": True}
    model, history = train(validate=validate, **settings)
    assert not history.stopped_early
    assert torch.equal(model.head.bias, shown[1]["head.bias"])


def test_not_a_number_is_never_the_best():
    validate, shown = scripted((float("nan"), 2.0, float("nan"), 1.0))
    model, history = train(validate=validate, **(EARLY | {"maximise": True}))
    assert len(history.validations) == 4
    assert torch.equal(model.head.bias, shown[1]["head.bias"])


def test_wrong_wishes_about_validation_are_named():
    cider = {"metric": "cider", "validate_every": 1}
    with pytest.raises(ValueError, match="metric is 'cider', validate gave score"):
        train(validate=scripted((1,))[0], steps=1, patience=1, **cider)
    with pytest.raises(TypeError, match="must return a dict of numbers; got None"):
        train(validate=lambda _: None, steps=1)
    with pytest.raises(ValueError, match="patience needs validate: numbers"):
        train(patience=2, validate_every=1)


@pytest.mark.slow
def test_two_processes_stop_early_together(processes):
    """Process 0 decides for all; the other one would have gone on for ever."""
    files = [processes / f"stopped-{rank}.json" for rank in (0, 1)]
    first, second = (json.loads(file.read_text("utf-8")) for file in files)
    assert [record["loss"] for record in first] == [1.0, 0.5, 0.7, 0.8]
    assert [record["step"] for record in first] == [2, 4, 6, 8]
    assert first == second


# -------------------------------------------------- speed, precision, what is left behind


class Waits(TorchDispatchMode):
    """Counts the operations that fetch a number from the device."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        self.count += name in self.NAMES
        return function(*args, **(kwargs or {}))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_no_step_waits_for_the_device(monkeypatch, precision):
    """Numbers are fetched every 20 steps, all at once; between, not a single one."""
    waits, seen = Waits(), []
    tolist = torch.Tensor.tolist

    def counted(tensor):
        waits.count += 1
        return tolist(tensor)

    monkeypatch.setattr(torch.Tensor, "tolist", counted)

    def collate(items):  # called once in each step, before it
        seen.append(waits.count)
        batch = COLLATE(items)
        waits.count = seen[-1]  # it has no device to wait for
        return batch

    with waits:
        train(steps=45, collate=collate, precision=precision, batch_size=2)
    grew = [n for n in range(1, 45) if seen[n] > seen[n - 1]]
    assert grew == [20, 40]
    assert seen[-1] - seen[0] == 2


@pytest.mark.parametrize("precision", ["bf16", "no"])
def test_precision_is_kept_inside_the_run(precision, tmp_path):
    kinds = set()

    class Probe(nn.Linear):
        def forward(self, x):
            out = super().forward(x)
            kinds.add(out.dtype)
            return out

    model = captioner()
    model.fusion.project["image"] = Probe(16, 16)
    model, _ = train(model, precision=precision, steps=2)
    assert kinds == {torch.bfloat16 if precision == "bf16" else torch.float32}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    kinds.clear()
    out = model(**COLLATE([DATA[0]]))
    assert out.logits.dtype == torch.float32 and kinds == {torch.float32}


def test_after_training_the_model_is_its_old_self(tmp_path):
    for precision in ("bf16", "no", "bf16"):  # one run after another in one process
        model, _ = train(captioner(), precision=precision, steps=2)
        assert "forward" not in vars(model) and not model.training
        twin = copy.deepcopy(model)
        model.save_pretrained(tmp_path / "model")
        again = MultimodalModel.from_pretrained(tmp_path / "model")
        batch = COLLATE([DATA[0], DATA[1]])
        assert torch.equal(twin(**batch).logits, model(**batch).logits)
        assert torch.equal(again(**batch).logits, model(**batch).logits)


def test_training_in_bf16_stays_near_float32():
    _, exact = train(steps=6)
    _, rough = train(steps=6, precision="bf16")
    assert rough["loss"] == pytest.approx(exact["loss"], rel=0.02)
    assert rough["loss"] != exact["loss"]


@pytest.mark.slow
def test_compiled_training_is_the_same_training():
    _, first = train(steps=3)
    collate = Collate(TOKENIZER, pad_to=16)
    compiled, second = train(steps=3, compile="eager", collate=collate)
    assert_same_losses(first, second)
    assert compiled._compiled_call_impl is None  # later calls are plain again
    copy.deepcopy(compiled)


def test_a_run_goes_on_after_another_one():
    model, first = train(steps=3)
    _, second = train(model, steps=3)
    assert len(second.steps) == 3 and second["loss"][-1] < first["loss"][0]


def test_a_failure_leaves_the_model_as_it_was_found():
    model = captioner()
    with pytest.raises(ZeroDivisionError):
        train(model, validate=lambda _: 1 / 0, steps=1, precision="bf16")
    assert "forward" not in vars(model) and not model.training
    copy.deepcopy(model)


def test_a_part_that_stays_in_eval_mode_stays_so_after_validating():
    modes = []

    class Frozen(nn.Linear):
        def train(self, mode=True):
            return super().train(False)

        def forward(self, x):
            modes.append(self.training)
            return super().forward(x)

    model = captioner()
    model.fusion.project["image"] = Frozen(16, 16)
    train(model, validate=lambda _: {"a": 1.0}, validate_every=1, steps=3)
    assert modes == [False] * 3
