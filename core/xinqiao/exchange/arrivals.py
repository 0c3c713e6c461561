"""What parties bring of their own books: matched exactly or given to a person, and held while it is missing."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

from xinqiao.api.exchange.v1 import exchange_service_pb2 as rpc
from xinqiao.contract.errors import Refusal
from xinqiao.contract.workdays import WorkCalendar
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.exchange.comparing import DIFFERS, LACKED, Match, Ours, expected, match
from xinqiao.exchange.items import views_of
from xinqiao.exchange.periods import Span, due_at, finished, length_of
from xinqiao.exchange.receipts import KIND
from xinqiao.exchange.runs import Definition
from xinqiao.exchange.views import admit
from xinqiao.journal.append import append
from xinqiao.store import tables
from xinqiao.store.engine import Store
from xinqiao.store.holdings import drop, hold
from xinqiao.store.sql import ColumnElement, delete, select
from xinqiao.store.tx import ReadTx, Tx

AWAITED: Final = "package_awaited"
MISSING: Final = "package_missing"
_TOLD: Final = 1000
_ITEM: Final = re.compile(r"exchanges/[^/]+/arrivals/[^/]+/[^/]+/.+")
_RECORDS = tables.exchange_records.c


def submit(
    request: rpc.SubmitPackageRequest, call: Call, definitions: Mapping[str, Definition], calendar: WorkCalendar
) -> rpc.SubmitPackageResponse:
    """Take a package or a part of it; see the contract. One transaction: it came, or it did not.

    ``call.answers`` is what :func:`beforehand` found, or None.
    """
    admit(call)
    exchange, definition = _exchange(request, call.caller.agency, definitions)
    period = finished(request.period, call.tx.now_us, calendar)
    if request.nil and (request.records or request.more):
        raise Refusal("INVALID_ARGUMENT", "NIL", "a nil package has no records and no further parts")
    if not (request.nil or request.records):
        raise Refusal(
            "INVALID_ARGUMENT", "NIL", "a package without records says `nil`: nothing is not the same as none"
        )
    if len({record.source for record in request.records}) != len(request.records):
        raise Refusal("INVALID_ARGUMENT", "SOURCE", "each record has a `source` of its own")
    window = due_at(definition.schedule, request.period, calendar)
    books = _Books(call, (exchange, call.caller.agency, request.period), window.close_us - window.start_us)
    books.count(request)
    taken = books.named()
    for record in request.records:
        found = match(call, record, definition.parties, period, taken)
        books.keep(record, found)
        taken.add(found.item)
    if not request.more:
        drop(call.tx, books.name)
        ours = cast("list[Ours] | None", call.answers)
        if ours is None:
            ours = _expected(call.reading, call.door, call.caller.agency, definition, period)
        for each in ours:
            if each.item not in taken:
                books.miss(each)
    response = books.response
    call.journal_batch(
        "exchange.arrived", resource=books.name,
        reason=f"nil:{int(request.nil)} matched:{response.matched} unmatched:{response.unmatched} "
        f"differing:{response.differing} missing:{response.missing}",
        payload=request.SerializeToString(deterministic=True),
    )  # fmt: skip
    return response


def beforehand(
    request: rpc.SubmitPackageRequest, store: Store, door: Door, agency: str, definitions: Mapping[str, Definition],
    calendar: WorkCalendar,
) -> Callable[[], list[Ours]] | None:  # fmt: skip
    """What a last part needs our own books for, and what can be asked of them in no transaction: they may be long. What
    is recorded meanwhile is in nobody's books of a period that is over. Raises what :func:`submit` raises of the request."""
    if request.more:
        return None
    _, definition = _exchange(request, agency, definitions)
    period = finished(request.period, store.clock.now_us(), calendar)

    def ask() -> list[Ours]:
        with store.read() as tx:
            return _expected(tx, door, agency, definition, period)

    return ask


def _expected(tx: ReadTx, door: Door, agency: str, definition: Definition, period: Span) -> list[Ours]:
    return list(expected(tx, door, agency, views_of(definition), definition.parties, period))


def _exchange(
    request: rpc.SubmitPackageRequest, agency: str, definitions: Mapping[str, Definition]
) -> tuple[str, Definition]:
    """The exchange that the books are of: the one named, or the only one there can be."""
    length = length_of(request.period)
    own = {name: each for name, each in definitions.items() if agency in each.parties}
    if not request.exchange:
        found = [name for name, each in own.items() if each.period == length]
        if len(found) != 1:
            text = f"the caller has {len(found)} exchanges of this length: name the one that it is for"
            raise Refusal("INVALID_ARGUMENT", "EXCHANGE", text)
        return found[0], own[found[0]]
    definition = own.get(request.exchange)
    if definition is None:
        raise Refusal("NOT_FOUND", "EXCHANGE", "no such exchange with this caller")
    if length != definition.period:
        raise Refusal("INVALID_ARGUMENT", "PERIOD", f"this exchange is settled by the {definition.period}")
    return request.exchange, definition


def arrival(exchange: str, partner: str, period: str) -> str:
    """`exchanges/{exchange}/arrivals/{partner}/{period}`."""
    return f"exchanges/{exchange}/arrivals/{partner}/{period}"


def is_of_books(item: str) -> bool:
    """Whether an open item is one about which two books do not agree: nothing but the next revision or a word among
    people settles it."""
    return _ITEM.fullmatch(item) is not None


