"""Writes the month's workbook and the sheet of what must be mended, so that a clerk can work with them."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import xlsxwriter

from xinqiao.adapters.files.exports import safe_text
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.api.casefile.v1.team_pb2 import TaskPackage
from xinqiao.api.common.v1.types_pb2 import Guardian, Student
from xinqiao.api.referral.v1.referral_pb2 import ReferralPackage, Urgency
from xinqiao.contract.clock import local_date
from xinqiao.contract.reasons import words
from xinqiao_womens_federation import wire
from xinqiao_womens_federation.wire import Field, Sheet

_ROWS: Final = 1000  # rows with drop-downs on a sheet that grows
_MADE: Final = datetime(2020, 1, 1, tzinfo=UTC).replace(tzinfo=None)  # the same rows give the same bytes
_MOST: Final = 32_000
_URGENCY: Final = {Urgency.URGENCY_URGENT: "紧急 Urgent", Urgency.URGENCY_EMERGENCY: "特急 Emergency"}
_RELATIONS: Final = {"mother": "母亲", "father": "父亲", "grandmother": "祖母", "grandfather": "祖父"}
_ADVICE: Final = (
    "请立即删除该学生的资料（含本地副本），并用回执工具签署回执。 Delete it, your copies too, and sign the receipt."
)
_NO_MORE: Final = "转介已终止，不再需要办理。 The referral is over; nothing more is asked of you."

Cells = Sequence[str]


@dataclass(frozen=True, slots=True)
class Mend:
    """One thing that was not taken: where it stands, why, and what the clerk had written there."""

    sheet: str
    row: int | None
    column: str
    reason: str
    message: str
    typed: str = ""


def workbook(period: str, rows: Sequence[DeliverRequest]) -> bytes:
    """The workbook of ``period`` (``2026-11``) with these referrals, tasks and recalls in it.

    Made in memory: XlsxWriter's ``constant_memory`` would leave the rows, names and all, in files of the machine.
    """
    stream = io.BytesIO()
    with xlsxwriter.Workbook(stream, _OPTIONS) as book:
        writer = _Writer(book)
        students = _students(rows)
        writer.help()
        referrals = [_referral(row) for row in rows if row.WhichOneof("body") == "referral"]
        writer.sheet(wire.REFERRALS, referrals)
        writer.sheet(wire.TASKS, [_task(row) for row in rows if row.WhichOneof("body") == "task"])
        writer.sheet(wire.ACTIVITIES)
        writer.sheet(wire.VISITS, students=len(students))
        writer.sheet(wire.BOOKS, students=len(students))
        writer.sheet(wire.SUMMARY, [(_month(period, part), word) for part, word in wire.PARTS.items()])
        writer.sheet(wire.STUDENTS, students)
        writer.sheet(wire.ENDED, [_ended(row) for row in rows if row.WhichOneof("body") == "referral_update"])
        writer.sheet(wire.RECALLS, [_recall(row) for row in rows if row.WhichOneof("body") == "recall"])
    return stream.getvalue()


def error_book(mends: Iterable[Mend]) -> bytes:
    """The rows to mend, with what the clerk wrote in them: it goes back to that clerk and nowhere else."""
    stream = io.BytesIO()
    with xlsxwriter.Workbook(stream, _OPTIONS) as book:
        writer = _Writer(book)
        sheet = Sheet("须修改", "To mend", _MEND_FIELDS)
        rows = [
            (m.sheet, str(m.row or ""), m.column, _how(m.reason), m.typed, m.reason, m.message)
            for m in mends
        ]  # fmt: skip
        writer.sheet(sheet, rows)
    return stream.getvalue()


def _how(reason: str) -> str:
    """How to mend it, in this workbook's words if it has some."""
    known = words(reason)
    return wire.MEND.get(reason) or (known.zh if known else wire.MEND_ELSE)


_MEND_FIELDS: Final = (
    Field("工作表", "Sheet", 18), Field("行", "Row", 6), Field("列", "Column", 14), Field("怎么改", "How to mend it", 44),
    Field("您填写的内容", "What you wrote", 44), Field("代码", "Reason", 20), Field("英文说明", "In English", 50),
)  # fmt: skip
_OPTIONS: Final[dict[str, Any]] = {
    "in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False,
}  # fmt: skip


