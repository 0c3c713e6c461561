"""A session of one adapter in a process of its own, with every socket, file and program it reaches for written down.

``python -m xinqiao.testing.conformance.watched NAME`` reads its orders from stdin (``Orders`` as JSON, one line) and appends
what it saw to the report file, a line each; the parent judges a report without its last line as "the adapter ended the
process". Before it reads, it says ``NEWS`` on stdout and waits for a line: the partner has been given the news.
What native code does beneath Python, such as gRPC's own sockets, is not seen here.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, cast

from xinqiao.adapters.errors import AdapterError
from xinqiao.adapters.host import AdapterHost, AgencyHandle, AgencySpec
from xinqiao.adapters.manifest import PACKAGE
from xinqiao.config.secret import Secret
from xinqiao.testing.conformance import samples

Kind = Literal["network", "file", "program", "store", "hang", "end"]
END: Final = "end"
NEWS: Final = "\x01news"

_PROGRAMS: Final = frozenset(
    {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn"}
)
_LOOK_UPS: Final = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_STORE: Final = ("xinqiao.store", "xinqiao.server", "sqlalchemy", "sqlite3", "psycopg")
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_READS: Final = 50


@dataclass(frozen=True, slots=True)
class Orders:
    """What the child is to do, and what its adapter may touch."""

    agency: str
    settings: dict[str, Any]
    state: str
    forbidden: list[str]
    report: str
    deadline_s: float

    def text(self) -> str:
        """As JSON; a Secret goes as its reference, a path as text."""
        return json.dumps(asdict(self), default=_written)

    @classmethod
    def parse(cls, text: str) -> "Orders":
        """Raises ValueError or TypeError for anything else."""
        return cls(**json.loads(text, object_hook=_read))


def _written(value: object) -> Any:
    return {"!secret": repr(value)} if isinstance(value, Secret) else str(value)


def _read(found: dict[str, Any]) -> Any:
    if "!secret" not in found:
        return found
    kind, _, name = str(found["!secret"]).removeprefix("!").partition(" ")
    return Secret("env" if kind == "env" else "file", name)


class Watch:
    """The audit hook: what is not allowed goes into the report, once each."""

    def __init__(self, orders: Orders) -> None:
        self._report = orders.report
        self._own = _real(Path(orders.state) / orders.agency)
        self._state = _real(orders.state)
        self._forbidden = [_real(path) for path in orders.forbidden]
        self._writable = [self._own, _real(tempfile.gettempdir()), os.devnull, _real(orders.report)]
        self._writable += [_real(value) for value in _texts(orders.settings) if os.sep in value]
        self._endpoints: frozenset[str] = frozenset()
        self._said: set[str] = set()
        self.on = False

    def allow(self, endpoints: frozenset[str]) -> None:
        """The ``host:port`` pairs the adapter declares, to call and to listen at."""
        self._endpoints = endpoints

    def say(self, kind: Kind, text: str) -> None:
        """A line of the report. By file descriptor: opening is an event of its own."""
        line = f"{kind}\t{text}"
        if line not in self._said:
            self._said.add(line)
            was, self.on = self.on, False
            with Path(self._report).open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            self.on = was

    def hook(self, event: str, args: tuple[Any, ...]) -> None:
        """As ``sys.addaudithook`` calls it, before the thing is done."""
        if not self.on:
            return
        if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"):
            self._address(args[-1], listening=event == "socket.bind")
        elif event in _LOOK_UPS:
            if not any(entry.rpartition(":")[0] == str(args[0]) for entry in self._endpoints):
                self.say("network", f"looks up a host that is not declared ({event})")
        elif event == "open":
            self._file(args[0], int(args[2] or 0))
        elif event in ("os.listdir", "os.scandir"):
            self._folder(args[0])
        elif event in _PROGRAMS:
            self.say("program", event)
        elif event == "import" and str(args[0]).startswith(_STORE):
            self.say("store", f"imports {args[0]}")

    def _address(self, address: object, *, listening: bool) -> None:
        parts = cast("Sequence[Any]", address) if isinstance(address, tuple) else ()
        if len(parts) < 2:
            self.say("network", "uses a socket that is no TCP connection")
            return
        host, port = str(parts[0]), int(parts[1])
        named = {entry.rpartition(":")[::2] for entry in self._endpoints}
        if (host, str(port)) in named or (listening and (host, "0") in named):
            return
        # A name was resolved: its port must be one of those of declared names.
        if not listening and any(str(port) == p and not _literal(h) for h, p in named):
            return
        self.say(
            "network", f"{'listens at' if listening else 'connects to'} port {port} of a host that is not declared"
        )

    def _file(self, path: object, flags: int) -> None:
        real = _path(path)
        if not real or _within(real, self._own):
            return
        if _within(real, self._state) or any(_within(real, each) for each in self._forbidden):
            self.say("file", "opens a file of another agency or of the gateway")
        elif flags & _WRITING and not any(_within(real, each) for each in self._writable):
            self.say("file", f"writes outside of its folder: {Path(real).name}")

    def _folder(self, path: object) -> None:
        real = _path(path)
        others = [self._state, *self._forbidden]
        if real and not _within(real, self._own) and any(_within(real, each) for each in others):
            self.say("file", "lists a folder of another agency or of the gateway")


def main() -> int:
    """Run the session."""
    name, orders = sys.argv[1], Orders.parse(sys.stdin.readline())
    watch = Watch(orders)
    sys.addaudithook(watch.hook)
    host = AdapterHost.load([name])
    kind = host.kinds[name]
    settings = kind.settings.model_validate(orders.settings)
    watch.allow(frozenset(_spelled(entry) for entry in (*kind.hosts(settings), *kind.listens(settings))))
    watch.on = True
    spec = AgencySpec(orders.agency, {}, name, orders.settings, deadline_s=orders.deadline_s, concurrency=4)
    host.start({orders.agency: spec}, deployment="conformance", folder=Path(orders.state), listen=True)
    handle = host.agencies[orders.agency]
    for step in _steps(handle, orders):
        try:
            step()
        except AdapterError:
            continue
    host.close()
    if handle.workers.hung:
        watch.say("hang", f"{handle.workers.hung} calls did not come back within {orders.deadline_s:g} s")
    watch.on = False
    watch.say(END, "")
    return 0


def _steps(handle: AgencyHandle, orders: Orders) -> list[Callable[[], object]]:
    assert handle.manifest is not None
    steps: list[Callable[[], object]] = [handle.check]
    for use in handle.manifest.contracts.written:
        if use.contract == PACKAGE:
            steps.append(lambda: handle.exchange(samples.package(), "conform-watched"))
            continue
        request = samples.released(samples.request(use.contract, 1), handle.manifest.written_classes(use.contract))
        if request is not None:
            steps.append(partial(handle.deliver, request))
    if "read" in handle.manifest.capabilities:
        steps += [_wait_for_news, lambda: _look(handle)]
    return steps


def _wait_for_news() -> None:
    print(f"\n{NEWS}", flush=True)  # noqa: T201 - the parent reads it
    sys.stdin.readline()


def _look(handle: AgencyHandle) -> None:
    stream = handle.read("")
    for number, _ in enumerate(stream):
        if number >= _READS:
            break
    stream.close()


def _texts(value: object) -> list[str]:
    """Every text inside settings."""
    if isinstance(value, dict):
        return [text for each in cast("dict[str, object]", value).values() for text in _texts(each)]
    if isinstance(value, list | tuple):
        return [text for each in cast("list[object]", value) for text in _texts(each)]
    return [value] if isinstance(value, str) else []


def _spelled(entry: str) -> str:
    return entry.replace("localhost:", "127.0.0.1:")


def _literal(host: str) -> bool:
    return host.replace(".", "").isdigit() or ":" in host


def _path(given: object) -> str:
    """The real path of what an event names; empty for a file descriptor."""
    return _real(os.fsdecode(cast("str", given))) if isinstance(given, str | bytes | os.PathLike) else ""


def _real(path: "str | Path") -> str:
    return os.path.realpath(path)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


if __name__ == "__main__":
    sys.exit(main())
