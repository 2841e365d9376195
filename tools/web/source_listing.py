"""Pages of the Source part: a module as a listing, and the index of all modules."""

import html
import re
from collections.abc import Callable

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from .source_marks import Href, first_of_each, opening, wrapped
from .source_package import Module, Package, Target
from .source_uses import references

SPOKEN = re.compile(
    r"[Cc]hapters?\s+\d\.\d+(?:(?:,\s+and\s+|,\s+|\s+and\s+|\s+to\s+|\s*–\s*)\d\.\d+)*"
)
CODE = re.compile(r"``(.+?)``|:\w+:`~?(.+?)`")
NUMBER = re.compile(r"\d\.\d+")
Notes = Callable[[Target], list[tuple[str, str]]]  # label and address of each use


def chapter_ranges(text: str, chapters: dict[str, str]) -> list[tuple[int, int, str]]:
    """Where a text names chapters: "Chapter 2.5" as a whole, of several the numbers.

    ``chapters`` holds the address of each chapter by its number.
    """
    found = []
    for named in SPOKEN.finditer(text):
        numbers = list(NUMBER.finditer(named[0]))
        whole = len(numbers) == 1 and "\n" not in named[0]
        for number in numbers:
            if number[0] in chapters:
                start = 0 if whole else number.start()
                tag = f'<a class="to-chapter" href="{chapters[number[0]]}">'
                place = named.start()
                found.append((place + start, place + number.end(), tag))
    return found


def package_ranges(module: Module, package: Package, href: Href) -> list[tuple]:
    """Where a module names others: its imports, and their first use in a definition."""
    found = references(module.text, {}, package, module)
    starts = sorted(found.line for found in module.definitions.values())
    offsets = [0]
    for line in module.text.splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))
    places = [offsets[line - 1] for line in starts]
    groups: dict[int, list] = {}
    for reference in found:
        if reference.target.module != module.name:
            before = sum(place <= reference.start for place in places)
            groups.setdefault(before, []).append(reference)
    kept = [r for group in groups.values() for r in first_of_each(group)]
    return [(r.start, r.end, opening(href(r.target), r.target)) for r in kept]


def coloured(text: str) -> str:
    """The text of a module as HTML, coloured; each line is well-formed by itself."""
    lexer = PythonLexer(stripnl=False, ensurenl=False)
    return highlight(text, lexer, HtmlFormatter(nowrap=True))


def listing(
    module: Module,
    package: Package,
    href: Href,
    chapters: dict[str, str],
    notes: Notes,
) -> str:
    """The lines of a module: numbered, linked, each public name with its chapters."""
    ranges = chapter_ranges(module.text, chapters)
    ranges += package_ranges(module, package, href)
    lines = wrapped(coloured(module.text), ranges).removesuffix("\n").split("\n")
    names: dict[int, list[str]] = {}
    for name, found in module.definitions.items():
        names.setdefault(found.line, []).append(name)
    out = []
    for number, line in enumerate(lines, start=1):
        here = names.get(number, [])
        for name in module.public.keys() & here:
            out.append(note(notes(Target(module.name, name))))
        marks = "".join(f'<span id="{name}"></span>' for name in here)
        out.append(
            f'<span class="line"><a class="number" id="L{number}" href="#L{number}" '
            f'data-n="{number}" tabindex="-1" aria-hidden="true"></a>{marks}{line}\n</span>'
        )
    label = f"Listing of {module.name}"
    return (
        f'<div class="highlight listing"><pre tabindex="0" role="region" '
        f'aria-label="{label}">{"".join(out)}</pre></div>'
    )


def note(found: list[tuple[str, str]]) -> str:
    """The line above a definition that says where in the book it stands."""
    if not found:
        return ""
    links = " · ".join(f'<a href="{address}">{label}</a>' for label, address in found)
    return f'<span class="used">In the book: {links}</span>'


def module_page(module: Module, listed: str, home: str) -> str:
    """The body of a module's page; ``home`` is the address of the index."""
    lines = len(module.text.splitlines())
    return (
        f'<section id="top"><h1>{module.name.replace(".", ".<wbr>")}</h1>'
        f'<p class="source-about">{lines} lines · '
        f'<a href="{home}">all modules</a></p>{listed}</section>'
    )


def contents(module: Module) -> str:
    """The public names of a module as the contents beside its page."""
    names = "".join(
        f'<li><a class="reference internal" href="#{name}">{name}</a></li>'
        for name in module.public
    )
    inner = f"<ul>{names}</ul>" if names else ""
    title = f'<a class="reference internal" href="#">{module.name}</a>'
    return f"<ul><li>{title}{inner}</li></ul>"


def first_line(doc: str) -> str:
    """The first line of a docstring as HTML; ``names`` and roles as code."""
    line = html.escape(doc.partition("\n")[0])
    return CODE.sub(lambda found: f"<code>{found[1] or found[2]}</code>", line)


def room_list(modules: list[Module], href: Href) -> str:
    """The modules of a room: what each is for, its public names, how long it is."""
    items = []
    for module in modules:
        names = ", ".join(
            _name(name, href(Target(module.name, name))) for name in module.public
        )
        lines = len(module.text.splitlines())
        items.append(
            f'<li><a class="module" href="{href(Target(module.name))}"><code>{module.name}'
            f'</code></a> <span class="length">{lines} lines</span>'
            f"<p>{first_line(module.doc)}</p>"
            + (f'<p class="names">{names}</p>' if names else "")
            + "</li>"
        )
    return f'<ul class="source-room">{"".join(items)}</ul>'


def package_index(package: Package, href: Href) -> str:
    """Markdown with the modules of each room, in the order of the rooms."""
    rooms: dict[str | None, list[Module]] = {}
    for module in package.modules.values():
        rooms.setdefault(module.room, []).append(module)
    parts = []
    for room, modules in rooms.items():
        total = sum(len(module.text.splitlines()) for module in modules)
        parts.append(f"## {room or 'mmbook'}\n")
        if len(modules) > 1:
            text = f"{len(modules)} modules, {total:,} lines"
            parts.append(f'<p class="source-length">{text}</p>\n')
        parts.append(f"{room_list(modules, href)}\n")
    return "\n".join(parts)


def chapter_source(found: dict[Target, str], package: Package, href: Href) -> str:
    """The list at the end of a chapter: the rooms and names that its code uses."""
    rooms: dict[str, list[Target]] = {}
    for module in package.modules.values():
        rooms.setdefault(module.room or "", []).extend(
            target
            for target, where in found.items()
            if where == "code" and target.name and target.module == module.name
        )
    items = []
    for room, targets in rooms.items():
        names = ", ".join(_name(target.name, href(target)) for target in targets)
        door = f"mmbook.{room}".rstrip(".")
        if names:
            items.append(f"<li>{_name(door, href(Target(door)))}: {names}</li>")
    if not items:
        return ""
    return (
        '<section id="source-of-this-chapter"><h2>Source of this chapter</h2>'
        f'<ul class="source-used">{"".join(items)}</ul></section>'
    )


def _name(text: str, address: str) -> str:
    return f'<a href="{address}"><code>{text}</code></a>'
