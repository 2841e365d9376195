"""The parts of a model that ran, and the shapes that flowed."""

import pytest

from mmbook.explain import parts


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


def test_parts_leave_no_hooks_behind_when_the_model_fails(batch, captioner):
    model = captioner()
    with pytest.raises(ValueError, match="this model reads"):
        parts(model, {"smell": batch["image"]})
    assert not any(m._forward_hooks for m in model.modules())
