"""The tape of one agency: runs for a while, up to a size, and never holds up or breaks what it listens to.

Whoever moves bytes between an adapter and its partner (HTTP, MLLP, a push, a file) tells ``posted``, ``exchanged`` or
``filed``. Whose tape that is, the thread knows: each agency's work runs in threads of its own.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from xinqiao.adapters.recording.forms import NoForm, decoded, form_of, rewrite, target
from xinqiao.adapters.recording.invent import Inventor

By = Literal["gateway", "partner"]
"""Who asked."""
Direction = Literal["in", "out"]
"""A file's way, seen from the gateway."""

VERSION: Final = 1
_LOG: Final = logging.getLogger("xinqiao.adapters")
MOST: Final = 256 * 1024
"""Bytes of one content; of a longer one only the length is written."""
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"})
_MEDIA: Final = frozenset(
    {
        "application/json", "application/fhir+json", "application/xml", "application/cap+xml", "text/xml", "text/csv",
        "text/plain", "text/html", "application/x-www-form-urlencoded", "application/octet-stream",
        "application/x-protobuf", "application/zip",
    }
)  # fmt: skip
_ANSWER_TO: Final = ("idempotency-key", "if-match")
_ANSWERED: Final = ("etag",)


@dataclass(slots=True)
class _Running:
    file: int
    inventor: Inventor
    until: float
    left: int


class Tape:
    """Off until ``start``; safe to use from many threads."""

    def __init__(self, agency: str) -> None:
        self._agency = agency
        self._lock = threading.Lock()
        self._running: _Running | None = None

    @property
    def running(self) -> bool:
        """Whether what passes is written down."""
        running = self._running
        return running is not None and time.monotonic() < running.until

    def start(self, path: Path, plugin: str, inventor: Inventor, *, seconds: float, most: int) -> None:
        """Write to the new file ``path``, for so many seconds and at most so many bytes. Raises OSError."""
        self.stop()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with self._lock:
            self._running = _Running(file, inventor, time.monotonic() + seconds, most)
        self._write({"recording": VERSION, "plugin": plugin})

    def stop(self) -> None:
        """End it; the key of its invented values is gone with it. Harmless when it does not run."""
        with self._lock:
            running, self._running = self._running, None
            if running is not None:
                os.close(running.file)

    def posted(
        self, by: By, method: str, where: str, headers: Mapping[str, str], body: bytes | None,
        answer: "tuple[int, Mapping[str, str], bytes] | None",
    ) -> None:  # fmt: skip
        """One HTTP request; names of headers in any case. Without an answer there was none."""
        self._note(lambda inventor: {
            "by": by,
            "http": {
                "method": method if method in _METHODS else "POST",
                "target": target(where, inventor),
                "headers": _headers(headers, _ANSWER_TO, inventor),
                "body": _content(_kind(headers), body or b"", inventor),
            },
            "answer": None if answer is None else {
                "status": answer[0],
                "headers": _headers(answer[1], _ANSWERED, inventor),
                "body": _content(_kind(answer[1]), answer[2], inventor),
            },
        })  # fmt: skip

    def exchanged(self, by: By, sent: bytes, answer: bytes | None) -> None:
        """One HL7 message and its acknowledgment."""
        self._note(lambda inventor: {
            "by": by,
            "hl7": _content("hl7", sent, inventor),
            "answer": None if answer is None else _content("hl7", answer, inventor),
        })  # fmt: skip

    def filed(self, way: Direction, name: str, data: bytes) -> None:
        """One whole file; of its name only the suffix, and words of the program, are kept."""
        self._note(lambda inventor: {
            "way": way,
            "file": inventor.word(Path(name).stem) + "".join(inventor.word(each) for each in Path(name).suffixes[-1:]),
            "body": _content(Path(name).suffix, data, inventor),
        })  # fmt: skip

    def _note(self, made: Callable[[Inventor], Mapping[str, Any]]) -> None:
        running = self._running
        if running is None:
            return
        if time.monotonic() >= running.until:
            self.stop()
            return
        try:
            self._write(made(running.inventor))
        except Exception as error:  # whatever goes wrong with the tape, the record goes its way
            _LOG.warning("agency %s: the recording ended, it met %s", self._agency, type(error).__name__)
            self.stop()

    def _write(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry, separators=(",", ":")).encode("ascii") + b"\n"
        with self._lock:
            running = self._running
            if running is None:
                return
            full = len(line) > running.left
            if not full:
                running.left -= len(line)
                os.write(running.file, line)
        if full:
            _LOG.warning("agency %s: the recording ended, it is as large as was allowed", self._agency)
            self.stop()


def _content(kind: str, data: bytes, inventor: Inventor) -> dict[str, Any]:
    """What is written of a content: its form and what ``inventor`` leaves of it, or its length alone."""
    if len(data) <= MOST:
        try:
            charset, text = decoded(data)
            form = form_of(kind, text)
            return {"form": form, "charset": charset, "text": rewrite(form, text, inventor)}
        except NoForm:
            pass
    return {"form": "opaque", "bytes": len(data)}


def _kind(headers: Mapping[str, str]) -> str:
    return next((value for name, value in headers.items() if name.lower() == "content-type"), "")


def _headers(headers: Mapping[str, str], wanted: tuple[str, ...], inventor: Inventor) -> dict[str, str]:
    """Those that say how to go on; never one that says who somebody is."""
    kept: dict[str, str] = {}
    for name, value in headers.items():
        name, media = name.lower(), value.partition(";")[0].strip().lower()
        if name == "content-type" and media in _MEDIA:
            kept[name] = media
        elif name == "retry-after" and value.isascii() and value.isdigit() and len(value) <= 5:
            kept[name] = value
        elif name in wanted:
            kept[name] = inventor.value(name, value)
    return kept


_TAPE: Final[ContextVar[Tape | None]] = ContextVar("tape", default=None)


def work_for(tape: Tape) -> None:
    """From now on this thread works for the agency of ``tape``."""
    _TAPE.set(tape)


def current() -> Tape | None:
    """The tape of the agency that this thread works for; a listener keeps it for its own threads."""
    return _TAPE.get()


def posted(
    method: str, where: str, headers: Mapping[str, str], body: bytes | None,
    answer: "tuple[int, Mapping[str, str], bytes] | None",
) -> None:  # fmt: skip
    """The adapter asked over HTTP."""
    if (tape := _TAPE.get()) is not None and tape.running:
        tape.posted("gateway", method, where, headers, body, answer)


def exchanged(sent: bytes, answer: bytes | None) -> None:
    """The adapter sent an HL7 message."""
    if (tape := _TAPE.get()) is not None and tape.running:
        tape.exchanged("gateway", sent, answer)


def filed(way: Direction, name: str, data: bytes) -> None:
    """The adapter read or wrote a whole file of the partner's."""
    if (tape := _TAPE.get()) is not None and tape.running:
        tape.filed(way, name, data)
