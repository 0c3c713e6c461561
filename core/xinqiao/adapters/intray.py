"""One inbox for every door a partner has (folder, REST, push): letters are durable first, then judged and brought.

A letter is a file, a page of records or a pushed form. It lies sealed in a ``Spool`` from the moment it is seen until
the gateway's cursor comes back covering it, so a crash anywhere loses nothing and repeats at most one item.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple, cast

from xinqiao.adapters import durable
from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files.folders import MANIFEST, Found, scan, series_of, whole
from xinqiao.adapters.files.jsonrows import parse_object
from xinqiao.adapters.files.places import FileRefused, Finding, Findings, Place
from xinqiao.adapters.protocols import Accepted, FileItem, Refused
from xinqiao.adapters.spool import Item, Spool, SpoolFull, Verdict
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse, Rejected

MAX_LETTER: Final = 16 * 2**20
_GONE = "-"
_TOLD = 100
"""Faults of one letter that are listed; one more says how many there were."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What came through a door. ``form`` is how it is written (``csv``, ``json`` ...), ``name`` a label without a person.

    ``number`` is its place in the inbox, the same however often it is read. ``rows`` is what a manifest beside a file
    counts, or None. ``series`` is, of a file in a folder, where a name may be used once, that of the file it corrects.
    ``conflict`` is where the name was used before: only the danger in it may be brought, and nothing of it remembered.
    """

    number: int
    form: str
    name: str
    data: bytes
    rows: int | None = None
    series: str = ""
    conflict: bool = False

    @property
    def source(self) -> str:
        """Its name with a digest of its bytes, for ``Rejected.source``."""
        return f"{self.name}@{hashlib.sha256(self.data).hexdigest()[:12]}"


class Judged(NamedTuple):
    """What a letter brings, in its order; ``taken`` is False where that is only what is wrong with it."""

    taken: bool
    items: Sequence[ReadResponse]


Judge = Callable[[Letter], Judged]
"""Raises RecordRejected where nothing of a letter may be taken."""


class Intray:
    """The inbox of one agency; one reader at a time, any number of doors."""

    def __init__(self, spool: Spool, folder: Path, judge: Judge) -> None:
        self._spool = spool
        self._judge = judge
        self._taken = Book(folder / "taken")
        self._looked: set[tuple[str, int, int, int]] = set()

    def put(
        self, key: str, form: str, name: str, data: bytes, rows: int | None = None, *, series: str = ""
    ) -> Verdict:  # fmt: skip
        """Keep a letter under ``key``; on disk when this returns. Raises SpoolFull, OSError."""
        head = json.dumps({"form": form, "name": name, "rows": rows, "series": series}, ensure_ascii=False).encode()
        return self._spool.put(key, head + b"\n" + data)

    def collect(self, inbox: Path, rules: str) -> None:
        """Keep every complete file of ``inbox`` that is new; ``rules`` is a digest of the settings it is judged by.

        A file that was refused is judged anew under other settings, or mended under its own name.
        Raises PartnerUnavailable.
        """
        for file in scan(inbox):
            seen = (file.path.name, file.size, file.mtime_ns, file.ctime_ns)
            if seen in self._looked:
                continue
            data = whole(file, MAX_LETTER)
            if data is None:
                continue
            try:
                self._keep(file, data, rules)
            except SpoolFull:
                return
            self._looked.add(seen)

    def bring(self, cursor: str) -> Iterator[ReadResponse]:
        """What the letters hold beyond ``cursor``, the oldest first; see ``Source.read``."""
        mark, _, step = cursor.partition("+")
        self._spool.settle(mark)
        number, _, at = step.partition(".")
        begun, skip = (int(number), int(at)) if number.isdigit() and at.isdigit() else (0, 0)
        for item in self._spool.each():
            responses = self._responses(item)
            first = skip if item.number == begun else 0
            if first >= len(responses):
                self._spool.done(item.key)
            for place, response in enumerate(responses[first:], first + 1):
                last = place == len(responses)
                response.cursor = (
                    self._spool.mark(item.number)
                    if last
                    else f"{self._spool.mark(item.number - 1)}+{item.number}.{place}"
                )
                yield response

    def _keep(self, file: Found, data: bytes, rules: str) -> None:
        digest = hashlib.sha256(data).hexdigest()
        if self._taken.knows(f"content {digest}"):
            return
        form = file.path.suffix.lower().removeprefix(".")
        rows: int | None = None
        if len(data) > MAX_LETTER:
            form, data = "too-large", b""
        elif (about := file.path.with_name(file.path.name + MANIFEST)).is_file():
            rows, agrees = _manifest(about, digest)
            form = form if agrees else "manifest"
        key = f"file {file.path.name} {digest} {rules} {rows} {form}"
        self.put(key, form, file.label, data, rows, series=file.series)

    def _responses(self, item: Item) -> Sequence[ReadResponse]:
        if not item.data:
            message = "what was pushed was changed on disk or its key is lost; send it again"
            return [ReadResponse(rejected=Rejected(source="inbox", reason="SPOOL/DAMAGED", message=message))]
        letter = _letter(item)
        try:
            found = list(self._judge_whole(letter))
        except RecordRejected as error:
            found = [ReadResponse(rejected=rejected(letter, error.place, error.reason, error.message))]
        if letter.series:
            found = found or [ReadResponse()]
            found[-1].origin.last = True
        for each in found:
            each.origin.source, each.origin.series = letter.source, letter.series
        return found

    def _judge_whole(self, letter: Letter) -> Sequence[ReadResponse]:
        place = Place(letter.name)
        if letter.form == "too-large":
            raise FileRefused("DATA/TOO_LARGE", f"is larger than {MAX_LETTER} bytes; split it", place)
        if letter.form == "manifest":
            raise FileRefused("DATA/MANIFEST", "is not the file its manifest describes; send both again", place)
        digest = hashlib.sha256(letter.data).hexdigest()
        if letter.series and self._taken.judge(f"name {letter.name}", digest, letter.number) == "other":
            self._taken.forget()
            message = "other content was taken under this name; send the correction as NAME-更正 or NAME-correction"
            danger = [each for each in self._judge(replace(letter, conflict=True)).items if each.HasField("signal")]
            return [*danger, ReadResponse(rejected=rejected(letter, place, "FILE_CONFLICT", message))]
        try:
            found = self._judge(letter)
        except RecordRejected:
            self._taken.forget()
            raise
        if not found.taken:
            self._taken.forget()
            return found.items
        if letter.series:
            self._taken.judge(f"content {digest}", digest, letter.number)
        self._taken.keep()
        return found.items


class Book:
    """Keys and what stood under them, each with the letter that brought it: a letter read again does not repeat itself.

    Nothing but hashes is kept. ``judge`` is in memory until ``keep``; ``forget`` takes it back.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._known: dict[str, tuple[str, int]] = {}
        self._fresh: dict[str, tuple[str, int]] = {}
        lines = path.read_text("ascii").splitlines() if path.exists() else []
        for line in lines:
            parts = line.split()
            if len(parts) == 3 and parts[1] == _GONE:
                self._known.pop(parts[0], None)
            elif len(parts) == 3 and parts[2].isdigit():
                self._known[parts[0]] = (parts[1], int(parts[2]))

    def judge(self, key: str, content: str, letter: int) -> Verdict:
        """``same`` or ``other`` where another letter, or this one earlier on, brought ``key``; else ``new``."""
        hashed, digest = fingerprint(key), fingerprint(content)
        before = self._fresh.get(hashed)
        if before is None:
            before = self._known.get(hashed)
            if before is None or before[1] == letter:
                self._fresh[hashed] = (digest, letter)
                return "new"
        return "same" if before[0] == digest else "other"

    def knows(self, key: str) -> bool:
        """Whether ``key`` was kept."""
        return fingerprint(key) in self._known

    def keep(self) -> None:
        """Write down what was judged new; on disk when this returns. Raises OSError."""
        fresh = {key: value for key, value in self._fresh.items() if self._known.get(key) != value}
        if fresh:
            lines = "".join(f"{key} {digest} {letter}\n" for key, (digest, letter) in fresh.items())
            durable.append(self._path, lines.encode())
        self._known |= fresh
        self._fresh = {}

    def drop(self, key: str) -> None:
        """The gateway did not take what ``key`` brought: it may be brought again. On disk when this returns."""
        hashed = fingerprint(key)
        if self._known.pop(hashed, None) is not None:
            durable.append(self._path, f"{hashed} {_GONE} 0\n".encode())

    def forget(self) -> None:
        """Take back what was judged since the last ``keep``."""
        self._fresh = {}


