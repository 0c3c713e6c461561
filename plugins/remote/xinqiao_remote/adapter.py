"""The gateway's client of one partner's adapter service."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import grpc

from xinqiao.adapters.errors import AdapterConfigError
from xinqiao.adapters.protocols import AgencyContext
from xinqiao.api.adapter.v1.adapter_service_pb2 import (
    CapacityRequest,
    CapacityResponse,
    CheckRequest,
    DeliverRequest,
    DeliverResponse,
    ExchangeRequest,
    ReadRequest,
    ReadResponse,
)
from xinqiao.api.adapter.v1.adapter_service_pb2_grpc import AdapterServiceStub
from xinqiao.api.exchange.v1.exchange_pb2 import Package, SignedReceipt
from xinqiao_remote.settings import RemoteSettings
from xinqiao_remote.wire import error_of

_CHECK_TIMEOUT_S: Final = 10.0
_READ_TIMEOUT_S: Final = 3600.0
_MAX_BYTES: Final = 64 * 2**20
_OPTIONS: Final[Sequence[tuple[str, int | str]]] = (
    ("grpc.enable_http_proxy", 0),  # no *_PROXY may lead a record elsewhere
    ("grpc.enable_retries", 0),  # the gateway tries again, and writes each try down
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.max_receive_message_length", _MAX_BYTES),
    ("grpc.max_send_message_length", _MAX_BYTES),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.service_config", '{"loadBalancingConfig": [{"pick_first": {}}]}'),
    ("grpc.service_config_disable_resolution", 1),  # nor may a TXT record say how to call
)


class RemoteAdapter:
    """Recipient, Source, Exchanger and CapacityAware; the partner keeps all state. One channel, made when first used."""

    def __init__(self, settings: RemoteSettings, context: AgencyContext) -> None:
        options = [*_OPTIONS]
        if settings.server_name:
            options.append(("grpc.ssl_target_name_override", settings.server_name))
        if settings.authority is None:
            self._channel = grpc.insecure_channel(settings.address, options)
        else:
            credentials = grpc.ssl_channel_credentials(
                _pem(settings.authority), _pem(settings.key), _pem(settings.certificate)
            )
            self._channel = grpc.secure_channel(settings.address, credentials, options)
        self._stub = AdapterServiceStub(self._channel)

    def check(self) -> str:
        """What the partner's service says it is, in printable characters."""
        try:
            peer = self._stub.Check(CheckRequest(), timeout=_CHECK_TIMEOUT_S).peer
        except grpc.RpcError as error:
            failure = error_of(error)
        else:
            return "".join(ch for ch in peer[:100] if ch.isprintable()) or "xinqiao.api.adapter.v1"
        raise failure

    def capacity(self, request: CapacityRequest, timeout_s: float) -> CapacityResponse:
        """Ask the partner for capacity."""
        try:
            return self._stub.Capacity(request, timeout=timeout_s)
        except grpc.RpcError as error:
            failure = error_of(error)
        raise failure

    def deliver(self, request: DeliverRequest, timeout_s: float) -> DeliverResponse:
        """Hand one record over; the receipt is the partner's."""
        try:
            return self._stub.Deliver(request, timeout=timeout_s)
        except grpc.RpcError as error:
            failure = error_of(error)
        raise failure

    def read(self, cursor: str) -> Iterator[ReadResponse]:
        """What the partner's service streams from ``cursor`` on; leaving early cancels the stream."""
        call = self._stub.Read(ReadRequest(cursor=cursor), timeout=_READ_TIMEOUT_S)
        try:
            yield from call
            return
        except grpc.RpcError as error:
            failure = error_of(error)
        finally:
            call.cancel()
        raise failure

    def exchange(self, package: Package, request_id: str, timeout_s: float) -> SignedReceipt | None:
        """Hand a package over; None while the partner has no receipt."""
        try:
            answer = self._stub.Exchange(ExchangeRequest(request_id=request_id, package=package), timeout=timeout_s)
        except grpc.RpcError as error:
            failure = error_of(error)
        else:
            return answer.receipt if answer.HasField("receipt") else None
        raise failure

    def close(self) -> None:
        """Close the channel; calls under way end."""
        self._channel.close()


def _pem(path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise AdapterConfigError(f"{path.name if path else ''} cannot be read ({error.strerror})") from None
