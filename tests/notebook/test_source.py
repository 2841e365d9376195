"""Source that a page shows."""

from mmbook.fusion import Sum
from mmbook.notebook.source import show_source


def documented(x: int) -> int:
    """One more.

    Really.
    """
    return x + 1


def plain(x):
    return x


class Holder:
    """Holds."""

    def method(self):
        """Gives."""
        return 1


def test_source_is_shown_in_colour_and_as_text():
    shown = show_source(plain, documented)
    assert str(shown).startswith("def plain(x):\n    return x\n\n\ndef documented")
    assert shown._repr_markdown_() == f"```python\n{shown}\n```"
    assert "class Sum(" in str(show_source(Sum))


def test_docstrings_can_be_left_out_and_methods_stand_at_the_margin():
    shown = show_source(documented, plain, Holder.method, docstrings=False)
    assert str(shown) == (
        "def documented(x: int) -> int:\n    return x + 1\n\n\n"
        "def plain(x):\n    return x\n\n\n"
        "def method(self):\n    return 1"
    )
