"""Files of the agency, judged whole: what is taken, what is refused, and that no message tells on anybody."""

import io
import re
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files import FileRefused
from xinqiao.api.exchange.v1 import activity_service_pb2 as pb
from xinqiao.api.referral.v1 import referral_pb2 as referral
from xinqiao_social_work import inbox, wire, year
from xinqiao_social_work.reading import ReadingSettings, SocialWorkReader
from xinqiao_social_work.rows import Sheet, read_sheet
from xinqiao_social_work.simulator import workbook

TODAY = date(2026, 10, 12)
PSEUDONYM = "students/" + "a" * 26
SESSION = "编号,日期,个案编号,高危,时长,学生代号,主题,节次,服务记录,姓名"
CANARY = "欧阳𠮷明"


def read(name: str, *lines: str, data: bytes | None = None, **words: Any) -> Sheet:
    content = "\n".join([*lines, ""]).encode() if data is None else data
    chosen = ReadingSettings.model_validate(words)
    return read_sheet(io.BytesIO(content), name, inbox.safe_label(name), chosen, TODAY)


def activity(sheet: Sheet) -> pb.Activity:
    (record,) = sheet.records
    assert record.activity is not None
    return record.activity


def refused(name: str, *lines: str, data: bytes | None = None, **words: Any) -> FileRefused:
    with pytest.raises(FileRefused) as caught:
        read(name, *lines, data=data, **words)
    return caught.value


def test_a_session_counts_once_in_its_case_and_is_an_entry_of_a_student_known_by_pseudonym() -> None:
    sheet = read("个案服务记录-2026.csv", SESSION, f"s-1,2026-10-08,case-1,是,50,{PSEUDONYM},同伴关系,3,秘密,{CANARY}")
    assert activity(sheet) == pb.Activity(
        source="session/s-1", kind=pb.ACTIVITY_KIND_SESSION, day="2026-10-08", series="session/case-1",
        audience=pb.AUDIENCE_STUDENTS, attendances=1, persons=1, minutes=50, crisis=True,
    )  # fmt: skip
    brought = sheet.records[0].beside
    assert brought is not None
    entry = brought.entry
    assert (entry.student.name, entry.entry.day) == (PSEUDONYM, "2026-10-08")
    assert (entry.entry.session.theme, entry.entry.session.minutes, entry.entry.session.number) == ("同伴关系", 50, 3)
    assert CANARY not in str(brought)


def test_a_note_stays_at_the_agency_unless_the_settings_say_otherwise() -> None:
    line = f"s-1,2026-10-08,case-1,是,50,{PSEUDONYM},同伴关系,3,秘密,"
    kept, brought = (
        read("sessions.csv", SESSION, line, bring_notes=notes).records[0].beside for notes in (False, True)
    )
    assert kept is not None and kept.entry.entry.session.note == ""
    assert brought is not None and brought.entry.entry.session.note == "秘密"


def test_a_session_of_a_student_without_a_pseudonym_is_a_count_and_nothing_else() -> None:
    sheet = read("个案服务记录.csv", SESSION, f"s-1,2026-10-08,case-1,否,50,,同伴关系,3,秘密,{CANARY}")
    assert sheet.records[0].beside is None
    assert not activity(sheet).crisis


