"""Search, links to terms and their cards in a browser, with pages from a folder."""

import pytest

pytest.importorskip("jupyter_book", reason="needs the extra book")
pytest.importorskip("nbformat", reason="needs the extra lab")
api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
import build_site  # noqa: E402
from printed import chromium  # noqa: E402

CHROMIUM = chromium()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]
PAGES = ["25_fusion", "43_captioning", "glossary"]
FUSION = "chapters/2-concepts/25_fusion.html"
GLOSSARY = "chapters/appendix/glossary.html"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The address of a site with a few pages."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_site, "BUILT", folder)
        assert build_site.some(PAGES) == 0
    return (folder / "some/_build/html").as_uri()


@pytest.fixture(scope="module")
def browser():
    """Chromium."""
    with api.sync_playwright() as play:
        started = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()


@pytest.fixture
def open_page(site, browser):
    """A function that opens a page; no script of it may fail."""
    failed, contexts = [], []

    def opened(address: str, width: int = 1280, **options):
        view = {"width": width, "height": 900}
        contexts.append(browser.new_context(viewport=view, **options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.goto(f"{site}/{address}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert failed == []


def results(page) -> list[tuple[str, str]]:
    """Title and sentence of each result."""
    page.wait_for_function("/finished|did not match/.test(Search.status.innerText)")
    items = page.locator("ul.search > li").all()
    return [
        (item.locator("> a").inner_text(), item.locator("p.context").all_inner_texts())
        for item in items
    ]


def test_a_chinese_term_is_found_with_a_sentence(open_page):
    page = open_page("search.html?q=融合")
    found = results(page)
    assert [title for title, _ in found[:2]] == ["Glossary > fusion 融合", "2.5 Fusion"]
    assert "融合" in found[1][1][0] and "import " not in str(found)
    assert "\\" not in str([said for _, said in found])
    assert page.locator("p.context mark").first.inner_text() == "融合"
    page.locator("ul.search > li > a").first.click()
    assert page.url.endswith("glossary.html#term-fusion")


def test_a_number_finds_its_chapter(open_page):
    found = [title for title, _ in results(open_page("search.html?q=4.3"))]
    assert found == ["4.3 The captioning loss", "Exercises 4.3 The captioning loss"]


def test_names_lead_to_their_listing_and_nonsense_to_nothing(open_page):
    assert results(open_page("search.html?q=Gated"))[0][0] == "Gated"
    assert results(open_page("search.html?q=魑魅魍魉")) == []
    scattered = results(open_page("search.html?q=融意"))  # each character is there
    assert scattered == []


def test_a_card_opens_by_pointer_and_keyboard_and_moves_nothing(open_page):
    page = open_page(FUSION)
    link, card = page.locator("a.term-link").nth(2), page.locator("#term-card")
    link.scroll_into_view_if_needed()  # pictures nearby load, and lines may round
    page.wait_for_load_state("networkidle")
    height = page.evaluate("document.documentElement.scrollHeight")
    link.hover()
    card.wait_for(state="visible")
    assert link.get_attribute("aria-describedby") == "term-card"
    parts = card.locator("span").all_inner_texts()
    assert len(parts) == 3 and all(parts)
    assert page.evaluate("document.documentElement.scrollHeight") == height
    page.keyboard.press("Escape")
    assert card.is_hidden() and link.get_attribute("aria-describedby") is None
    page.mouse.move(0, 0)
    link.focus()
    card.wait_for(state="visible")
    page.keyboard.press("Tab")
    page.wait_for_function(
        "document.activeElement.className.includes('term-link') ||"
        " document.querySelector('#term-card').hidden"
    )


def test_a_first_tap_opens_the_card_and_a_second_follows_the_link(open_page):
    page = open_page(FUSION, 390, has_touch=True, is_mobile=True)
    link, card = page.locator("a.term-link").nth(4), page.locator("#term-card")
    link.tap()
    card.wait_for(state="visible")
    box = card.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    assert page.url.endswith(FUSION)
    link.tap()
    page.wait_for_url(f"**/{GLOSSARY}#term-*")
    assert page.locator("dt:target").count() == 1


def test_the_glossary_can_be_filtered_and_read_on_a_phone(open_page):
    page = open_page(GLOSSARY, 390)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.locator("#term-filter").fill("晚期")
    shown = page.locator("dl.terms > dt:visible")
    assert shown.all_inner_texts() == ["late fusion 晚期融合"]
    assert page.locator("dl.terms").locator("visible=true").count() == 1
    assert page.locator(".filter [role=status]").inner_text().startswith("1 of ")
    page.locator("#term-filter").fill("")
    assert shown.count() == page.locator("dl.terms > dt").count() > 200


def test_without_scripts_links_and_letters_work(open_page):
    page = open_page(FUSION, java_script_enabled=False)
    page.locator("a.term-link[href$='#term-binding']").click()  # introduced here
    page.locator("dt:target").wait_for(state="attached")
    assert page.locator("ul.letters a").count() > 20
    first = page.locator("dt:target + dd .first-in a")
    first.click()
    page.locator("a.term-link:target").wait_for(state="attached")
