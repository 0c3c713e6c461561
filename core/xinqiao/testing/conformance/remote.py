"""A partner's own service under test: reached over a line that plays what can go wrong on the way."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from xinqiao.adapters.manifest import FILE
from xinqiao.adapters.protocols import Simulator
from xinqiao.adapters.transport import parse_endpoint
from xinqiao.testing.conformance.report import plugin_folder
from xinqiao.testing.conformance.rig import Subject
from xinqiao.testing.line import PLAYS, Line

REMOTE: Final = "remote"
"""The plugin that is the gateway's client of such a service."""


@dataclass(frozen=True, slots=True)
class Service:
    """Where a partner's service is, which manifest it has, and how it is trusted; files are PEM."""

    address: str
    manifest: Path
    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class RemotePartner:
    """``Simulator`` and ``Faulty`` of a service that runs somewhere else: nothing of it is seen but its answers."""

    def __init__(self, service: Service) -> None:
        self._service = service
        where = parse_endpoint(service.address)
        self._host = where.host
        self._line = Line(where.host, where.port)

    @property
    def plays(self) -> frozenset[str]:
        """What can go wrong on the way."""
        return PLAYS

    def play(self, fault: str, *, times: int = 1, seconds: float = 0.0) -> None:
        """Play a fault on the line."""
        self._line.play(fault, times=times, seconds=seconds)

    def calm(self) -> None:
        """End every fault."""
        self._line.calm()

    def start(self) -> dict[str, Any]:
        """Open the line; settings of the remote adapter."""
        service = self._service
        settings: dict[str, Any] = {"address": self._line.open(), "manifest": str(service.manifest.resolve())}
        if service.authority is not None:
            settings |= {"authority": str(service.authority), "server_name": self._host}
        if service.certificate is not None and service.key is not None:
            settings |= {"certificate": str(service.certificate), "key": str(service.key)}
        return settings

    def stop(self) -> None:
        """Close the line."""
        self._line.close()

    def receipt_public_key_pem(self) -> bytes:
        """Not known here."""
        return b""


def remote_subject(service: Service) -> Subject:
    """What the suite judges: the remote adapter with this service behind it."""
    made: Callable[[Path], Simulator] = lambda folder: RemotePartner(service)  # noqa: E731
    return Subject(REMOTE, partner=made)


def manifest_path(name: str) -> Path:
    """The manifest that ``name`` means: a file, or that of an installed plugin. Raises OSError, ImportError."""
    given = Path(name)
    if given.suffix in (".yaml", ".yml") or given.is_file():
        return given
    folder = plugin_folder(name)
    beside = folder / FILE
    return beside if beside.is_file() else folder / f"xinqiao_{name}" / FILE