@pytest.mark.parametrize(
    ("name", "header", "line", "wanted"),
    [
        ("驻校排班.csv", "编号,日期", "1,2026-09-01", {"kind": 9}),
        ("个别关爱.csv", "编号,日期,对象编号", "1,2026-09-01,p-7", {"kind": 2, "attendances": 1, "persons": 1, "series": "contact/p-7"}),
        ("小组活动.csv", "编号,日期,小组编号,人次,人数", "1,2026-09-01,g,11,9", {"kind": 3, "attendances": 11, "persons": 9, "series": "group/g"}),
        ("成长课堂.csv", "编号,日期,人数", "1,2026-09-01,120", {"kind": 4, "persons": 120}),
        ("培训.csv", "编号,日期,服务对象,人数", "1,2026-09-01,心理委员,36", {"kind": 5, "persons": 36, "audience": 2}),
        ("workshops.csv", "id,date,audience,persons", "1,2026-09-01,parents,200", {"kind": 6, "persons": 200, "audience": 4}),
        ("社工信箱.csv", "编号,日期,回信数", "1,2026-09-30,18", {"kind": 8, "times": 18}),
        ("联席会议.csv", "编号,日期", "1,2026-09-30", {"kind": 10}),
    ],
)  # fmt: skip
def test_each_log_counts_what_it_is(name: str, header: str, line: str, wanted: dict[str, Any]) -> None:
    found = activity(read(name, header, line))
    log = wire.log_of(name)
    assert log is not None
    audience = {"audience": int(log.audience)} if log.audience else {}
    day = line.split(",")[1]
    assert found == pb.Activity(**{"source": f"{log.id}/1", "day": day, **audience, **wanted})


def test_a_planned_day_on_site_waits_for_its_day_and_a_planned_lesson_is_a_mistake() -> None:
    sheet = read("驻校排班.csv", "编号,日期", "1,2026-10-12", "2,2026-10-14", "3,2026-10-13")
    assert [record.source for record in sheet.records] == ["duty/1"]
    assert sheet.comes == date(2026, 10, 13)
    assert refused("成长课堂.csv", "编号,日期,人数", "1,2026-10-13,40").reason == "DATA/DATE"


def test_a_school_of_the_settings_is_brought_and_another_is_refused() -> None:
    lines = "编号,日期,学校代码", "1,2026-09-01,3205830001"
    assert activity(read("驻校排班.csv", *lines, schools=["3205830001"])).school == "3205830001"
    assert activity(read("驻校排班.csv", *lines)).school == ""
    assert refused("驻校排班.csv", *lines, schools=["3205830002"]).reason == "DATA/CODE"


@pytest.mark.parametrize(
    ("line", "reason", "column"),
    [
        (f"{CANARY},2026-10-08,case-1,是,50,,,,,", "DATA/ID", "编号"),
        (f"s-1,{CANARY},case-1,是,50,,,,,", "DATA/DATE", "日期"),
        ("s-1,2026-02-30,case-1,是,50,,,,,", "DATA/DATE", "日期"),
        (f"s-1,2026-10-08,{CANARY},是,50,,,,,", "DATA/ID", "个案编号"),
        ("s-1,2026-10-08,13800138000,是,50,,,,,", "DATA/ID", "个案编号"),
        ("s-1,2026-10-08,11010519491231002X,是,50,,,,,", "DATA/ID", "个案编号"),
        (f"s-1,2026-10-08,case-1,{CANARY},50,,,,,", "DATA/CODE", "高危"),
        (f"s-1,2026-10-08,case-1,是,{CANARY},,,,,", "DATA/NUMBER", "时长"),
        ("s-1,2026-10-08,case-1,是,601,,,,,", "DATA/NUMBER_RANGE", "时长"),
        (f"s-1,2026-10-08,case-1,是,50,{CANARY},主题,,,", "DATA/ID", "学生代号"),
        (f"s-1,2026-10-08,case-1,是,50,{PSEUDONYM},,,,", "DATA/MISSING", "主题"),
        (",2026-10-08,case-1,是,50,,,,,", "DATA/MISSING", "编号"),
        ("s-1,2026-10-08,case-1", "DATA/COLUMN_COUNT", None),
    ],
)
@pytest.mark.parametrize("book", [False, True])
def test_a_bad_cell_refuses_the_file_and_is_named_by_row_and_column(
    line: str, reason: str, column: str | None, book: bool
) -> None:
    if book and column is None:
        pytest.skip("the rows of a workbook are all as wide as it is")
    good = "s-0,2026-10-08,case-1,是,50,,,,,"
    if book:
        data = workbook([row.split(",") for row in (SESSION, good, line)])
        error = refused("个案服务记录.xlsx", data=data)
    else:
        error = refused("个案服务记录.csv", SESSION, good, line)
    assert error.reason == reason
    assert re.search(rf"row 3{'' if column is None else f', column {column}'}", str(error.place))
    assert CANARY not in f"{error.message} {error.place}"


