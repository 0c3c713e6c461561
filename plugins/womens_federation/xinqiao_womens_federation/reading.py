"""Reads one workbook outside of any agency, as the adapter would: for ``xinqiao adapters read``."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

from pydantic import BaseModel, Field, model_validator

from xinqiao.adapters.protocols import Accepted, FileItem, Refused
from xinqiao_womens_federation.inbox import file_items
from xinqiao_womens_federation.settings import FederationSettings, FolderSettings
from xinqiao_womens_federation.shelf import MAX_BYTES


class ReadingSettings(FederationSettings):
    """The adapter's settings where there is no deployment: folders do not matter for reading a file."""

    folder: FolderSettings | None = Field(default=FolderSettings(inbox=Path("inbox"), outbox=Path("outbox")))

    @model_validator(mode="before")
    @classmethod
    def _either(cls, value: object) -> object:
        given = cast("dict[str, object]", value) if isinstance(value, dict) else {}
        return {**given, "folder": None} if given.get("sftp") else given


class FederationReader:
    """Workbooks, one by one."""

    @property
    def settings(self) -> type[BaseModel]:
        """What it reads by."""
        return ReadingSettings

    def read_file(self, path: Path, settings: FederationSettings) -> Iterator[FileItem]:
        """Each item that would be taken, then each defect. Raises OSError, or FileRefused for the whole file."""
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        items, defects = file_items(path, data, settings)
        for kind, place in items:
            yield Accepted(kind, place)
        for defect in defects:
            where = f"sheet {defect.sheet}, row {defect.row}, column {defect.column}"
            yield Refused(defect.reason, where, defect.message)
