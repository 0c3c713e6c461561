"""The process of one adapter, from its first line on. Started by the gateway, never by hand."""

import json
import logging
import os
import queue
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any, Final, cast

from xinqiao.adapters.agency import broken
from xinqiao.adapters.errors import AdapterConfigError, AdapterError, PartnerRefused
from xinqiao.adapters.isolation.confine import Bounds, die_with, fence, limit
from xinqiao.adapters.isolation.frames import (
    WINDOW,
    Frame,
    Link,
    LinkClosed,
    Verb,
    failure_of,
    pack_many,
    rejections,
)
from xinqiao.adapters.isolation.settings import unpacked
from xinqiao.adapters.listening import Listening
from xinqiao.adapters.protocols import (
    AdapterKind,
    AgencyContext,
    CapacityAware,
    Exchanger,
    Inbox,
    Listener,
    Recipient,
    Reporter,
    Source,
    SpoolOnly,
)
from xinqiao.adapters.sockets import SocketTransport
from xinqiao.adapters.transport import HttpTransport
from xinqiao.api.adapter.v1 import adapter_service_pb2 as rpc
from xinqiao.api.exchange.v1.exchange_pb2 import SignedReceipt
from xinqiao.contract.errors import Refusal

ROLES: Final[dict[str, type]] = {
    "deliver": Recipient, "capacity": CapacityAware, "read": Source, "pushed": Inbox, "exchange": Exchanger,
    "report": Reporter, "listen": Listener, "spool_only": SpoolOnly,
}  # fmt: skip
"""The Protocols an adapter may fit, by the names that the gateway is told."""

OUT_OF_MEMORY: Final = 86
"""Exit code of a process that has reached its memory limit."""

_MAX_LOG: Final = 1000
_SEAL_WAIT_S: Final = 30.0


class _Flow:
    """How many items of one stream may still be sent."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._left = WINDOW
        self.stopped = False

    def take(self) -> bool:
        """Wait for room; False when no more is wanted."""
        with self._changed:
            self._changed.wait_for(lambda: self._left > 0 or self.stopped)
            self._left -= 1
            return not self.stopped

    def add(self, number: int) -> None:
        with self._changed:
            self._left += number
            self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            self.stopped = True
            self._changed.notify()


class _RemoteSeal:
    """The key of the agency's inbox stays with the gateway, which seals and opens on request."""

    def __init__(self, child: "Child") -> None:
        self._child = child

    def seal(self, plaintext: bytes, *, table: str, key: str) -> bytes:
        return self._child.ask(Verb.SEAL, pack_many([table.encode(), key.encode(), plaintext]))

    def open(self, blob: bytes, *, table: str, key: str) -> bytes:
        return self._child.ask(Verb.OPEN, pack_many([table.encode(), key.encode(), blob]))


class _ToGateway(logging.Handler):
    def __init__(self, link: Link) -> None:
        super().__init__(logging.WARNING)
        self._link = link

    def emit(self, record: logging.LogRecord) -> None:
        # No traceback: its frames and texts may hold what the partner sent.
        text = " ".join(record.getMessage().split())[:_MAX_LOG]
        try:
            self._link.send(0, Verb.LOG, bytes([min(record.levelno, 255)]) + text.encode("utf-8", "replace"))
        except LinkClosed:
            os._exit(0)


