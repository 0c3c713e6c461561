"""Rows of a worksheet that hold nothing but plain cells, recognised whole: an XML parser takes ten times as long.

What is recognised is well-formed by construction and has no formula, no error value, no hidden row and no long text.
It is taken out of the stream; everything else reaches the parser in ``sheetxml``, which then sees a smaller document.
"""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import BinaryIO

# Possessive throughout: a row either is plain or is not, and is never tried a second way.
_CELL = (
    rb'<c r="[A-Z]{1,3}+\1"(?: s="[0-9]{1,6}+")?+(?: t="(?:s|n|str|inlineStr)")?+(?: s="[0-9]{1,6}+")?+'
    rb'(?:/>|>(?:<v>[^<&>]{0,400}+</v>|<is><t(?: xml:space="preserve")?+>[^<&>]{0,2000}+</t></is>)?+</c>)'
)
_ROW = re.compile(
    rb'<row r="([1-9][0-9]{0,6}+)"(?: spans="[0-9]{1,5}+:[0-9]{1,5}+")?+(?: x14ac:dyDescent="[0-9.]{1,9}+")?+>'
    rb"((?:" + _CELL + rb")*+)</row>"
)
_REF = re.compile(rb'<c r="([A-Z]{1,3})')
_SHARED = re.compile(rb't="s"(?: s="[0-9]+")?><v>([0-9]{1,9})</v>')
_CHUNK = 256 * 1024
_TAIL = 1024 * 1024
_END = b"</row>"

Take = Callable[[int, int, int, int, int], None]
"""Row, last column, filled cells, highest shared string or -1, bytes of text."""


class PlainRows:
    """A reader for the XML parser that keeps plain rows back and tells them to ``take``, in their order."""

    def __init__(self, stream: BinaryIO, take: Take) -> None:
        self._stream = stream
        self._take = take
        self._tail = b""
        self._ended = False
        self._columns: list[bytes] = []
        self._last = 0

    def read(self, _size: int) -> bytes:
        """The next piece without its plain rows; empty at the end."""
        while not self._ended:
            piece = self._stream.read(_CHUNK)
            self._ended = not piece
            data = self._tail + piece
            cut = len(data) if self._ended else data.rfind(_END) + len(_END)
            if cut < len(_END):
                cut = len(data) if len(data) > _TAIL else 0
            self._tail = data[cut:]
            rest = self._without_rows(data[:cut])
            if rest:
                return rest
        return b""

    def _without_rows(self, data: bytes) -> bytes:
        kept: list[bytes] = []
        at = 0
        for found in _ROW.finditer(data):
            start, end = found.span()
            body = found[2]
            columns = _REF.findall(body)
            if columns != self._columns and not self._are_rising(columns):
                continue
            if not body.isascii() and not _is_utf8(body):
                continue
            if start > at:
                kept.append(data[at:start])
            at = end
            shared = max(map(int, _SHARED.findall(body)), default=-1)
            self._take(int(found[1]), self._last, body.count(b"</v>") + body.count(b"</t>"), shared, len(body))
        kept.append(data[at:])
        return b"".join(kept)

    def _are_rising(self, columns: list[bytes]) -> bool:
        numbers = [_number(letters) for letters in columns]
        if any(later <= earlier for earlier, later in pairwise(numbers)):
            return False
        self._columns, self._last = columns, numbers[-1] if numbers else 0
        return True


def _number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _is_utf8(body: bytes) -> bool:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    # What XML forbids is for the parser to refuse.
    return "\ufffe" not in text and "\uffff" not in text
