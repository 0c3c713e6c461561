"""A first pass over the XML of a workbook: what a spreadsheet library does not tell, in bounded memory.

Every part is fed to expat in pieces; a document type declaration stops it, so no entity is ever expanded (the rule of
defusedxml's ``forbid_dtd``, applied to a stream).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol
from xml.parsers import expat  # nosec - document type declarations are refused below

from xinqiao.adapters.files.places import FileRefused, Place
from xinqiao.adapters.files.rows import TableLimits

_CHUNK = 64 * 1024
_DEPTH = 64
_TOKEN = 1024 * 1024
_CELL_REF_LETTERS = 3
_INDEX_DIGITS = 9


class Readable(Protocol):
    """What pieces of a document come from."""

    def read(self, size: int, /) -> bytes: ...


Start = Callable[[str, dict[str, str]], None]
End = Callable[[str], None]
Text = Callable[[str], None]


def walk(
    stream: Readable, place: Place, start: Start | None = None, end: End | None = None, text: Text | None = None
) -> None:
    """Feed one part to the callbacks; element and attribute names come without their namespace.

    Raises ``DATA/XML_DTD`` for any DOCTYPE, ``DATA/XML`` for text that is not well-formed UTF-8 XML, is nested deeper
    than 64 elements, or holds a single tag larger than 1 MiB.
    """
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    depth = 0

    def on_start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEPTH:
            raise FileRefused("DATA/XML", f"elements nested deeper than {_DEPTH}", place)
        if start is not None:
            start(_local(name), {_local(key): value for key, value in attributes.items()})

    def on_end(name: str) -> None:
        nonlocal depth
        depth -= 1
        if end is not None:
            end(_local(name))

    def on_doctype(*_: object) -> None:
        raise FileRefused("DATA/XML_DTD", "a part of the file declares a document type; save it anew in Excel", place)

    def on_declaration(_version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in ("utf-8", "utf8"):
            raise FileRefused("DATA/XML", "a part of the file is not UTF-8", place)

    parser.StartElementHandler = on_start
    parser.EndElementHandler = on_end
    parser.StartDoctypeDeclHandler = on_doctype
    parser.EntityDeclHandler = on_doctype
    parser.XmlDeclHandler = on_declaration
    if text is not None:
        parser.CharacterDataHandler = text
    fed = 0
    try:
        while piece := stream.read(_CHUNK):
            if not fed and piece.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise FileRefused("DATA/XML", "a part of the file is not UTF-8", place)
            parser.Parse(piece, False)
            fed += len(piece)
            if fed - max(parser.CurrentByteIndex, 0) > _TOKEN:
                raise FileRefused("DATA/XML", f"a single tag is larger than {_TOKEN} bytes", place)
        parser.Parse(b"", True)
    except expat.ExpatError:
        raise FileRefused("DATA/XML", "a part of the file is not well-formed XML; save it anew", place) from None


@dataclass(slots=True)
class SharedStrings:
    """Only the length of each shared string: enough to know how large a sheet becomes."""

    limits: TableLimits
    place: Place
    lengths: list[int] = field(default_factory=list[int])
    _open: bool = False
    _length: int = 0

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        if name == "si":
            self._open, self._length = True, 0

    def end(self, name: str) -> None:
        if name == "si":
            self.lengths.append(self._length)
            self._open = False

    def text(self, data: str) -> None:
        if self._open:
            self._length += len(data)
            check_length(self._length, self.limits, self.place)


@dataclass(slots=True)
class SheetScan:
    """What one sheet holds: extent and number of its cells, and the first cell of each kind that is not read."""

    limits: TableLimits
    place: Place
    strings: list[int]
    most_cells: int
    cells: int = 0
    characters: int = 0
    last_row: int = 0
    last_column: int = 0
    formula: str | None = None
    error: str | None = None
    hidden: str | None = None
    merged: bool = False
    whole: bool = False
    _has_hidden_parts: bool = False
    _odd: bool = False
    _plain_row: int = 0
    _longest_string: int = -1
    _row: int = 0
    _column: int = 0
    _row_hidden: bool = False
    _rows_hidden: bool = False
    _hidden_columns: set[int] = field(default_factory=set[int])
    _tables: int = 0
    _in_cell: bool = False
    _in_value: bool = False
    _kind: str = ""
    _value: str = ""
    _length: int = 0

    def take_plain(self, row: int, column: int, filled: int, shared: int, size: int) -> None:
        """A whole row of plain cells, as ``PlainRows`` tells it; judged like the cells of any other."""
        # Out of order, or a string that is not there: perhaps it stood in a comment, so the parser must tell.
        self._odd = self._odd or row <= self._plain_row or shared >= len(self.strings)
        self._plain_row = row
        self._check_extent(row, column)
        self.cells += filled
        self.characters += size
        if shared >= 0:
            self.characters += filled * self._longest()
        if column:
            self.last_row, self.last_column = max(self.last_row, row), max(self.last_column, column)
        self._check_cells()

    @property
    def is_exact(self) -> bool:
        """Whether all of it was seen, and plain rows, counted apart, have told the same as if every cell was parsed."""
        alone = self._tables == 1 and not self._row and not self._has_hidden_parts
        return self.whole and (not self._plain_row or (alone and not self._odd))

    def _longest(self) -> int:
        if self._longest_string < 0:
            self._longest_string = max(self.strings, default=0)
        return self._longest_string

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "c":
            self._start_cell(attributes)
        elif name == "row":
            self._start_row(attributes)
        elif self._in_cell:
            if name == "f":
                self.formula = self.formula or self._ref()
            self._in_value = name in ("v", "t")
        elif name == "mergeCell":
            self.merged = True
        elif name in ("col", "sheetFormatPr", "dimension"):
            if self._tables:
                raise self._broken()
            self._start_layout(name, attributes)
        elif name == "sheetData":
            self._tables += 1
            if self._tables > 1:
                raise self._broken()

    def end(self, name: str) -> None:
        if name == "c":
            self._end_cell()
        elif name in ("v", "t"):
            self._in_value = False

    def text(self, data: str) -> None:
        if self._in_value:
            self._length += len(data)
            check_length(self._length, self.limits, self.place)
            if len(self._value) <= _INDEX_DIGITS:
                self._value += data[: _INDEX_DIGITS + 1]

    def _start_layout(self, name: str, attributes: dict[str, str]) -> None:
        if name == "dimension":
            last = attributes.get("ref", "A1").rpartition(":")[2]
            row, column = self._parse_ref(last)
            self._check_extent(row, column)
        elif name == "sheetFormatPr":
            self._rows_hidden = _is_true(attributes.get("zeroHeight"))
            self._has_hidden_parts = self._has_hidden_parts or self._rows_hidden
        elif _is_true(attributes.get("hidden")) or _is_zero(attributes.get("width")):
            first, last_column = self._number(attributes.get("min")), self._number(attributes.get("max"))
            self._has_hidden_parts = True
            self._hidden_columns.update(range(first, min(last_column, self.limits.columns) + 1))

    def _start_row(self, attributes: dict[str, str]) -> None:
        row = self._number(attributes["r"]) if "r" in attributes else self._row + 1
        if row <= self._row or self._in_cell or not self._tables:
            raise self._broken()
        self._row, self._column = row, 0
        hidden = attributes.get("hidden")
        self._row_hidden = _is_zero(attributes.get("ht")) or (self._rows_hidden if hidden is None else _is_true(hidden))

    def _start_cell(self, attributes: dict[str, str]) -> None:
        row, column = self._row, self._column + 1
        if "r" in attributes:
            row, column = self._parse_ref(attributes["r"])
        if self._in_cell or row != self._row or not row or column <= self._column:
            raise self._broken()
        self._check_extent(row, column)
        self._column = column
        self.last_row, self.last_column = max(self.last_row, row), max(self.last_column, column)
        self._check_cells()
        self._in_cell, self._in_value = True, False
        self._kind, self._value, self._length = attributes.get("t", "n"), "", 0

    def _end_cell(self) -> None:
        self._in_cell = self._in_value = False
        if not self._length:
            return
        self.cells += 1
        if self._kind == "e":
            self.error = self.error or self._ref()
        if self._row_hidden or self._column in self._hidden_columns:
            self.hidden = self.hidden or self._ref()
        if self._kind == "s":
            index = self._number(self._value.strip())
            if index >= len(self.strings):
                raise self._broken()
            self.characters += self.strings[index]
        else:
            self.characters += self._length

    def _check_cells(self) -> None:
        if self.last_row * self.last_column > self.most_cells:
            raise FileRefused("DATA/DIMENSION", f"more than {self.most_cells} cells; split the sheet", self.place)

    def _check_extent(self, row: int, column: int) -> None:
        if row > self.limits.rows + 1 or column > self.limits.columns:
            message = f"reaches beyond {self.limits.rows} rows or {self.limits.columns} columns; delete the empty ones"
            raise FileRefused("DATA/DIMENSION", message, self.place)

    def _parse_ref(self, ref: str) -> tuple[int, int]:
        ref = ref.replace("$", "")
        letters = ref.rstrip("0123456789")
        if not (1 <= len(letters) <= _CELL_REF_LETTERS and letters.isascii() and letters.isupper()):
            raise self._broken()
        column = 0
        for letter in letters:
            column = column * 26 + ord(letter) - 64
        if not letters.isalpha():
            raise self._broken()
        return self._number(ref[len(letters) :]), column

    def _number(self, digits: str | None) -> int:
        if not digits or len(digits) > _INDEX_DIGITS or not (digits.isascii() and digits.isdigit()):
            raise self._broken()
        return int(digits)

    def _ref(self) -> str:
        return f"{column_letters(self._column)}{self._row}"

    def _broken(self) -> FileRefused:
        return FileRefused("DATA/XML", "the sheet is not laid out as Excel does it; save it anew", self.place)


def check_length(length: int, limits: TableLimits, place: Place) -> None:
    """Refuse a text of more characters than a cell may have bytes."""
    if length > limits.cell_bytes:
        raise FileRefused("DATA/CELL_TOO_LONG", f"a cell is longer than {limits.cell_bytes} bytes", place)


def column_letters(column: int) -> str:
    """``1`` -> ``A``, ``27`` -> ``AA``."""
    letters = ""
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _is_true(text: str | None) -> bool:
    return text is not None and text.strip().lower() in ("1", "true", "on")


def _is_zero(text: str | None) -> bool:
    try:
        return text is not None and float(text) == 0
    except ValueError:
        return False
