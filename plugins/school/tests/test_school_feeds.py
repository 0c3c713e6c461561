"""Attendance, observations and weekly checks: what each row becomes, and how what is wrong with it is named."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plugins.school.tests.test_school_inbox import School
from pydantic import ValidationError

from xinqiao.adapters.protocols import Accepted, Refused
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse, Rejected
from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao_school.feeds import OBSERVATIONS
from xinqiao_school.forms import form
from xinqiao_school.reading import ReadingSettings, SchoolReader
from xinqiao_school.synthetic import make_workbook

ATTENDANCE = "student_id,from,to,school_days,absent,sick"
OBSERVED = "student_id,date,codes"
SWEEP = "class,period,students_seen,concerns,nil"
CANARY = "c4nary密码"


def read(school: School, cursor: str = "") -> list[ReadResponse]:
    return [item for item in school.adapter().read(cursor) if item.WhichOneof("body")]


def rejected(items: list[ReadResponse]) -> list[Rejected]:
    return [item.rejected for item in items if item.WhichOneof("body") == "rejected"]


@pytest.fixture
def school(tmp_path: Path) -> School:
    return School(tmp_path)


def test_attendance_becomes_an_entry(school: School) -> None:
    school.drop("attendance-10.csv", f"{ATTENDANCE}\nS1,2026-10-01,2026-10-31,18,5,2\n")
    (item,) = read(school)
    assert item.entry.student.local_id == "S1"
    kept = item.entry.entry.attendance
    assert (kept.first_day, kept.last_day, kept.school_days, kept.absent_days, kept.sick_days) == (
        "2026-10-01", "2026-10-31", 18, 5, 2,
    )  # fmt: skip
    assert item.entry.entry.day == "2026-10-31"


@pytest.mark.parametrize(
    ("row", "reason", "column"),
    [
        ("S1,2026-10-31,2026-10-01,18,5,2", "DATA/DATE", "to"),
        ("S1,2026/10/1,2026-10-31,18,5,2", "DATA/DATE", "from"),
        ("S1,2026-10-01,2026-10-02,18,5,2", "DATA/NUMBER_RANGE", "school_days"),
        ("S1,2026-10-01,2026-10-31,18,19,2", "DATA/NUMBER_RANGE", "absent"),
        ("S1,2026-10-01,2026-10-31,18,5,6", "DATA/NUMBER_RANGE", "sick"),
        ("S1,2026-10-01,2026-10-31,18,高,0", "DATA/NUMBER", "absent"),
    ],
)
def test_an_odd_row_is_named_with_row_and_column(school: School, row: str, reason: str, column: str) -> None:
    school.drop("attendance.csv", f"{ATTENDANCE}\nS2,2026-10-01,2026-10-31,18,0,0\n{row}\n")
    found = rejected(read(school))
    assert (found[0].reason, found[0].place) == (reason, f"row 3, column {column}")
    assert len(found) == 2  # and the whole file was refused: no entry


def test_columns_and_encoding_are_declared_never_guessed(tmp_path: Path) -> None:
    feeds = [{"match": "缺勤*", "kind": "attendance", "encoding": "gb18030", "columns": {"absent": "旷课"}}]
    school = School(tmp_path, feeds=feeds)
    text = "学号,开始日期,结束日期,应到天数,旷课,病假天数\nS1,2026-10-01,2026-10-31,18,5,2\n"
    school.drop("缺勤10.csv", text.encode("gb18030"))
    (item,) = read(school)
    assert item.entry.entry.attendance.absent_days == 5
    school.drop("考勤.csv", text.replace("旷课", "缺勤天数").encode("gb18030"))
    assert rejected(read(school))[-1].reason in ("DATA/ENCODING", "DATA/HEADER")


def test_a_column_that_the_feed_does_not_have_is_no_setting(tmp_path: Path) -> None:
    school = School(tmp_path, feeds=[{"match": "*", "kind": "attendance", "columns": {"abscent": "旷课"}}])
    with pytest.raises(ValidationError, match="absent"):
        school.adapter()


def test_a_workbook_is_read_as_well(school: School, tmp_path: Path) -> None:
    rows = [ATTENDANCE.split(","), ["S1", "2026-10-01", "2026-10-31", "18", "5", "2"]]
    school.drop("attendance.xlsx", make_workbook(rows))
    assert [item.WhichOneof("body") for item in read(school)] == ["entry"]


def test_an_observation_is_a_signal_of_its_kind_in_agreed_words(school: School) -> None:
    school.drop("observations.csv", f"{OBSERVED}\nS1,2026-10-12,C01;C04;S02\nS2,2026-10-12,h01\n")
    found = [item.signal for item in read(school)]
    assert [(each.student.local_id, each.kind) for each in found] == [
        ("S1", pb.SIGNAL_KIND_CONCERN), ("S1", pb.SIGNAL_KIND_SUICIDAL), ("S2", pb.SIGNAL_KIND_SELF_HARM),
    ]  # fmt: skip
    assert {each.source for each in found} == {pb.SIGNAL_SOURCE_CLASS_TEACHER}
    assert found[0].facts == "2026-10-12 班主任观察：情绪持续低落两周以上（C01）；成绩明显下降（C04）"


def test_a_bad_row_never_holds_back_a_crisis_in_another(school: School) -> None:
    school.drop("observations.csv", f"{OBSERVED}\nS1,2026-10-12,{CANARY}\nS2,2026-10-12,S01\n")
    items = read(school)
    assert [item.signal.kind for item in items if item.WhichOneof("body") == "signal"] == [pb.SIGNAL_KIND_SUICIDAL]
    (told,) = rejected(items)
    assert (told.reason, told.place) == ("DATA/CODE", "row 2, column codes")
    assert "c4nary" not in str(items)


@pytest.mark.parametrize(
    ("row", "student", "day"),
    [
        ("S1,昨天,S01", "S1", "日期不详"),
        ("S1,2026-10-12,S01;Z9", "S1", "2026-10-12"),
        ("S1,2026-13-12,S01 有告别的话", "S1", "2026-13-12"),
        (",2026-10-12,S01", "", "2026-10-12"),
        (f"{'S' * 129},2026-10-12,S01", "", "2026-10-12"),
    ],
)
def test_a_slip_beside_it_holds_no_crisis_back(school: School, row: str, student: str, day: str) -> None:
    school.drop("observations.csv", f"{OBSERVED}\n{row}\n")
    items = read(school)
    (signal,) = [item.signal for item in items if item.WhichOneof("body") == "signal"]
    assert (signal.kind, signal.student.local_id) == (pb.SIGNAL_KIND_SUICIDAL, student)
    assert student or "第2行" in signal.student.described.other
    assert signal.facts == f"{day} 班主任观察：流露轻生的言语或文字（S01）"
    assert len(rejected(items)) == 1


def test_no_crisis_goes_with_a_file_that_breaks_off_or_whose_name_was_used(school: School) -> None:
    school.drop("observations.csv", f'{OBSERVED}\nS1,2026-10-12,S01\nS2,"2026-10-12,C01\n')
    assert [item.WhichOneof("body") for item in read(school)] == ["signal", "rejected"]
    school.drop("observations-2.csv", f"{OBSERVED}\nS1,2026-10-12,C01\n")
    cursor = read(school)[-1].cursor
    school.drop("observations-2.csv", f"{OBSERVED}\nS3,2026-10-12,H01\n")
    items = [item for item in school.adapter().read(cursor) if item.WhichOneof("body")]
    assert [(item.signal.student.local_id, item.rejected.reason) for item in items] == [
        ("S3", ""),
        ("", "FILE_CONFLICT"),
    ]


def test_every_kind_of_signal_can_be_observed() -> None:
    assert {kind for kind, _ in OBSERVATIONS.values()} == set(pb.SignalKind.values()) - {0}


def test_a_weekly_check_says_nil_in_so_many_words(school: School) -> None:
    school.drop("sweep-1.csv", f"{SWEEP}\n七年级1班,2026-W42,45,0,是\n七年级2班,2026-W42,44,2,否\n")
    first, second = [item.report for item in read(school)]
    assert (first.cadence, first.period, first.school, first.unit) == (
        "class-teacher-weekly", "2026-W42", "X1", "七年级1班",
    )  # fmt: skip
    assert (first.nil_report, first.students_seen, first.concerns) == (True, 45, 0)
    assert (second.nil_report, second.concerns) == (False, 2)


@pytest.mark.parametrize("nil", ["", "也许", "是"])
def test_what_is_left_out_or_contradicts_is_no_nil_report(school: School, nil: str) -> None:
    school.drop("sweep-1.csv", f"{SWEEP}\n七年级1班,2026-W42,45,{2 if nil == '是' else 0},{nil}\n")
    found = rejected(read(school))
    assert found[0].reason == "DATA/NIL"
    assert found[0].place == "row 2, column nil"


def test_stopping_after_any_item_loses_and_repeats_nothing(school: School) -> None:
    school.drop("observations.csv", f"{OBSERVED}\nS1,2026-10-12,C01;S02\nS2,2026-10-12,C02\n")
    whole = [item.signal for item in read(school)]
    cursor, seen = "", list[object]()
    while True:
        item = next((i for i in school.adapter().read(cursor) if i.WhichOneof("body")), None)
        if item is None:
            break
        seen.append(item.signal)
        cursor = item.cursor
    assert seen == whole


def test_a_score_sheet_is_still_a_score_sheet(tmp_path: Path) -> None:
    phq = ",".join(f"phq{n}" for n in range(1, 10))
    school = School(tmp_path, sheets=[{"match": "attendance-phq*"}])
    school.drop("attendance-phq.csv", f"student_id,taken_on,{phq}\nS1,2026-10-12,0,0,0,0,0,0,0,0,0\n")
    assert [item.WhichOneof("body") for item in read(school)] == ["forms"]


def test_the_command_reads_a_feed_as_the_adapter_does(tmp_path: Path) -> None:
    path = tmp_path / "observations.csv"
    path.write_text(f"{OBSERVED}\nS1,2026-10-12,C01;S02\nS2,2026-10-12,{CANARY}\n", "utf-8")
    items = list(SchoolReader().read_file(path, ReadingSettings()))
    assert [(item.kind, item.place) for item in items if isinstance(item, Accepted)] == [("observation", "row 2")] * 2
    assert [(item.reason, item.place) for item in items if isinstance(item, Refused)] == [
        ("DATA/CODE", "row 3, column codes")
    ]


def test_the_form_is_laid_out_once_and_loads_nothing(tmp_path: Path) -> None:
    school = School(tmp_path, form_classes=['七年级1班<b>"'])
    read(school)
    (path,) = (school.outbox / "forms").iterdir()
    page = path.read_text("utf-8")
    assert "七年级1班&lt;b&gt;&quot;" in page
    assert re.findall(r"(?:src|href|action)=|https?://|@import|url\(", page) == []
    assert "default-src 'none'" in page
    before = path.stat().st_mtime_ns
    read(school)
    assert path.stat().st_mtime_ns == before


def test_the_form_writes_the_columns_the_reader_reads() -> None:
    assert f'"{SWEEP}' in form("一班")


STAGE = """
const fields = {}, page = JSON.parse(require("fs").readFileSync(0, "utf8"));
let submit, saved = "", name = "";
const node = id => fields[id] ??= {value: "", checked: false, textContent: "", addEventListener: (_, f) => submit = f};
globalThis.document = {getElementById: node, createElement: () => ({click() { name = this.download; }})};
globalThis.URL.createObjectURL = () => "blob:x";
globalThis.Blob = class { constructor(parts) { saved = parts.join(""); } };
node("unit").textContent = page.unit;
eval(page.script);
const week = node("period").value;
for (const [id, value] of Object.entries(page.fill)) node(id)[id === "nil" ? "checked" : "value"] = value;
submit({preventDefault() {}});
console.log(JSON.stringify({saved, name, week, told: node("told").textContent}));
"""


def filled(unit: str, **fill: object) -> dict[str, str]:
    """What the page's own script saves when it is filled in so."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here")
    (script,) = re.findall(r"<script>(.*)</script>", form(unit), re.DOTALL)
    script = script.replace('"use strict";', "")
    told = subprocess.run(
        [node, "-e", STAGE], input=json.dumps({"unit": unit, "script": script, "fill": fill}), capture_output=True,
        text=True, check=True, timeout=60,
    )  # fmt: skip
    found: dict[str, str] = json.loads(told.stdout)
    return found


