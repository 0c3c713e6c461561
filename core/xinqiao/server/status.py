"""The gateway contract: what an operator watches, and the dead letters an operator puts back."""

from collections.abc import Mapping, Sequence

from xinqiao import __version__
from xinqiao.adapters.agency import AgencyHandle
from xinqiao.api.common.v1.options_pb2 import Lane
from xinqiao.api.common.v1.types_pb2 import Phone
from xinqiao.api.gateway.v1 import gateway_service_pb2 as rpc
from xinqiao.delivery.workers import retry_dead
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.records import newest
from xinqiao.store import tables
from xinqiao.store.claims import DeliveryState
from xinqiao.store.sql import RowMapping, func


class GatewayRoom:
    """The functions behind ``GatewayService``."""

    def __init__(
        self, deployment: str, policy_version: str, agencies: Mapping[str, AgencyHandle], phones: Sequence[Phone]
    ) -> None:
        """``phones`` are the numbers for an emergency that no hospital has confirmed, in order."""
        self._phones = phones
        self._deployment = deployment
        self._policy_version = policy_version
        self._agencies = agencies

    def get_status(self, request: rpc.GetStatusRequest, call: Call) -> rpc.GetStatusResponse:
        """Counts and states; never a record."""
        d, h = tables.deliveries.c, tables.holdings
        response = rpc.GetStatusResponse(
            deployment=self._deployment,
            version=__version__,
            policy_version=self._policy_version,
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
            response.phones.extend(self._phones)
        for agency, handle in sorted(self._agencies.items()):
            response.agencies.add(agency=agency, adapter=handle.kind, state=handle.state, message=handle.message)
        open_states = [int(DeliveryState.PENDING), int(DeliveryState.RUNNING)]
        waiting = tables.deliveries.select().with_only_columns(d.lane, func.count().label("n"))
        for row in call.reading.all(waiting.where(d.state.in_(open_states)).group_by(d.lane)):
            response.waiting[Lane.Name(Lane.ValueType(row["lane"]))] = row["n"]
        return response

    def list_deliveries(self, request: rpc.ListDeliveriesRequest, call: Call) -> rpc.ListDeliveriesResponse:
        """Newest first."""
        d = tables.deliveries.c
        wanted = d.state == int(DeliveryState.DEAD) if request.dead_only else d.state > 0
        rows, following = newest(call, tables.deliveries, request, wanted)
        return rpc.ListDeliveriesResponse(deliveries=[_delivery(row) for row in rows], next_page_token=following)

    def retry_delivery(self, request: rpc.RetryDeliveryRequest, call: Call) -> rpc.RetryDeliveryResponse:
        """Put a dead delivery back."""
        row = retry_dead(call.tx, request.name.removeprefix("deliveries/"))
        call.journal("delivery.retried", resource=request.name)
        return rpc.RetryDeliveryResponse(delivery=_delivery(row))


def _delivery(row: RowMapping) -> rpc.Delivery:
    return rpc.Delivery(
        name=f"deliveries/{row['id']}", recipient=row["recipient"], lane=row["lane"], kind=row["kind"],
        item=row["item"], state=row["state"], attempt=row["attempt"], not_before_us=row["not_before_us"],
        last_reason=row["last_reason"], receipt=row["receipt"],
    )  # fmt: skip
