"""A hospital that stands in for the real one over MLLP: takes REF^I12, answers, and sends RRI^I12 and ORU^R01 back.

It writes no log: the only place that holds what it was given is its folder, and that survives a restart.
"""

import hashlib
import socket
import threading
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from xinqiao.adapters.spool import Spool
from xinqiao.contract.clock import BEIJING, Clock, SystemClock, from_us
from xinqiao_hospital.faults import Faults, FaultScript
from xinqiao_hospital.hl7.ack import LOCAL, Party, acknowledgment, header
from xinqiao_hospital.hl7.charset import declaration
from xinqiao_hospital.hl7.message import Message, composite, escape, parse, segment, stamp, written
from xinqiao_hospital.hl7.mllp import Closed, FrameReader, Limits, Listener, framed
from xinqiao_hospital.hl7.receiver import check_header, control_id_of
from xinqiao_hospital.hl7.referral import REFERRALS
from xinqiao_hospital.hl7.refused import Hl7Refused
from xinqiao_hospital.hl7.settings import Hl7Settings
from xinqiao_hospital.hl7.tables import tables
from xinqiao_hospital.hl7.updates import referral_in
from xinqiao_hospital.hospital import OUTCOME

_HOSPITAL: Final = Party("HIS", "HOSPITAL")
_STEPS: Final = {
    "receive": "received",
    "accept": "accepted",
    "decline": "declined",
    "waitlist": "waitlisted",
    "schedule": "scheduled",
    "no_show": "no-show",
    "attend": "attended",
    "hold": "on-hold",
    "resume": "resumed",
    "cancel": "cancelled",
}
_REASON: Final = {"decline": "本院暂无儿童青少年精神科床位，请转市精神卫生中心", "hold": "监护人要求推迟"}
_TRIES: Final = 3
_PLAYS: Final = frozenset(
    {
        "slow", "down", "drop_before", "drop_after", "unavailable", "forbidden", "unprocessable", "html", "duplicate",
        "out_of_order", "wrong_code",
    }
)  # fmt: skip
_TIMEOUT_S: Final = 10.0


