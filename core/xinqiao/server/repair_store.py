"""What the store shows to be mended: work that is stuck, partners that are silent, consents and emergency accesses."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from itertools import groupby
from typing import Final

from xinqiao.adapters.agency import AgencyHandle
from xinqiao.api.casefile.v1.casefile_pb2 import CONSENT_STATE_GIVEN
from xinqiao.api.exchange.v1.exchange_pb2 import RUN_STATE_AWAIT_RECEIPT, RUN_STATE_INCOMPLETE, RUN_STATE_RECONCILED
from xinqiao.api.gateway.v1 import gateway_service_pb2 as rpc
from xinqiao.config.district import RepairTerms
from xinqiao.disclosure.registry import Registry
from xinqiao.exchange.arrivals import arrival
from xinqiao.server.repair_texts import repair
from xinqiao.store import refusals, tables
from xinqiao.store.claims import DeliveryState
from xinqiao.store.holdings import INTAKE
from xinqiao.store.sql import RowMapping, func
from xinqiao.store.tx import ReadTx

_DAY_US: Final = 86_400_000_000
_US: Final = timedelta(microseconds=1)
_CODE: Final = re.compile(r"(DATA|PARTNER)/CODE")
_TALKS: Final = frozenset({"read", "deliver", "exchange"})
_SHOWN: Final = 3  # reasons or items in one line


def dead_letters(reading: ReadTx) -> Iterator[rpc.Repair]:
    """Deliveries that were given up, by recipient."""
    d = tables.deliveries.c
    columns = tables.deliveries.select().with_only_columns(
        d.recipient, d.last_reason, func.count().label("n"), func.min(d.updated_us).label("since")
    )
    dead = columns.where(d.state == int(DeliveryState.DEAD)).group_by(d.recipient, d.last_reason)
    reasons: dict[str, Counter[str]] = {}
    since: dict[str, int] = {}
    for row in reading.all(dead):
        who = str(row["recipient"])
        reasons.setdefault(who, Counter())[str(row["last_reason"])] += int(row["n"])
        since[who] = min(since.get(who, reading.now_us), int(row["since"]))
    for who, found in reasons.items():
        yield repair("DEAD_LETTERS", who, since[who], count=found.total(), reasons=_named(found))


def not_taken(reading: ReadTx, places: Mapping[str, tuple[str, str]]) -> Iterator[rpc.Repair]:
    """What agencies sent and nobody took, with the first place of the oldest and all reasons.

    ``places`` has an agency's kind of adapter and where its settings stand.
    """
    h, r = tables.holdings.c, tables.refusals.c
    since: dict[str, int] = {}
    first: dict[str, str] = {}
    for row in reading.all(tables.holdings.select().where(h.kind == "intake").order_by(h.opened_us, h.item)):
        agency = str(row["item"]).split("/")[1]
        since.setdefault(agency, int(row["opened_us"]))
        if not first.get(agency):
            first[agency] = next(iter(refusals.of(reading, str(row["item"]))[1]), "")
    for agency, since_us in since.items():
        kind, place = places.get(agency, ("KIND", "gateway.yaml"))
        own = r.item.startswith(f"{INTAKE}{agency}/", autoescape=True)
        counted = tables.refusals.select().with_only_columns(r.reason, func.sum(r.count).label("n")).where(own)
        reasons = Counter({str(row["reason"]): int(row["n"]) for row in reading.all(counted.group_by(r.reason))})
        yield repair(
            "NOT_TAKEN", agency, since_us, count=reasons.total() or "?", reasons=_named(reasons),
            first=first[agency] or "?", kind=kind,
        )  # fmt: skip
        if codes := Counter({word: n for word, n in reasons.items() if _CODE.fullmatch(word)}):
            yield repair("UNMAPPED_CODE", agency, since_us, count=codes.total(), reasons=_named(codes), place=place)


def broken_rules(reading: ReadTx, file: object) -> Iterator[rpc.Repair]:
    """New rules that a node could not read."""
    h = tables.holdings.c
    for row in reading.all(tables.holdings.select().where(h.kind == "config")):
        yield repair("CONFIG_BROKEN", str(row["item"]).partition("/")[2], row["opened_us"], file=file)


def open_runs(reading: ReadTx) -> Iterator[rpc.Repair]:
    """Exchanges that do not reconcile or whose receipt is owed."""
    r = tables.exchange_runs.c
    wanted = [int(RUN_STATE_AWAIT_RECEIPT), int(RUN_STATE_INCOMPLETE)]
    for row in reading.all(tables.exchange_runs.select().where(r.state.in_(wanted))):
        subject, words = f"{row['exchange']}/{row['partner']}", {"exchange": row["exchange"], "period": row["period"]}
        if row["state"] == int(RUN_STATE_INCOMPLETE):
            yield repair("RUN_INCOMPLETE", subject, row["updated_us"], **words)
        elif row["deadline_us"] < reading.now_us:
            yield repair("RECEIPT_OVERDUE", subject, row["deadline_us"], **words)


def open_books(reading: ReadTx) -> Iterator[rpc.Repair]:
    """Books of partners that do not agree with ours, and the items about which they do not, as long as somebody has them."""
    h, r = tables.holdings.c, tables.exchange_records.c
    wrong = tables.exchange_records.select().where(r.reason != "")
    rows_by_book = groupby(reading.all(wrong.order_by(r.exchange, r.partner, r.period, r.source)), key=_book)
    for (exchange, partner, period), rows in rows_by_book:
        name = arrival(exchange, partner, period)
        held = {
            str(row["item"]): int(row["opened_us"])
            for row in reading.all(tables.holdings.select().where(h.item.startswith(f"{name}/", autoescape=True)))
        }
        found = [row for row in rows if f"{name}/{row['source']}" in held]
        if found:
            items = [f"{row['source']} {row['reason']}" for row in found]
            yield repair(
                "BOOKS_DIFFER", f"{exchange}/{partner}", min(held.values()), count=len(found), period=period,
                items=", ".join([*items[:_SHOWN], "..."] if len(items) > _SHOWN else items),
            )  # fmt: skip


def _book(row: RowMapping) -> tuple[str, str, str]:
    return str(row["exchange"]), str(row["partner"]), str(row["period"])


def waiting_since(reading: ReadTx, agency: str) -> int:
    """When the oldest delivery was made that has been tried in vain; 0 where there is none."""
    d = tables.deliveries.c
    tried = (d.recipient == agency) & (d.state == int(DeliveryState.PENDING)) & (d.attempt > 0)
    return int(reading.scalar(tables.deliveries.select().with_only_columns(func.min(d.created_us)).where(tried)) or 0)


def silent(
    reading: ReadTx, agencies: Mapping[str, AgencyHandle], registry: Registry, terms: RepairTerms
) -> Iterator[rpc.Repair]:
    """Agencies whose adapter works and with which there was no contact for longer than the district allows.

    The time before this gateway was there, or the agreement held, is nobody's silence.
    """
    horizon = reading.now_us - terms.silent_after // _US
    began = _began(reading)
    if began is None or began > horizon:
        return
    for agency, handle in agencies.items():
        partner = registry.find(agency)
        talks = handle.manifest is not None and not _TALKS.isdisjoint(handle.manifest.capabilities)
        if partner is None or not talks or handle.state != rpc.AGENCY_STATE_READY:
            continue
        people = [each.id for each in registry.all() if each.agency == agency]
        last = max(_contact(reading, agency, people), began, partner.agreement_from_us)
        if last < horizon:
            yield repair("PARTNER_SILENT", agency, last, days=(reading.now_us - last) // _DAY_US)


def _began(reading: ReadTx) -> int | None:
    j = tables.journal.c
    first = reading.scalar(tables.journal.select().with_only_columns(j.at_us).where(j.seq == 1).limit(1))
    return None if first is None else int(first)


def _contact(reading: ReadTx, agency: str, people: Iterable[str]) -> int:
    """When something last came from the agency or was taken by it; 0 where that never happened."""
    d, c, q, r = tables.deliveries.c, tables.cursors.c, tables.requests.c, tables.exchange_runs.c
    newest = (
        tables.cursors.select().with_only_columns(func.max(c.updated_us)).where(c.agency == agency),
        tables.deliveries.select()
        .with_only_columns(func.max(d.updated_us))
        .where((d.recipient == agency) & (d.state == int(DeliveryState.DELIVERED))),
        tables.requests.select().with_only_columns(func.max(q.created_us)).where(q.partner.in_([*people])),
        tables.exchange_runs.select()
        .with_only_columns(func.max(r.updated_us))
        .where((r.partner == agency) & (r.state == int(RUN_STATE_RECONCILED))),
    )
    return max(int(reading.scalar(each) or 0) for each in newest)


def ending_consents(reading: ReadTx, terms: RepairTerms) -> Iterator[rpc.Repair]:
    """Consents in force that end soon, by recipient; never whose."""
    c = tables.consents.c
    columns = tables.consents.select().with_only_columns(
        c.recipient, func.count().label("n"), func.min(c.not_after_us).label("first"),
        func.min(c.created_us).label("given"),
    )  # fmt: skip
    until_us = reading.now_us + terms.consent_notice // _US
    soon = (c.state == int(CONSENT_STATE_GIVEN)) & (c.not_after_us > reading.now_us) & (c.not_after_us <= until_us)
    for row in reading.all(columns.where(soon).group_by(c.recipient)):
        since = max(int(row["first"]) - terms.consent_notice // _US, int(row["given"]))
        yield repair("CONSENTS_END", str(row["recipient"]), since, count=row["n"], days=terms.consent_notice.days)


def many_overrides(reading: ReadTx, terms: RepairTerms) -> Iterator[rpc.Repair]:
    """Who breaks the glass more often than the district expects: each person, and each agency as a whole."""
    o = tables.overrides.c
    for column, limit in ((o.actor, terms.overrides_person), (o.recipient, terms.overrides_agency)):
        columns = tables.overrides.select().with_only_columns(
            column.label("who"), func.count().label("n"), func.min(o.created_us).label("since")
        )
        recent = columns.where(o.created_us > reading.now_us - terms.overrides_within // _US).group_by(column)
        for row in reading.all(recent):
            if row["n"] >= limit:
                yield repair(
                    "OVERRIDES_MANY", str(row["who"]), row["since"], count=row["n"], limit=limit,
                    days=terms.overrides_within.days,
                )  # fmt: skip


def _named(reasons: Counter[str]) -> str:
    """`DATA/CODE 3, UNKNOWN_STUDENT 1`, the most frequent first."""
    shown = [f"{word or '?'} {count}" for word, count in reasons.most_common(_SHOWN)]
    return ", ".join([*shown, "..."] if len(reasons) > _SHOWN else shown) or "?"