def test_good_rows_are_taken_beside_bad_ones_only_where_the_settings_say_so() -> None:
    lines = "编号,日期,人数", "1,2026-09-01,40", "2,2026-09-02,many"
    assert refused("成长课堂.csv", *lines).reason == "DATA/NUMBER"
    sheet = read("成长课堂.csv", *lines, accept_valid_rows=True)
    assert [record.source for record in sheet.records] == ["lesson/1"]
    assert [finding.reason for finding in sheet.findings.rejected] == ["DATA/NUMBER"]


def test_the_same_row_twice_is_one_and_two_rows_of_one_id_are_none() -> None:
    header, line = "编号,日期,人数", "1,2026-09-01,40"
    assert len(read("成长课堂.csv", header, line, line).records) == 1
    assert refused("成长课堂.csv", header, line, "1,2026-09-01,41").reason == "DATA/DUPLICATE"


@pytest.mark.parametrize(
    ("result", "words", "event"),
    [
        ("接受", "", referral.REFERRAL_EVENT_ACCEPT),
        ("婉拒", "名额已满", referral.REFERRAL_EVENT_DECLINE),
        ("attended", "", referral.REFERRAL_EVENT_ATTEND),
    ],
)
def test_an_answer_to_a_referral_says_what_happened(result: str, words: str, event: int) -> None:
    sheet = read("答复.csv", "编号,单号,结果,说明", f"a-1,referrals/r1,{result},{words}")
    answer = sheet.records[0].beside
    assert answer is not None
    assert (answer.referral.referral, answer.referral.event, answer.referral.reason) == ("referrals/r1", event, words)
    assert answer.referral.source.startswith("answer/a-1@")


def test_an_outcome_is_advice_and_a_task_is_reported() -> None:
    header = "编号,单号,结果,说明,给学校的建议,给关爱小组的建议"
    sheet = read("answers.csv", header, "1,referrals/r1,反馈,,座位靠前,每周一次", "2,tasks/t1,已完成,去过了,,")
    first, second = (record.beside for record in sheet.records)
    assert first is not None and second is not None
    outcome = first.referral.outcome
    assert (outcome.school_advice, outcome.care_advice, outcome.diagnosis) == ("座位靠前", "每周一次", "")
    assert (second.task_report.name, second.task_report.report, second.task_report.cancelled) == (
        "tasks/t1", "去过了", False,
    )  # fmt: skip


def test_a_task_that_cannot_be_done_is_not_ended_by_that() -> None:
    answer = read("答复.csv", "编号,单号,结果,说明", f"1,tasks/t1,无法完成,{CANARY}").records[0].beside
    assert answer is not None
    assert (answer.rejected.reason, answer.rejected.place) == ("TASK/CANNOT", "row 2, tasks/t1")
    assert CANARY not in str(answer)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1,referrals/r1,婉拒,", "DATA/MISSING"),
        ("1,referrals/r1,已完成,x", "DATA/CODE"),
        ("1,tasks/t1,接受,x", "DATA/CODE"),
        ("1,tasks/t1,已完成,", "DATA/MISSING"),
        (f"1,{CANARY},已完成,x", "DATA/ID"),
    ],
)
def test_an_answer_nobody_could_act_on_is_refused_and_holds_up_no_other(line: str, reason: str) -> None:
    sheet = read("答复.csv", "编号,单号,结果,说明", line, "2,tasks/t2,已完成,x")
    assert [record.source for record in sheet.records] == ["answer/2"]
    (found,) = sheet.findings.rejected
    assert (found.reason, found.place.row) == (reason, 2)
    assert CANARY not in found.message


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("通讯录.csv", b"x", "DATA/FILE_TYPE"),
        ("成长课堂.pdf", b"%PDF-1.7", "DATA/FILE_TYPE"),
        ("成长课堂.xlsx", b"%PDF-1.7", "DATA/FILE_TYPE"),
        ("成长课堂.xlsx", b"\xd0\xcf\x11\xe0", "DATA/FILE_TYPE"),
        ("成长课堂.csv", b"", "DATA/EMPTY"),
        ("成长课堂.csv", "编号,日期,人数\n1,2026-09-01,4\n".encode("gb18030"), "DATA/ENCODING"),
        ("成长课堂.csv", "编号;日期;人数\n1;2026-09-01;4\n".encode(), "DATA/HEADER"),
        ("成长课堂.csv", "编号,日期\n1,2026-09-01\n".encode(), "DATA/HEADER"),
        ("成长课堂.csv", '编号,日期,人数\n1,2026-09-01,"4\n'.encode(), "DATA/QUOTE"),
        ("成长课堂.csv", "编号,日期,人数\n1\0,2026-09-01,4\n".encode(), "DATA/CHARSET"),
    ],
)
def test_a_file_that_is_none_of_the_logs_is_refused_whole(name: str, data: bytes, reason: str) -> None:
    assert refused(name, data=data).reason == reason


