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
    return [item.student for item in items if item.HasField("student")]


def forms(items: list[ReadResponse]) -> list[FormSheet]:
    return [item.forms for item in items if item.HasField("forms")]


def rejected(items: list[ReadResponse]) -> list[Rejected]:
    return [item.rejected for item in items if item.HasField("rejected")]


def reasons(items: list[ReadResponse]) -> list[tuple[str, str]]:
    return [(item.reason, item.place) for item in rejected(items)]


# -- rosters ------------------------------------------------------------------------------------------------------------


def test_a_student_is_joined_from_all_files_of_a_package(make: Callable[..., School]) -> None:
    school = make()
    school.roster()
    [student] = students(school.read())
    assert (student.local_id, student.family_name, student.given_name) == ("S1", "𠮷", "田一")
    assert (student.grade, student.class_title, student.school_title) == ("七年级", "七年级1班", "示范学校")
    assert (student.birth_date, student.sex, student.phone, student.school) == ("2013-05-06", 2, "13800000000", "X1")


def test_a_password_is_in_no_item_and_in_no_file_of_the_adapter(make: Callable[..., School]) -> None:
    school = make()
    school.roster(users_csv=f"{USERS}\nS1,active,,true,s1,,,,13 8x,,{CANARY}\n,active,,,,,,,,,{CANARY}\n")
    items = school.read()
    state = b"".join(path.read_bytes() for path in (school.folder / "state").rglob("*") if path.is_file())
    assert items
    assert CANARY.encode() not in b"".join(item.SerializeToString() for item in items) + state


def test_a_good_package_brings_its_students_without_their_passwords(make: Callable[..., School]) -> None:
    school = make()
    school.roster()
    items = school.read()
    assert students(items)
    state = b"".join(path.read_bytes() for path in (school.folder / "state").rglob("*") if path.is_file())
    assert CANARY.encode() not in b"".join(item.SerializeToString() for item in items) + state


def test_a_bulk_sheet_of_the_1_1_shape_takes_the_role_from_users(make: Callable[..., School]) -> None:
    school = make()
    users = "sourcedId,status,orgSourcedIds,role,username,givenName,familyName,password\n"
    school.roster(users_csv=users + f"S1,,O1,student,s1,甲,赵,{CANARY}\nT1,,O1,teacher,t,乙,钱,x\n", roles_csv=None)
    items = school.read()
    assert [student.local_id for student in students(items)] == ["S1"]


def test_a_deleted_student_has_left(make: Callable[..., School]) -> None:
    school = make()
    school.roster(users_csv=ROSTER["users.csv"].replace("S1,active", "S1,tobedeleted"))
    assert [student.left for student in students(school.read())] == [True]


def test_harmless_defects_are_read_and_named(make: Callable[..., School]) -> None:
    school = make()
    school.roster(
        users_csv=None,
        Users_csv=ROSTER["users.csv"].replace("familyName", "famliyName"),
        demographics_csv="sourcedId,status,birthDate,sex,,\nS1,,1/05/2023,female,,\n",
    )
    items = school.read()
    [student] = students(items)
    assert (student.family_name, student.birth_date, student.sex) == ("𠮷", "", 2)
    assert {reason for reason, _place in reasons(items)} == {"DATA/ZIP_NAME", "DATA/HEADER", "DATA/DATE"}
    assert ("DATA/DATE", "roster.zip/demographics.csv: row 2, column birthDate") in reasons(items)


def test_orphans_are_named_with_their_row(make: Callable[..., School]) -> None:
    school = make()
    more = "E2,active,C9,S1,student,\nE3,active,C1,S9,student,\n"
    school.roster(enrollments_csv=ROSTER["enrollments.csv"] + more)
    items = school.read()
    assert len(students(items)) == 1
    assert reasons(items) == [
        ("DATA/REFERENCE", "roster.zip/enrollments.csv: row 3, column classSourcedId"),
        ("DATA/REFERENCE", "roster.zip/enrollments.csv: row 4, column userSourcedId"),
    ]


