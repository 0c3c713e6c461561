"""Settings of one social-work agency: its folders, its schools, and how its files are encoded."""

from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import Field, model_validator

from xinqiao.adapters.files import Encoding
from xinqiao.config.loader import Strict


class FileSettings(Strict):
    """How the CSV files whose name matches ``match`` are encoded; the first match counts."""

    match: str = Field(min_length=1, max_length=200)
    encoding: Encoding


class SocialWorkSettings(Strict):
    """One agency."""

    inbox: Path = Field(description="Folder the agency writes and the gateway reads")
    outbox: Path = Field(description="Folder the gateway writes and the agency reads")
    schools: list[str] = Field(
        default_factory=list[str],
        description="School codes the agency works at; a row with another is refused. Empty: no school is brought",
    )
    encoding: Encoding = Field(default="utf-8", description="Of every CSV file that `files` does not name")
    files: list[FileSettings] = Field(default_factory=list[FileSettings])
    exchange: str = Field(
        default="", pattern=r"^([a-z0-9][a-z0-9-]{0,62})?$",
        description="The exchange (gateway.yaml) that its books are of; empty: the only one it is a party of",
    )  # fmt: skip
    accept_valid_rows: bool = Field(default=False, description="Take a file's good rows although it has bad ones")
    bring_notes: bool = Field(
        default=False,
        description="Bring a session's note too. The gateway seals it as COUNSELLING_NOTE and never gives it out",
    )

    @model_validator(mode="after")
    def _separate_folders(self) -> "SocialWorkSettings":
        if self.inbox == self.outbox:
            raise ValueError("inbox and outbox must be two folders: the agency would read its own files back")
        return self

    def encoding_of(self, file_name: str) -> Encoding:
        """The declared encoding of a CSV file; it is never guessed."""
        for file in self.files:
            if fnmatchcase(file_name, file.match):
                return file.encoding
        return self.encoding
