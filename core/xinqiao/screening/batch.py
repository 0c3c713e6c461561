"""Forms by the column: coded, scored and triaged with numpy, without a Python loop over rows.

The one module of the room that loads numpy, and with ``upload`` only when a batch comes: a gateway at rest needs none.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xinqiao.screening.coding import declared, fits_another, mismatch
from xinqiao.screening.instruments import NOT_ANSWERED, Instrument
from xinqiao.screening.plan import MEAN, SUM, Plan
from xinqiao.screening.refusals import count_refusal
from xinqiao.screening.triage import RulePack, Tier, When, no_rules

ACCEPTED = 0
BAD_RANGE = 1

_CHUNK_ROWS = 1 << 14
"""Rows scored at once: small enough for the working arrays of a form of 9 to 25 items to stay in the CPU cache."""

Bytes = NDArray[np.uint8]
Totals = NDArray[np.int16]
Wide = NDArray[np.int32]
Flags = NDArray[np.bool_]

TELLING_ROWS = 10
"""So many forms in which nobody gave any item its lowest answer are not believed to be in the declared coding."""


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


def propose_batch(
    pack: RulePack, instrument: Instrument, batch: BatchScores
) -> tuple[NDArray[np.int8], NDArray[np.int16]]:
    """Tier per row (a number of ``Tier``) and index into ``pack.rules`` of the winning rule.

    A row whose verdict is not ``ACCEPTED`` gets tier 0 and rule -1. Raises like ``propose``.
    """
    rows = batch.verdict.shape[0]
    tiers = np.zeros(rows, np.int8)
    rules = np.full(rows, -1, np.int16)
    accepted = batch.verdict == ACCEPTED
    # Weakest first, so that a stronger rule overwrites: the same order as ``propose``, read backwards.
    for index in reversed(pack.ordered.get(instrument.id, ())):
        rule = pack.rules[index]
        hit = _matches_batch(rule.when, instrument, batch) & accepted
        tiers[hit] = Tier[rule.tier].value
        rules[hit] = index
    if bool((rules[accepted] < 0).any()):
        raise no_rules(pack, instrument)
    return tiers, rules


def rows_in_own_coding(instrument: Instrument, answers: Bytes, coding: str) -> Bytes:
    """As :func:`in_own_coding` for a batch; an answer of no coding becomes one outside the scale of its row only."""
    low, high = declared(instrument, coding)
    table = np.full(256, NOT_ANSWERED - 1, np.uint8)
    table[low : high + 1] = np.arange(instrument.scale.min, instrument.scale.max + 1)
    table[NOT_ANSWERED] = NOT_ANSWERED
    telling = np.array([fits_another(instrument, value) and not low <= value <= high for value in range(256)])
    if (wrong := telling[answers]).any():
        row, item = (int(place) for place in np.argwhere(wrong)[0])
        raise mismatch(instrument, coding, f"row {row + 1}, item {item + 1}, fits another coding only", row, item)
    if lacks_lowest(instrument, answers, coding) and answers.shape[0] >= TELLING_ROWS:
        raise mismatch(instrument, coding, f"no answer in {answers.shape[0]} rows is the lowest of this coding")
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


def lacks_lowest(instrument: Instrument, answers: Bytes, coding: str) -> bool:
    """Whether no answer at all is the lowest of ``coding`` though a coding that starts higher exists."""
    low, _ = declared(instrument, coding)
    higher = any(other > low for other in instrument.plan.codings.values())
    return higher and bool((answers != NOT_ANSWERED).any()) and not bool((answers == low).any())


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


def _matches_batch(when: When, instrument: Instrument, batch: BatchScores) -> Flags:
    if when.critical is not None:
        ids = [rule.id for rule in instrument.critical]
        wanted = range(len(ids)) if when.critical == "any" else [ids.index(name) for name in when.critical]
        return np.asarray(batch.critical[:, list(wanted)].any(axis=1), np.bool_)
    if when.score is not None:
        total = batch.totals[when.score]
        inside = total >= max(0, when.at_least or 0)
        return inside if when.at_most is None else inside & (total <= when.at_most)
    if when.category is not None:
        known = [instrument.category_ids.index(name) for name in when.category]
        return np.isin(batch.category, np.array(known, np.int8))
    if when.no_category is not None:
        return batch.category < 0
    return batch.totals[str(when.no_score)] < 0
