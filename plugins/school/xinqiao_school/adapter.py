"""The adapter of one school platform: reads its inbox, writes its outbox, hands packages over."""

import hashlib
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import BinaryIO, TypeVar, cast

import numpy as np

from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.adapters.files.folders import series_of
from xinqiao.adapters.files.places import FileRefused, Place
from xinqiao.adapters.protocols import AgencyContext
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, DeliverResponse, Origin, ReadResponse, Rejected
from xinqiao.api.common.v1.types_pb2 import Student
from xinqiao.api.exchange.v1.exchange_pb2 import Package as ExchangePackage
from xinqiao.api.exchange.v1.exchange_pb2 import SignedReceipt
from xinqiao.contract.clock import SystemClock
from xinqiao_school import inbox, reports, wire
from xinqiao_school.feeds import feed_of, read_feed
from xinqiao_school.forms import lay_out
from xinqiao_school.inbox import Cursor, Entry, InboxFile, Ledger
from xinqiao_school.index import PUPIL, Marks, State, marks, positions
from xinqiao_school.manifest import check_manifest, manifest_bytes, unknown_type
from xinqiao_school.notes import Notes
from xinqiao_school.package import Package
from xinqiao_school.rest import PULLED, Puller
from xinqiao_school.roster import Roster
from xinqiao_school.settings import SchoolSettings
from xinqiao_school.sheets import Scores, read_scores

T = TypeVar("T")
_ALIVE_S = 2.0
_MAX_BYTES = 1024 * 1024 * 1024


