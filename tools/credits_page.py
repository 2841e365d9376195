"""Write the page of credits from the package's data: python tools/credits_page.py

A test fails if the page is older than ``mmbook.samples.CREDITS``.
"""

from pathlib import Path

from mmbook.samples import CREDITS, Credit, alt_text

TARGET = Path(__file__).parent.parent / "chapters/appendix/credits.md"

HEAD = """# Credits

The book shows real photographs, voices, a clip and a model that others made and shared.
They come with the package, each under its own licence; everything else is under the
licences of the book.

In Python, `mmbook.samples.CREDITS` holds the lines of this page, and
`mmbook.samples.credit(index)` the line that belongs below a photograph.

## Sounds, film, captions and model

"""

PHOTOGRAPHS = """
## Photographs

They were chosen from COCO 2017 for their licence, and so that no private person can be
recognised.
COCO's files do not name the photographers; each name stands on the page of the work. All
photographs were scaled to 320 pixels on the longer side.

| number | what it shows | work | licence |
|---|---|---|---|
"""

PARTS = {
    "sentences": "Read sentences",
    "digits": "Spoken digits",
    "film": "Film",
    "captions": "Captions of the photographs",
    "mobilenet-v2": "Image classifier",
}


def photograph(index: int, credit: Credit) -> str:
    """The row of one photograph."""
    work = f"[{credit.title}]({credit.page})"
    licence = f"[{credit.licence}]({credit.licence_page})"
    return f"| {index} | {alt_text(index)} | {work} | {licence} |"


def page() -> str:
    """The whole page as Markdown."""
    parts = [
        f"- {name}: {credit.markdown}."
        for part, name in PARTS.items()
        for credit in CREDITS[part]
    ]
    rows = [photograph(*pair) for pair in enumerate(CREDITS["photographs"])]
    return HEAD + "\n".join(parts) + "\n" + PHOTOGRAPHS + "\n".join(rows) + "\n"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8", newline="\n")
    print(TARGET.name, "written")
