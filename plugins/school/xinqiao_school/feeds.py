"""What a school brings beside forms: attendance, class teachers' coded observations, the weekly check of each class.

Each is a table, CSV or XLSX, with one fact a row; which file is which is said by its name. The columns and the codes
are data, below: an observation has a code and no free text, so what leaves a class is what was agreed, in words that
were agreed.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import BinaryIO, Final, Literal

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files.cells import readable
from xinqiao.adapters.files.delimited import read_table
from xinqiao.adapters.files.places import FileRefused, Findings, Place
from xinqiao.adapters.files.rows import Column, Duplicates, Row
from xinqiao.adapters.files.workbook import read_workbook
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse
from xinqiao.api.casefile.v1.plan_pb2 import Attendance, Entry
from xinqiao.api.casefile.v1.plan_service_pb2 import RecordEntryRequest
from xinqiao.api.common.v1.types_pb2 import StudentDescription, StudentRef
from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao.api.screening.v1.screening_service_pb2 import ReportSignalRequest, SubmitReportRequest
from xinqiao_school.feed_columns import COLUMNS, FILE_NAMES, FeedKind
from xinqiao_school.notes import Notes
from xinqiao_school.settings import FeedSettings, SchoolSettings

CADENCE: Final = "class-teacher-weekly"

_CONCERN = pb.SIGNAL_KIND_CONCERN
OBSERVATIONS: Final[dict[str, tuple["pb.SignalKind.ValueType", str]]] = {
    "C01": (_CONCERN, "情绪持续低落两周以上"),
    "C02": (_CONCERN, "回避与同学交往"),
    "C03": (_CONCERN, "课上经常睡觉或精神恍惚"),
    "C04": (_CONCERN, "成绩明显下降"),
    "C05": (_CONCERN, "经常缺课或迟到"),
    "C06": (_CONCERN, "与同学或家人冲突"),
    "C07": (_CONCERN, "家庭近期发生重大变故"),
    "S01": (pb.SIGNAL_KIND_SUICIDAL, "流露轻生的言语或文字"),
    "S02": (pb.SIGNAL_KIND_SUICIDAL, "告别或赠送心爱物品"),
    "H01": (pb.SIGNAL_KIND_SELF_HARM, "可见自伤痕迹"),
    "V01": (pb.SIGNAL_KIND_VIOLENCE, "伤害他人或威胁伤害他人"),
    "A01": (pb.SIGNAL_KIND_ABUSE, "疑似遭受侵害、虐待或欺凌"),
    "X01": (pb.SIGNAL_KIND_OTHER, "其他紧急情况，需立即面谈"),
}
"""What a class teacher may observe: its kind, and the fact as it is told."""

_NIL: Final[dict[str, bool]] = {"是": True, "yes": True, "1": True, "否": False, "no": False, "0": False}
_PERIOD = re.compile(r"[0-9A-Za-z][0-9A-Za-z_/-]{0,39}", re.ASCII)
_CODE = re.compile(r"[A-Z][0-9]{2}", re.ASCII)
_DAY = re.compile(r"[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}", re.ASCII)
_SEPARATOR = re.compile(r"[;；、 ]+")
_MOST_DAYS: Final = 366
_MOST_STUDENTS: Final = 1000


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that a row says, and the row."""

    row: int
    kind: Literal["attendance", "observation", "class report"]
    response: ReadResponse

    @property
    def placed(self) -> ReadResponse:
        """What is brought, with its row."""
        self.response.origin.places[:] = [f"row {self.row}"]
        return self.response


def feed_of(file_name: str, settings: SchoolSettings) -> FeedSettings | None:
    """Which feed a file is by its name; None for a score sheet."""
    declared = next((feed for feed in settings.feeds if fnmatchcase(file_name, feed.match)), None)
    sheets = [sheet for sheet in settings.sheets if sheet.match != "*"]
    if declared is not None or any(fnmatchcase(file_name, sheet.match) for sheet in sheets):
        return declared
    lower = file_name.lower()
    for kind, names in FILE_NAMES.items():
        if any(fnmatchcase(lower, name) for name in names):
            return FeedSettings(match=names[0], kind=kind)
    return None


def read_feed(
    feed: FeedSettings, stream: BinaryIO, file_name: str, label: str, settings: SchoolSettings, notes: Notes,
    expected_rows: int | None,
) -> list[Fact]:  # fmt: skip
    """Read a whole feed; its defects go to ``notes``.

    A bad row refuses the file unless ``accept_valid_rows`` is set, but never what else observations tell: not the other
    rows, not a crisis in the bad row itself, not what stands before a place where the file cannot be read on. Raises
    FileRefused.
    """
    findings = Findings(accept_valid_rows=settings.accept_valid_rows or feed.kind == "observations")
    facts: list[Fact] = []
    repeats, total = Duplicates(), 0
    headers = {field: feed.columns.get(field, names[0]) for field, names in COLUMNS[feed.kind].items()}
    try:
        for row in _rows(feed, headers, stream, file_name, label, settings, findings):
            try:
                facts += _TAKE[feed.kind](row, headers, settings, repeats)
                total += 1
            except RecordRejected as error:
                findings.reject(error)
                if feed.kind == "observations":
                    facts += _crises(row, headers)
        total += findings.rejected_count
        if expected_rows is not None and total != expected_rows:
            message = f"{total} rows, the manifest says {expected_rows}; send it again"
            raise FileRefused("DATA/TRUNCATED", message, Place(label))
        findings.settle()
    except FileRefused as error:
        if feed.kind != "observations" or not facts:
            raise
        findings.reject(RecordRejected(error.reason, error.message, error.place))
    finally:
        notes.add_findings(findings)
    return facts


