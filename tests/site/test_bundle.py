"""What a page asks for before it is drawn: one style sheet, no script that holds it up."""

import re
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.site
SHEET = re.compile(r'<link(?=[^>]*\brel="stylesheet")[^>]*\bhref="([^"]+)"')
SCRIPT = re.compile(r"<script\b[^>]*\bsrc=[^>]*>")
NAME = re.compile(r"\bfa-[a-z0-9-]+")
RULE = re.compile(r"([^{}]*):before\{content:\"\\([0-9a-f]+)\"\}")
FACE = re.compile(r"@font-face\{[^}]*url\(\"?([^\")]+\.woff)\"?\)[^}]*\}")


@cache
def codes(built: Path) -> dict[str, int]:
    """The character of each name that FontAwesome's own style sheet knows."""
    (sheet,) = built.glob("_static/**/all.min.css")
    return {
        name: int(code, 16)
        for names, code in RULE.findall(sheet.read_text("utf-8"))
        for name in NAME.findall(names)
    }


STYLES = {"fas": "solid", "far": "regular", "fab": "brands"}


@cache
def characters(font: Path) -> frozenset[int]:
    """What a font can draw; a character without an outline does not count."""
    opened = pytest.importorskip("fontTools.ttLib").TTFont(font)
    bounds = pytest.importorskip("fontTools.pens.boundsPen")
    outlines, drawn = opened.getGlyphSet(), set()
    for code, name in (opened.getBestCmap() or {}).items():
        pen = bounds.BoundsPen(outlines)
        outlines[name].draw(pen)
        drawn |= {code} if pen.bounds else set()
    return frozenset(drawn)


def fonts_of(sheet: Path) -> dict[str, frozenset[int]]:
    """What the fonts of a style sheet can draw: solid, regular, brands."""
    found = [sheet.parent / name for name in FACE.findall(sheet.read_text("utf-8"))]
    assert found and sum(font.stat().st_size for font in found) < 20_000
    return {font.name.split("-")[1]: characters(font.resolve()) for font in found}


def icons_in(text: str, known: dict[str, int]) -> set[tuple[str, str]]:
    """Name and style of each icon that a page shows: of all its ``class`` attributes."""
    shown = set()
    for value in re.findall(r'\bclass="([^"]*\bfa-[^"]*)"', text):
        words = value.split()
        named = [word.removeprefix("fa-") for word in words]
        styles = [STYLES.get(word, word) for word in named]
        style = next((s for s in styles if s in STYLES.values()), "solid")
        shown |= {(word, style) for word in words if word in known}
    return shown


def read(built: Path, page: str) -> tuple[str, str, str]:
    """Head and body of a page, and the address of its only style sheet."""
    text = (built / page).read_text("utf-8")
    head, _, body = text.partition("</head>")
    sheets = SHEET.findall(text)
    assert len(sheets) == 1, sheets
    return head, body, sheets[0].partition("?")[0]


def test_a_page_has_one_style_sheet_and_no_script_that_holds_it_up(page, built):
    head, body, sheet = read(built, page)
    assert SHEET.search(head)
    assert (built / page).parent.joinpath(sheet).resolve().is_file()
    scripts = SCRIPT.findall(head + body)
    assert scripts
    assert [tag for tag in scripts if not re.search(r"\bdefer\b", tag)] == []
    assert len(scripts) == len(set(scripts))


def test_each_icon_of_a_page_is_in_the_small_fonts(page, built):
    head, body, name = read(built, page)
    sheet = ((built / page).parent / name).resolve()
    fonts, known = fonts_of(sheet), codes(built)
    used = icons_in(head + body, known)
    assert {"fa-bars", "fa-magnifying-glass"} <= {name for name, _ in used}
    missing = {(n, style) for n, style in used if known[n] not in fonts[style]}
    assert missing == set()
    rules = RULE.findall(sheet.read_text("utf-8"))
    assert {n for n, _ in used} <= {
        n for names, _ in rules for n in NAME.findall(names)
    }


