"""Sends one message and waits for its acknowledgment: one connection a message, so that calls do not wait in line."""

import socket
import ssl
import threading
import time
from contextlib import closing

from xinqiao.adapters import recording
from xinqiao.adapters.errors import AdapterError, PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.adapters.sockets import SocketTransport
from xinqiao_hospital.hl7.ack import Verdict, verdict
from xinqiao_hospital.hl7.message import Message, parse
from xinqiao_hospital.hl7.mllp import Closed, FrameReader, framed
from xinqiao_hospital.hl7.refused import Hl7Refused
from xinqiao_hospital.hl7.settings import Hl7Settings

_ACCEPTED = ("AA", "CA")
_TRANSIENT = ("HL7_206", "HL7_207", "BUSY")
"""Record locked, internal error: the hospital's trouble, not the message's."""


class MllpClient:
    """The hospital's listener, seen from here."""

    def __init__(self, settings: Hl7Settings, sockets: SocketTransport, tls: ssl.SSLContext | None) -> None:
        self._settings = settings
        self._sockets = sockets
        self._tls = tls
        self._stopping = threading.Event()

    def reach(self, timeout_s: float) -> None:
        """Open a connection and close it. Raises PartnerUnavailable or PartnerRefused."""
        self._connect(timeout_s).close()

    def close(self) -> None:
        """Let waiting calls end soon."""
        self._stopping.set()

    def send(self, body: bytes, control_id: str, timeout_s: float) -> tuple[Message, bytes]:
        """The hospital's positive answer, and its bytes.

        Raises RecordRejected (AE), PartnerRefused (AR) or PartnerUnavailable (no answer, or none that can be read:
        whether the hospital has it is then unknown, and a repeat with the same MSH-10 is harmless).
        """
        deadline = time.monotonic() + min(timeout_s, self._settings.connect_seconds + self._settings.answer_seconds)
        peer = self._connect(min(timeout_s, self._settings.connect_seconds))
        with closing(peer):
            try:
                peer.settimeout(max(deadline - time.monotonic(), 0.001))
                peer.sendall(framed(body))
                reader = FrameReader(peer, self._settings.limits, self._stopping)
                return self._answer(reader, body, control_id, deadline)
            except OSError as e:
                raise self._unavailable(f"connection failed ({type(e).__name__})") from None

    def _connect(self, timeout_s: float) -> socket.socket:
        return self._sockets.connect(self._settings.endpoint, timeout_s, self._tls)

    def _answer(self, reader: FrameReader, sent: bytes, control_id: str, deadline: float) -> tuple[Message, bytes]:
        while time.monotonic() < deadline:
            try:
                raw = reader.read(deadline)
                recording.exchanged(sent, raw)
                answer = parse(raw, self._settings.encoding)
                if not answer.all("MSA"):
                    continue  # A message of its own on our connection: it is not answered, the hospital will repeat it
                found = verdict(answer, control_id)
            except Closed:
                raise self._unavailable("no acknowledgment came") from None
            except Hl7Refused as e:
                if e.reason == "IDENTIFIER":
                    continue  # The answer to an earlier try that came too late
                raise self._unavailable(f"the acknowledgment cannot be read ({e.reason} at {e.place})") from None
            if found.code in _ACCEPTED:
                return answer, raw
            raise self._refused(found)
        raise self._unavailable("no acknowledgment came")

    def _refused(self, found: Verdict) -> AdapterError:
        if found.reason in _TRANSIENT:
            return self._unavailable(f"the hospital could not take it now ({found.reason})")
        reason = f"PARTNER/{found.reason}" if found.reason else "PARTNER/NOT_ACCEPTED"
        if found.code in ("AE", "CE"):
            return RecordRejected(reason, "the hospital refused the message (AE); see its place", found.place or "MSH")
        if found.code in ("AR", "CR"):
            return PartnerRefused(reason, f"the hospital rejects such messages (AR) at {found.place or 'MSH'}")
        return self._unavailable("the acknowledgment says neither yes nor no (MSA-1)")

    def _unavailable(self, why: str) -> PartnerUnavailable:
        return PartnerUnavailable(f"{self._settings.endpoint}: {why}")
