"""Offline verification of a journal: needs the rows, the checkpoints and the signer's public keys, no student key.

Exit codes: 0 sound, 2 changed, 3 rows missing, 4 something unreadable; the gravest wins in the order 2, 3, 4.
"""

import json
from base64 import b64decode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf.message import DecodeError

from xinqiao.api.exchange.v1.exchange_pb2 import Receipt
from xinqiao.journal.chain import CHANGED, MISSING, UNREADABLE, Chain, Finding
from xinqiao.journal.entry import Entry
from xinqiao.journal.note import Checkpoint, NoteError, open_checkpoint
from xinqiao.journal.signing import KeyFileError, load_public_keys
from xinqiao.store.readonly import Unreadable, open_journal

MAX_FINDINGS: Final = 20
_PROGRESS_EVERY: Final = 10_000
_LINES: Final = {
    "zh": {
        "0": "完好", "2": "被改动", "3": "缺行", "4": "不可读",
        "verdict": "存证日志{verdict}：{rows} 行，{writers} 个写入者，{checkpoints} 个检查点，{receipts} 份回执",
        "first": "首个有问题的行：{writer} 第 {seq} 行",
        "row": "{writer} 第 {seq} 行：{what}",
        "more": "另有 {count} 处",
        "open": "尚未签入检查点：{count} 行",
    },
    "en": {
        "0": "sound", "2": "TAMPERED", "3": "INCOMPLETE", "4": "UNREADABLE",
        "verdict": "journal {verdict}: {rows} rows, {writers} writers, {checkpoints} checkpoints, {receipts} receipts",
        "first": "first bad row: {writer} {seq}",
        "row": "{writer} row {seq}: {what}",
        "more": "and {count} more",
        "open": "not yet checkpointed: {count} rows",
    },
}  # fmt: skip
_GRAVITY: Final = (CHANGED, MISSING, UNREADABLE)


class StoredCheckpoint(NamedTuple):
    """One row of the checkpoint table: what it claims to be about, and the signed note."""

    writer: str
    size: int
    note: str


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a verification. ``code`` is the exit code; ``findings`` holds the first twenty, per writer in order.

    ``uncheckpointed`` counts rows that are chained but not yet covered by a signature, so a thief of the database could
    still rewrite them; ``uncheckpointed_since_us`` is the time of the oldest such row (microseconds since 1970 UTC).
    """

    code: int
    rows: int
    sizes: dict[str, int]
    checkpoints: int
    receipts: int
    uncheckpointed: int
    uncheckpointed_since_us: int | None
    findings: tuple[Finding, ...]
    findings_total: int

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.code == 0

    @property
    def first_bad(self) -> Finding | None:
        """Where history stops being trustworthy: the lowest row found bad in the writer of the gravest finding."""
        gravest = next((each for each in self.findings if each.code == self.code), None)
        if gravest is None:
            return None
        rows = [each for each in self.findings if each.writer == gravest.writer and each.seq]
        return min(rows, key=lambda each: each.seq, default=gravest)

    def lines(self, language: str = "en") -> list[str]:
        """The report for people, in ``zh`` or ``en``: the verdict, the first bad row, and what was found."""
        words = _LINES["zh" if language == "zh" else "en"]
        out = [words["verdict"].format(
            verdict=words[str(self.code)], rows=self.rows, writers=len(self.sizes), checkpoints=self.checkpoints,
            receipts=self.receipts,
        )]  # fmt: skip
        if (first := self.first_bad) is not None and first.seq:
            out.append(words["first"].format(writer=first.writer, seq=first.seq))
        out += [
            words["row"].format(writer=each.writer or "-", seq=each.seq or "-", what=each.say(language))
            for each in self.findings
        ]
        if self.findings_total > len(self.findings):
            out.append(words["more"].format(count=self.findings_total - len(self.findings)))
        if self.uncheckpointed:
            out.append(words["open"].format(count=self.uncheckpointed))
        return out

    def as_dict(self) -> dict[str, object]:
        """The report for machines, ready for JSON."""
        first = self.first_bad
        return {
            "code": self.code,
            "first_bad": {"writer": first.writer, "seq": first.seq} if first is not None and first.seq else None,
            "rows": self.rows,
            "sizes": self.sizes,
            "checkpoints": self.checkpoints,
            "receipts": self.receipts,
            "uncheckpointed": self.uncheckpointed,
            "uncheckpointed_since_us": self.uncheckpointed_since_us,
            "findings": [{**each._asdict(), "what": each.what} for each in self.findings],
            "findings_total": self.findings_total,
        }


def verify(
    rows: Iterable[Entry],
    checkpoints: Iterable[StoredCheckpoint | str],
    public_keys: Iterable[Ed25519PublicKey],
    *,
    receipts: Iterable[str] = (),
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Check ``rows`` (each writer's in ascending ``seq``) against themselves, the checkpoints, and partners' receipts.

    ``progress`` is called with the number of rows every ten thousand rows. Raises nothing of its own: errors raised by
    ``rows`` pass through, except ``Unreadable``, which becomes a finding.
    """
    check = _Verification(tuple(public_keys))
    check.load_checkpoints(checkpoints)
    check.load_receipts(receipts)
    try:
        check.walk(rows, progress)
    except Unreadable as error:
        check.find(Finding(UNREADABLE, "", 0, "UNREADABLE", detail=str(error)))
    else:
        check.close()
    return check.report()


