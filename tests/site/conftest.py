"""The built site, served to a headless Chromium: `make site` builds it and runs these."""

from __future__ import annotations

import functools
import http.server
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "_build" / "html"
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


def pages() -> list[str]:
    """Addresses of the pages of the book, relative to its root; neither redirects nor source."""
    found = sorted(BUILT.glob("chapters/**/*.html"))
    kept = [path for path in found if "http-equiv" not in path.read_text("utf-8")[:999]]
    return [path.relative_to(BUILT).as_posix() for path in kept]


def pytest_generate_tests(metafunc):
    """A test that takes a ``page`` looks at every page."""
    if "page" in metafunc.fixturenames:
        metafunc.parametrize("page", pages())


@pytest.fixture(scope="session")
def built() -> Path:
    """The folder of the built site."""
    return BUILT


class Silent(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *args):
        """Nothing."""


@pytest.fixture(scope="session")
def address():
    """Of the served site."""
    handler = functools.partial(Silent, directory=str(BUILT))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    from printed import chromium

    if (found := chromium()) is None:
        pytest.skip("no Chromium on the path, nor in MMBOOK_CHROMIUM")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=found, args=[*QUIET])
        yield opened
        opened.close()


@pytest.fixture
def show(browser, address):
    """Open a page: ``show("chapters/index.html", width=390, theme="dark")``.

    What the page asks of other hosts, its errors and what was not found are kept in
    ``page.asked``, ``page.errors``.
    """
    contexts = []

    def opened(
        page: str, width: int = 1280, theme: str = "light", scripts: bool = True
    ):
        size = {"width": width, "height": 844 if width < 600 else 900}
        context = browser.new_context(
            viewport=size, color_scheme=theme, java_script_enabled=scripts
        )
        contexts.append(context)
        tab = context.new_page()
        tab.asked, tab.errors = [], []
        tab.on("request", lambda r: tab.asked.append(r.url))
        tab.on("console", lambda m: m.type == "error" and tab.errors.append(m.text))
        tab.on("pageerror", lambda error: tab.errors.append(str(error)))
        tab.goto(f"{address}/{page}", wait_until="load")
        return tab

    yield opened
    for context in contexts:
        context.close()
