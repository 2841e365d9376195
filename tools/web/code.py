"""Code on a narrow screen: a line that breaks goes on deeper, a name breaks at its joints."""

import re

from .reading import finished_pass

BLOCK = re.compile(r'(<div class="highlight"><pre>)(.*?)(</pre>)', re.DOTALL)
NAME = re.compile(r'(<span class="pre">)([^<]{14,})(</span>)')
JOINT = re.compile(r"(?<=\w)([_./])(?=\w)")
CELL = re.compile(r"<td>.*?</td>", re.DOTALL)
HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
TITLE = re.compile(r'(<p class="prev-next-title">)([\w.]+)(</p>)')
END = re.compile(r"( (?:&quot;|&#39;|[\"']))(?=</span>)")
TAG = re.compile(r"<[^>]*>")
OPENED = re.compile(r'(<span class="p">[^<]*[(\[{]</span>)(?=<span)')
DOT = re.compile(r'(?<=</span>)(?=<span class="o">\.</span>)')
LONG = 30  # characters that a phone shows at least
DEEPEST = 12  # of the indents that the rest of a line takes over
FAR = 20  # columns of indent that leave too little of a phone's line
INDENT = re.compile(r"((?:<span></span>)?)( +)")


@finished_pass
def fitted(page: str) -> str:
    """A page whose long lines of code know their indent, and whose names have joints."""
    page = BLOCK.sub(lambda found: found[1] + lines(found[2]) + found[3], page)
    page = CELL.sub(lambda cell: NAME.sub(_humped, cell[0]), page)
    for names in (NAME, TITLE):
        page = names.sub(lambda found: found[1] + jointed(found[2]) + found[3], page)
    return page


def lines(code: str) -> str:
    """Mark the long lines of a listing, with the indent of what goes on below."""
    if 'class="long"' in code:
        return code
    return "".join(map(_line, code.splitlines(keepends=True)))


def _line(line: str) -> str:
    text = TAG.sub("", line)
    whole = line.count("<span") == line.count("</span")
    if len(text) <= LONG or not whole:
        return line
    indent = len(text) - len(text.lstrip(" "))
    deep = min(DEEPEST, indent + 2)
    line = DOT.sub("<wbr/>", OPENED.sub(r"\1<wbr/>", line))
    line = END.sub(r'<span class="whole">\1</span>', line)
    known = INDENT.match(line)
    if known and indent >= FAR:
        line = f'{known[1]}<span class="indent">{known[2]}</span>{line[known.end() :]}'
        return f'<span class="long inner" style="--deep:{deep}">{line}</span>'
    return f'<span class="long" style="--deep:{deep}">{line}</span>'


def jointed(name: str) -> str:
    """A long name that may break behind its dots and low lines."""
    return JOINT.sub(r"\1<wbr/>", name)


def _humped(name) -> str:
    """A long name in a cell of a table, that a phone may break before its capitals."""
    return name[1] + HUMP.sub('<wbr class="hump"/>', jointed(name[2])) + name[3]


def setup(app):
    """Called by Sphinx."""
    app.add_css_file("code.css")
