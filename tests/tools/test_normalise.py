"""The form in which notebooks are committed, and what must not be committed at all."""

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs the extra lab")
import normalise  # noqa: E402
from nbformat.v4 import (  # noqa: E402
    new_code_cell,
    new_markdown_cell,
    new_notebook,
    new_output,
)

BACK = chr(92)  # a backslash; paths are put together, so that none stands in this file


def test_normalising_removes_what_differs_from_run_to_run():
    outputs = [
        new_output("stream", name="stderr", text="warning"),
        new_output("stream", name="stdout", text="a\n"),
        new_output("stream", name="stdout", text="b\n"),
        new_output("display_data", data={"text/plain": "<Figure size 1x1>"}),
        new_output(
            "execute_result", data={"text/plain": "<torch._C.Generator at 0x7fa8>"}
        ),
    ]
    cell = new_code_cell("x\n", execution_count=7, outputs=outputs)
    text = normalise.normalised(nbformat.writes(new_notebook(cells=[cell])))
    (cell,) = nbformat.reads(text, as_version=4).cells
    assert (cell.execution_count, cell.source, cell.id) == (1, "x", "cell-000")
    assert [o.text for o in cell.outputs] == ["a\nb\n"]
    assert normalise.normalised(text) == text


def complaints(*outputs, code="x", text="Words."):
    cells = [new_markdown_cell(text), new_code_cell(code, outputs=list(outputs))]
    return normalise.complaints(nbformat.writes(new_notebook(cells=cells)))


def printed(text):
    return new_output("stream", text=text)


@pytest.mark.parametrize(
    "outputs, message",
    [
        ([new_output("error", ename="KeyError")], "ended with KeyError"),
        ([printed("x" * 1_100_000)], "bytes"),
        ([], "not executed"),
    ],
)
def test_what_must_not_be_committed_is_named(outputs, message):
    (said,) = complaints(*outputs)
    assert message in said


PATHS = [
    "/".join(["", *parts])
    for parts in (
        ("home", "me", "x.py"),
        ("Users", "me", "x.py"),
        ("tmp", "ipykernel_1"),
        ("mnt", "c", "data"),
        ("content", "drive", "MyDrive"),
        ("Volumes", "disk", "data"),
        ("private", "var", "folders", "x"),
        ("var", "folders", "x"),
        ("kaggle", "working"),
        ("media", "me", "stick"),
    )
] + [
    f"file://{'/'}{'/'.join(['', 'srv', 'x.html'])}",
    BACK.join(["C:", "Users", "me", "x.py"]),
    (BACK * 2).join(["C:", "Users", "me", "x.py"]),  # as repr shows it
    "/".join(["C:", "Users", "me", "x.py"]),
    BACK.join(["D:", "data", "flickr"]),
    BACK.join([BACK, "server", "share", "x"]),
    (BACK * 2).join([BACK * 2, "wsl$", "Ubuntu"]),
]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_of_a_machine_is_found_in_every_kind_of_output(path):
    plain = {"text/plain": f"PosixPath('{path}')"}
    table = {"text/html": f"<td>{path}</td>"}
    drawn = {"image/svg+xml": f"<text>{path}</text>"}
    error = new_output("error", ename="OSError", traceback=[f"in {path}, line 1"])
    for output in (
        printed(f"saved to {path}\n"),
        new_output("execute_result", data=plain),
        new_output("display_data", data=table),
        new_output("display_data", data=drawn),
    ):
        (said,) = complaints(output)
        assert "a path of a machine" in said
    assert any("a path of a machine" in said for said in complaints(error))


@pytest.mark.parametrize("path", [PATHS[0], PATHS[1], PATHS[10], PATHS[11]])
def test_a_home_is_found_in_code_and_text(path):
    for place in ("code", "text"):
        (said,) = complaints(printed("fine"), **{place: f'open("{path}")'})
        assert "a path of a machine" in said


@pytest.mark.parametrize(
    "fine",
    [
        "https://example.org/content/x and /gpu:0, 3/4, and/or, 1:2",
        "a ratio of 1:2; (B, N, D) → x: " + BACK + "n",
        "f: R " + BACK + "to R, " + BACK * 2 + " next line",
        "runs/best/model.safetensors and mmbook/scene-image-encoder",
    ],
)
def test_what_looks_like_a_path_and_is_none_may_stand(fine):
    assert not complaints(printed(fine))


def test_prose_may_explain_where_a_drive_is_mounted():
    assert not complaints(printed("fine"), text="Colab mounts it at " + PATHS[4])
