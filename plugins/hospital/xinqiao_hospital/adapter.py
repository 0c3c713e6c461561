"""One hospital: gives it referrals as FHIR transactions, reads what became of them from its Tasks, pulled or pushed."""

import base64
import binascii
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from xinqiao.adapters.errors import AdapterConfigError, PartnerRefused, RecordRejected
from xinqiao.adapters.listening import server_context
from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.spool import Spool
from xinqiao.api.adapter.v1.adapter_service_pb2 import (
    CapacityRequest,
    CapacityResponse,
    DeliverRequest,
    DeliverResponse,
    ReadResponse,
)
from xinqiao.api.exchange.v1.exchange_pb2 import Package, SignedReceipt
from xinqiao.api.referral.v1.referral_pb2 import Referral, ReferralEvent
from xinqiao.contract.clock import Clock, SystemClock
from xinqiao_hospital import codes, recall
from xinqiao_hospital.bundle import build
from xinqiao_hospital.capacity import CapacityDesk
from xinqiao_hospital.client import FhirClient, revealed
from xinqiao_hospital.desk import Desk
from xinqiao_hospital.drill import is_drill, mark, mark_bundle
from xinqiao_hospital.feed import TaskFeed
from xinqiao_hospital.outcomes import transaction_error
from xinqiao_hospital.pushes import joined, pushed, split
from xinqiao_hospital.r4 import faults, warm
from xinqiao_hospital.receiver import Receiver
from xinqiao_hospital.register import Register, Sent
from xinqiao_hospital.settings import HospitalSettings, ReceiverSettings
from xinqiao_hospital.states import TERMINAL, TaskRefused, check_task, wanted
from xinqiao_hospital.subscription import Subscriber
from xinqiao_hospital.wire import Json, JsonRefused, as_list, as_object, as_text, dump, parse
from xinqiao_hospital.witness import Witness

_CHECK_TIMEOUT_S = 10.0
_WARM_AFTER_S = 2.0
_FHIR_VERSION = "4.0.1"
_TASK_LOCATION = re.compile(r"(?:.*/)?(Task/[A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?")
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")


