"""A made-up school: a OneRoster 1.2 package with Chinese names and score sheets in three formats. Nobody in it is real.

Every id begins with ``SYN-``, the school's name says 合成 and the package names its source ``xinqiao-synthetic``.
"""

import csv
import io
import random
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

SCHOOL_TITLE = "合成示范学校（虚构）"
TAKEN_ON = "2026-10-12"
GB18030_NAME = "scores-gb18030.csv"

SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗"
_COMPOUND = ("欧阳", "司马", "诸葛", "上官")
GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超霞平刚桂英晨雨欣怡子涵梓轩浩宇思琪嘉诗佳一诺"
_RARE = (("𠮷", "田一"), ("阿依古丽", "·买买提"), ("欧阳", "子涵"))
GRADES = ("七年级", "八年级", "九年级")
STAMP = "2026-09-01T00:00:00.000Z"
_FIXED_TIME = (2026, 9, 1, 0, 0, 0)
_COLUMNS = [f"phq{n}" for n in range(1, 10)] + [f"gad{n}" for n in range(1, 8)]

_TYPES = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Override PartName="/xl/workbook.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>'
    '<Override PartName="/xl/worksheets/sheet1.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>'
)
_LINK = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_LINKS = '<?xml version="1.0" encoding="UTF-8"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
_TOP = f'{_LINKS}<Relationship Id="r1" Type="{_LINK}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
_BOOK_LINKS = f'{_LINKS}<Relationship Id="r1" Type="{_LINK}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_BOOK = (
    f'<?xml version="1.0" encoding="UTF-8"?><workbook xmlns="{_MAIN}" xmlns:r="{_LINK}">'
    '<sheets><sheet name="scores" sheetId="1" r:id="r1"/></sheets></workbook>'
)


class SchoolFiles(NamedTuple):
    """The files of a made-up school."""

    roster: Path
    utf8: Path
    gb18030: Path
    xlsx: Path


@dataclass(frozen=True, slots=True)
class _Pupil:
    id: str
    family: str
    given: str
    room: int
    born: str
    sex: str


