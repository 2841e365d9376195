"""Draw the picture that other sites show beside a link: python tools/card.py

It puts title and front picture on a card of 1200 × 630 pixels, by Chromium, and writes
_static/card.png, which is committed.
"""

import sys

from book import ROOT
from printed import chromium

PAGE = """<!DOCTYPE html><meta charset="utf-8"><body style="margin:0;width:1200px;height:630px;
display:flex;flex-direction:column;justify-content:center;gap:36px;background:#fff">
<div style="padding:0 70px;font:700 62px system-ui,'DejaVu Sans',sans-serif;color:#1d2733">
Multimodal large models<div style="font:400 32px system-ui,'DejaVu Sans',sans-serif">
An executable textbook · 多模态大模型</div></div>
<div style="padding:0 70px">{}</div></body>"""


def main() -> None:
    """Write the card."""
    from playwright.sync_api import sync_playwright

    if (found := chromium()) is None:
        sys.exit("a card needs Chromium, on the path or named by MMBOOK_CHROMIUM")
    picture = (ROOT / "_static" / "front.svg").read_text(encoding="utf-8")
    picture = picture.replace("<svg ", '<svg style="width:1060px;height:auto" ', 1)
    with sync_playwright() as started:
        options = {"executable_path": found, "args": ["--no-sandbox"]}
        browser = started.chromium.launch(**options)
        page = browser.new_page(viewport={"width": 1200, "height": 630})
        page.set_content(PAGE.format(picture))
        page.screenshot(path=ROOT / "_static" / "card.png")
        browser.close()


if __name__ == "__main__":
    main()
