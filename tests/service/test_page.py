"""The page in a real browser: drawn, dropped, read word by word, corrected."""

import pytest

pytest.importorskip("fastapi", reason="needs the extra service")
pytest.importorskip("playwright", reason="needs playwright")

pytestmark = pytest.mark.slow
DONE = "#caption[aria-busy=false] .word"
FLAGS = "--no-sandbox", "--disable-gpu", "--no-first-run"


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright
    from printed import chromium

    if (found := chromium()) is None:
        pytest.skip("no Chromium on the path, nor in MMBOOK_CHROMIUM")
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=found, args=[*FLAGS])
        yield opened
        opened.close()


@pytest.fixture
def show(browser, serve):
    """Open the page of a service: ``show(width=390, theme="dark")``."""
    contexts = []

    def opened(width=1280, theme="light", model="mmbook/scene-captioner"):
        running = serve(model=model)
        size = {"width": width, "height": 844 if width < 600 else 900}
        contexts.append(browser.new_context(viewport=size, color_scheme=theme))
        tab = contexts[-1].new_page()
        tab.set_default_timeout(60_000)
        tab.asked, tab.errors, tab.running = [], [], running
        tab.on("request", lambda r: tab.asked.append(r.url))
        tab.on("console", lambda m: m.type == "error" and tab.errors.append(m.text))
        tab.on("pageerror", lambda error: tab.errors.append(str(error)))
        tab.goto(f"http://127.0.0.1:{running.port}/")
        tab.wait_for_selector(DONE)
        return tab

    yield opened
    for context in contexts:
        context.close()


def said(tab) -> list[str]:
    """The words that are shown."""
    return [word.inner_text() for word in tab.query_selector_all("#caption .word")]


def test_a_drawn_scene_is_described_and_each_word_shows_where_it_looked(show):
    tab = show()
    tab.click("#clear")
    for group, value in ("shape", "star"), ("colour", "black"), ("size", "small"):
        tab.check(f"input[name={group}][value={value}]", force=True)
    box = tab.locator("#canvas").bounding_box()
    tab.mouse.click(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    tab.click("#describe")
    tab.wait_for_selector(DONE)
    assert said(tab) == ["a", "small", "black", "star"]
    tab.click("#caption .word >> nth=3")
    assert "“star”: probability" in tab.inner_text("#about")
    pressed = tab.query_selector_all("#caption .word[aria-pressed=true]")
    assert [word.inner_text() for word in pressed] == ["star"]
    veil = "c => [...c.getContext('2d').getImageData(0, 0, 480, 480).data].some(v => v)"
    assert tab.eval_on_selector("#veil", veil)
    assert tab.errors == [] and all("127.0.0.1" in url for url in tab.asked)


def test_the_keyboard_is_enough(show):
    tab = show()
    tab.click("#clear")
    tab.focus("input[name=shape]:checked")
    for _ in range(5):
        tab.keyboard.press("ArrowRight")  # to the ring
    tab.focus("#canvas")
    for key in "ArrowUp", "ArrowLeft", "Enter":
        tab.keyboard.press(key)
    tab.focus("#describe")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(DONE)
    assert said(tab) == ["a", "big", "red", "ring"]
    tab.focus("#canvas")
    tab.keyboard.press("Backspace")
    assert tab.inner_text("#caption") == "…"


def test_a_photograph_is_answered_with_a_warning(show):
    from mmbook.samples import photographs

    tab = show()
    tab.set_input_files("#file", photographs().files[0])
    tab.wait_for_selector("#note:not(:empty)")
    tab.wait_for_selector(DONE)
    assert "unlike those that the model learned from" in tab.inner_text("#note")


def test_what_is_no_picture_is_said_and_nothing_breaks(show, tmp_path):
    tab = show()
    (tmp_path / "notes.png").write_text("no picture", encoding="utf-8")
    tab.set_input_files("#file", tmp_path / "notes.png")
    tab.wait_for_selector("#note:not(:empty)")
    assert "cannot read this file" in tab.inner_text("#note")
    tab.click("#random")
    tab.wait_for_selector(DONE)
    assert tab.errors == []


def test_a_correction_is_kept_with_the_picture(show):
    tab = show()
    tab.fill("#right", "a big green dragon")
    tab.click("#form button")
    tab.wait_for_selector("#kept:not(:empty)")
    assert "no such word: dragon" in tab.inner_text("#kept")
    tab.fill("#right", "a big green ring")
    tab.click("#form button")
    tab.wait_for_selector("#kept:has-text('label 1')")
    (row,) = tab.running.serving.labels.rows()
    assert row["caption"] == "a big green ring"


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_and_everybody_can_use_it(show, width, theme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    tab = show(width, theme)
    assert tab.evaluate("() => document.documentElement.scrollWidth") <= width
    found = axe.Axe().run(tab)
    assert found.violations_count == 0, found.generate_report()
    small = tab.eval_on_selector_all(
        "button:not(.word), label.button, .choice",
        "all => all.filter(e => e.getBoundingClientRect().height < 44).length",
    )
    assert small == 0 and tab.errors == []