class Child:
    """Receives frames and does each call in a thread; the gateway bounds how many calls there are at once."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._flows: dict[int, _Flow] = {}
        self._asked: dict[int, queue.SimpleQueue[Frame]] = {}
        self._numbers = iter(range(1, 2**32))
        self._lock = threading.Lock()
        self._work_queue: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self._waiting = self._threads = 0  # calls not yet answered, threads that answer
        self._agency = ""
        self._adapter: Any = None

    def serve(self, first: Frame) -> None:
        """Until the gateway goes."""
        for frame in chain([first], self._link.frames()):
            match frame.verb:
                case Verb.MORE:
                    if flow := self._flows.get(frame.call):
                        flow.add(int.from_bytes(frame.payload, "big"))
                case Verb.STOP:
                    if flow := self._flows.get(frame.call):
                        flow.stop()
                case Verb.SEAL | Verb.OPEN | Verb.FAILED:
                    if waiting := self._asked.get(frame.call):
                        waiting.put(frame)
                case _:
                    if frame.verb in (Verb.READ, Verb.PUSHED):
                        self._flows[frame.call] = _Flow()
                    self._hand_over(frame)

    def _hand_over(self, frame: Frame) -> None:
        with self._lock:
            self._waiting += 1
            if self._waiting > self._threads:
                self._threads += 1
                threading.Thread(target=self._work, daemon=True).start()
        self._work_queue.put(frame)

    def _work(self) -> None:
        while True:
            self._answer(self._work_queue.get())
            with self._lock:
                self._waiting -= 1

    def ask(self, verb: Verb, payload: bytes) -> bytes:
        """What the gateway answers. Raises Refusal where it cannot."""
        with self._lock:
            number = next(self._numbers)
            waiting = self._asked[number] = queue.SimpleQueue()
        try:
            self._link.send(number, verb, payload)
            frame = waiting.get(timeout=_SEAL_WAIT_S)
        except queue.Empty:
            raise Refusal("UNAVAILABLE", "SEAL", "the gateway does not seal this item now") from None
        finally:
            del self._asked[number]
        if frame.verb == Verb.FAILED:
            raise Refusal("FAILED_PRECONDITION", "SEAL", "the gateway cannot open this item")
        return frame.payload

    def _answer(self, frame: Frame) -> None:
        try:
            try:
                self._link.send(frame.call, Verb.DONE, self._done(frame))
            except AdapterError as error:
                self._link.send(frame.call, Verb.FAILED, failure_of(error))
            except LinkClosed:
                raise
            except MemoryError:  # what has grown so far stays: only a new process gives it back
                os._exit(OUT_OF_MEMORY)
            except BaseException as error:  # whatever a plugin raises, the gateway is told
                reference = broken(self._agency, Verb(frame.verb).name.lower(), error)
                why = f"its adapter broke ({type(error).__name__[:80]}); look for {reference} in the log"
                self._link.send(frame.call, Verb.FAILED, failure_of(PartnerRefused("ADAPTER/BROKEN", why)))
        except LinkClosed:
            os._exit(0)
        finally:
            self._flows.pop(frame.call, None)

    def _done(self, frame: Frame) -> bytes:
        adapter, data, seconds = self._adapter, frame.payload, frame.seconds
        match frame.verb:
            case Verb.START:
                return self._start(json.loads(data))
            case Verb.CHECK:
                return rpc.CheckResponse(peer=_of(str, adapter.check())).SerializeToString()
            case Verb.DELIVER:
                answer = adapter.deliver(rpc.DeliverRequest.FromString(data), seconds)
                return bytes(_of(rpc.DeliverResponse, answer).SerializeToString())
            case Verb.CAPACITY:
                answer = adapter.capacity(rpc.CapacityRequest.FromString(data), seconds)
                return bytes(_of(rpc.CapacityResponse, answer).SerializeToString())
            case Verb.EXCHANGE:
                asked = rpc.ExchangeRequest.FromString(data)
                receipt = adapter.exchange(asked.package, asked.request_id, seconds)
                if receipt is None:
                    return rpc.ExchangeResponse().SerializeToString()
                return rpc.ExchangeResponse(receipt=_of(SignedReceipt, receipt)).SerializeToString()
            case Verb.READ | Verb.PUSHED:
                look = adapter.read if frame.verb == Verb.READ else adapter.pushed
                return self._stream(frame.call, look(rpc.ReadRequest.FromString(data).cursor))
            case Verb.REPORT:
                adapter.report(rejections(data))
            case Verb.LISTEN:
                adapter.listen()
            case Verb.CLOSE:
                adapter.close()
            case _:
                raise ValueError("no such verb")
        return b""

    def _stream(self, call: int, items: Iterator[Any]) -> bytes:
        flow = self._flows[call]
        try:
            for item in items:
                if not flow.take():
                    break
                self._link.send(call, Verb.ITEM, _of(rpc.ReadResponse, item).SerializeToString())
        finally:
            if (close := cast("Callable[[], None] | None", getattr(items, "close", None))) is not None:
                close()
        return b""

    def _start(self, given: dict[str, Any]) -> bytes:
        self._agency = given["agency"]
        kind = _kind(given["kind"])
        settings = unpacked(kind.settings, given["settings"])
        hosts = given["hosts"]
        context = AgencyContext(
            self._agency, given["names"], given["deployment"], HttpTransport(hosts), Path(given["folder"]),
            Listening(given["listens"]), SocketTransport(hosts), _RemoteSeal(self) if given["sealed"] else None,
        )  # fmt: skip
        self._adapter = kind.create(settings, context)
        roles = [name for name, role in ROLES.items() if isinstance(self._adapter, role)]
        return json.dumps(roles).encode()


def _kind(name: str) -> AdapterKind:
    for kind in cast("list[AdapterKind]", import_module(f"xinqiao_{name}").xinqiao_adapters()):
        if kind.name == name:
            return kind
    raise AdapterConfigError(f"plugin {name} offers no such kind")


def _of(wanted: type[Any], value: object) -> Any:
    if isinstance(value, wanted):
        return value
    got = type(value).__name__[:80]
    raise PartnerRefused("ADAPTER/WRONG_TYPE", f"returned {got}, the interface says {wanted.__name__}")


def main(arguments: list[str]) -> None:
    """``child LINK LIFELINE``: numbers of the inherited descriptors."""
    link, lifeline = int(arguments[0]), int(arguments[1])
    die_with(lifeline)
    channel = Link(socket.socket(fileno=link))
    frames = channel.frames()
    first = next(frames, None)
    if first is None or first.verb != Verb.START:
        return
    given = json.loads(first.payload)
    sys.path[:] = given["path"]
    bounds = Bounds(
        given["hosts"], given["listens"], [Path(p) for p in given["reads"]], [Path(p) for p in given["writes"]],
        [Path(p) for p in given["hidden"]], given["memory_mb"],
    )  # fmt: skip
    logging.basicConfig(handlers=[_ToGateway(channel)], level=logging.WARNING)
    limit(bounds.memory_mb)
    if not fence(bounds):
        logging.getLogger("xinqiao.adapters").warning(
            "agency %s: this kernel has no Landlock; native code of its adapter is not fenced in", given["agency"]
        )
    child = Child(channel)
    child.serve(first)


def run(arguments: list[str]) -> None:
    """All that the process does; it ends here, whatever threads its adapter has left."""
    try:
        main(arguments)
    finally:
        os._exit(0)
