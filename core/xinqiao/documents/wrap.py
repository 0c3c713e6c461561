"""Breaking Chinese and Latin text into lines: no closing mark begins a line, no opening mark ends one (避头尾)."""

import re
from collections.abc import Callable

_NOT_FIRST = "，。、；：？！）》〉」』】〕”’…—·,.;:?!)]}%‰℃"
_NOT_LAST = "（《〈「『【〔“‘([{"
# A unit is what may not be torn: marks that open, one character or one Latin word, marks that close.
_UNIT = re.compile(
    rf"[{re.escape(_NOT_LAST)}]*(?:[\x21-\x7e\u00c0-\u024f]+|[^\s])[{re.escape(_NOT_FIRST)}]*|[^\S\n]+", re.ASCII
)


def wrap(text: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """The lines of ``text`` that fit ``width``; ``\\n`` breaks always, and a word wider than a line is cut."""
    return [line for paragraph in text.split("\n") for line in _paragraph(paragraph, width, measure)]


def _paragraph(text: str, width: float, measure: Callable[[str], float]) -> list[str]:
    lines: list[str] = []
    line = ""
    for unit in _UNIT.findall(text):
        if measure(line + unit.rstrip()) <= width:
            line += unit
            continue
        if line.strip():
            lines.append(line.rstrip())
        line = unit.lstrip()
        while line and measure(line.rstrip()) > width:
            cut = next(count for count in range(len(line), 0, -1) if count == 1 or measure(line[:count]) <= width)
            lines.append(line[:cut])
            line = line[cut:]
    return [*lines, line.rstrip()]
