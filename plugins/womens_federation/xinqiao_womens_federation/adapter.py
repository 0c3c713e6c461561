"""The adapter of one women's federation: keeps the month's workbook in its outbox and reads what comes back."""

import hashlib
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from xinqiao.adapters import durable
from xinqiao.adapters.books import BOOKS
from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.protocols import AgencyContext
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, DeliverResponse, ReadResponse, Rejected
from xinqiao.api.casefile.v1.team_pb2 import TASK_STATE_OPEN
from xinqiao.api.exchange.v1.exchange_pb2 import Package, SignedReceipt
from xinqiao.api.referral.v1 import referral_pb2
from xinqiao.contract.clock import Clock, local_date
from xinqiao_womens_federation import package as packages
from xinqiao_womens_federation.book import Mend, error_book, workbook
from xinqiao_womens_federation.inbox import Inbox, Told
from xinqiao_womens_federation.settings import FederationSettings
from xinqiao_womens_federation.sftp import SftpShelf
from xinqiao_womens_federation.shelf import (
    INBOX,
    MANIFEST,
    OUTBOX,
    Files,
    FolderShelf,
    Shelf,
    json_bytes,
    plain_name,
    put_with_manifest,
)
from xinqiao_womens_federation.state import Entry, Ledger, Rows, subject

_TIME_S: Final = 60.0
_PROBE: Final = ".xinqiao-check"
_ERRORS: Final = f"{OUTBOX}/errors"
_RECEIPTS: Final = f"{OUTBOX}/receipts"
_BOOK: Final = "xinqiao-"
_OVER: Final = frozenset({
    referral_pb2.REFERRAL_STATE_DECLINED, referral_pb2.REFERRAL_STATE_CLOSED, referral_pb2.REFERRAL_STATE_CANCELLED,
    referral_pb2.REFERRAL_STATE_REDIRECTED,
})  # fmt: skip
"""States in which a referral needs nothing more of the federation."""


