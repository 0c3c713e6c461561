"""What goes over the socket pair between the gateway and an adapter's process: ``adapter.v1`` messages in frames.

A frame is a fixed header (length of the payload, call, verb, seconds the call may take) and the payload. Payloads of
the partner's traffic are the messages of ``xinqiao.api.adapter.v1``; a failure is a ``google.rpc.Status`` as that
service answers it. Nothing is unpickled on either side.
"""

import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

from xinqiao.adapters.errors import (
    AdapterConfigError,
    AdapterError,
    PartnerRefused,
    PartnerUnavailable,
    RecordRejected,
)
from xinqiao.api.adapter.v1.adapter_service_pb2 import Rejected

MAX_BYTES: Final = 256 * 2**20
"""Largest payload: a monthly package of a large city."""

WINDOW: Final = 64
"""Items a source may send ahead of what the gateway has taken."""

_HEADER: Final = struct.Struct("!IIBd")
_LENGTH: Final = struct.Struct("!I")
_DOMAIN: Final = "adapter.xinqiao"
_CONFIG: Final = "ADAPTER/CONFIG"
_MAX_TEXT: Final = 500


class Verb(IntEnum):
    """What a frame asks or answers."""

    START = 1  # gateway -> adapter, JSON: names, settings, limits
    CHECK = 2
    DELIVER = 3
    CAPACITY = 4
    READ = 5
    PUSHED = 6
    EXCHANGE = 7
    REPORT = 8
    LISTEN = 9
    CLOSE = 10
    MORE = 11  # as many items as the payload says may follow
    STOP = 12  # no more items are wanted
    DONE = 20  # adapter -> gateway
    ITEM = 21
    FAILED = 22
    LOG = 23
    SEAL = 24  # the gateway holds the key of the agency's inbox
    OPEN = 25


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame."""

    call: int
    verb: int
    payload: bytes = b""
    seconds: float = 0.0


class LinkClosed(Exception):
    """The other side has gone, or does not keep to the form."""


class Link:
    """One end of the socket pair; any thread may send, one receives."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._sending = threading.Lock()
        self._reader = end.makefile("rb")

    def send(self, call: int, verb: Verb, payload: bytes = b"", seconds: float = 0.0) -> None:
        """Raises LinkClosed."""
        if len(payload) > MAX_BYTES:
            raise LinkClosed("a frame is too large")
        try:
            with self._sending:
                self._end.sendall(_HEADER.pack(len(payload), call, verb, seconds) + payload)
        except OSError:
            raise LinkClosed("the other side has gone") from None

    def frames(self) -> Iterator[Frame]:
        """Every frame until the other side goes. Raises LinkClosed for what is none."""
        while (header := self._exactly(_HEADER.size)) is not None:
            length, call, verb, seconds = _HEADER.unpack(header)
            if length > MAX_BYTES:
                raise LinkClosed("a frame is too large")
            payload = self._exactly(length)
            if payload is None:
                return
            yield Frame(call, verb, payload, seconds)

    def close(self) -> None:
        """End it, from the thread that receives."""
        self._reader.close()
        self._end.close()

    def _exactly(self, size: int) -> bytes | None:
        try:
            data = self._reader.read(size)
        except (OSError, ValueError):
            return None
        return data if len(data) == size else None


def pack_many(parts: Sequence[bytes]) -> bytes:
    """Several byte strings as one."""
    return b"".join(_LENGTH.pack(len(part)) + part for part in parts)


def unpack_many(data: bytes) -> list[bytes]:
    """The inverse of ``pack_many``. Raises ValueError."""
    parts: list[bytes] = []
    place = 0
    while place < len(data):
        if place + _LENGTH.size > len(data):
            raise ValueError("cut off")
        (size,) = _LENGTH.unpack_from(data, place)
        place += _LENGTH.size
        if place + size > len(data):
            raise ValueError("cut off")
        parts.append(data[place : place + size])
        place += size
    return parts


def rejections(data: bytes) -> list[Rejected]:
    """What ``report`` was given. Raises ValueError or DecodeError."""
    return [Rejected.FromString(part) for part in unpack_many(data)]


def failure_of(error: AdapterError) -> bytes:
    """``error`` as the service of ``adapter.v1`` answers it."""
    status = status_pb2.Status(message=error.message[:_MAX_TEXT])
    reason = ""
    if isinstance(error, PartnerUnavailable):
        status.code = code_pb2.UNAVAILABLE
        if error.retry_after_s is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromMilliseconds(int(min(max(error.retry_after_s, 0), 86_400) * 1000))
            _add(status, retry)
    elif isinstance(error, RecordRejected):
        status.code, reason = code_pb2.INVALID_ARGUMENT, error.reason
        fields = error_details_pb2.BadRequest()
        fields.field_violations.add(field=str(error.place)[:_MAX_TEXT])
        _add(status, fields)
    else:
        status.code = code_pb2.FAILED_PRECONDITION
        reason = error.reason if isinstance(error, PartnerRefused) else _CONFIG
    if reason:
        _add(status, error_details_pb2.ErrorInfo(reason=str(reason)[:100], domain=_DOMAIN))
    return bytes(status.SerializeToString())


def error_of(payload: bytes) -> AdapterError:
    """The error that ``failure_of`` wrote; what cannot be read is a fault of the adapter."""
    info, fields, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    try:
        status = status_pb2.Status.FromString(payload)
        waits = False
        for packed in status.details:
            waits |= packed.Unpack(retry)
            _ = packed.Unpack(info) or packed.Unpack(fields)
    except DecodeError:
        return PartnerRefused("ADAPTER/BROKEN", "its process answered what cannot be read")
    text = status.message[:_MAX_TEXT]
    if status.code == code_pb2.UNAVAILABLE:
        return PartnerUnavailable(text, retry.retry_delay.ToMilliseconds() / 1000 if waits else None)
    if status.code == code_pb2.INVALID_ARGUMENT:
        place = fields.field_violations[0].field if fields.field_violations else "?"
        return RecordRejected(info.reason, text, place)
    return AdapterConfigError(text) if info.reason == _CONFIG else PartnerRefused(info.reason, text)


def _add(
    status: status_pb2.Status,
    detail: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo,
) -> None:
    packed = Packed()
    packed.Pack(detail)
    status.details.append(packed)
