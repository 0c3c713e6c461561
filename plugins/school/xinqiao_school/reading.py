"""Reads one file outside of any agency, as the adapter would: for ``xinqiao adapters read``."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files.places import Place
from xinqiao.adapters.protocols import Accepted, FileItem, Refused
from xinqiao_school import inbox
from xinqiao_school.feeds import feed_of, read_feed
from xinqiao_school.index import State
from xinqiao_school.manifest import check_manifest, unknown_type
from xinqiao_school.notes import Notes, rejected
from xinqiao_school.package import Package
from xinqiao_school.roster import Roster
from xinqiao_school.settings import SchoolSettings
from xinqiao_school.sheets import read_scores

_LISTED = 100_000


class ReadingSettings(SchoolSettings):
    """The adapter's settings where there is no deployment: folders and school do not matter for reading a file."""

    inbox: Path = Path("inbox")
    outbox: Path = Path("outbox")
    school: str = "SCHOOL"


class SchoolReader:
    """OneRoster packages and score sheets, one by one: a delta does not see the bulk package it builds upon."""

    @property
    def settings(self) -> type[BaseModel]:
        """What it reads by."""
        return ReadingSettings

    def read_file(self, path: Path, settings: SchoolSettings) -> Iterator[FileItem]:
        """Each student or form that would be taken, then each defect. Raises OSError."""
        label = inbox.safe_label(path.name)
        notes = Notes(label, _LISTED)
        refusal: RecordRejected | None = None
        with path.open("rb") as stream:
            try:
                yield from self._items(path, stream, label, settings, notes)
            except RecordRejected as error:
                refusal = error
        for cost, item in notes.items():
            where = item.place.removeprefix(f"{label}/") or label
            if cost:
                yield Refused(item.reason, where, item.message)
            else:
                yield Accepted("file", where, item.reason, item.message)
        if refusal is not None:
            yield Refused(refusal.reason, _within(label, refusal.place), f"whole file refused: {refusal.message}")

    def _items(
        self, path: Path, stream: BinaryIO, label: str, settings: SchoolSettings, notes: Notes
    ) -> Iterator[FileItem]:
        expected_rows = check_manifest(path, label, stream, inbox.digest_of(stream))
        name = path.name.lower()
        if name.endswith(".zip"):
            roster = Roster(Package(stream, label, notes), (), State(), settings, notes)
            with closing(roster):
                roster.check()
                for place, student in roster.placed():
                    yield Accepted("student left" if student.left else "student", _within(label, place))
        elif name.endswith((".csv", ".xlsx")) and (feed := feed_of(path.name, settings)) is not None:
            for fact in read_feed(feed, stream, path.name, label, settings, notes, expected_rows):
                yield Accepted(fact.kind, f"row {fact.row}")
        elif name.endswith((".csv", ".xlsx")):
            scores = read_scores(stream, path.name, label, settings, notes, expected_rows)
            for row, instrument in scores.in_order():
                yield Accepted(instrument, f"row {row}")
        else:
            raise unknown_type(label)


def _within(label: str, place: object) -> str:
    where = place if isinstance(place, Place) else Place(label)
    return rejected(label, where, "", "").place.removeprefix(f"{label}/") or label
