"""The gateway's side of the hospital's messages: judge, put on disk, and only then acknowledge."""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Final

from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.spool import Item, SpoolFull
from xinqiao.api.adapter.v1.adapter_service_pb2 import Origin, ReadResponse, Rejected
from xinqiao.contract.clock import BEIJING, Clock, from_us
from xinqiao_hospital.hl7.ack import Party, acknowledgment, header
from xinqiao_hospital.hl7.charset import declaration
from xinqiao_hospital.hl7.message import Message, parse, written
from xinqiao_hospital.hl7.notebook import Notebook
from xinqiao_hospital.hl7.refused import Hl7Refused
from xinqiao_hospital.hl7.settings import Hl7Settings
from xinqiao_hospital.hl7.updates import News, news, source

TAKEN: Final = (("RRI", "I12"), ("RRI", "I13"), ("RRI", "I14"), ("ORU", "R01"))
_MESSAGE: Final = b"M"
_REFUSED: Final = b"R"
_MSH_9 = re.compile(r"[A-Z]{3}(\^[A-Z0-9]{3}){0,1}(\^[A-Z0-9_]{3,10})?", re.ASCII)
_ENHANCED: Final = ("AL", "ER", "SU")
"""MSH-15: the sender counts on a commit acknowledgment (CA, CE, CR), which is what ours are: kept, not yet judged."""
_ORDINAL = re.compile(r"\[[0-9]+\]| [0-9]+$", re.ASCII)
_CONTROL = re.compile(r"[!-~]{1,199}", re.ASCII)


