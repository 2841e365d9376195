"""Exported graphs give what the model gives, to 1e-4, for any batch size."""

import pytest
import torch

from mmbook.encoders import ConvImageEncoder
from mmbook.fusion import Concatenation
from mmbook.generation import generate
from mmbook.heads import ClassificationHead
from mmbook.models import MultimodalModel
from mmbook.service import export

WITHIN = {"rtol": 0, "atol": 1e-4}


def half(model, name, scenes):
    """One half of a captioner, inputs for its graph, and others of another size."""
    ids = torch.randint(3, 40, (5, 32), generator=torch.Generator().manual_seed(0))
    images = scenes.images[:5] / 255
    if name == "seeing":
        return export.Seeing(model).eval(), (images[:2],), (images,)
    values = model.encode({"image": images}).values.detach()
    part = export.NextWord(model).eval()
    return part, (ids[:2], values[:2]), (ids, values)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["seeing", "next word"])
def test_the_graph_of_pytorch_gives_the_same(model, scenes, name):
    part, some, others = half(model, name, scenes)
    graph = export.exported(part, *some).module()
    for inputs in (some, others, tuple(x[:1] for x in some)):
        torch.testing.assert_close(graph(*inputs), part(*inputs), **WITHIN)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["seeing", "next word"])
def test_onnx_gives_the_same(model, scenes, name, tmp_path):
    for needed in "onnx", "onnxscript", "onnxruntime":
        pytest.importorskip(needed, reason="needs the extra export")
    part, some, others = half(model, name, scenes)
    file = export.to_onnx(part, tmp_path / "part.onnx", *some)
    for inputs in (some, others, tuple(x[:1] for x in some)):
        found = export.run_onnx(file, *inputs)
        torch.testing.assert_close(found, part(*inputs).detach(), **WITHIN)


@pytest.mark.slow
def test_a_classifier_gives_the_same(tmp_path, scenes):
    torch.manual_seed(0)
    encoder = ConvImageEncoder(width=16, channels=(8, 8))
    head = ClassificationHead(16, 7)
    model = MultimodalModel({"image": encoder}, Concatenation({"image": 16}, 16), head)
    part, images = export.Scores(model).eval(), scenes.images[:4] / 255
    graph = export.exported(part, images[:2]).module()
    torch.testing.assert_close(graph(images), part(images), **WITHIN)
    pytest.importorskip("onnxscript", reason="needs the extra export")
    pytest.importorskip("onnxruntime", reason="needs the extra export")
    found = export.run_onnx(export.to_onnx(part, tmp_path / "c", images[:2]), images)
    torch.testing.assert_close(found, part(images).detach(), **WITHIN)


def test_what_is_filled_up_behind_a_word_changes_nothing_before_it(model, scenes):
    """So the graph of fixed length writes the same sentence."""
    see, follow = export.Seeing(model).eval(), export.NextWord(model).eval()
    images = scenes.images[:3] / 255
    with torch.no_grad():
        tokens = see(images)
        ids = torch.full((3, 32), model.head.pad)
        ids[:, 0] = model.head.start
        for step in range(31):
            ids[:, step + 1] = follow(ids, tokens)[:, step].argmax(-1)
    expected = generate(model, {"image": images}, max_new_tokens=31)
    for said, written in zip(expected.tolist(), ids[:, 1:].tolist(), strict=True):
        real = (
            said[: said.index(model.head.end) + 1] if model.head.end in said else said
        )
        assert written[: len(real)] == real
