"""Begin a chapter: notebook, exercises, table of contents, lists of chapters, glossary.

    python tools/new.py 6.1 "Image captioning"
    python tools/new.py 6.1 "Image captioning" --terms "caption=描述, beam search=束搜索"
    python tools/new.py 8.1 "A new part" --part "Outlook"

What is to be written is marked TODO; a test fails as long as one is left. Then
``make run CHAPTER=6.1`` and ``make exercises CHAPTER=6.1`` execute what is there.
"""

import argparse
import re
import sys
from pathlib import Path
from string import Template

import nbformat
from book import NAME, NUMBER, ROOT, number, spoken
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from normalise import normalised
from setup_cell import needed, setup_cell

TEMPLATES = Path(__file__).parent / "templates"
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r"      - file: (\S+)")
LISTED = re.compile(
    r"(?:\| |- )\[([1-9])\.([1-9]\d*) "
)  # a chapter in a list of chapters


def slug(title: str) -> str:
    """A title as a part of a file's name: "Image captioning" is image_captioning."""
    return re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")


def template(file: str, **words: str) -> str:
    """A template with its words put in."""
    return Template((TEMPLATES / file).read_text(encoding="utf-8")).substitute(words)


def notebook(text: str) -> nbformat.NotebookNode:
    """The chapter that a text describes: what is fenced as Python becomes a code cell."""
    parts = CODE.split(text)
    codes = parts[1::2]
    cells = [
        new_markdown_cell(parts[0].strip()),
        new_code_cell(setup_cell(needed(codes))),
    ]
    for code, prose in zip(codes, parts[2::2], strict=True):
        cells.append(new_code_cell(code.strip()))
        cells.append(new_markdown_cell(prose.strip()))
    return new_notebook(cells=cells)


def with_entry(toc: str, caption: str, entry: str) -> str:
    """The table of contents with one more entry, in order, under this caption."""
    new = number(Path(ENTRY.match(entry)[1]))
    lines = toc.split("\n")
    at = lines.index(f"  - caption: {caption}") + 2
    while at < len(lines) and lines[at].startswith("      "):
        found = ENTRY.match(lines[at])
        page = Path(found[1]) if found else None
        if page and page.name != "index" and number(page) > new:
            break
        at += 1
    return "\n".join([*lines[:at], *entry.split("\n"), *lines[at:]])


def with_part(toc: str, part: str, folder: str) -> str:
    """The table of contents with one more part, such as "6 Applications", in order."""
    lines = toc.split("\n")
    captions = [
        (i, x[13:]) for i, x in enumerate(lines) if x.startswith("  - caption: ")
    ]
    at = next(i for i, caption in captions if not "0" < caption[0] < part[0])
    page = f"      - file: chapters/{folder}/index\n        title: Overview"
    new = [f"  - caption: {part}", "    chapters:", page]
    return "\n".join([*lines[:at], *new, *lines[at:]])


def with_line(text: str, line: str, new: tuple[int, int], head: str = "") -> str:
    """A list of chapters with one more line, in order; ``head`` opens a part's list."""
    lines = text.split("\n")
    listed = [(i, LISTED.match(x)) for i, x in enumerate(lines)]
    places = [(i, (int(found[1]), int(found[2]))) for i, found in listed if found]
    own = [(i, place) for i, place in places if place[0] == new[0]]
    before = [i for i, place in own or places if place < new]
    at = before[-1] + 1 if before else own[0][0]
    opening = [] if own else ["", head, ""]
    return "\n".join([*lines[:at], *opening, line, *lines[at:]])


def part_of(toc: str, digit: str, name: str) -> str:
    """The caption of a part: as the table of contents has it, or with a name for a new one."""
    found = re.search(rf"^  - caption: ({digit} .*)$", toc, re.MULTILINE)
    if not found and not name:
        sys.exit(f'there is no part {digit} yet: name it with --part "Applications"')
    return found[1] if found else f"{digit} {name}"


def with_terms(glossary: str, terms: dict[str, str], where: str) -> str:
    """The glossary with a row for each term that it lacks, in order."""
    above, rule, below = glossary.partition("|---|---|---|---|\n")
    rows = below.rstrip("\n").split("\n")
    known = {row.split(" | ")[1] for row in rows}
    rows += [
        f"| {e} | {c} | TODO | {where} |" for e, c in terms.items() if c not in known
    ]
    rows.sort(key=lambda row: row.split(" | ")[0].lower())
    return above + rule + "\n".join(rows) + "\n"