def make_school(folder: Path, *, students: int = 120, seed: int = 1) -> SchoolFiles:
    """Write the four files into ``folder``; the same bytes for the same arguments.

    The sheets are split by class: the first third is UTF-8, the second GB 18030, the third a workbook.
    """
    chance = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rooms = max(3, (students + 39) // 40)
    pupils = [_pupil(chance, number, (number - 1) * rooms // students) for number in range(1, students + 1)]
    files = SchoolFiles(
        folder / "roster.zip", folder / "scores-utf8.csv", folder / GB18030_NAME, folder / "scores.xlsx"
    )
    files.roster.write_bytes(make_roster(pupils, rooms))
    sheets: list[list[list[str]]] = [[], [], []]
    for pupil in pupils:
        sheets[pupil.room * 3 // rooms].append([pupil.id, TAKEN_ON, *_answers(chance)])
    files.utf8.write_bytes(_csv([["student_id", "taken_on", *_COLUMNS], *sheets[0]]).encode("utf-8-sig"))
    files.gb18030.write_bytes(_csv([["学号", "日期", *map(str.upper, _COLUMNS)], *sheets[1]]).encode("gb18030"))
    files.xlsx.write_bytes(make_workbook([["学号", "日期", *_COLUMNS], *sheets[2]]))
    return files


def make_roster(pupils: Sequence[_Pupil], rooms: int) -> bytes:
    """A bulk OneRoster 1.2 package; its password column is filled, as real ones are."""
    titles = [f"{GRADES[room % 3]}{room // 3 + 1}班" for room in range(rooms)]
    present = ("academicSessions", "classes", "courses", "demographics", "enrollments", "orgs", "roles", "users")
    tables: dict[str, list[list[str]]] = {
        "manifest": [
            ["propertyName", "value"],
            ["manifest.version", "1.0"],
            ["oneroster.version", "1.2"],
            *([f"file.{name}", "bulk"] for name in present),
            ["source.systemName", "xinqiao-synthetic"],
            ["source.systemCode", "xinqiao-synthetic"],
        ],
        "orgs": [
            ["sourcedId", "status", "dateLastModified", "name", "type", "identifier", "parentSourcedId"],
            ["SYN-ORG", "active", STAMP, SCHOOL_TITLE, "school", "", ""],
        ],
        "academicSessions": [
            _names("sourcedId,status,dateLastModified,title,type,startDate,endDate,parentSourcedId,schoolYear"),
            ["SYN-TERM", "active", STAMP, "第一学期", "term", "2026-09-01", "2027-01-20", "", "2027"],
        ],
        "courses": [
            _names(
                "sourcedId,status,dateLastModified,schoolYearSourcedId,title,courseCode,grades,orgSourcedId,subjects,"
                "subjectCodes"
            ),
            ["SYN-COURSE", "active", STAMP, "", "班级", "", "", "SYN-ORG", "", ""],
        ],
        "classes": [
            _names(
                "sourcedId,status,dateLastModified,title,grades,courseSourcedId,classCode,classType,location,"
                "schoolSourcedId,termSourcedIds,subjects,subjectCodes,periods"
            ),
            *(
                [f"SYN-C{room + 1}", "active", STAMP, title, title[:3], "SYN-COURSE", "", "homeroom", "", "SYN-ORG"]
                + ["SYN-TERM", "", "", ""]
                for room, title in enumerate(titles)
            ),
        ],
        "users": [
            _names(
                "sourcedId,status,dateLastModified,enabledUser,username,userIds,givenName,familyName,middleName,"
                "identifier,email,sms,phone,agentSourcedIds,grades,password,userMasterIdentifier,preferredGivenName,"
                "preferredMiddleName,preferredFamilyName,primaryOrgSourcedId,pronouns"
            ),
            _user("SYN-T0001", "合成", "老师", ""),
            *(_user(pupil.id, pupil.family, pupil.given, titles[pupil.room][:3], _carer(pupil)) for pupil in pupils),
            *(_user(_carer(pupil), pupil.family, "家长", "") for pupil in pupils),
        ],
        "roles": [
            _names(
                "sourcedId,status,dateLastModified,userSourcedId,roleType,role,beginDate,endDate,orgSourcedId,"
                "userProfileSourcedId"
            ),
            ["SYN-R-T0001", "active", STAMP, "SYN-T0001", "primary", "teacher", "", "", "SYN-ORG", ""],
            *(
                [f"SYN-R-{pupil.id}", "active", STAMP, pupil.id, "primary", "student", "", "", "SYN-ORG", ""]
                for pupil in pupils
            ),
            *(
                [f"SYN-R-{_carer(pupil)}", "active", STAMP, _carer(pupil), "primary", "parent", "", "", "SYN-ORG", ""]
                for pupil in pupils
            ),
        ],
        "enrollments": [
            _names(
                "sourcedId,status,dateLastModified,classSourcedId,schoolSourcedId,userSourcedId,role,primary,beginDate,"
                "endDate"
            ),
            *(
                [f"SYN-E-{pupil.id}", "active", STAMP, f"SYN-C{pupil.room + 1}", "SYN-ORG", pupil.id, "student"]
                + ["true", "", ""]
                for pupil in pupils
            ),
        ],
        "demographics": [
            ["sourcedId", "status", "dateLastModified", "birthDate", "sex"],
            *([pupil.id, "active", STAMP, pupil.born, pupil.sex] for pupil in pupils),
        ],
    }
    return make_zip({f"{name}.csv": _csv(rows).encode() for name, rows in tables.items()})


def make_workbook(rows: Sequence[Sequence[str]]) -> bytes:
    """A plain one-sheet XLSX: texts inline, whole numbers as numbers."""
    lines = [
        f'<row r="{number}">' + "".join(_cell(text, column, number) for column, text in enumerate(row)) + "</row>"
        for number, row in enumerate(rows, start=1)
    ]
    body = "".join(lines)
    sheet = (
        f'<?xml version="1.0" encoding="UTF-8"?><worksheet xmlns="{_MAIN}"><sheetData>{body}</sheetData></worksheet>'
    )
    parts = {
        "[Content_Types].xml": _TYPES,
        "_rels/.rels": _TOP,
        "xl/workbook.xml": _BOOK,
        "xl/_rels/workbook.xml.rels": _BOOK_LINKS,
        "xl/worksheets/sheet1.xml": sheet,
    }
    return make_zip({name: text.encode() for name, text in parts.items()})


def make_zip(files: dict[str, bytes]) -> bytes:
    """A ZIP archive with a fixed time in it, so that the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            about = zipfile.ZipInfo(name, _FIXED_TIME)
            about.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(about, data)
    return buffer.getvalue()


def _pupil(chance: random.Random, number: int, room: int) -> _Pupil:
    if number <= len(_RARE):
        family, given = _RARE[number - 1]
    else:
        family = chance.choice(_COMPOUND) if chance.random() < 0.03 else chance.choice(SURNAMES)
        given = "".join(chance.choices(GIVEN, k=1 if chance.random() < 0.2 else 2))
    born = f"{2014 - room % 3 - (chance.random() < 0.3)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"
    return _Pupil(f"SYN-{number:05}", family, given, room, born, chance.choice(("male", "female")))


def _carer(pupil: _Pupil) -> str:
    return f"{pupil.id}-P"


def _user(user: str, family: str, given: str, grade: str, agent: str = "") -> list[str]:
    start = [user, "active", STAMP, "true", user.lower(), "", given, family, "", user, "", "", "", agent, grade]
    return [*start, "synthetic-password", "", "", "", "", "SYN-ORG", ""]


def _answers(chance: random.Random) -> list[str]:
    """PHQ-9 and GAD-7: mostly low, one strain behind both; item 9 rare, and sometimes on a low total."""
    strain = chance.betavariate(1.3, 4.0)
    given = [sum(chance.random() < strain for _ in range(3)) for _ in _COLUMNS]
    given[8] = chance.choices((0, 1, 2, 3), (0.2, 0.4, 0.25, 0.15))[0] if chance.random() < strain / 3 else 0
    if chance.random() < 0.02:
        given = [min(value, 1) for value in given]
        given[8] = 1
    texts = list(map(str, given))
    if chance.random() < 0.04:
        texts[chance.randrange(len(texts))] = ""
    return texts


def _names(header: str) -> list[str]:
    return header.split(",")


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def _cell(text: str, column: int, row: int) -> str:
    letters = chr(ord("A") + column) if column < 26 else "A" + chr(ord("A") + column - 26)
    if text.isdigit() and len(text) < 10:
        return f'<c r="{letters}{row}"><v>{text}</v></c>'
    return f'<c r="{letters}{row}" t="inlineStr"><is><t>{escape(text)}</t></is></c>' if text else ""
