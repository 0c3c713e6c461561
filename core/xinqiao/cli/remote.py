"""A client of a running gateway: the operator's certificate, one deadline, refusals as they were sent."""

import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol, TypeVar, cast

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from xinqiao.cli.files import load_settings, partner_certificate
from xinqiao.cli.texts import Texts
from xinqiao.config.settings import Gateway
from xinqiao.contract.errors import Refusal, Status, Violation

DEADLINE_S: Final = 30.0
# A listener on every interface is reached on this machine's own.
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104, nothing is bound here
_STATUSES: Final[dict[grpc.StatusCode, Status]] = {
    grpc.StatusCode.INVALID_ARGUMENT: "INVALID_ARGUMENT",
    grpc.StatusCode.FAILED_PRECONDITION: "FAILED_PRECONDITION",
    grpc.StatusCode.NOT_FOUND: "NOT_FOUND",
    grpc.StatusCode.ALREADY_EXISTS: "ALREADY_EXISTS",
    grpc.StatusCode.PERMISSION_DENIED: "PERMISSION_DENIED",
    grpc.StatusCode.UNAUTHENTICATED: "UNAUTHENTICATED",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "RESOURCE_EXHAUSTED",
    grpc.StatusCode.ABORTED: "ABORTED",
    grpc.StatusCode.UNIMPLEMENTED: "UNIMPLEMENTED",
    grpc.StatusCode.UNAVAILABLE: "UNAVAILABLE",
    grpc.StatusCode.DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
}

Q_contra = TypeVar("Q_contra", contravariant=True)
A_co = TypeVar("A_co", covariant=True)
Q = TypeVar("Q")
A = TypeVar("A")
T = TypeVar("T")


class Rpc(Protocol[Q_contra, A_co]):
    """One method of a generated stub."""

    def __call__(self, request: Q_contra, timeout: float | None = None) -> A_co: ...


class _Status(Protocol):
    """What is used of `google.rpc.Status`."""

    message: str
    details: Sequence[Packed]


class Remote:
    """An open channel to one gateway."""

    def __init__(self, texts: Texts, config: Path, channel: grpc.Channel, address: str) -> None:
        self._texts = texts
        self._config = config
        self._address = address
        self.channel: Final = channel

    def call(self, rpc: Rpc[Q, A], request: Q) -> A:
        """Ask, waiting at most thirty seconds. Raises Refusal as the gateway sent it, or UNAVAILABLE where none is."""
        try:
            return rpc(request, timeout=DEADLINE_S)
        except grpc.RpcError as error:
            raise self._refusal(error) from None

    def pages(self, ask: Callable[[int, str], tuple[list[T], str]], limit: int) -> list[T]:
        """Up to ``limit`` items of a list RPC; ``ask(page_size, page_token)`` gives a page and the next token."""
        found: list[T] = []
        token = ""
        while len(found) < limit:
            page, token = ask(min(1000, limit - len(found)), token)
            found += page
            if not token:
                break
        return found[:limit]

    def _refusal(self, error: grpc.RpcError) -> Refusal:
        if not isinstance(error, grpc.Call):
            return Refusal("INTERNAL", "CLIENT", type(error).__name__)
        # Neither package ships types.
        status = cast("_Status | None", rpc_status.from_call(error))  # pyright: ignore[reportUnknownMemberType]
        code = _STATUSES.get(error.code(), "INTERNAL")
        if status is None and code == "UNAVAILABLE":
            return Refusal(
                "UNAVAILABLE", "NOT_RUNNING", self._texts("not_running", address=self._address, file=self._config)
            )
        if status is None:
            return Refusal(code, "", str(error.details() or code))
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        for detail in status.details:
            if not detail.Unpack(info):
                detail.Unpack(bad)
        violations = tuple(Violation(each.field, each.reason, each.description) for each in bad.field_violations)
        return Refusal(code, info.reason, f"{status.message} [{info.reason or code}]", violations=violations)


@contextmanager
def connect(texts: Texts, config: Path, partner: str, address: str) -> Generator[Remote]:
    """Connect as ``partner`` (empty: the first operator) to ``address`` (empty: as configured).

    Raises ConfigError, and Refusal where the partner, its certificate or the address is not to be had.
    """
    settings = load_settings(texts, config)
    name = _partner(texts, settings, config, partner)
    certificate, key = partner_certificate(settings, name)
    for path in (settings.server.tls.ca, certificate, key):
        if not path.exists():
            raise Refusal("FAILED_PRECONDITION", "CONFIG", texts("no_certificate", file=path))
    where = address or _address(texts, settings)
    credentials = grpc.ssl_channel_credentials(
        settings.server.tls.ca.read_bytes(), key.read_bytes(), certificate.read_bytes()
    )
    # The name in the gateway's own certificate, whatever address it is reached at.
    options = (("grpc.ssl_target_name_override", "localhost"),)
    with grpc.secure_channel(where, credentials, options) as channel:
        yield Remote(texts, config, channel, where)


def request_id() -> str:
    """A new id for a mutation."""
    return f"cli-{uuid.uuid4().hex}"


def _partner(texts: Texts, settings: Gateway, config: Path, partner: str) -> str:
    if partner:
        if partner not in settings.partners:
            raise Refusal("INVALID_ARGUMENT", "USAGE", texts("no_partner", file=config))
        return partner
    for name, entry in settings.partners.items():
        if "OPERATOR" in entry.roles:
            return name
    raise Refusal("INVALID_ARGUMENT", "USAGE", texts("no_operator"))


def _address(texts: Texts, settings: Gateway) -> str:
    host, _, port = settings.server.listen.rpartition(":")
    if port == "0":
        raise Refusal("INVALID_ARGUMENT", "USAGE", texts("no_port"))
    return f"{_LOOPBACK.get(host, host)}:{port}"