class _Writer:
    """Formats and layout; every cell is written as a string, so nothing in it is ever calculated."""

    def __init__(self, book: Any) -> None:
        book.set_properties({"title": "心桥 XinQiao", "created": _MADE})
        self._book = book
        base = {"font_name": "Microsoft YaHei", "font_size": 10, "valign": "top", "text_wrap": True, "border": 1}
        grey = {**base, "bg_color": "#F2F2F2", "border_color": "#BFBFBF"}
        white = {**base, "locked": False, "num_format": "@", "border_color": "#BFBFBF"}
        self._head = book.add_format({**base, "bold": True, "bg_color": "#1F4E78", "font_color": "#FFFFFF"})
        self._fill_head = book.add_format({**base, "bold": True, "bg_color": "#2E7D32", "font_color": "#FFFFFF"})
        self._locked = book.add_format(grey)
        self._open = {
            "text": book.add_format(white),
            "day": book.add_format({**white, "num_format": "yyyy-mm-dd"}),
            "count": book.add_format({**white, "num_format": "0"}),
        }
        self._lead = book.add_format({**base, "border": 0, "bold": True, "font_size": 14})
        self._text = book.add_format({**base, "border": 0, "font_size": 11})

    def help(self) -> None:
        """The sheet that says how to fill in the others."""
        page = self._book.add_worksheet("填写说明")
        page.set_column(0, 0, 110)
        for at, line in enumerate(wire.HELP):
            page.set_row(at, _height([(line, 90)]) if at else 24)
            page.write_string(at, 0, line, self._text if at else self._lead)
        page.protect("")
        _paper(page)

    def sheet(self, sheet: Sheet, rows: Sequence[Cells] = (), *, students: int = 0) -> None:
        """One sheet: header, the gateway's rows, drop-downs; all but the clerk's cells locked, without a password."""
        page = self._book.add_worksheet(sheet.name)
        page.set_row(0, 32)
        for at, field in enumerate(sheet.fields):
            page.set_column(at, at, field.width, self._open[field.kind] if sheet.grows else None)
            page.write_string(0, at, field.title, self._fill_head if field.fill else self._head)
        for number, row in enumerate(rows, start=1):
            page.set_row(number, _height([(cell, field.width) for cell, field in zip(row, sheet.fields, strict=False)]))
            for at, field in enumerate(sheet.fields):
                if field.fill:
                    page.write_blank(number, at, None, self._open[field.kind])
                else:
                    page.write_string(number, at, safe_text(row[at])[:_MOST], self._locked)
        last = _ROWS if sheet.grows else len(rows)
        for at, field in enumerate(sheet.fields):
            rule = _rule(sheet, field, students)
            if rule is not None and last:
                page.data_validation(1, at, last, at, rule)
        page.freeze_panes(1, 1)
        page.protect("", {"format_columns": True, "format_rows": True})
        _paper(page)
        page.repeat_rows(0)


def _rule(sheet: Sheet, field: Field, students: int) -> dict[str, Any] | None:
    stop = {"error_title": "心桥 XinQiao", "error_type": "stop", "ignore_blank": True}
    if field.choices:
        words = "请从列表中选择。 Choose from the list."
        return {**stop, "validate": "list", "source": list(field.choices), "error_message": words}
    if sheet in (wire.VISITS, wire.BOOKS) and field.zh == "学生编号" and students:
        words = "请从名单中选择学生编号。 Choose a code from the list."
        source = f"='{wire.STUDENTS.name}'!$A$2:$A${students + 1}"
        return {**stop, "validate": "list", "source": source, "error_message": words}
    if field.fill and field.kind == "day":
        words = "日期写成 2026-11-03 的样子。 Write the day as 2026-11-03."
        first = datetime(2020, 1, 1)  # noqa: DTZ001 - a cell has no zone
        return {**stop, "validate": "date", "criteria": ">=", "value": first, "error_message": words}
    if field.fill and field.kind == "count":
        words = "请填整数。 A whole number."
        return {**stop, "validate": "integer", "criteria": ">=", "value": 0, "error_message": words}
    return None


def _month(period: str, part: str) -> str:
    """The month that a part is about: of the books the one before, which is over."""
    if part != wire.BOOKS_PART:
        return period
    first = date.fromisoformat(f"{period}-01")
    return (first - timedelta(days=1)).isoformat()[:7]


def _height(cells: Iterable[tuple[str, int]]) -> float:
    """Points that the fullest cell needs: not every program fits rows to their text. A Chinese character is two wide."""
    lines = [
        sum(-(-sum(2 if ord(c) > 0x2E7F else 1 for c in line) // max(width - 2, 1)) or 1 for line in text.split("\n"))
        for text, width in cells
    ]
    return min(15.0 * max(lines, default=1) + 2, 400)


def _paper(page: Any) -> None:
    page.set_landscape()
    page.set_paper(9)  # A4
    page.fit_to_pages(1, 0)


def _students(rows: Sequence[DeliverRequest]) -> Sequence[Cells]:
    """Everybody of the other sheets, once."""
    found = {code(each.name): full_name(each) for each in _each_student(rows) if each.name}
    return sorted(found.items())


def _each_student(rows: Sequence[DeliverRequest]) -> Iterator[Student]:
    for row in rows:
        package: ReferralPackage | TaskPackage = row.referral if row.WhichOneof("body") == "referral" else row.task
        yield package.student


def _referral(row: DeliverRequest) -> Cells:
    referral, student = row.referral.referral, row.referral.student
    return (
        referral.name, code(student.name or referral.student), full_name(student), student.birth_date, student.phone,
        "\n".join(_guardian(each) for each in student.guardians), referral.support,
        "\n".join(filter(None, (_drill(row), _URGENCY.get(referral.urgency, "")))),
    )  # fmt: skip


def _task(row: DeliverRequest) -> Cells:
    task, student = row.task.task, row.task.student
    return (task.name, code(student.name), full_name(student), task.what, _day(task.due_us), _drill(row))


def _recall(row: DeliverRequest) -> Cells:
    recall = row.recall
    items = "\n".join(recall.items) or code(recall.student)
    return (recall.name, items, _day(recall.due_us), " ".join(filter(None, (_drill(row), _ADVICE))))


def _ended(row: DeliverRequest) -> Cells:
    return (row.referral_update.name, " ".join(filter(None, (_drill(row), _NO_MORE))))


def _guardian(guardian: Guardian) -> str:
    relation = _RELATIONS.get(guardian.relation, guardian.relation)
    if guardian.in_conflict:
        return f"{relation}：勿联系 do not contact"
    return " ".join(filter(None, (guardian.full_name, f"（{relation}）" if relation else "", guardian.phone)))


def _drill(row: DeliverRequest) -> str:
    return "演练 DRILL" if row.drill else ""


def _day(us: int) -> str:
    return local_date(us).isoformat() if us else ""


def full_name(student: Student) -> str:
    """As written."""
    return student.family_name + student.given_name


def code(student: str) -> str:
    """The pseudonym as it is printed: without the collection's name."""
    return student.removeprefix("students/")
