"""Formulas as SVG, drawn by MathJax while the site is built: readers load no script.

MathJax runs inside of V8 (``mini-racer``); it comes with ``sphinx-mathjax-offline``. A
formula is drawn once, wherever it stands. Displayed formulas break where they have a
``\\quad`` or ``\\qquad``, and wide ones before ``=``, an arrow, ``+`` or ``-``, if a page is
narrow; their number stands beside them.
"""

import functools
import html
import re
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from docutils import nodes

from .reading import finished_pass

COMPONENTS = (
    *("startup", "core", "adaptors/liteDOM", "input/tex-full", "output/svg"),
    *("output/svg/fonts/tex", "a11y/assistive-mml"),
)
SETTINGS = """
var MathJax = {loader: {load: []}, startup: {typeset: false, ready() {}}};
var global = globalThis;
"""
RENDER = """
var parts = MathJax._, adaptor = parts.adaptors.liteAdaptor.liteAdaptor();
parts.a11y.assistive_mml_ts || parts.a11y["assistive-mml"];
parts.handlers.html_ts.RegisterHTMLHandler(adaptor);
var packages = ["base", "ams", "newcommand", "boldsymbol", "textmacros", "unicode"];
var texts = parts.mathjax.mathjax.document("", {
  InputJax: new parts.input.tex_ts.TeX({packages: packages, formatError(jax, error) {
    throw error;
  }}),
  OutputJax: new parts.output.svg_ts.SVG({
    fontCache: "none", font: new parts.output.svg.fonts.tex_ts.TeXFont()
  })
});
function svg(tex, display) {
  const drawn = texts.convert(tex, {display: display, em: 16, ex: 8, containerWidth: 1e5});
  return adaptor.innerHTML(drawn);
}
"""
TAG = re.compile(r"\s*\\tag\{([^}]*)\}")
BREAK = re.compile(r"\s*\\q?quad\s*")
RELATION = re.compile(
    r"\\(?:Longleftrightarrow|Longrightarrow|leftarrow|approx|propto)(?![A-Za-z])|=|[+-](?= )"
)
ALIGNED = re.compile(r"\s*\\begin\{aligned\}(.*)\\end\{aligned\}\s*", re.DOTALL)
CELL = re.compile(r"(?<!\\)&")
WIDE = 36  # ex: about what a phone holds
SHORT = 6  # ex: too little to stand on a line of its own
LEAST = 0.72  # of the size of a formula: what a phone may make of one that is wider


@functools.cache
def engine():
    """V8 with MathJax in it; one for each process."""
    from py_mini_racer import MiniRacer

    found = find_spec("sphinx-mathjax-offline")
    folder = Path(found.submodule_search_locations[0]) / "static" / "mathjax"
    context = MiniRacer()
    context.eval(SETTINGS)
    for name in COMPONENTS:
        context.eval((folder / f"{name}.js").read_text(encoding="utf-8") + ";0")
    context.eval(RENDER + ";0")
    return context


@functools.cache
def drawn(tex: str, display: bool) -> str:
    """A formula as SVG, with its TeX as a name that is read aloud."""
    from py_mini_racer import JSEvalException

    try:
        picture = engine().call("svg", tex, display)
    except JSEvalException as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"cannot draw the formula {tex}: {reason}") from error
    label = html.escape(" ".join(tex.split()), quote=True)
    return picture.replace('role="img"', f'role="img" aria-label="{label}"', 1)


def pieces(tex: str) -> tuple[list[str], str]:
    """A displayed formula in parts that may stand below each other, and its number."""
    number = TAG.search(tex)
    tex = TAG.sub("", tex)
    parts = columns(tex) if r"\begin" in tex else BREAK.split(tex)
    whole = all(map(_is_whole, parts))
    return (parts if whole else [tex]), number[1] if number else ""


def columns(tex: str) -> list[str]:
    """Aligned formulas side by side, each column of them a part of its own."""
    found = ALIGNED.fullmatch(tex)
    if not found or r"\begin" in found[1]:
        return [tex]
    rows = [CELL.split(row) for row in found[1].split(r"\\")]
    pairs = range(0, max(map(len, rows)), 2)
    if len(pairs) < 2:
        return [tex]
    return [_aligned([row[first : first + 2] for row in rows]) for first in pairs]


def _aligned(rows: list[list[str]]) -> str:
    filled = r" \\ ".join("&".join(row) for row in rows if "".join(row).strip())
    return rf"\begin{{aligned}}{filled}\end{{aligned}}"


def lines(tex: str) -> list[str]:
    """A part of a formula in pieces, each of which may begin a line."""
    if width(drawn(tex, True)) <= WIDE or r"\begin" in tex:
        return [tex]
    ends = [
        0,
        *(
            m.start()
            for m in RELATION.finditer(tex)
            if _is_whole(tex[: m.start()], "()[]")
        ),
    ]
    pieces = [tex[a:b].strip() for a, b in pairwise([*ends, len(tex)])]
    pieces = [piece for piece in pieces if piece]
    if len(pieces) > 1 and _goes_on(*pieces[:2]):
        pieces[:2] = [" ".join(pieces[:2])]
    return [pieces[0], *("{} " + piece for piece in pieces[1:])]  # keeps the space


def _goes_on(first: str, rest: str) -> bool:
    """Is the first piece too short for a line, and does the rest fit behind it?"""
    both = width(drawn(f"{first} {rest}", True))
    return width(drawn(first, True)) < SHORT and LEAST * both <= WIDE


def _is_whole(tex: str, brackets: str = "") -> bool:
    """Does each brace, ``\\left`` and bracket that opens here close here, too?"""
    left, right = (
        re.findall(rf"\\{word}(?![a-zA-Z])", tex) for word in ("left", "right")
    )
    pairs = ["{}", *(brackets[i : i + 2] for i in range(0, len(brackets), 2))]
    return len(left) == len(right) and all(
        tex.count(a) == tex.count(b) for a, b in pairs
    )


def width(svg: str) -> float:
    """Of a drawn formula, in ex."""
    return float(re.search(r'width="([\d.]+)ex"', svg)[1])


def _shrinking(tex: str) -> str:
    """A drawn line that a narrow screen may show smaller, within what can be read."""
    svg = drawn(tex, True)
    least = f'<svg style="min-width: {LEAST * width(svg):.2f}ex; '
    return svg.replace('<svg style="', least, 1)


def inline(self, node):
    """A formula within a sentence."""
    tex = node.astext()
    parts = lines(tex) if width(drawn(tex, False)) > WIDE else [tex]
    shown = [f'<span class="formula">{drawn(part, False)}</span>' for part in parts]
    self.body.append(" ".join(shown))
    raise nodes.SkipNode


def block(self, node):
    """A displayed formula: its parts, and its number at the right."""
    parts, number = pieces(node.astext())
    inner = "".join(
        f"<span>{' '.join(_shrinking(line) for line in lines(part))}</span>"
        for part in parts
        if part
    )
    inner = f'<div class="parts" tabindex="0" role="group" aria-label="formula">{inner}</div>'
    if number:
        inner += f'<span class="number">({html.escape(number)})</span>'
    self.body.append(f'<div class="display-formula">{inner}</div>')
    raise nodes.SkipNode


@finished_pass
def opened(page: str) -> str:
    """A page in which a bracket stays on the line of the formula that it opens."""
    return page.replace('(<span class="formula">', '<span class="formula">(')


def setup(app):
    """Called by Sphinx."""
    app.add_html_math_renderer("svg", (inline, None), (block, None))
