"""What a hospital's message tells about a referral: RRI^I12 its status, ORU^R01 the outcome."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from xinqiao.api.adapter.v1.adapter_service_pb2 import ReferralUpdate
from xinqiao.api.referral.v1.referral_pb2 import Fitness, Outcome, ReferralEvent
from xinqiao.contract.clock import to_us
from xinqiao.contract.referral_codes import RF1
from xinqiao_hospital.hl7.ack import LOCAL
from xinqiao_hospital.hl7.message import Message, Segment
from xinqiao_hospital.hl7.referral import AUTHORITY, REFERRALS, STUDENTS
from xinqiao_hospital.hl7.refused import Hl7Refused
from xinqiao_hospital.hl7.tables import Status, tables

MAX_TEXT: Final = 2000
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
_PSEUDONYM = re.compile(r"[a-z2-7]{26}", re.ASCII)
_SAFE = re.compile(r"[A-Za-z0-9._-]{1,50}", re.ASCII)
_TEXTS: Final = ("ST", "TX", "FT")
_CODED: Final = ("CE", "CWE", "CNE", "IS", "ID")
_TIMES: Final = ("DT", "TS", "DTM")
_NEED_REASON: Final = (ReferralEvent.REFERRAL_EVENT_DECLINE, ReferralEvent.REFERRAL_EVENT_HOLD)
_SENDERS: Final = (
    ReferralEvent.REFERRAL_EVENT_ASK_RECALL,
    ReferralEvent.REFERRAL_EVENT_CLOSE,
    ReferralEvent.REFERRAL_EVENT_TIME_OUT,
)
_FINAL: Final = ("F", "C", "")
_RETRACTED: Final = ("D", "W", "X", "N")


@dataclass(frozen=True, slots=True)
class News:
    """What a sound message tells. ``update`` is None where it tells nothing to route; ``why`` then says what it is.

    ``report`` names the result report (hashed), so that a correction is known from what it corrects; ``assumed`` lists
    the places of time stamps without a zone, read as Beijing time.
    """

    student: str
    referral: str
    update: ReferralUpdate | None
    why: tuple[str, str, str] = ("", "", "")
    report: str = ""
    corrects: bool = False
    assumed: tuple[str, ...] = field(default=())


def source(message: Message, raw: bytes) -> str:
    """The name of a message for the core: its MSH-10 if that is a plain one, and part of its hash."""
    known = message.control_id
    return f"{message.kind}/{known if _SAFE.fullmatch(known) else '-'}/{hashlib.sha256(raw).hexdigest()[:12]}"


def news(message: Message, status_codes: Mapping[str, str], result_codes: Mapping[str, str]) -> News:
    """Read a RRI^I12 or ORU^R01. Raises Hl7Refused."""
    assumed = [place for segment, number in _TIMED if (place := _assumed(message, segment, number))]
    student = _student(message)
    found = _rri(message, student, status_codes) if message.kind == "RRI" else _oru(message, student, result_codes)
    return replace(found, assumed=tuple(assumed))


_TIMED: Final = (("MSH", 7), ("RF1", 7), ("RF1", 9), ("OBR", 7), ("OBR", 22))


def _assumed(message: Message, name: str, number: int) -> str:
    """The place of a time stamp that has hours but no zone; empty for none. Raises Hl7Refused (AE/DATE)."""
    places = [
        segment.place(number)
        for segment in message.all(name)
        if (at := segment.instant(number)) is not None and at.assumed and at.digits > 8
    ]
    return places[0] if places else ""


def _student(message: Message) -> str:
    """The one pseudonym of ours in PID-3; the hospital's own numbers may stand beside it."""
    pid = message.one("PID")
    ours = {
        parts[0].strip()
        for parts in pid.repetitions(3)
        if len(parts) > 3 and parts[3].partition("&")[0].strip() == AUTHORITY
    }
    if len(ours) != 1:
        why = "exactly one id of this gateway is needed" if ours else "an id of this gateway is needed, as it was sent"
        raise Hl7Refused("AE", "IDENTIFIER", f"{why}: id^^^{AUTHORITY}^PI", pid.place(3))
    if not _PSEUDONYM.fullmatch(student := ours.pop()):
        raise Hl7Refused("AE", "IDENTIFIER", "this is not an id that the gateway gave", pid.place(3))
    return STUDENTS + student


