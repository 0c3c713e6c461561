"""What the school adapter reads from its inbox, and how it names what it cannot take."""

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.transport import HttpTransport
from xinqiao.api.adapter.v1.adapter_service_pb2 import FormSheet, ReadResponse, Rejected
from xinqiao.api.common.v1.types_pb2 import Student
from xinqiao_school import SchoolAdapter, SchoolSettings, SchoolSimulator
from xinqiao_school.synthetic import SCHOOL_TITLE, make_school, make_workbook, make_zip

PHQ = [f"phq{n}" for n in range(1, 10)]
HEADER = ",".join(["student_id", "taken_on", *PHQ])
DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
CANARY = "c4nary-Passw0rd"

USERS = "sourcedId,status,dateLastModified,enabledUser,username,userIds,givenName,familyName,phone,grades,password"
ROSTER = {
    "manifest.csv": "propertyName,value\noneroster.version,1.2\nfile.users,bulk\nfile.roles,bulk\n",
    "orgs.csv": "sourcedId,status,name,type\nO1,active,示范学校,school\n",
    "classes.csv": "sourcedId,status,title,grades,classType,schoolSourcedId\nC1,active,七年级1班,七年级,homeroom,O1\n",
    "users.csv": f"{USERS}\nS1,active,,true,s1,,田一,𠮷,13800000000,七年级,{CANARY}\nT1,active,,true,t1,,师,老,,,{CANARY}\n",
    "roles.csv": "sourcedId,status,userSourcedId,role\nR1,active,S1,student\nR2,active,T1,teacher\n",
    "enrollments.csv": "sourcedId,status,classSourcedId,userSourcedId,role,primary\nE1,active,C1,S1,student,true\n",
    "demographics.csv": "sourcedId,status,birthDate,sex\nS1,active,2013-05-06,female\n",
}


