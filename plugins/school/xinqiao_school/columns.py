"""Which column of a score sheet is what: as the settings say, else by the headers that schools use."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xinqiao.adapters.files.places import FileRefused, Place
from xinqiao.adapters.files.rows import Cell
from xinqiao_school.settings import SchoolSettings, SheetSettings

NOT_ANSWERED = 255

_STUDENT = ("studentid", "学号", "sourcedid", "学籍号", "学生编号", "学生id", "localid", "id")
_DATE = ("takenon", "日期", "测评日期", "填写日期", "施测日期", "date")
_NAMES_SOMEBODY = ("学号", "学籍", "姓名", "学生", "student", "name")
_FAMILIES = {"PHQ-9": ("phq", "phq9", 9), "GAD-7": ("gad", "gad7", 7)}
_LETTERS = {"PHQ-9": ("d", 9), "GAD-7": ("a", 7)}


@dataclass(frozen=True, slots=True)
class Items:
    """The columns of one instrument in item order, and the byte of each text or number cell that is an answer."""

    instrument: str
    columns: tuple[str, ...]
    low: int
    high: int
    codes: dict[Cell, int]
    coding: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to read of one sheet; ``day`` is used where ``date`` is None."""

    student: str | None
    prefix: str
    date: str | None
    day: str | None
    instruments: tuple[Items, ...]

    def names(self) -> list[str]:
        """Every column to read."""
        single = [name for name in (self.student, self.date) if name is not None]
        return single + [name for items in self.instruments for name in items.columns]


def plan_sheet(cells: Sequence[str], sheet: SheetSettings, settings: SchoolSettings, place: Place) -> Plan:
    """The plan for a sheet with this header. Raises FileRefused naming the column that is missing or unclear."""
    missing: dict[Cell, int] = {None: NOT_ANSWERED, "": NOT_ANSWERED}
    missing.update((text.strip(), NOT_ANSWERED) for text in sheet.missing)
    instruments = tuple(
        Items(name, tuple(items.columns), items.low, items.high, missing | _codes(items.low, items.high), items.coding)
        for name, items in sheet.instruments.items()
    ) or tuple(_recognised(cells, missing, place))
    date = _date(cells, sheet)
    day = sheet.fixed_date or settings.default_date
    if date is None and day is None:
        raise FileRefused("DATA/DATE", "no date column; add one (taken_on, 日期) or set default_date", place)
    used = {name for items in instruments for name in items.columns} | {date or ""}
    return Plan(_student(cells, sheet, used, place), sheet.prefix, date, day, instruments)


def _codes(low: int, high: int) -> dict[Cell, int]:
    texts: dict[Cell, int] = {str(value): value for value in range(low, high + 1)}
    return texts | {value: value for value in range(low, high + 1)}


def _student(cells: Sequence[str], sheet: SheetSettings, used: set[str], place: Place) -> str | None:
    if sheet.student is not None or sheet.anonymous:
        return sheet.student
    found = _first(cells, _STUDENT)
    if found is None and any(mark in _plain(text) for text in cells if text not in used for mark in _NAMES_SOMEBODY):
        message = "no column is known to hold the student's id; name it student_id (学号), or set sheets.student"
        raise FileRefused("DATA/HEADER", message, place)
    return found


def _date(cells: Sequence[str], sheet: SheetSettings) -> str | None:
    if sheet.date is not None:
        return None if sheet.fixed_date else sheet.date
    return _first(cells, _DATE)


def _recognised(cells: Sequence[str], missing: dict[Cell, int], place: Place) -> Iterator[Items]:
    """The instruments whose usual headers are all there; a set with a gap refuses the sheet."""
    by_plain = {_plain(text): text for text in reversed(cells)}
    found: list[Items] = []
    for instrument, (short, full, size) in _FAMILIES.items():
        columns = [_spelt(by_plain, short, full, number) for number in range(1, size + 1)]
        gaps = [f"{short}{number}" for number, column in enumerate(columns, start=1) if column is None]
        if not gaps:
            found.append(_items(instrument, [column for column in columns if column is not None], missing))
        elif len(gaps) < size:
            message = f"missing column(s): {', '.join(gaps)}; {instrument} needs all {size}"
            raise FileRefused("DATA/HEADER", message, Place(place.file, place.sheet, place.row, gaps[0]))
    if not found:
        # D1..D9 with A1..A7 together mean PHQ-9 and GAD-7; either alone could be any questionnaire.
        lettered = {
            instrument: [by_plain.get(f"{letter}{number}") for number in range(1, size + 1)]
            for instrument, (letter, size) in _LETTERS.items()
        }
        if all(None not in columns for columns in lettered.values()):
            found = [
                _items(instrument, [column for column in columns if column is not None], missing)
                for instrument, columns in lettered.items()
            ]
    if not found:
        message = "no known questionnaire; name the columns phq1..phq9, gad1..gad7 or set sheets.instruments"
        raise FileRefused("DATA/HEADER", message, place)
    yield from found


def _items(instrument: str, columns: Sequence[str], missing: dict[Cell, int]) -> Items:
    return Items(instrument, tuple(columns), 0, 3, missing | _codes(0, 3))


def _spelt(by_plain: dict[str, str], short: str, full: str, number: int) -> str | None:
    for spelling in (f"{short}{number}", f"{full}{number}", f"{short}第{number}题", f"{full}第{number}题"):
        if spelling in by_plain:
            return by_plain[spelling]
    return None


def _first(cells: Sequence[str], spellings: Sequence[str]) -> str | None:
    by_plain = {_plain(text): text for text in reversed(cells)}
    return next((by_plain[spelling] for spelling in spellings if spelling in by_plain), None)


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).strip().casefold()
    return folded.translate(dict.fromkeys(map(ord, " _-.:"), None))
