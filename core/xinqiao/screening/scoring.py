"""Scoring of answers by an instrument definition: one form at a time, or a columnar batch with numpy.

Both scorers read the same compiled ``Instrument.plan`` and give the same results (a property test holds them together).
An unanswered item is None in a form and 255 in a batch. Halves round up, as the official SDQ scoring does. Critical
rules look at the raw answers and therefore fire on any total and on incomplete forms.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xinqiao.contract.errors import Refusal, Violation
from xinqiao.screening.instruments import NOT_ANSWERED, Instrument, Plan

ACCEPTED = 0
BAD_RANGE = 1

_CHUNK_ROWS = 1 << 14
"""Rows scored at once: small enough for the working arrays of a form of 9 to 25 items to stay in the CPU cache."""

Bytes = NDArray[np.uint8]
Totals = NDArray[np.int16]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Score:
    """What one form gives: ``scores`` by id (None: not given because of missing answers), the form's ``category``
    (None without the scores it is read from), ids of the ``critical`` rules that fired, whether every item was
    answered, and how many were."""

    scores: dict[str, int | None]
    category: str | None
    critical: tuple[str, ...]
    complete: bool
    answered: int


@dataclass(frozen=True, slots=True)
class BatchScores:
    """What a batch gives, one entry per row, in the order of the instrument file.

    ``totals`` by score id (-1: none), ``category`` index into ``Instrument.category_ids`` (-1: none), ``critical``
    (rows, rules), ``complete``, ``answered`` items, ``verdict`` (``ACCEPTED`` or ``BAD_RANGE``) and ``bad_item``, the
    first item number out of range (0: none). A row with a bad verdict carries no result at all.
    """

    totals: dict[str, Totals]
    category: NDArray[np.int8]
    critical: Flags
    complete: Flags
    answered: NDArray[np.int16]
    verdict: Bytes
    bad_item: NDArray[np.int16]


def score(instrument: Instrument, answers: Sequence[int | None]) -> Score:
    """Score one form, ``answers`` in item order with None for an unanswered item.

    Raises ``Refusal`` INVALID_ARGUMENT/ANSWER_COUNT for another number of answers than items, and
    INVALID_ARGUMENT/ANSWER_RANGE naming the first item (from 1) outside the scale, never the value.
    """
    plan = instrument.plan
    if len(answers) != plan.items:
        raise _count_refusal(instrument, len(answers))
    low, high = plan.low, plan.high
    given = [value for value in answers if value is not None]
    answered = len(given)
    if given and (min(given) < low or max(given) > high):
        raise _range_refusal(instrument, answers)
    values: Sequence[int | None] = answers
    if plan.reverse:
        turned = list(answers)
        for item in plan.reverse:
            value = turned[item]
            turned[item] = None if value is None else low + high - value
        values = turned
    scores = _sums(plan, values, plan.items - answered)
    critical: tuple[str, ...] = ()
    for rule, items, at_least in plan.critical:
        for item in items:
            value = answers[item]
            if value is not None and value >= at_least:
                critical += (rule,)
                break
    return Score(scores, _category(plan, scores), critical, answered == plan.items, answered)


def score_batch(instrument: Instrument, answers: Bytes) -> BatchScores:
    """Score ``answers`` (uint8, rows x items, 255: not answered) row by row without a Python loop over rows.

    A row with an answer outside the scale gets verdict ``BAD_RANGE``; the other rows are not touched by it. Raises
    ``Refusal`` INVALID_ARGUMENT/ANSWER_COUNT when the batch has another width than the instrument has items.
    """
    plan = instrument.plan
    if answers.ndim != 2 or answers.shape[1] != plan.items:
        raise _count_refusal(instrument, answers.shape[1] if answers.ndim == 2 else 0)
    if answers.dtype != np.uint8:
        raise TypeError("score_batch needs a uint8 array with 255 for an unanswered item")
    rows: int = answers.shape[0]
    result = BatchScores(
        totals={spec[0]: np.full(rows, -1, np.int16) for spec in plan.scores},
        category=np.full(rows, -1, np.int8),
        critical=np.zeros((rows, len(plan.critical)), np.bool_),
        complete=np.zeros(rows, np.bool_),
        answered=np.zeros(rows, np.int16),
        verdict=np.zeros(rows, np.uint8),
        bad_item=np.zeros(rows, np.int16),
    )
    tables = {name: np.array(table, np.int8) for name, table in plan.severity}
    for start in range(0, rows, _CHUNK_ROWS):
        part = slice(start, min(start + _CHUNK_ROWS, rows))
        _score_chunk(plan, np.ascontiguousarray(answers[part].T), part, tables, result)
    return result


def _sums(plan: Plan, values: Sequence[int | None], form_missing: int) -> dict[str, int | None]:
    scores: dict[str, int | None] = {}
    for name, items, parts, size, multiplier in plan.scores:
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
        total = sum(present)
        if count != size and plan.prorate:
            total = (2 * total * size + count) // (2 * count)
        scores[name] = total * multiplier
    return scores


def _category(plan: Plan, scores: dict[str, int | None]) -> str | None:
    worst = -1
    for name, table in plan.severity:
        value = scores[name]
        if value is None:
            return None
        worst = max(worst, table[value])
    return plan.categories[worst]


def _score_chunk(
    plan: Plan, columns: Bytes, part: slice, tables: dict[str, NDArray[np.int8]], into: BatchScores
) -> None:
    """Score one run of rows, given as (items, rows), into the slice ``part`` of the result."""
    missing = columns == NOT_ANSWERED
    outside = columns > plan.high
    outside &= ~missing
    if plan.low:
        outside |= columns < plan.low
    bad = outside.any(axis=0)
    values = np.where(missing, np.uint8(0), columns)
    for item in plan.reverse:
        values[item] = np.where(missing[item], 0, plan.low + plan.high - columns[item].astype(np.int16))
    answered = plan.items - _count(missing)
    if bad.any():
        into.verdict[part] = np.where(bad, BAD_RANGE, ACCEPTED)
        into.bad_item[part] = np.where(bad, outside.argmax(axis=0) + 1, 0)
    into.answered[part] = np.where(bad, 0, answered)
    into.complete[part] = (answered == plan.items) & ~bad
    totals: dict[str, NDArray[np.int32]] = {}
    for name, items, parts, size, multiplier in plan.scores:
        if parts:
            stack = np.stack([totals[each] for each in parts])
            total = np.where((stack < 0).any(axis=0), -1, stack.sum(axis=0) * multiplier).astype(np.int32)
        else:
            blank = missing if items is None else missing[list(items)]
            chosen = values if items is None else values[list(items)]
            total = _item_score(plan, chosen, size, multiplier, _count(blank), plan.items - answered)
            total[bad] = -1
        totals[name] = total
        into.totals[name][part] = total
    into.category[part] = _categories(totals, tables)
    for index, (_, rule_items, at_least) in enumerate(plan.critical):
        picked = list(rule_items)
        into.critical[part, index] = ((columns[picked] >= at_least) & ~missing[picked]).any(axis=0) & ~bad


def _item_score(
    plan: Plan,
    chosen: Bytes,
    size: int,
    multiplier: int,
    blanks: NDArray[np.int32],
    form_blanks: NDArray[np.int32],
) -> NDArray[np.int32]:
    narrow = size * plan.high < NOT_ANSWERED
    plain: NDArray[np.uint8] | NDArray[np.int32] = chosen.sum(axis=0, dtype=np.uint8 if narrow else np.int32)
    total = plain.astype(np.int32)
    count = size - blanks
    if plan.prorate:
        some = np.maximum(count, 1)
        total = np.where(blanks > 0, (2 * total * size + some) // (2 * some), total)
    counted = form_blanks if plan.per_form else blanks
    given = (counted <= plan.max_missing) & (count > 0)
    return np.where(given, total * multiplier, -1).astype(np.int32)


def _count(flags: Flags) -> NDArray[np.int32]:
    """How many flags are set in every column."""
    narrow = flags.shape[0] <= NOT_ANSWERED
    # A uint8 view and accumulator keep the addition vectorised; numpy's default widens every flag to 8 bytes first.
    ones = flags.view(np.uint8)
    counts: NDArray[np.uint8] | NDArray[np.int32] = ones.sum(axis=0, dtype=np.uint8 if narrow else np.int32)
    return counts.astype(np.int32)


def _categories(totals: dict[str, NDArray[np.int32]], tables: dict[str, NDArray[np.int8]]) -> NDArray[np.int8]:
    worst: NDArray[np.int8] | None = None
    none: Flags | None = None
    for name, table in tables.items():
        total = totals[name]
        found = table[np.maximum(total, 0)]
        worst = found if worst is None else np.maximum(worst, found)
        none = total < 0 if none is None else none | (total < 0)
    if worst is None or none is None:
        raise ValueError("an instrument always names the scores its category is read from")
    worst[none] = -1
    return worst


def _count_refusal(instrument: Instrument, got: int) -> Refusal:
    mend = f"{instrument.id} has {instrument.items} items, {got} answers came: send one per item, or mark it unanswered"
    return Refusal("INVALID_ARGUMENT", "ANSWER_COUNT", mend, violations=(Violation("answers", "ANSWER_COUNT", mend),))


def _range_refusal(instrument: Instrument, answers: Sequence[int | None]) -> Refusal:
    scale = instrument.scale
    index = next(
        place for place, value in enumerate(answers) if value is not None and not scale.min <= value <= scale.max
    )
    mend = f"item {index + 1} of {instrument.id} is outside {scale.min} to {scale.max}: send an answer of the scale"
    return Refusal(
        "INVALID_ARGUMENT",
        "ANSWER_RANGE",
        mend,
        violations=(Violation(f"answers[{index}]", "ANSWER_RANGE", mend),),
        metadata={"item": str(index + 1)},
    )
