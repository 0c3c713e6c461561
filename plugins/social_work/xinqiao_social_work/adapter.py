"""The adapter of one social-work agency: reads its logs and answers, writes what it is referred and asked to do."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date

from xinqiao.adapters.errors import PartnerUnavailable, RecordRejected
from xinqiao.adapters.files import FileRefused, Finding, Place
from xinqiao.adapters.protocols import AgencyContext
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, DeliverResponse, Origin, ReadResponse, Rejected
from xinqiao.api.exchange.v1.activity_service_pb2 import Activity, RecordActivitiesRequest
from xinqiao.contract.clock import Clock, SystemClock, local_date
from xinqiao_social_work import inbox, outbox, receipts, wire
from xinqiao_social_work.books import read_books
from xinqiao_social_work.inbox import InboxFile
from xinqiao_social_work.rows import Record, Sheet, read_sheet
from xinqiao_social_work.settings import SocialWorkSettings
from xinqiao_social_work.state import Cursor, FileState, Refused, State, States, kept, withdrawn

_TOGETHER = 200
_LISTED = 100
_FEW = 10


class SocialWorkAdapter:
    """Recipient and Source over two folders. Its own state is in the agency's private folder."""

    def __init__(self, settings: SocialWorkSettings, context: AgencyContext, clock: Clock | None = None) -> None:
        self._settings = settings
        self._folder = context.folder
        self._clock = clock or SystemClock()
        self._states = States(context.folder)
        self._refused = Refused(context.folder)
        self._brought: dict[tuple[str, str], tuple[str, str]] = {}
        self._idle: dict[str, tuple[str, str, str, date]] = {}
        self._rules = hashlib.sha256(
            settings.model_dump_json(exclude={"inbox", "outbox"}).encode()
        ).hexdigest()[:16]  # fmt: skip

    def check(self) -> str:
        """See that both folders are there and the outbox takes files."""
        for name, folder in (("inbox", self._settings.inbox), ("outbox", self._settings.outbox)):
            if not folder.is_dir():
                raise PartnerUnavailable(f"the {name} is not a folder that can be seen; mount or create it")
        inbox.scan(self._settings.inbox)
        outbox.check(self._settings.outbox)
        return "folder"

    def close(self) -> None:
        """Nothing is held between calls."""

    def deliver(self, request: DeliverRequest, timeout_s: float) -> DeliverResponse:
        """Write the record as ``<request_id>.json``; the receipt is that name."""
        return DeliverResponse(receipt=outbox.deliver(request, self._settings.outbox, self._folder))

    def report(self, rejected: Sequence[Rejected]) -> None:
        """Put what was not taken of a file into ``reports/<file>.csv`` of the outbox; its row is brought again with the
        file's next change."""
        self._refused.add(
            [brought for each in rejected if (brought := self._brought.get((each.source, each.place))) is not None]
        )
        names = {inbox.safe_label(file.name): file.name for file in inbox.scan(self._settings.inbox)}
        outbox.report(self._settings.outbox, names, rejected)

    def read(self, cursor: str) -> Iterator[ReadResponse]:
        """Yield how the inbox differs from the state that ``cursor`` names, file by file, oldest first."""
        at = Cursor.parse(cursor)
        base, state = at.state, self._states.load(at.state)
        self._brought.clear()
        unreadable: list[str] = []
        for file in inbox.scan(self._settings.inbox):
            try:
                items, key = self._file(file, state, base)
            except FileNotFoundError:
                continue
            except OSError as error:
                unreadable.append(f"{inbox.safe_label(file.name)} ({error.strerror})")
                continue
            taken = at.taken if at.file == key else 0
            for number, item in enumerate(items[:-1], start=1):
                item.cursor = Cursor(base, number, key).text()
                if number > taken:
                    yield item
            if items:
                base = items[-1].cursor = self._states.store(state, base)
                yield items[-1]
                self._refused.settle(file.name)  # it was brought again; who refuses it anew says so
        if unreadable:
            raise PartnerUnavailable(f"{len(unreadable)} inbox file(s) cannot be read, the first: {unreadable[0]}")

    # -- one file ---------------------------------------------------------------------------------------------------

    def _file(self, file: InboxFile, state: State, base: str) -> tuple[list[ReadResponse], str]:
        """What the file adds to ``state`` (named ``base``), empty for nothing, and a digest of all that this comes from;
        ``state`` is afterwards as if it had been taken."""
        label, today = inbox.safe_label(file.name), local_date(self._clock.now_us())
        again = self._refused.of(file.name)
        before = state.files.get(file.name, FileState())
        before = replace(before, rows={source: row for source, row in before.rows.items() if source not in again})
        manifest = file.manifest()
        rules = f"{self._rules}:{hashlib.sha256(manifest).hexdigest()[:16]}"
        try:
            data = file.read()
            sha256 = hashlib.sha256(data).hexdigest()
        except FileRefused as error:
            data, sha256 = b"", f"{file.size}:{file.mtime_ns}"
            refusal: RecordRejected | None = error
        else:
            refusal = None
        due = before.comes and today >= date.fromisoformat(before.comes)
        # A file that brings nothing moves no cursor: without this note it would be judged anew at each look.
        looked = (base, sha256, rules, today)
        if self._idle.get(file.name) == looked or ((before.sha256, before.rules) == (sha256, rules) and not due):
            return [], ""
        key = hashlib.sha256(repr((file.name, *looked, *sorted(again))).encode()).hexdigest()[:16]
        source = f"{label}@{sha256[:16]}"
        now = FileState(sha256, rules, rows=dict(before.rows))
        state.files[file.name] = now
        try:
            if refusal is not None:
                raise refusal
            if file.name.endswith(receipts.SUFFIX):
                return _placed([receipts.read_receipt(data, sha256, label)], source), key
            told = inbox.rows_told(manifest, sha256, label)
            if wire.is_books(file.name):
                made_s = file.mtime_ns // 1_000_000_000
                books = read_books(io.BytesIO(data), file.name, label, self._settings, made_s, told)
                return _placed(books, source), key
            sheet = read_sheet(io.BytesIO(data), file.name, label, self._settings, today, told)
            self._judge(sheet, file, label, state, before, proven=told is not None)
        except RecordRejected as error:
            place = error.place if isinstance(error.place, Place) else Place(label)
            refused = _rejected(Finding(place, error.reason, f"whole file refused: {error.message}"))
            return _placed([refused], source), key
        for record in sheet.records:
            self._brought[source, record.place.within] = (file.name, record.source)
        items = list(_changes(sheet, before, now))
        if not items and before.sha256 not in ("", sha256):
            items = [ReadResponse()]  # nothing of it is new, but what was wrong with it is mended
        if not items:
            self._idle[file.name] = looked
        return _placed(items, source), key

    def _judge(
        self, sheet: Sheet, file: InboxFile, label: str, state: State, before: FileState, *, proven: bool
    ) -> None:
        """Refuse the whole file where its rows, each of them good, cannot be the agency's meaning."""
        for record in sheet.records:
            if state.holder(record.source, file.name) is not None:
                message = "has an id that a row of another file has; ids are unique, and a log keeps its file name"
                raise FileRefused("DATA/DUPLICATE", message, record.place)
        lost = len(before.rows.keys() - {record.source for record in sheet.records})
        if lost > max(_FEW, len(before.rows) // 2) and not proven:
            message = (
                f"lacks {lost} of the {len(before.rows)} rows it had: it may be cut off; send it whole, or with"
                " <name>.manifest.json (rows, sha256) to withdraw them"
            )
            raise FileRefused("DATA/TRUNCATED", message, Place(label))


def _placed(items: list[ReadResponse], source: str) -> list[ReadResponse]:
    """``items`` as the whole of ``source``."""
    for item in items:
        item.origin.source = source
        if item.HasField("rejected"):
            item.rejected.source = source
    if items:
        items[-1].origin.last = True
    return items


def _changes(sheet: Sheet, before: FileState, now: FileState) -> Iterator[ReadResponse]:
    """What of a good file the gateway has not: counts together, the rest one by one; then what was read past."""
    now.comes = sheet.comes.isoformat() if sheet.comes is not None else ""
    now.rows = {record.source: (kept(record.activity), record.mark) for record in sheet.records}
    changed = [
        (record.activity, record.place.within)
        for record in sheet.records
        if record.activity is not None and before.rows.get(record.source, ("", ""))[0] != now.rows[record.source][0]
    ]
    unsure = bool(sheet.findings.rejected)  # which row a bad one was is not known: none is withdrawn for its sake
    gone = [] if unsure else [
        (withdrawn(row[0]), "") for source, row in before.rows.items() if source not in now.rows and row[0]
    ]  # fmt: skip
    if unsure:
        now.rows = {**before.rows, **now.rows}
    yield from _together([*changed, *gone])
    for record in sheet.records:
        yield from _beside(record, before)
    for finding in sheet.findings.rejected[:_LISTED]:
        yield _rejected(finding)


def _together(activities: Sequence[tuple[Activity, str]]) -> Iterator[ReadResponse]:
    for start in range(0, len(activities), _TOGETHER):
        some = activities[start : start + _TOGETHER]
        request = RecordActivitiesRequest(activities=[activity for activity, _ in some])
        yield ReadResponse(activities=request, origin=Origin(places=[place for _, place in some]))


def _beside(record: Record, before: FileState) -> Iterator[ReadResponse]:
    known = before.rows.get(record.source, ("", ""))[1]
    if record.beside is None or record.mark == known:
        return
    if record.beside.WhichOneof("body") == "entry" and known:
        # A plan's entry is superseded by name, and its name is the gateway's: a second one would count twice.
        message = "the entry of this row is in the student's plan already; a person corrects it there"
        changed = _rejected(Finding(record.place, "ENTRY_CHANGED", message))
        changed.origin.series = record.source  # whatever else comes of the file
        yield changed
        return
    record.beside.origin.places.append(record.place.within)
    yield record.beside


def _rejected(finding: Finding) -> ReadResponse:
    said = Rejected(place=finding.place.within, reason=finding.reason, message=finding.message)
    return ReadResponse(rejected=said)
