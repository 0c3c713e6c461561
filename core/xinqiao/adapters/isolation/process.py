"""The gateway's side of an adapter in its own process: started, asked, killed when it hangs, started again."""

import json
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import BaseModel

from xinqiao.adapters.errors import AdapterConfigError, AdapterError, PartnerUnavailable
from xinqiao.adapters.isolation.child import OUT_OF_MEMORY
from xinqiao.adapters.isolation.frames import WINDOW, Frame, Link, LinkClosed, Verb, error_of, pack_many, unpack_many
from xinqiao.adapters.isolation.settings import environment_of, packed, paths_of
from xinqiao.adapters.spool import Seal
from xinqiao.api.adapter.v1 import adapter_service_pb2 as rpc
from xinqiao.api.common.v1.options_pb2 import LANE_CRISIS
from xinqiao.api.exchange.v1.exchange_pb2 import Package, SignedReceipt
from xinqiao.contract.errors import Refusal

_LOG = logging.getLogger("xinqiao.adapters")

_ROOT: Final = str(Path(__file__).resolve().parents[3])
_START: Final = (
    "import sys; sys.path.insert(0, sys.argv[1]); from xinqiao.adapters.isolation.child import run; run(sys.argv[2:])"
)
"""What the process begins with: the code of this gateway, whatever other is installed for this interpreter."""
_PASSED_ON: Final = ("LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Environment variables that say nothing secret and that an adapter needs."""

_HANGS: Final = 0.96
"""Part of the agency's deadline after which a silent process is killed: before its caller gives up, so no slot hangs."""

START_S: Final = 30.0
"""Time a process may take to come up: importing a plugin on a busy machine is no fault of its partner."""

_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 60.0
_CLOSE_S: Final = 3.0
_LINES_A_MINUTE: Final = 200


@dataclass(frozen=True, slots=True)
class Launch:
    """What one agency's process is started with. ``hidden`` are folders whose content it must not reach."""

    agency: str
    names: dict[str, str]
    kind: str
    settings: BaseModel = field(repr=False)
    deployment: str
    folder: Path
    hosts: Sequence[str]
    listens: Sequence[str]
    hidden: Sequence[Path] = ()
    memory_mb: int = 1024
    deadline_s: float = 30.0
    seal: Seal | None = field(default=None, repr=False)

    def first(self) -> bytes:
        """The payload of START."""
        named = sorted(set(paths_of(self.settings)))
        return json.dumps(
            {
                "agency": self.agency, "names": self.names, "kind": self.kind, "settings": packed(self.settings),
                "deployment": self.deployment, "folder": str(self.folder.absolute()), "hosts": list(self.hosts),
                "listens": list(self.listens), "sealed": self.seal is not None, "memory_mb": self.memory_mb,
                "reads": [str(path) for path in named],
                "writes": [str(self.folder.absolute()), *(str(path) for path in named if path.is_dir())],
                "hidden": [str(path.absolute()) for path in self.hidden],
                "path": [str(Path(entry).absolute()) for entry in sys.path if entry],
            }
        ).encode()  # fmt: skip


class _Process:
    """One run of the process."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self.started_s: Final = time.monotonic()
        self.why = ""
        self._lock = threading.Lock()
        self._calls: dict[int, queue.SimpleQueue[Frame | None]] = {}
        self._number = 0
        self._gone = threading.Event()
        self._lines: list[float] = []
        ours, theirs = socket.socketpair()
        watched, self._lifeline = os.pipe()
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment |= environment_of(launch.settings) | {"TMPDIR": str(launch.folder.absolute())}
        try:
            # In a session of its own: Ctrl-C at the terminal is the gateway's, and what it forks dies with it.
            self._popen = subprocess.Popen(  # noqa: S603, this very interpreter and code of ours
                [sys.executable, "-I", "-X", "utf8", "-c", _START, _ROOT, str(theirs.fileno()), str(watched)],
                env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, pass_fds=(theirs.fileno(), watched), start_new_session=True,
            )  # fmt: skip
        finally:
            theirs.close()
            os.close(watched)
        self._link = Link(ours)
        threading.Thread(target=self._receive, name=f"isolated-{launch.agency}", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def alive(self) -> bool:
        return not self._gone.is_set()

    def wait(self) -> None:
        """Until it has ended."""
        self._gone.wait()

    def call(self, verb: Verb, payload: bytes, seconds: float, wait_s: float) -> bytes:
        """Ask once. Raises what the adapter raised, or PartnerUnavailable; a process that hangs is killed."""
        number, answers = self._open()
        try:
            self._send(number, verb, payload, seconds)
            return self._next(answers, wait_s).payload
        finally:
            self._calls.pop(number, None)

    def stream(self, verb: Verb, payload: bytes, wait_s: float) -> Iterator[bytes]:
        """Each item as it comes; the process is never more than a window ahead."""
        number, answers = self._open()
        ended, taken = False, 0
        try:
            self._send(number, verb, payload, wait_s)
            while not ended:
                frame = self._next(answers, wait_s)
                if ended := frame.verb == Verb.DONE:
                    break
                yield frame.payload
                taken += 1
                if taken == WINDOW // 2:
                    self._send(number, Verb.MORE, taken.to_bytes(4, "big"))
                    taken = 0
        except AdapterError:
            ended = True
            raise
        finally:
            if not ended:
                self._stop(number, answers, wait_s)
            self._calls.pop(number, None)

    def kill(self, why: str) -> None:
        """End it at once, with all it started."""
        self.why = self.why or why
        if self._popen.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill it and wait until it is gone."""
        self.kill("stopped by the gateway")
        self._popen.wait(_CLOSE_S)

    def _open(self) -> tuple[int, "queue.SimpleQueue[Frame | None]"]:
        answers: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        with self._lock:
            if self._gone.is_set():
                raise self._ended()
            self._number += 1
            self._calls[self._number] = answers
            return self._number, answers

    def _send(self, number: int, verb: Verb, payload: bytes = b"", seconds: float = 0.0) -> None:
        try:
            self._link.send(number, verb, payload, seconds)
        except LinkClosed:
            self.kill("it closed its connection")
            raise self._ended() from None

    def _next(self, answers: "queue.SimpleQueue[Frame | None]", wait_s: float) -> Frame:
        try:
            frame = answers.get(timeout=wait_s)
        except queue.Empty:
            self.kill(f"it hung for {wait_s:.1f} s and was killed")
            raise PartnerUnavailable(f"{self._launch.agency}: its process hung for {wait_s:.1f} s") from None
        if frame is None:
            raise self._ended()
        if frame.verb == Verb.FAILED:
            raise error_of(frame.payload)
        return frame

    def _stop(self, number: int, answers: "queue.SimpleQueue[Frame | None]", wait_s: float) -> None:
        try:
            self._send(number, Verb.STOP)
            while self._next(answers, wait_s).verb != Verb.DONE:
                pass
        except AdapterError:  # it has stopped, one way or the other
            pass

    def _ended(self) -> PartnerUnavailable:
        return PartnerUnavailable(f"{self._launch.agency}: its process has ended: {self.why or 'unknown'}")

    def _receive(self) -> None:
        try:
            for frame in self._link.frames():
                self._take(frame)
        except (LinkClosed, ValueError):
            self.kill("it did not keep to the form of the connection")
        # Nobody is left to talk to it.
        self._link.close()
        try:
            code = self._popen.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            self.kill("it closed its connection")
            code = self._popen.wait()
        self.why = self.why or _why(code, self._launch.memory_mb)
        os.close(self._lifeline)
        with self._lock:
            self._gone.set()
            waiting = list(self._calls.values())
        for answers in waiting:
            answers.put(None)

    def _take(self, frame: Frame) -> None:
        if frame.verb in (Verb.DONE, Verb.ITEM, Verb.FAILED):
            answers = self._calls.get(frame.call)
            if answers is not None:
                if answers.qsize() > WINDOW:
                    raise ValueError("more items than were asked for")
                answers.put(frame)
        elif frame.verb == Verb.LOG:
            self._log(frame.payload)
        elif frame.verb in (Verb.SEAL, Verb.OPEN):
            self._seal(frame)
        else:
            raise ValueError("no such verb")

    def _log(self, payload: bytes) -> None:
        now = time.monotonic()
        self._lines = [at for at in self._lines if now - at < 60]
        if payload and len(self._lines) < _LINES_A_MINUTE:
            self._lines.append(now)
            _LOG.log(payload[0], "[%s] %s", self._launch.agency, payload[1:].decode("utf-8", "replace"))

    def _seal(self, frame: Frame) -> None:
        table, key, data = unpack_many(frame.payload)
        seal = self._launch.seal
        try:
            # One table only: the key of the inbox must open nothing else that it may seal one day.
            if seal is None or table != b"spool":
                raise Refusal("PERMISSION_DENIED", "SEAL", "no such seal")
            work = seal.seal if frame.verb == Verb.SEAL else seal.open
            self._link.send(frame.call, Verb(frame.verb), work(data, table="spool", key=key.decode()))
        except Refusal:
            self._link.send(frame.call, Verb.FAILED)


class IsolatedAdapter:
    """An adapter that lives in its own process. Its class has the methods that the adapter there has, and no others."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._wait_s = launch.deadline_s * _HANGS
        self._lock = threading.Lock()
        self._failures = 0
        self._not_before = 0.0
        self._listens = False
        self._closed = False
        self._why = ""
        self._process: _Process | None = None
        self.roles: Final = self._start()

    @property
    def ailment(self) -> str:
        """Why it does not work now; empty while its process lives."""
        process = self._process
        if process is not None and process.alive:
            return ""
        return f"its process has ended: {(process.why if process is not None else '') or self._why}"

    @property
    def pid(self) -> int:
        """Process id of the run under way or the last one."""
        return self._process.pid if self._process is not None else 0

    def check(self) -> str:
        return rpc.CheckResponse.FromString(self._ask(Verb.CHECK)).peer

    def close(self) -> None:
        """Let it give back what it holds, then end it."""
        self._closed = True
        process = self._process
        if process is None:
            return
        try:
            if process.alive:
                process.call(Verb.CLOSE, b"", _CLOSE_S, _CLOSE_S)
        except AdapterError:
            pass
        finally:
            process.end()

    def _ask(self, verb: Verb, payload: bytes = b"", seconds: float | None = None, *, crisis: bool = False) -> bytes:
        process = self._running(crisis=crisis)
        return process.call(verb, payload, self._wait_s if seconds is None else seconds, self._wait_s)

    def _running(self, *, crisis: bool) -> _Process:
        process = self._process
        if process is not None and process.alive:
            return process
        with self._lock:
            process = self._process
            if process is not None and process.alive:
                return process
            wait = self._not_before - time.monotonic()
            if wait > 0 and not crisis:  # red never waits
                raise PartnerUnavailable(f"{self._launch.agency}: {self.ailment}; started again soon", wait)
            try:
                self._start()
            except AdapterConfigError as error:
                raise PartnerUnavailable(f"{self._launch.agency}: {error.message}") from None
            if self._process is None:
                raise PartnerUnavailable(f"{self._launch.agency}: {self.ailment}")
            return self._process

    def _start(self) -> frozenset[str]:
        if self._closed:
            raise PartnerUnavailable(f"{self._launch.agency}: closed")
        process = _Process(self._launch)
        try:
            roles = frozenset(json.loads(process.call(Verb.START, self._launch.first(), START_S, START_S)))
            if self._listens:
                process.call(Verb.LISTEN, b"", self._wait_s, self._wait_s)
        except AdapterError as error:
            process.end()
            self._why, self._process = error.message, None
            self._delay(0.0)
            raise AdapterConfigError(error.message) from None
        self._process = process
        threading.Thread(target=self._mind, args=(process,), name=f"mind-{self._launch.agency}", daemon=True).start()
        return roles

    def _delay(self, lived_s: float) -> float:
        self._failures = 1 if lived_s > _LONGEST_WAIT_S else self._failures + 1
        wait = min(_FIRST_WAIT_S * float(1 << min(self._failures - 1, 10)), _LONGEST_WAIT_S)
        self._not_before = time.monotonic() + wait
        return wait

    def _mind(self, process: _Process) -> None:
        """Wait for the end of ``process``; then start the next, so that a listener is not deaf until somebody asks."""
        process.wait()
        if self._closed:
            return
        wait = self._delay(time.monotonic() - process.started_s)
        _LOG.error("agency %s: %s; started again in %.0f s", self._launch.agency, self.ailment, wait)
        while not self._closed:
            time.sleep(max(self._not_before - time.monotonic(), 0.01))
            try:
                self._running(crisis=False)
            except AdapterError:
                continue
            return


class _Recipient:
    def deliver(self: Any, request: rpc.DeliverRequest, timeout_s: float) -> rpc.DeliverResponse:
        crisis = request.lane == LANE_CRISIS
        data = self._ask(Verb.DELIVER, request.SerializeToString(deterministic=True), timeout_s, crisis=crisis)
        return rpc.DeliverResponse.FromString(data)


class _CapacityAware:
    def capacity(self: Any, request: rpc.CapacityRequest, timeout_s: float) -> rpc.CapacityResponse:
        return rpc.CapacityResponse.FromString(self._ask(Verb.CAPACITY, request.SerializeToString(), timeout_s))


class _Source:
    def read(self: Any, cursor: str) -> Iterator[rpc.ReadResponse]:
        yield from _items(self, Verb.READ, cursor)


class _Inbox:
    def pushed(self: Any, cursor: str) -> Iterator[rpc.ReadResponse]:
        yield from _items(self, Verb.PUSHED, cursor)


class _Exchanger:
    def exchange(self: Any, package: Package, request_id: str, timeout_s: float) -> SignedReceipt | None:
        asked = rpc.ExchangeRequest(request_id=request_id, package=package)
        answer = rpc.ExchangeResponse.FromString(self._ask(Verb.EXCHANGE, asked.SerializeToString(), timeout_s))
        return answer.receipt if answer.HasField("receipt") else None


class _Reporter:
    def report(self: Any, rejected: Sequence[rpc.Rejected]) -> None:
        self._ask(Verb.REPORT, pack_many([each.SerializeToString() for each in rejected]))


class _Listener:
    def listen(self: Any) -> None:
        self._ask(Verb.LISTEN)
        self._listens = True


class _SpoolOnly:
    reads_spool_only: ClassVar[bool] = True


_ROLES: Final[dict[str, type]] = {
    "deliver": _Recipient, "capacity": _CapacityAware, "read": _Source, "pushed": _Inbox, "exchange": _Exchanger,
    "report": _Reporter, "listen": _Listener, "spool_only": _SpoolOnly,
}  # fmt: skip


def start(launch: Launch) -> IsolatedAdapter:
    """Start the agency's process; the result fits those Protocols that the adapter in it fits.

    Raises AdapterConfigError when the adapter does not come up.
    """
    adapter = IsolatedAdapter(launch)
    parts = tuple(part for name, part in _ROLES.items() if name in adapter.roles)
    adapter.__class__ = type("IsolatedAdapter", (IsolatedAdapter, *parts), {})
    return adapter


def _items(adapter: Any, verb: Verb, cursor: str) -> Iterator[rpc.ReadResponse]:
    process: _Process = adapter._running(crisis=False)
    request = rpc.ReadRequest(cursor=cursor).SerializeToString()
    for data in process.stream(verb, request, adapter._wait_s):
        yield rpc.ReadResponse.FromString(data)


def _why(code: int, memory_mb: int) -> str:
    if code == OUT_OF_MEMORY:
        return f"it reached its memory limit of {memory_mb} MB"
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"it left with exit code {code}"