class HospitalAdapter:
    """A Recipient, Source, Exchanger, Listener and CapacityAware over FHIR R4. Holds no connection between calls."""

    def __init__(self, settings: HospitalSettings, context: AgencyContext, clock: Clock | None = None) -> None:
        now = clock or SystemClock()
        self._settings = settings
        self._context = context
        self._client = FhirClient(settings, context.http, now)
        self._register = Register(context.folder)
        self._feed = TaskFeed(self._client, self._register)
        self._capacity = CapacityDesk(self._client, settings.capacity, now) if settings.capacity else None
        self._spool: Spool | None = None
        self._subscriber: Subscriber | None = None
        self._receiver: Receiver | None = None
        if (door := settings.receiver) is not None:
            self._spool = context.spool("inbox")
            if door.subscribe:
                notify = f"{door.public_url}/notify"
                poll_s = float(door.subscribed_poll_seconds)
                self._subscriber = Subscriber(self._client, notify, self._notice_header, poll_s)
        # Not now, when the gateway starts, and not with the first red case: a moment after.
        self._warming = threading.Timer(_WARM_AFTER_S, warm)
        self._warming.daemon = True
        self._warming.start()

    def check(self) -> str:
        """Read the server's CapabilityStatement; only FHIR 4.0.1 will do."""
        found = self._client.get_whole(f"{self._client.base}/metadata", _CHECK_TIMEOUT_S)
        if found.get("resourceType") != "CapabilityStatement":
            raise PartnerRefused("PARTNER/NOT_FHIR", "metadata is not a CapabilityStatement; check base_url")
        if found.get("fhirVersion") != _FHIR_VERSION:
            raise PartnerRefused("PARTNER/FHIR_VERSION", f"the server does not speak FHIR {_FHIR_VERSION} (R4)")
        return f"FHIR {_FHIR_VERSION}"

    def close(self) -> None:
        """Stop listening."""
        self._warming.cancel()
        if self._receiver is not None:
            self._receiver.close()
            self._receiver = None

    def listen(self) -> None:
        """Open the receiver, if there is to be one. Raises AdapterConfigError when it cannot be had."""
        door = self._settings.receiver
        if door is None or self._spool is None or self._receiver is not None:
            return
        token = _token(door)
        tls = None
        if door.certificate is not None and door.key is not None:
            tls = server_context(door.certificate, door.key, door.client_authority)
        server = self._context.listening.open(door.listen, tls)
        bases = [self._settings.base_url, *([door.public_url] if door.public_url else [])]
        notified = self._subscriber.notified if self._subscriber is not None else lambda: None
        desk = Desk(self._spool, self._register, bases)
        self._receiver = Receiver(server, desk, token=token, tls=tls, notified=notified)

    @property
    def address(self) -> tuple[str, int] | None:
        """Where the receiver listens."""
        return self._receiver.address if self._receiver is not None else None

    def capacity(self, request: CapacityRequest, timeout_s: float) -> CapacityResponse:
        """Whether the hospital has a place; unspecified where the settings do not say how to ask."""
        return self._capacity.ask(request, timeout_s) if self._capacity is not None else CapacityResponse()

    def deliver(self, request: DeliverRequest, timeout_s: float) -> DeliverResponse:
        """Create the referral at the hospital, or tell it of a change; the receipt is ``Task/{id}``."""
        witness = Witness(tuple(request.checkpoints))
        if request.WhichOneof("body") == "referral_update":
            receipt = self._update(request.referral_update, timeout_s, witness, drill=is_drill(request))
            return DeliverResponse(receipt=receipt, checkpoints=witness.echoed)
        if request.WhichOneof("body") == "recall":
            body, entries = transaction(request)
            answer = self._client.write("POST", self._client.base, body, timeout_s, witness=witness)
            return DeliverResponse(receipt=_created_task(answer, entries), checkpoints=witness.echoed)
        if request.WhichOneof("body") != "referral":
            raise RecordRejected(
                "DATA/REQUIRED", "a hospital takes a referral, a change of one or a recall", "DeliverRequest.body"
            )
        body, entries = transaction(request)
        sent = Sent(request.referral.referral.name, request.referral.student.name)
        # Before it is sent: the hospital may push its answer before its receipt is here.
        self._register.note_sent(self._register.sent(sent.referral) or sent)
        answer = self._client.write("POST", self._client.base, body, timeout_s, witness=witness)
        task = _created_task(answer, entries)
        if not task:
            task = f"Task/{self._find(sent.referral, timeout_s)['id']}"
        self._register.note_sent(replace(sent, task=task.removeprefix("Task/")))
        return DeliverResponse(receipt=task, checkpoints=witness.echoed)

    def pushed(self, cursor: str) -> Iterator[ReadResponse]:
        """What was pushed since ``cursor``."""
        return pushed(self._spool, *split(cursor)) if self._spool is not None else iter(())

    def read(self, cursor: str) -> Iterator[ReadResponse]:
        """What became of this gateway's Tasks since ``cursor``, found by asking."""
        feed, marks = split(cursor)
        if self._subscriber is not None and not self._subscriber.due():
            return
        whole = False
        try:
            for item in self._feed.read(feed):
                item.cursor = joined(item.cursor, marks)
                yield item
            whole = True
        finally:
            # Also when the caller left half way, because it could not store an item: the notice stands.
            if not whole and self._subscriber is not None:
                self._subscriber.failed()

    def exchange(self, package: Package, request_id: str, timeout_s: float) -> SignedReceipt | None:
        """Post the package; None while the hospital has only taken note of it (202)."""
        parts = {"manifest": package.manifest, "signature": package.signature, "items": package.items}
        document: Json = {"name": package.name, **{key: base64.b64encode(v).decode() for key, v in parts.items()}}
        answer = self._client.send_package(dump(document), request_id, timeout_s)
        if answer.status in (202, 204):
            return None
        try:
            found = as_object(parse(answer.body).clean())
            return SignedReceipt(receipt=_unpacked(found, "receipt"), signature=_unpacked(found, "signature"))
        except (JsonRefused, binascii.Error):
            raise PartnerRefused(
                "EXCHANGE/RECEIPT", "the receipt must be JSON with 'receipt' and 'signature' in base64"
            ) from None

    def _notice_header(self) -> str | None:
        door = self._settings.receiver
        return f"Authorization: Bearer {revealed(door.token)}" if door is not None and door.token is not None else None

    def _update(self, referral: Referral, timeout_s: float, witness: Witness, *, drill: bool) -> str:
        task = self._find(referral.name, timeout_s)
        receipt = f"Task/{task['id']}"
        resumed = bool(referral.history) and referral.history[-1].event == ReferralEvent.REFERRAL_EVENT_RESUME
        change = wanted(referral.state, resumed, held=task.get("status") == "on-hold")
        if change is None or task.get("status") in TERMINAL:
            return receipt
        status = change.status or as_text(task.get("status"))
        business = codes.business_status(change.business) if change.business else task.get("businessStatus")
        if (status, _codes(business)) == (task.get("status"), _codes(task.get("businessStatus"))):
            return receipt
        version = as_text(as_object(task.get("meta")).get("versionId"))
        written: Json = {**task, "status": status, "meta": _marked(as_object(task.get("meta")), version)}
        if business:
            written["businessStatus"] = business
        written.pop("statusReason", None)
        if referral.state_reason:
            written["statusReason"] = {"text": referral.state_reason}
        if drill:
            written = mark(written)
        match = f'W/"{version}"' if _ID.fullmatch(version) else ""
        self._client.write(
            "PUT", f"{self._client.base}/{receipt}", dump(written), timeout_s, if_match=match, witness=witness
        )
        return receipt

    def _find(self, name: str, timeout_s: float) -> Json:
        """The hospital's Task of a referral, checked."""
        query = f"{quote(codes.REFERRAL, safe='')}%7C{quote(name, safe='')}"
        found = self._client.get_whole(f"{self._client.base}/Task?identifier={query}&_count=2", timeout_s)
        tasks = [as_object(as_object(e).get("resource")) for e in as_list(found.get("entry"))]
        tasks = [task for task in tasks if task.get("resourceType") == "Task"]
        if not tasks:
            raise RecordRejected(
                "PARTNER/UNKNOWN_REFERRAL",
                "the hospital has no Task of this referral; send it again",
                "Task.identifier",
            )
        if len({as_text(task.get("id")) for task in tasks}) > 1 or not _ID.fullmatch(as_text(tasks[0].get("id"))):
            raise RecordRejected("PARTNER/AMBIGUOUS", "the hospital has two Tasks of this referral", "Task.identifier")
        try:
            check_task(tasks[0])
        except TaskRefused as e:
            raise RecordRejected(e.reason, e.message, f"Task.{e.place}") from None
        return tasks[0]


