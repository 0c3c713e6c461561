"""Judges one webhook: the signature first, then what it says; acknowledged only when it is on disk."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from xinqiao.adapters.spool import Spool, SpoolFull
from xinqiao.api.adapter.v1.adapter_service_pb2 import Origin, ReadResponse, ReferralUpdate, Rejected
from xinqiao.api.referral.v1.referral_pb2 import Outcome, ReferralEvent
from xinqiao.contract.clock import Clock
from xinqiao_police import cap
from xinqiao_police.handoff import CallFacts, UsedTokens, open_token
from xinqiao_police.messages import BASES, EVENTS, Alert, Call, Progress, Said, signal, understand
from xinqiao_police.settings import PoliceSettings, Wire
from xinqiao_police.signature import NotSigned, verify
from xinqiao_police.wire import CAP, JSON, MAX_BODY, Envelope, Json, NotUnderstood, is_object, parse, read_json

_TYPES: Mapping[str, tuple[str, ...]] = {"json": (JSON,), "cap": (CAP, "application/xml", "text/xml")}
_BUSY_S: Final = 5
_WORDS: Final = {"pending": "spooled", "done": "stored", "unknown": "unknown"}
"""What the centre may know of an alert: `stored` is with a named person of the gateway's, on a clock."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to the centre: HTTP status and JSON."""

    status: int
    body: Json
    retry_s: int = 0


@dataclass(frozen=True, slots=True)
class Keys:
    """Secrets, as bytes."""

    verify: tuple[bytes, ...]
    handoff: tuple[bytes, ...] = ()