def test_gb18030_is_read_where_it_is_declared() -> None:
    data = "编号,日期,人数\n1,2026-09-01,4\n".encode("gb18030")
    assert activity(read("成长课堂.csv", data=data, encoding="gb18030")).persons == 4


def test_no_message_holds_a_value_of_a_bad_cell_or_a_persons_file_name(tmp_path: Any) -> None:
    path = tmp_path / f"个案服务记录-{CANARY}.csv"
    path.write_text(f"{SESSION}\ns-1,{CANARY},{CANARY},{CANARY},{CANARY},{CANARY},{CANARY},{CANARY},,{CANARY}\n")
    items = list(SocialWorkReader().read_file(path, ReadingSettings()))
    assert {type(item).__name__ for item in items} == {"Refused"}
    assert CANARY not in str(items)
    assert CANARY not in inbox.safe_label(path.name)


def test_every_log_has_a_row_id_a_day_and_names_that_are_nobody_elses() -> None:
    words = [word for log in wire.LOGS for word in log.words] + list(wire.ANSWERS)
    assert not [(a, b) for a in words for b in words if a != b and a.startswith(b)]
    for log in wire.LOGS:
        names = [name for column in (wire.ROW, wire.DAY, *log.columns) for name in (column.name, *column.aliases)]
        assert len(names) == len(set(names))
        assert log.series is None or log.series in log.columns


GOOD = [
    (f"{table.word}.csv", "\n".join([",".join(table.header), *(",".join(row) for row in table.rows[:3])]).encode())
    for table in year.tables()
] + [("答复.xlsx", workbook([["编号", "单号", "结果", "说明"], ["1", "tasks/t1", "已完成", "x"]]))]
PIECES = st.sampled_from(
    [b"", b",", b"\n", b'"', b"\0", b"9" * 400, b"-1", b"2026-02-30", "是".encode(), b"\xff", b"=1+1", b"1e999", b"tasks/",
     "\u202e".encode(), b"PK\x03\x04"]
)  # fmt: skip
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), PIECES), max_size=6)


@settings(max_examples=200, deadline=5000, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(GOOD), EDITS, st.sampled_from(["utf-8", "gb18030"]))
def test_any_bytes_are_read_or_refused(
    file: tuple[str, bytes], edits: list[tuple[float, int, bytes]], encoding: str
) -> None:
    name, data = file
    for where, cut, piece in edits:
        at = int(where * len(data))
        data = data[:at] + piece + data[at + cut :]
    try:
        sheet = read(name, data=data, encoding=encoding, bring_notes=True)
    except RecordRejected as error:
        assert re.fullmatch(r"DATA/[A-Z_]+", error.reason)
        return
    for record in sheet.records:
        assert record.activity is None or record.activity.day <= TODAY.isoformat()
