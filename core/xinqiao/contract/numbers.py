"""Numbers that belong to a person, where a partner writes a number of its own: they would stand in the clear."""

import re
from datetime import date
from typing import Final

_RUN: Final = re.compile(r"(?<![0-9A-Za-z])(?:[0-9]{17}[0-9Xx]|[0-9]{15})(?![0-9A-Za-z])")
_PHONE: Final = re.compile(r"(?<![0-9])(?:(?:\+?86[-.]?)?1[3-9][0-9]{9}|0[0-9]{2,3}[-.]?[1-9][0-9]{6,7})(?![0-9])")


def is_a_persons(text: str) -> bool:
    """Whether ``text`` holds what could be a resident id (GB 11643, of 18 characters, or of 15 as before 1999), whatever
    its check digit, for a spreadsheet spoils the last ones; or a mobile or landline number."""
    return _PHONE.search(text) is not None or any(_has_a_birth_date(found) for found in _RUN.findall(text))


def _has_a_birth_date(number: str) -> bool:
    day = number[6:14] if len(number) == 18 else f"19{number[6:12]}"
    try:
        born = date(int(day[:4]), int(day[4:6]), int(day[6:]))
    except ValueError:
        return False
    return born.year >= 1900 and number[0] != "0"
