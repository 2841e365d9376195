"""The book to take along: python tools/printed.py epub|pdf

``epub`` writes _build/mmbook.epub; ``pdf`` puts all chapters on one page and lets Chromium
print it into _build/mmbook.pdf.
"""

import html
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.dom import minidom
from zipfile import ZIP_DEFLATED, ZipFile

import yaml
from book import ROOT
from build_site import BUILT, COMMAND, pages

UP = re.compile(r'="(?:#|(?:\.\./)+)(_\w+/)')
LINK = re.compile(r'(<a\b[^>]*?)\shref="(?!https?:|#|mailto:)[^"]*"')
EMPTY = re.compile(
    r"<(area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr)\b"
    r"((?:\"[^\"]*\"|'[^']*'|[^>\"'])*?)\s*/?>(?:</\1>)?"
)
BARE = re.compile(
    r"(<(?:audio|video|details|input|script|option|button)\b[^>]*?\s)"
    r"(controls|open|loop|muted|checked|disabled|defer|async|hidden)(?=[\s/>])"
)
NAMED = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)\w+;")  # XML knows these five alone
ALONE = re.compile(r"&(?!\w+;|#)")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def build(builder: str) -> Path:
    """Build all pages with another builder of Sphinx."""
    folder = BUILT / builder
    folder.mkdir(parents=True, exist_ok=True)
    toc = {"format": "jb-book", "root": pages()[0]}
    toc["chapters"] = [{"file": page} for page in pages()[1:]]
    (folder / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    options = ["--builder", "custom", "--custom-builder", builder, "--quiet", "--all"]
    places = ["--toc", str(folder / "_toc.yml"), "--path-output", str(folder)]
    command = [sys.executable, "-c", COMMAND, "build", str(ROOT), *options, *places]
    status = subprocess.run(command, cwd=ROOT).returncode
    if status:
        sys.exit(status)
    return folder / "_build" / builder


def epub() -> Path:
    """The book for a reader of EPUB, whose pages must be well-formed XML."""
    found, made = next(build("epub").glob("*.epub")), BUILT / "mmbook.epub"
    with ZipFile(found) as old, ZipFile(made, "w", ZIP_DEFLATED) as new:
        for item in old.infolist():  # the first, its type, is not compressed
            data = old.read(item)
            if item.filename.endswith(".xhtml"):
                data = well_formed(data.decode()).encode()
            new.writestr(item, data, item.compress_type)
    return made


def well_formed(text: str) -> str:
    """A page of HTML as XML: empty elements closed, attributes with values."""
    text = EMPTY.sub(r"<\1\2 />", text)
    while BARE.search(text):
        text = BARE.sub(r'\1\2="\2"', text)
    text = NAMED.sub(lambda found: html.unescape(found[0]), text)
    text = ALONE.sub("&amp;", text)
    minidom.parseString(text.encode())  # raises ExpatError if anything is left
    return text


def chromium() -> str | None:
    """Where a Chromium is, if there is one."""
    named = os.environ.get("MMBOOK_CHROMIUM")
    return named or next(filter(None, map(shutil.which, BROWSERS)), None)


def on_paper(text: str) -> str:
    """The page of all chapters: its pictures found, all loaded, links within it alone."""
    text = UP.sub(r'="\1', text).replace(' loading="lazy"', "")
    return LINK.sub(r"\1", text)


def pdf() -> Path:
    """The book on paper, by Chromium."""
    browser = chromium()
    if browser is None:
        sys.exit("a pdf needs Chromium, on the path or named by MMBOOK_CHROMIUM")
    folder, made = build("singlehtml"), BUILT / "mmbook.pdf"
    page = folder / "book.html"  # Sphinx names all files as from the top of the folder
    text = (folder / f"{pages()[0]}.html").read_text(encoding="utf-8")
    page.write_text(on_paper(text), encoding="utf-8")
    options = ["--headless", "--disable-gpu", "--no-sandbox", "--no-pdf-header-footer"]
    options += ["--generate-pdf-document-outline", "--log-level=3"]
    wait = ["--virtual-time-budget=60000", f"--print-to-pdf={made}", page.as_uri()]
    subprocess.run([browser, *options, *wait], check=True)
    return made


if __name__ == "__main__":
    if sys.argv[1:] not in (["epub"], ["pdf"]):
        sys.exit("usage: python tools/printed.py epub|pdf")
    print(f"The book is at {globals()[sys.argv[1]]().relative_to(ROOT)}")
