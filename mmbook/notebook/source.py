"""The source of the package on the page that explains it."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable


class Source:
    """Source that a notebook shows in colour; ``str()`` is the text."""

    def __init__(self, text: str):
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.text}\n```"


def show_source(*parts: Callable, docstrings: bool = True) -> Source:
    """The source of classes, functions and methods, one below the other (显示源代码).

    Chapter 2.5.

    Parameters
    ----------
    docstrings : False leaves out the docstring of each part.
    """
    texts = [textwrap.dedent(inspect.getsource(part)).rstrip() for part in parts]
    if not docstrings:
        texts = [_without(text, part) for text, part in zip(texts, parts, strict=True)]
    return Source("\n\n\n".join(texts))


def _without(text: str, part: Callable) -> str:
    """The text without the docstring of the part itself."""
    said = part.__doc__
    for mark in ('r"""', '"""'):
        start = text.find(mark)
        if said and start >= 0:
            end = text.index('"""', start + len(mark)) + 3
            head = text[:start].rstrip()
            return f"{head}\n{text[end:].lstrip(chr(10))}"
    return text
