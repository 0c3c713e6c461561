"""Checkpoints as C2SP signed notes (https://c2sp.org/tlog-checkpoint, https://c2sp.org/signed-note).

A note is small text that anyone can keep: origin, tree size, root, a blank line, signatures. Partners echo it in their
receipts, and so become witnesses of the journal.
"""

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_ED25519: Final = b"\x01"
_OTHER: Final = b"\xff"  # signed-note's type for algorithms without a number of their own: a name follows
_MAX_NOTE: Final = 16_384
_MAX_SIGNATURES: Final = 16
_SIZE: Final = re.compile(r"[1-9][0-9]{0,17}|0", re.ASCII)
_DEPLOYMENT: Final = re.compile(r"[^\s/+]{1,128}")
_WRITER: Final = re.compile(r"[^\s+]{1,128}")


class NoteError(ValueError):
    """A checkpoint note is malformed or carries no signature by a known key."""


class Checkpoint(NamedTuple):
    """What a signed note says: the first ``size`` rows of ``writer`` hash to ``root``."""

    deployment: str
    writer: str
    size: int
    root: bytes


class Cosigner(Protocol):
    """A further signer under each checkpoint, such as SM2 with SM3 in a district's HSM; see `xinqiao.journal.cosigning`.

    ``name`` stands in the note, without blanks or ``+``; ``algorithm`` and ``public_key`` make the key id. Both methods
    may be called from any thread.
    """

    @property
    def name(self) -> str: ...
    @property
    def algorithm(self) -> str: ...
    @property
    def public_key(self) -> bytes: ...

    def sign(self, message: bytes) -> bytes:
        """The signature over the note's text. Raises any exception when it cannot: then nothing is signed."""
        ...

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether it is this signer's, by the public key alone. Never raises for a bad signature."""
        ...


def make_checkpoint(key: Ed25519PrivateKey, checkpoint: Checkpoint, cosigners: Sequence[Cosigner] = ()) -> str:
    """The signed note for ``checkpoint``. Raises NoteError when a name holds blanks, ``+``, or (deployment) ``/``."""
    deployment, writer, size, root = checkpoint
    if not _DEPLOYMENT.fullmatch(deployment) or not _WRITER.fullmatch(writer):
        raise NoteError("a deployment or writer name must have 1 to 128 characters, no blanks, no '+', no '/'")
    name = f"xinqiao/{deployment}"
    text = f"{name}/{writer}\n{size}\n{b64encode(root).decode()}\n"
    lines = [(name, _key_id(name, key.public_key()) + key.sign(text.encode()))]
    for each in cosigners:
        if not _WRITER.fullmatch(each.name):
            raise NoteError("a cosigner's name must have 1 to 128 characters, no blanks, no '+'")
        lines.append((each.name, _cosigner_id(each) + each.sign(text.encode())))
    return f"{text}\n" + "".join(f"— {signer} {b64encode(blob).decode()}\n" for signer, blob in lines)


def read_checkpoint(note: str) -> Checkpoint:
    """What ``note`` says, its signatures not looked at: for a note that this process made. Raises NoteError."""
    return _split(note)[0]


def open_checkpoint(
    note: str, public_keys: Iterable[Ed25519PublicKey], cosigners: Iterable[Cosigner] = ()
) -> Checkpoint:
    """Check the signature of ``note`` and read it.

    The signer's name must be the origin without the writer, so a key of one deployment cannot speak for another.
    Unknown signatures are passed over; a line of one of ``cosigners`` may be absent, but not wrong. Raises NoteError.
    """
    checkpoint, text, signatures = _split(note)
    name = f"xinqiao/{checkpoint.deployment}"
    mine = [blob for signer, blob in signatures if signer == name]
    if not any(_signed_by(key, name, text, mine) for key in public_keys):
        raise NoteError("the checkpoint note carries no valid signature by a known key")
    for each in cosigners:
        for signer, blob in signatures:
            if (signer, blob[:4]) == (each.name, _cosigner_id(each)) and not each.verify(text.encode(), blob[4:]):
                raise NoteError("the checkpoint note carries a wrong signature by a known cosigner")
    return checkpoint


def cosigned(note: str, cosigner: Cosigner) -> bool:
    """Whether ``note`` has a line under the key of ``cosigner``; `open_checkpoint` says whether it is right."""
    wanted = cosigner.name, _cosigner_id(cosigner)
    return any((signer, blob[:4]) == wanted for signer, blob in _split(note)[2])


def _split(note: str) -> tuple[Checkpoint, str, list[tuple[str, bytes]]]:
    """What the note says, the text that is signed, and each signer with its key id and signature."""
    if len(note) > _MAX_NOTE:
        raise NoteError(f"a checkpoint note has at most {_MAX_NOTE} characters")
    if any("\ud800" <= character <= "\udfff" for character in note):
        raise NoteError("a checkpoint note must be UTF-8")
    text, separator, tail = note.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise NoteError("a checkpoint note needs a blank line and then signature lines")
    text += "\n"
    checkpoint = _parse(text)
    signatures = [_parse_signature(line) for line in tail[:-1].split("\n")]
    if len(signatures) > _MAX_SIGNATURES:
        raise NoteError(f"a checkpoint note has at most {_MAX_SIGNATURES} signatures")
    return checkpoint, text, signatures


def _parse(text: str) -> Checkpoint:
    lines = text[:-1].split("\n")
    if len(lines) != 3:
        raise NoteError("a checkpoint note has three lines: origin, tree size, root")
    scheme, _, rest = lines[0].partition("/")
    deployment, _, writer = rest.partition("/")
    if scheme != "xinqiao" or not _DEPLOYMENT.fullmatch(deployment) or not _WRITER.fullmatch(writer):
        raise NoteError("line 1 of the checkpoint note must be xinqiao/<deployment>/<writer>")
    if not _SIZE.fullmatch(lines[1]):
        raise NoteError("line 2 of the checkpoint note must be the tree size in decimal")
    root = _base64(lines[2], "line 3 of the checkpoint note")
    if len(root) != 32:
        raise NoteError("line 3 of the checkpoint note must be a SHA-256 hash")
    return Checkpoint(deployment, writer, int(lines[1]), root)


def _parse_signature(line: str) -> tuple[str, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "—":
        raise NoteError("a signature line must be: em dash, name, base64")
    return parts[1], _base64(parts[2], "a signature line")


def _base64(text: str, where: str) -> bytes:
    try:
        data = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteError(f"{where} holds broken base64") from None
    if b64encode(data).decode() != text:
        raise NoteError(f"{where} holds base64 that is not canonical")
    return data


def _signed_by(key: Ed25519PublicKey, name: str, text: str, blobs: list[bytes]) -> bool:
    key_id = _key_id(name, key)
    for blob in blobs:
        if blob[:4] != key_id:
            continue
        try:
            key.verify(blob[4:], text.encode())
        except InvalidSignature:
            continue
        return True
    return False


def _key_id(name: str, key: Ed25519PublicKey) -> bytes:
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return sha256(name.encode() + b"\n" + _ED25519 + raw).digest()[:4]


def _cosigner_id(cosigner: Cosigner) -> bytes:
    about = _OTHER + cosigner.algorithm.encode() + b"\n" + cosigner.public_key
    return sha256(cosigner.name.encode() + b"\n" + about).digest()[:4]
