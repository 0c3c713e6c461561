"""What people look at before and after a run: what a partner would get, and what became of each item."""

from collections.abc import Iterator, Mapping
from typing import Final

from google.protobuf.message import Message

from xinqiao.api.common.v1.options_pb2 import FIELD_CLASS_AGGREGATE, PURPOSE_RECONCILIATION, ROLE_OPERATOR
from xinqiao.api.exchange.v1 import exchange_pb2 as pb
from xinqiao.api.exchange.v1 import exchange_service_pb2 as rpc
from xinqiao.contract.errors import Refusal
from xinqiao.contract.paging import page_size, position, token
from xinqiao.contract.workdays import WorkCalendar
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import denial, kept_back
from xinqiao.disclosure.registry import Partner
from xinqiao.exchange import runs
from xinqiao.exchange.items import belongs, judge, member, select_page, views_of
from xinqiao.exchange.parts import Places
from xinqiao.exchange.periods import Span, length_of, shift, span
from xinqiao.exchange.runs import Definition, Key
from xinqiao.exchange.view import Selected, Verdict
from xinqiao.store import tables
from xinqiao.store.sql import RowMapping, select

_GONE: Final = "gone"  # no record's name
_ITEM = tables.exchange_items.c


def admit(call: Call) -> None:
    """Counts are egress too. Raises the door's refusal for a caller that may not have them now."""
    reason = barred(call, call.caller)
    if reason:
        raise denial(reason, call.caller, PURPOSE_RECONCILIATION, None)


def barred(call: Call, partner: Partner) -> str:
    """Why not even counts may go to ``partner`` now; empty when they may."""
    mask, denials = call.door.permitted(
        call.reading, recipient=partner, purpose=PURPOSE_RECONCILIATION, student=None, relation="PARTY"
    )
    return "" if mask >> FIELD_CLASS_AGGREGATE & 1 else denials[FIELD_CLASS_AGGREGATE].reason


def receivers(definition: Definition) -> list[str]:
    """The parties that receive something, once each, in the order of the datasets."""
    return list(dict.fromkeys(dataset.to for dataset in definition.datasets))


def preview(
    request: rpc.PreviewExchangeRequest, call: Call, definitions: Mapping[str, Definition], calendar: WorkCalendar
) -> rpc.PreviewExchangeResponse:
    """A page of what ``request.partner`` would get; see the contract."""
    admit(call)
    definition = definitions.get(request.exchange)
    if definition is None:
        raise Refusal("NOT_FOUND", "EXCHANGE", "no such exchange is configured")
    partners = receivers(definition)
    recipient = call.door.registry.find(request.partner or partners[0])
    if recipient is None or recipient.agency not in partners:
        raise Refusal("INVALID_ARGUMENT", "PARTNER", "this partner receives nothing of this exchange")
    if length_of(request.period) != definition.period:
        raise Refusal("INVALID_ARGUMENT", "PERIOD", f"this exchange is settled by the {definition.period}")
    period = span(request.period, calendar)
    if call.reading.now_us < period.from_us:
        raise Refusal("INVALID_ARGUMENT", "PERIOD", "the period has not begun yet (Beijing time)")
    before = _last_run(call, Key(request.exchange, recipient.agency, request.period), calendar)
    response = rpc.PreviewExchangeResponse(
        partner=recipient.agency, partners=partners, barred=barred(call, recipient)
    )  # fmt: skip
    size, after = page_size(request.page_size), position(request.page_token)
    if after is None or after[1] != _GONE:
        page, following = select_page(
            call.reading, call.door, views_of(definition, recipient.agency), definition.parties, period, after, size
        )
        response.items.extend(_would_go(call, recipient, period, before, page))
        response.next_page_token = token(*following) if following is not None else token(0, _GONE) if before else ""
    elif before is not None:
        rows = _page(call, before, after[0], size)
        response.items.extend(_gone(call, rows[:size], period))
        if len(rows) > size:
            response.next_page_token = token(int(rows[size]["ordinal"]), _GONE)
    return response


