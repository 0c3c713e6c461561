"""Reads a file of HL7 v2 messages outside of any agency: for ``xinqiao adapters read``, nothing is stored."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from xinqiao.adapters.protocols import Accepted, FileItem, Refused
from xinqiao_hospital.hl7.charset import BOM
from xinqiao_hospital.hl7.message import Message, parse
from xinqiao_hospital.hl7.receiver import TAKEN, check_header
from xinqiao_hospital.hl7.refused import Hl7Refused
from xinqiao_hospital.hl7.settings import Hl7Settings
from xinqiao_hospital.hl7.updates import news, referral_in

MAX_FILE: Final = 64 * 1024 * 1024
_BETWEEN = re.compile(rb"[\r\n](?=MSH\|)|\x1c\r?\n?")
_BATCH = (b"FHS|", b"BHS|")
_FRAME = b"\x0b\x1c\r\n \t"


class ReadingSettings(Hl7Settings):
    """The adapter's settings where there is no deployment: the address does not matter for reading a file."""

    host: str = "127.0.0.1"
    port: int = 2575


class Hl7Reader:
    """Messages as the adapter would take them, and referrals as the hospital would; framed or plain, one or many."""

    @property
    def settings(self) -> type[BaseModel]:
        """What it reads by."""
        return ReadingSettings

    def read_file(self, path: Path, settings: Any) -> Iterator[FileItem]:
        """One item for each message of the file. Raises OSError."""
        chosen = hl7_settings(settings)
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            yield Refused("DATA/TOO_LARGE", "file", f"a file has at most {MAX_FILE} bytes")
            return
        parts = [part.strip(_FRAME).removeprefix(BOM) for part in _BETWEEN.split(data)]
        messages = [part for part in parts if part and not part.startswith(_BATCH)]
        if not messages:
            yield Refused("DATA/EMPTY", "file", "the file holds no message")
        for number, raw in enumerate(messages, start=1):
            where = f"message {number}" if len(messages) > 1 else ""
            yield _item(raw, chosen, where)


def hl7_settings(settings: Any) -> Hl7Settings:
    """The HL7 part of whatever the command line was given."""
    if isinstance(settings, Hl7Settings):
        return settings
    found = getattr(settings, "hl7", None)
    return found if isinstance(found, Hl7Settings) else ReadingSettings()


def _item(raw: bytes, settings: Hl7Settings, where: str) -> FileItem:
    try:
        message = parse(raw, settings.encoding)
        check_header(message, settings, addressed=False)
        kind, notes = _told(message, settings)
    except Hl7Refused as e:
        return Refused(f"DATA/{e.reason}", " ".join(part for part in (where, e.place) if part), e.message)
    if message.ignored:
        notes.append(f"not read: {', '.join(f'{name} {count}' for name, count in sorted(message.ignored.items()))}")
    reason = "DATA/IGNORED" if notes else ""
    return Accepted(kind, where or "MSH", reason, "; ".join(notes))


def _told(message: Message, settings: Hl7Settings) -> tuple[str, list[str]]:
    """What kind of message it is, and what was read past. Raises Hl7Refused."""
    if message.kind == "REF" and message.trigger in ("I12", "I13", "I14"):
        assumed = referral_in(message)
        return f"REF^{message.trigger}", [f"no zone: read as Asia/Shanghai at {place}" for place in assumed]
    if (message.kind, message.trigger) not in TAKEN:
        why = "RRI^I12 and ORU^R01 are taken from a hospital, REF^I12 is sent to one"
        raise Hl7Refused("AR", "MESSAGE_TYPE", why, "MSH-9")
    found = news(message, settings.status_codes, settings.result_codes)
    notes = [f"no zone: read as Asia/Shanghai at {place}" for place in found.assumed]
    if found.update is None:
        notes.insert(0, f"acknowledged, not routed: {found.why[0]} at {found.why[1]}")
    return f"{message.kind}^{message.trigger}", notes
