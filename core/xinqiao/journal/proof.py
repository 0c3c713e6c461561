"""Inclusion proofs: one journal row that a parent or an auditor can check with the signer's public key alone."""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from xinqiao.journal.entry import EncodingError, Entry, entry_hash
from xinqiao.journal.merkle import inclusion_proof, verify_inclusion
from xinqiao.journal.note import NoteError, open_checkpoint
from xinqiao.store.readonly import open_journal

FORMAT: Final = "xinqiao-inclusion-proof/1"
_BYTES: Final = frozenset({"commitment", "prev_hash", "hash"})


class ProofError(ValueError):
    """No proof can be made, or a proof does not hold; the message says which part, never a value."""


def prove(store_url: str, writer: str, seq: int) -> dict[str, Any]:
    """The proof, ready for JSON, that row ``seq`` of ``writer`` is in the tree of its latest checkpoint.

    Raises ProofError when no checkpoint covers the row or rows are missing, Unreadable when the database is.
    """
    with open_journal(store_url) as journal:
        covering = [each for each in journal.checkpoints() if each[0] == writer and each[1] >= seq > 0]
        if not covering:
            raise ProofError("no checkpoint covers this row yet: wait for the next checkpoint and ask again")
        _, size, note = covering[-1]
        rows = (Entry._make(row) for row in journal.rows(writer, size))
        kept: list[Entry] = []
        try:
            path = inclusion_proof(_hashes(rows, seq, kept), seq - 1, size)
        except (EncodingError, ValueError):
            raise ProofError("the journal has missing or damaged rows: run the verification first") from None
    if not kept or kept[0].seq != seq:
        raise ProofError("the journal has missing or damaged rows: run the verification first")
    return {
        "format": FORMAT,
        "entry": {name: _to_json(name, value) for name, value in kept[0]._asdict().items()},
        "size": size,
        "path": [b64encode(item).decode() for item in path],
        "checkpoint": note,
    }


def check_proof(proof: Mapping[str, Any], *public_keys: Ed25519PublicKey) -> Entry:
    """Check ``proof`` (from ``prove``, perhaps through JSON) offline and return the proven row. Raises ProofError."""
    if proof.get("format") != FORMAT:
        raise ProofError(f"not a proof of the format {FORMAT}")
    try:
        entry = _entry(cast(Mapping[str, Any], proof["entry"]))
        path = [b64decode(item, validate=True) for item in proof["path"]]
        checkpoint = open_checkpoint(str(proof["checkpoint"]), public_keys)
        digest = entry_hash(entry)
    except NoteError as error:
        raise ProofError(str(error)) from None
    except (KeyError, TypeError, ValueError):
        raise ProofError("the proof is malformed: a part is missing or has the wrong type") from None
    if checkpoint.writer != entry.writer or checkpoint.size != proof.get("size"):
        raise ProofError("the proof's row and its checkpoint are about different journals or sizes")
    if entry.hash != digest:
        raise ProofError("the row's content does not match its hash")
    if not verify_inclusion(entry.seq - 1, checkpoint.size, digest, path, checkpoint.root):
        raise ProofError("the row is not in the tree that the checkpoint signs")
    return entry


def _hashes(rows: Iterable[Entry], seq: int, kept: list[Entry]) -> Iterator[bytes]:
    for position, entry in enumerate(rows, 1):
        if position == seq:
            kept.append(entry)
        yield entry_hash(entry)


def _entry(fields: Mapping[str, Any]) -> Entry:
    if set(fields) != set(Entry._fields):
        raise ValueError("columns")
    return Entry._make(_from_json(name, fields[name]) for name in Entry._fields)


def _from_json(name: str, value: Any) -> Any:
    return b64decode(value, validate=True) if name in _BYTES else value


def _to_json(name: str, value: Any) -> Any:
    return b64encode(value).decode() if name in _BYTES else value