class FederationAdapter:
    """Recipient, Source, Exchanger and Reporter; safe to use from several threads."""

    def __init__(self, settings: FederationSettings, context: AgencyContext, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or context.clock
        self._state = context.folder
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._state / "delivered").mkdir(exist_ok=True)
        self._rows = Rows(self._state / "rows", context.seal)
        self._entries: dict[str, Entry] = {}
        self._shelf = _shelf(settings, context)
        self._lock = threading.Lock()
        self._passed: set[tuple[str, int, int]] = set()
        self._first_seen: dict[tuple[str, int, int], int] = {}
        self._told = Told()

    def check(self) -> str:
        """See that both folders are there and the outbox takes files."""
        with self._shelf.open(_TIME_S) as files:
            files.names(INBOX)
            files.put(OUTBOX, _PROBE, b"")
            files.remove(OUTBOX, _PROBE)
        return "SFTP" if self._settings.sftp is not None else "folder"

    def close(self) -> None:
        """Nothing is held between calls."""

    # -- out --------------------------------------------------------------------------------------------------------

    def deliver(self, request: DeliverRequest, timeout_s: float) -> DeliverResponse:
        """Put it into the month's workbook; the receipt is the workbook's name and the row's.

        Raises RecordRejected for what has no sheet, or a request id in other use; PartnerUnavailable, PartnerRefused.
        """
        once = DeliverRequest()
        once.CopyFrom(request)
        once.ClearField("attempt")
        once.ClearField("checkpoints")
        mark = hashlib.sha256(once.SerializeToString(deterministic=True)).hexdigest()
        path = self._state / "delivered" / hashlib.sha256(request.request_id.encode()).hexdigest()[:32]
        with self._lock:
            known = path.read_text("ascii") if path.exists() else ""
            if known and known != mark:
                message = "other content was delivered under this request_id"
                raise RecordRejected("KEY_REUSED", message, "request_id")
            if not known:
                self._turn_month()
                recalled = self._keep(once)
                with self._shelf.open(timeout_s) as files:
                    self._write_book(files)
                    if recalled:  # a sheet of errors repeats what was written about a student
                        for each in files.names(_ERRORS):
                            files.remove(_ERRORS, each.name)
                durable.replace(path, mark.encode())
        return DeliverResponse(receipt=f"{self._book_name()}#{subject(request)}")

    def _keep(self, request: DeliverRequest) -> bool:
        """Change the rows as the delivery says; returns whether it is a recall."""
        body, name = request.WhichOneof("body"), subject(request)
        if body == "referral":
            self._rows.put(name, request)
        elif body == "referral_update":
            if request.referral_update.state in _OVER:
                self._rows.put(name, request)
        elif body == "task":
            if request.task.task.state == TASK_STATE_OPEN:
                self._rows.put(name, request)
            else:
                self._rows.drop(name)
        elif body == "recall":
            for row in self._rows.all():
                if _student(row) == request.recall.student or subject(row) in request.recall.items:
                    self._rows.drop(subject(row))
            self._rows.put(name, request)
        else:
            raise RecordRejected("CONTRACT", "the workbook has no sheet for this", str(body))
        return body == "recall"

    def _turn_month(self) -> None:
        """That a referral is over is said in the workbook of one month; the next begins without."""
        state = self._state / "book"
        if state.exists() and not state.read_text("utf-8").startswith(f"{self._book_name()} "):
            for row in self._rows.all():
                if row.WhichOneof("body") == "referral_update":
                    self._rows.drop(subject(row))

    def _write_book(self, files: Files) -> None:
        """The workbook of this month, if it is not there as it should be; those of other months go."""
        name, period = self._book_name(), self._period()
        data = workbook(period, self._rows.all())
        state, mark = self._state / "book", f"{name} {hashlib.sha256(data).hexdigest()}"
        there = {each.name for each in files.names(OUTBOX)}
        if not {name, name + MANIFEST} <= there or not state.exists() or state.read_text("utf-8") != mark:
            put_with_manifest(files, OUTBOX, name, data, {"period": period})
            durable.replace(state, mark.encode())
        for old in sorted(there):
            if old.startswith(_BOOK) and old not in (name, name + MANIFEST):
                files.remove(OUTBOX, old)

    def _period(self) -> str:
        return local_date(self._clock.now_us()).isoformat()[:7]

    def _book_name(self) -> str:
        return f"{_BOOK}{self._period()}.xlsx"

    def exchange(self, package: Package, request_id: str, timeout_s: float) -> SignedReceipt | None:
        """Write the package's folder, and look for the receipt that the federation's side signed."""
        with self._shelf.open(timeout_s) as files:
            packages.hand_over(package, files)
            return packages.receipt_for(package, files)

    # -- in ---------------------------------------------------------------------------------------------------------

    def read(self, cursor: str) -> Iterator[ReadResponse]:
        """Yield what the inbox has beyond ``cursor``; also sees that this month's workbook lies in the outbox."""
        ledger = Ledger(self._state / "files.jsonl", cursor)
        with self._lock, self._shelf.open(_TIME_S) as files:
            self._turn_month()
            self._write_book(files)
        self._acknowledge(ledger)
        self._told = told = Told()
        inbox = Inbox(self._settings, self._shelf, self._clock, self._round_of, self._passed, self._first_seen, told)
        for item in inbox.read(ledger):
            yield item
            self._follow(item)
        self._acknowledge(ledger)
        self._entries = {entry.name: entry for entry in ledger.entries}

    def _follow(self, item: ReadResponse) -> None:
        """What the gateway has taken needs no row any more."""
        body = item.WhichOneof("body")
        if body == "recall_receipt":
            self._rows.drop(item.recall_receipt.recall)
        elif body == "task_report":
            self._rows.drop(item.task_report.name)

    def _round_of(self, referral: str) -> str:
        """Tells a referral that was sent again from its first time: the answers are two."""
        row = self._rows.get(referral)
        return hashlib.sha256(row.request_id.encode()).hexdigest()[:8] if row is not None else "0"

    def _acknowledge(self, ledger: Ledger) -> None:
        """A receipt for each file that the gateway has, once: written from the ledger, so a crash leaves none out."""
        state = self._state / "acknowledged"
        done = int(state.read_text("ascii")) if state.exists() else 0
        fresh = ledger.entries[min(done, len(ledger.entries)) :]
        if fresh:
            with self._shelf.open(_TIME_S) as files:
                for entry in fresh:
                    files.put(_RECEIPTS, f"{plain_name(entry.name)}.receipt.json", json_bytes(_receipt(entry)))
                    if not entry.refused:
                        files.remove(_ERRORS, _error_name(entry.name))
        if fresh or done > len(ledger.entries):
            durable.replace(state, str(len(ledger.entries)).encode())

    def report(self, rejected: Sequence[Rejected]) -> None:
        """Put what was not taken of a file into ``errors/<file>.errors.xlsx`` of the outbox, and say so in its receipt,
        which told only of what this plugin refused itself; a repeat writes the same."""
        by_file: dict[str, list[Mend]] = defaultdict(list)
        for item in rejected:
            label, there = self._line_of(item)
            by_file[label].append(replace(there, reason=item.reason, message=item.message))
        with self._shelf.open(_TIME_S) as files:
            for label, mends in by_file.items():
                name = self._told.names.get(label, label)
                files.put(_ERRORS, _error_name(name), error_book(mends))
                entry = self._entries.get(name)
                if entry is not None and entry.refused < len(mends):
                    outcome = "partly" if entry.outcome == "taken" else entry.outcome
                    whole = replace(entry, refused=len(mends), outcome=outcome)
                    files.put(_RECEIPTS, f"{plain_name(name)}.receipt.json", json_bytes(_receipt(whole)))

    def _line_of(self, item: Rejected) -> tuple[str, Mend]:
        """The file an item belongs to, and where it stands in it."""
        if item.source != BOOKS:
            label = item.source.partition("@")[0]
            return label, self._told.places.get((label, item.place), Mend("", None, item.place, "", ""))
        # Of its books the gateway names the record; what they lack stands nowhere, in a look at one file in that one.
        found = self._told.records.get(item.place)
        if found is not None:
            label, place = found
            return label, Mend(place.sheet or "", place.row, "", "", "")
        label = next(iter(self._told.names)) if len(self._told.names) == 1 else BOOKS
        return label, Mend(BOOKS, None, item.place, "", "")


def _shelf(settings: FederationSettings, context: AgencyContext) -> Shelf:
    if settings.sftp is not None:
        return SftpShelf(settings.sftp, context.sockets)
    assert settings.folder is not None
    return FolderShelf(settings.folder.inbox, settings.folder.outbox)


def _student(row: DeliverRequest) -> str:
    body = row.WhichOneof("body")
    if body == "referral":
        return row.referral.student.name or row.referral.referral.student
    if body == "referral_update":
        return row.referral_update.student or "-"
    return row.task.student.name if body == "task" else "-"


def _receipt(entry: Entry) -> dict[str, object]:
    told = {"file": entry.name, "sha256": entry.sha256, "outcome": entry.outcome}
    errors = f"errors/{_error_name(entry.name)}" if entry.refused else ""
    return {**told, "items": entry.items, "refused": entry.refused, "errors": errors}


def _error_name(name: str) -> str:
    return f"{plain_name(name).removesuffix('.xlsx')}.errors.xlsx"