def test_a_roster_with_contradicting_users_is_refused_whole(make: Callable[..., School]) -> None:
    school = make()
    school.roster(users_csv=ROSTER["users.csv"] + "S1,active,,true,s1,,另,名,,,x\n")
    items = school.read()
    assert not students(items)
    assert [reason for reason, _place in reasons(items)] == ["DATA/DUPLICATE", "DATA/DUPLICATE"]


def test_a_delta_keeps_the_class_that_an_earlier_package_told(make: Callable[..., School]) -> None:
    school = make()
    school.roster()
    delta = {
        "manifest.csv": "propertyName,value\nfile.users,delta\n",
        "users.csv": "sourcedId,status,givenName,familyName\nS1,active,新,名\n",
    }
    cursor = school.read()[-1].cursor
    school.drop("delta.zip", make_zip({name: text.encode() for name, text in delta.items()}))
    [student] = students(school.read(cursor))
    assert (student.given_name, student.class_title, student.birth_date) == ("新", "七年级1班", "2013-05-06")


def test_a_delta_of_enrolments_alone_moves_the_student(make: Callable[..., School]) -> None:
    school = make()
    school.roster()
    delta = {
        "manifest.csv": "propertyName,value\nfile.enrollments,delta\nfile.classes,delta\n",
        "classes.csv": "sourcedId,status,title,classType\nC2,active,七年级2班,homeroom\n",
        "enrollments.csv": "sourcedId,status,classSourcedId,userSourcedId,role\n"
        "E1,tobedeleted,C1,S1,student\nE2,active,C2,S1,student\n",
    }
    cursor = school.read()[-1].cursor
    school.drop("delta.zip", make_zip({name: text.encode() for name, text in delta.items()}))
    assert [(s.given_name, s.class_title) for s in students(school.read(cursor))] == [("田一", "七年级2班")]


def test_a_damaged_package_brings_no_student(make: Callable[..., School]) -> None:
    school = make()
    data = bytearray(school.roster().read_bytes())
    data[60] ^= 0xFF
    school.drop("roster.zip", bytes(data))
    items = school.read()
    assert not students(items)
    assert rejected(items)[-1].message.startswith("whole file refused")


def test_guardians_come_from_the_agents_of_either_side(make: Callable[..., School]) -> None:
    school = make()
    users = "sourcedId,status,givenName,familyName,phone,agentSourcedIds\n"
    school.roster(
        users_csv=users + "S1,active,田一,𠮷,,G1\nG1,active,母,张,139 0000 0000,\nG2,active,John,Smith,,S1\n",
        roles_csv="sourcedId,status,userSourcedId,role\nR1,active,S1,student\nR2,active,G1,parent\nR3,active,G2,guardian\n",
    )
    [student] = students(school.read())
    assert sorted((g.full_name, g.relation, g.phone) for g in student.guardians) == [
        ("John Smith", "guardian", ""), ("张母", "parent", "13900000000"),
    ]  # fmt: skip


def test_a_delta_without_guardians_keeps_those_of_the_bulk_package(make: Callable[..., School]) -> None:
    school = make()
    users = "sourcedId,status,givenName,familyName,phone,agentSourcedIds\n"
    roles = ROSTER["roles.csv"] + "R3,active,G1,parent\n"
    school.roster(
        users_csv=users + "S1,active,田一,𠮷,,G1\nT1,active,师,老,,\nG1,active,母,张,13900000000,\n", roles_csv=roles
    )
    cursor = school.read()[-1].cursor
    delta = {
        "manifest.csv": "propertyName,value\nfile.users,delta\n",
        "users.csv": "sourcedId,status,givenName,familyName\nS1,active,新,名\n",
    }
    school.drop("delta.zip", make_zip({name: text.encode() for name, text in delta.items()}))
    [student] = students(school.read(cursor))
    assert [g.full_name for g in student.guardians] == ["张母"]


