"""Instruments that exist in two codings (SCL-90: 1-5 and 0-4): the coding is declared, never guessed, and checked.

A wrong declaration shifts every answer by one, 90 points on SCL-90, and most single answers fit both codings. So one
answer that fits only the other coding refuses the form, and in a batch the whole batch: rows without such an answer
prove nothing. Answers of a 1-5 sheet declared 0-4 may hold no 5; there the absence of any lowest answer tells.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xinqiao.contract.errors import Refusal, Violation
from xinqiao.screening.instruments import NOT_ANSWERED, Instrument
from xinqiao.screening.refusals import count_refusal, item_refusal

Bytes = NDArray[np.uint8]

TELLING_ROWS = 10
"""So many forms in which nobody gave any item its lowest answer are not believed to be in the declared coding."""


def in_own_coding(instrument: Instrument, answers: Sequence[int | None], coding: str) -> list[int | None]:
    """``answers`` in the coding of ``instrument.scale``. Raises ``Refusal`` CODING_REQUIRED, CODING_UNKNOWN,
    CODING_MISMATCH or ANSWER_RANGE."""
    low, high = _declared(instrument, coding)
    shift = instrument.scale.min - low
    found: list[int | None] = []
    for index, value in enumerate(answers):
        if value is None or low <= value <= high:
            found.append(None if value is None else value + shift)
            continue
        reason = "CODING_MISMATCH" if _fits_another(instrument, value) else "ANSWER_RANGE"
        raise item_refusal(instrument, reason, index, low, high)
    return found


def rows_in_own_coding(instrument: Instrument, answers: Bytes, coding: str) -> Bytes:
    """As :func:`in_own_coding` for a batch; an answer of no coding becomes one outside the scale of its row only."""
    low, high = _declared(instrument, coding)
    table = np.full(256, NOT_ANSWERED - 1, np.uint8)
    table[low : high + 1] = np.arange(instrument.scale.min, instrument.scale.max + 1)
    table[NOT_ANSWERED] = NOT_ANSWERED
    telling = np.array([_fits_another(instrument, value) and not low <= value <= high for value in range(256)])
    if (wrong := telling[answers]).any():
        row, item = (int(place) for place in np.argwhere(wrong)[0])
        raise _mismatch(instrument, coding, f"row {row + 1}, item {item + 1}, fits another coding only", row, item)
    if lacks_lowest(instrument, answers, coding) and answers.shape[0] >= TELLING_ROWS:
        raise _mismatch(instrument, coding, f"no answer in {answers.shape[0]} rows is the lowest of this coding")
    return table[answers]


def own_bytes(instrument: Instrument, answers: bytes, coding: str) -> bytes:
    """Forms as columnar bytes, in the coding of ``instrument.scale``; raises as :func:`rows_in_own_coding`.

    Stored answers are always in this coding, so that a record needs no word about how it came.
    """
    if not instrument.codings and not coding:
        return answers
    if len(answers) % instrument.items:
        raise count_refusal(instrument, len(answers))
    rows = np.frombuffer(answers, np.uint8).reshape(-1, instrument.items)
    return rows_in_own_coding(instrument, rows, coding).tobytes()


def check_coding(instrument: Instrument, coding: str) -> None:
    """Raises ``Refusal`` CODING_REQUIRED or CODING_UNKNOWN for a declaration the instrument does not know."""
    if instrument.codings or coding:
        _declared(instrument, coding)


def lacks_lowest(instrument: Instrument, answers: Bytes, coding: str) -> bool:
    """Whether no answer at all is the lowest of ``coding`` though a coding that starts higher exists."""
    low, _ = _declared(instrument, coding)
    higher = any(other > low for other in instrument.plan.codings.values())
    return higher and bool((answers != NOT_ANSWERED).any()) and not bool((answers == low).any())


def _declared(instrument: Instrument, coding: str) -> tuple[int, int]:
    width = instrument.scale.max - instrument.scale.min
    codings = instrument.plan.codings or {f"{instrument.scale.min}-{instrument.scale.max}": instrument.scale.min}
    known = ", ".join(codings)
    if coding not in codings:
        reason = "CODING_UNKNOWN" if coding else "CODING_REQUIRED"
        mend = f"declare the coding of these {instrument.id} answers: one of {known}"
        details = {"codings": known}
        violation = Violation("coding", reason, mend)
        raise Refusal("INVALID_ARGUMENT", reason, mend, violations=(violation,), metadata=details)
    return codings[coding], codings[coding] + width


def _fits_another(instrument: Instrument, value: int) -> bool:
    width = instrument.scale.max - instrument.scale.min
    return any(low <= value <= low + width for low in instrument.plan.codings.values())


def _mismatch(instrument: Instrument, coding: str, why: str, row: int = -1, item: int = -1) -> Refusal:
    mend = (
        f"these {instrument.id} answers are declared {coding}, but {why}: mend that answer or declare the other coding"
    )
    details = {"codings": ", ".join(instrument.plan.codings)}
    if row >= 0:
        details |= {"row": str(row + 1), "item": str(item + 1)}
    violation = Violation("coding", "CODING_MISMATCH", mend)
    return Refusal("INVALID_ARGUMENT", "CODING_MISMATCH", mend, violations=(violation,), metadata=details)
