"""What a caller is told about answers that cannot be scored: the rule, the item and the mend, never the answer."""

from collections.abc import Sequence

from xinqiao.contract.errors import Refusal, Violation
from xinqiao.screening.instruments import Instrument
from xinqiao.screening.plan import item_highs


def count_refusal(instrument: Instrument, got: int) -> Refusal:
    """ANSWER_COUNT: another number of answers than items."""
    mend = f"{instrument.id} has {instrument.items} items, {got} answers came: send one per item, or mark it unanswered"
    details = {"items": str(instrument.items), "got": str(got)}
    violation = Violation("answers", "ANSWER_COUNT", mend)
    return Refusal("INVALID_ARGUMENT", "ANSWER_COUNT", mend, violations=(violation,), metadata=details)


def range_refusal(instrument: Instrument, answers: Sequence[int | None]) -> Refusal:
    """ANSWER_RANGE: the first item whose answer lies outside its scale."""
    low, highs = instrument.scale.min, item_highs(instrument)
    index = next(place for place, value in enumerate(answers) if value is not None and not low <= value <= highs[place])
    return item_refusal(instrument, "ANSWER_RANGE", index, low, highs[index])


def item_refusal(instrument: Instrument, reason: str, index: int, low: int, high: int) -> Refusal:
    """``reason`` for the answer at ``index``, which had to lie from ``low`` to ``high``."""
    mend = f"item {index + 1} of {instrument.id} is outside {low} to {high}: send an answer of the scale"
    details = {"item": str(index + 1), "low": str(low), "high": str(high)}
    violation = Violation(f"answers[{index}]", reason, mend)
    return Refusal("INVALID_ARGUMENT", reason, mend, violations=(violation,), metadata=details)
