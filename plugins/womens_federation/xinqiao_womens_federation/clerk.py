"""A clerk of the federation who fills in the workbook, and what goes wrong on such a desk."""

import io
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Final, Literal, cast

import xlsxwriter
from python_calamine import CalamineWorkbook

from xinqiao_womens_federation import wire
from xinqiao_womens_federation.wire import Sheet

Fault = Literal["wrong_choice", "deleted_column", "merged", "text_date", "formula", "half_written", "duplicate"]
FAULTS: Final[tuple[Fault, ...]] = (
    "wrong_choice", "deleted_column", "merged", "text_date", "formula", "half_written", "duplicate",
)  # fmt: skip
BookFault = Literal["differing", "missing"]


class Desk:
    """One workbook, open on the clerk's machine: ``answer`` its rows, ``add`` rows, ``saved`` as another program does."""

    def __init__(self, data: bytes) -> None:
        with CalamineWorkbook.from_filelike(io.BytesIO(data)) as book:
            self._sheets = {name: book.get_sheet_by_name(name).to_python() for name in book.sheet_names}

    def rows(self, sheet: Sheet) -> list[dict[str, Any]]:
        """The rows by Chinese column name."""
        names = [field.zh for field in sheet.fields]
        return [dict(zip(names, row, strict=False)) for row in self._sheets[sheet.name][1:]]

    def answer(self, sheet: Sheet, name: str, cells: Mapping[str, Any]) -> None:
        """Fill cells of the row whose first cell is ``name``; of all rows with an empty name."""
        index = {field.zh: at for at, field in enumerate(sheet.fields)}
        for row in self._sheets[sheet.name][1:]:
            if name in ("", row[0]):
                row.extend([""] * (len(index) - len(row)))
                for column, value in cells.items():
                    row[index[column]] = value

    def add(self, sheet: Sheet, **cells: Any) -> None:
        """One more row at the end."""
        self._sheets[sheet.name].append([cells.get(field.zh, "") for field in sheet.fields])

    def said(self, part: str, word: str) -> None:
        """Some or nil, for one part of the month."""
        for row in self._sheets[wire.SUMMARY.name][1:]:
            if row[1] == wire.PARTS[part]:
                row.extend([""] * (3 - len(row)))
                row[2] = word

    def copy_books(self, last: "Desk", fault: BookFault | None = None) -> None:
        """Fill in the books of last month from what that month's workbook said; a clerk forgets one, or slips."""
        rows: list[dict[str, Any]] = [
            {"台账编号": f"R-{at}", "类别": wire.REFERRAL_RECORD, "学生编号": row["学生编号"], "转介编号": row["转介编号"],
             "月末办理": row.get("办理", "")}
            for at, row in enumerate(last.rows(wire.REFERRALS), 1)
        ]  # fmt: skip
        rows += [
            {"台账编号": f"V-{at}", "类别": row["类别"], "学生编号": row["学生编号"], "日期": row["日期"]}
            for at, row in enumerate(last.rows(wire.VISITS), 1)
        ]
        rows += [
            {"台账编号": row["活动编号"], "类别": wire.ACTIVITY_RECORD, "日期": row["日期"], "活动类别": row["类别"],
             **{name: row[name] for name in ("场次", "人次", "人数")}}
            for row in last.rows(wire.ACTIVITIES)
        ]  # fmt: skip
        if fault == "differing":
            rows[-1]["人次"] = int(rows[-1].get("人次") or 0) + 100
        for row in rows[:-1] if fault == "missing" else rows:
            self.add(wire.BOOKS, **row)
        self.said(wire.BOOKS_PART, wire.SOME if rows else wire.NIL)

    def saved(self, fault: Fault | None = None) -> bytes:
        """The file's bytes, with one thing done wrong."""
        stream = io.BytesIO()
        with xlsxwriter.Workbook(stream, {"in_memory": True, "default_date_format": "yyyy-mm-dd"}) as book:
            for name, rows in self._sheets.items():
                page: Any = cast("Any", book).add_worksheet(name)
                for number, row in enumerate(_spoilt(name, rows, fault)):
                    for at, cell in enumerate(row):
                        if cell not in ("", None):
                            page.write(number, at, cell)
                if name == wire.VISITS.name and fault == "merged":
                    page.merge_range(1, 3, 2, 3, "两户一起走访")
                if name == wire.ACTIVITIES.name and fault == "formula":
                    page.write_formula(1, 5, "=SUM(1,2)", None, 3)
        data = stream.getvalue()
        return data[: len(data) // 2] if fault == "half_written" else data


def _spoilt(name: str, rows: list[list[Any]], fault: Fault | None) -> Iterator[list[Any]]:
    for number, row in enumerate(rows):
        cells = list(row)
        if name == wire.ACTIVITIES.name and number:
            if fault == "wrong_choice":
                cells[2] = "亲子活动"
            if fault == "text_date":
                cells[1] = "十一月三号" if isinstance(cells[1], date) else cells[1]
        if name == wire.ACTIVITIES.name and fault == "deleted_column":
            del cells[2]
        yield cells
