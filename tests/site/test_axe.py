"""Accessibility, by axe: no violation, in both themes."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.site
RUN = """
async only => {
  const options = {resultTypes: ["violations"]};
  if (only) options.runOnly = {type: "rule", values: [only]};
  const found = await axe.run(document, options);
  return found.violations.map(violation => violation.id + ": " + violation.nodes
    .slice(0, 3).map(node => node.html.slice(0, 120)).join(" | "));
}
"""
DARK = "document.documentElement.dataset.theme = 'dark'"


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    package = pytest.importorskip("axe_playwright_python", reason="needs axe")
    return next(Path(package.__file__).parent.rglob("axe.min.js")).read_text("utf-8")


def test_axe_finds_nothing(page, show, axe):
    tab = show(page)
    tab.evaluate(axe)
    light = tab.evaluate(RUN, "")
    tab.evaluate(DARK)
    assert (light, tab.evaluate(RUN, "color-contrast")) == ([], [])