def _referral(segment: Segment, number: int) -> str:
    """``referrals/{id}`` of an entity identifier of ours, empty where the field holds none."""
    for parts in segment.repetitions(number):
        authority = parts[1].strip() if len(parts) > 1 else ""
        if parts[0].strip() and authority in ("", AUTHORITY):
            name = parts[0].strip().removeprefix(REFERRALS)
            if not _ID.fullmatch(name):
                raise Hl7Refused("AE", "IDENTIFIER", "this is not an id that the gateway gave", segment.place(number))
            return REFERRALS + name
    return ""


# -- RRI^I12 --------------------------------------------------------------------------------------------------------


def _rri(message: Message, student: str, own: Mapping[str, str]) -> News:
    rf1 = message.one("RF1")
    referral = _referral(rf1, 6)
    if not referral:
        raise Hl7Refused("AE", "REQUIRED", f"the originating referral id is needed: id^{AUTHORITY}", rf1.place(6))
    event = _event(rf1, own)
    update = ReferralUpdate(referral=referral, event=event)
    reason = "\n".join(text for note in message.all("NTE") if (text := note.text(3))) or rf1.component(10, 2)
    if event in _NEED_REASON and not reason:
        raise Hl7Refused("AE", "REQUIRED", "say why in plain words", "NTE[1]-3")
    if event in (*_NEED_REASON, ReferralEvent.REFERRAL_EVENT_CANCEL, ReferralEvent.REFERRAL_EVENT_WAITLIST):
        update.reason = _bounded(reason, "NTE[1]-3")
    if event == ReferralEvent.REFERRAL_EVENT_SCHEDULE:
        when = rf1.instant(7)
        if when is None or when.digits < 12:
            raise Hl7Refused("AE", "DATE", "give the appointment with its hour and minute", rf1.place(7))
        update.appointment_us = to_us(when.at)
    return News(student, referral, update)


def _event(rf1: Segment, own: Mapping[str, str]) -> ReferralEvent.ValueType:
    parts = [part.strip() for part in rf1.repetitions(1)[0]]
    parts += [""] * (6 - len(parts))
    code, fine, system = parts[0], parts[3], parts[5]
    if not code:
        raise Hl7Refused("AE", "REQUIRED", "a referral status is needed", rf1.place(1))
    status: Status | None = None
    if code in own:
        status = tables().status[own[code]]
    elif fine and system == LOCAL:
        status = tables().status.get(fine)
        if status is None or status.rf1 != code:
            raise Hl7Refused(
                "AE", "CODE", "RF1-1.4 is not a word of the table, or contradicts RF1-1.1", rf1.place(1, 4)
            )
    elif code not in RF1:
        raise Hl7Refused("AE", "CODE", "the referral status is not of table 0283, nor one agreed", rf1.place(1))
    event = status.event if status is not None else ReferralEvent.ValueType(RF1[code])
    if event in _SENDERS:
        raise Hl7Refused("AE", "CODE", "this is the sender's to say, not the hospital's", rf1.place(1))
    return event


# -- ORU^R01 --------------------------------------------------------------------------------------------------------


def _oru(message: Message, student: str, own: Mapping[str, str]) -> News:
    orders = [*((orc, 2) for orc in message.all("ORC")), *((obr, 2) for obr in message.all("OBR"))]
    if not message.all("OBR"):
        raise Hl7Refused("AE", "REQUIRED", "an OBR segment is needed", "OBR")
    named = {found for segment, number in orders if (found := _referral(segment, number))}
    if len(named) > 1:
        raise Hl7Refused("AE", "IDENTIFIER", "one message reports on one referral", "OBR[1]-2")
    results = _results(message, own)
    for obx in message.all("OBX"):
        if obx.component(2) == "NM":
            obx.number(5)
    statuses = {obx.component(11) for _, obx in results}
    if not named:
        return News(student, "", None, ("DATA/NO_REFERRAL", "OBR[1]-2", "the result names no referral of this gateway"))
    referral = named.pop()
    if statuses & set(_RETRACTED):
        return News(
            student, referral, None, ("DATA/RETRACTED", "OBX[1]-11", "the hospital takes a result back: ask it")
        )
    if not statuses <= set(_FINAL):
        return News(student, referral, None, ("DATA/NOT_FINAL", "OBX[1]-11", "only final results are routed"))
    if not results:
        raise Hl7Refused("AE", "CODE", f"no OBX-3 is of {LOCAL}, nor one agreed; nothing is reported", "OBX[1]-3")
    filler = next((text for obr in message.all("OBR") if (text := obr.text(3))), "")
    report = hashlib.sha256(f"{referral}|{filler}".encode()).hexdigest() if filler else ""
    update = ReferralUpdate(
        referral=referral, event=ReferralEvent.REFERRAL_EVENT_REPORT_OUTCOME, outcome=_outcome(results)
    )
    return News(student, referral, update, report=report, corrects="C" in statuses)


