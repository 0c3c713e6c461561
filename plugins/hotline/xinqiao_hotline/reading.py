"""Reads one file outside of any agency, as the adapter would: for ``xinqiao adapters read``."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, model_validator

from xinqiao.adapters.files.folders import safe_label
from xinqiao.adapters.intray import MAX_LETTER, Letter, as_file_items
from xinqiao.adapters.protocols import FileItem, Refused
from xinqiao.contract.clock import SystemClock
from xinqiao_hotline.calls import Calls
from xinqiao_hotline.settings import HotlineSettings, Line


class ReadingSettings(HotlineSettings):
    """The adapter's settings where there is no deployment: how to reach the centre does not matter for a file."""

    lines: dict[str, Line] = Field(default_factory=lambda: {number: Line(seats=2) for number in ("12355", "12356")})

    @model_validator(mode="before")
    @classmethod
    def _some_way(cls, given: Any) -> Any:
        ways = {"rest", "inbox", "outbox"}
        return given if ways & set(given) else {**given, "rest": {"base_url": "http://127.0.0.1:1"}}


class _Nobody:
    """Outside of an agency no call-back is open."""

    def closed(self, task: str) -> None:
        return


class CallReader:
    """Call records in CSV."""

    @property
    def settings(self) -> type[BaseModel]:
        """What it reads by."""
        return ReadingSettings

    def read_file(self, path: Path, settings: HotlineSettings) -> Iterator[FileItem]:
        """Each item that would be taken, then each defect. Raises OSError."""
        with path.open("rb") as stream:
            data = stream.read(MAX_LETTER + 1)
        letter = Letter(1, path.suffix.lower().removeprefix("."), safe_label(path.name), data)
        if len(data) > MAX_LETTER:
            yield Refused("DATA/TOO_LARGE", letter.name, f"is larger than {MAX_LETTER} bytes; split it")
            return
        with tempfile.TemporaryDirectory() as folder:
            yield from as_file_items(letter, Calls(settings, Path(folder), _Nobody(), SystemClock()).judge)