class Receiver:
    """Takes messages of one hospital into its spool. Safe from several threads."""

    def __init__(self, settings: Hl7Settings, context: AgencyContext, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        folder = context.folder
        self.spool = context.spool("hl7-inbox")
        self.sent = Notebook(folder / "hl7-referrals")
        """Which student each referral sent is about, so that an answer about another student is noticed."""
        self._corrected = Notebook(folder / "hl7-corrected")

    # -- answers ----------------------------------------------------------------------------------------------------

    def answer(self, raw: bytes) -> bytes:
        """The acknowledgment of one message. AA means: it is on disk, or it was before."""
        message: Message | None = None
        try:
            message = self.checked(raw)
            found = self.told(message)
            self.keep(message, raw, found)
        except Hl7Refused as e:
            self.list_refusal(e)
            return self._reply(e.code, message, raw, [e])
        except (SpoolFull, OSError):
            full = Hl7Refused("AE", "BUSY", "the message could not be kept; send it again later", "MSH")
            return self._reply("AE", message, raw, [full])
        return self._reply("AA", message, raw, [_zone_note(place) for place in found.assumed])

    def refuse(self, refused: Hl7Refused) -> bytes:
        """The acknowledgment of a frame that held no message."""
        self.list_refusal(refused)
        return self._reply(refused.code, None, b"", [refused])

    def checked(self, raw: bytes) -> Message:
        """A message whose header is as agreed. Raises Hl7Refused."""
        message = parse(raw, self._settings.encoding)
        check_header(message, self._settings)
        return message

    def told(self, message: Message) -> News:
        """What the message tells, if this gateway takes its kind. Raises Hl7Refused."""
        if (message.kind, message.trigger) not in TAKEN:
            raise Hl7Refused("AR", "MESSAGE_TYPE", "RRI^I12 and ORU^R01 are taken", "MSH-9")
        found = news(message, self._settings.status_codes, self._settings.result_codes)
        if found.referral and self.sent.contradicts(found.referral, found.student):
            raise Hl7Refused("AE", "IDENTIFIER", "the referral is about another student", "PID-3")
        return found

    def keep(self, message: Message, raw: bytes, found: News) -> None:
        """Put a sound message on disk. Raises Hl7Refused (AR/KEY_REUSED), SpoolFull or OSError."""
        if self.spool.put(self._key(message), _MESSAGE + raw) == "other":
            raise Hl7Refused("AR", "KEY_REUSED", "another message came with this MSH-10", "MSH-10")
        if found.corrects and found.report:
            self._corrected.note(found.report)

    # -- what the core reads ----------------------------------------------------------------------------------------

    def items(self, cursor: str) -> Iterator[ReadResponse]:
        """What the core does not have yet, oldest first; a cursor that comes back removes what it covers."""
        self.spool.settle(cursor)
        for item in self.spool.each():
            response = self._refusal(item) if item.data[:1] == _REFUSED else self._news(item.data[1:])
            response.cursor = self.spool.mark(item.number)
            yield response

    def _news(self, raw: bytes) -> ReadResponse:
        try:
            message = parse(raw, self._settings.encoding)
            name = source(message, raw)
            found = self.told(message)
        except Hl7Refused as e:  # It was sound when it came: the settings are others now
            name = f"hl7v2@{hashlib.sha256(raw).hexdigest()[:12]}"
            return _rejected(name, f"DATA/{e.reason}", e.place, e.message)
        if found.update is None:
            return _rejected(name, *found.why)
        if found.report and not found.corrects and self._corrected.knows(found.report):
            why = "an older version of a report that the hospital has corrected; the correction is what counts"
            return _rejected(name, "DATA/SUPERSEDED", "OBX[1]-11", why)
        found.update.source = name
        return ReadResponse(referral=found.update, origin=Origin(source=name, places=["MSH-10"]))

    def _refusal(self, item: Item) -> ReadResponse:
        found: dict[str, str] = json.loads(item.data[1:])
        # One name for all of them: the hospital was told, and one duty to look is enough.
        return _rejected(f"hl7v2@{item.key[:12]}", f"DATA/{found['reason']}", found["place"], found["message"])

    # -- inside -----------------------------------------------------------------------------------------------------

    def _key(self, message: Message) -> str:
        msh = message.header
        return "|".join((msh.raw(3), msh.raw(4), message.control_id))

    def list_refusal(self, refused: Hl7Refused) -> None:
        """Put a refusal where an administrator sees it: one a day for each reason and field, and nothing of a message.

        The hospital is told each time; a flood of bad messages must not crowd good ones out of the spool.
        """
        place = _ORDINAL.sub("", refused.place)
        day = from_us(self._clock.now_us()).astimezone(BEIJING).date().isoformat()
        said = {"reason": refused.reason, "place": place, "message": refused.message}
        try:
            self.spool.put(f"refused/{day}/{refused.reason}/{place}", _REFUSED + _json(said))
        except (SpoolFull, OSError):
            return  # The hospital is told no all the same

    def _reply(self, code: str, message: Message | None, raw: bytes, said: list[Hl7Refused]) -> bytes:
        msh = message.header if message is not None else None
        if msh is not None and msh.raw(15) in _ENHANCED:
            code = f"C{code[1]}"
        there = Party(*(_plain(msh.raw(n)) for n in (3, 4))) if msh is not None else self._settings.there
        control = message.control_id if message is not None else control_id_of(raw)
        own = hashlib.sha256(raw + code.encode()).hexdigest()[:20].upper()
        kind = ("ACK", message.trigger, "ACK") if message is not None and message.trigger.isalnum() else ("ACK",)
        encoding = self._settings.encoding if message is None or message.charset == "ascii" else message.charset
        lines = [
            header(
                kind, own, self._clock.now_us(), sender=self._settings.here, receiver=there,
                processing_id=self._settings.processing_id, charset=declaration(encoding),
            ),
            *acknowledgment(code, control, said),
        ]  # fmt: skip
        return written(lines, encoding)


def check_header(message: Message, settings: Hl7Settings, *, addressed: bool = True) -> None:
    """Whether MSH is as agreed with the hospital; ``addressed``: also from whom and to whom. Raises Hl7Refused."""
    msh = message.header
    if not msh.component(12).startswith("2."):
        raise Hl7Refused("AR", "VERSION", "the version is 2.x, best 2.5.1", "MSH-12")
    if msh.component(11) != settings.processing_id:
        raise Hl7Refused("AR", "PROCESSING_ID", f"this connection is for {settings.processing_id}", "MSH-11")
    if not _CONTROL.fullmatch(message.control_id):
        raise Hl7Refused("AR", "REQUIRED", "a message control id is needed", "MSH-10")
    msh.instant(7)
    if not addressed:
        return
    if settings.partner_facility and msh.component(4) not in ("", settings.partner_facility):
        raise Hl7Refused("AR", "SENDER", "the sending facility is not the one agreed", "MSH-4")
    if msh.component(6) not in ("", settings.facility):
        raise Hl7Refused("AR", "RECEIVER", "the receiving facility is not this gateway", "MSH-6")


def control_id_of(raw: bytes) -> str:
    """MSH-10 of bytes that could not be read, if it is plain to see; else empty."""
    fields = raw.removeprefix(b"\xef\xbb\xbf")[:4096].replace(b"\n", b"\r").partition(b"\r")[0].split(b"|")
    texts = [field.decode("latin-1") for field in fields[8:10]]
    fits = len(texts) == 2 and _MSH_9.fullmatch(texts[0]) and _CONTROL.fullmatch(texts[1])
    return texts[1] if fits else ""


def _zone_note(place: str) -> Hl7Refused:
    return Hl7Refused("AE", "ZONE_ASSUMED", "no zone: read as Asia/Shanghai", place)


def _plain(text: str) -> str:
    return text.partition("^")[0]


def _rejected(name: str, reason: str, place: str, message: str) -> ReadResponse:
    return ReadResponse(rejected=Rejected(source=name, reason=reason, place=place, message=message))


def _json(value: dict[str, str]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
