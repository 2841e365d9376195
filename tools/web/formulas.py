"""Formulas as SVG, drawn by MathJax while the site is built: readers load no script.

MathJax runs inside of V8 (``mini-racer``); it comes with ``sphinx-mathjax-offline``. A
formula is drawn once, wherever it stands. Wide formulas break where they have a
``\\quad`` or ``\\qquad``; their number stands beside them.
"""

import functools
import html
import re
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes

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
    parts = [tex] if r"\begin" in tex else BREAK.split(tex)
    whole = all(p.count("{") == p.count("}") for p in parts) and r"\left" not in tex
    return (parts if whole else [tex]), number[1] if number else ""


def inline(self, node):
    """A formula within a sentence."""
    self.body.append(f'<span class="formula">{drawn(node.astext(), False)}</span>')
    raise nodes.SkipNode


def block(self, node):
    """A displayed formula: its parts, and its number at the right."""
    parts, number = pieces(node.astext())
    inner = "".join(f"<span>{drawn(part, True)}</span>" for part in parts if part)
    inner = f'<div class="parts" tabindex="0" role="group" aria-label="formula">{inner}</div>'
    if number:
        inner += f'<span class="number">({html.escape(number)})</span>'
    self.body.append(f'<div class="display-formula">{inner}</div>')
    raise nodes.SkipNode


def setup(app):
    """Called by Sphinx."""
    app.add_html_math_renderer("svg", (inline, None), (block, None))
