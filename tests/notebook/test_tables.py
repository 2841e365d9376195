"""Tables in HTML: every cell as it was given, and numbers at the right."""

import xml.etree.ElementTree as xml

import numpy as np
import pytest
import torch

from mmbook.notebook import plots


def cells(table):
    """(text, side) of each cell, by row, as a browser would read them."""
    tree = xml.fromstring(table._repr_html_())
    return [
        [(cell.text or "", cell.get("style").split()[-1]) for cell in row]
        for row in tree.iter("tr")
    ]


def test_a_table_holds_its_header_and_its_cells_in_order():
    table = plots.table([["LoRA", 8, 0.6834]], ["method", "rank", "accuracy"])
    shown = [[text for text, _ in row] for row in cells(table)]
    assert shown == [["method", "rank", "accuracy"], ["LoRA", "8", "0.68"]]


def test_columns_of_numbers_stand_at_the_right_with_their_header():
    rows = [
        ["a", 1, "0.30 ± 0.14", "12 %", "1,024", "3"],
        ["b", -2.5, "–", "−3 %", "~7", "three"],
    ]
    table = plots.table(rows, ["name", "n", "mean", "share", "size", "mixed"])
    for row in cells(table):
        sides = [side for _, side in row]
        assert sides == ["left", "right", "right", "right", "right", "left"]


def test_what_looks_like_html_is_shown_as_text():
    table = plots.table([["<b>a & b</b>"]], ["x < y"], caption='"<i>"')
    assert cells(table) == [[("x < y", "left")], [("<b>a & b</b>", "left")]]
    assert xml.fromstring(table._repr_html_()).find("caption").text == '"<i>"'


def test_numbers_are_written_as_asked_and_only_floats_are():
    table = plots.table([[0.5, 12, True, None]], list("abcd"), number="{:.1%}")
    assert [text for text, _ in cells(table)[1]] == ["50.0%", "12", "True", "None"]
    arrays = plots.table([[torch.tensor(0.25), np.float32(0.5), np.int64(3)]], "abc")
    assert [text for text, _ in cells(arrays)[1]] == ["0.25", "0.50", "3"]


def test_a_table_without_html_is_lines_with_tabs():
    assert repr(plots.table([["x", 1.0]], ["a", "b"])) == "a\tb\nx\t1.00"


def test_rows_that_do_not_fit_the_header_are_named():
    with pytest.raises(ValueError, match=r"rows of 2 cells.*got \[1, 2, 3\]"):
        plots.table([[1, 2], [1, 2, 3]], ["a", "b"])
    with pytest.raises(ValueError, match="got no rows"):
        plots.table([], ["a"])
