"""Cells that change what they read are found, by reading and by running."""

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs the extra lab")
pytest.importorskip("nbclient", reason="needs the extra lab")
import twice  # noqa: E402
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook  # noqa: E402


@pytest.mark.parametrize(
    "code",
    [
        "x += 1",
        "for key in x:\n    x[key] += (1, 2)",
        "x = x + 1",
        "x = x[1:]",
        "x = [*x, 1]",
        "x.y = 2 * x.y",
        "x.append(1)",
        "if a:\n    x[0].extend(b)",
        "x.weight.add_(1)",
        "del x",
        "%pip list\nx += 1",
    ],
)
def test_a_change_of_what_an_earlier_cell_has_made_is_found(code):
    assert len(twice.suspects(code)) == 1


@pytest.mark.parametrize(
    "code",
    [
        "x = 0\nx += 1",
        "x = []\nfor i in a:\n    x.append(i)",
        "x[key] = []\nx[key].append(1)",
        "x = 1\ndel x",
        "for x in a:\n    x += 1",
        "def f(x):\n    x += 1\n    y.append(x)",
        "x = sorted(x)",
        "x = x.float()",
        "x.grad.zero_()",
        "nn.init.normal_(x)",
        "y = x + 1",
    ],
)
def test_what_is_the_same_the_second_time_is_fine(code):
    assert not twice.suspects(code)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What came out of a small notebook whose cells were run twice."""

    def run(*cells):
        path = tmp_path_factory.mktemp("twice") / "11_x.ipynb"
        code = [new_code_cell(cell) for cell in cells]
        book = new_notebook(cells=[new_markdown_cell("# 1.1 X"), *code])
        nbformat.write(book, str(path))
        return twice.run_twice(path)

    return run


@pytest.mark.slow
def test_running_finds_an_error_and_another_result(ran):
    (error,) = ran("x = {1: 2}", "x.pop(1)")
    assert "KeyError" in error
    (other,) = ran("x = [1]", "# NBVAL_CHECK_OUTPUT\nx.append(len(x))\nprint(x)")
    assert "prints something else" in other and "x.append" in other
    assert (
        ran("x = 1", "# NBVAL_CHECK_OUTPUT\nprint(x + 1)", "import time\ntime.time()")
        == []
    )
