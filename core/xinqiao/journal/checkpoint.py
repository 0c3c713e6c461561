"""Signing the heads of the journal: one note per writer with new rows, never one that contradicts an earlier note."""

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from xinqiao.contract.errors import Refusal
from xinqiao.journal.chain import Chain
from xinqiao.journal.entry import Entry
from xinqiao.journal.heads import last_rows, writers
from xinqiao.journal.memory import Head, Memory
from xinqiao.journal.note import Checkpoint, Cosigner, NoteError, make_checkpoint, open_checkpoint
from xinqiao.store import tables
from xinqiao.store.engine import Store
from xinqiao.store.sql import bindparam, func, select
from xinqiao.store.tx import ReadTx, Tx

STOP_AFTER_US: Final = 4 * 3_600_000_000
"""A row that no checkpoint has covered for so long stops what leaves by the routine lane (X-Road's rule)."""

_PAGE: Final = 2000
_C = tables.journal.c
_ROWS: Final = (
    select(tables.journal)
    .where(_C.writer == bindparam("writer"), _C.seq > bindparam("after"), _C.seq <= bindparam("top"))
    .order_by(_C.seq)
    .limit(_PAGE)
)


class JournalInconsistent(Refusal):
    """The journal contradicts its last checkpoint: nothing is signed for the writers concerned."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(
            "FAILED_PRECONDITION",
            "JOURNAL_INCONSISTENT",
            "no checkpoint was signed: " + "; ".join(problems) + ". Stop routine sending and verify the journal.",
        )


class Checkpointer:
    """Signs checkpoints for every writer in ``store``. Safe from any thread; one signs at a time.

    Between runs only O(log n) hashes per writer stay in memory, and in the ``memory`` file; without that file a
    restarted signer streams the rows once. ``also_trusted`` are earlier signing keys, whose notes are still honoured.
    ``every_s`` and ``every_rows`` say when :meth:`tick` signs. A cosigner that fails fails the checkpoint.
    """

    def __init__(
        self,
        store: Store,
        signing_key: Ed25519PrivateKey,
        deployment: str,
        *,
        also_trusted: Iterable[Ed25519PublicKey] = (),
        cosigners: Sequence[Cosigner] = (),
        memory: Path | None = None,
        every_s: float = 60.0,
        every_rows: int = 1000,
    ) -> None:
        self._store = store
        self._key = signing_key
        self._deployment = deployment
        self._trusted = (signing_key.public_key(), *also_trusted)
        self._cosigners = cosigners
        self._memory = Memory(memory)
        self._every_s = every_s
        self._every_rows = every_rows
        self._next = float("-inf")
        self._alone = threading.Lock()
        self._chains: dict[str, Chain] = {}
        self.notes: tuple[str, ...] = ()
        """The newest note of each writer, as of the last run: what rides in outgoing messages."""
        self.failure = ""
        """Why the last run signed nothing or not for all, in a word; empty where it did."""

    def tick(self) -> None:
        """Sign when the time has come, or as soon as enough rows wait. Raises as :meth:`run_once` does."""
        now = self._store.clock.monotonic()
        # After a failure only by time: a journal that is broken is not read again every second.
        if now < self._next and (self.failure or self._waiting() < self._every_rows):
            return
        self._next = now + self._every_s
        self.run_once()

    def run_once(self) -> dict[str, str]:
        """Sign a checkpoint for each writer with rows after its last one; the new notes by writer.

        Raises JournalInconsistent, after signing for the sound writers, when rows do not chain, when the tree does not
        extend the last checkpoint, or when rows or checkpoints were rolled back.
        """
        with self._alone:
            self.failure = "INTERRUPTED"
            try:
                signed = self._run()
            except Exception as error:
                self.failure = getattr(error, "reason", "") or type(error).__name__
                raise
            self.failure = ""
            return signed

    def _run(self) -> dict[str, str]:
        new: dict[str, Checkpoint] = {}
        problems: list[str] = []
        with self._store.read() as tx:
            heads = dict(last_rows(tx))
            notes = latest(tx)
        for writer in sorted(heads.keys() | notes.keys() | self._memory.heads.keys()):
            try:
                checkpoint = self._extend(writer, heads.get(writer, 0), notes.get(writer))
            except _ProblemError as problem:
                self._chains.pop(writer, None)
                problems.append(f"{writer}: {problem}")
                continue
            if checkpoint is not None:
                new[writer] = checkpoint
        signed = {writer: make_checkpoint(self._key, head, self._cosigners) for writer, head in new.items()}
        if signed:
            self._store.run(lambda tx: _keep(tx, new, signed))
            # After the database: a crash in between leaves the memory behind, which is harmless, and never ahead.
            self._memory.keep({writer: self._head(writer, note) for writer, note in signed.items()})
        self.notes = tuple((notes | signed).values())
        if problems:
            raise JournalInconsistent(problems)
        return signed

    def _waiting(self) -> int:
        """How many rows no checkpoint covers; a look by primary keys."""
        with self._store.read() as tx:
            sizes = {writer: _size(tx, writer) for writer in writers(tx, tables.checkpoints.c.writer)}
            return sum(top - sizes.get(writer, 0) for writer, top in last_rows(tx))

    def _extend(self, writer: str, top: int, note: str | None) -> Checkpoint | None:
        """Bring the writer's chain up to row ``top``; what to sign, or None when nothing is new."""
        last = self._open(writer, note)
        size = last.size if last is not None else 0
        known = self._memory.heads.get(writer)
        if known is not None and size < known.frontier.size:
            where = (
                "" if self._memory.path is None else f"; after a restore that was meant, move {self._memory.path} away"
            )
            raise _ProblemError(f"the last checkpoint was signed for more rows than the stored one: rolled back{where}")
        if top < size:
            raise _ProblemError(f"rows {top + 1} to {size} are missing, a checkpoint covers them")
        if top == size:
            return None
        chain = self._chains.get(writer)
        if chain is None:
            chain = self._chains[writer] = self._resumed(writer, known)
        if last is not None and chain.seq == size:
            _compare(chain, last)
        while chain.seq < top:
            for entry in self._page(writer, chain.seq, top):
                for finding in chain.add(entry):
                    raise _ProblemError(f"row {finding.seq}: {finding.what}")
                if last is not None and chain.seq == size:
                    _compare(chain, last)
        return Checkpoint(self._deployment, writer, top, chain.frontier.root())

    def _resumed(self, writer: str, known: Head | None) -> Chain:
        """The chain as it was when its last head was signed; from the first row where that is not known."""
        if known is None:
            return Chain(writer)
        signed = self._open(writer, known.note)
        if signed is None or (signed.size, signed.root) != (known.frontier.size, known.frontier.root()):
            raise _ProblemError("the signer's memory does not fit the note in it")
        return Chain.resumed(writer, known.frontier.copy(), known.last)

    def _head(self, writer: str, note: str) -> Head:
        chain = self._chains[writer]
        return Head(note, chain.frontier.copy(), chain.last)

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
        with self._store.read() as tx:
            rows = tx.pick(_ROWS, writer=writer, after=after, top=top)
        if not rows:
            raise _ProblemError(f"rows {after + 1} to {top} are missing")
        return list(map(Entry._make, rows))


