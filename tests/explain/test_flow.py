"""The parts of a model that ran, and the shapes that flowed."""

import pytest

from mmbook.explain import parts
from mmbook.finetuning import freeze


def test_parts_are_those_that_ran_with_the_shapes_that_flowed(batch, ids, captioner):
    model = captioner()
    found = parts(model, batch | {"labels": ids})
    assert [(p.name, p.kind) for p in found] == [
        ("image encoder", "ConvImageEncoder"),
        ("fusion", "Concatenation"),
        ("head", "GenerationHead"),
    ]
    eyes, joined, head = found
    assert eyes.inputs == {"image": (3, 3, 48, 48)} and eyes.outputs == {
        "out": (3, 36, 16)
    }
    assert joined.inputs == {"image": (3, 36, 16)} == {"image": eyes.outputs["out"]}
    assert head.outputs == {"out": (3, 4, 20)}
    assert sum(p.parameters for p in found) == sum(
        p.numel() for p in model.parameters()
    )
    assert not any(m._forward_hooks for m in model.modules()) and model.training


def test_what_is_frozen_is_not_trained_and_operations_are_counted(batch, captioner):
    model = captioner()
    freeze(model.encoders)
    eyes, joined, _ = parts(model, batch, count=True)
    assert eyes.trained == 0 < eyes.parameters
    assert joined.trained == joined.parameters
    rows, width = 3 * 36, joined.outputs["out"][-1]
    assert joined.operations == 2 * rows * width * width < eyes.operations
    assert parts(model, batch)[0].operations is None
    assert joined.trained == sum(
        p.requires_grad * p.numel() for p in model.fusion.parameters()
    )


def test_any_module_can_be_watched(batch, captioner):
    model = captioner()
    watched = {"first": model.encoders["image"].stages[0]}
    (found,) = parts(model, batch, watched)
    assert (found.name, found.kind) == ("first", "Conv2d")
    assert found.inputs == {"first": (3, 3, 48, 48)}


def test_parts_leave_no_hooks_behind_when_the_model_fails(batch, captioner):
    model = captioner()
    with pytest.raises(ValueError, match="this model reads"):
        parts(model, {"smell": batch["image"]})
    assert not any(m._forward_hooks for m in model.modules())
