"""What readers meet: nothing cut off, no error, no other host, in both sizes and themes."""

import pytest

pytestmark = pytest.mark.site
CUT = """
() => [...document.querySelectorAll(
  "article pre, article table, .display-formula .parts, article figure, article img"
)].filter(node => {
  if (!node.checkVisibility() || node.closest(".film")) return false;
  const box = node.closest("pre, .parts") || node.parentElement;
  const hides = getComputedStyle(box).overflowX !== "visible";
  return hides && box.scrollWidth > box.clientWidth + 1;
}).map(node => `${node.tagName} ${node.textContent.trim().slice(0, 60)}`)
"""
OPEN = "document.querySelectorAll('details').forEach(part => part.open = true)"
WIDE = "document.documentElement.scrollWidth - window.innerWidth"


def test_nothing_is_cut_off_nothing_is_wrong_and_a_phone_can_hold_it(
    page, show, address
):
    tab = show(page)
    tab.evaluate(OPEN)
    cut = tab.evaluate(CUT)
    tab.set_viewport_size({"width": 390, "height": 844})
    beyond = tab.evaluate(WIDE)
    foreign = [url for url in tab.asked if not url.startswith((address, "data:"))]
    assert (cut, beyond, tab.errors, foreign) == ([], 0, [], [])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_first_view_is_right_before_scripts_run(show, theme):
    tab = show("chapters/index.html", theme=theme, scripts=False)
    page = tab.content()
    assert 'data-theme="light"' in page and "all.min.js" not in page
    tab = show("chapters/index.html", theme=theme)
    assert tab.evaluate("document.documentElement.dataset.theme") == theme
