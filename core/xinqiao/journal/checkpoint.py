"""Signing the heads of the journal: one note per writer with new rows, never one that contradicts an earlier note."""

from collections.abc import Iterable, Iterator
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from xinqiao.contract.errors import Refusal
from xinqiao.journal.chain import Chain
from xinqiao.journal.entry import Entry
from xinqiao.journal.note import Checkpoint, NoteError, make_checkpoint, open_checkpoint
from xinqiao.store import tables
from xinqiao.store.engine import Store
from xinqiao.store.sql import ColumnElement, func, select
from xinqiao.store.tx import ReadTx, Tx

_PAGE: Final = 2000


class JournalInconsistent(Refusal):
    """The journal contradicts its last checkpoint: nothing is signed for the writers concerned."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(
            "FAILED_PRECONDITION",
            "JOURNAL_INCONSISTENT",
            "no checkpoint was signed: " + "; ".join(problems) + ". Stop routine sending and verify the journal.",
        )


class Checkpointer:
    """Signs checkpoints for every writer in ``store``. One thread at a time.

    Between runs only O(log n) hashes per writer stay in memory; on the first run that finds new rows they are rebuilt
    by streaming the writer's rows once. ``also_trusted`` are earlier signing keys, whose notes are still honoured.
    """

    def __init__(
        self,
        store: Store,
        signing_key: Ed25519PrivateKey,
        deployment: str,
        *,
        also_trusted: Iterable[Ed25519PublicKey] = (),
    ) -> None:
        self._store = store
        self._key = signing_key
        self._deployment = deployment
        self._trusted = (signing_key.public_key(), *also_trusted)
        self._chains: dict[str, Chain] = {}
        self._signed: dict[str, int] = {}

    def run_once(self) -> dict[str, str]:
        """Sign a checkpoint for each writer with rows after its last one; the new notes by writer.

        Raises JournalInconsistent, after signing for the sound writers, when rows do not chain, when the tree does not
        extend the last checkpoint, or when rows or checkpoints were rolled back.
        """
        new: dict[str, Checkpoint] = {}
        problems: list[str] = []
        with self._store.read() as tx:
            heads = dict(_heads(tx))
            notes = latest(tx)
        for writer in sorted(heads.keys() | notes.keys() | self._signed.keys()):
            try:
                checkpoint = self._extend(writer, heads.get(writer, 0), notes.get(writer))
            except _ProblemError as problem:
                self._chains.pop(writer, None)
                problems.append(f"{writer}: {problem}")
                continue
            if checkpoint is not None:
                new[writer] = checkpoint
        signed = {writer: make_checkpoint(self._key, checkpoint) for writer, checkpoint in new.items()}
        if signed:
            self._store.run(lambda tx: _keep(tx, new, signed))
            self._signed.update((writer, checkpoint.size) for writer, checkpoint in new.items())
        if problems:
            raise JournalInconsistent(problems)
        return signed

    def _extend(self, writer: str, top: int, note: str | None) -> Checkpoint | None:
        """Bring the writer's chain up to row ``top``; what to sign, or None when nothing is new."""
        last = self._open(writer, note)
        size = last.size if last is not None else 0
        if size < self._signed.get(writer, 0):
            raise _ProblemError("the last checkpoint was signed for more rows than the stored one: rolled back")
        if top < size:
            raise _ProblemError(f"rows {top + 1} to {size} are missing, a checkpoint covers them")
        self._signed[writer] = size
        if top == size:
            return None
        chain = self._chains.setdefault(writer, Chain(writer))
        if last is not None and chain.seq == size:
            _compare(chain, last)
        while chain.seq < top:
            for entry in self._page(writer, chain.seq, top):
                for finding in chain.add(entry):
                    raise _ProblemError(f"row {finding.seq}: {finding.what}")
                if last is not None and chain.seq == size:
                    _compare(chain, last)
        return Checkpoint(self._deployment, writer, top, chain.frontier.root())

    def _open(self, writer: str, note: str | None) -> Checkpoint | None:
        if note is None:
            return None
        try:
            opened = open_checkpoint(note, self._trusted)
        except NoteError as error:
            raise _ProblemError(f"the last checkpoint cannot be trusted: {error}") from None
        if (opened.deployment, opened.writer) != (self._deployment, writer):
            raise _ProblemError("the last checkpoint is about another journal")
        return opened

    def _page(self, writer: str, after: int, top: int) -> list[Entry]:
        column = tables.journal.c
        statement = select(tables.journal).where(column.writer == writer, column.seq > after, column.seq <= top)
        with self._store.read() as tx:
            rows = tx.all(statement.order_by(column.seq).limit(_PAGE))
        if not rows:
            raise _ProblemError(f"rows {after + 1} to {top} are missing")
        return [Entry(*row.values()) for row in rows]


def latest(tx: ReadTx) -> dict[str, str]:
    """The newest note of each writer, to ride in outgoing envelopes and reports."""
    column = tables.checkpoints.c
    notes: dict[str, str] = {}
    for writer in _writers(tx, column.writer):
        newest = select(column.note).where(column.writer == writer).order_by(column.size.desc()).limit(1)
        notes[writer] = str(tx.scalar(newest))
    return notes


class _ProblemError(Exception):
    """Why one writer gets no checkpoint."""


def _compare(chain: Chain, last: Checkpoint) -> None:
    if chain.frontier.root() != last.root:
        raise _ProblemError(f"rows up to {last.size} do not match the last checkpoint")


def _keep(tx: Tx, new: dict[str, Checkpoint], signed: dict[str, str]) -> None:
    for writer, checkpoint in new.items():
        # Another gateway may have signed the same head a moment ago; its note says the same.
        tx.insert_if_absent(tables.checkpoints, writer, checkpoint.size, tx.now_us, signed[writer])


def _heads(tx: ReadTx) -> Iterator[tuple[str, int]]:
    column = tables.journal.c
    for writer in _writers(tx, column.writer):
        yield writer, int(tx.scalar(select(func.max(column.seq)).where(column.writer == writer)))


def _writers(tx: ReadTx, column: ColumnElement[str]) -> Iterator[str]:
    """The distinct writers by hops along the primary key: a GROUP BY would read every row."""
    writer = tx.scalar(select(func.min(column)))
    while writer is not None:
        yield str(writer)
        writer = tx.scalar(select(func.min(column)).where(column > writer))