def test_a_delta_of_a_guardian_alone_brings_the_student_with_the_new_phone(make: Callable[..., School]) -> None:
    school = make()
    users = "sourcedId,status,givenName,familyName,phone,agentSourcedIds\n"
    roles = ROSTER["roles.csv"] + "R3,active,G1,parent\n"
    school.roster(
        users_csv=users + "S1,active,田一,𠮷,,G1\nT1,active,师,老,,\nG1,active,母,张,13900000000,\n", roles_csv=roles
    )
    cursor = school.read()[-1].cursor
    delta = {
        "manifest.csv": "propertyName,value\nfile.users,delta\n",
        "users.csv": users + "G1,active,母,张,13911111111,\n",
    }
    school.drop("delta.zip", make_zip({name: text.encode() for name, text in delta.items()}))
    [student] = students(school.read(cursor))
    assert (student.given_name, [g.phone for g in student.guardians]) == ("田一", ["13911111111"])


def test_a_delta_says_nothing_of_those_it_does_not_name(make: Callable[..., School]) -> None:
    school = make()
    more = "".join(f"S{n},active,,true,s,,名{n},赵,,,x\n" for n in range(2, 9))
    roles = "".join(f"R{n}9,active,S{n},student\n" for n in range(2, 9))
    school.roster(users_csv=ROSTER["users.csv"] + more, roles_csv=ROSTER["roles.csv"] + roles)
    cursor = school.read()[-1].cursor
    delta = {
        "manifest.csv": "propertyName,value\nfile.users,delta\n",
        "users.csv": "sourcedId,status,givenName,familyName\nS2,tobedeleted,名,赵\n",
    }
    school.drop("delta.zip", make_zip({name: text.encode() for name, text in delta.items()}))
    items = school.read(cursor)
    assert [(student.local_id, student.left) for student in students(items)] == [("S2", True)]
    assert rejected(items) == []


def two_bulk_packages(school: School) -> list[ReadResponse]:
    school.roster(
        users_csv=ROSTER["users.csv"] + "S2,active,,true,s,,乙,钱,,,x\n",
        roles_csv=ROSTER["roles.csv"] + "R3,active,S2,student\n",
        demographics_csv=ROSTER["demographics.csv"] + "S2,active,2013-07-08,male\n",
    )
    cursor = school.read()[-1].cursor
    school.roster("second.zip")
    return school.read(cursor)


def test_a_student_whom_a_new_bulk_package_does_not_name_is_counted_and_kept(make: Callable[..., School]) -> None:
    items = two_bulk_packages(make())
    assert [(student.local_id, student.left) for student in students(items)] == [("S1", False)]
    assert reasons(items) == [("DATA/ABSENT", "second.zip/users.csv")]


def test_where_absence_means_leaving_the_student_keeps_the_name(make: Callable[..., School]) -> None:
    found = students(two_bulk_packages(make(absent_means_left=True)))
    assert [(s.local_id, s.family_name, s.birth_date, s.left) for s in found] == [
        ("S1", "𠮷", "2013-05-06", False), ("S2", "钱", "2013-07-08", True),
    ]  # fmt: skip


def test_where_absence_means_leaving_a_delta_makes_nobody_leave(make: Callable[..., School]) -> None:
    school = make(absent_means_left=True)
    school.roster(
        users_csv=ROSTER["users.csv"] + "S2,active,,true,s,,乙,钱,,,x\n",
        roles_csv=ROSTER["roles.csv"] + "R3,active,S2,student\n",
    )
    cursor = school.read()[-1].cursor
    delta = {
        "manifest.csv": "propertyName,value\nfile.users,delta\n",
        "users.csv": "sourcedId,status,givenName,familyName\nS1,active,新,名\n",
    }
    school.drop("delta.zip", make_zip({name: text.encode() for name, text in delta.items()}))
    items = school.read(cursor)
    assert [(student.local_id, student.left) for student in students(items)] == [("S1", False)]
    assert rejected(items) == []


def test_a_delta_whose_bulk_package_is_gone_says_whom_it_cannot_name(make: Callable[..., School]) -> None:
    school = make()
    path = school.roster()
    cursor = school.read()[-1].cursor
    path.unlink()
    delta = {
        "manifest.csv": "propertyName,value\nfile.enrollments,delta\n",
        "enrollments.csv": "sourcedId,status,classSourcedId,userSourcedId,role\nE1,tobedeleted,C1,S1,student\n",
    }
    school.drop("delta.zip", make_zip({name: text.encode() for name, text in delta.items()}))
    items = school.read(cursor)
    assert not students(items)
    assert [reason for reason, _ in reasons(items)] == ["DATA/REFERENCE"]


