"""One hospital over HL7 v2: gives it referrals as REF^I12, brings back what its RRI^I12 and ORU^R01 tell."""

from collections.abc import Iterator

from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.adapters.listening import server_context
from xinqiao.adapters.protocols import AgencyContext, Exchanger
from xinqiao.adapters.sockets import client_context
from xinqiao.adapters.spool import SpoolFull
from xinqiao.api.adapter.v1.adapter_service_pb2 import (
    CapacityRequest,
    CapacityResponse,
    DeliverRequest,
    DeliverResponse,
    ReadResponse,
)
from xinqiao.api.exchange.v1.exchange_pb2 import Package, SignedReceipt
from xinqiao.contract.clock import Clock, SystemClock
from xinqiao_hospital.drill import is_drill
from xinqiao_hospital.hl7.client import MllpClient
from xinqiao_hospital.hl7.message import Message
from xinqiao_hospital.hl7.mllp import Listener
from xinqiao_hospital.hl7.receiver import Receiver, check_header
from xinqiao_hospital.hl7.referral import control_id, referral_message, update_message
from xinqiao_hospital.hl7.refused import Hl7Refused
from xinqiao_hospital.hl7.settings import Hl7Settings
from xinqiao_hospital.hl7.structure import check_structure

_CHECK_TIMEOUT_S = 10.0


class Hl7Hospital:
    """A Recipient, Source and Listener over MLLP; monthly packages go where ``packages`` takes them, over HTTPS."""

    reads_spool_only = True

    def __init__(
        self,
        settings: Hl7Settings,
        context: AgencyContext,
        clock: Clock | None = None,
        packages: Exchanger | None = None,
    ) -> None:
        self._settings = settings
        self._packages = packages
        self._context = context
        tls = (
            client_context(settings.tls_authority, settings.tls_certificate, settings.tls_key) if settings.tls else None
        )
        self._client = MllpClient(settings, context.sockets, tls)
        self.receiver = Receiver(settings, context, clock or SystemClock())
        self._listener: Listener | None = None

    def check(self) -> str:
        """Open a connection; MLLP has no question to ask."""
        self._client.reach(_CHECK_TIMEOUT_S)
        return f"MLLP, HL7 v2.5.1, {self._settings.charset}"

    def close(self) -> None:
        """Stop listening; a message that is arriving is finished."""
        self._client.close()
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def listen(self) -> None:
        """Open the listener, if there is to be one. Raises AdapterConfigError when the address cannot be had."""
        if self._listener is not None or not self._settings.listen:
            return
        settings, tls = self._settings, None
        if settings.tls and settings.tls_certificate is not None and settings.tls_key is not None:
            tls = server_context(settings.tls_certificate, settings.tls_key, settings.tls_authority)
        listening = self._context.listening.open(settings.listen, tls)
        self._listener = Listener(
            listening, self.receiver.answer, self.receiver.refuse, settings.limits, peers=settings.peers, tls=tls
        )

    @property
    def port(self) -> int:
        """Where it listens, 0 for nowhere."""
        return self._listener.port if self._listener is not None else 0

    def capacity(self, request: CapacityRequest, timeout_s: float) -> CapacityResponse:
        """HL7 v2 has no question for it that hospitals here answer: not known."""
        return CapacityResponse()

    def deliver(self, request: DeliverRequest, timeout_s: float) -> DeliverResponse:
        """Send the referral, or a change of one; the receipt is the hospital's number, or the MSH-10 it acknowledged."""
        control = control_id(request.request_id)
        kind = request.WhichOneof("body")
        if kind == "referral":
            body: bytes | None = referral_message(
                request.referral, request.request_id, self._settings, drill=is_drill(request)
            )
            self.receiver.sent.note(request.referral.referral.name, request.referral.student.name)
        elif kind == "referral_update":
            body = update_message(request.referral_update, request.request_id, self._settings, drill=is_drill(request))
        else:
            raise RecordRejected(
                "DATA/REQUIRED",
                "HL7 v2 has no message for this, as for a recall: ask the hospital in writing",
                "DeliverRequest.body",
            )
        if body is None:
            return DeliverResponse(receipt=f"MSH-10/{control}")
        check_structure(body.decode(self._settings.encoding))
        answer, raw = self._client.send(body, control, timeout_s)
        return DeliverResponse(receipt=self._answered(answer, raw) or f"MSH-10/{control}")

    def read(self, cursor: str) -> Iterator[ReadResponse]:
        """What the hospital sent and the gateway does not have yet, oldest first."""
        return self.receiver.items(cursor)

    def exchange(self, package: Package, request_id: str, timeout_s: float) -> SignedReceipt | None:
        """HL7 v2 has no message for packages: they go to ``exchange_url``, where the settings give one."""
        if self._packages is None:
            raise PartnerRefused("EXCHANGE/NOT_CONFIGURED", "give exchange_url: HL7 v2 carries no monthly packages")
        return self._packages.exchange(package, request_id, timeout_s)

    def _answered(self, answer: Message, raw: bytes) -> str:
        """Keep an RRI that came as the answer, and return the hospital's own number of the referral in it, if any.

        The referral is delivered whatever is wrong with what the RRI tells: that is listed for a person to look at.
        """
        if answer.kind != "RRI" or not answer.all("RF1"):
            return ""
        try:
            check_header(answer, self._settings)
            self.receiver.keep(answer, raw, self.receiver.told(answer))
            number = answer.one("RF1").component(11)
        except Hl7Refused as e:
            self.receiver.list_refusal(e)
            return ""
        except (SpoolFull, OSError):
            # A repeat brings the same answer again; without one, what it told would be lost.
            raise PartnerUnavailable("the hospital's answer could not be kept on disk; sent again later") from None
        return f"RF1-11/{number}" if number.isascii() and number.isprintable() and 0 < len(number) <= 100 else ""
