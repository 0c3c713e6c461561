"""Scoring of answers by an instrument definition: one form at a time, or a columnar batch with numpy.

Both scorers read the same compiled ``Instrument.plan`` and give the same results (a property test holds them together).
An unanswered item is None in a form and 255 in a batch. Halves round up, as the official SDQ scoring does. Critical
rules look at the raw answers and therefore fire on any total, on incomplete forms and on void ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xinqiao.screening.coding import in_own_coding, rows_in_own_coding
from xinqiao.screening.instruments import NOT_ANSWERED, Instrument
from xinqiao.screening.plan import COUNT, MEAN, SUM, Plan
from xinqiao.screening.refusals import count_refusal, range_refusal

ACCEPTED = 0
BAD_RANGE = 1

_CHUNK_ROWS = 1 << 14
"""Rows scored at once: small enough for the working arrays of a form of 9 to 25 items to stay in the CPU cache."""

Bytes = NDArray[np.uint8]
Totals = NDArray[np.int16]
Wide = NDArray[np.int32]
Flags = NDArray[np.bool_]
Answers = Sequence[int | None]


@dataclass(frozen=True, slots=True)
class Score:
    """What one form gives: ``scores`` by id (None: not given, for missing answers or a void form), the form's
    ``category`` (None without the scores or answers it is read from, and where the instrument has none), ids of the
    ``critical`` rules that fired, whether every needed item was answered, and how many were."""

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


@dataclass(frozen=True, slots=True)
class _Tables:
    """The lookup tables of a plan as arrays, made once a batch."""

    severity: dict[str, NDArray[np.int8]]
    recode: tuple[tuple[int, Bytes], ...]
    highs: NDArray[np.uint8] | None


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


def score_batch(instrument: Instrument, answers: Bytes, *, coding: str = "") -> BatchScores:
    """Score ``answers`` (uint8, rows x items, 255: not answered) row by row without a Python loop over rows.

    A row with an answer outside the scale gets verdict ``BAD_RANGE``; the other rows are not touched by it. Raises
    ``Refusal`` INVALID_ARGUMENT/ANSWER_COUNT when the batch has another width than the instrument has items, and for
    the whole batch CODING_REQUIRED, CODING_UNKNOWN or CODING_MISMATCH: a coding is declared for all rows or for none.
    """
    plan = instrument.plan
    if answers.ndim != 2 or answers.shape[1] != plan.items:
        raise count_refusal(instrument, answers.shape[1] if answers.ndim == 2 else 0)
    if answers.dtype != np.uint8:
        raise TypeError("score_batch needs a uint8 array with 255 for an unanswered item")
    if plan.codings or coding:
        answers = rows_in_own_coding(instrument, answers, coding)
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
    tables = _Tables(
        {name: np.array(table, np.uint8).astype(np.int8) for name, table in plan.severity},
        tuple((item, _full(table)) for item, table in plan.recode),
        np.array(plan.item_high, np.uint8)[:, None] if plan.item_high else None,
    )
    for start in range(0, rows, _CHUNK_ROWS):
        part = slice(start, min(start + _CHUNK_ROWS, rows))
        _score_chunk(plan, np.array(answers[part].T, order="C"), part, tables, result)
    return result


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


def _score_chunk(plan: Plan, columns: Bytes, part: slice, tables: _Tables, into: BatchScores) -> None:
    """Score one run of rows, given as (items, rows), into the slice ``part`` of the result."""
    missing = columns == NOT_ANSWERED
    outside = columns > (plan.high if tables.highs is None else tables.highs)
    outside &= ~missing
    if plan.low:
        outside |= columns < plan.low
    bad: Flags = np.asarray(outside.any(axis=0), np.bool_)
    answered = plan.items - _count(missing)
    for items, below, unanswered in plan.skip:
        skipped = (columns[list(items)] < below).all(axis=0)
        for item in unanswered:
            columns[item][skipped & missing[item]] = plan.low
            missing[item] &= ~skipped
    values = np.where(missing, np.uint8(0), columns)
    for item, table in tables.recode:
        values[item] = table[columns[item]]
    blanks = _count(missing if plan.needed is None else missing[list(plan.needed)])
    if bad.any():
        into.verdict[part] = np.where(bad, BAD_RANGE, ACCEPTED)
        into.bad_item[part] = np.where(bad, outside.argmax(axis=0) + 1, 0)
    into.answered[part] = np.where(bad, 0, answered)
    into.complete[part] = (blanks == 0) & ~bad
    totals = _totals(plan, values, missing, blanks, bad)
    category = _categories(plan, totals, tables, columns, missing) if plan.graded else np.full(bad.shape, -1, np.int8)
    category[bad] = -1
    _void(plan, totals, category)
    into.category[part] = category
    for name, total in totals.items():
        into.totals[name][part] = total
    for index, (_, rule_items, at_least) in enumerate(plan.critical):
        picked = list(rule_items)
        into.critical[part, index] = ((columns[picked] >= at_least) & ~missing[picked]).any(axis=0) & ~bad


def _totals(plan: Plan, values: Bytes, missing: Flags, form_blanks: Wide, bad: Flags) -> dict[str, Wide]:
    totals: dict[str, Wide] = {}
    for name, items, parts, size, multiplier, method, at_least in plan.scores:
        if parts:
            stack = np.stack([totals[each] for each in parts])
            totals[name] = np.where((stack < 0).any(axis=0), -1, stack.sum(axis=0) * multiplier).astype(np.int32)
            continue
        blanks = _count(missing if items is None else missing[list(items)])
        chosen = values if items is None else values[list(items)]
        counted = form_blanks if plan.per_form else blanks
        given = (counted <= plan.max_missing) & (blanks < size) & ~bad
        total = _sum(chosen)
        if method == SUM:
            if plan.prorate:
                some = np.maximum(size - blanks, 1)
                total = np.where(blanks > 0, (2 * total * size + some) // (2 * some), total)
            total = total * multiplier
        else:
            count = size - blanks
            if at_least:
                high = (chosen >= at_least) & ~(missing if items is None else missing[list(items)])
                count, total = _count(high), _sum(np.where(high, chosen, np.uint8(0)))
            if method == MEAN:
                given &= count > 0
                some = np.maximum(count, 1)
                total = (2 * total * multiplier + some) // (2 * some)
            else:
                total = count * multiplier
        totals[name] = np.where(given, total, -1).astype(np.int32)
    return totals


def _categories(
    plan: Plan, totals: dict[str, Wide], tables: _Tables, columns: Bytes, missing: Flags
) -> NDArray[np.int8]:
    worst = np.zeros(columns.shape[1], np.int8)
    none = np.zeros(columns.shape[1], np.bool_)
    for name, table in tables.severity.items():
        total = totals[name]
        np.maximum(worst, table[np.maximum(total, 0)], out=worst)
        none |= total < 0
    if plan.rule_items:
        none |= missing[list(plan.rule_items)].any(axis=0)
    for index, items, at_least in plan.rules:
        picked = list(items)
        hit = ((columns[picked] >= at_least) & ~missing[picked]).any(axis=0)
        np.maximum(worst, np.where(hit, np.int8(index), np.int8(0)), out=worst)
    worst[none] = -1
    return worst


def _void(plan: Plan, totals: dict[str, Wide], category: NDArray[np.int8]) -> None:
    """Take every result but the validity scores from void rows; the first rule that voids names the category."""
    void = np.zeros(category.shape, np.bool_)
    for name, at_least, index in plan.validity:
        hit = (totals[name] >= at_least) & ~void
        category[hit] = index
        void |= hit
    for name, total in totals.items() if plan.validity else ():
        if name not in plan.validity_scores:
            total[void] = -1


def _sum(chosen: Bytes) -> Wide:
    narrow = int(chosen.max(initial=0)) * chosen.shape[0] < NOT_ANSWERED
    plain: NDArray[np.uint8] | Wide = chosen.sum(axis=0, dtype=np.uint8 if narrow else np.int32)
    return plain.astype(np.int32)


def _count(flags: Flags) -> Wide:
    """How many flags are set in every column."""
    narrow = flags.shape[0] <= NOT_ANSWERED
    # A uint8 view and accumulator keep the addition vectorised; numpy's default widens every flag to 8 bytes first.
    ones = flags.view(np.uint8)
    counts: NDArray[np.uint8] | Wide = ones.sum(axis=0, dtype=np.uint8 if narrow else np.int32)
    return counts.astype(np.int32)


def _full(table: tuple[int, ...]) -> Bytes:
    """A table for every byte: what is not in it, a blank or an answer out of range, counts 0."""
    full = np.zeros(256, np.uint8)
    full[: len(table)] = table
    return full
