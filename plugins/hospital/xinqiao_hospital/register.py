"""What an agency was sent and what it last pushed about it: small facts in an append-only file, nothing clinical.

A referral is noted before it is sent, because a hospital may push before its answer has arrived. That line is not
synced: a power cut may lose it, then pushes about that referral are refused and polling brings the news instead.
"""

import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from xinqiao.adapters import durable
from xinqiao_hospital.wire import Json, JsonRefused, as_object, as_text, dump, parse

_SPARE_LINES = 10_000


@dataclass(frozen=True, slots=True)
class Sent:
    """A referral given to the hospital: the pseudonym it went under, and the hospital's Task once it is known."""

    referral: str
    student: str
    task: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest version of a Task that the hospital pushed. ``version`` is ours (ETag), ``theirs`` its versionId."""

    task: str
    version: int
    theirs: str
    digest: str
    status: str
    business: str
    referral: str


class Register:
    """The facts of one agency; safe from several threads, for one process at a time."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "register.jsonl"
        self._lock = threading.Lock()
        self._sent: dict[str, Sent] = {}
        self._heads: dict[str, Head] = {}
        self._load()

    def sent(self, referral: str) -> Sent | None:
        """What was sent under this name."""
        return self._sent.get(referral)

    def head(self, task: str) -> Head | None:
        """The newest pushed version of ``Task/{task}``."""
        return self._heads.get(task)

    def referral_of(self, task: str) -> str:
        """The referral whose receipt was ``Task/{task}``, empty where none is known."""
        return next((sent.referral for sent in self._sent.values() if sent.task == task), "")

    def note_sent(self, sent: Sent) -> None:
        """Remember a referral, or the Task it became."""
        if self._sent.get(sent.referral) != sent:
            self._append({"sent": asdict(sent)}, sync=False)
            self._sent[sent.referral] = sent

    def move(self, *heads: Head) -> None:
        """Remember pushed versions; on disk when this returns, all of them or none."""
        self._append({"heads": [asdict(head) for head in heads]}, sync=True)
        self._heads.update({head.task: head for head in heads})

    def _append(self, line: Json, *, sync: bool) -> None:
        with self._lock:
            durable.append(self._path, dump(line) + b"\n", None if sync else lambda descriptor: None)

    def _load(self) -> None:
        data = self._path.read_bytes() if self._path.exists() else b""
        lines = data[: data.rfind(b"\n") + 1].splitlines()
        for line in lines:
            try:
                found = as_object(parse(line).clean())
            except JsonRefused:
                continue  # A line torn by a crash, and written over since: its fact was not acknowledged.
            if "sent" in found:
                sent = Sent(**{key: as_text(value) for key, value in as_object(found["sent"]).items()})
                self._sent[sent.referral] = sent
            for item in found.get("heads", []):
                head = Head(**as_object(item))
                self._heads[head.task] = head
        if len(lines) > _SPARE_LINES + 2 * (len(self._sent) + len(self._heads)) or (data and not data.endswith(b"\n")):
            self._rewrite()

    def _rewrite(self) -> None:
        facts: list[Json] = [{"sent": asdict(sent)} for sent in self._sent.values()]
        facts += [{"heads": [asdict(head)]} for head in self._heads.values()]
        durable.replace(self._path, b"".join(dump(fact) + b"\n" for fact in facts))