class Hl7HospitalSimulator:
    """Serves on 127.0.0.1. ``charset`` is its own (``GB18030`` for the hospital that many are); ``reply`` is how it
    answers a referral: ``ack``, or ``rri`` for an RRI^I12 with RF1-1 P on the same connection.

    Faults come from ``inject``: ``slow drop_before drop_after unavailable nak html down`` hit what it is sent,
    ``duplicate wrong_code out_of_order`` what it sends.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        charset: str = "UTF-8",
        reply: str = "ack",
        clock: Clock | None = None,
    ) -> None:
        self._folder = folder
        self._port = port
        self._reply = reply
        self._clock = clock or SystemClock()
        self._settings = Hl7Settings(host="127.0.0.1", port=1, charset="GB18030" if charset == "GB18030" else "UTF-8")
        self.faults = Faults()
        self.inbox = Spool(folder / "inbox")
        self._answers: dict[str, bytes] = {}
        self._listener: Listener | None = None
        self._gateway = 0
        self._sent = 0
        self._waiting: list[bytes] = []
        self._stopping = threading.Event()

    # -- the Simulator protocol ---------------------------------------------------------------------------------------

    def start(self) -> dict[str, Any]:
        """Serve; the settings that make the adapter talk to it, and listen for it."""
        self._serve()
        self._gateway = self._gateway or _free_port()
        hl7 = {
            "host": "127.0.0.1",
            "port": self._port,
            "charset": self._settings.charset,
            "partner_application": _HOSPITAL.application,
            "partner_facility": _HOSPITAL.facility,
            "listen": f"127.0.0.1:{self._gateway}",
        }
        return {"protocol": "hl7v2", "hl7": hl7}

    def _serve(self) -> None:
        self._stopping.clear()
        listening = socket.create_server(("127.0.0.1", self._port))
        self._port = int(listening.getsockname()[1])
        self._listener = Listener(listening, self._answer, self._refuse, Limits())

    def stop(self) -> None:
        """Stop serving and give the port back; harmless when not started."""
        self._stopping.set()
        if self._listener is not None:
            self._listener.close()
        self._listener = None

    def receipt_public_key_pem(self) -> bytes:
        """HL7 v2 carries no packages, so there is nothing it counter-signs."""
        return b""

    def inject(self, *faults: FaultScript) -> None:
        """Add faults."""
        for fault in faults:
            self.faults.add(fault)

    def clear_faults(self) -> None:
        """End every fault, such as ``down``."""
        self.faults.clear()

    # -- the Rehearsed protocol ---------------------------------------------------------------------------------------

    delivered_by = "mllp"

    @property
    def plays(self) -> frozenset[str]:
        """The common faults that an engine can play."""
        return _PLAYS

    def play(self, fault: str, *, times: int = 1, seconds: float = 0.0) -> None:
        """Play a common fault; while it is ``down`` nobody listens at its port. Raises ValueError for another."""
        if fault == "down" and not times:
            Hl7HospitalSimulator.stop(self)
            return
        self.inject(FaultScript.from_json({"kind": fault, "times": times, "seconds": seconds}))

    def calm(self) -> None:
        """End every fault."""
        self.clear_faults()
        if self._listener is None:
            self._serve()

    def effects(self) -> list[str]:
        """Every message it took."""
        return [item.data.decode(self._settings.encoding) for item in self.inbox.pending()]

    def bring(self, count: int) -> None:
        """Take the referrals further, a step at a time, until ``count`` steps were done."""
        done = 0
        for step in ("accept", "schedule", "attend", "outcome"):
            for referral in self.referrals() if done < count else ():
                self.act(referral, step)
                done += 1
        while self._waiting:
            self.send(self._waiting.pop())

    # -- what it holds, and what its people do ------------------------------------------------------------------------

    def messages(self) -> list[Message]:
        """Every message taken, oldest first, each once."""
        return [parse(item.data, self._settings.encoding) for item in self.inbox.pending()]

    def referrals(self) -> list[str]:
        """``referrals/{id}`` of every referral taken."""
        return [_name(message) for message in self.messages() if message.trigger == "I12"]

    def act(
        self,
        referral: str,
        step: str,
        *,
        reason: str = "",
        appointment_us: int = 0,
        outcome: Mapping[str, str] | None = None,
        correction: bool = False,
    ) -> str:
        """One step on a referral (``accept``, ``schedule``, ``outcome`` ...); MSA-1 of the gateway's answer.

        Empty while a message is held back to be sent out of order. Raises LookupError for a referral it does not hold.
        """
        found = next((m for m in self.messages() if m.trigger == "I12" and _name(m) == referral), None)
        if found is None:
            raise LookupError(referral)
        if step == "outcome":
            body = self._oru(found, outcome or self._outcome(), correction=correction)
        else:
            body = self._rri(found, step, reason, appointment_us)
        if self.faults.take("out_of_order"):
            self._waiting.append(body)
            return ""
        code = self.send(body)
        if self.faults.take("duplicate"):
            code = self.send(body)
        for late in self._waiting:
            self.send(late)
        self._waiting.clear()
        return code

    def act_on_all(self, steps: Iterable[str]) -> int:
        """Do the steps on every referral; how many messages the gateway took."""
        return sum(self.act(referral, step) == "AA" for referral in self.referrals() for step in steps)

    def send(self, body: bytes) -> str:
        """Send bytes to the gateway and return MSA-1; tried again, with the same bytes, while nobody answers."""
        for attempt in range(_TRIES):
            try:
                with socket.create_connection(("127.0.0.1", self._gateway), _TIMEOUT_S) as peer:
                    peer.sendall(framed(body))
                    answer = FrameReader(peer, Limits(frame_seconds=_TIMEOUT_S, idle_seconds=_TIMEOUT_S)).read()
                    return parse(answer, self._settings.encoding).one("MSA").component(1)
            except (OSError, Closed, Hl7Refused):
                if attempt == _TRIES - 1 or self._stopping.wait(0.1):
                    raise
        raise ConnectionError

    # -- answering ----------------------------------------------------------------------------------------------------

    def _answer(self, raw: bytes) -> bytes:
        self._before()
        if self.faults.take("nak", "forbidden"):
            return self._ack(raw, None, "AR", [Hl7Refused("AR", "CODE", "rejected on command", "RF1-1")])
        if self.faults.take("unprocessable"):
            return self._ack(raw, None, "AE", [Hl7Refused("AE", "CODE", "this one is not taken", "RF1-1")])
        if self.faults.take("unavailable"):
            return self._ack(raw, None, "AE", [Hl7Refused("AE", "BUSY", "come back later", "MSH")])
        if self.faults.take("html"):
            return b"<!doctype html><title>login</title>"
        message: Message | None = None
        try:
            message = parse(raw, self._settings.encoding)
            check_header(message, self._settings, addressed=False)
            if message.kind != "REF" or message.trigger not in ("I12", "I13", "I14"):
                raise Hl7Refused("AR", "MESSAGE_TYPE", "REF^I12, I13 and I14 are taken", "MSH-9")
            referral_in(message)
            if self.inbox.put(message.control_id, raw) == "other":
                raise Hl7Refused("AR", "KEY_REUSED", "another message came with this MSH-10", "MSH-10")
        except Hl7Refused as e:
            return self._ack(raw, message, e.code, [e])
        if self.faults.take("drop_after"):
            raise ConnectionResetError
        answer = self._answers.get(message.control_id)
        if answer is None:
            rri = self._reply == "rri" and message.trigger == "I12"
            answer = self._rri(message, "receive", answers=True) if rri else self._ack(raw, message, "AA", [])
            self._answers[message.control_id] = answer
        return answer

    def _before(self) -> None:
        if self.faults.take("down", "drop_before"):
            raise ConnectionResetError
        slow = self.faults.take("slow")
        if slow is not None and self._stopping.wait(slow.seconds):
            raise ConnectionResetError

    def _refuse(self, refused: Hl7Refused) -> bytes:
        return self._ack(b"", None, refused.code, [refused])

    def _ack(self, raw: bytes, message: Message | None, code: str, said: list[Hl7Refused]) -> bytes:
        control = message.control_id if message is not None else control_id_of(raw)
        trigger = (message.trigger,) if message is not None else ()
        return written([self._msh(("ACK", *trigger)), *acknowledgment(code, control, said)], self._settings.encoding)

    # -- composing ----------------------------------------------------------------------------------------------------

    def _msh(self, kind: tuple[str, ...]) -> str:
        self._sent += 1
        now = self._clock.now_us()
        seed = f"{now}/{self._sent}/{self._port}"
        return header(
            kind,
            hashlib.sha256(seed.encode()).hexdigest()[:20].upper(),
            now,
            sender=_HOSPITAL,
            receiver=self._settings.here,
            processing_id="P",
            charset=declaration(self._settings.encoding),
        )

    def _rri(
        self, referral: Message, step: str, reason: str = "", appointment_us: int = 0, *, answers: bool = False
    ) -> bytes:
        status = tables().status[_STEPS[step]]
        code = composite(status.rf1, tables().rf1_text[status.rf1], "HL70283", status.word, status.text, LOCAL)
        if self.faults.take("wrong_code"):
            code = composite("9", "?", "99OTHER")
        when = from_us(self._clock.now_us()).astimezone(BEIJING) + timedelta(days=1)
        appointment = from_us(appointment_us) if appointment_us else when.replace(hour=9, minute=30, second=0)
        given = referral.one("RF1")
        lines = [
            self._msh(("RRI", "I12", "RRI_I12")),
            *([segment("MSA", {1: "AA", 2: escape(referral.control_id)})] if answers else []),
            segment(
                "RF1",
                {
                    1: code,
                    6: given.raw(6),
                    7: stamp(appointment) if step == "schedule" else "",
                    9: stamp(from_us(self._clock.now_us())),
                    11: composite(self._number(referral), _HOSPITAL.facility),
                },
            ),
            *[segment("PRD", {1: prd.raw(1), 7: prd.raw(7)}) for prd in referral.all("PRD")],
            self._pid(referral),
        ]
        if why := reason or _REASON.get(step, ""):
            lines.append(segment("NTE", {1: "1", 3: escape(why)}))
        return written(lines, self._settings.encoding)

    def _oru(self, referral: Message, outcome: Mapping[str, str], *, correction: bool) -> bytes:
        status = "C" if correction else "F"
        filler = composite(self._number(referral), _HOSPITAL.facility)
        lines = [
            self._msh(("ORU", "R01", "ORU_R01")),
            self._pid(referral),
            segment(
                "OBR",
                {
                    1: "1",
                    2: referral.one("RF1").raw(6),
                    3: filler,
                    4: composite("outcome", "反馈单", LOCAL),
                    22: stamp(from_us(self._clock.now_us())),
                    25: status,
                },
            ),
        ]
        for number, (word, value) in enumerate(outcome.items(), start=1):
            kind = {"fitness": "CE", "next-visit": "DT"}.get(word, "TX")
            text = value.replace("-", "") if kind == "DT" else value
            what = composite(word, tables().results[word], LOCAL)
            said = composite(text, "", LOCAL) if kind == "CE" else escape(text)
            lines.append(segment("OBX", {1: str(number), 2: kind, 3: what, 5: said, 11: status}))
        return written(lines, self._settings.encoding)

    def _outcome(self) -> dict[str, str]:
        later = from_us(self._clock.now_us()).astimezone(BEIJING) + timedelta(days=14)
        return {**OUTCOME, "next-visit": later.date().isoformat()}

    def _pid(self, referral: Message) -> str:
        """The student as it was told, with the hospital's own number beside the gateway's id."""
        pid = referral.one("PID")
        own = composite(self._number(referral), "", "", _HOSPITAL.facility, "MR")
        return segment("PID", {1: "1", 3: f"{pid.raw(3)}~{own}", 5: pid.raw(5)})

    def _number(self, referral: Message) -> str:
        return f"H{hashlib.sha256(_name(referral).encode()).hexdigest()[:8].upper()}"


def _name(message: Message) -> str:
    return REFERRALS + message.one("RF1").component(6)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