def _rows(
    feed: FeedSettings, headers: dict[str, str], stream: BinaryIO, file_name: str, label: str,
    settings: SchoolSettings, findings: Findings,
) -> Iterator[Row]:  # fmt: skip
    # A header that the settings name has no other spelling.
    columns = [
        Column(name, () if field in feed.columns else COLUMNS[feed.kind][field][1:]) for field, name in headers.items()
    ]
    if file_name.lower().endswith(".xlsx"):
        choose: Callable[[list[str]], list[Column]] = lambda cells: columns  # noqa: E731
        return read_workbook(stream, columns=choose, name=label, extra="ignore", findings=findings)
    encoding = feed.encoding or settings.encoding
    return read_table(stream, encoding=encoding, columns=columns, name=label, extra="ignore", findings=findings)


def _attendance(row: Row, of: dict[str, str], settings: SchoolSettings, repeats: Duplicates) -> list[Fact]:
    student = _student(row, of["student"])
    first, last = row.date(of["from"]), row.date(of["to"])
    if last < first:
        raise row.reject(of["to"], "DATA/DATE", "the last day comes before the first")
    span = (last - first).days + 1
    days = row.integer(of["school_days"], 0, min(span, _MOST_DAYS))
    absent = row.integer(of["absent"], 0, days)
    sick = row.integer(of["sick"], 0, absent)
    if repeats.is_repeat(row, (student, first, last), (days, absent, sick)):
        return []
    entry = Entry(
        day=last.isoformat(),
        attendance=Attendance(
            first_day=first.isoformat(), last_day=last.isoformat(), school_days=days, absent_days=absent, sick_days=sick
        ),
    )
    request = RecordEntryRequest(student=StudentRef(local_id=student), entry=entry)
    return [Fact(row.number, "attendance", ReadResponse(entry=request))]


def _observations(row: Row, of: dict[str, str], settings: SchoolSettings, repeats: Duplicates) -> list[Fact]:
    student, day = _student(row, of["student"]), row.date(of["date"])
    codes = sorted(set(filter(None, _SEPARATOR.split(row.text(of["codes"]).strip().upper()))))
    if not codes or any(code not in OBSERVATIONS for code in codes):
        message = f"holds a code that is not agreed; use {', '.join(OBSERVATIONS)}, several with ;"
        raise row.reject(of["codes"], "DATA/CODE", message)
    if repeats.is_repeat(row, (student, day, tuple(codes)), ()):
        return []
    return _signals(row, StudentRef(local_id=student), str(day), codes)


def _crises(row: Row, of: dict[str, str]) -> list[Fact]:
    """What a row that is not taken tells of danger: a slip beside it holds no crisis back."""
    found = _CODE.findall(readable(row, of["codes"]).upper())
    codes = sorted({code for code in found if code in OBSERVATIONS and OBSERVATIONS[code][0] != _CONCERN})
    student, day = readable(row, of["student"]), readable(row, of["date"])
    ref = StudentRef(local_id=student)
    if not 0 < len(student) <= 128:
        ref = StudentRef(
            described=StudentDescription(other=f"班主任观察表第{row.number}行，学生编号无法识别，请向班主任核实")
        )
    return _signals(row, ref, day if _DAY.fullmatch(day) else "日期不详", codes)


def _signals(row: Row, student: StudentRef, day: str, codes: Sequence[str]) -> list[Fact]:
    by_kind: dict[pb.SignalKind.ValueType, list[str]] = {}
    for code in codes:
        kind, fact = OBSERVATIONS[code]
        by_kind.setdefault(kind, []).append(f"{fact}（{code}）")
    return [
        Fact(row.number, "observation", ReadResponse(signal=ReportSignalRequest(
            student=student, source=pb.SIGNAL_SOURCE_CLASS_TEACHER, kind=kind,
            facts=f"{day} 班主任观察：{'；'.join(facts)}",
        )))
        for kind, facts in by_kind.items()
    ]  # fmt: skip


def _sweep(row: Row, of: dict[str, str], settings: SchoolSettings, repeats: Duplicates) -> list[Fact]:
    unit, period = row.text(of["class"], optional=True).strip(), row.text(of["period"]).strip()
    if len(unit) > 64:
        raise row.reject(of["class"], "DATA/CELL_TOO_LONG", "is longer than 64 characters")
    if _PERIOD.fullmatch(period) is None:
        raise row.reject(
            of["period"], "DATA/PERIOD", "write the period as the expected report has it, such as 2026-W42"
        )
    seen = row.integer(of["students_seen"], 0, _MOST_STUDENTS)
    concerns = row.integer(of["concerns"], 0, seen)
    nil = _NIL.get(row.text(of["nil"], optional=True).strip().lower())
    if nil is None:
        raise row.reject(of["nil"], "DATA/NIL", "say 是 (yes) or 否 (no): nothing found must be said, never left out")
    if nil != (concerns == 0):
        raise row.reject(of["nil"], "DATA/NIL", "contradicts the number of concerns")
    if repeats.is_repeat(row, (unit, period), (seen, concerns)):
        return []
    report = SubmitReportRequest(
        cadence=CADENCE, period=period, school=settings.school, unit=unit, nil_report=nil, students_seen=seen,
        concerns=concerns,
    )  # fmt: skip
    return [Fact(row.number, "class report", ReadResponse(report=report))]


def _student(row: Row, column: str) -> str:
    student = row.text(column).strip()
    if len(student) > 128:
        raise row.reject(column, "DATA/CELL_TOO_LONG", "is longer than 128 characters")
    return student


_TAKE: Final[dict[FeedKind, Callable[[Row, dict[str, str], SchoolSettings, Duplicates], list[Fact]]]] = {
    "attendance": _attendance,
    "observations": _observations,
    "sweep": _sweep,
}
