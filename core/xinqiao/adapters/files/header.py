"""Header rows: find the known columns by name, and say precisely what is wrong when they are not all there."""

import difflib
import unicodedata
from collections.abc import Sequence

from xinqiao.adapters.files.places import FileRefused, Findings, Place
from xinqiao.adapters.files.rows import Column, Extra, Layout, TableLimits

_OTHER_DELIMITERS = {
    "，": "full-width commas (U+FF0C)",
    ";": "semicolons",
    "\t": "tabs",
    "|": "vertical bars",
    "；": "full-width semicolons (U+FF1B)",
}


def match_header(
    cells: Sequence[str],
    columns: Sequence[Column],
    place: Place,
    *,
    extra: Extra,
    limits: TableLimits,
    findings: Findings,
) -> Layout:
    """Map the known columns to their positions, in any order. Raises ``DATA/HEADER`` naming the known column.

    Unknown header text is never repeated, only its position: a file without a header shows data there.
    """
    if len(cells) > limits.columns:
        raise FileRefused("DATA/HEADER", f"{len(cells)} columns, at most {limits.columns} are read", place)
    spelling = {name: column.name for column in columns for name in (column.name, *column.aliases)}
    index: dict[str, int] = {}
    unknown: list[int] = []
    for position, text in enumerate(cells):
        name = spelling.get(text)
        if name is None:
            unknown.append(position)
        elif name in index:
            raise _refusal(place, f"column {name} is there twice, at {index[name] + 1} and {position + 1}", name)
        else:
            index[name] = position
    missing = [column.name for column in columns if column.required and column.name not in index]
    if missing:
        raise _missing(cells, missing, unknown, spelling, place)
    _judge_extras(cells, unknown, [c.name for c in columns if c.name not in index], extra, place, findings)
    return Layout(place.file, place.sheet, index, len(cells), frozenset(column.name for column in columns))


def knows_any(cells: Sequence[str], columns: Sequence[Column]) -> bool:
    """Whether a header cell that is not plain ASCII is the name of a known column."""
    names = {name for column in columns for name in (column.name, *column.aliases)}
    return any(text in names and not text.isascii() for text in cells)


def _missing(
    cells: Sequence[str], missing: Sequence[str], unknown: Sequence[int], spelling: dict[str, str], place: Place
) -> FileRefused:
    for text in (cells[position] for position in unknown):
        for mark, what in _OTHER_DELIMITERS.items():
            if mark in text and any(_plain(part) in map(_plain, spelling) for part in text.split(mark)):
                return _refusal(place, f"the columns are separated by {what}; use plain commas", None)
    for name in missing:
        known_as = [spelt for spelt, target in spelling.items() if target == name]
        for position in unknown:
            if _resembles(cells[position], known_as):
                hint = f"column {name} is missing; column {position + 1} looks like it, rename it to {name}"
                return _refusal(place, hint, name)
    return _refusal(place, f"missing column(s): {', '.join(missing)}; the first row must be the header", missing[0])


def _judge_extras(
    cells: Sequence[str],
    unknown: Sequence[int],
    absent: Sequence[str],
    extra: Extra,
    place: Place,
    findings: Findings,
) -> None:
    for position in unknown:
        # An optional column under a near-miss name would be dropped without a word: refuse in every mode.
        for name in absent:
            if _plain(cells[position]) == _plain(name):
                hint = f"column {position + 1} looks like column {name}; rename it to {name}"
                raise _refusal(place, hint, name)
        what = "is not known" if cells[position].strip() else "has no name"
        if extra == "refuse":
            raise _refusal(place, f"column {position + 1} {what}; remove it", str(position + 1))
        if extra == "name":
            where = Place(place.file, place.sheet, place.row, str(position + 1))
            findings.warn(where, "DATA/HEADER", f"column {position + 1} {what} and was not read")


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip().casefold().replace(" ", "").replace("_", "").replace("-", "")


def _resembles(text: str, names: Sequence[str]) -> bool:
    plain = [_plain(name) for name in names]
    return bool(difflib.get_close_matches(_plain(text)[:64], plain, n=1, cutoff=0.6))


def _refusal(place: Place, message: str, column: str | None) -> FileRefused:
    return FileRefused("DATA/HEADER", message, Place(place.file, place.sheet, place.row, column))
