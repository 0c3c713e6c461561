"""The gateway contract: what an operator watches, and the dead letters an operator puts back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from xinqiao import __version__
from xinqiao.adapters.agency import AgencyHandle
from xinqiao.api.common.v1.options_pb2 import Lane
from xinqiao.api.common.v1.types_pb2 import Holding, Phone
from xinqiao.api.gateway.v1 import gateway_service_pb2 as rpc
from xinqiao.contract.errors import Refusal
from xinqiao.delivery.workers import close_dead, retry_dead
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.records import newest
from xinqiao.exchange.arrivals import is_of_books
from xinqiao.journal.checkpoint import STOP_AFTER_US, unsigned_since
from xinqiao.server.keyring import Keyring
from xinqiao.server.recorder import Recorder
from xinqiao.server.repairs import Repairs
from xinqiao.store import tables
from xinqiao.store.claims import DeliveryState
from xinqiao.store.errors import KeyGone
from xinqiao.store.holdings import drop
from xinqiao.store.keys import KeyStore
from xinqiao.store.sql import RowMapping, func
from xinqiao.store.tx import ReadTx

_LATE_US: Final = 300_000_000  # five checkpoints missed
_MEND: Final = (
    "请查看签名密钥文件、协签设备和 `xinqiao journal verify`",
    "look at the signing key's file, the cosigners, and `xinqiao journal verify`",
)
_LATE: Final = (
    "存证日志已有 {minutes} 分钟未签名（{why}）；满 4 小时将停止常规外发。" + _MEND[0],
    "the journal has had no signature for {minutes} minutes ({why}); after 4 hours routine sending stops: " + _MEND[1],
)
_STOPPED: Final = (
    "常规外发已停止：存证日志已有 {minutes} 分钟未签名（{why}）；危机通道照常。" + _MEND[0],
    "routine sending is stopped: the journal has had no signature for {minutes} minutes ({why}); the crisis lane goes "
    "on: " + _MEND[1],
)


class GatewayRoom:
    """The functions behind ``GatewayService``."""

    def __init__(
        self, deployment: str, agencies: Mapping[str, AgencyHandle], phones: Sequence[Phone],
        signing_failure: Callable[[], str], keyring: Keyring, repairs: Repairs, recorder: Recorder,
    ) -> None:  # fmt: skip
        """``phones`` are the numbers for an emergency that no hospital has confirmed, in order; ``signing_failure``
        says in a word why the journal is not signed, or is empty."""
        self._signing_failure = signing_failure
        self.rotate_keys = keyring.rotate_keys
        self.get_keys = keyring.get_keys
        self.destroy_retired_keys = keyring.destroy_retired_keys
        self.list_repairs = repairs.list_repairs
        self.record_traffic = recorder.record_traffic
        self.phones = phones
        self._deployment = deployment
        self._agencies = agencies

    def get_status(self, request: rpc.GetStatusRequest, call: Call) -> rpc.GetStatusResponse:
        """Counts and states; never a record."""
        d, h = tables.deliveries.c, tables.holdings
        response = rpc.GetStatusResponse(
            deployment=self._deployment,
            version=__version__,
            policy_version=call.door.policy.version,
            holdings=call.reading.scalar(h.select().with_only_columns(func.count(h.c.item))) or 0,
            overdue=call.reading.scalar(
                h.select().with_only_columns(func.count(h.c.item)).where(h.c.deadline_us < call.reading.now_us)
            )
            or 0,
            time_us=call.reading.now_us,
            to_telephone=call.reading.scalar(
                h.select().with_only_columns(func.count(h.c.item)).where(h.c.step == "phone")
            )
            or 0,
        )
        if response.to_telephone:
            response.phones.extend(self.phones)
        for agency, handle in sorted(self._agencies.items()):
            response.agencies.add(agency=agency, adapter=handle.kind, state=handle.state, message=handle.message)
        response.problems.extend(self._unsigned(call.reading))
        open_states = [int(DeliveryState.PENDING), int(DeliveryState.RUNNING)]
        waiting = tables.deliveries.select().with_only_columns(d.lane, func.count().label("n"))
        for row in call.reading.all(waiting.where(d.state.in_(open_states)).group_by(d.lane)):
            response.waiting[Lane.Name(Lane.ValueType(row["lane"]))] = row["n"]
        return response

    def _unsigned(self, reading: ReadTx) -> Iterator[rpc.Problem]:
        """Whether the journal waits too long for its signature."""
        since = unsigned_since(reading)
        age_us = reading.now_us - since if since is not None else 0
        if since is None or age_us < _LATE_US:
            return
        stopped = age_us > STOP_AFTER_US
        why = self._signing_failure() or "NOT_RUN"
        zh, en = _STOPPED if stopped else _LATE
        minutes = age_us // 60_000_000
        yield rpc.Problem(
            code="ROUTINE_STOPPED" if stopped else "JOURNAL_UNSIGNED", since_us=since,
            text_zh=zh.format(minutes=minutes, why=why), text_en=en.format(minutes=minutes, why=why),
        )  # fmt: skip

    def list_deliveries(self, request: rpc.ListDeliveriesRequest, call: Call) -> rpc.ListDeliveriesResponse:
        """Newest first."""
        d = tables.deliveries.c
        wanted = d.state == int(DeliveryState.DEAD) if request.dead_only else d.state > 0
        rows, following = newest(call, tables.deliveries, request, wanted)
        return rpc.ListDeliveriesResponse(deliveries=[delivery_of(row) for row in rows], next_page_token=following)

    def begin_shadow_run(self, request: rpc.BeginShadowRunRequest, call: Call) -> rpc.BeginShadowRunResponse:
        """One journal row for the processing, before anything is read."""
        a = tables.assessments.c
        wanted = (a.created_us >= request.since_us) & (a.created_us <= call.tx.now_us)
        forms = call.tx.scalar(tables.assessments.select().with_only_columns(func.count()).where(wanted)) or 0
        call.journal(
            "triage.shadowed", resource=f"triage-packs/{request.pack}", reason=f"forms:{forms} sha256:{request.digest}"
        )
        return rpc.BeginShadowRunResponse(until_us=call.tx.now_us, forms=forms)

    def retry_delivery(self, request: rpc.RetryDeliveryRequest, call: Call) -> rpc.RetryDeliveryResponse:
        """Put a dead delivery back."""
        row = retry_dead(call.tx, request.name.removeprefix("deliveries/"))
        call.journal("delivery.retried", resource=request.name)
        return rpc.RetryDeliveryResponse(delivery=delivery_of(row))

    def close_holding(self, request: rpc.CloseHoldingRequest, call: Call) -> rpc.CloseHoldingResponse:
        """Close by hand what no other call can close."""
        row = call.tx.get(tables.holdings, request.item)
        if row is None:
            raise Refusal("NOT_FOUND", "HOLDING", "no such open item")
        student = str(row["student"] or "")
        erased = bool(student) and _erased(call.door.keys, student)
        if row["kind"] == "delivery":
            close_dead(call.tx, request.item.removeprefix("deliveries/"))
        elif row["kind"] != "intake" and not is_of_books(request.item) and not erased:
            raise Refusal("FAILED_PRECONDITION", "OWN_CALL", "its own call closes this kind of item: use that one")
        drop(call.tx, request.item)
        holding = Holding(
            item=row["item"], kind=row["kind"], holder=row["holder"], deadline_us=row["deadline_us"],
            step=row["step"], tier=row["tier"], escalations=row["escalations"], opened_us=row["opened_us"],
        )  # fmt: skip
        if student:
            call.view(holding, student=student, relation="PARTY")
        call.journal("holding.closed", resource=request.item, student=student or None, reason=request.reason)
        return rpc.CloseHoldingResponse(holding=holding)


def _erased(keys: KeyStore, student: str) -> bool:
    try:
        keys.sealer(student)
    except KeyGone:
        return True
    return False


def delivery_of(row: RowMapping) -> rpc.Delivery:
    """A delivery without its content."""
    return rpc.Delivery(
        name=f"deliveries/{row['id']}", recipient=row["recipient"], lane=row["lane"], kind=row["kind"],
        item=row["item"], state=row["state"], attempt=row["attempt"], not_before_us=row["not_before_us"],
        last_reason=row["last_reason"], receipt=row["receipt"],
    )  # fmt: skip
