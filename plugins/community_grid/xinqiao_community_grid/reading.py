"""Reads one file outside of any agency, as the adapter would: for ``xinqiao adapters read``."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from xinqiao.adapters.files.folders import safe_label
from xinqiao.adapters.intray import MAX_LETTER, Letter, as_file_items
from xinqiao.adapters.protocols import FileItem, Refused
from xinqiao_community_grid.records import Visits
from xinqiao_community_grid.settings import CommunityGridSettings, RestSettings


class ReadingSettings(CommunityGridSettings):
    """The adapter's settings where there is no deployment: how to reach the station does not matter for a file."""

    rest: RestSettings | None = RestSettings(base_url="http://127.0.0.1:1")


class _NoTickets:
    """Without the agency's secret no form's ticket can be told from a forged one."""

    def ticket(self, grid: str, week: str) -> str:
        return "no-ticket"

    def allot(self, task: str, grid: str) -> None:
        return

    def done(self, task: str) -> None:
        return


class VisitReader:
    """Visits, weekly reports and allotments in CSV; a phone form only the agency itself can check."""

    @property
    def settings(self) -> type[BaseModel]:
        """What it reads by."""
        return ReadingSettings

    def read_file(self, path: Path, settings: CommunityGridSettings) -> Iterator[FileItem]:
        """Each item that would be taken, then each defect. Raises OSError."""
        with path.open("rb") as stream:
            data = stream.read(MAX_LETTER + 1)
        letter = Letter(1, path.suffix.lower().removeprefix("."), safe_label(path.name), data)
        if len(data) > MAX_LETTER:
            yield Refused("DATA/TOO_LARGE", letter.name, f"is larger than {MAX_LETTER} bytes; split it")
            return
        with tempfile.TemporaryDirectory() as folder:
            yield from as_file_items(letter, Visits(settings, Path(folder), _NoTickets()).judge)
