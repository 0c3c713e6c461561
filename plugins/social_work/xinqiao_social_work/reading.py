"""Reads one file outside of any agency, as the adapter would: for ``xinqiao adapters read``."""

import io
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files import FileRefused, Place
from xinqiao.adapters.protocols import Accepted, FileItem, Refused
from xinqiao.contract.clock import SystemClock, local_date
from xinqiao_social_work import inbox, wire
from xinqiao_social_work.books import read_books
from xinqiao_social_work.rows import read_sheet
from xinqiao_social_work.settings import SocialWorkSettings


class ReadingSettings(SocialWorkSettings):
    """The adapter's settings where there is no deployment: folders do not matter for reading a file."""

    inbox: Path = Path("inbox")
    outbox: Path = Path("outbox")


class SocialWorkReader:
    """Logs and answers, one file at a time."""

    @property
    def settings(self) -> type[BaseModel]:
        """What it reads by."""
        return ReadingSettings

    def read_file(self, path: Path, settings: SocialWorkSettings) -> Iterator[FileItem]:
        """Each row that would be taken, then each defect. Raises OSError."""
        label = inbox.safe_label(path.name)
        today = local_date(SystemClock().now_us())
        try:
            if wire.is_books(path.name):
                found = read_books(io.BytesIO(path.read_bytes()), path.name, label, settings)
                for package in (each.partner_package for each in found):
                    yield from (Accepted("books", f"{package.period} {each.source}") for each in package.records)
                return
            sheet = read_sheet(io.BytesIO(path.read_bytes()), path.name, label, settings, today)
        except RecordRejected as error:
            place = error.place if isinstance(error.place, Place) else Place(label)
            yield Refused(error.reason, place.within or label, f"whole file refused: {error.message}")
            if isinstance(error, FileRefused):
                yield from (Refused(each.reason, each.place.within or label, each.message) for each in error.rows)
            return
        for record in sheet.records:
            yield Accepted(record.source.partition("/")[0], record.place.within)
        for finding in sheet.findings.rejected:
            yield Refused(finding.reason, finding.place.within or label, finding.message)
