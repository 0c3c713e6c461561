"""What a gRPC answer that is no success means for the gateway; the partner's words are never passed on."""

import re
from typing import Any, Final, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from xinqiao.adapters.errors import AdapterError, PartnerRefused, PartnerUnavailable, RecordRejected

_DETAILS: Final = "grpc-status-details-bin"
_REASON: Final = re.compile(r"[A-Z][A-Z0-9_]{0,62}(/[A-Z0-9_]{1,62})?", re.ASCII)
_PLACE: Final = re.compile(r"[A-Za-z0-9_.\[\]]{1,200}", re.ASCII)
_OWN: Final = ("ADAPTER/", "EGRESS/")
_MAX_WAIT_S: Final = 86_400.0

_LATER: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)
"""As 429 and 5xx: the same call may succeed later."""


def error_of(error: grpc.RpcError) -> AdapterError:
    """The error that says what the gateway does next."""
    call = cast("grpc.Call", error)
    code = call.code()
    details = _details(call)
    if code in _LATER:
        return PartnerUnavailable(f"the partner's service answered {code.name}; tried again later", details.wait_s)
    if code == grpc.StatusCode.INVALID_ARGUMENT:
        why = "the partner's service rejects this record; ask what it expects at this place"
        return RecordRejected(details.reason or "PARTNER/INVALID_ARGUMENT", why, details.place or "request")
    why = f"the partner's service answered {code.name}; ask its administrator"
    return PartnerRefused(details.reason or f"PARTNER/{code.name}", why)


class _Details:
    """What the richer error model carries (``google.rpc.Status``), as far as it can be trusted."""

    def __init__(self) -> None:
        self.reason = ""
        self.place = ""
        self.wait_s: float | None = None


def _details(call: grpc.Call) -> _Details:
    found = _Details()
    for key, value in cast("Any", call.trailing_metadata()) or ():
        if key == _DETAILS and isinstance(value, bytes):
            try:
                status = status_pb2.Status.FromString(value)
                for packed in status.details:
                    _take(found, packed)
            except DecodeError:  # what cannot be read says nothing
                continue
    return found


def _take(found: _Details, packed: Any) -> None:
    info, fields, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    if packed.Unpack(info):
        if _REASON.fullmatch(info.reason) and not info.reason.startswith(_OWN):
            found.reason = info.reason
    elif packed.Unpack(fields):
        for violation in fields.field_violations[:1]:
            found.place = violation.field if _PLACE.fullmatch(violation.field) else ""
    elif packed.Unpack(retry):
        found.wait_s = min(max(retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9, 0.0), _MAX_WAIT_S)
