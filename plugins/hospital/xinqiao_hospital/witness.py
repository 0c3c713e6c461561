"""The journal's checkpoints beside a FHIR request: a header, so that the body of a repeat stays the same bytes.

``XinQiao-Checkpoint: <base64 of a C2SP signed note>[, <another>]``. A hospital that keeps it is a witness of the
district's journal; one that wants to say so gives the header back with its answer. Any other server passes it over.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Final

HEADER: Final = "XinQiao-Checkpoint"
_MAX_NOTES: Final = 16
_MAX_HEADER: Final = 6_000  # servers take 8 KiB for all headers of a request


class Witness:
    """The notes of one delivery, and which of them came back."""

    def __init__(self, notes: Sequence[str]) -> None:
        self._notes = notes
        self.echoed: tuple[str, ...] = ()

    def headers(self) -> dict[str, str]:
        """The header to send; none where there are no notes, or too many for a header."""
        value = pack(self._notes)
        return {HEADER: value} if value and len(value) <= _MAX_HEADER else {}

    def hear(self, headers: Mapping[str, str]) -> None:
        """What the answer gives back of them; its names are in lower case. Never raises: it is an extra."""
        found = unpack(headers.get(HEADER.lower(), ""))
        self.echoed = tuple(note for note in self._notes if note in found)


def pack(notes: Sequence[str]) -> str:
    """The header's value."""
    return ", ".join(base64.b64encode(note.encode()).decode() for note in notes)


def unpack(value: str) -> tuple[str, ...]:
    """The notes in a header's value; what is none is passed over."""
    found: list[str] = []
    for part in value.split(",", _MAX_NOTES)[:_MAX_NOTES]:
        try:
            found.append(base64.b64decode(part.strip(), validate=True).decode())
        except (binascii.Error, ValueError):
            continue
    return tuple(note for note in found if note)
