"""Looks into the inbox: which files are whole and new, and what each of them says."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from xinqiao.adapters.books import revision
from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files.folders import series_of
from xinqiao.adapters.files.places import FileRefused, Place
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse, Rejected
from xinqiao.api.exchange.v1.exchange_service_pb2 import SubmitPackageRequest
from xinqiao.contract.clock import Clock
from xinqiao_womens_federation import package
from xinqiao_womens_federation.book import Mend
from xinqiao_womens_federation.settings import FederationSettings
from xinqiao_womens_federation.sheets import Item, read_book, refusal
from xinqiao_womens_federation.shelf import INBOX, MANIFEST, MAX_BYTES, Files, Listed, Shelf, is_odd, safe_label
from xinqiao_womens_federation.state import Entry, Ledger, Outcome

_TIME_S: Final = 60.0
_DAY_US: Final = 86_400_000_000
_MANIFEST_BYTES: Final = 64 * 1024
_SECOND_US: Final = 1_000_000


_Version = tuple[str, int, int]
"""Name, size and time of change of a file as listed."""


@dataclass(slots=True)
class Told:
    """What a look found, so that what was not taken can be told by row: the file's name for each label, and what is at
    each label and place, and where each record of its books stands."""

    names: dict[str, str] = field(default_factory=dict[str, str])
    places: dict[tuple[str, str], Mend] = field(default_factory=dict[tuple[str, str], Mend])
    records: dict[str, tuple[str, Place]] = field(default_factory=dict[str, tuple[str, Place]])


@dataclass(frozen=True, slots=True)
class _Fetched:
    place: str
    listed: Listed
    data: bytes
    sha256: str
    manifest: bytes | None


class Inbox:
    """One look; ``told`` is filled as it goes. ``passed`` (files that bring nothing) and
    ``first_seen`` (microseconds) are kept between looks."""

    def __init__(
        self,
        settings: FederationSettings,
        shelf: Shelf,
        clock: Clock,
        round_of: Callable[[str], str],
        passed: set[_Version],
        first_seen: dict[_Version, int],
        told: Told,
    ) -> None:
        self._settings = settings
        self._shelf = shelf
        self._clock = clock
        self._round_of = round_of
        self._passed = passed
        self._first_seen = first_seen
        self._told = told

    def read(self, ledger: Ledger) -> Iterator[ReadResponse]:
        """Every new file's items, oldest first, each with a cursor behind it; the last ends its file.

        What was refused of a file that was not ended comes again whole: the sheet of errors is written from one look.
        """
        with self._shelf.open(_TIME_S) as files:
            listed = [(INBOX, each) for each in files.names(INBOX)]
            listed += [(package.RECEIPTS, each) for each in files.names(package.RECEIPTS)]
        manifests = {each.name for place, each in listed if place == INBOX and each.name.endswith(MANIFEST)}
        for place, each in sorted(listed, key=lambda pair: (pair[1].mtime, pair[1].name)):
            if not self._is_candidate(place, each, ledger):
                continue
            if not self._is_settled(each, has_manifest=f"{each.name}{MANIFEST}" in manifests):
                continue
            fetched = self._fetch(place, each, has_manifest=f"{each.name}{MANIFEST}" in manifests)
            if fetched is not None:
                yield from self._file(fetched, ledger)

    def _is_candidate(self, place: str, file: Listed, ledger: Ledger) -> bool:
        name = file.name
        hidden = name.startswith((".", "~$")) and "/" not in name
        if hidden or name.endswith((".part", MANIFEST)):
            return False
        if place == package.RECEIPTS and not name.endswith(package.RECALL_ENDING):
            return False
        key = (name, file.size, file.mtime)
        return key not in self._passed and not ledger.knows(*key)

    def _is_settled(self, file: Listed, *, has_manifest: bool) -> bool:
        """Whether nobody is writing it any more, as far as can be told from here.

        By our own clock, from when it was first seen like this: a copy may keep an old time while it is being written.
        """
        if has_manifest:
            return True
        now_us = self._clock.now_us()
        seen_us = self._first_seen.setdefault((file.name, file.size, file.mtime), now_us)
        if self._settings.manifest == "required" and file.name.endswith(".xlsx"):
            return (
                now_us - min(seen_us, file.mtime * _SECOND_US) > _DAY_US
            )  # refused then, so that somebody learns of it
        return now_us - seen_us >= self._settings.settle_s * _SECOND_US

    def _fetch(self, place: str, file: Listed, *, has_manifest: bool) -> _Fetched | None:
        """None for a file that is gone or was changed since it was listed: the next look has it."""
        if is_odd(file.name) and place == INBOX:
            name = file.name.encode("utf-8", "surrogatepass")
            return _Fetched(place, file, b"", hashlib.sha256(name).hexdigest(), None)
        with self._shelf.open(_TIME_S) as files:
            try:
                manifest = _manifest(files, file.name) if has_manifest else None
                data = files.get(place, file.name)
            except FileNotFoundError:
                return None
        if len(data) != file.size and len(data) <= MAX_BYTES:
            return None
        return _Fetched(place, file, data, hashlib.sha256(data).hexdigest(), manifest)

    def _file(self, file: _Fetched, ledger: Ledger) -> Iterator[ReadResponse]:
        key = (file.listed.name, file.listed.size, file.listed.mtime)
        if ledger.has(file.sha256):
            self._passed.add(key)
            return
        label = safe_label(file.listed.name)
        self._told.names[label] = file.listed.name
        items, refused, outcome = self._judge(file, label, ledger)
        if not items:
            self._passed.add(key)
            return
        taken = len(items) - refused
        marks = _marks(items[:taken])
        series = label if is_odd(file.listed.name) else series_of(file.listed.name)
        for item in items:
            item.origin.source, item.origin.series = f"{label}@{file.sha256[:16]}", series
            if item.HasField("rejected"):
                item.rejected.source = item.origin.source
        items[-1].origin.last = True
        begun = marks.index(ledger.begun) if ledger.begun in marks else 0
        before = ledger.cursor
        for number, item in enumerate(items[begun:-1], start=begun + 1):
            item.cursor = f"{before}+{marks[min(number, taken)]}"
            yield item
        entry = Entry(*key[:1], file.sha256, *key[1:], outcome, len(items) - refused, refused)
        items[-1].cursor = ledger.add(entry)
        yield items[-1]

    def _judge(self, file: _Fetched, label: str, ledger: Ledger) -> tuple[list[ReadResponse], int, Outcome]:
        """What to say of a file, how many of it were refused, and what became of it."""
        try:
            if file.place == package.RECEIPTS:
                return [self._recall(file, label)], 0, "taken"
            self._check(file, label, ledger)
            books = SubmitPackageRequest(exchange=self._settings.exchange, revision=revision(file.listed.mtime))
            found = read_book(file.data, label, self._settings.cadences, self._round_of, books)
        except RecordRejected as error:
            outcome: Outcome = "conflict" if error.reason == "FILE_CONFLICT" else "refused"
            return [self._rejected(label, refusal(error))], 1, outcome
        self._told.records |= {source: (label, place) for source, place in found.records.items()}
        items = [self._placed(label, item) for item in found.items]
        items += [self._rejected(label, mend) for mend in (*found.refused, *found.noted)]
        return items, len(found.refused) + len(found.noted), "partly" if found.refused else "taken"

    def _check(self, file: _Fetched, label: str, ledger: Ledger) -> None:
        """Raises FileRefused for a file that need not be opened to see that it cannot be taken."""
        place = Place(label)
        if is_odd(file.listed.name):
            raise FileRefused("DATA/FILE_NAME", "a workbook's name is plain and ends in .xlsx; rename it", place)
        if len(file.data) > MAX_BYTES:
            raise FileRefused("DATA/TOO_LARGE", f"is larger than {MAX_BYTES} bytes; split it", place)
        if not file.data:
            raise FileRefused("DATA/EMPTY", "the file holds nothing; send it again", place)
        if file.manifest is None and self._settings.manifest == "required":
            raise FileRefused("DATA/MANIFEST", "no manifest came with it within a day; send both", place)
        if file.manifest is not None and _told_sha256(file.manifest) != file.sha256:
            raise FileRefused("DATA/MANIFEST", "differs from the SHA-256 of its manifest; send both again", place)
        if ledger.conflicts(file.listed.name, file.sha256):
            message = "another file of this name was taken; send the correction as NAME-更正 or NAME-correction"
            raise FileRefused("FILE_CONFLICT", message, place)

    @staticmethod
    def _recall(file: _Fetched, label: str) -> ReadResponse:
        try:
            return ReadResponse(recall_receipt=package.recall_answer(file.data, file.sha256))
        except ValueError:
            message = 'an answer to a recall is {"receipt": base64, "signature": base64}; sign it anew'
            raise FileRefused("RECEIPT_FORMAT", message, Place(label)) from None

    def _placed(self, label: str, item: Item) -> ReadResponse:
        place = item.place.within
        self._told.places[label, place] = Mend(item.place.sheet or "", item.place.row, "", "", "", item.typed)
        item.body.origin.places.append(place)
        return item.body

    def _rejected(self, label: str, mend: Mend) -> ReadResponse:
        place = Place("", mend.sheet or None, mend.row, mend.column or None).within
        self._told.places[label, place] = mend
        return ReadResponse(rejected=Rejected(source=label, place=place, reason=mend.reason, message=mend.message))


def file_items(path: Path, data: bytes, settings: FederationSettings) -> tuple[list[tuple[str, str]], list[Mend]]:
    """The items (kind and place) and defects of one file, outside of any agency. Raises FileRefused."""
    found = read_book(data, safe_label(path.name), settings.cadences)
    kinds = [(str(item.body.WhichOneof("body")), str(item.place)) for item in found.items]
    return kinds, [*found.refused, *found.noted]


def _marks(items: Sequence[ReadResponse]) -> list[str]:
    """A mark for none of the items, the first, the first two...; it fits only while those say the same."""
    digest, marks = hashlib.sha256(), ["0"]
    for item in items:
        digest.update(hashlib.sha256(item.SerializeToString(deterministic=True)).digest())
        marks.append(digest.hexdigest()[:16])
    return marks


def _manifest(files: Files, name: str) -> bytes:
    return files.get(INBOX, name + MANIFEST, _MANIFEST_BYTES)


def _told_sha256(manifest: bytes) -> str:
    """The digest in a manifest, or nothing that any file has."""
    try:
        raw = json.loads(manifest) if len(manifest) <= _MANIFEST_BYTES else None
    except (ValueError, RecursionError):
        return ""
    told = cast("dict[str, object]", raw).get("sha256") if isinstance(raw, dict) else None
    return told.lower() if isinstance(told, str) else ""