class Desk:
    """What was agreed with one centre. ``keys`` reads the secrets afresh, so that a rotated one needs no restart."""

    def __init__(
        self, settings: PoliceSettings, spool: Spool, used: UsedTokens, keys: Callable[[], Keys], clock: Clock
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._used = used
        self._keys = keys
        self._clock = clock

    def take(self, headers: Mapping[str, str], content_type: str, body: bytes) -> Reply:
        """A webhook. ``headers`` has lower-case names."""
        now_us = self._clock.now_us()
        try:
            keys = self._keys()
            message_id = verify(keys.verify, headers, body, now_us / 1e6)
        except NotSigned as e:
            return refused(401, e.reason, "headers", e.message)
        if content_type not in _TYPES[self._settings.wire]:
            return refused(415, "DATA/FILE_TYPE", "Content-Type", f"send {_TYPES[self._settings.wire][0]}")
        return self._keep(message_id, body, keys, now_us)

    def take_file(self, body: bytes) -> Reply:
        """A message that came as a file; its content is its id."""
        message_id = f"file:{hashlib.sha256(body).hexdigest()}"
        if len(body) > MAX_BODY:
            return refused(413, "DATA/TOO_LARGE", "file", f"longer than {MAX_BODY} bytes")
        return self._keep(message_id, body, self._keys(), self._clock.now_us())

    def _keep(self, message_id: str, body: bytes, keys: Keys, now_us: int) -> Reply:
        kept = f"{self._settings.wire}\n".encode() + body
        try:
            if self._spool.state(message_id) == "unknown" and not self._judge(body, message_id, keys, now_us):
                return Reply(200, {"status": "pong"})
            verdict = self._spool.put(message_id, kept)
        except NotUnderstood as e:
            return refused(409 if e.reason == "TOKEN/USED" else 400, e.reason, e.place, e.message)
        except (SpoolFull, OSError):
            return refused(503, "GATEWAY/BUSY", "", "it could not be kept; send it again", retry_s=_BUSY_S)
        if verdict == "other":
            return refused(409, "KEY_REUSED", "webhook-id", "this id came before with other content")
        return Reply(202 if verdict == "new" else 200, {"status": _WORDS[self._spool.state(message_id)]})

    def status(self, headers: Mapping[str, str], content_type: str, body: bytes) -> Reply:
        """How far the webhook of an id is: unknown, spooled, stored. The question is signed too."""
        try:
            verify(self._keys().verify, headers, body, self._clock.now_us() / 1e6)
            asked = parse(body).get("webhook") if content_type == JSON else None
        except NotSigned as e:
            return refused(401, e.reason, "headers", e.message)
        except NotUnderstood as e:
            return refused(400, e.reason, e.place, e.message)
        if not isinstance(asked, str):
            return refused(400, "DATA/REQUIRED", "webhook", f'{JSON}: {{"webhook": "<its webhook-id>"}}')
        return Reply(200, {"status": _WORDS[self._spool.state(asked)]})

    def _judge(self, body: bytes, message_id: str, keys: Keys, now_us: int) -> bool:
        """Whether there is anything to keep. Raises NotUnderstood, OSError."""
        envelope = read(self._settings.wire, body)
        said = understand(envelope, now_us)
        if said is None:
            return False
        call = None
        if isinstance(said, Call):
            call = opened(said, self._settings, keys, now_us / 1e6)
        brought(envelope, said, self._settings, call, source="")  # what would be too long then is refused now
        if call is not None:
            self._used.take(call, message_id, now_us / 1e6)
        return True


def read(wire: Wire, body: bytes) -> Envelope:
    """The envelope in a body. Raises NotUnderstood."""
    return cap.read(body) if wire == "cap" else read_json(body)


def opened(said: Call, settings: PoliceSettings, keys: Keys, now_s: float | None) -> CallFacts:
    """What the call's token carries. Raises NotUnderstood."""
    if not keys.handoff:
        raise NotUnderstood("TOKEN/NOT_AGREED", "data.token", "no hand-off key is agreed; send an alert instead")
    return open_token(keys.handoff, said.token, audience=settings.sender, call=said.alert, now_s=now_s)


def brought(
    envelope: Envelope, said: Said, settings: PoliceSettings, call: CallFacts | None, *, source: str
) -> ReadResponse:
    """What the gateway is brought. An exercise of the centre's raises no alarm: a person sees that it came.

    Raises NotUnderstood.
    """
    if isinstance(said, Progress):
        update = ReferralUpdate(
            referral=said.request, event=EVENTS[envelope.type], reason=said.reason, source=f"{said.request}/{source}"
        )
        if update.event == ReferralEvent.REFERRAL_EVENT_REPORT_OUTCOME:
            update.reason = ""
            update.outcome.CopyFrom(Outcome(school_advice=said.reason))
        return ReadResponse(referral=update)
    report = signal(said, envelope, settings, **_of_call(said, call))
    if envelope.drill:
        why = "an exercise of the 110 centre arrived and raises no alarm; tell the centre that it came"
        return ReadResponse(rejected=Rejected(source="drill", place="drill", reason="DRILL", message=why))
    alert = f"alert/{said.alert}"
    return ReadResponse(signal=report, origin=Origin(source=alert, places=["data"], series=alert, last=True))


def _of_call(said: Alert, call: CallFacts | None) -> dict[str, str]:
    if not isinstance(said, Call) or call is None:
        return {}
    line = f"三方通话 three-way call{f' {call.line}' if call.line else ''}: {'、'.join(said.parties) or '110'}"
    words = {"GIVEN": "来电人同意 the caller agreed", "REFUSED": "来电人不同意 the caller did not agree"}
    agreed = words.get(said.consent, "未征询来电人 the caller was not asked")
    number = f"来电号码 calling number {call.origin_number}" if call.origin_number else ""
    extra = f"{line}; {agreed}; 定位依据 location by: {BASES[call.basis]}"
    return {"location": call.location, "more": number, "extra": extra}


def refused(status: int, reason: str, place: str, message: str, *, retry_s: int = 0) -> Reply:
    """A refusal that says why, where and how to mend it."""
    return Reply(status, {"error": {"reason": reason, "place": place, "message": message}}, retry_s)


def status_of(body: object) -> str:
    """The word of a ``Reply``'s body, for a centre that reads it."""
    found = body.get("status") if is_object(body) else None
    return found if isinstance(found, str) else ""
