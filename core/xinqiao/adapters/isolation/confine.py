"""What an adapter's process takes from itself before any line of the plugin runs.

Three fences, each of what this machine offers: limits of the kernel for memory, descriptors and core dumps; Landlock
for files, TCP ports, signals and programs, which binds native code too; and an audit hook for what Python itself does,
which knows addresses and not only ports. What they do not stop: processor time of this process; a native library that
sends UDP, or connects to another host at a declared port; a database's socket file; and, where the kernel has no
Landlock, native code altogether.
"""

import ctypes
import fcntl
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from xinqiao.adapters.errors import AdapterConfigError, PartnerRefused
from xinqiao.adapters.isolation import landlock

_SYSTEM: Final = tuple(
    Path(p)
    for p in (
        "/usr", "/lib", "/lib64", "/bin", "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/resolv.conf",
        "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols",
        "/etc/localtime", "/etc/timezone", "/etc/mime.types", "/etc/ld.so.cache", "/dev/urandom", "/dev/random",
    )
)  # fmt: skip
_DESCRIPTORS: Final = 256
_DNS: Final = 53
_PROGRAMS: Final = frozenset(
    {
        "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile", "os.kill",
        "os.killpg", "pty.spawn", "subprocess.Popen", "signal.pthread_kill", "ctypes.dlopen", "ctypes.dlsym",
        "ctypes.dlsym/handle", "sys.remote_exec",
    }
)  # fmt: skip
_FILES: Final = {
    "os.listdir": 1, "os.scandir": 1, "os.chdir": 1, "os.remove": 1, "os.rmdir": 1, "os.mkdir": 1, "os.truncate": 1,
    "os.chmod": 1, "os.chown": 1, "os.utime": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2, "sqlite3.connect": 1,
}  # fmt: skip
"""Audit events that name files, and how many of their first arguments do."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one adapter may reach. ``hosts`` and ``listens`` are ``host:port``; ``hidden`` wins over what lies above it."""

    hosts: Sequence[str] = ()
    listens: Sequence[str] = ()
    reads: Sequence[Path] = ()
    writes: Sequence[Path] = ()
    hidden: Sequence[Path] = ()
    memory_mb: int = 1024
    known: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])


def die_with(lifeline: int) -> None:
    """Have the kernel kill this process once the other end of ``lifeline`` is closed, whatever it is doing then.

    No thread of ours is needed for it, so a call that never gives the interpreter back cannot outlive the gateway.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, 10, signal.SIGKILL)  # F_SETSIG
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
    try:
        gone = os.read(lifeline, 1) == b""  # it may have been closed before
    except BlockingIOError:
        gone = False
    if gone:
        os._exit(1)


def limit(memory_mb: int) -> None:
    """Bound memory, descriptors and core dumps, for good."""
    for kind, value in (
        (resource.RLIMIT_AS, memory_mb * 2**20),
        (resource.RLIMIT_NOFILE, _DESCRIPTORS),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (value, value))


def fence(bounds: Bounds) -> int:
    """Put up Landlock and the audit hook; returns the version of Landlock in force, 0 for none."""
    # A folder of modules that holds what is hidden cannot be granted: Landlock knows no exceptions.
    paths = [Path(p) for p in sys.path if p and not any(h.is_relative_to(Path(p).resolve()) for h in bounds.hidden)]
    own = [*paths, Path(sys.prefix), Path(sys.base_prefix), Path(sys.exec_prefix)]
    reads = [*_SYSTEM, *own, *bounds.reads]
    ports = {_split(entry)[1] for entry in bounds.hosts}
    binds = {_split(entry)[1] for entry in bounds.listens}
    in_force = landlock.restrict(
        reads, [*bounds.writes, Path("/dev/null")], ports | ({_DNS} if ports else set()), binds
    )
    _watch_names(bounds)
    sys.addaudithook(_hook(_Files([*reads, Path("/dev/null")], bounds), _Network(bounds)))
    return in_force


def _watch_names(bounds: Bounds) -> None:
    """Remember the addresses that declared names lead to: a connection names an address only."""
    asked = socket.getaddrinfo

    def getaddrinfo(*args: Any, **more: Any) -> Any:
        found = asked(*args, **more)
        bounds.known.update((str(each[4][0]), int(each[4][1])) for each in found)
        return found

    socket.getaddrinfo = getaddrinfo


class _Network:
    def __init__(self, bounds: Bounds) -> None:
        self._hosts = {_split(entry) for entry in bounds.hosts}
        self._listens = {_split(entry) for entry in bounds.listens}
        self._bounds = bounds

    def judge(self, event: str, args: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            self._to(args[1])
        elif event == "socket.bind":
            self._at(args[1])
        elif event == "socket.getaddrinfo":
            self._name(_text(args[0]), args[1])
        elif event in ("socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"):
            self._name(_text(args[0]), None)

    def _to(self, address: Any) -> None:
        if address is None:  # a message on a socket that is connected
            return
        target = _target(address)
        named = target in self._bounds.known and target[1] in {port for _, port in self._hosts}
        if target in self._hosts or named:
            return
        raise PartnerRefused("EGRESS/NOT_ALLOWED", "this address is not one of the agency's hosts")

    def _at(self, address: Any) -> None:
        if _target(address) in self._listens:
            return
        raise AdapterConfigError("this address is not one the agency's settings name to listen at")

    def _name(self, host: str, port: Any) -> None:
        if any(host == name and port in (None, number, str(number)) for name, number in self._hosts):
            return
        raise PartnerRefused("EGRESS/NOT_ALLOWED", "this name is not one of the agency's hosts")


class _Files:
    """The longest path that holds a file decides."""

    def __init__(self, reads: Sequence[Path], bounds: Bounds) -> None:
        self._roots = {os.path.realpath(path): True for path in (*reads, *bounds.writes)}
        for path in bounds.hidden:
            self._roots.setdefault(os.path.realpath(path), False)

    def judge(self, event: str, args: tuple[Any, ...]) -> None:
        for name in args[: 1 if event == "open" else _FILES[event]]:
            if isinstance(name, (str, bytes, os.PathLike)) and not self._allowed(os.fsdecode(cast("str", name))):
                raise PermissionError("this file is not one the adapter may reach")

    def _allowed(self, name: str) -> bool:
        if name == ":memory:":
            return True
        path = os.path.realpath(name)
        while (verdict := self._roots.get(path)) is None:
            above = os.path.dirname(path)  # noqa: PTH120, a hot path
            if above == path:
                return False
            path = above
        return verdict


def _hook(files: _Files, network: _Network) -> Callable[[str, tuple[Any, ...]], None]:
    def judge(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" or event in _FILES:
            files.judge(event, args)
        elif event.startswith("socket."):
            network.judge(event, args)
        elif event in _PROGRAMS:
            raise PermissionError(f"an adapter may not use {event}")

    return judge


def _split(entry: str) -> tuple[str, int]:
    host, _, port = entry.rpartition(":")
    host = host.strip("[]").lower()
    return "127.0.0.1" if host == "localhost" else host, int(port)


def _target(address: Any) -> tuple[str, int] | None:
    """Host and port; None for a Unix socket and whatever else is no address of the internet."""
    if isinstance(address, (str, bytes)):
        return None
    try:
        return _text(address[0]), int(address[1])
    except (LookupError, TypeError, ValueError):
        return None


def _text(host: Any) -> str:
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")
    return "127.0.0.1" if text.lower() == "localhost" else text.lower()


_ = ctypes  # loaded before the fence: libraries that import it must find it there