def latest(tx: ReadTx) -> dict[str, str]:
    """The newest note of each writer, to ride in outgoing envelopes and reports."""
    column = tables.checkpoints.c
    notes: dict[str, str] = {}
    for writer in writers(tx, column.writer):
        newest = select(column.note).where(column.writer == writer).order_by(column.size.desc()).limit(1)
        notes[writer] = str(tx.scalar(newest))
    return notes


def unsigned_since(tx: ReadTx) -> int | None:
    """When the oldest row was written that no checkpoint covers, microseconds since 1970 UTC; None where there is none."""
    column = tables.journal.c
    oldest: list[int] = []
    for writer in writers(tx, column.writer):
        following = select(column.at_us).where(column.writer == writer, column.seq > _size(tx, writer))
        at_us = tx.scalar(following.order_by(column.seq).limit(1))
        if at_us is not None:
            oldest.append(int(at_us))
    return min(oldest, default=None)


def routine_stopped(tx: ReadTx) -> bool:
    """Whether nothing may leave by the routine lane, because the journal was not signed for too long.

    The crisis lane never asks.
    """
    since = unsigned_since(tx)
    return since is not None and tx.now_us - since > STOP_AFTER_US


class _ProblemError(Exception):
    """Why one writer gets no checkpoint."""


def _compare(chain: Chain, last: Checkpoint) -> None:
    if chain.frontier.root() != last.root:
        raise _ProblemError(f"rows up to {last.size} do not match the last checkpoint")


def _keep(tx: Tx, new: dict[str, Checkpoint], signed: dict[str, str]) -> None:
    for writer, checkpoint in new.items():
        # Another gateway may have signed the same head a moment ago; its note says the same.
        tx.insert_if_absent(tables.checkpoints, writer, checkpoint.size, tx.now_us, signed[writer])


def _size(tx: ReadTx, writer: str) -> int:
    """How many rows of the writer its newest checkpoint covers."""
    column = tables.checkpoints.c
    return int(tx.scalar(select(func.max(column.size)).where(column.writer == writer)) or 0)