def _results(message: Message, own: Mapping[str, str]) -> list[tuple[str, Segment]]:
    """The OBX of our code table, or of the hospital's agreed codes. Where one was corrected, only its corrections."""
    found: list[tuple[str, Segment]] = []
    for obx in message.all("OBX"):
        parts = [part.strip() for part in obx.repetitions(3)[0]]
        pairs = [(parts[at], parts[at + 2]) for at in (0, 3) if len(parts) > at + 2]
        word = next((code for code, system in pairs if system == LOCAL and code in tables().results), "")
        word = word or own.get(parts[0], "")
        if word:
            found.append((word, obx))
    corrected = {(word, obx.component(4)) for word, obx in found if obx.component(11) == "C"}
    return [(word, obx) for word, obx in found if (word, obx.component(4)) not in corrected or obx.component(11) == "C"]


def _outcome(results: list[tuple[str, Segment]]) -> Outcome:
    outcome = Outcome()
    for word, obx in results:
        if word == "fitness":
            outcome.fitness = _fitness(obx)
        elif word == "next-visit":
            outcome.next_visit = _day(obx)
        else:
            name = word.replace("-", "_")
            before = str(getattr(outcome, name))
            text = _text(obx)
            setattr(outcome, name, _bounded(f"{before}\n{text}" if before else text, obx.place(5)))
    return outcome


def _text(obx: Segment) -> str:
    kind = obx.component(2)
    if kind in _TEXTS:
        text = obx.text(5)
    elif kind in _CODED:
        text = "\n".join(parts[1] or parts[0] if len(parts) > 1 else parts[0] for parts in obx.repetitions(5)).strip()
    else:
        raise Hl7Refused("AE", "TYPE", f"OBX-2 must be one of {', '.join((*_TEXTS, *_CODED))}", obx.place(2))
    if text in ("", '""'):
        raise Hl7Refused("AE", "REQUIRED", "the result holds no text", obx.place(5))
    return text


def _fitness(obx: Segment) -> Fitness.ValueType:
    code = obx.component(5)
    if code not in tables().fitness:
        raise Hl7Refused("AE", "CODE", f"fitness is one of {', '.join(tables().fitness)}", obx.place(5))
    return tables().fitness[code]


def _day(obx: Segment) -> str:
    if obx.component(2) not in _TIMES:
        raise Hl7Refused("AE", "TYPE", f"OBX-2 must be one of {', '.join(_TIMES)}", obx.place(2))
    at = obx.instant(5)
    if at is None or at.digits < 8:
        raise Hl7Refused("AE", "DATE", "give the whole date, year, month and day", obx.place(5))
    return at.at.date().isoformat()


def _bounded(text: str, place: str) -> str:
    if len(text) > MAX_TEXT:
        raise Hl7Refused("AE", "TOO_LONG", f"the text is longer than {MAX_TEXT} characters", place)
    return text


# -- REF^I12, as whoever is referred to reads it ------------------------------------------------------------------------


def referral_in(message: Message) -> list[str]:
    """Check what a REF^I12 must tell; the places of time stamps without a zone. Raises Hl7Refused."""
    rf1 = message.one("RF1")
    rf1.needed(1)
    rf1.needed(6)
    roles = {prd.needed(1) for prd in message.all("PRD")}
    if not {"RP", "RT"} <= roles:
        raise Hl7Refused("AE", "REQUIRED", "a PRD of each role RP and RT is needed", "PRD[1]-1")
    pid = message.one("PID")
    pid.needed(3)
    for name, numbers in (("NTE", (3,)), ("DG1", (3,)), ("OBX", (3,)), ("NK1", (2, 3, 5))):
        for segment in message.all(name):
            for number in numbers:
                segment.repetitions(number)
    for obx in message.all("OBX"):
        if obx.component(2) == "NM":
            obx.number(5)
        else:
            obx.repetitions(5)
    return [place for segment, number in _TIMED if (place := _assumed(message, segment, number))]