def verify_database(
    url: str,
    public_keys: Path | Iterable[Path],
    receipts_dir: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Verify the journal of the database at ``url``, opened read-only in one snapshot.

    ``public_keys`` is the signer's public PEM file, a folder of ``*.pem``, or a list of files. ``receipts_dir`` is a
    folder of what partners kept: checkpoints (``*.txt``, ``*.note``) and receipts of packages (``*.json`` with
    ``receipt`` in base64, as partners write them). What partners echoed and this database still knows is looked at
    as well. Never raises for bad input: whatever cannot be read is code 4.
    """
    try:
        keys = load_public_keys(public_keys)
        receipts = [] if receipts_dir is None else _read_receipts(receipts_dir)
        with open_journal(url) as journal:
            stored = [StoredCheckpoint._make(row) for row in journal.checkpoints()]
            receipts += journal.witnesses()
            rows = map(Entry._make, journal.rows())
            return verify(rows, stored, keys, receipts=receipts, progress=progress)
    except (Unreadable, KeyFileError) as error:
        return _unreadable(str(error))


class _Mark(NamedTuple):
    size: int
    root: bytes
    source: str


class _State:
    """One writer during the walk: the chain, and the signed marks not yet reached."""

    __slots__ = ("chain", "covered", "marks", "next_size", "open_since_us", "passed", "position")

    def __init__(self, writer: str, marks: list[_Mark]) -> None:
        self.chain = Chain(writer)
        self.marks = sorted(marks)
        self.position = 0
        self.passed = 0
        self.covered = self.marks[-1].size if self.marks else 0
        self.open_since_us: int | None = None
        self.next_size = self.marks[0].size if self.marks else -1

    def compare(self) -> list[Finding]:
        """Compare the tree with every mark of the present size, and move on to the next size."""
        size, root, findings = self.next_size, self.chain.frontier.root(), list[Finding]()
        while self.position < len(self.marks) and self.marks[self.position].size == size:
            mark = self.marks[self.position]
            self.position += 1
            if mark.root != root and not findings:
                first = min(self.passed + 1, size)
                findings.append(Finding(CHANGED, self.chain.writer, first, mark.source, size))
        self.passed = size
        self.next_size = self.marks[self.position].size if self.position < len(self.marks) else -1
        if findings:
            self.chain.sound = False
        else:
            self.chain.proven = size
        return findings


class _Verification:
    """One run of ``verify``: marks by writer, states by writer, findings."""

    def __init__(self, keys: tuple[Ed25519PublicKey, ...]) -> None:
        self._keys = keys
        self._deployment: str | None = None
        self._marks: dict[str, list[_Mark]] = {}
        self._states: dict[str, _State] = {}
        self._findings: list[Finding] = []
        self._total = 0
        self._codes: set[int] = set()
        self._rows = self._checkpoints = self._receipts = 0

    def load_checkpoints(self, checkpoints: Iterable[StoredCheckpoint | str]) -> None:
        for stored in checkpoints:
            self._checkpoints += 1
            note = stored if isinstance(stored, str) else stored.note
            writer = "" if isinstance(stored, str) else str(stored.writer)
            try:
                opened = self._open(note)
            except NoteError as error:
                self.find(Finding(CHANGED, writer, 0, "FORGED", self._checkpoints, str(error)))
                continue
            if not isinstance(stored, str) and (stored.writer, stored.size) != (opened.writer, opened.size):
                self.find(Finding(CHANGED, writer, 0, "MISFILED", self._checkpoints))
            self._add_mark(opened, "CHECKPOINT")

    def load_receipts(self, receipts: Iterable[str]) -> None:
        for note in receipts:
            self._receipts += 1
            try:
                self._add_mark(self._open(note), "RECEIPT")
            except NoteError as error:
                self.find(Finding(UNREADABLE, "", 0, "NO_RECEIPT", self._receipts, str(error)))

    def walk(self, rows: Iterable[Entry], progress: Callable[[int], None] | None) -> None:
        states = self._states
        for writer, marks in self._marks.items():
            self._state(writer, marks)
        for count, entry in enumerate(rows, 1):
            state = states.get(entry.writer)
            if state is None:
                state = self._state(entry.writer, [])
            chain = state.chain
            for finding in chain.add(entry):
                self.find(finding)
            if chain.seq == state.next_size and chain.sound:
                for finding in state.compare():
                    self.find(finding)
            if chain.seq > state.covered and state.open_since_us is None:
                state.open_since_us = entry.at_us
            if count % _PROGRESS_EVERY == 0 and progress is not None:
                progress(count)
            self._rows = count

    def close(self) -> None:
        """After the last row: whatever a signature covers must have been seen."""
        for state in self._states.values():
            seen, signed = state.chain.seq, state.covered
            if seen < signed:
                self.find(Finding(MISSING, state.chain.writer, seen + 1, "CUT", signed))

    def find(self, finding: Finding) -> None:
        self._total += 1
        # The first finding of each code is always kept, so that ``first_bad`` can name it.
        if len(self._findings) < MAX_FINDINGS or finding.code not in self._codes:
            self._findings.append(finding)
        self._codes.add(finding.code)

    def report(self) -> Report:
        states = self._states.values()
        open_times = [each.open_since_us for each in states if each.open_since_us is not None]
        return Report(
            code=next((code for code in _GRAVITY if code in self._codes), 0),
            rows=self._rows,
            sizes={state.chain.writer: state.chain.seq for state in states},
            checkpoints=self._checkpoints,
            receipts=self._receipts,
            uncheckpointed=sum(max(0, state.chain.seq - state.covered) for state in states),
            uncheckpointed_since_us=min(open_times, default=None),
            findings=tuple(self._findings),
            findings_total=self._total,
        )

    def _state(self, writer: str, marks: list[_Mark]) -> _State:
        state = self._states[writer] = _State(writer, marks)
        if state.next_size == 0:
            for finding in state.compare():
                self.find(finding)
        return state

    def _open(self, note: str) -> Checkpoint:
        opened = open_checkpoint(note, self._keys)
        if self._deployment is None:
            self._deployment = opened.deployment
        elif self._deployment != opened.deployment:
            raise NoteError("the note is about another deployment than the first checkpoint")
        return opened

    def _add_mark(self, opened: Checkpoint, source: str) -> None:
        self._marks.setdefault(opened.writer, []).append(_Mark(opened.size, opened.root, source))


def _read_receipts(folder: Path) -> list[str]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix in {".txt", ".note", ".json"})
        return [
            note
            for path in paths
            for note in (
                _notes_of(path.read_bytes())
                if path.suffix == ".json"
                else [path.read_text(encoding="utf-8", errors="replace")]
            )
        ]
    except OSError as error:
        raise Unreadable(f"{folder}: the receipts cannot be read ({error.strerror})") from None


def _notes_of(data: bytes) -> list[str]:
    """The checkpoints in a partner's receipt of a package; one empty note, which is no note, where it is no receipt."""
    try:
        receipt = Receipt.FromString(b64decode(json.loads(data)["receipt"], validate=True))
    except (ValueError, TypeError, KeyError, DecodeError):
        return [""]
    return list(dict.fromkeys(filter(None, (receipt.checkpoint, *receipt.checkpoints))))


def _unreadable(what: str) -> Report:
    return Report(UNREADABLE, 0, {}, 0, 0, 0, None, (Finding(UNREADABLE, "", 0, "UNREADABLE", detail=what),), 1)