def test_each_icon_that_a_script_or_a_style_sheet_draws_is_there_too(built):
    known = codes(built)
    named = {
        known[name]
        for script in built.glob("_static/**/*.js")
        for name in NAME.findall(script.read_text("utf-8"))
        if name in known
    }
    sheets = {
        read(built, page)[2].rpartition("/")[2] for page in ("chapters/index.html",)
    }
    for name in sheets:
        sheet = built / "_static" / name
        drawn = frozenset().union(*fonts_of(sheet).values())
        written = re.findall(r"\\(f[0-9a-f]{3})\b", sheet.read_text("utf-8"))
        assert {int(code, 16) for code in written} | named <= drawn


def icons_shown(tab) -> list[tuple[str, bool]]:
    """The visible icons of a page, and whether each is drawn by a font of the book."""
    return tab.evaluate(
        """
        async () => {
          await document.fonts.ready;
          const faces = [...document.fonts].filter(f => f.family.includes("Awesome"));
          const broken = faces.filter(f => f.status === "error").map(f => f.family);
          const icons = [...document.querySelectorAll("[class*='fa-']")]
            .filter(i => i.checkVisibility() && i.getBoundingClientRect().width);
          return icons.map(i => {
            const before = getComputedStyle(i, "::before");
            const sign = before.content.replaceAll('"', "");
            const svg = i.tagName.toLowerCase() === "svg";
            const font = `${before.fontWeight} 16px ${before.fontFamily}`;
            return [i.className.baseVal ?? i.className,
                    svg || (sign.length === 1 && document.fonts.check(font, sign)
                            && !broken.length)];
          });
        }
        """
    )


@pytest.mark.parametrize("width", [1280, 390])
def test_buttons_show_their_icons_and_do_what_they_say(show, width):
    tab = show("chapters/2-concepts/25_fusion.html", width=width)
    shown = icons_shown(tab)
    assert len(shown) >= 3 and all(drawn for _, drawn in shown), shown
    before = tab.evaluate("document.documentElement.dataset.theme")
    tab.locator("button.theme-switch-button:visible").first.click()
    tab.locator("button.theme-switch-button:visible").first.click()
    assert tab.evaluate("document.documentElement.dataset.mode") not in (None, "")
    assert tab.evaluate("document.documentElement.dataset.theme") in ("light", "dark")
    assert before in ("light", "dark")
    tab.locator("details.hide > summary:visible").first.click()
    assert tab.evaluate("document.querySelector('details.hide').open")
    assert tab.errors == []


def test_a_page_from_the_disk_has_its_look_and_icons_and_no_error(browser, built):
    tab = browser.new_page()
    errors = []
    tab.on("console", lambda m: m.type == "error" and errors.append(m.text))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto((built / "chapters/2-concepts/25_fusion.html").as_uri())
    shown = icons_shown(tab)
    assert shown and all(drawn for _, drawn in shown), shown
    assert tab.evaluate("document.styleSheets.length") >= 1
    assert errors == []
    tab.close()


@pytest.mark.parametrize(
    "query, first", [("attention", "attention"), ("融合", "fusion")]
)
def test_the_search_finds_the_term_then_chapters_then_names(show, query, first):
    tab = show(f"search.html?q={query}")
    tab.wait_for_selector("#search-results li")
    found = tab.locator("#search-results li > a").all_inner_texts()
    assert found[0].startswith(f"Glossary > {first}")
    assert re.match(r"\d\.\d ", found[1])
    assert (
        tab.locator("p.context mark").count() > 3
    )  # the book's own results, not Sphinx's
    if "Attention" in found:
        last = max(i for i, title in enumerate(found) if re.match(r"[1-7]\.\d ", title))
        assert found.index("Attention") > found.index("2.5 Fusion") and last > 3
    assert tab.errors == []
