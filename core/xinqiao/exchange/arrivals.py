"""What parties bring of their own books: matched exactly or given to a person, and held while it is missing."""

from collections.abc import Mapping, Sequence
from typing import Final

from xinqiao.api.exchange.v1 import exchange_service_pb2 as rpc
from xinqiao.api.referral.v1.referral_pb2 import Referral
from xinqiao.contract.errors import Refusal
from xinqiao.contract.workdays import WorkCalendar
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.exchange.items import state_at
from xinqiao.exchange.periods import Span, due_at, finished, length_of
from xinqiao.exchange.receipts import KIND
from xinqiao.exchange.runs import Definition
from xinqiao.exchange.views import admit
from xinqiao.journal.append import append
from xinqiao.store import tables
from xinqiao.store.engine import Store
from xinqiao.store.holdings import drop, hold
from xinqiao.store.sql import delete
from xinqiao.store.tx import ReadTx, Tx

AWAITED: Final = "package_awaited"
MISSING: Final = "package_missing"
_DIFFERS: Final = "STATE_DIFFERS"
_RECORDS = tables.exchange_records.c


def submit(
    request: rpc.SubmitPackageRequest, call: Call, definitions: Mapping[str, Definition], calendar: WorkCalendar
) -> rpc.SubmitPackageResponse:
    """Take a package or a part of it; see the contract. One transaction: it came, or it did not."""
    admit(call)
    definition = definitions.get(request.exchange)
    if definition is None or call.caller.agency not in definition.parties:
        raise Refusal("NOT_FOUND", "EXCHANGE", "no such exchange with this caller")
    if length_of(request.period) != definition.period:
        raise Refusal("INVALID_ARGUMENT", "PERIOD", f"this exchange is settled by the {definition.period}")
    period = finished(request.period, call.tx.now_us, calendar)
    if request.nil and (request.records or request.more):
        raise Refusal("INVALID_ARGUMENT", "NIL", "a nil package has no records and no further parts")
    if not (request.nil or request.records):
        raise Refusal(
            "INVALID_ARGUMENT", "NIL", "a package without records says `nil`: nothing is not the same as none"
        )
    if len({record.source for record in request.records}) != len(request.records):
        raise Refusal("INVALID_ARGUMENT", "SOURCE", "each record has a `source` of its own")
    _count(call, request)
    window = due_at(definition.schedule, request.period, calendar)
    response = rpc.SubmitPackageResponse()
    for record in request.records:
        _keep(call, request, record, definition, period, window.close_us - window.start_us, response)
    if not request.more:
        drop(call.tx, arrival(request.exchange, call.caller.agency, request.period))
    call.journal_batch(
        "exchange.arrived", resource=arrival(request.exchange, call.caller.agency, request.period),
        reason=f"nil:{int(request.nil)} matched:{response.matched} unmatched:{response.unmatched} "
        f"differing:{response.differing}",
        payload=request.SerializeToString(deterministic=True),
    )  # fmt: skip
    return response


def arrival(exchange: str, partner: str, period: str) -> str:
    """`exchanges/{exchange}/arrivals/{partner}/{period}`."""
    return f"exchanges/{exchange}/arrivals/{partner}/{period}"


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


def _count(call: Call, request: rpc.SubmitPackageRequest) -> None:
    """Write down that this part came; of an older revision nothing stays. Raises FAILED_PRECONDITION/REVISION."""
    tx, key = call.tx, (request.exchange, call.caller.agency, request.period)
    row = tx.get(tables.exchange_arrivals, *key)
    number = len(request.records)
    if row is None:
        tx.insert(
            tables.exchange_arrivals, *key, request.revision, not request.more, request.nil, number, tx.now_us
        )  # fmt: skip
        return
    standing = int(row["revision"])
    if request.revision < standing or (request.revision == standing and row["complete"]):
        raise Refusal(
            "FAILED_PRECONDITION",
            "REVISION",
            "this revision or a higher one has come whole: send a correction as the next",
        )
    if request.revision > standing:
        tx.execute(
            delete(tables.exchange_records).where(
                _RECORDS.exchange == key[0], _RECORDS.partner == key[1], _RECORDS.period == key[2]
            )
        )
        h = tables.holdings.c
        tx.execute(
            delete(tables.holdings).where(h.kind == KIND, h.item.startswith(arrival(*key) + "/", autoescape=True))
        )
    else:
        number += int(row["records"])
    tx.update(
        tables.exchange_arrivals, key,
        revision=request.revision, complete=not request.more, nil=request.nil, records=number, updated_us=tx.now_us,
    )  # fmt: skip


def _keep(
    call: Call, request: rpc.SubmitPackageRequest, record: rpc.PackageRecord, definition: Definition, period: Span,
    grace_us: int, response: rpc.SubmitPackageResponse,
) -> None:  # fmt: skip
    """Match one record, and give it to a person where that is not exact or the two sides differ."""
    tx, agency = call.tx, call.caller.agency
    student, school, reason = _match(call, record, definition, period)
    stored = (record.referral, int(record.state), reason)
    if not tx.insert_if_absent(
        tables.exchange_records, request.exchange, agency, request.period, record.source, student, *stored
    ):
        raise Refusal("INVALID_ARGUMENT", "SOURCE", "a record with this `source` came in an earlier part")
    if not reason:
        response.matched += 1
        return
    if reason == _DIFFERS:
        response.differing += 1
    else:
        response.unmatched += 1
    hold(
        tx, f"{arrival(request.exchange, agency, request.period)}/{record.source}", kind=KIND, school=school,
        holder=call.door.registry.holder(school), deadline_us=tx.now_us + grace_us, step=reason.lower(), student=student,
    )  # fmt: skip


def _match(call: Call, record: rpc.PackageRecord, definition: Definition, period: Span) -> tuple[str | None, str, str]:
    """(student, school, reason): exact by the caller's own id and the referral it names, else nobody and why."""
    if record.student.WhichOneof("ref") == "described":
        return None, "", "STUDENT_DESCRIBED"
    try:
        known = call.door.students.resolve(call.reading, call.caller, record.student)
    except Refusal:
        return None, "", "STUDENT_UNKNOWN"
    if not record.referral:
        return known.id, known.school, ""
    row = call.reading.get(tables.referrals, record.referral.removeprefix("referrals/"))
    if row is None or {str(row["sender"]), str(row["recipient"])} != set(definition.parties):
        return None, "", "REFERRAL_UNKNOWN"
    if row["student"] != known.id:
        return None, "", "REFERRAL_OF_ANOTHER"
    ours = call.door.keys.readable(Referral, row, table="referrals")
    differs = ours is None or (record.state and state_at(ours, period) != record.state)
    return known.id, known.school, _DIFFERS if differs else ""