def list_items(request: rpc.ListExchangeItemsRequest, call: Call) -> rpc.ListExchangeItemsResponse:
    """The items of a run: any for an operator, the caller's own for a partner."""
    admit(call)
    run = call.reading.get(tables.exchange_runs, request.run.partition("/runs/")[2])
    known = run is not None and runs.name_of(run) == request.run
    if run is None or not known or not (ROLE_OPERATOR in call.caller.roles or run["partner"] == call.caller.agency):
        raise Refusal("NOT_FOUND", "RUN", "no such run for this caller")
    size, after = page_size(request.page_size), position(request.page_token)
    wanted = select(tables.exchange_items).where(_ITEM.run == run["id"], _ITEM.ordinal >= (after[0] if after else 0))
    if request.with_reason:
        wanted = wanted.where(_ITEM.reason != "")
    rows = call.reading.all(wanted.order_by(_ITEM.ordinal).limit(size + 1))
    response = rpc.ListExchangeItemsResponse()
    for row in rows[:size]:
        item = rpc.RunItem(
            item=row["item"], packed=row["place"] is not None, ordinal=row["place"] or 0, outcome=row["outcome"],
            reason=row["reason"],
        )  # fmt: skip
        call.view(item, student=row["student"], relation="PARTY")
        response.items.append(item)
    if len(rows) > size:
        response.next_page_token = token(int(rows[size]["ordinal"]), "item")
    return response


def _would_go(
    call: Call, recipient: Partner, period: Span, before: str | None, page: list[Selected]
) -> Iterator[rpc.PreviewItem]:
    known = _sent_before(call, before, [each.item for each in page])
    places = Places(call.reading, before or "")
    for chosen in page:
        old = known.get(chosen.item)
        # Its old place, so that the same content has the same bytes.
        ordinal = places(int(old["place"] or 0))[1] if old is not None else 0
        verdict = judge(call.reading, call.door, recipient, chosen, period, ordinal)
        change = rpc.ITEM_CHANGE_NEW
        if old is not None:
            same = bytes(old["digest"]) == verdict.digest
            change = rpc.ITEM_CHANGE_SAME if same else rpc.ITEM_CHANGE_CHANGED
        yield _shown(call, chosen, verdict, change)


def _shown(call: Call, chosen: Selected, verdict: Verdict, change: rpc.ItemChange.ValueType) -> rpc.PreviewItem:
    """An item as the caller may see it: first cut to what the partner would get, then to what the caller may have."""
    shown = rpc.PreviewItem(
        item=chosen.item, outcome=pb.ItemOutcome.ValueType(verdict.outcome), reason=verdict.reason, change=change,
        withheld=kept_back(verdict.kept, verdict.denials),
    )  # fmt: skip
    if verdict.item is not None:
        verdict.item.ClearField("ordinal")
        shown.fields.extend(_paths(verdict.item))
        shown.content.CopyFrom(verdict.item)
        # The partner's own name for the student would let two partners' lists be joined by whoever sees both.
        body = verdict.item.WhichOneof("body")
        if body in ("referral", "entry"):
            getattr(shown.content, body).student = call.door.students.name(call.caller.agency, chosen.student)
    call.view(shown, student=chosen.student or None, relation="PARTY")
    return shown


def _gone(call: Call, rows: list[RowMapping], period: Span) -> Iterator[rpc.PreviewItem]:
    for row in rows:
        old = member(row)
        if not belongs(call.reading, call.door, old.item, period):
            yield _shown(call, old, Verdict(pb.ITEM_OUTCOME_UNSPECIFIED), rpc.ITEM_CHANGE_GONE)


def _last_run(call: Call, key: Key, calendar: WorkCalendar) -> str | None:
    """The id of the newest run of the period before that has a package."""
    try:
        earlier = shift(key.period, -1, calendar)
    except Refusal:  # there is none
        return None
    c = tables.exchange_runs.c
    row = call.reading.one(
        select(c.id)
        .where(c.exchange == key.exchange, c.partner == key.partner, c.period == earlier, c.manifest.is_not(None))
        .order_by(c.revision.desc())
        .limit(1)
    )
    return None if row is None else str(row["id"])


def _sent_before(call: Call, run: str | None, items: list[str]) -> dict[str, RowMapping]:
    if run is None or not items:
        return {}
    wanted = select(tables.exchange_items).where(_ITEM.run == run, _ITEM.item.in_(items))
    return {str(row["item"]): row for row in call.reading.all(wanted.where(_ITEM.outcome == pb.ITEM_OUTCOME_SENT))}


def _page(call: Call, run: str, first: int, size: int) -> list[RowMapping]:
    wanted = select(tables.exchange_items).where(
        _ITEM.run == run, _ITEM.outcome == pb.ITEM_OUTCOME_SENT, _ITEM.ordinal >= first
    )
    return list(call.reading.all(wanted.order_by(_ITEM.ordinal).limit(size + 1)))


def _paths(message: Message, prefix: str = "") -> list[str]:
    """The fields that hold something, by path; of a repeated one the number stands with it."""
    found: list[str] = []
    for field, value in message.ListFields():
        path = prefix + field.name
        if field.is_repeated:
            found.append(f"{path}[{len(value)}]")
        elif field.message_type is not None:
            found += _paths(value, f"{path}.")
        else:
            found.append(path)
    return found