def test_what_the_form_saves_is_what_the_inbox_takes(school: School) -> None:
    found = filled('七年级"1"班,甲', period="2026-W42", seen="45", concerns="2", nil=False)
    assert re.fullmatch(r"sweep-2026-W42-[0-9a-f]{8}\.csv", found["name"])
    assert re.fullmatch(r"20[0-9]{2}-W[0-9]{2}", found["week"])
    school.drop(found["name"], found["saved"])
    (item,) = read(school)
    assert (item.report.unit, item.report.period) == ('七年级"1"班,甲', "2026-W42")
    assert (item.report.nil_report, item.report.students_seen, item.report.concerns) == (False, 45, 2)


@pytest.mark.parametrize(
    "fill",
    [
        {"period": "2026-W42", "seen": "45", "concerns": "0", "nil": False},
        {"period": "2026-W42", "seen": "45", "concerns": "1", "nil": True},
        {"period": "2026-W42", "seen": "", "concerns": "0", "nil": True},
        {"period": "2026-W42", "seen": "5", "concerns": "6", "nil": False},
        {"period": "第42周", "seen": "45", "concerns": "0", "nil": True},
    ],
)
def test_the_form_saves_nothing_that_the_inbox_would_refuse(fill: dict[str, object]) -> None:
    found = filled("一班", **fill)
    assert (found["saved"], found["name"]) == ("", "")
    assert found["told"]


TEXTS = st.text(max_size=12) | st.sampled_from(
    ["S1", "2026-10-12", "C01;S02", "是", "5", "=1+1", "\0", '"', "2026-W42"]
)


@settings(
    max_examples=80, deadline=5000, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from([("attendance", ATTENDANCE), ("observations", OBSERVED), ("sweep", SWEEP)]),
       st.lists(st.lists(TEXTS, max_size=7).map(",".join), max_size=4))  # fmt: skip
def test_no_table_crashes_the_reader(tmp_path: Path, feed: tuple[str, str], rows: list[str]) -> None:
    path = tmp_path / f"{feed[0]}.csv"
    path.write_bytes("\n".join([feed[1], *rows]).encode("utf-8", "surrogatepass"))
    for item in SchoolReader().read_file(path, ReadingSettings()):
        assert isinstance(item, Accepted | Refused)
