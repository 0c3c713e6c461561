"""Whether an instrument is meant for the pupil and the informant at hand: a warning, or a refusal where its file says so."""

from dataclasses import dataclass

from xinqiao.contract.errors import Refusal
from xinqiao.screening.definition import Years
from xinqiao.screening.instruments import Instrument


@dataclass(frozen=True, slots=True)
class Unsuited:
    """One thing that does not fit: ``fact`` is ages, grades or informants, ``allowed`` what the file allows."""

    fact: str
    allowed: str
    refused: bool


def unsuited(
    instrument: Instrument, *, age: int | None = None, grade: int | None = None, informant: str = ""
) -> tuple[Unsuited, ...]:
    """What does not fit of what the caller knows. Grades go from 1 to 12; nothing is inferred from an age."""
    found: list[Unsuited] = []
    for fact, years, value in (("ages", instrument.ages, age), ("grades", instrument.grades, grade)):
        if years is not None and value is not None and not years.min <= value <= _end(years):
            allowed = f"{years.min}-{years.max}" if years.max is not None else f"{years.min}+"
            found.append(Unsuited(fact, allowed, years.outside == "refuse"))
    if informant and informant not in instrument.informants:
        found.append(Unsuited("informants", ", ".join(instrument.informants), refused=False))
    return tuple(found)


def check_suited(
    instrument: Instrument, *, age: int | None = None, grade: int | None = None, informant: str = ""
) -> tuple[Unsuited, ...]:
    """The warnings. Raises Refusal FAILED_PRECONDITION/NOT_SUITED where the instrument refuses such a pupil."""
    found = unsuited(instrument, age=age, grade=grade, informant=informant)
    for each in found:
        if each.refused:
            mend = f"{instrument.id} is for {each.fact} {each.allowed} only: use another instrument"
            details = {"fact": each.fact, "allowed": each.allowed}
            raise Refusal("FAILED_PRECONDITION", "NOT_SUITED", mend, metadata=details)
    return found


def _end(years: Years) -> int:
    return 120 if years.max is None else years.max
