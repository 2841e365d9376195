"""Code on a narrow screen."""

import re

from web.code import fitted, lines

LONG = (
    '    <span class="n">times</span><span class="o">.</span><span class="n">append'
    '</span><span class="p">(</span><span class="n">seconds</span> of a method)\n'
)


def text(code: str) -> str:
    return re.sub("<[^>]*>", "", code)


def test_only_long_lines_are_marked_and_go_on_deeper_than_they_begin():
    found = lines(f"short\n{LONG}\nlast")
    assert re.findall(r"--deep:(\d+)", found) == ["6"]
    assert found.startswith("short\n<span class") and found.endswith("\nlast")


def test_a_deep_line_leaves_room_for_its_rest():
    assert "--deep:12" in lines(" " * 30 + "rest of a call that is long)\n")


def test_a_line_that_begins_far_to_the_right_can_begin_further_left_on_a_phone():
    far = lines(f"{' ' * 26}compile=False, precision=None)\n")
    assert far.startswith(
        '<span class="long inner" style="--deep:12"><span class="indent">'
    )
    assert text(far) == f"{' ' * 26}compile=False, precision=None)\n"
    assert "inner" not in lines(f"{' ' * 16}if text in a.block.of.the.language:\n")


def test_a_line_may_break_before_a_dot_and_behind_a_bracket():
    pieces = lines(LONG).split("<wbr/>")
    assert [text(piece).strip() for piece in pieces] == [
        "times",
        ".append(",
        "seconds of a method)",
    ]


def test_code_is_copied_as_it_was_written():
    page = f'<div class="highlight"><pre>{LONG * 3}</pre></div>'
    assert text(fitted(page)) == text(page)


def test_a_string_of_several_lines_stays_as_it_is():
    code = '<span class="s">"""A text that is longer than thirty characters\nb</span>\n'
    assert lines(code) == code


def test_a_name_breaks_at_its_joints_and_a_number_is_whole():
    page = '<code><span class="pre">mmbook.world.render_video</span></code>'
    assert "mmbook.<wbr/>world.<wbr/>render_<wbr/>video" in fitted(page)
    assert fitted('<span class="pre">a_b.c</span>') == '<span class="pre">a_b.c</span>'


def test_a_name_in_a_table_breaks_before_its_capitals_too():
    name = '<span class="pre">TransformerXLGenerationHead</span>'
    assert "hump" not in fitted(name)
    cell = fitted(f"<td>{name}</td>")
    assert cell.split("</span>")[0].split('<wbr class="hump"/>') == [
        '<td><span class="pre">Transformer',
        "XL",
        "Generation",
        "Head",
    ]
    assert fitted(cell) == cell


def test_the_name_of_the_next_module_breaks_at_its_dots():
    title = '<p class="prev-next-title">training.evaluate</p>'
    assert "training.<wbr/>evaluate" in fitted(title)


def test_the_end_of_a_string_is_no_line_of_its_own():
    line = '<span class="s2">"Lines and large marks are means, "</span>\n'
    assert 'means,<span class="whole"> "</span></span>' in lines(line)


def test_a_finished_page_stays_as_it_is():
    page = f'<div class="highlight"><pre>{LONG}</pre></div><span class="pre">{"a_b" * 9}</span>'
    assert fitted(fitted(page)) == fitted(page)
