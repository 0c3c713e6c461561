"""Cells that many tables have: yes or no, a code of a list, a code of a pattern, a short text, a moment."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files.rows import Row
from xinqiao.contract.clock import BEIJING

YES: Final = frozenset({"是", "有", "yes", "y", "true", "1"})
NO: Final = frozenset({"否", "无", "no", "n", "false", "0"})
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?", re.ASCII)


def yes_or_no(row: Row, column: str, *, optional: bool = False) -> bool | None:
    """True, False, or None for a blank cell of an ``optional`` column. Raises ``DATA/YES_NO``."""
    word = row.text(column, optional=optional).strip().casefold()
    if word in YES or word in NO or (optional and not word):
        return word in YES if word else None
    raise row.reject(column, "DATA/YES_NO", "must be 是 or 否 (yes or no)")


def coded(row: Row, column: str, words: Mapping[str, str], otherwise: str) -> str:
    """What ``words`` says for the cell; ``otherwise`` for a blank one. Raises ``DATA/CODE`` naming the codes."""
    word = row.text(column, optional=True).strip()
    if not word:
        return otherwise
    if word not in words:
        codes = ", ".join(dict.fromkeys(words.values()))
        raise row.reject(column, "DATA/CODE", f"is one of {codes}, or a word the settings map to one")
    return words[word]


def matching(row: Row, column: str, pattern: re.Pattern[str], what: str, *, optional: bool = False) -> str:
    """The cell without blanks around it, which ``pattern`` fits. Raises ``DATA/CODE`` saying ``what`` it must be."""
    text = row.text(column, optional=optional).strip()
    if pattern.fullmatch(text) is None and not (optional and not text):
        raise row.reject(column, "DATA/CODE", f"must be {what}")
    return text


def short(row: Row, column: str, most: int, *, optional: bool = True) -> str:
    """The cell without blanks around it, at most ``most`` characters. Raises ``DATA/CELL_TOO_LONG``."""
    text = row.text(column, optional=optional).strip()
    if len(text) > most:
        raise row.reject(column, "DATA/CELL_TOO_LONG", f"is longer than {most} characters")
    return text


def moment(row: Row, column: str) -> datetime:
    """A day and a time of day, in Beijing where no offset stands. Raises ``DATA/DATE``."""
    text = row.text(column).strip()
    try:
        if _MOMENT.fullmatch(text):
            found = datetime.fromisoformat(text)
            return found if found.tzinfo else found.replace(tzinfo=BEIJING)
    except ValueError:
        pass
    raise row.reject(column, "DATA/DATE", "must be a day and a time written YYYY-MM-DD HH:MM, Beijing time")


def readable(row: Row, column: str) -> str:
    """The cell without blanks around it; empty where it cannot be read. For what must be told of a row that is refused."""
    try:
        return row.text(column, optional=True).strip()
    except RecordRejected:
        return ""


def mentioned(text: str, words: Mapping[str, str]) -> set[str]:
    """What ``words`` says for the text, or for each of them that stands somewhere in it: `有轻生念头` mentions `轻生`."""
    whole = words.get(text.casefold())
    return {whole} if whole is not None else {kind for word, kind in words.items() if word in text.casefold()}