def transaction(request: DeliverRequest) -> tuple[bytes, list[Json]]:
    """The transaction of a new referral or of a recall as bytes, and its entries; judged before it leaves.

    Raises RecordRejected where it cannot be said in FHIR R4: the hospital would refuse it, later and in other words.
    """
    recalled = request.WhichOneof("body") == "recall"
    bundle = (
        recall.build(request.recall, request.request_id) if recalled else build(request.referral, request.request_id)
    )
    if is_drill(request):
        bundle = mark_bundle(bundle)
    wrong = faults(bundle, "Bundle")
    if wrong:
        raise RecordRejected(wrong[0].reason, wrong[0].message, wrong[0].place)
    return dump(bundle), as_list(bundle["entry"])


def _token(door: ReceiverSettings) -> str | None:
    try:
        return revealed(door.token) if door.token is not None else None
    except PartnerRefused as e:
        raise AdapterConfigError(f"receiver.token: {e.message}") from None


def _created_task(answer: Json, sent: Sequence[Json]) -> str:
    """``Task/{id}`` of a transaction-response; empty where the server does not name it."""
    if answer.get("resourceType") != "Bundle" or answer.get("type") != "transaction-response":
        raise PartnerRefused("DATA/PROFILE", "the answer to a transaction must be a transaction-response Bundle")
    wrong = transaction_error(answer, sent)
    if wrong is not None:
        raise wrong
    last = as_object(as_object(as_list(answer.get("entry"))[-1]).get("response"))
    found = _TASK_LOCATION.fullmatch(as_text(last.get("location")))
    return found.group(1) if found else ""


def _codes(concept: Any) -> list[tuple[str, str]]:
    codings = [as_object(coding) for coding in as_list(as_object(concept).get("coding"))]
    return [(as_text(coding.get("system")), as_text(coding.get("code"))) for coding in codings]


def _marked(meta: Json, version: str) -> Json:
    """Tag the write with the version it follows, so that the feed does not bring our own change back as news."""
    tags = [tag for tag in as_list(meta.get("tag")) if as_object(tag).get("system") != codes.WRITTEN]
    return {**meta, "tag": [*tags, {"system": codes.WRITTEN, "code": version}]}


def _unpacked(found: Json, name: str) -> bytes:
    return base64.b64decode(as_text(found.get(name)), validate=True)