def entries(toc: str, caption: str, words: dict[str, str]) -> str:
    """The table of contents with the chapter, and its exercises below it."""
    indent = "      - file: chapters"
    chapter = (
        f"{indent}/{words['folder']}/{words['name']}\n        sections:\n"
        f"    {indent}/exercises/{words['name']}\n            title: Exercises"
    )
    if f"  - caption: {caption}\n" not in toc:
        toc = with_part(toc, caption, words["folder"])
    return with_entry(toc, caption, chapter)


def lists(caption: str, words: dict[str, str]) -> dict[Path, str]:
    """The front page and the page of the part, with a line for the chapter."""
    front, part = (ROOT / "chapters" / x for x in ("index.md", words["folder"]))
    page, new = part / "index.md", number(Path(words["name"]))
    link = "[{number} {title}]({{}}{name}.ipynb)".format(**words)
    line = f"- {link.format(words['folder'] + '/')}: TODO"
    head = f"**[{caption}]({words['folder']}/index.md)**"
    row = f"| {link.format('')} | TODO |"
    if page.exists():
        text = with_line(page.read_text(encoding="utf-8"), row, new)
    else:
        digit, _, name = caption.partition(" ")
        text = template("part.md", digit=digit, part=name.lower(), row=row)
    shown = with_line(front.read_text(encoding="utf-8"), line, new, head)
    return {front: shown, page: text}


def files(
    chapter: str, title: str, part: str, terms: dict[str, str]
) -> dict[Path, str]:
    """What a new chapter brings and changes: each file with its text."""
    pages = ROOT / "chapters"
    toc, glossary = ROOT / "_toc.yml", pages / "appendix/glossary.md"
    contents = toc.read_text(encoding="utf-8")
    caption = part_of(contents, chapter[0], part)
    folder, name = (
        slug(caption).replace("_", "-"),
        f"{chapter.replace('.', '')}_{slug(title)}",
    )
    words = dict(number=chapter, title=title, name=name, folder=folder)
    said = "".join(f"\nTODO: *{english}* ({c}).\n" for english, c in terms.items())
    begun = notebook(template("chapter.md", **words, terms=said))
    rows = with_terms(glossary.read_text(encoding="utf-8"), terms, chapter)
    return {
        pages / folder / f"{name}.ipynb": normalised(nbformat.writes(begun)),
        pages / f"exercises/sources/{name}.py": template("exercises.txt", **words),
        toc: entries(contents, caption, words),
        **lists(caption, words),
        glossary: rows,
    }


def check(chapter: str, title: str) -> None:
    """Refuse a number that is none or is taken, and a title without a letter."""
    if not NUMBER.fullmatch(chapter) or not slug(title):
        sys.exit('usage: make new CHAPTER=6.1 TITLE="Image captioning"')
    taken = [path.name for path in (ROOT / "chapters").rglob("*") if _is(path, chapter)]
    if taken:
        sys.exit(f"chapter {chapter} is there already: {', '.join(sorted(set(taken)))}")


def _is(path: Path, chapter: str) -> bool:
    return bool(NAME.fullmatch(path.stem)) and spoken(path) == chapter


def read_terms(text: str) -> dict[str, str]:
    """Terms with their translations: "caption=描述, beam search=束搜索"."""
    pairs = [pair.split("=") for pair in text.split(",") if pair.strip()]
    if any(len(pair) != 2 for pair in pairs):
        sys.exit('terms are given like "caption=描述, beam search=束搜索"')
    return {english.strip(): chinese.strip() for english, chinese in pairs}


def main() -> None:
    """Write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapter", help="its number, such as 6.1")
    parser.add_argument("title")
    parser.add_argument("--part", default="", help="the name of a part that is new")
    parser.add_argument("--terms", default="", help="english=中文, …")
    given = parser.parse_args()
    check(given.chapter, given.title)
    terms = read_terms(given.terms)
    for path, text in files(given.chapter, given.title, given.part, terms).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
