"""One agency behind the platform: hands records in as sharing requests, and asks what became of each ticket."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from xinqiao.adapters import durable
from xinqiao.adapters.errors import AdapterConfigError, PartnerRefused
from xinqiao.adapters.protocols import AgencyContext
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, DeliverResponse, ReadResponse
from xinqiao.api.common.v1.options_pb2 import LANE_CRISIS
from xinqiao.api.exchange.v1.exchange_pb2 import Package, SignedReceipt
from xinqiao.contract.clock import Clock, SystemClock
from xinqiao_gov_share import codes
from xinqiao_gov_share.client import PlatformClient, Request
from xinqiao_gov_share.content import content_of, content_type, from_json, is_drill, message_name, seal
from xinqiao_gov_share.feed import TicketFeed
from xinqiao_gov_share.register import Register, Ticket
from xinqiao_gov_share.settings import CatalogueEntry, GovShareSettings, sealing_key
from xinqiao_gov_share.tickets import Record
from xinqiao_gov_share.wire import WireRefused

_CHECK_TIMEOUT_S = 10.0


class GovShareAdapter:
    """A Recipient, Source and Exchanger over the platform. Holds no connection between calls."""

    def __init__(self, settings: GovShareSettings, context: AgencyContext, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._client = PlatformClient(settings, context.http, self._clock)
        self._register = Register(context.folder)
        self._feed = TicketFeed(settings, self._client, self._register, self._clock)
        self._outgoing = context.folder / "outgoing"
        self._sending = threading.Lock()
        try:
            self._key = sealing_key(settings.seal_to) if settings.seal_to is not None else None
        except (OSError, TypeError, ValueError):
            raise AdapterConfigError(
                "seal_to: not a readable X25519 public key in PEM; ask the agency for it"
            ) from None

    def check(self) -> str:
        """Ask the platform who it is, signed: a wrong secret or clock shows here first."""
        return self._client.status(_CHECK_TIMEOUT_S)

    def close(self) -> None:
        """Nothing is held between calls."""

    def deliver(self, request: DeliverRequest, timeout_s: float) -> DeliverResponse:
        """Hand a record in; the receipt is the platform's ticket (受理编号). Its answer comes with ``read``."""
        contract, name, content = content_of(request)
        ticket = self._submit(
            contract, name, request.request_id, content, content_type(contract, message_name(request)), timeout_s,
            urgent=request.lane == LANE_CRISIS, drill=is_drill(request),
        )  # fmt: skip
        return DeliverResponse(receipt=ticket)

    def read(self, cursor: str) -> Iterator[ReadResponse]:
        """What became of the open tickets since ``cursor``."""
        return self._feed.read(cursor)

    def exchange(self, package: Package, request_id: str, timeout_s: float) -> SignedReceipt | None:
        """Hand a package in as an attachment, then ask for its receipt; None while there is none."""
        content = package.SerializeToString(deterministic=True)
        ticket = self._submit(
            "package", package.name, request_id, content, content_type("package", message_name(package)), timeout_s
        )
        return self._receipt(ticket, request_id, timeout_s)

    def _receipt(self, ticket: str, request_id: str, timeout_s: float) -> SignedReceipt | None:
        try:
            record = Record.of(self._client.ticket(ticket, timeout_s))
            if (record.ticket, record.request_no) != (ticket, request_id):
                raise WireRefused("DATA/SUBJECT_MISMATCH", "another ticket than the one asked for", "data.ticket")
            if record.refusal is not None:
                why = codes.REFUSALS[record.refusal.code]
                raise PartnerRefused("EXCHANGE/REFUSED", f"ticket {ticket}: {why}; {record.refusal.citation}")
            for answer in record.answers:
                if answer.kind == "package_receipt":
                    found: SignedReceipt = from_json(answer.kind, answer.content)
                    return found
        except WireRefused as e:
            raise PartnerRefused(e.reason, f"the platform's answer at {e.place}: {e.message}") from None
        return None

    def _submit(
        self, contract: str, name: str, request_id: str, content: bytes, kind: str, timeout_s: float, *,
        urgent: bool = False, drill: bool = False,
    ) -> str:  # fmt: skip
        known = self._register.of_request(request_id)
        if known is not None:
            return known.ticket
        entry = self._entry(contract)
        kept = self._outgoing / f"{hashlib.sha256(request_id.encode()).hexdigest()[:32]}.sealed"
        if self._key is not None:
            content = self._sealed(kept, content, self._key, entry.id, request_id)
        sent = Request(request_id, contract, entry, content, kind, self._key is not None, urgent, drill)
        ticket = self._client.submit(sent, timeout_s)
        self._register.note(Ticket(ticket, request_id, contract, name, self._clock.now_us(), urgent))
        kept.unlink(missing_ok=True)
        return ticket

    def _entry(self, contract: str) -> CatalogueEntry:
        for name, entry in self._settings.catalogue.items():
            if name == contract:
                return entry
        message = f"catalogue.{contract} is not in the settings; name its catalogue id, or use another road"
        raise PartnerRefused("GOV_SHARE/NO_CATALOGUE", message)

    def _sealed(self, path: Path, content: bytes, key: X25519PublicKey, catalogue: str, request_no: str) -> bytes:
        """Sealing gives other bytes each time, and a repeat must be the same bytes: kept until there is a ticket."""
        with self._sending:
            if path.exists():
                return path.read_bytes()
            path.parent.mkdir(mode=0o700, exist_ok=True)
            data = seal(content, key, catalogue=catalogue, request_no=request_no)
            durable.replace(path, data)
            return data
