"""Text that a spreadsheet will show and not calculate, for every CSV and XLSX file the gateway writes."""

import csv
from collections.abc import Iterable, Sequence
from typing import TextIO

_TRIGGERS = frozenset("=+-@\t\r\n|%＝＋－﹣−＠﹢﹦﹫")


def safe_text(text: str) -> str:
    """``text`` with an apostrophe before it when a spreadsheet could take it for a formula or a DDE call.

    Leading blanks do not hide a trigger: some programs trim them. Use for XLSX too (with a string cell): the file
    may be saved as CSV later.
    """
    if text[:1] in _TRIGGERS and text:
        return "'" + text
    return "'" + text if text.lstrip()[:1] in _TRIGGERS and text.strip() else text


def write_csv(sink: TextIO, header: Sequence[str], rows: Iterable[Sequence[str | int | None]]) -> int:
    """Write a table with every cell quoted, text made safe and CR LF line ends; returns the number of rows.

    ``sink`` must have been opened with ``newline=""``, and with ``encoding="utf-8-sig"`` if Excel will open it.
    """
    writer = csv.writer(sink, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow([safe_text(name) for name in header])
    count = 0
    for count, row in enumerate(rows, start=1):  # noqa: B007 - the last value is the result
        writer.writerow([safe_text(cell) if isinstance(cell, str) else cell for cell in row])
    return count
