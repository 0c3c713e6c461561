"""A partner that serves ``xinqiao.api.adapter.v1``: in Python here, in any language at the partner."""

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NoReturn

import grpc
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf import json_format
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from xinqiao.api.adapter.v1.adapter_service_pb2 import (
    CapacityRequest,
    CapacityResponse,
    CheckRequest,
    CheckResponse,
    DeliverRequest,
    DeliverResponse,
    ExchangeRequest,
    ExchangeResponse,
    ReadRequest,
    ReadResponse,
    ReferralUpdate,
    Rejected,
)
from xinqiao.api.adapter.v1.adapter_service_pb2_grpc import (
    AdapterServiceServicer,
    add_AdapterServiceServicer_to_server,
)
from xinqiao.api.exchange.v1.exchange_pb2 import Manifest, Receipt, SignedReceipt
from xinqiao.api.referral.v1.referral_pb2 import ReferralEvent
from xinqiao.contract.clock import Clock, SystemClock
from xinqiao.testing.line import PLAYS, Line
from xinqiao.testing.simulators import Faults

_STATUS: Final = {
    "unavailable": (grpc.StatusCode.UNAVAILABLE, code_pb2.UNAVAILABLE),
    "throttled": (grpc.StatusCode.RESOURCE_EXHAUSTED, code_pb2.RESOURCE_EXHAUSTED),
    "unauthorized": (grpc.StatusCode.UNAUTHENTICATED, code_pb2.UNAUTHENTICATED),
    "forbidden": (grpc.StatusCode.PERMISSION_DENIED, code_pb2.PERMISSION_DENIED),
    "unprocessable": (grpc.StatusCode.INVALID_ARGUMENT, code_pb2.INVALID_ARGUMENT),
}
_NEWS: Final = (ReferralEvent.REFERRAL_EVENT_RECEIVE, ReferralEvent.REFERRAL_EVENT_ACCEPT)
_BROUGHT: Final = frozenset({"wrong_code", "duplicate", "out_of_order"})


