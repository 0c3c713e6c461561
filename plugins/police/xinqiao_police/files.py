"""Reads one message of a centre outside of any agency, as the adapter would: for ``xinqiao adapters read``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from xinqiao.adapters.protocols import Accepted, FileItem, Refused
from xinqiao.config import Secret
from xinqiao.contract.clock import SystemClock
from xinqiao_police.desk import brought, read
from xinqiao_police.messages import Call, understand
from xinqiao_police.settings import PoliceSettings, Wire
from xinqiao_police.wire import MAX_BODY, NotUnderstood


class ReadingSettings(PoliceSettings):
    """The adapter's settings where there is no deployment: addresses and secrets do not matter for reading a file."""

    url: str = "http://127.0.0.1"
    sign_with: tuple[Secret, ...] = Field(default=())


class PoliceReader:
    """Webhook bodies in JSON, and CAP 1.2; which one a file is, its first byte says."""

    @property
    def settings(self) -> type[BaseModel]:
        """What it reads by."""
        return ReadingSettings

    def read_file(self, path: Path, settings: Any) -> Iterator[FileItem]:
        """One item. Raises OSError."""
        with path.open("rb") as file:
            body = file.read(MAX_BODY + 1)
        try:
            yield understood(body, settings)
        except NotUnderstood as e:
            yield Refused(e.reason, e.place, e.message)


def understood(body: bytes, settings: PoliceSettings) -> Accepted:
    """What a body would be taken as. Raises NotUnderstood."""
    if len(body) > MAX_BODY:
        raise NotUnderstood("DATA/TOO_LARGE", "file", f"longer than {MAX_BODY} bytes")
    if not body.strip():
        raise NotUnderstood("DATA/EMPTY", "file", "the file is empty")
    start = body.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:1] not in (b"<", b"{"):
        raise NotUnderstood("DATA/FILE_TYPE", "file", "neither a JSON object nor CAP 1.2")
    wire: Wire = "cap" if start.startswith(b"<") else "json"
    envelope = read(wire, body)
    said = understand(envelope, SystemClock().now_us())
    if said is None:
        return Accepted("ping", "envelope")
    if not isinstance(said, Call):  # a token cannot be opened here
        brought(envelope, said, settings, None, source="file")
    return Accepted(envelope.type, "envelope", "DRILL" if envelope.drill else "", "a drill" if envelope.drill else "")