class School:
    """An adapter over fresh folders; files are dropped in the order of the calls."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.inbox, self.outbox = folder / "inbox", folder / "outbox"
        self.settings = settings
        for path in (self.inbox, self.outbox):
            path.mkdir(exist_ok=True)
        self.dropped = 0

    def adapter(self) -> SchoolAdapter:
        raw = {"inbox": self.inbox, "outbox": self.outbox, "school": "X1", **self.settings}
        http = cast("HttpTransport", None)
        context = AgencyContext("school-1", {}, "test", http, self.folder / "state")
        return SchoolAdapter(SchoolSettings.model_validate(raw), context)

    def drop(self, name: str, data: bytes | str) -> Path:
        path = self.inbox / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        self.dropped += 1
        os.utime(path, ns=(10**18 + self.dropped * 10**9, 10**18 + self.dropped * 10**9))
        return path

    def roster(self, name: str = "roster.zip", **changed: str | None) -> Path:
        files = ROSTER | {key.replace("_", "."): text for key, text in changed.items()}
        return self.drop(name, make_zip({key: text.encode() for key, text in files.items() if text is not None}))

    def sheet(self, *rows: str, name: str = "a.csv", header: str = HEADER) -> Path:
        return self.drop(name, "\n".join([header, *rows, ""]))

    def read(self, cursor: str = "") -> list[ReadResponse]:
        return list(self.adapter().read(cursor))


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., School]:
    def make_school_with(**settings: Any) -> School:
        return School(tmp_path, **settings)

    return make_school_with


def students(items: list[ReadResponse]) -> list[Student]:
    return [each for item in items for each in ([item.student] if item.HasField("student") else item.students.students)]


def forms(items: list[ReadResponse]) -> list[FormSheet]:
    return [item.forms for item in items if item.HasField("forms")]


def rejected(items: list[ReadResponse]) -> list[Rejected]:
    return [item.rejected for item in items if item.HasField("rejected")]


def reasons(items: list[ReadResponse]) -> list[tuple[str, str]]:
    return [(item.reason, item.place) for item in rejected(items)]


# -- sheets -------------------------------------------------------------------------------------------------------------


def test_all_three_formats_and_both_encodings_give_the_same_forms(make: Callable[..., School]) -> None:
    rows = [["学号", "日期", *PHQ], ["S1", "2026-10-12", *"012301230"]]
    text = "".join(",".join(row) + "\n" for row in rows)
    school = make(sheets=[{"match": "gb*.csv", "encoding": "gb18030"}])
    school.drop("u.csv", text)
    school.drop("gb.csv", text.encode("gb18030"))
    school.drop("x.xlsx", make_workbook(rows))
    # The three are one form each, so only the source tells them apart.
    found = forms(school.read())
    assert [(f.instrument, f.taken_on, list(f.local_ids), f.answers) for f in found] == [
        ("PHQ-9", "2026-10-12", ["S1"], bytes([0, 1, 2, 3, 0, 1, 2, 3, 0]))
    ] * 3
    assert len({f.source for f in found}) == 3


def test_one_wide_sheet_holds_both_instruments(make: Callable[..., School]) -> None:
    school = make()
    header = ",".join(["学号", "日期", *(f"PHQ{n}" for n in range(1, 10)), *(f"GAD-7_{n}" for n in range(1, 8))])
    school.sheet("S1,2026-10-12," + ",".join("0123012300123012"), header=header)
    assert [(f.instrument, len(f.answers)) for f in forms(school.read())] == [("PHQ-9", 9), ("GAD-7", 7)]


@pytest.mark.parametrize(("coding", "answer", "outside"), [("0-4", "0", "5"), ("1-5", "5", "0")])
def test_the_settings_say_which_coding_a_sheet_is_in_and_so_what_an_answer_may_be(
    make: Callable[..., School], coding: str, answer: str, outside: str
) -> None:
    columns = {"columns": "scl{1..90}", "coding": coding}
    school = make(sheets=[{"instruments": {"SCL-90": columns}}], accept_valid_rows=True)
    header = ",".join(["学号", "日期", *(f"scl{n}" for n in range(1, 91))])
    school.sheet(*(f"S{cell},2026-10-12," + ",".join([cell] * 90) for cell in (answer, outside)), header=header)
    items = school.read()
    assert [(f.instrument, f.coding, list(f.local_ids)) for f in forms(items)] == [("SCL-90", coding, [f"S{answer}"])]
    assert [reason for reason, _ in reasons(items)] == ["DATA/ANSWER_RANGE"]


@pytest.mark.parametrize("more", [{"coding": "1-5", "high": 4}, {"coding": "1 to 5"}, {"coding": "5-1"}])
def test_a_coding_that_makes_no_sense_is_refused_at_the_start(
    make: Callable[..., School], more: dict[str, Any]
) -> None:
    school = make(sheets=[{"instruments": {"SCL-90": {"columns": "scl{1..90}", **more}}}])
    with pytest.raises(ValueError, match="coding|low"):
        school.adapter()


def test_a_blank_answer_is_not_answered(make: Callable[..., School]) -> None:
    school = make()
    school.sheet("S1,2026-10-12,0,,0,0,0,0,0,0,1")
    assert forms(school.read())[0].answers == bytes([0, 255, 0, 0, 0, 0, 0, 0, 1])


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("高", "DATA/NUMBER"),
        ("1e999", "DATA/NUMBER"),
        ("N/A", "DATA/NUMBER"),
        ("9", "DATA/ANSWER_RANGE"),
        ("-1", "DATA/ANSWER_RANGE"),
    ],
)
def test_a_bad_answer_refuses_the_sheet_and_is_named_by_row_and_column(
    make: Callable[..., School], cell: str, reason: str
) -> None:
    school = make()
    school.sheet("S1,2026-10-12,0,0,0,0,0,0,0,0,0", f"S2,2026-10-12,0,0,{cell},0,0,0,0,0,0")
    items = school.read()
    assert not forms(items)
    assert reasons(items) == [(reason, "row 3, column phq3")] * 2
    assert rejected(items)[1].message.startswith("whole file refused")


def test_a_truth_value_in_a_workbook_is_no_answer(make: Callable[..., School]) -> None:
    school = make()
    book = make_workbook([["student_id", "taken_on", *PHQ], ["S1", "2026-10-12", *"111111111"]])
    with zipfile.ZipFile(io.BytesIO(book)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    cell = b'<c r="C2"><v>1</v></c>'
    assert cell in parts["xl/worksheets/sheet1.xml"]
    parts["xl/worksheets/sheet1.xml"] = parts["xl/worksheets/sheet1.xml"].replace(cell, b'<c r="C2" t="b"><v>1</v></c>')
    school.drop("a.xlsx", make_zip(parts))
    items = school.read()
    assert not forms(items)
    assert reasons(items)[0] == ("DATA/NUMBER", "sheet 1, row 2, column phq1")


def test_valid_rows_are_taken_when_the_settings_say_so(make: Callable[..., School]) -> None:
    school = make(accept_valid_rows=True)
    school.sheet("S1,2026-10-12,0,0,0,0,0,0,0,0,0", "S2,2026-10-12,0,0,x,0,0,0,0,0,0")
    items = school.read()
    assert [list(form.local_ids) for form in forms(items)] == [["S1"]]
    assert reasons(items) == [("DATA/NUMBER", "row 3, column phq3")]


def test_a_hundred_bad_rows_are_listed_and_the_rest_counted(make: Callable[..., School]) -> None:
    school = make()
    school.sheet(*(f"S{n},2026-10-12,x,0,0,0,0,0,0,0,0" for n in range(130)))
    found = rejected(school.read())
    assert len(found) == 102
    assert found[100].message.startswith("30 more")


def test_a_text_that_means_missing_is_configured(make: Callable[..., School]) -> None:
    school = make(sheets=[{"match": "*.csv", "missing": ["未答"]}])
    school.sheet("S1,2026-10-12,未答,0,0,0,0,0,0,0,0")
    assert forms(school.read())[0].answers[0] == 255


def test_columns_of_another_instrument_are_mapped_by_the_settings(make: Callable[..., School]) -> None:
    mapping = {
        "match": "*",
        "student": "编号",
        "date": "2026-10-01",
        "instruments": {"WHO-5": {"columns": "w{1..5}", "high": 5}},
    }
    school = make(sheets=[mapping])
    school.sheet("7,5,4,3,2,1", header="编号,w1,w2,w3,w4,w5")
    [form] = forms(school.read())
    assert (form.instrument, form.taken_on, form.answers) == ("WHO-5", "2026-10-01", bytes([5, 4, 3, 2, 1]))


def test_large_sheets_come_in_batches_that_are_not_taken_for_repeats(make: Callable[..., School]) -> None:
    school = make()
    school.sheet(*(f"S{n},2026-10-12,0,0,0,0,0,0,0,0,0" for n in range(2001)))
    found = forms(school.read())
    assert [len(form.local_ids) for form in found] == [2000, 1]
    assert len({form.source for form in found}) == 2


def test_a_sheet_in_the_other_encoding_is_refused_not_guessed(make: Callable[..., School]) -> None:
    school = make()
    school.drop("a.csv", ",".join(["学号", "日期", *PHQ]).encode("gb18030") + b"\nS1,2026-10-12,0,0,0,0,0,0,0,0,0\n")
    items = school.read()
    assert not forms(items)
    assert rejected(items)[0].reason == "DATA/ENCODING"


def test_a_questionnaire_with_a_missing_column_is_refused(make: Callable[..., School]) -> None:
    school = make()
    school.sheet("S1,2026-10-12,0,0,0,0,0,0,0,0", header=HEADER.removesuffix(",phq9"))
    items = school.read()
    assert not forms(items)
    assert "phq9" in rejected(items)[0].message


def test_a_sheet_that_names_somebody_but_has_no_id_column_is_refused(make: Callable[..., School]) -> None:
    school = make()
    school.sheet("赵甲,2026-10-12,0,0,0,0,0,0,0,0,0", header=HEADER.replace("student_id", "姓名"))
    items = school.read()
    assert not forms(items)
    assert reasons(items)[0][0] == "DATA/HEADER"


def test_no_item_holds_a_value_of_a_bad_cell_or_a_persons_file_name(make: Callable[..., School]) -> None:
    school = make()
    school.sheet(f"{CANARY},2026-10-12,{CANARY},0,0,0,0,0,0,0,0", name="赵小明.csv")
    text = b"".join(item.SerializeToString() for item in school.read()).decode("utf-8", "replace")
    assert CANARY not in text
    assert "赵小明" not in text


def test_a_file_of_another_kind_is_named_once(make: Callable[..., School]) -> None:
    school = make()
    school.drop("名单.xlsx.exe", b"MZ")
    items = school.read()
    assert [reason for reason, _place in reasons(items)] == ["DATA/FILE_TYPE"]
    assert school.read(items[-1].cursor) == []


def test_unknown_students_are_registered_without_a_name_only_when_asked(make: Callable[..., School]) -> None:
    school = make(register_unknown=True)
    school.roster()
    school.sheet("S1,2026-10-12,0,0,0,0,0,0,0,0,0", "S2,2026-10-12,0,0,0,0,0,0,0,0,0")
    items = school.read()
    assert [(s.local_id, s.family_name, s.school) for s in students(items)] == [("S1", "𠮷", "X1"), ("S2", "", "X1")]
    assert items[1].student.local_id == "S2"
    assert items[2].HasField("forms")


# -- manifests, repeats, cursors ----------------------------------------------------------------------------------------


def test_a_cut_off_upload_is_refused_by_its_manifest(make: Callable[..., School]) -> None:
    school = make()
    data = school.sheet("S1,2026-10-12,0,0,0,0,0,0,0,0,0", "S2,2026-10-12,0,0,0,0,0,0,0,0,0").read_bytes()
    (school.inbox / "a.csv.manifest.json").write_text(json.dumps({"rows": 2, "sha256": "0" * 64}))
    school.drop("a.csv", data[: data.index(b"S2")])
    items = school.read()
    assert not forms(items)
    assert [reason for reason, _place in reasons(items)] == ["DATA/TRUNCATED"]


def test_a_changed_file_is_refused_by_its_manifest(make: Callable[..., School]) -> None:
    school = make()
    school.sheet("S1,2026-10-12,0,0,0,0,0,0,0,0,0")
    (school.inbox / "a.csv.manifest.json").write_text(json.dumps({"rows": 1, "sha256": "0" * 64}))
    assert [reason for reason, _place in reasons(school.read())] == ["DATA/MANIFEST"]


def test_a_file_under_way_is_left_alone(make: Callable[..., School]) -> None:
    school = make()
    school.sheet("S1,2026-10-12,0,0,0,0,0,0,0,0,0", name="a.csv.part")
    assert school.read() == []


def test_a_link_out_of_the_inbox_is_not_followed(make: Callable[..., School], tmp_path: Path) -> None:
    school = make()
    outside = tmp_path / "outside.csv"
    outside.write_text(f"{HEADER}\nS1,2026-10-12,0,0,0,0,0,0,0,0,0\n")
    (school.inbox / "a.csv").symlink_to(outside)
    assert school.read() == []


def test_the_same_content_again_is_skipped_and_other_content_under_the_name_is_a_conflict(
    make: Callable[..., School],
) -> None:
    school = make()
    school.sheet("S1,2026-10-12,0,0,0,0,0,0,0,0,0")
    cursor = school.read()[-1].cursor
    school.sheet("S1,2026-10-12,0,0,0,0,0,0,0,0,0", name="again.csv")
    assert school.read(cursor) == []
    school.sheet("S1,2026-10-12,1,0,0,0,0,0,0,0,0")
    items = school.read(cursor)
    assert not forms(items)
    assert [reason for reason, _place in reasons(items)] == ["FILE_CONFLICT"]


def test_a_refused_file_may_be_mended_under_its_name(make: Callable[..., School]) -> None:
    school = make()
    school.sheet("S1,2026-10-12,x,0,0,0,0,0,0,0,0")
    cursor = school.read()[-1].cursor
    school.sheet("S1,2026-10-12,1,0,0,0,0,0,0,0,0")
    assert len(forms(school.read(cursor))) == 1


def test_a_refused_file_is_judged_anew_when_the_settings_change(make: Callable[..., School]) -> None:
    school = make()
    school.sheet("S1,2026-10-12,0,0,0,0,0,0,0,0,0", "S2,2026-10-12,x,0,0,0,0,0,0,0,0")
    cursor = school.read()[-1].cursor
    assert school.read(cursor) == []
    school.settings["accept_valid_rows"] = True
    assert len(forms(school.read(cursor))) == 1


def test_stopping_after_any_item_loses_and_repeats_nothing(make: Callable[..., School]) -> None:
    school = make(register_unknown=True)
    school.roster()
    school.sheet("S1,2026-10-12,0,0,0,0,0,0,0,0,0", "S2,2026-10-13,0,0,0,0,0,0,0,0,0", "S3,2026-10-13,0,,0,0,0,0,0,0,0")
    school.roster("second.zip", users_csv=f"{USERS}\nS1,active,,true,s,,甲,乙,,,x\nS2,active,,true,s,,丙,丁,,,x\n")
    whole = [item.SerializeToString() for item in school.read()]
    assert len(whole) > 5
    cursor, stepwise = "", list[bytes]()
    while (item := next(iter(school.adapter().read(cursor)), None)) is not None:
        stepwise.append(item.SerializeToString())
        cursor = item.cursor
    assert stepwise == whole


def test_a_late_file_with_an_old_time_is_not_lost(make: Callable[..., School]) -> None:
    school = make()
    school.sheet("S1,2026-10-12,0,0,0,0,0,0,0,0,0")
    cursor = school.read()[-1].cursor
    late = school.sheet("S2,2026-10-12,0,0,0,0,0,0,0,0,0", name="late.csv")
    os.utime(late, ns=(1, 1))
    assert [list(form.local_ids) for form in forms(school.read(cursor))] == [["S2"]]


def test_an_older_cursor_brings_everything_after_it_again(make: Callable[..., School]) -> None:
    school = make()
    school.sheet("S1,2026-10-12,0,0,0,0,0,0,0,0,0")
    old = school.read()[-1].cursor
    school.sheet("S2,2026-10-12,0,0,0,0,0,0,0,0,0", name="b.csv")
    assert len(forms(school.read(old))) == 1
    assert len(forms(school.read(old))) == 1
    assert len(forms(school.read(""))) == 2


# -- real and made-up schools -------------------------------------------------------------------------------------------


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data are not here")
@pytest.mark.parametrize(
    ("path", "count", "first"),
    [
        ("items-mx-medstudents/depression_anxiety_survey_data.csv", 200, [2, 1, 1, 1, 2, 1, 1, 0, 0]),
        ("items-ukm-undergraduates/Psychological_aspects.csv", 223, [1, 0, 0, 1, 0, 0, 0, 0, 0]),
    ],
)
def test_real_answers_are_read_whole(make: Callable[..., School], path: str, count: int, first: list[int]) -> None:
    school = make(default_date="2026-10-12")
    school.drop(Path(path).name, (DATA / path).read_bytes())
    found = forms(school.read())
    phq = next(form for form in found if form.instrument == "PHQ-9")
    assert list(phq.answers[:9]) == first
    assert len(phq.local_ids) == count


def test_a_made_up_school_is_read_without_a_defect(make: Callable[..., School], tmp_path: Path) -> None:
    simulator = SchoolSimulator(tmp_path)
    school = make(sheets=[{"match": "scores-gb18030.csv", "encoding": "gb18030"}])
    simulator.drop_school(students=60)
    items = school.read()
    found = students(items)
    assert rejected(items) == []
    assert {student.school_title for student in found} == {SCHOOL_TITLE}
    assert len({student.class_title for student in found}) == 3
    phq = [form for form in forms(items) if form.instrument == "PHQ-9"]
    assert sorted(i for form in phq for i in form.local_ids) == sorted(student.local_id for student in found)


def test_a_made_up_school_is_the_same_for_a_seed_and_has_item_nine_on_low_totals(tmp_path: Path) -> None:
    first = make_school(tmp_path / "a", students=200, seed=3)
    again = make_school(tmp_path / "b", students=200, seed=3)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    rows = [line.split(",") for line in first.utf8.read_text("utf-8-sig").splitlines()[1:]]
    totals = [(sum(int(cell or 0) for cell in row[2:11]), int(row[10] or 0)) for row in rows]
    assert any(total < 10 and nine > 0 for total, nine in totals)
    assert any("" in row for row in rows)
