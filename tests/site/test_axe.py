"""Accessibility, by axe: no violation, in both themes.

Coloured code and formulas look alike on all pages, and take most of the time: they are
looked at on a few.
"""

from pathlib import Path

import pytest

pytestmark = pytest.mark.site
WHOLE = ("chapters/index", "25_fusion", "appendix/glossary")  # with code and formulas
RUN = """
async ([whole, only]) => {
  const options = {resultTypes: ["violations"]};
  if (only) options.runOnly = {type: "rule", values: [only]};
  if (!whole)
    document.querySelectorAll(".highlight pre span, svg g").forEach(n => n.remove());
  const found = await axe.run(document, options);
  return found.violations.map(violation => violation.id + ": " + violation.nodes
    .slice(0, 3).map(node => node.html.slice(0, 120)).join(" | "));
}
"""
STILL = (
    "*, *::before, *::after { transition: none !important; animation: none !important }"
)
DARK = "document.documentElement.dataset.theme = 'dark'"


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    package = pytest.importorskip("axe_playwright_python", reason="needs axe")
    return next(Path(package.__file__).parent.rglob("axe.min.js")).read_text("utf-8")


def test_axe_finds_nothing(page, show, axe):
    tab = show(page)
    whole = page.removesuffix(".html").endswith(WHOLE)
    tab.add_style_tag(content=STILL)  # no colour on its way to another
    tab.evaluate(axe)
    light = tab.evaluate(RUN, [whole, ""])
    tab.evaluate(DARK)
    assert (light, tab.evaluate(RUN, [whole, "color-contrast"])) == ([], [])
