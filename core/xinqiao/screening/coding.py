"""Instruments that exist in two codings (SCL-90: 1-5 and 0-4): the coding is declared, never guessed, and checked.

A wrong declaration shifts every answer by one, 90 points on SCL-90, and most single answers fit both codings. So one
answer that fits only the other coding refuses the form, and in a batch the whole batch: rows without such an answer
prove nothing. Answers of a 1-5 sheet declared 0-4 may hold no 5; there the absence of any lowest answer tells.
"""

from collections.abc import Sequence

from xinqiao.contract.errors import Refusal, Violation
from xinqiao.screening.instruments import Instrument
from xinqiao.screening.refusals import item_refusal


def in_own_coding(instrument: Instrument, answers: Sequence[int | None], coding: str) -> list[int | None]:
    """``answers`` in the coding of ``instrument.scale``. Raises ``Refusal`` CODING_REQUIRED, CODING_UNKNOWN,
    CODING_MISMATCH or ANSWER_RANGE."""
    low, high = declared(instrument, coding)
    shift = instrument.scale.min - low
    found: list[int | None] = []
    for index, value in enumerate(answers):
        if value is None or low <= value <= high:
            found.append(None if value is None else value + shift)
            continue
        reason = "CODING_MISMATCH" if fits_another(instrument, value) else "ANSWER_RANGE"
        raise item_refusal(instrument, reason, index, low, high)
    return found


def check_coding(instrument: Instrument, coding: str) -> None:
    """Raises ``Refusal`` CODING_REQUIRED or CODING_UNKNOWN for a declaration the instrument does not know."""
    if instrument.codings or coding:
        declared(instrument, coding)


def declared(instrument: Instrument, coding: str) -> tuple[int, int]:
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


def fits_another(instrument: Instrument, value: int) -> bool:
    width = instrument.scale.max - instrument.scale.min
    return any(low <= value <= low + width for low in instrument.plan.codings.values())


def mismatch(instrument: Instrument, coding: str, why: str, row: int = -1, item: int = -1) -> Refusal:
    mend = (
        f"these {instrument.id} answers are declared {coding}, but {why}: mend that answer or declare the other coding"
    )
    details = {"codings": ", ".join(instrument.plan.codings)}
    if row >= 0:
        details |= {"row": str(row + 1), "item": str(item + 1)}
    violation = Violation("coding", "CODING_MISMATCH", mend)
    return Refusal("INVALID_ARGUMENT", "CODING_MISMATCH", mend, violations=(violation,), metadata=details)
