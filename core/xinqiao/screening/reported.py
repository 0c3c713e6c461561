"""What an agency that reported something may ask about it: how far it has come, and nothing else."""

from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao.api.screening.v1 import screening_service_pb2 as rpc
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.store import tables
from xinqiao.store.sql import RowMapping

_IDENTIFIED = int(pb.ALERT_STATE_IDENTIFIED)
_OPEN = int(pb.ALERT_STATE_OPEN)


def get_signal_state(request: rpc.GetSignalStateRequest, call: Call, door: Door) -> rpc.GetSignalStateResponse:
    """The state of the caller's own report.

    An alert that was identified goes on as its signal, on the alert's own time, so that the answer does not tell whether
    the description fitted anybody. Raises Refusal NOT_FOUND/SIGNAL.
    """
    collection, _, identifier = request.name.partition("/")
    alert = _alert(call, door, identifier) if collection == "alerts" else None
    if alert is None or alert["state"] == _IDENTIFIED:
        found = _signal(call, door, identifier if alert is None else _became(door, alert))
        state, subject = pb.SignalState.ValueType(int(found["state"])), str(found["student"])
    else:
        found, subject = alert, identifier
        state = pb.SIGNAL_STATE_OPEN if alert["state"] == _OPEN else pb.SIGNAL_STATE_RESOLVED
    since_us = (alert or found)["created_us"] if state == pb.SIGNAL_STATE_OPEN else found["updated_us"]
    response = rpc.GetSignalStateResponse(state=state, time_us=int(since_us))
    call.view(response, student=subject, relation="PARTY")
    return response


def _alert(call: Call, door: Door, identifier: str) -> RowMapping:
    row = call.reading.get(tables.alerts, identifier)
    reporter = door.registry.find(str(row["reporter"])) if row is not None else None
    if row is None or reporter is None or reporter.agency != call.caller.agency:
        raise _unknown()
    return row


def _became(door: Door, alert: RowMapping) -> str:
    identifier = str(alert["id"])
    sealer = door.keys.sealer(identifier)
    return sealer.record(
        pb.Alert, bytes(alert["sealed"]), table="alerts", key=identifier
    ).signal.removeprefix("signals/")  # fmt: skip


def _signal(call: Call, door: Door, identifier: str) -> RowMapping:
    row = call.reading.get(tables.signals, identifier)
    signal = door.keys.readable(pb.Signal, row, table="signals") if row is not None else None
    if row is None or signal is None or signal.reporter != call.caller.agency:
        raise _unknown()
    return row


def _unknown() -> Refusal:
    return Refusal("NOT_FOUND", "SIGNAL", "no such report of this caller")
