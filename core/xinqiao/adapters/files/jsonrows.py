"""Records of a JSON document as the rows every table reader yields, so that one parser serves CSV, REST and forms."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn, TypeGuard, cast

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files.places import FileRefused, Findings, Place
from xinqiao.adapters.files.rows import Cell, Column, Layout, Row, TableLimits, check_cells, refuse

_LIMITS = TableLimits()
_DEPTH = 16
# The closing quote is optional on purpose: an unterminated string is swallowed whole, so the scan stays linear.
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)


def parse_object(data: bytes, name: str) -> dict[str, Any]:
    """The JSON object that ``data`` is. ``name`` stands for it in messages.

    Raises ``FileRefused``: ``DATA/ENCODING``, ``DEPTH``, ``JSON_SYNTAX``, ``JSON_DUP_KEY``, ``JSON_NUMBER``, ``PROFILE``.
    """

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) != len(found):
            raise refuse("DATA/JSON_DUP_KEY", "an object names a key twice", name)
        return made

    def number(_: str) -> NoReturn:
        raise refuse("DATA/JSON_NUMBER", "a number is not finite or has a fraction; write it as text", name)

    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse("DATA/ENCODING", f"byte {error.start + 1} is not UTF-8", name) from None
    _check_depth(text, name)
    try:
        value: object = json.loads(
            text,
            object_pairs_hook=pairs,
            parse_constant=number,
            parse_float=number,
            parse_int=lambda t: _int(t, number),
        )
    except json.JSONDecodeError as error:
        raise refuse("DATA/JSON_SYNTAX", f"not JSON at line {error.lineno} column {error.colno}", name) from None
    if not is_object(value):
        raise refuse("DATA/PROFILE", "must be a JSON object", name)
    return value


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether ``value`` is a JSON object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether ``value`` is a JSON array."""
    return isinstance(value, list)


def as_rows(
    records: object, columns: Sequence[Column], name: str, key: str, findings: Findings | None = None
) -> Iterator[Row]:
    """The objects of the array ``records``, which stood under ``key``; a row's number counts them from 1.

    A bad record is listed in ``findings`` and passed over; without, it is raised. Raises ``FileRefused`` for no array.
    """
    if not is_list(records) or len(records) > _LIMITS.rows:
        raise refuse("DATA/PROFILE", f"{key} must be an array of at most {_LIMITS.rows} records", name)
    names = {column.name for column in columns}
    for number, record in enumerate(records, start=1):
        try:
            yield _row(record, number, names, name)
        except FileRefused:
            raise
        except RecordRejected as error:
            if findings is None:
                raise
            findings.reject(error)


def _row(record: object, number: int, names: set[str], name: str) -> Row:
    place = Place(name, None, number)
    if not is_object(record):
        raise RecordRejected("DATA/PROFILE", "a record must be a JSON object", place)
    found = cast("Mapping[str, object]", record)
    if unknown := sum(key not in names for key in found):
        raise RecordRejected("DATA/UNKNOWN_FIELD", f"{unknown} field(s) are not known; leave them out", place)
    cells: list[Cell] = []
    for key, value in found.items():
        if value is not None and not isinstance(value, (str, int, bool)):
            raise RecordRejected(
                "DATA/TYPE", "must be text, a whole number or a truth value", Place(name, None, number, key)
            )
        if isinstance(value, str) and not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise RecordRejected("DATA/CHARSET", "holds half a character", Place(name, None, number, key))
        cells.append(value)
    layout = Layout(name, None, {key: at for at, key in enumerate(found)}, len(cells), frozenset(names))
    check_cells(number, cells, layout, _LIMITS)
    return Row(number, cells, layout)


def _int(text: str, number: Any) -> int:
    return int(text) if len(text) <= 19 else number(text)


def _check_depth(text: str, name: str) -> None:
    depth = 0
    for token in _TOKEN.finditer(text):
        mark = token.group()
        if mark in ("[", "{"):
            depth += 1
            if depth > _DEPTH:
                raise refuse("DATA/DEPTH", f"nested deeper than {_DEPTH}", name)
        elif mark in ("]", "}"):
            depth -= 1