class SchoolAdapter:
    """Recipient, Source and Exchanger over two folders. Its own state is in the agency's private folder."""

    def __init__(self, settings: SchoolSettings, context: AgencyContext) -> None:
        self._settings = settings
        self._state = context.folder
        self._state.mkdir(parents=True, exist_ok=True)
        self._pulled = self._state / "pulled"
        rest = settings.rest
        self._puller = (
            None if rest is None else Puller(rest, context.http, SystemClock(), self._pulled, threading.Event().wait)
        )
        self._digests: dict[tuple[str, int, int, int], str] = {}

    def check(self) -> str:
        """See that both folders are there and the outbox takes files."""
        for name, folder in (("inbox", self._settings.inbox), ("outbox", self._settings.outbox)):
            if not folder.is_dir():
                raise PartnerUnavailable(f"the {name} is not a folder that can be seen; mount or create it")
        inbox.scan(self._settings.inbox)
        probe = self._settings.outbox / ".xinqiao-check"
        try:
            wire.write_whole(probe, b"")
            probe.unlink()
        except OSError as error:
            raise PartnerUnavailable(f"the outbox cannot be written: {error.strerror}") from None
        return "folder"

    def close(self) -> None:
        """Nothing is held between calls."""

    # -- out --------------------------------------------------------------------------------------------------------

    def deliver(self, request: DeliverRequest, timeout_s: float) -> DeliverResponse:
        """Write the record as ``<request_id>.json``; the receipt is that name."""
        return DeliverResponse(receipt=wire.deliver_file(request, self._settings.outbox, self._state))

    def exchange(self, package: ExchangePackage, request_id: str, timeout_s: float) -> SignedReceipt | None:
        """Write the package's folder, and look for the receipt the platform signed."""
        wire.hand_over(package, self._settings.outbox, self._state)
        return wire.receipt_for(package, self._settings.inbox)

    def report(self, rejected: Sequence[Rejected]) -> None:
        """Put what was not taken of a file into ``reports/<file>.csv`` of the outbox, a line each, never twice."""
        names = {inbox.safe_label(entry.name): entry.name for entry in Ledger(self._state).entries}
        reports.write(self._settings.outbox, names, rejected)

    # -- in ---------------------------------------------------------------------------------------------------------

    def read(self, cursor: str) -> Iterator[ReadResponse]:
        """Yield what the inbox has beyond ``cursor``, file by file, oldest first."""
        lay_out(self._settings)
        position = Cursor.parse(cursor)
        ledger = Ledger(self._state)
        begun = ledger.rewind(position)
        failed: PartnerUnavailable | PartnerRefused | None = None
        try:
            yield from self._pull(ledger)
        except (PartnerUnavailable, PartnerRefused) as error:
            failed = error  # told at the end: a sheet in the inbox may hold a red form
        first = begun[0].name if begun else ""
        files = inbox.scan(self._settings.inbox, first)
        if self._puller is not None:
            files = sorted([*inbox.scan(self._pulled, first), *files], key=lambda file: file.name != first)
        if begun and not any(file.name == begun[0].name for file in files):
            yield from self._numbered(ledger, inbox.gone(begun[0]), self._gone(begun[0]), 0)
            begun = None
        unreadable: list[str] = []
        for file in files:
            try:
                yield from self._file(ledger, file, begun)
            except FileNotFoundError:
                continue
            except OSError as error:
                unreadable.append(f"{file.label} ({error.strerror})")
        if unreadable:
            raise PartnerUnavailable(f"{len(unreadable)} inbox file(s) cannot be read, the first: {unreadable[0]}")
        if failed is not None:
            raise failed

    def _pull(self, ledger: Ledger) -> Iterator[ReadResponse]:
        """With ``source: rest``: lay down what the platform has as a package of our own, and drop outdated ones."""
        if self._puller is None:
            return
        rosters = [entry for entry in ledger.entries if entry.roster and entry.name.startswith(PULLED)]
        whole = max((entry.name for entry in rosters if entry.outcome == "taken" and not entry.delta), default="")
        for old in self._pulled.glob(f"{PULLED}*.zip"):
            if old.name < whole:
                old.unlink()
        # What was refused is not in the state that a delta would build upon.
        broken = bool(rosters) and rosters[-1].outcome != "taken"
        yield from _alive(self._puller.pull(whole=broken))

    def _file(self, ledger: Ledger, file: InboxFile, begun: tuple[Entry, int] | None) -> Iterator[ReadResponse]:
        rules = self._rules(file)
        key = (file.name, file.size, file.mtime_ns, file.ctime_ns)
        if key in self._digests and ledger.has_seen(file, self._digests[key], rules):
            return
        with inbox.opened(file) as stream:
            sha256 = inbox.digest_of(stream)
            if not inbox.is_unchanged(file, stream):
                return
            self._digests[key] = sha256
            if ledger.has_seen(file, sha256, rules):
                return
            skip = begun[1] if begun and (begun[0].sha256, begun[0].rules) == (sha256, rules) else 0
            entry, items = yield from self._open(ledger, file, stream, sha256, rules)
            if inbox.is_unchanged(file, stream):
                yield from self._numbered(ledger, entry, items, skip)

    def _numbered(
        self, ledger: Ledger, entry: Entry, items: Iterator[ReadResponse], skip: int
    ) -> Iterator[ReadResponse]:
        """``items`` but the first ``skip``, each with its cursor; the last one's says that the file is done."""
        number = ledger.add(entry)
        digest = ledger.digest(number)
        waiting: ReadResponse | None = None
        at = 0
        # A whole roster says all there is; a delta mends nothing of what came before it.
        source = f"{inbox.safe_label(entry.name)}@sha256:{entry.sha256}"
        series = "roster" if entry.roster else series_of(entry.name)
        for item in items:
            item.origin.source, item.origin.series = source, series
            if item.HasField("rejected"):
                item.rejected.source = source
            if waiting is not None and at > skip:
                waiting.cursor = Cursor(number, at, False, digest).text()
                yield waiting
            waiting, at = item, at + 1
        if waiting is None:  # it holds nothing, and nothing is wrong with it
            waiting, at = ReadResponse(origin=Origin(source=source, series=series)), 1
        if at > skip:
            waiting.cursor = Cursor(number, at, True, digest).text()
            waiting.origin.last = not (entry.roster and entry.delta)
            yield waiting

    def _open(
        self, ledger: Ledger, file: InboxFile, stream: BinaryIO, sha256: str, rules: str
    ) -> Generator[ReadResponse, None, tuple[Entry, Iterator[ReadResponse]]]:
        """Judge the whole file; what may be taken of it comes with the iterator. Yields empty signs of life."""
        notes = Notes(file.label)
        roster = file.name.lower().endswith(".zip")
        observed: list[ReadResponse] = []
        """What is brought even of a file whose name was used: one of them may be a crisis."""
        try:
            if file.size > _MAX_BYTES:
                raise FileRefused("DATA/TOO_LARGE", f"is larger than {_MAX_BYTES} bytes; split it", Place(file.label))
            expected_rows = check_manifest(file.path, file.label, stream, sha256)
            if roster and self._puller is not None and file.path.parent != self._pulled:
                message = "rosters of this platform come over REST; take the file away or set source: folder"
                raise FileRefused("DATA/FILE_TYPE", message, Place(file.label))
            if roster:
                items = yield from self._roster(ledger, file, stream, sha256, notes)
            elif file.name.lower().endswith((".csv", ".xlsx")):
                feed = feed_of(file.name, self._settings)
                if feed is None:
                    self._refuse_conflict(ledger, file, sha256)
                    items = self._sheet(ledger, file, stream, sha256, notes, expected_rows)
                else:
                    facts = read_feed(feed, stream, file.name, file.label, self._settings, notes, expected_rows)
                    observed = [fact.placed for fact in facts if fact.kind == "observation"]
                    self._refuse_conflict(ledger, file, sha256)
                    items = chain((fact.placed for fact in facts), notes.responses())
            else:
                raise unknown_type(file.label)
        except RecordRejected as error:
            outcome: inbox.Outcome = "conflict" if error.reason == "FILE_CONFLICT" else "refused"
            return inbox.entry_of(file, sha256, outcome, rules, roster=roster), chain(observed, notes.responses(error))
        entry = inbox.entry_of(file, sha256, "taken", rules, roster=roster, delta=notes.delta)
        return entry, items

    def _gone(self, entry: Entry) -> Iterator[ReadResponse]:
        label = inbox.safe_label(entry.name)
        notes = Notes(label)
        message = "was taken away before all of it was read; drop it again"
        notes.add(Place(label), "FILE_GONE", message)
        yield from notes.responses()

    # -- rosters ----------------------------------------------------------------------------------------------------

    def _roster(
        self, ledger: Ledger, file: InboxFile, stream: BinaryIO, sha256: str, notes: Notes
    ) -> Generator[ReadResponse, None, Iterator[ReadResponse]]:
        package = Package(stream, file.label, notes)
        notes.delta = package.is_delta
        if not package.is_delta:
            self._refuse_conflict(ledger, file, sha256)
        opened = ExitStack()
        try:
            bases = self._bases(ledger, opened)
            roster = Roster(package, bases, self._before(ledger), self._settings, notes, self._state)
            opened.callback(roster.close)
            state = yield from _alive(roster.judging())
        except BaseException:
            opened.close()
            raise
        self._remember(len(ledger.entries) + 1, state)
        if not roster.count and not package.is_delta:
            notes.add(Place(file.label), "DATA/EMPTY", "the package names no student")
        return self._roster_items(roster, notes, opened)

    @staticmethod
    def _roster_items(roster: Roster, notes: Notes, opened: ExitStack) -> Iterator[ReadResponse]:
        with opened:
            yield from roster.batches()
        yield from notes.responses()

    def _bases(self, ledger: Ledger, opened: ExitStack) -> list[Package]:
        """The packages a delta builds upon that are still in the inbox: the last bulk one and the deltas after it."""
        bases: list[Package] = []
        for entry in reversed(ledger.entries):
            if not entry.roster or entry.outcome != "taken":
                continue
            path = (self._pulled if self._puller is not None else self._settings.inbox) / entry.name
            try:
                status = path.lstat()
                file = InboxFile(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
                if not entry.is_same_version(file):
                    continue
                package = Package(opened.enter_context(inbox.opened(file)), file.label, Notes(file.label))
            except (OSError, RecordRejected):
                continue
            bases.insert(0, package)
            if not package.is_delta:
                break
        return bases

    def _remember(self, number: int, state: State) -> None:
        """Keep what a roster said, for the ledger entry ``number`` it will get; no name is in it."""
        folder = self._state / "rosters"
        folder.mkdir(exist_ok=True)
        state.save(folder / str(number))

    def _before(self, ledger: Ledger) -> State:
        """What the last bulk package and the deltas after it have said; the ledger alone says which those are."""
        state, deltas = State(), list[State]()
        for number in range(len(ledger.entries), 0, -1):
            entry = ledger.entries[number - 1]
            found = self._recall(number) if entry.roster and entry.outcome == "taken" else None
            if found is not None and not entry.delta:
                state = found
                break
            if found is not None:
                deltas.append(found)
        for each in reversed(deltas):
            state = state.over(each)
        return state

    def _recall(self, number: int) -> State | None:
        try:
            return State.load(self._state / "rosters" / str(number))
        except (FileNotFoundError, ValueError):
            return None

    def _known(self, ledger: Ledger) -> Marks:
        """The students of all rosters before, so that a sheet read again gives the same items."""
        known: list[Marks] = []
        for number, entry in enumerate(ledger.entries, start=1):
            state = self._recall(number) if entry.roster and entry.outcome == "taken" else None
            if state is not None:
                known.append(state.people["mark"][state.people["kind"] >= PUPIL])
        return np.unique(np.concatenate(known)) if known else np.zeros(0, np.uint64)

    # -- sheets -----------------------------------------------------------------------------------------------------

    def _sheet(
        self,
        ledger: Ledger,
        file: InboxFile,
        stream: BinaryIO,
        sha256: str,
        notes: Notes,
        expected_rows: int | None,
    ) -> Iterator[ReadResponse]:
        scores = read_scores(stream, file.name, file.label, self._settings, notes, expected_rows)
        known = self._known(ledger) if self._settings.register_unknown else np.zeros(0, np.uint64)
        return self._sheet_items(scores, f"{file.label}@sha256:{sha256}", known, notes)

    def _sheet_items(self, scores: Scores, source: str, known: Marks, notes: Notes) -> Iterator[ReadResponse]:
        if self._settings.register_unknown:
            at_each = positions(known, marks(list(scores.students))).tolist()
            for local_id, at in zip(scores.students, at_each, strict=True):
                if at < 0:
                    student = Student(
                        local_id=local_id, school=self._settings.school, school_title=self._settings.school_title
                    )
                    yield ReadResponse(student=student)
        for forms in scores.forms(source):
            yield ReadResponse(forms=forms)
        yield from notes.responses()

    # -- what a file is judged by -----------------------------------------------------------------------------------

    def _refuse_conflict(self, ledger: Ledger, file: InboxFile, sha256: str) -> None:
        if ledger.conflicts(file, sha256):
            message = "other content was taken under this name; send the correction as NAME-更正 or NAME-correction"
            raise FileRefused("FILE_CONFLICT", message, Place(file.label))

    def _rules(self, file: InboxFile) -> str:
        """Digest of what decides about the file beside its bytes: a refused file is judged anew when it changes."""
        rules = self._settings.model_dump_json(exclude={"inbox", "outbox"}).encode()
        return hashlib.sha256(rules + b"\n" + (manifest_bytes(file.path) or b"")).hexdigest()[:16]


def _alive(work: Generator[None, None, T]) -> Generator[ReadResponse, None, T]:
    """Work that takes minutes for a city, with an empty item every few seconds: the gateway waits for each item."""
    told = time.monotonic()
    while True:
        try:
            next(work)
        except StopIteration as end:
            return cast("T", end.value)
        if time.monotonic() - told > _ALIVE_S:
            told = time.monotonic()
            yield ReadResponse()
