"""Numbers that China gives to people, students and organisations: check digits and forms.

Each check returns an UPPER_SNAKE reason, or ``None`` when there is nothing against the number. Area codes are not
looked up: people keep the code of a county that was abolished long ago.
"""

import re
from collections.abc import Callable
from datetime import date
from typing import Literal

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK = "10X98765432"
_ID = re.compile(r"[1-9][0-9]{16}[0-9X]")
_SCIENTIFIC = re.compile(r"[0-9]+(\.[0-9]*)?[eE]\+?[0-9]+")
_DECIMAL = re.compile(r"[0-9]{15,18}\.0*")
_CREDIT_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_CREDIT = re.compile(f"[{_CREDIT_ALPHABET}]{{2}}[0-9]{{6}}[{_CREDIT_ALPHABET}]{{10}}")
_LOWER_ASCII = str.maketrans("xgjl", "XGJL")


def normalise(text: str) -> str:
    """A lower-case check character ``x`` and form letter become upper case; nothing else is changed."""
    return text.translate(_LOWER_ASCII)


def check_resident_id(number: str, *, exact: bool = False) -> str | None:
    """GB 11643: ``DATA/ID_PRECISION`` (digits lost in a number cell), ``ID_LENGTH``, ``ID_FORMAT``, ``ID_CHECKSUM``.

    ``number`` must be ``normalise``-d. A 15-digit number of before 1999 is ``DATA/ID_LENGTH``. A number cell keeps 15
    digits and makes the last three ``000``; one damaged number in eleven still has the right check digit and belongs
    to somebody else. So ``…000`` is refused (about one person in 1,100 really has it) unless ``exact`` says that the
    number was typed for one person or came through no spreadsheet.
    """
    if _SCIENTIFIC.fullmatch(number) or _DECIMAL.fullmatch(number):
        return "DATA/ID_PRECISION"
    if len(number) != 18:
        return "DATA/ID_LENGTH"
    if _ID.fullmatch(number) is None:
        return "DATA/ID_FORMAT"
    if number.endswith("000") and not exact:
        return "DATA/ID_PRECISION"
    if number[17] != _check_character(number):
        return "DATA/ID_CHECKSUM"
    return None if _birth(number) is not None else "DATA/ID_FORMAT"


def check_id_agrees(number: str, birth: date | None = None, sex: Literal["1", "2"] | None = None) -> str | None:
    """``DATA/ID_CONFLICT`` if a valid resident id says another birth date or sex (GB/T 2261.1: 1 male, 2 female)."""
    if birth is not None and _birth(number) != birth:
        return "DATA/ID_CONFLICT"
    if sex is not None and int(number[16]) % 2 != int(sex) % 2:
        return "DATA/ID_CONFLICT"
    return None


def check_student_number(number: str) -> str | None:
    """学籍号, 19 characters: ``G`` + resident id, ``J`` + 18 with a check digit, ``L`` + 18 digits without one."""
    form, rest = number[:1], number[1:]
    check = _FORMS.get(form)
    if check is None:
        return "DATA/STUDENT_NUMBER_FORMAT"
    if len(number) != 19:
        return "DATA/STUDENT_NUMBER_LENGTH"
    return check(rest)


def check_credit_code(code: str) -> str | None:
    """GB 32100 unified social credit code, 18 characters: ``DATA/CREDIT_CODE_FORMAT`` or ``_CHECKSUM``."""
    if _CREDIT.fullmatch(code) is None:
        return "DATA/CREDIT_CODE_FORMAT"
    total = sum(_CREDIT_ALPHABET.index(mark) * pow(3, place, 31) for place, mark in enumerate(code[:17]))
    return None if _CREDIT_ALPHABET[(31 - total % 31) % 31] == code[17] else "DATA/CREDIT_CODE_CHECKSUM"


def _check_character(number: str) -> str:
    return _CHECK[sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, number[:17], strict=True)) % 11]


def _birth(number: str) -> date | None:
    try:
        return date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return None


def _check_exact(number: str) -> str | None:
    # The letter before it keeps a student number out of number cells.
    return check_resident_id(number, exact=True)


def _check_temporary(digits: str) -> str | None:
    if re.fullmatch(r"[1-9][0-9]{17}", digits) is None or _birth(digits) is None:
        return "DATA/STUDENT_NUMBER_FORMAT"
    return None


_FORMS: dict[str, Callable[[str], str | None]] = {
    "G": _check_exact,
    "J": _check_exact,
    "L": _check_temporary,
}