def test_every_reference_that_leads_nowhere_is_named(make: Callable[..., School]) -> None:
    school = make()
    school.roster(
        orgs_csv="sourcedId,status,name,type,identifier,parentSourcedId\nO1,active,示范学校,school,,O9\n",
        classes_csv="sourcedId,status,title,grades,classType,schoolSourcedId\nC1,active,七年级1班,七年级,homeroom,O9\n",
        roles_csv=ROSTER["roles.csv"] + "R3,active,S9,student\n",
        demographics_csv="sourcedId,status,birthDate,sex\nS8,active,2013-05-06,female\n",
    )
    items = school.read()
    assert len(students(items)) == 1
    assert {place for reason, place in reasons(items) if reason == "DATA/REFERENCE"} == {
        "roster.zip/orgs.csv: row 2, column parentSourcedId", "roster.zip/classes.csv: row 2, column schoolSourcedId",
        "roster.zip/roles.csv: row 4, column userSourcedId", "roster.zip/demographics.csv: row 2, column sourcedId",
    }  # fmt: skip


def test_an_odd_header_is_named_by_its_position_and_not_by_its_text(make: Callable[..., School]) -> None:
    school = make()
    school.roster(orgs_csv="sourcedId,status,name,type,欧阳子涵\nO1,active,示范学校,school,x\n")
    items = school.read()
    assert reasons(items) == [("DATA/HEADER", "roster.zip/orgs.csv: row 1, column 5")]
    assert "欧阳" not in str(items)


def test_a_platform_of_several_schools_gives_each_student_its_own_school_code(make: Callable[..., School]) -> None:
    school = make(schools={"O1": "3205830001", "00002": "3205830002"})
    school.roster(
        orgs_csv="sourcedId,status,name,type,identifier\nO1,active,一中,school,\nO2,active,二中,school,00002\n",
        users_csv="sourcedId,status,givenName,familyName,primaryOrgSourcedId\nS1,active,甲,赵,\nS2,active,乙,钱,O2\nT1,active,师,老,O1\n",
        roles_csv=ROSTER["roles.csv"] + "R3,active,S2,student\n",
    )
    assert [(s.local_id, s.school, s.school_title) for s in students(school.read())] == [
        ("S1", "3205830001", "一中"), ("S2", "3205830002", "二中"),
    ]  # fmt: skip


def test_the_same_student_twice_is_taken_once(make: Callable[..., School]) -> None:
    school = make()
    row = ROSTER["users.csv"].splitlines()[1]
    school.roster(users_csv=ROSTER["users.csv"] + row + "\n")
    assert [student.local_id for student in students(school.read())] == ["S1"]


def test_a_package_that_takes_long_shows_signs_of_life(
    make: Callable[..., School], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xinqiao_school.adapter._ALIVE_S", -1.0)
    school = make()
    school.roster()
    items = school.read()
    assert any(item.WhichOneof("body") is None for item in items)
    assert all(not item.cursor for item in items if item.WhichOneof("body") is None)


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


@pytest.mark.skipif(not (DATA / "oneroster").is_dir(), reason="the shared data are not here")
def test_real_rosters_are_read_and_their_defects_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table: list[tuple[str, int, list[tuple[str, str]]]] = []
    for number, path in enumerate(sorted((DATA / "oneroster").glob("*.zip"))):
        (tmp_path / str(number)).mkdir()
        school = School(tmp_path / str(number))
        school.drop(path.name, path.read_bytes())
        items = school.read()
        assert b"Password" not in b"".join(item.SerializeToString() for item in items)
        table.append((path.name, len(students(items)), reasons(items)))
    with capsys.disabled():
        for name, count, found in table:
            print(f"\n{name}: {count} student(s) accepted, {len(found)} defect(s) named", end="")
            for reason, place in found:
                print(f"\n    {reason:16} {place}", end="")
    assert {name: count for name, count, _ in table} == {"Test_full_data_set.zip": 3, "oneroster_test_data.zip": 1}
    assert ("DATA/REFERENCE", "Test_full_data_set.zip/orgs.csv: row 2, column parentSourcedId") in table[0][2]


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
