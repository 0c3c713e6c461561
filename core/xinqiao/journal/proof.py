"""Inclusion proofs: one journal row that a parent or an auditor can check with the signer's public key alone.

A proof is one JSON document: ``entry`` (the row's columns, for people), ``leaf`` (its canonical bytes, see
`xinqiao.journal.entry`), ``path`` (the sibling hashes from the leaf up, RFC 6962), ``size`` and ``checkpoint`` (the
signed note). Binary values are base64. The README shows the check in twenty lines.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from xinqiao.journal.chain import CHANGED, MISSING, UNREADABLE
from xinqiao.journal.entry import EncodingError, Entry, entry_hash, leaf
from xinqiao.journal.merkle import inclusion_proof, verify_inclusion
from xinqiao.journal.note import NoteError, open_checkpoint
from xinqiao.store.readonly import open_journal

FORMAT: Final = "xinqiao-inclusion-proof/1"
_BYTES: Final = frozenset({"commitment", "prev_hash", "hash"})
_REASONS: Final = {
    "NO_ROW": (MISSING, "没有这一行日志", "there is no such journal row"),
    "NO_CHECKPOINT": (
        MISSING, "尚无检查点包含本行：请等下一个检查点后再试",
        "no checkpoint covers this row yet: wait for the next checkpoint and ask again",
    ),
    "DAMAGED": (
        CHANGED, "日志有缺行或损坏：请先运行 xinqiao journal verify",
        "the journal has missing or damaged rows: run xinqiao journal verify first",
    ),
    "FORMAT": (UNREADABLE, f"不是 {FORMAT} 格式的证明", f"not a proof of the format {FORMAT}"),
    "MALFORMED": (
        UNREADABLE, "证明格式有误：缺少某一部分或类型不对",
        "the proof is malformed: a part is missing or has the wrong type",
    ),
    "NOTE": (CHANGED, "检查点不可信：{detail}", "{detail}"),
    "OTHER_JOURNAL": (
        CHANGED, "证明的行与检查点分属不同的日志或行数",
        "the proof's row and its checkpoint are about different journals or sizes",
    ),
    "CONTENT": (CHANGED, "行内容与其散列值不符", "the row's content does not match its hash"),
    "NOT_IN_TREE": (
        CHANGED, "本行不在检查点所签的树中", "the row is not in the tree that the checkpoint signs",
    ),
}  # fmt: skip


class ProofError(ValueError):
    """No proof can be made, or a proof does not hold; says which part, never a value.

    ``code`` is 2 when something was changed, 3 when a row or checkpoint is missing, 4 when something is unreadable.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.code, self._zh, self._en = _REASONS[reason]
        self._detail = detail
        super().__init__(self.say("en"))

    def say(self, language: str) -> str:
        """What is wrong, in ``zh`` or ``en``."""
        return (self._zh if language == "zh" else self._en).format(detail=self._detail)


def find(store_url: str, name: str) -> list[Entry]:
    """The rows that ``name`` means: ``WRITER/SEQ`` is one row, anything else a resource such as ``referrals/{id}``.

    Raises Unreadable.
    """
    writer, _, seq = name.rpartition("/")
    with open_journal(store_url) as journal:
        if writer and seq.isascii() and seq.isdigit() and len(seq) < 19:
            number = int(seq)
            found = [entry for entry in map(Entry._make, journal.rows(writer, number)) if entry.seq == number]
            if found:
                return found
        return list(map(Entry._make, journal.about(name)))


def prove(store_url: str, writer: str, seq: int) -> dict[str, Any]:
    """The proof, ready for JSON, that row ``seq`` of ``writer`` is in the tree of its latest checkpoint.

    Raises ProofError NO_CHECKPOINT when no checkpoint covers the row, DAMAGED when rows are missing or changed, and
    Unreadable when the database is. Whoever hands it out calls `check_proof` first.
    """
    with open_journal(store_url) as journal:
        covering = [each for each in journal.checkpoints() if each[0] == writer and each[1] >= seq > 0]
        if not covering:
            raise ProofError("NO_CHECKPOINT")
        _, size, note = covering[-1]
        rows = (Entry._make(row) for row in journal.rows(writer, size))
        kept: list[Entry] = []
        try:
            path = inclusion_proof(_hashes(rows, seq, kept), seq - 1, size)
        except (EncodingError, ValueError):
            raise ProofError("DAMAGED") from None
    if not kept or kept[0].seq != seq:
        raise ProofError("DAMAGED")
    return {
        "format": FORMAT,
        "entry": {name: _to_json(name, value) for name, value in kept[0]._asdict().items()},
        "leaf": b64encode(leaf(kept[0])).decode(),
        "size": size,
        "path": [b64encode(item).decode() for item in path],
        "checkpoint": note,
    }


def check_proof(proof: Mapping[str, Any], *public_keys: Ed25519PublicKey) -> Entry:
    """Check ``proof`` (from ``prove``, perhaps through JSON) offline and return the proven row. Raises ProofError."""
    if proof.get("format") != FORMAT:
        raise ProofError("FORMAT")
    try:
        entry = _entry(cast(Mapping[str, Any], proof["entry"]))
        stated = b64decode(proof["leaf"], validate=True)
        path = [b64decode(item, validate=True) for item in proof["path"]]
        checkpoint = open_checkpoint(str(proof["checkpoint"]), public_keys)
        digest = entry_hash(entry)
    except NoteError as error:
        raise ProofError("NOTE", str(error)) from None
    except (KeyError, TypeError, ValueError):
        raise ProofError("MALFORMED") from None
    if checkpoint.writer != entry.writer or checkpoint.size != proof.get("size"):
        raise ProofError("OTHER_JOURNAL")
    if entry.hash != digest or stated != leaf(entry):
        raise ProofError("CONTENT")
    if not verify_inclusion(entry.seq - 1, checkpoint.size, digest, path, checkpoint.root):
        raise ProofError("NOT_IN_TREE")
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