def faults(letter: Letter, findings: Findings) -> list[ReadResponse]:
    """What the row report of a letter lists, as items; the first hundred by name, and how many more."""
    # What a manifest has counted cannot have been cut off.
    idle = [each for each in findings.warnings if letter.rows is not None and each.reason == "DATA/TRUNCATED"]
    listed: list[Finding] = [*findings.rejected, *(each for each in findings.warnings if each not in idle)]
    found = [_fault(letter, finding) for finding in listed[:_TOLD]]
    more = findings.rejected_count + findings.warning_count - len(idle) - len(found)
    if more:
        found.append(_fault(letter, Finding(Place(letter.name), "DATA/MORE", f"{more} more; mend these first")))
    return found


def as_file_items(letter: Letter, judge: Judge) -> Iterator[FileItem]:
    """What the letter would bring, for a ``FileReader``."""
    try:
        items = judge(letter).items
    except RecordRejected as error:
        items = [ReadResponse(rejected=rejected(letter, error.place, error.reason, error.message))]
    for item in items:
        said = item.rejected
        if item.HasField("rejected"):
            yield Refused(said.reason, said.place, said.message)
        else:
            yield Accepted(item.WhichOneof("body") or "", "")


def rejected(letter: Letter, place: object, reason: str, message: str) -> Rejected:
    """One item; the place within the letter."""
    where = str(place).removeprefix(letter.name).removeprefix(": ")
    return Rejected(source=letter.source, place=where, reason=reason, message=message)


def _fault(letter: Letter, finding: Finding) -> ReadResponse:
    return ReadResponse(rejected=rejected(letter, finding.place, finding.reason, finding.message))


def _letter(item: Item) -> Letter:
    head, _, data = item.data.partition(b"\n")
    about = cast("dict[str, object]", json.loads(head))
    rows = about["rows"]
    counted = rows if isinstance(rows, int) else None
    name = str(about["name"])
    series = str(about.get("series", series_of(name) if about.get("file") else ""))  # `file` of older versions
    return Letter(item.number, str(about["form"]), name, data, counted, series)


def _manifest(path: Path, digest: str) -> tuple[int | None, bool]:
    """What the manifest counts, and whether it is about these bytes."""
    try:
        found = parse_object(path.read_bytes()[:65536], "manifest")
    except (OSError, FileRefused):
        return None, False
    rows = found.get("rows")
    return (rows if type(rows) is int else None), found.get("sha256", digest) == digest


def fingerprint(text: str) -> str:
    """A stand-in for a number of the partner's own; not for what can be guessed, such as a phone number."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