def watch(
    store: Store, door: Door, exchange: str, definition: Definition, periods: Sequence[str], calendar: WorkCalendar
) -> None:
    """Hold every package that is owed and has not come: the party until the period closes, the operator after that.

    ``periods`` are those that are over. Nothing is written where everything lies as it should.
    """
    for period in periods:
        window = due_at(definition.schedule, period, calendar)
        if window.start_us > store.clock.now_us():
            continue
        late = store.clock.now_us() >= window.close_us
        step = MISSING if late else AWAITED
        for partner in definition.expects:
            item = arrival(exchange, partner, period)
            with store.read() as tx:
                held = tx.get(tables.holdings, item)
                if came(tx, exchange, partner, period) or (held is not None and held["step"] == step):
                    continue
            grace_us = window.close_us - window.start_us

            def give(
                tx: Tx, item: str = item, partner: str = partner, period: str = period, step: str = step,
                late: bool = late, deadline_us: int = window.close_us, grace_us: int = grace_us,
            ) -> None:  # fmt: skip
                if came(tx, exchange, partner, period):
                    return
                hold(
                    tx, item, kind="exchange", school="", step=step,
                    holder=door.registry.holder("") if late else partner,
                    deadline_us=tx.now_us + grace_us if late else deadline_us,
                )  # fmt: skip
                append(
                    tx, kind=f"exchange.{step}", decision="", actor="gateway", partner=partner, resource=item,
                    reason=period, policy_version=door.policy.version,
                )  # fmt: skip

            store.run(give)


def came(tx: ReadTx, exchange: str, partner: str, period: str) -> bool:
    """Whether the whole package came, nil or not."""
    row = tx.get(tables.exchange_arrivals, exchange, partner, period)
    return row is not None and bool(row["complete"])


class _Books:
    """A party's books of one period as they are taken down; ``key`` is (exchange, partner, period)."""

    def __init__(self, call: Call, key: tuple[str, str, str], grace_us: int) -> None:
        self._call, self._key, self._grace_us = call, key, grace_us
        self.name = arrival(*key)
        self.response = rpc.SubmitPackageResponse()

    def count(self, request: rpc.SubmitPackageRequest) -> None:
        """Write down that this part came; of an older revision nothing stays. Raises FAILED_PRECONDITION/REVISION."""
        tx, number = self._call.tx, len(request.records)
        row = tx.get(tables.exchange_arrivals, *self._key)
        if row is None:
            tx.insert(
                tables.exchange_arrivals, *self._key, request.revision, not request.more, request.nil, number, tx.now_us
            )  # fmt: skip
            return
        standing = int(row["revision"])
        if request.revision < standing or (request.revision == standing and row["complete"]):
            text = "this revision or a higher one has come whole: send a correction as the next"
            raise Refusal("FAILED_PRECONDITION", "REVISION", text)
        if request.revision > standing:
            tx.execute(delete(tables.exchange_records).where(self._own))
            h = tables.holdings.c
            tx.execute(
                delete(tables.holdings).where(h.kind == KIND, h.item.startswith(f"{self.name}/", autoescape=True))
            )
        else:
            number += int(row["records"])
        tx.update(
            tables.exchange_arrivals, self._key,
            revision=request.revision, complete=not request.more, nil=request.nil, records=number, updated_us=tx.now_us,
        )  # fmt: skip

    def named(self) -> set[str]:
        """What of ours the records of earlier parts were matched to."""
        rows = self._call.tx.all(select(_RECORDS.item).where(self._own, _RECORDS.reason.in_(["", *DIFFERS])))
        return {str(row["item"]) for row in rows}

    def keep(self, record: rpc.PackageRecord, found: Match) -> None:
        """Write one record down, and give it to a person where it is not exact or the two sides differ."""
        stored = (found.item or record.referral, int(record.state), found.reason)
        if not self._call.tx.insert_if_absent(
            tables.exchange_records, *self._key, record.source, found.student, *stored
        ):
            raise Refusal("INVALID_ARGUMENT", "SOURCE", "a record with this `source` came in an earlier part")
        self.response.matched += not found.reason
        self.response.differing += found.reason in DIFFERS
        self.response.unmatched += bool(found.reason) and found.reason not in DIFFERS
        if found.reason:
            self._ask(record.source, record.source, found.reason, found.item, found.school, found.student)

    def miss(self, ours: Ours) -> None:
        """Write down what of ours they lack; its own name stands where a record has the party's id, which holds no `/`."""
        self._call.tx.insert(
            tables.exchange_records, *self._key, ours.item, ours.student, ours.item, 0, LACKED
        )  # fmt: skip
        self.response.missing += 1
        item = "" if ours.source else ours.item
        self._ask(ours.item, ours.source, LACKED, item, ours.school, ours.student)

    def _ask(self, place: str, source: str, reason: str, item: str, school: str, student: str | None) -> None:
        hold(
            self._call.tx, f"{self.name}/{place}", kind=KIND, school=school,
            holder=self._call.door.registry.holder(school), deadline_us=self._call.tx.now_us + self._grace_us,
            step=reason.lower(), student=student,
        )  # fmt: skip
        if len(self.response.findings) < _TOLD:
            self.response.findings.add(source=source, reason=reason, item=item)

    @property
    def _own(self) -> "ColumnElement[bool]":
        exchange, partner, period = self._key
        return (_RECORDS.exchange == exchange) & (_RECORDS.partner == partner) & (_RECORDS.period == period)
