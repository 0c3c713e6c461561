"""Finding a student from a description: exact, or a person decides; never the first of several."""

import unicodedata
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

from xinqiao.api.common.v1.types_pb2 import Student, StudentDescription
from xinqiao.store import tables
from xinqiao.store.errors import SealBroken
from xinqiao.store.keys import KeyStore
from xinqiao.store.sql import select
from xinqiao.store.tx import ReadTx

_PAGE = 500
_CANDIDATES = 10
_S = tables.students.c


class Found(NamedTuple):
    """Whom a description fits: the one student it certainly is, or else those a person may choose from."""

    certain: str = ""
    candidates: tuple[str, ...] = ()


def find(read: Callable[[], AbstractContextManager[ReadTx]], keys: KeyStore, described: StudentDescription) -> Found:
    """Compare a description with every student of its school, in pages, so that no more than a page is ever open.

    All that is given must fit: name, birth date, id, phone. Certain is only one student whom more than a name fits, for
    there are namesakes, and whoever tells a name on the telephone may tell the wrong one. What cannot be read fits
    nobody. There is no index of names, on purpose: it would tell whoever steals the database who is in it.
    """
    if not described.school or not (described.full_name or described.national_id):
        return Found()
    fitting = [
        student for student, record in _of_school(read, keys, described.school) if _fits(record, described)
    ]  # fmt: skip
    more = bool(described.birth_date or described.national_id or described.phone)
    if len(fitting) == 1 and more:
        return Found(fitting[0])
    return Found("", tuple(fitting) if len(fitting) <= _CANDIDATES else ())


def _of_school(
    read: Callable[[], AbstractContextManager[ReadTx]], keys: KeyStore, school: str
) -> Iterator[tuple[str, Student]]:
    after = ""
    while True:
        wanted = (_S.school == school) & (_S.state == "0") & (_S.id > after)
        with read() as reading:
            rows = reading.all(select(_S.id, _S.sealed).where(wanted).order_by(_S.id).limit(_PAGE))
        sealers = keys.sealers([str(row["id"]) for row in rows], keep=False)
        for row in rows:
            after = str(row["id"])
            sealer = sealers.get(after)
            if sealer is None:
                continue
            try:
                yield after, sealer.record(Student, bytes(row["sealed"]), table="students", key=after)
            except SealBroken:
                continue
        if len(rows) < _PAGE:
            return


def _fits(student: Student, described: StudentDescription) -> bool:
    given = (
        (_plain(described.full_name), [_plain(student.family_name + student.given_name)]),
        (described.birth_date, [student.birth_date]),
        (_plain(described.national_id), [_plain(student.national_id)]),
        (_digits(described.phone), [_digits(student.phone), *(_digits(each.phone) for each in student.guardians)]),
    )
    return all(not said or said in known for said, known in given)


def _plain(text: str) -> str:
    """Without blanks, dots and case: 张 三 is 张三, and 买买提·艾力 is written with any of three dots."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(letter for letter in folded if letter.isalnum())


def _digits(phone: str) -> str:
    """A phone number without its country code."""
    digits = "".join(letter for letter in phone if letter.isdigit())
    return digits[2:] if digits.startswith("86") and len(digits) == 13 else digits
