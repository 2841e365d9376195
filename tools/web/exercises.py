"""Solutions where they are needed: folded below their task, on the page of the exercises.

The student's notebook and the one with the solutions have the same tasks in the same
order. While the site is built, each task gets its solution from the other notebook: code,
what its check says, and the remark. Links to a page of solutions lead to the page of the
exercises.
"""

import re
from pathlib import Path

import nbformat
from nbformat.v4 import new_markdown_cell

from .cells import MARK
from .meta import repository
from .reading import notebook_pass, text_pass

PAGE = re.compile(r"chapters/exercises/\w+")
TASK = re.compile(r"^## (\d+\.\d+\.\d+) ", re.MULTILINE)
LINK = re.compile(
    r"\[([^\]]*)\]\(((?:\.\./)*(?:exercises/)?)(solutions/)?(\w+\.ipynb)(?:#[^)]*)?\)"
)
NUMBER = re.compile(r"(?<![\d.])\d\.\d+\.\d+(?![\d.])")
OPEN = '<details class="solution"><summary>Solution (解答)</summary>'
CLOSE = "</details>"


def number(cell) -> str | None:
    """The number of the task that begins with a cell; None if none does."""
    found = TASK.search(cell.source) if cell.cell_type == "markdown" else None
    return found[1] if found else None


def tasks(notebook) -> dict[str | None, list]:
    """The cells of each task by its number; what stands before them is under None."""
    found: dict[str | None, list] = {None: []}
    current = found[None]
    for cell in notebook.cells:
        if task := number(cell):
            current = found.setdefault(task, [])
        current.append(cell)
    return found


def is_check(cell) -> bool:
    """Whether a cell checks an answer."""
    return cell.cell_type == "code" and "with check(" in cell.source


def solution(cells: list) -> list:
    """What is folded below a task, from its cells in the notebook of solutions."""
    found = [new_markdown_cell(OPEN)]
    for cell in cells[1:]:
        cell = nbformat.from_dict(cell)
        if cell.cell_type == "code":
            cell.source = MARK.sub("", cell.source)
            hidden = is_check(cell)
            if hidden and not cell.outputs:
                continue
            cell.metadata = {"tags": ["remove-input", "show"] if hidden else ["show"]}
        found.append(cell)
    found.append(new_markdown_cell(CLOSE))
    return found


def merge(student, solved) -> None:
    """Put each solution below its task, and fold the checks of the student's notebook."""
    answers, groups = tasks(solved), tasks(student)
    merged = groups.pop(None)
    for task, cells in groups.items():
        cells[0].source = f"({target(task)})=\n{cells[0].source}"
        merged += [_folded(cell) for cell in cells]
        merged += solution(answers[task]) if task in answers else []
    for place, cell in enumerate(merged):
        cell["id"] = f"cell-{place}"  # two notebooks may use the same names
    student.cells = merged


def target(task: str) -> str:
    """The name of a task in links: exercise-2-7-3."""
    return f"exercise-{task.replace('.', '-')}"


def _folded(cell):
    if is_check(cell):
        tags = [tag for tag in cell.metadata.get("tags", ()) if tag != "show"]
        cell.metadata["tags"] = sorted({*tags, "hide-cell", "show"} - {"hide-input"})
        cell.metadata["mystnb"] = dict(
            code_prompt_show="Check", code_prompt_hide="Check"
        )
    return cell


def more(name: str, address: str | None, branch: str = "main") -> str:
    """The last lines of a page: where the notebook with all solutions can be had."""
    file = f"solutions/{name}.ipynb"
    text = f"**All solutions as a notebook:** {{download}}`download <{file}>`"
    if address:
        place = address.removeprefix("https://github.com/")
        colab = "https://colab.research.google.com/github"
        text += f" · [open in Colab]({colab}/{place}/blob/{branch}/chapters/exercises/{file})"
    return f"---\n\n{text}"


@notebook_pass
def add_solutions(notebook, page, app):
    """Give the page of exercises its solutions."""
    if not PAGE.fullmatch(page):
        return
    path = Path(app.env.doc2path(page))
    path = path.parent / "solutions" / path.name
    if not path.exists():
        return
    app.env.note_dependency(str(path))
    merge(notebook, nbformat.read(path, as_version=4))
    branch = app.config.html_theme_options.get("repository_branch", "main")
    notebook.cells.append(new_markdown_cell(more(path.stem, repository(app), branch)))


@text_pass
def lead_to_tasks(text, page, app):
    """Let links to solutions, and to single exercises, lead to the task on its page."""
    return LINK.sub(_link, text)


def _link(found) -> str:
    label, folder, solved, name = found.groups()
    if not solved and "exercises/" not in folder:
        return found[0]
    if task := NUMBER.search(label):
        return f"[{label}](#{target(task[0])})"
    return f"[{label}]({folder}{name})"
