"""How many labels does pre-training save on real data? Pictures and spoken digits.

The book's own encoders were pre-trained on its synthetic scenes and synthetic voices
alone. Here they meet real pictures of easy-VQA and real recorded digits with 30 to 1000
labels: frozen with a linear probe on the mean of the tokens, and fine-tuned from that
probe. Beside them the same architecture learns from scratch, and a linear probe on
MobileNetV2 stands for what a large pre-training on photographs gives.

What is equal: the labelled examples of a seed, the number of tries (five learning rates,
or five weight decays of a probe, in each condition), the steps of the two arms that are
trained by gradient descent, and the 300 validation examples, which choose the setting
and the moment. They are labels, too: the curves don't count them, for any arm.

What could reverse the answer, and is tried: three times the steps; batch norm whose
statistics are re-estimated on the labelled examples; for the probe, pictures of 64 pixels
in place of 32 (at 32 the objects are about as large as in pre-training). Shape and colour
are also asked for apart, with a probe on nine numbers of the pixels beside the networks.

    MMBOOK_DATA=… MMBOOK_MODELS=… python studies/label_efficiency.py

needs ``easyvqa`` and ``fsdd`` in the first folder and ``mobilenet_v2_1.0_224`` in the
second.
"""

from __future__ import annotations

import torch
from label_tasks import (
    Classifier,
    Examples,
    mobile_net_vectors,
    nine_numbers,
    per_cent,
    share_right,
    task,
    test_examples,
    vectors,
)
from runner import Condition, Design, Run, Trained, main
from torch import Tensor, nn

from mmbook.training import (
    TrainingConfig,
    fit,
    linear_probe,
    reestimate_batch_norm,
)

SCRATCH, TUNED = "from scratch", "fine-tuned from the probe"
FROZEN, MOBILE = "linear probe", "linear probe on MobileNetV2"
NINE = "linear probe on nine pixel numbers"
DESCRIBED = {MOBILE: (64, mobile_net_vectors), NINE: (32, nine_numbers)}
STEPS, VALIDATIONS = 480, 12
PROBED = (
    30,
    60,
    120,
    240,
)  # iterations of L-BFGS; the last probe is the one that counts
START_DECAY = 1e-2  # of the probe from which fine-tuning starts: not searched


def place(run: Run) -> tuple:
    """Which examples: the task, the size of a picture, and what stands for a picture."""
    side = run.condition.values.get("side", 32)
    return run["task"], *DESCRIBED.get(run.arm, (side, None))


def train(run: Run) -> Trained:
    """One arm on the labelled examples of one seed."""
    wanted = task(*place(run))
    data, held = wanted.labelled(run["labels"], run.seed), wanted.held
    if run.arm in DESCRIBED:
        layer, curve = probe(data, held, wanted.classes, run["decay"])
        return Trained(curve, curve[-1][1], layer.state_dict())
    model = classifier(run, data)
    if run.arm == FROZEN:
        curve = fit_probe(model, data, held, run["decay"])
        return Trained(curve, curve[-1][1], model.state_dict())
    curve = fit_all(model, data, held, run)
    return Trained(curve, max(value for _, value in curve), model.state_dict())


def classifier(run: Run, data: Examples) -> Classifier:
    """The model of an arm before its training; fine-tuning starts from a probe."""
    wanted = task(*place(run))
    if run.arm == SCRATCH:
        return Classifier(wanted.fresh(), wanted.classes)
    model = Classifier(wanted.pretrained(), wanted.classes)
    if run.condition.values.get("batch norm"):
        reestimate_batch_norm(model, data.batches())
    if run.arm == TUNED:
        fit_probe(model, data, data, START_DECAY)
    return model


def fit_probe(model: Classifier, data: Examples, held: Examples, decay: float) -> list:
    """A probe on the mean token of the frozen encoder becomes the head."""
    head = model.head.layers[-1]
    known, held = vectors(model.encoder, data), vectors(model.encoder, held)
    layer, curve = probe(known, held, head.out_features, decay)
    head.load_state_dict(layer.state_dict())
    return curve


def probe(data: Examples, held: Examples, classes: int, decay: float) -> tuple:
    """A probe on vectors (n, D), and its curve: each point is a fit of its own."""
    curve = []
    for steps in PROBED:
        layer = linear_probe(data.values, data.labels, classes, decay, steps)
        with torch.no_grad():
            curve.append((steps, per_cent(layer(held.values), held.labels)))
    return layer, curve


