"""One journal row, its canonical bytes, and its hash.

The leaf encoding, version 1, all integers big-endian: one version byte; ``seq``, ``at_us``, ``purpose``, ``classes`` as
signed 64-bit; then twelve unsigned 32-bit lengths; then the twelve values themselves in the order of ``_VALUES``, text
as UTF-8. The length ``0xFFFFFFFF`` means "absent" (only ``student``), which is not the same as empty. Every column but
``hash`` is covered, so two rows share a leaf only when they are equal.
"""

import struct
from hashlib import sha256
from typing import Final, NamedTuple

LEAF_VERSION: Final = 1
HASH_BYTES: Final = 32
ZERO_HASH: Final = bytes(HASH_BYTES)
"""``prev_hash`` of a writer's first row, and ``commitment`` of a row without payload."""

_ABSENT: Final = 0xFFFFFFFF
_STUDENT: Final = 5  # its place among the texts
_PACK: Final = struct.Struct(">Bqqqq12I").pack


class EncodingError(ValueError):
    """A row holds a value that no journal row can hold (wrong type, out of range, not Unicode)."""


class Entry(NamedTuple):
    """One journal row, columns in table order. Never holds free text or a personal value.

    ``at_us`` is microseconds since 1970 UTC, ``purpose`` the number of the purpose enum, ``classes`` a bit mask of field
    classes, ``student`` the random student reference, ``commitment`` an HMAC of the payload under the student's key.
    """

    writer: str
    seq: int
    at_us: int
    kind: str
    decision: str
    actor: str
    partner: str
    purpose: int
    classes: int
    student: str | None
    resource: str
    reason: str
    basis: str
    policy_version: str
    commitment: bytes
    prev_hash: bytes
    hash: bytes


def leaf(entry: Entry) -> bytes:
    """The canonical bytes of ``entry`` without its ``hash``. Raises EncodingError; the message names no value."""
    (
        writer, seq, at_us, kind, decision, actor, partner, purpose, classes,
        student, resource, reason, basis, policy_version, commitment, prev_hash, _,
    ) = entry  # fmt: skip
    try:
        texts = (
            writer, kind, decision, actor, partner, "" if student is None else student,
            resource, reason, basis, policy_version,
        )  # fmt: skip
        joined = "".join(texts)
        # Codes and references are ASCII, so that their characters are their bytes.
        lengths = [*map(len, texts)] if joined.isascii() else [len(text.encode()) for text in texts]
        if student is None:
            lengths[_STUDENT] = _ABSENT
        header = _PACK(LEAF_VERSION, seq, at_us, purpose, classes, *lengths, len(commitment), len(prev_hash))
        return b"".join((header, joined.encode(), commitment, prev_hash))
    except (AttributeError, TypeError, UnicodeEncodeError, struct.error):
        # "from None": the original message of UnicodeEncodeError would quote the value.
        raise EncodingError("a column of this journal row has a value of the wrong type or range") from None


def entry_hash(entry: Entry) -> bytes:
    """The RFC 6962 leaf hash of ``entry``: SHA-256(0x00 || leaf). ``prev_hash`` inside the leaf makes the chain."""
    return sha256(b"\x00" + leaf(entry)).digest()
