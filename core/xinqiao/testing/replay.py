"""A recording (``xinqiao adapters record``) served as the partner it was made of, for a plugin's test or a desk::

with Replay(Path("recording.jsonl")) as partner:
    settings = {"base_url": partner.http}

It answers a request with what was answered to the one most like it, in the order of the recording. What the partner
then repeated of a request, such as an id, is repeated of the new one; everything else is as invented as it was recorded.
"""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Literal, Self, cast

from xinqiao.adapters.recording.forms import Form, NoForm, decoded, rewrite
from xinqiao.adapters.recording.tape import VERSION

Json = dict[str, Any]
_RUN: Final = re.compile(r"[^\W_]{4,}")
_MAX: Final = 16 * 2**20
_FRAME: Final = (b"\x0b", b"\x1c\r")
_WAIT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Push:
    """What the partner pushed; a test signs it anew where the partner signs."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Replay:
    """A context manager: serves on loopback while it is open. ``plugin`` is whose recording it is.

    Raises ValueError for a file that is no recording, OSError where it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            head, *entries = [cast("Json", json.loads(line)) for line in path.read_text("ascii").splitlines()]
            if head["recording"] != VERSION:
                raise ValueError
            self.plugin: Final = str(head["plugin"])
        except (ValueError, TypeError, KeyError):
            raise ValueError(f"{path}: no recording of this version; make it with `xinqiao adapters record`") from None
        asked = [each for each in entries if each.get("by") == "gateway"]
        self.entries: Final = entries
        self._asked = {kind: _Line([each for each in asked if kind in each]) for kind in ("http", "hl7")}
        self._web = _Web(("127.0.0.1", 0), self)
        self._mllp = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        for work in (lambda: self._web.serve_forever(0.01), self._accept):
            self._threads.append(threading.Thread(target=work, name="replay", daemon=True))
            self._threads[-1].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._web.shutdown()
        self._web.server_close()
        with suppress(OSError):
            self._mllp.shutdown(socket.SHUT_RDWR)
        self._mllp.close()
        for thread in self._threads:
            thread.join()

    @property
    def http(self) -> str:
        """Where the recorded HTTP partner answers, such as ``http://127.0.0.1:40001``."""
        return f"http://127.0.0.1:{self._web.server_port}"

    @property
    def mllp(self) -> tuple[str, int]:
        """Where the recorded HL7 partner answers: host and port."""
        return "127.0.0.1", int(self._mllp.getsockname()[1])

    def pushes(self) -> list[Push]:
        """What the partner pushed over HTTP, in its order."""
        found = [cast("Json", each["http"]) for each in self.entries if each.get("by") == "partner" and "http" in each]
        return [Push(each["method"], each["target"], each["headers"], _bytes(each["body"])) for each in found]

    def messages(self) -> list[bytes]:
        """What the partner sent over MLLP, in its order."""
        return [_bytes(each["hl7"]) for each in self.entries if each.get("by") == "partner" and "hl7" in each]

    def lay(self, folder: Path, way: Literal["in", "out"] = "in") -> list[Path]:
        """Write the recorded files of one way into ``folder``; those whose content was not kept are left out."""
        made: list[Path] = []
        for number, each in enumerate(each for each in self.entries if each.get("way") == way):
            if each["body"]["form"] != "opaque":
                made.append(folder / f"{number:03}-{Path(str(each['file'])).name}")
                made[-1].write_bytes(_bytes(each["body"]))
        return made

    # -- answering ----------------------------------------------------------------------------------------------------

    def answer(self, method: str, target: str, body: bytes) -> Json | None:
        """What is answered to a request: status, headers, body bytes; None where nothing like it was recorded."""
        steps = _steps(target)

        def alike(entry: Json) -> int:
            recorded = entry["http"]
            if recorded["method"] != method:
                return 0
            theirs = _steps(recorded["target"])
            return sum(a == b for a, b in zip(reversed(steps), reversed(theirs), strict=False))

        entry = self._asked["http"].next(alike)
        if entry is None:
            return {"status": 404, "headers": {}, "body": b""}
        if entry["answer"] is None:
            return None
        recorded = entry["http"]
        echo = _echo(recorded["body"], body) | _paired(_steps(recorded["target"]), steps)
        found = entry["answer"]
        headers = {name: _echoed(value, echo) for name, value in found["headers"].items()}
        return {"status": found["status"], "headers": headers, "body": _bytes(found["body"], echo)}

    def acknowledge(self, message: bytes) -> bytes | None:
        """What is answered to an HL7 message; None for silence."""
        kind = _fields("hl7", message).get(("MSH-9", 0), "")
        entry = self._asked["hl7"].next(lambda each: 1 + (f"|{kind}" in each["hl7"].get("text", "")))
        if entry is None or entry["answer"] is None:
            return None
        return _bytes(entry["answer"], _echo(entry["hl7"], message))

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._mllp.accept()
            except OSError:
                return
            with peer, suppress(OSError):
                peer.settimeout(_WAIT_S)
                self._converse(peer)

    def _converse(self, peer: socket.socket) -> None:
        held = bytearray()
        while chunk := peer.recv(65536):
            held += chunk
            while (end := held.find(_FRAME[1])) >= 0:
                answer = self.acknowledge(bytes(held[:end]).lstrip(_FRAME[0]))
                del held[: end + len(_FRAME[1])]
                if answer is None:
                    return
                peer.sendall(_FRAME[0] + answer + _FRAME[1])


