"""Walking one writer's chain row by row: what the checkpoint signer and the offline verifier both must agree on."""

from typing import Final, NamedTuple

from xinqiao.journal.entry import ZERO_HASH, EncodingError, Entry, entry_hash
from xinqiao.journal.merkle import Frontier

CHANGED: Final = 2
MISSING: Final = 3
UNREADABLE: Final = 4


WORDS: Final = {
    "VALUE": ("本行含有日志行不可能有的值", "the row holds a value that no journal row can hold"),
    "GAP": ("第 {seq} 至 {last} 行缺失", "rows {seq} to {last} are missing"),
    "ORDER": ("本行重复出现或次序错乱", "the row appears twice or out of order"),
    "LINK": ("第 {last} 行与前一行不相连", "row {last} does not follow from the row before it"),
    "CONTENT": ("本行内容与其散列值不符", "the row's content does not match its hash"),
    "CHECKPOINT": (
        "第 {seq} 至 {last} 行与已签名的检查点不符",
        "rows {seq} to {last} do not match the signed checkpoint of size {last}",
    ),
    "RECEIPT": (
        "第 {seq} 至 {last} 行与伙伴回执中的检查点不符",
        "rows {seq} to {last} do not match the signed receipt of size {last}",
    ),
    "CUT": (
        "第 {seq} 至 {last} 行缺失：已签名的检查点或回执包含这些行",
        "rows {seq} to {last} are missing: a signed checkpoint or receipt of size {last} covers them",
    ),
    "FORGED": ("库存检查点 {last} 不可信：{detail}", "stored checkpoint {last}: {detail}"),
    "MISFILED": (
        "库存检查点 {last} 所签的是别的写入者或行数",
        "stored checkpoint {last}: its note is about another writer or size",
    ),
    "NO_RECEIPT": ("回执 {last} 不可用：{detail}", "receipt {last}: {detail}"),
    "UNREADABLE": ("无法读取：{detail}", "{detail}"),
}
"""What each reason of a finding says, in Chinese and in English."""


class Finding(NamedTuple):
    """Something wrong: ``code`` (2 changed, 3 missing, 4 unreadable), the first row it concerns, and a key of `WORDS`.

    ``seq`` is 0 when no row is concerned; ``last`` is the last row concerned, or the number of a checkpoint or
    receipt. Never holds a value of a row.
    """

    code: int
    writer: str
    seq: int
    reason: str
    last: int = 0
    detail: str = ""

    @property
    def what(self) -> str:
        """What is wrong, in English."""
        return self.say("en")

    def say(self, language: str) -> str:
        """What is wrong, in ``zh`` or ``en``."""
        return WORDS[self.reason][language != "zh"].format(seq=self.seq, last=self.last, detail=self.detail)


_SOUND: Final[tuple[Finding, ...]] = ()


class Chain:
    """The state after some rows of ``writer``: last number, last hash, and the Merkle frontier while all was sound.

    After a finding the walk goes on, to find more, but ``sound`` stays false and ``frontier`` no longer grows.
    """

    __slots__ = ("_accepted", "frontier", "proven", "seq", "sound", "writer")

    def __init__(self, writer: str) -> None:
        self.writer = writer
        self.seq = 0
        self.sound = True
        self.frontier = Frontier()
        self.proven = 0
        """How many rows a signature covers that was checked: whatever does not follow from them, they are as they were."""
        self._accepted: tuple[bytes, ...] | None = (ZERO_HASH,)

    @classmethod
    def resumed(cls, writer: str, frontier: Frontier, last: bytes) -> "Chain":
        """The chain after ``frontier.size`` sound rows, the last of which has the hash ``last``."""
        chain = cls(writer)
        chain.seq, chain.frontier, chain._accepted = frontier.size, frontier, (last,)
        return chain

    @property
    def last(self) -> bytes:
        """The hash of the last row while all was sound."""
        return self._accepted[0] if self._accepted else ZERO_HASH

    def add(self, entry: Entry) -> tuple[Finding, ...]:
        """Check ``entry`` as the next row; what is wrong with it, mostly nothing."""
        expected = self.seq + 1
        try:
            digest = entry_hash(entry)
        except EncodingError:
            self.seq, self.sound, self._accepted = expected, False, None
            return (self._finding(CHANGED, expected, "VALUE"),)
        accepted = self._accepted
        if (
            entry.seq == expected
            and entry.hash == digest
            and accepted is not None
            and len(accepted) == 1
            and entry.prev_hash == accepted[0]
        ):
            self.seq = expected
            self._accepted = (digest,)
            if self.sound:
                self.frontier.add(digest)
            return _SOUND
        return self._explain(entry, digest)

    def _explain(self, entry: Entry, digest: bytes) -> tuple[Finding, ...]:
        expected, accepted, findings = self.seq + 1, self._accepted, list[Finding]()
        if entry.seq > expected:
            findings.append(self._finding(MISSING, expected, "GAP", entry.seq - 1))
        elif entry.seq < expected:
            findings.append(self._finding(CHANGED, entry.seq, "ORDER"))
        elif entry.hash == digest and accepted is not None and entry.prev_hash not in accepted:
            # A row edited together with its hash looks sound by itself; its successor still names the old hash.
            seq = max(1, self.seq) if self.seq > self.proven else entry.seq
            findings.append(self._finding(CHANGED, seq, "LINK", entry.seq))
        if entry.hash != digest:
            findings.append(self._finding(CHANGED, entry.seq, "CONTENT"))
        self.seq = max(self.seq, entry.seq)
        self.sound = self.sound and not findings
        # An edited row is linked by its old hash, an edited hash column by the true one: accept both, report once.
        stored = entry.hash
        self._accepted = (digest,) if stored == digest else (digest, stored)
        return tuple(findings)

    def _finding(self, code: int, seq: int, reason: str, last: int = 0) -> Finding:
        return Finding(code, self.writer, seq, reason, last)