def fit_all(model: nn.Module, data: Examples, held: Examples, run: Run) -> list:
    """Gradient descent on all parameters; the model goes back to its best moment."""
    steps = 4 if run.quick else run["steps"]
    config = TrainingConfig(
        steps=steps,
        batch_size=min(32, len(data)),
        learning_rate=run["rate"],
        weight_decay=0.05,
        validate_every=max(1, steps // VALIDATIONS),
        patience=steps,  # never stops
        metric="accuracy",
        maximise=True,
        precision="no",
        progress=False,
        seed=run.seed,
    )
    history = fit(
        model,
        range(len(data)),
        config,
        data.batch,
        lambda now: {"accuracy": share_right(now, held)},
    )
    return [(row["step"], row["accuracy"]) for row in history.validations]


def test_data() -> dict:
    """The test examples of every task."""
    found = {}
    for condition in DESIGN.conditions:
        for arm in DESIGN.arms_in(condition):
            key = place(Run(arm, condition, {}, 0))
            found[key] = test_examples(*key)
    return found


def test(run: Run, state: dict[str, Tensor], data: dict) -> dict:
    """Per cent of the test examples that a trained model has right."""
    wanted, examples = task(*place(run)), data[place(run)]
    if run.arm in DESCRIBED:
        layer = nn.Linear(examples.values.shape[1], wanted.classes)
        layer.load_state_dict(state)
        with torch.no_grad():
            return {"accuracy": per_cent(layer(examples.values), examples.labels)}
    model = Classifier(wanted.fresh(), wanted.classes)
    model.load_state_dict(state)
    return {"accuracy": share_right(model, examples)}


def condition(name: str, labels: int, arms=(), steps=STEPS, **values) -> Condition:
    """A task with a number of labels."""
    told = {"task": name, "labels": labels, "steps": steps, **values}
    return Condition(f"{name}, {labels} labels", told, arms)


def changed(name: str, labels: int, asks: str, arms=(), steps=STEPS, **values):
    """The same with something changed that could reverse the answer."""
    base = f"{name}, {labels} labels"
    told = {"task": name, "labels": labels, "steps": steps, **values}
    return Condition(f"{base}, {asks}", told, arms, like=base, asks=asks)


LONGER, CALIBRATED = "three times the steps", "batch norm re-estimated"
LARGER = "64 pixels for the probe alone"
RATES = [{"rate": rate} for rate in (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)]
DECAYS = [{"decay": decay} for decay in (1e-4, 1e-3, 1e-2, 1e-1, 1.0)]
BOOK = (SCRATCH, FROZEN, TUNED)  # one architecture, three beginnings
DESIGN = Design(
    question="How many labels does pre-training save on real pictures and voices?",
    tries={
        SCRATCH: [*RATES[1:], {"rate": 1e-1}],
        FROZEN: [{"decay": 1e-5}, *DECAYS[:-1]],
        TUNED: [*RATES[1:], {"rate": 1e-1}],
        MOBILE: [{"decay": 1e-5}, *DECAYS[:-1]],
        NINE: [{"decay": 1e-5}, *DECAYS[:-1]],
    },
    conditions=[
        *(condition("pictures", n, (*BOOK, MOBILE)) for n in (30, 100, 300, 1000)),
        *(condition("digits", n, BOOK) for n in (30, 100, 300)),
        *(condition("shape", n, (FROZEN,)) for n in (30, 100, 1000)),
        condition("shape", 300, (SCRATCH, FROZEN)),
        *(condition("colour", n, (FROZEN, NINE)) for n in (30, 100, 1000)),
        condition("colour", 300, (SCRATCH, FROZEN, NINE)),
        *(
            changed("pictures", n, LONGER, (SCRATCH, TUNED), 3 * STEPS)
            for n in (300, 1000)
        ),
        changed("pictures", 300, CALIBRATED, (FROZEN, TUNED), **{"batch norm": True}),
        changed("pictures", 300, LARGER, (FROZEN,), side=64),
        changed("digits", 100, LONGER, (SCRATCH, TUNED), 3 * STEPS),
    ],
    train=train,
    test_data=test_data,
    test=test,
    rests_on=[
        f"mmbook/weights/{part}/model.safetensors"
        for part in ("scene-image-encoder", "scene-audio-encoder")
    ],
    needs=["MMBOOK_DATA", "MMBOOK_MODELS"],
)

if __name__ == "__main__":
    main(DESIGN, __file__)
