"""A made-up city: one OneRoster 1.2 package of any size, written as a stream, and deltas of it. Nobody in it is real."""

import csv
import io
import random
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from xinqiao_school.synthetic import GIVEN, GRADES, STAMP, SURNAMES

_ROOM = 40
_SCHOOL = 1_000
_HEADERS = {
    "orgs": "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId",
    "classes": "sourcedId,status,dateLastModified,title,grades,courseSourcedId,classCode,classType,location,"
    "schoolSourcedId,termSourcedIds,subjects,subjectCodes,periods",
    "users": "sourcedId,status,dateLastModified,enabledUser,username,userIds,givenName,familyName,middleName,"
    "identifier,email,sms,phone,agentSourcedIds,grades,password,userMasterIdentifier,preferredGivenName,"
    "preferredMiddleName,preferredFamilyName,primaryOrgSourcedId,pronouns",
    "roles": "sourcedId,status,dateLastModified,userSourcedId,roleType,role,beginDate,endDate,orgSourcedId,"
    "userProfileSourcedId",
    "enrollments": "sourcedId,status,dateLastModified,classSourcedId,schoolSourcedId,userSourcedId,role,primary,"
    "beginDate,endDate",
    "demographics": "sourcedId,status,dateLastModified,birthDate,sex",
}


def make_city(path: Path, *, users: int, seed: int = 1, guardians: float = 0.0, teachers: float = 0.06) -> int:
    """Write a bulk package with ``users`` people; the number of students. The same bytes for the same arguments.

    ``guardians`` and ``teachers`` are their shares of the users; a guardian belongs to the student of the same number.
    """
    carers, staff = int(users * guardians), int(users * teachers)
    pupils = users - carers - staff
    _write(path, "bulk", range(pupils), range(carers), range(staff), seed, pupils)
    return pupils


def make_city_delta(path: Path, *, users: int, share: float, seed: int = 1) -> int:
    """Write a delta of ``make_city(users=users)`` in which ``share`` of the students have a new name and class."""
    pupils = users - int(users * 0.06)
    step = max(1, int(1 / share))
    changed = range(0, pupils, step)
    _write(path, "delta", changed, (), (), seed + 1, pupils)
    return len(changed)


def _write(
    path: Path, mode: str, pupils: Sequence[int], carers: Sequence[int], staff: Sequence[int], seed: int, total: int
) -> None:
    rooms = range((total + _ROOM - 1) // _ROOM) if mode == "bulk" else ()
    schools = range((total + _SCHOOL - 1) // _SCHOOL) if mode == "bulk" else ()
    with_carer = len(carers)
    makers: dict[str, Callable[[], Iterable[Sequence[str]]]] = {
        "orgs": lambda: ([f"SYN-O{n}", "active", STAMP, f"合成第{n + 1}学校（虚构）", "school", f"{n:010}", ""] for n in schools),
        "classes": lambda: (
            [f"SYN-C{n}", "active", STAMP, f"{GRADES[n % 3]}{n % 25 // 3 + 1}班", GRADES[n % 3], "", "", "homeroom", "",
             f"SYN-O{n * _ROOM // _SCHOOL}", "", "", "", ""] for n in rooms
        ),
        "users": lambda: _users(random.Random(seed), pupils, carers, staff, with_carer),
        "roles": lambda: _roles(pupils, carers, staff) if mode == "bulk" else (),
        "enrollments": lambda: (
            [f"SYN-E{n}", "active", STAMP, f"SYN-C{n // _ROOM}", f"SYN-O{n // _SCHOOL}", f"SYN-{n:07}", "student",
             "true", "", ""] for n in pupils
        ),
        "demographics": lambda: (
            [f"SYN-{n:07}", "active", STAMP, f"{2010 + n % 5}-{n % 12 + 1:02}-{n % 28 + 1:02}",
             "male" if n % 2 else "female"] for n in pupils
        ),
    }  # fmt: skip
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        about = ["propertyName,value", "manifest.version,1.0", "oneroster.version,1.2"]
        about += [f"file.{name},{mode}" for name in makers if mode == "bulk" or name in ("users", "enrollments")]
        archive.writestr("manifest.csv", "\n".join([*about, "source.systemName,xinqiao-synthetic", ""]))
        for name, make in makers.items():
            if mode == "bulk" or name in ("users", "enrollments"):
                with archive.open(f"{name}.csv", "w", force_zip64=True) as member:
                    text = io.TextIOWrapper(member, "utf-8", newline="", write_through=False)
                    writer = csv.writer(text, lineterminator="\n")
                    writer.writerow(_HEADERS[name].split(","))
                    writer.writerows(make())
                    text.flush()
                    text.detach()


def _users(
    chance: random.Random, pupils: Sequence[int], carers: Sequence[int], staff: Sequence[int], with_carer: int
) -> Iterator[Sequence[str]]:
    names = [(chance.choice(SURNAMES), "".join(chance.choices(GIVEN, k=2))) for _ in range(4096)]
    for n in staff:
        yield _user(f"SYN-T{n}", names[n * 7 % 4096], "", "", f"SYN-O{n * 10 // _SCHOOL}", "")
    for n in pupils:
        agent = f"SYN-G{n}" if n < with_carer else ""
        name = names[chance.randrange(4096)]
        yield _user(f"SYN-{n:07}", name, GRADES[n // _ROOM % 3], agent, f"SYN-O{n // _SCHOOL}", "")
    for n in carers:
        yield _user(f"SYN-G{n}", names[n * 5 % 4096], "", "", f"SYN-O{n // _SCHOOL}", f"138{n:08}")


def _user(user: str, name: tuple[str, str], grade: str, agent: str, org: str, phone: str) -> Sequence[str]:
    return (user, "active", STAMP, "true", user.lower(), "", name[1], name[0], "", user, "", "", phone, agent, grade,
            "synthetic-password", "", "", "", "", org, "")  # fmt: skip


def _roles(pupils: Iterable[int], carers: Iterable[int], staff: Iterable[int]) -> Iterator[Sequence[str]]:
    for prefix, width, role, numbers in (
        ("SYN-T", 0, "teacher", staff), ("SYN-", 7, "student", pupils), ("SYN-G", 0, "guardian", carers),
    ):  # fmt: skip
        for n in numbers:
            user = f"{prefix}{n:0{width}}" if width else f"{prefix}{n}"
            yield (f"R{user}", "active", STAMP, user, "primary", role, "", "", "SYN-O0", "")