class _Line:
    """Recorded exchanges in their order, each told once before any is told again."""

    def __init__(self, entries: list[Json]) -> None:
        self._entries = entries
        self._told = [0] * len(entries)
        self._lock = threading.Lock()

    def next(self, alike: Callable[[Json], int]) -> Json | None:
        """The one most alike, of equals the one told least; None where none is alike at all."""
        with self._lock:
            ranked = [(-alike(each), self._told[at], at) for at, each in enumerate(self._entries)]
            if not ranked or (best := min(ranked))[0] == 0:
                return None
            self._told[best[2]] += 1
            return self._entries[best[2]]


class _Seen:
    """The visitor that changes nothing and remembers every value by its field."""

    def __init__(self) -> None:
        self.fields: dict[tuple[str, int], str] = {}

    def word(self, text: str) -> str:
        return text

    def value(self, name: str, text: str) -> str:
        times = 0
        while (name, times) in self.fields:
            times += 1
        self.fields[name, times] = text
        return text


class _Echoing:
    """The visitor that puts what the new request had in place of what the recorded one had."""

    def __init__(self, echo: Mapping[str, str]) -> None:
        self._echo = echo

    def word(self, text: str) -> str:
        return text

    def value(self, name: str, text: str) -> str:
        return _echoed(text, self._echo)


def _echoed(text: str, echo: Mapping[str, str]) -> str:
    return echo[text] if text in echo else _RUN.sub(lambda run: echo.get(run[0], run[0]), text)


def _fields(form: Form, data: bytes) -> dict[tuple[str, int], str]:
    seen = _Seen()
    with suppress(NoForm):
        rewrite(form, decoded(data)[1], seen)
    return seen.fields


def _echo(recorded: Json, data: bytes) -> dict[str, str]:
    """Recorded value -> the new request's value of the same field, and so for their parts."""
    if recorded["form"] == "opaque" or not data:
        return {}
    theirs, ours = _fields(recorded["form"], _bytes(recorded)), _fields(recorded["form"], data)
    both = [(theirs[field], ours[field]) for field in theirs if field in ours]
    return _paired([each for each, _ in both], [each for _, each in both], from_start=True)


def _paired(recorded: Iterable[str], new: Iterable[str], *, from_start: bool = False) -> dict[str, str]:
    theirs, ours = [*recorded], [*new]
    if not from_start:
        theirs, ours = theirs[::-1], ours[::-1]
    echo: dict[str, str] = {}
    for old, now in zip(theirs, ours, strict=False):
        runs, nows = _RUN.findall(old), _RUN.findall(now)
        for a, b in [(old, now), *(zip(runs, nows, strict=True) if len(runs) == len(nows) else ())]:
            if len(a) > 1 and a != b:
                echo.setdefault(a, b)
    return echo


def _steps(target: str) -> list[str]:
    return [step for step in target.partition("?")[0].split("/") if step]


def _bytes(body: Json, echo: Mapping[str, str] | None = None) -> bytes:
    if body["form"] == "opaque":
        return bytes(int(body["bytes"]))
    text = str(body["text"])
    if echo:
        with suppress(NoForm):
            text = rewrite(body["form"], text, _Echoing(echo))
    return text.encode(body["charset"])


class _Web(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], replay: Replay) -> None:
        self.replay = replay
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of the play."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _WAIT_S

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._handle
        raise AttributeError(name)

    def _handle(self) -> None:
        size = self.headers.get("Content-Length", "0")
        body = self.rfile.read(min(int(size), _MAX) if size.isdigit() else 0)
        found = cast("_Web", self.server).replay.answer(self.command, self.path, body)
        self.close_connection = True
        if found is None:
            return
        self.send_response(found["status"])
        for name, value in {**found["headers"], "Content-Length": str(len(found["body"]))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(found["body"])
