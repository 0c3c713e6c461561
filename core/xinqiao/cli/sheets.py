"""Answer sheets for `xinqiao instruments score`: a form per row, read with every unreadable cell named by its item."""

import csv
import re
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from xinqiao.contract.errors import Refusal
from xinqiao.screening.instruments import NOT_ANSWERED, Instrument
from xinqiao.screening.refusals import count_refusal

_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,8})", re.ASCII)
_OUTSIDE = NOT_ANSWERED - 1


@dataclass(frozen=True, slots=True)
class Sheet:
    """The rows that could be read, as bytes, with their numbers in the sheet; and why the others could not."""

    answers: NDArray[np.uint8]
    rows: list[int]
    refused: dict[int, Refusal]

    @classmethod
    def of(cls, instrument: Instrument, forms: Sequence[Sequence[int | None]]) -> "Sheet":
        """A sheet of forms; an answer that no byte can hold becomes one that no scale reaches."""
        answers = np.full((len(forms), instrument.items), NOT_ANSWERED, np.uint8)
        for at, form in enumerate(forms):
            answers[at, : len(form)] = [
                NOT_ANSWERED if value is None else value if 0 <= value < _OUTSIDE else _OUTSIDE for value in form
            ]
        return cls(answers, list(range(1, len(forms) + 1)), {})


def read_sheet(file: Path, instrument: Instrument, missing: set[str], encoding: str) -> Sheet:
    """Read a CSV sheet, ``-`` for stdin: the answers in item order, before them at most one column that names the form.

    A first row without a single number among its answers is a header. Raises Refusal INVALID_ARGUMENT/ENCODING.
    """
    forms: list[list[int | None]] = []
    rows: list[int] = []
    refused: dict[int, Refusal] = {}
    widths = {instrument.items, instrument.plan.required}
    try:
        with _opened(file, encoding) as stream:
            for number, cells in enumerate(csv.reader(stream), start=1):
                if not cells:
                    continue
                answers = cells if len(cells) in widths else cells[1:]
                if number == 1 and not any(_NUMBER.fullmatch(cell.strip()) for cell in answers) and any(answers):
                    continue
                try:
                    if len(answers) not in widths:
                        raise count_refusal(instrument, len(cells))
                    form = parse_cells(instrument, answers, missing)
                except Refusal as refusal:
                    refused[number] = refusal
                    continue
                forms.append(form)
                rows.append(number)
    except (UnicodeDecodeError, csv.Error):
        raise Refusal("INVALID_ARGUMENT", "ENCODING", "", metadata={"encoding": encoding}) from None
    sheet = Sheet.of(instrument, forms)
    return Sheet(sheet.answers, rows, refused)


def parse_cells(instrument: Instrument, cells: Sequence[str], missing: set[str]) -> list[int | None]:
    """Cells as answers: blank or one of ``missing`` is unanswered. Raises Refusal INVALID_ARGUMENT/ANSWER_FORMAT."""
    form: list[int | None] = []
    for item, cell in enumerate((cell.strip() for cell in cells), start=1):
        if not cell or cell in missing:
            form.append(None)
        elif _NUMBER.fullmatch(cell) and cell != "-0":
            form.append(int(cell))
        else:
            mend = (
                f"item {item} of {instrument.id} is not a whole number: mend it, leave it blank or name it in --missing"
            )
            raise Refusal("INVALID_ARGUMENT", "ANSWER_FORMAT", mend, metadata={"item": str(item)})
    return form


@contextmanager
def _opened(file: Path, encoding: str) -> Generator[TextIO]:
    name = "utf-8-sig" if encoding == "utf-8" else encoding
    if str(file) == "-":
        with open(sys.stdin.fileno(), encoding=name, newline="", closefd=False) as stream:
            yield stream
    else:
        with file.open(encoding=name, newline="") as stream:
            yield stream