class RemoteSimulator(AdapterServiceServicer):
    """Serves on 127.0.0.1 over a line that can be cut; ``folder`` gets the manifest of what it may be given."""

    def __init__(self, folder: Path, *, clock: Clock | None = None) -> None:
        self._folder = folder
        self._clock = clock or SystemClock()
        self._faults = Faults()
        self._lock = threading.Lock()
        self._kept: dict[str, DeliverRequest] = {}
        self._packages: dict[str, SignedReceipt] = {}
        self._news: list[ReadResponse] = []
        self._key = Ed25519PrivateKey.generate()
        self._server: Any = None
        self._line: Line | None = None

    # -- the Simulator protocol ---------------------------------------------------------------------------------------

    def start(self) -> dict[str, Any]:
        """Serve; the settings that make the adapter talk to it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        manifest = self._folder / "manifest.yaml"
        manifest.write_text(_MANIFEST, "utf-8")
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        add_AdapterServiceServicer_to_server(self, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self._line = Line("127.0.0.1", port)
        return {"address": self._line.open(), "manifest": str(manifest)}

    def stop(self) -> None:
        """Stop serving; harmless when not started."""
        if self._line is not None:
            self._line.close()
        if self._server is not None:
            self._server.stop(0.2).wait()
        self._server = self._line = None

    def receipt_public_key_pem(self) -> bytes:
        """The key of its receipts."""
        return self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    # -- the Rehearsed protocol ---------------------------------------------------------------------------------------

    @property
    def plays(self) -> frozenset[str]:
        """Everything."""
        return PLAYS | frozenset(_STATUS) | _BROUGHT

    def play(self, fault: str, *, times: int = 1, seconds: float = 0.0) -> None:
        """Play a fault, on the line where it is one of a line."""
        where = self._line if fault in PLAYS and self._line is not None else self._faults
        where.play(fault, times=times, seconds=seconds)

    def calm(self) -> None:
        """End every fault."""
        self._faults.calm()
        if self._line is not None:
            self._line.calm()

    def effects(self) -> list[str]:
        """The records and packages it has."""
        with self._lock:
            shown = [json_format.MessageToJson(each, ensure_ascii=False) for each in self._kept.values()]
            return [*shown, *self._packages]

    def bring(self, count: int) -> None:
        """Receive and accept the referrals it has, until there are ``count`` news."""
        with self._lock:
            names = [each.referral.referral.name for each in self._kept.values() if each.HasField("referral")]
            for number in range(max(count, len(names) * len(_NEWS))):
                name = names[number // len(_NEWS) % len(names)] if names else f"referrals/{number}"
                update = ReferralUpdate(
                    referral=name, event=_NEWS[number % len(_NEWS)], source=f"news/{len(self._news) + 1}"
                )
                self._news.append(ReadResponse(cursor=str(len(self._news) + 1), referral=update))
            if self._faults.take("wrong_code") is not None:
                wrong = Rejected(source="news", place="event", reason="PARTNER/CODE", message="no event of this code")
                self._news.append(ReadResponse(cursor=str(len(self._news) + 1), rejected=wrong))

    # -- the service --------------------------------------------------------------------------------------------------

    def Check(self, request: CheckRequest, context: grpc.ServicerContext) -> CheckResponse:
        self._trouble(context)
        return CheckResponse(peer="simulated adapter service 1")

    def Capacity(self, request: CapacityRequest, context: grpc.ServicerContext) -> CapacityResponse:
        return CapacityResponse()

    def Deliver(self, request: DeliverRequest, context: grpc.ServicerContext) -> DeliverResponse:
        self._trouble(context)
        with self._lock:
            known = self._kept.setdefault(request.request_id, request)
            if _content(known) != _content(request):
                _abort(context, grpc.StatusCode.FAILED_PRECONDITION, code_pb2.FAILED_PRECONDITION, "KEY_REUSED")
            return DeliverResponse(receipt=f"record/{list(self._kept).index(request.request_id) + 1}")

    def Read(self, request: ReadRequest, context: grpc.ServicerContext) -> Iterator[ReadResponse]:
        self._trouble(context)
        with self._lock:
            news = self._news[int(request.cursor or 0) :]
        if self._faults.take("duplicate") is not None:
            news = [each for each in news for _ in range(2)]
        if self._faults.take("out_of_order") is not None:
            # The newer first, under the cursors of the older: a cursor never passes what is still to come.
            cursors = [each.cursor for each in news]
            news = [_with_cursor(each, cursor) for each, cursor in zip(reversed(news), cursors, strict=True)]
        yield from news

    def Exchange(self, request: ExchangeRequest, context: grpc.ServicerContext) -> ExchangeResponse:
        self._trouble(context)
        digest = hashlib.sha256(request.package.manifest).digest()
        with self._lock:
            signed = self._packages.get(digest.hex())
            if signed is None:
                manifest = Manifest.FromString(request.package.manifest)
                receipt = Receipt(
                    manifest_sha256=digest, accepted=manifest.items, receive_time_us=self._clock.now_us(),
                    checkpoint=manifest.checkpoint, checkpoints=manifest.checkpoints,
                ).SerializeToString(deterministic=True)  # fmt: skip
                signed = SignedReceipt(receipt=receipt, signature=self._key.sign(receipt))
                self._packages[digest.hex()] = signed
        return ExchangeResponse(receipt=signed)

    def _trouble(self, context: grpc.ServicerContext) -> None:
        for fault, (code, number) in _STATUS.items():
            seconds = self._faults.take(fault)
            if seconds is not None:
                _abort(context, code, number, "ON_COMMAND", wait_s=seconds)


def _abort(
    context: grpc.ServicerContext, code: grpc.StatusCode, number: Any, reason: str, *, wait_s: float = 0.0
) -> NoReturn:
    """End the call with a google.rpc.Status, as a partner in any language does."""
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=reason, domain="simulator")]
    violation = error_details_pb2.BadRequest.FieldViolation(field="referral.referral.reason")
    details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if wait_s:
        details.append(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=int(wait_s))))
    status = status_pb2.Status(code=number, message="on command", details=[_packed(each) for each in details])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, "on command")
    raise AssertionError


def _packed(message: Message) -> Packed:
    packed = Packed()
    packed.Pack(message)
    return packed


def _content(request: DeliverRequest) -> bytes:
    """What is the same in every try."""
    once = DeliverRequest()
    once.CopyFrom(request)
    once.ClearField("attempt")
    once.ClearField("checkpoints")
    return once.SerializeToString(deterministic=True)


def _with_cursor(item: ReadResponse, cursor: str) -> ReadResponse:
    made = ReadResponse()
    made.CopyFrom(item)
    made.cursor = cursor
    return made


_MANIFEST: Final = """\
domain: simulated
api: 1
names: {zh: 模拟的远程机构, en: Simulated remote agency}
partner_kind: hospital
capabilities: [check, deliver, read, exchange]
contracts:
  written:
    - {contract: referral, classes: [CASE_REF, IDENTITY, CONTACT, TIER, REFERRAL_REASON, CRISIS_FACT]}
    - {contract: referral_update, classes: [CASE_REF, REFERRAL_REASON]}
    - {contract: recall, classes: [CASE_REF]}
    - {contract: package, classes: [AGGREGATE, CASE_REF]}
  read:
    - {contract: referral, classes: [CASE_REF, REFERRAL_REASON]}
hosts: the address in the settings
legal_bases: [consent]
"""
