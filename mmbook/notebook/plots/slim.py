"""A drawing without what no reader sees: names, wrappers, and styles said again."""

from __future__ import annotations

import re
from xml.etree import ElementTree

# DejaVu Sans and Verdana are equally wide, so nothing that fits in one is cut off in
# the other; a Chinese font of each system stands behind them.
CHINESE = "'PingFang SC', 'Microsoft YaHei', 'Noto Sans CJK SC'"
FONTS = f"'DejaVu Sans', Verdana, {CHINESE}, sans-serif"
MONO = f"'DejaVu Sans Mono', Menlo, Consolas, {CHINESE}, monospace"
_SVG = "{http://www.w3.org/2000/svg}"
_NAMED = re.compile(r"(?:url\(|href=\")#(\w+)")
_ALONE = ("opacity",)  # a group is not see-through as each of its parts is
ElementTree.register_namespace("", _SVG[1:-1])
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")


def slimmed(svg: str) -> str:
    """The same drawing; what is drawn keeps its order."""
    tree, named = ElementTree.fromstring(svg), set(_NAMED.findall(svg))
    for element in tree.iter():
        element.tail = None
        if not (element.text or "").strip():
            element.text = None
        if element.get("id") not in named:
            element.attrib.pop("id", None)
        _set_style(element, [d for d in _style(element) if FONTS not in d])
    _merge(tree)
    style = next(tree.iter(f"{_SVG}style"), None)
    if style is None:
        style = tree.makeelement(f"{_SVG}style", {})
        tree.insert(0, style)
    style.text = (style.text or "") + f" text{{font-family: {FONTS}}}"
    return ElementTree.tostring(tree, encoding="unicode")


def _style(element) -> list[str]:
    return [d.strip() for d in element.get("style", "").split(";") if d.strip()]


def _set_style(element, declared: list[str]) -> None:
    element.attrib.pop("style", None)
    if declared:
        element.set("style", "; ".join(declared))


def _merge(element) -> None:
    """From the inside outwards: say once what all parts of a group say; no empty groups."""
    for child in element:
        _merge(child)
    if element.tag == f"{_SVG}g":
        _lift(element)
    parts = []
    for child in element:
        parts += (
            list(child) if child.tag == f"{_SVG}g" and not child.attrib else [child]
        )
    element[:] = parts


def _lift(group) -> None:
    """Give a group the style and the frame that all its parts have."""
    if len(group) < 2 or any(part.tag == f"{_SVG}defs" for part in group):
        return
    own = {declared.partition(":")[0] for declared in _style(group)}
    shared = [
        declared
        for declared in _style(group[0])
        if all(declared in _style(part) for part in group)
        and declared.partition(":")[0] not in own
        and not declared.startswith(_ALONE)
    ]
    _set_style(group, [*_style(group), *shared])
    for part in group:
        _set_style(part, [d for d in _style(part) if d not in shared])
    frames = {part.get("clip-path") for part in group}
    if len(frames) == 1 and None not in frames and not group.get("clip-path"):
        group.set("clip-path", frames.pop())
        for part in group:
            del part.attrib["clip-path"]
