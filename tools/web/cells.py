"""The argument in front, the code behind: which cells are folded, and what they show.

Folded are the cells that a reader of the page can pass over: the set-up, imports, checks,
and the code of a figure; and what comes out where the text asks to predict it. A cell
that is tagged ``show`` stays open. Marks for the tests are left out.
"""

import ast
import re

from IPython.core.inputtransformer2 import TransformerManager

from .reading import notebook_pass

MARK = re.compile(r"^# NBVAL_\w+\n|[ ]*# (?:noqa|type:|ruff:).*$", re.MULTILINE)
PREDICT = re.compile(r"\*+Predict\b[^*]*\*+")
NAMES = {
    "set-up": "Set-up",
    "imports": "Imports",
    "check": "Check",
    "result": "Code and check",
    "figure": "Code",
}
ANSWER = "What comes out"


@notebook_pass
def fold(notebook, page, app):
    """Tag what is folded, and take out the marks of the tests."""
    asked = False
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            asked = bool(PREDICT.search(cell.source))
        elif cell.cell_type == "code":
            cell.source = MARK.sub("", cell.source)
            _tag(cell, kind(cell), asked)
            asked = False


def _tag(cell, which: str | None, asked: bool) -> None:
    tags = set(cell.metadata.get("tags", ()))
    if "show" in tags:
        return
    shown = None
    if which and asked and cell.outputs:
        tags.add("hide-cell")
        shown = f"{NAMES[which]} · {ANSWER}"
    elif which:
        tags.add("hide-input")
        shown = NAMES[which]
    elif asked and cell.outputs:
        tags.add("hide-output")
        shown = ANSWER
    elif "hide-input" in tags:  # by its author
        shown = NAMES["figure"]
    if shown:
        prompts = {"code_prompt_show": shown, "code_prompt_hide": shown}
        cell.metadata.setdefault("mystnb", {}).update(prompts)
    cell.metadata["tags"] = sorted(tags)


def kind(cell) -> str | None:
    """What a cell is to a reader: one of ``NAMES``, or None for code that is read."""
    if cell.source.startswith("# On Colab:"):
        return "set-up"
    try:
        body = ast.parse(TransformerManager().transform_cell(cell.source)).body
    except SyntaxError:  # an exercise that is not filled in
        return None
    if not body:
        return None
    imports = any(isinstance(node, ast.Import | ast.ImportFrom) for node in body)
    if imports and all(map(_prepares, body)):
        return "imports"
    if _lines(filter(_checks, body)) * 2 >= _lines(body):
        return "result" if cell.outputs else "check"
    return "figure" if _draws(cell, body) or all(map(_is_drawing, body)) else None


def _prepares(node: ast.stmt) -> bool:
    """An import, or what sets the stage: a seed, the look of figures, a constant."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        plain = isinstance(node.value, ast.Attribute | ast.Constant)
        constant = node.targets[0].id.isupper() or plain
        return constant and len(ast.unparse(node)) < 60
    stage = ("use_style", "manual_seed", "set_num_threads", "filterwarnings", "seed")
    stage += ("set_default_dtype", "set_verbosity_error")
    called = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    return called and ast.unparse(node.value.func).endswith(stage)


def _is_drawing(node: ast.stmt) -> bool:
    """A function that draws, by its name."""
    return isinstance(node, ast.FunctionDef) and node.name.startswith("draw")


def _checks(node: ast.stmt) -> bool:
    """An assertion, or a loop of them."""
    if isinstance(node, ast.For | ast.With):
        return any(map(_checks, node.body))
    return isinstance(node, ast.Assert)


def _draws(cell, body: list[ast.stmt]) -> bool:
    """Draws a figure and defines nothing that the text needs."""
    drawn = any("image/svg+xml" in o.get("data", ()) for o in cell.outputs) or any(
        "image/png" in o.get("data", ()) for o in cell.outputs
    )
    defines = (ast.FunctionDef, ast.ClassDef)
    trains = re.search(r"\bfit\(|\.backward\(", cell.source)
    return drawn and not trains and not any(isinstance(n, defines) for n in body)


def _lines(nodes) -> int:
    return sum(node.end_lineno - node.lineno + 1 for node in nodes)


def setup(app):
    """Nothing to connect: the pass is called when a page is read."""
