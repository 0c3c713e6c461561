"""Settings of one women's federation: where its workbooks lie, and which reports it owes."""

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from xinqiao.adapters.transport import parse_endpoint
from xinqiao.config.loader import Strict
from xinqiao.config.secret import Secret

_HOST_KEY = re.compile(r"(ssh-ed25519|ecdsa-sha2-nistp(?:256|384|521)|ssh-rsa) [A-Za-z0-9+/]{40,1000}={0,2}")
_Cadence = Annotated[str, Field(pattern=r"^[a-z0-9]+([-_][a-z0-9]+)*$")]


class FolderSettings(Strict):
    """Two folders that the gateway and the federation both see."""

    inbox: Path = Field(description="Folder the federation writes and the gateway reads")
    outbox: Path = Field(description="Folder the gateway writes and the federation reads")

    @model_validator(mode="after")
    def _separate(self) -> "FolderSettings":
        if self.inbox == self.outbox:
            raise ValueError("inbox and outbox must be two folders: the gateway would read its own workbook back")
        return self


class SftpSettings(Strict):
    """The federation's SFTP server. Its host key is pinned; two may be named while it is being changed."""

    endpoint: str = Field(description="`host:port`, such as sftp.example:22")
    user: str = Field(min_length=1, max_length=64)
    host_keys: tuple[str, ...] = Field(
        min_length=1, max_length=4, description="Public host keys, as a line of `ssh-keyscan` without the host"
    )
    password: Secret | None = Field(default=None, description="`!env NAME` or `!file path`")
    private_key: Secret | None = Field(default=None, description="OpenSSH or PEM private key: `!file path`")
    inbox: str = Field(default="/inbox", description="Path there that the gateway reads")
    outbox: str = Field(default="/outbox", description="Path there that the gateway writes")

    @field_validator("endpoint")
    @classmethod
    def _address(cls, value: str) -> str:
        parse_endpoint(value)
        return value

    @field_validator("host_keys")
    @classmethod
    def _keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(_HOST_KEY.fullmatch(key) is None for key in value):
            raise ValueError("a host key is `ssh-ed25519 AAAA...`: type, blank, base64, no host and no comment")
        return value

    @field_validator("inbox", "outbox")
    @classmethod
    def _path(cls, value: str) -> str:
        path = PurePosixPath(value)
        if not path.is_absolute() or ".." in path.parts or str(path) == "/":
            raise ValueError("a folder there is an absolute path such as /inbox, without ..")
        return str(path)

    @model_validator(mode="after")
    def _consistent(self) -> "SftpSettings":
        if (self.password is None) == (self.private_key is None):
            raise ValueError("name exactly one of password and private_key")
        if self.inbox == self.outbox:
            raise ValueError("inbox and outbox must be two folders: the gateway would read its own workbook back")
        return self


class FederationSettings(Strict):
    """One women's federation: by `folder` or by `sftp`."""

    folder: FolderSettings | None = None
    sftp: SftpSettings | None = None
    manifest: Literal["optional", "required"] = Field(
        default="optional", description="`required`: a workbook is read once `<name>.manifest.json` lies beside it"
    )
    settle_s: int = Field(
        default=5, ge=0, le=3600, description="Without a manifest: seconds a file must lie unchanged before it is read"
    )
    reports: dict[Literal["activities", "visits"], _Cadence] = Field(
        default_factory=dict[Literal["activities", "visits"], str],
        description="The cadence (config/policy) of the monthly report that a part of the workbook answers",
    )

    exchange: str = Field(
        default="", pattern=r"^([a-z0-9][a-z0-9-]{0,62})?$",
        description="The exchange (gateway.yaml) that its books of last month are of; empty: the only one it is a party of",
    )  # fmt: skip

    @property
    def cadences(self) -> dict[str, str]:
        """``reports`` by the plain name of the part."""
        return {str(part): cadence for part, cadence in self.reports.items()}

    @model_validator(mode="after")
    def _one_way(self) -> "FederationSettings":
        if (self.folder is None) == (self.sftp is None):
            raise ValueError("name exactly one of folder and sftp")
        return self


def hosts(settings: FederationSettings) -> list[str]:
    """The ``host:port`` these settings need: none for folders."""
    return [] if settings.sftp is None else [settings.sftp.endpoint]
