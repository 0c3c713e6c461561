"""Scoring of one form by an instrument definition; ``batch`` scores columns of them.

Both scorers read the same compiled ``Instrument.plan`` and give the same results (a property test holds them together).
An unanswered item is None in a form and 255 in a batch. Halves round up, as the official SDQ scoring does. Critical
rules look at the raw answers and therefore fire on any total, on incomplete forms and on void ones.
"""

from collections.abc import Sequence
from typing import NamedTuple

from xinqiao.screening.coding import in_own_coding
from xinqiao.screening.instruments import Instrument
from xinqiao.screening.plan import COUNT, Plan
from xinqiao.screening.refusals import count_refusal, range_refusal

Answers = Sequence[int | None]


class Score(NamedTuple):
    """What one form gives: ``scores`` by id (None: not given, for missing answers or a void form), the form's
    ``category`` (None without the scores or answers it is read from, and where the instrument has none), ids of the
    ``critical`` rules that fired, whether every needed item was answered, and how many were."""

    scores: dict[str, int | None]
    category: str | None
    critical: tuple[str, ...]
    complete: bool
    answered: int


def score(instrument: Instrument, answers: Answers, *, coding: str = "") -> Score:
    """Score one form, ``answers`` in item order with None for an unanswered item; optional last ones may be left out.

    Raises ``Refusal`` INVALID_ARGUMENT/ANSWER_COUNT for another number of answers than items, ANSWER_RANGE naming the
    first item (from 1) outside the scale, never the value; CODING_REQUIRED, CODING_UNKNOWN and CODING_MISMATCH for an
    instrument with more than one coding.
    """
    plan = instrument.plan
    if len(answers) != plan.items:
        if not plan.required <= len(answers) < plan.items:
            raise count_refusal(instrument, len(answers))
        answers = [*answers, *[None] * (plan.items - len(answers))]
    if plan.codings or coding:
        answers = in_own_coding(instrument, answers, coding)
    low, high = plan.low, plan.high
    given = [value for value in answers if value is not None]
    answered = len(given)
    if given and (min(given) < low or max(given) > high):
        raise range_refusal(instrument, answers)
    blanks = plan.items - answered
    values = answers
    if plan.special:
        answers, values, blanks = _prepared(instrument, answers)
    scores = _sums(plan, values, blanks)
    category = _category(plan, scores, answers) if plan.graded else None
    for name, at_least, void in plan.validity:
        value = scores[name]
        if value is not None and value >= at_least:
            scores = {key: kept if key in plan.validity_scores else None for key, kept in scores.items()}
            category = plan.categories[void]
            break
    critical: tuple[str, ...] = ()
    for rule, items, at_least in plan.critical:
        for item in items:
            value = answers[item]
            if value is not None and value >= at_least:
                critical += (rule,)
                break
    return Score(scores, category, critical, blanks == 0, answered)


def _prepared(instrument: Instrument, answers: Answers) -> tuple[Answers, Answers, int]:
    """(answers with skipped blanks filled, what they count, blanks that matter)."""
    plan = instrument.plan
    if plan.item_high and any(
        value is not None and value > high for value, high in zip(answers, plan.item_high, strict=True)
    ):
        raise range_refusal(instrument, answers)
    filled = answers
    if plan.skip:
        filled = list(answers)
        for items, below, unanswered in plan.skip:
            if all((value := filled[item]) is not None and value < below for item in items):
                for item in unanswered:
                    if filled[item] is None:
                        filled[item] = plan.low
    blanks = (filled if plan.needed is None else [filled[item] for item in plan.needed]).count(None)
    if not plan.recode:
        return filled, filled, blanks
    values = list(filled)
    for item, table in plan.recode:
        value = values[item]
        values[item] = None if value is None else table[value]
    return filled, values, blanks


def _sums(plan: Plan, values: Answers, form_missing: int) -> dict[str, int | None]:
    scores: dict[str, int | None] = {}
    for name, items, parts, size, multiplier, method, at_least in plan.scores:
        if parts:
            known = [part for part in map(scores.__getitem__, parts) if part is not None]
            scores[name] = sum(known) * multiplier if len(known) == len(parts) else None
            continue
        chosen = values if items is None else [values[item] for item in items]
        present = [value for value in chosen if value is not None]
        count = len(present)
        missing = form_missing if plan.per_form else size - count
        if missing > plan.max_missing or not count:
            scores[name] = None
            continue
        if not method:  # a sum, the usual case
            total = sum(present)
            if count != size and plan.prorate:
                total = (2 * total * size + count) // (2 * count)
            scores[name] = total * multiplier
            continue
        if at_least:
            present = [value for value in present if value >= at_least]
            count = len(present)
        if method == COUNT:
            scores[name] = count * multiplier
        else:
            scores[name] = (2 * sum(present) * multiplier + count) // (2 * count) if count else None
    return scores


def _category(plan: Plan, scores: dict[str, int | None], answers: Answers) -> str | None:
    worst = 0
    for name, table in plan.severity:
        value = scores[name]
        if value is None:
            return None
        if table[value] > worst:
            worst = table[value]
    if plan.rules and any(answers[item] is None for item in plan.rule_items):
        return None
    for index, items, at_least in plan.rules:
        if index > worst and any((value := answers[item]) is not None and value >= at_least for item in items):
            worst = index
    return plan.categories[worst]
