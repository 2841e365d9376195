"""What stands around the book: commands, environments, the version, the workflows."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mmbook

yaml = pytest.importorskip("yaml", reason="needs the extra lab")
import book  # noqa: E402

ROOT = book.ROOT
PROJECT = book.project()
TARGET = re.compile(r"^([a-z]+):.*##", re.MULTILINE)
needs_make = pytest.mark.skipif(
    not shutil.which("make"), reason="make is not installed"
)


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_a_page_names_only_commands_that_make_knows(page):
    spoken = set(re.findall(r"`make ([a-z]+)|^make ([a-z]+)", text(page), re.MULTILINE))
    assert {a or b for a, b in spoken} <= set(TARGET.findall(text("Makefile")))


def test_the_readme_names_what_a_newcomer_needs():
    readme = text("README.md")
    for command in ("book", "test", "quick", "lab", "run", "exercises", "new", "study"):
        assert f"make {command}" in readme, command


def make(folder, *arguments, **environment):
    """What make says; with these variables of the environment and no others of ours."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MMBOOK", "MAKE"))}
    command = ["make", "--file", str(ROOT / "Makefile"), *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        encoding="utf-8",
    )
    return done.stdout + done.stderr


@needs_make
def test_data_of_a_neighbouring_project_are_left_alone(tmp_path):
    for name in ("neighbour/data", "neighbour/models", "book"):
        (tmp_path / name).mkdir(parents=True)
    said = make(tmp_path / "book", "--print-data-base", "--dry-run", "help")
    assert "MMBOOK_DATA" not in said and "MMBOOK_MODELS" not in said
    said = make(
        tmp_path / "book", "--print-data-base", "--dry-run", "help", MMBOOK_DATA="x"
    )
    assert re.search(r"^MMBOOK_DATA = x$", said, re.MULTILINE)


@needs_make
@pytest.mark.parametrize(
    "system, python",
    [("", ".venv/bin/python "), ("Windows_NT", ".venv/Scripts/python.exe ")],
)
def test_make_finds_the_environment_on_every_system(system, python):
    said = make(
        ROOT, "--dry-run", "--always-make", "notebooks", "CHAPTER=6.1", OS=system
    )
    assert f"{python}tools/alone.py 6.1" in said


@needs_make
def test_recipes_are_commands_that_every_shell_understands():
    """One program with its arguments: no pipe, no variable, no program of Unix alone."""
    targets = TARGET.findall(text("Makefile"))
    said = make(ROOT, "--dry-run", "--always-make", *targets, "NAME=x", "OS=Windows_NT")
    lines = said.split("\n")
    commands = [line for line in lines if line and not line.startswith("make: ")]
    assert len(commands) > len(targets)
    for command in commands:
        assert command.startswith((".venv/Scripts/python.exe ", "python ")), command
        assert not re.search(r"[|<>&;$%`]", re.sub(r'"[^"]*"', "", command)), command


@pytest.mark.parametrize("variable", ["MMBOOK_DATA", "MMBOOK_MODELS"])
def test_real_data_are_found_through_the_environment_alone(variable):
    assert variable not in text("Makefile")
    assert variable in text("README.md")


def test_the_environments_are_the_same():
    conda = yaml.safe_load(text("environment.yml"))
    (pip,) = (part["pip"] for part in conda["dependencies"] if isinstance(part, dict))
    assert pip == ["--constraint constraints.txt", "--editable .[dev]"]
    assert '"--constraint", "constraints.txt", "--editable", ".[dev]"' in text(
        "tools/environment.py"
    )
    everything = PROJECT["project"]["optional-dependencies"]["dev"]
    assert everything == ["mmbook[book,export,index,lab,search,service,test]"]
    python = PROJECT["project"]["requires-python"]
    assert f"python{python}" in conda["dependencies"]


def test_what_is_required_is_in_the_constraints():
    pinned = set(re.findall(r"^([\w-]+)==", text("constraints.txt"), re.MULTILINE))
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = (
        PROJECT["project"]["dependencies"]
        + extras["test"]
        + extras["lab"]
        + extras["book"]
        + extras["service"]
        + extras["export"]
    )
    names = {re.match(r"[\w-]+", requirement).group().lower() for requirement in wanted}
    assert names - pinned <= {"setuptools"}


def test_there_is_one_version():
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert (
        PROJECT["tool"]["setuptools"]["dynamic"]["version"]["attr"]
        == "mmbook.__version__"
    )
    assert yaml.safe_load(text("CITATION.cff"))["version"] == mmbook.__version__
    newest = re.findall(r"^## \[(\d[\d.]*)\]", text("CHANGELOG.md"), re.MULTILINE)[0]
    assert newest == mmbook.__version__


def test_the_package_says_that_it_is_typed():
    assert (Path(mmbook.__file__).parent / "py.typed").is_file()
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"]["mmbook"]


WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_commands_that_exist(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    targets, steps = set(TARGET.findall(text("Makefile"))), 0
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            command = step.get("run", "")
            assert set(re.findall(r"\bmake ([a-z]+)", command)) <= targets
            for tool in re.findall(r"\b(?:tools|studies|tests)/[\w/]+\.py", command):
                assert (ROOT / tool).is_file(), tool
            steps += 1
    assert steps and workflow[True]  # YAML reads the key "on" as true


@pytest.mark.slow
def test_importing_the_package_needs_the_core_only():
    """Extras are imported where they are used, not before."""
    code = (
        "import sys, importlib, pkgutil, mmbook\n"
        "for m in pkgutil.walk_packages(mmbook.__path__, 'mmbook.'):\n"
        "    if not m.name.endswith('__main__'):\n"
        "        importlib.import_module(m.name)\n"
        "extras = {'datasets', 'sacrebleu', 'optuna', 'peft', 'jupytext', 'nbval'}\n"
        "print(sorted(extras & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_fusion_that_contributors_are_shown_works():
    torch = pytest.importorskip("torch")
    from mmbook.tokens import Tokens

    code = re.search(r"```python\n(.*?)```", text("CONTRIBUTING.md"), re.DOTALL)[1]
    space = {"__package__": "mmbook.fusion", "__name__": "mmbook.fusion.my_method"}
    exec(code, space)
    method = space["MyMethod"]({"image": 4, "text": 6}, 8)
    mask = torch.tensor([[True, False], [True, True]])
    given = {"image": Tokens(torch.randn(2, 2, 4), mask)}
    alone = method(given)
    assert alone.values.shape == (2, 1, 8)
    torch.testing.assert_close(alone.values, method.vectors(given).values[:, :1])
    both = method(given | {"text": Tokens(torch.randn(2, 2, 6), mask)})
    assert both.mask.all() and not torch.allclose(both.values, alone.values)


def test_studies_are_found_and_an_unknown_one_lists_them(monkeypatch):
    import studies

    names = [file.stem for file in studies.studies()]
    assert names and not {"runner", "design"} & set(names)
    monkeypatch.setattr(sys, "argv", ["studies", "nonsense"])
    with pytest.raises(SystemExit, match=f"no study is named nonsense.*{names[0]}"):
        studies.main()
