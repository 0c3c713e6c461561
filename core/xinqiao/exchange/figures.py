"""The figures and tables of a report, computed from what the store holds; nothing here is fit to be published yet."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time
from typing import Any, Final, NamedTuple

from xinqiao.api.casefile.v1.plan_pb2 import EntryKind
from xinqiao.api.common.v1.types_pb2 import Tier
from xinqiao.api.exchange.v1.activity_service_pb2 import ActivityKind, Audience
from xinqiao.api.referral.v1.referral_pb2 import ReferralState
from xinqiao.api.screening.v1.screening_pb2 import TRIAGE_STATE_CONFIRMED, SignalKind, SignalSource
from xinqiao.contract.clock import BEIJING, to_us
from xinqiao.disclosure.door import Door
from xinqiao.exchange.entry_items import day_of
from xinqiao.exchange.periods import Span
from xinqiao.exchange.report_rules import FigureRule, StatisticRule
from xinqiao.store import tables
from xinqiao.store.drills import not_drill
from xinqiao.store.sql import RowMapping, func, select
from xinqiao.store.tx import ReadTx

_TABLES = {
    "assessments": tables.assessments, "signals": tables.signals, "triages": tables.triages,
    "referrals": tables.referrals,
}  # fmt: skip
_ENUMS: Mapping[str, tuple[Any, str]] = {
    "tier": (Tier, "TIER_"), "kind": (SignalKind, "SIGNAL_KIND_"), "source": (SignalSource, "SIGNAL_SOURCE_"),
    "state": (ReferralState, "REFERRAL_STATE_"),
}  # fmt: skip


_PAGE: Final = 400


class Computed(NamedTuple):
    """A figure with its twelve months; ``loose``: persons were added over activities that are of no series."""

    value: int
    by_month: list[int]
    loose: bool


class Counted(NamedTuple):
    """A table: what its rows and columns are, whether there is anything in them or not, and the cells that are not
    nought. ``totals`` are of persons, who are counted once however many cells they stand in; records just add up."""

    rows: list[str]
    columns: list[str]
    cells: dict[tuple[int, int], int]
    totals: dict[tuple[int, int], int]


def figure(tx: ReadTx, door: Door, rule: FigureRule, first: str, last: str, agency: str) -> Computed:
    """One figure over the activities from ``first`` to ``last`` (ISO 8601 days, both counted), and over the records of
    plans of those agencies that report no such activities: a visit that is recorded and counted is one visit."""
    c = tables.activities.c
    wanted = (c.day >= first) & (c.day <= last) & c.withdrawn.is_(False)
    wanted &= c.kind.in_([ActivityKind.Value(f"ACTIVITY_KIND_{name}") for name in rule.kinds])
    if rule.audience:
        wanted &= c.audience.in_([Audience.Value(f"AUDIENCE_{name}") for name in rule.audience])
    if rule.crisis:
        wanted &= c.crisis.is_(True)
    if rule.series:
        wanted &= c.series == rule.series
    if agency:
        wanted &= c.agency == agency
    rows = tx.all(tables.activities.select().where(wanted))
    months: list[list[RowMapping]] = [[] for _ in range(12)]
    for row in rows:
        months[int(str(row["day"])[5:7]) - 1].append(row)
    if rule.entries:
        reporting = {str(row["agency"]) for row in rows}
        months_of = [0] * 12
        for author, day in _recorded(tx, door, rule, first, last):
            if author not in reporting and agency in ("", author):
                months_of[int(day[5:7]) - 1] += 1
        by_month = [_measure(rule, month) + more for month, more in zip(months, months_of, strict=True)]
        return Computed(sum(by_month), by_month, loose=False)
    loose = rule.measure == "persons" and sum(bool(row["persons"] and not row["series"]) for row in rows) > 1
    return Computed(_measure(rule, list(rows)), [_measure(rule, month) for month in months], loose)


def _recorded(tx: ReadTx, door: Door, rule: FigureRule, first: str, last: str) -> Iterator[tuple[str, str]]:
    """Author and day of each record of a plan that stands, page by page: the day is sealed with the rest of it. One that
    cannot be read any more, as its student was erased, is counted no more."""
    c = tables.entries.c
    kinds = [EntryKind.Value(f"ENTRY_KIND_{name}") for name in rule.entries]
    begins = to_us(datetime.combine(date.fromisoformat(first), time.min, BEIJING))
    wanted = select(tables.entries).where(
        c.kind.in_(kinds), c.superseded_by == "", c.created_us >= begins, not_drill(c.student)
    )
    after: tuple[int, str] = (0, "")
    while rows := tx.all(
        wanted.where((c.created_us > after[0]) | ((c.created_us == after[0]) & (c.id > after[1])))
        .order_by(c.created_us, c.id)
        .limit(_PAGE)
    ):
        for row in rows:
            day = day_of(door, row)
            if first <= day <= last:
                yield str(row["author"]), day
        after = int(rows[-1]["created_us"]), str(rows[-1]["id"])


def _measure(rule: FigureRule, rows: list[RowMapping]) -> int:
    if rule.measure == "times":
        return sum(int(row["times"]) or 1 for row in rows)
    if rule.measure == "persons":
        return sum(_most(rows).values())
    if rule.measure == "series":
        return len({(row["agency"], row["series"]) for row in rows if row["series"]})
    if rule.measure == "days":
        return len({(row["agency"], row["day"]) for row in rows})
    if rule.measure == "months":
        days = sorted(str(row["day"]) for row in rows)
        return _months(days[-1]) - _months(days[0]) + 1 if days else 0
    return sum(int(row[rule.measure]) for row in rows)


def _most(rows: list[RowMapping]) -> dict[tuple[str, str, str], int]:
    """Persons by series; whoever came to a group ten times is one person, so of each series the largest count."""
    most: dict[tuple[str, str, str], int] = {}
    for row in rows:
        series = str(row["series"])
        key = (str(row["agency"]), series, "" if series else str(row["source"]))
        most[key] = max(most.get(key, 0), int(row["persons"]))
    return most


def _months(day: str) -> int:
    return int(day[:4]) * 12 + int(day[5:7])


def statistic(tx: ReadTx, rule: StatisticRule, period: Span, schools: Iterable[str]) -> Counted:
    """One table over the records that were made in the period; drills are no students.

    Its lines are fixed, all words of the contract's enum or all ``schools`` that are served: which of them is there at
    all would tell as much as a small number.
    """
    table = _TABLES[rule.of]
    c = table.c
    names = {"tier": "confirmed"} if rule.of == "triages" else {}
    row, column = (c[names.get(each, each)] for each in (rule.rows, rule.columns))
    counted = func.count(c.student.distinct()) if rule.measure == "persons" else func.count()
    at = c.updated_us if rule.of == "triages" else c.created_us
    wanted = (at >= period.from_us) & (at < period.to_us) & not_drill(c.student)
    if rule.of == "triages":  # what a person confirmed, not what a machine proposed
        wanted &= c.state == int(TRIAGE_STATE_CONFIRMED)
    found = {
        (_word(rule.rows, each["a"]), _word(rule.columns, each["b"])): int(each["n"])
        for each in tx.all(
            select(row.label("a"), column.label("b"), counted.label("n")).where(wanted).group_by(row, column)
        )
    }  # fmt: skip
    rows, columns = (
        list(dict.fromkeys([*_fixed(dimension, schools), *sorted({place[at] for place in found})]))
        for at, dimension in enumerate((rule.rows, rule.columns))
    )
    cells = {(rows.index(a), columns.index(b)): count for (a, b), count in found.items()}
    totals: dict[tuple[int, int], int] = {}
    if rule.measure == "persons":
        for each in tx.all(select(row.label("a"), counted.label("n")).where(wanted).group_by(row)):
            totals[rows.index(_word(rule.rows, each["a"])), len(columns)] = int(each["n"])
        for each in tx.all(select(column.label("b"), counted.label("n")).where(wanted).group_by(column)):
            totals[len(rows), columns.index(_word(rule.columns, each["b"]))] = int(each["n"])
        totals[len(rows), len(columns)] = int(tx.scalar(select(counted).where(wanted)) or 0)
    return Counted(rows, columns, cells, totals)


def _fixed(dimension: str, schools: Iterable[str]) -> list[str]:
    enum, prefix = _ENUMS.get(dimension, (None, ""))
    if enum is not None:
        return [str(name).removeprefix(prefix) for name, number in enum.items() if number]
    return sorted(schools) if dimension == "school" else []


def _word(dimension: str, value: object) -> str:
    enum, prefix = _ENUMS.get(dimension, (None, ""))
    return str(value) if enum is None else str(enum.Name(int(str(value)))).removeprefix(prefix)
