"""Settings of one grid station: where its records come from, how its grids are coded, which grids owe a weekly report."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from xinqiao.adapters.files import Encoding
from xinqiao.adapters.transport import configured_endpoint
from xinqiao.config import ConfigPath, PartnerUrl, Secret
from xinqiao.config.loader import Strict
from xinqiao_community_grid.wire import CONCERNS

# Not the value of a code: what may stand in a file name whatever pattern is configured.
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}")

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?", re.ASCII)


def _pattern(text: str) -> str:
    try:
        re.compile(text, re.ASCII)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error.msg}") from None
    return text


class RestSettings(Strict):
    """A station with a system of its own."""

    base_url: PartnerUrl = Field(description="Such as https://grid.example.cn/api; http on loopback only")
    token: Secret | None = Field(
        default=None, description="Bearer token the station issued: `!env NAME` or `!file path`"
    )
    page_size: int = Field(default=200, ge=1, le=5000, description="Records a page")


class DoorSettings(Strict):
    """Where phones with a network hand their forms in; left out, the file goes back through the inbox."""

    listen: str = Field(description="Address to listen at, such as 10.2.0.5:8443; in clear text on loopback only")
    public_url: PartnerUrl = Field(
        description="This address as the phones reach it, such as https://grid.example.cn:8443"
    )
    certificate: ConfigPath | None = Field(default=None, description="This listener's certificate chain, PEM")
    key: ConfigPath | None = Field(default=None, description="Its private key, PEM")

    @model_validator(mode="after")
    def _fits(self) -> "DoorSettings":
        if (self.certificate is None) != (self.key is None):
            raise ValueError("give certificate and key, or neither")
        if _ORIGIN.fullmatch(self.public_url) is None:
            raise ValueError("public_url is scheme, host and port alone: it becomes part of the form's own policy")
        return self


class CommunityGridSettings(Strict):
    """One grid station (网格中心). With ``rest``, with folders, or with both: phone forms come back through the inbox."""

    rest: RestSettings | None = Field(default=None, description="The station's system; left out, it works in folders")
    inbox: ConfigPath | None = Field(default=None, description="Folder the station writes and the gateway reads")
    outbox: ConfigPath | None = Field(default=None, description="Folder the gateway writes and the station reads")
    grid_pattern: Annotated[str, AfterValidator(_pattern)] = Field(
        default=r"[0-9]{15}", max_length=200, description="Regular expression that a whole grid code must match"
    )
    grids: tuple[str, ...] = Field(
        default=(), max_length=2000, description="The grids that owe a report every week, by code"
    )
    cadence: str = Field(
        default="grid-visit-weekly",
        pattern=r"^[a-z0-9]+([-_][a-z0-9]+)*$",
        description="Expected report of the district",
    )
    forms: bool = Field(default=True, description="Make a phone form per grid and week; needs the folders")
    door: DoorSettings | None = Field(default=None, description="Where phones hand their forms in over a network")
    encoding: Encoding = Field(default="utf-8", description="Encoding of its CSV files, declared and never guessed")
    accept_valid_rows: bool = Field(default=False, description="Take a file's good rows although it has bad ones")
    exchange: str = Field(
        default="", pattern=r"^([a-z0-9][a-z0-9-]{0,62})?$",
        description="The exchange (gateway.yaml) that its books are of; empty: the only one it is a party of",
    )  # fmt: skip
    concerns: dict[str, str] = Field(
        default_factory=dict[str, str], description=f"The station's own words for: {', '.join(CONCERNS)}"
    )

    @model_validator(mode="after")
    def _fits(self) -> "CommunityGridSettings":
        if (self.inbox is None) != (self.outbox is None):
            raise ValueError("give inbox and outbox, or neither")
        if self.rest is None and self.inbox is None:
            raise ValueError("give rest, or inbox and outbox: there is no way to this station")
        if self.door is not None and not (self.forms and self.outbox):
            raise ValueError("door is for phone forms: it needs forms, inbox and outbox")
        if self.inbox is not None and self.inbox == self.outbox:
            raise ValueError("inbox and outbox must be two folders: the station would read its own files back")
        wrong = [at for at, code in enumerate(self.grids, 1) if not self.is_grid(code)]
        if wrong:
            raise ValueError(f"grid {wrong[0]} of the list does not match grid_pattern; correct one of them")
        if len(set(self.grids)) != len(self.grids):
            raise ValueError("a grid is listed twice")
        if unknown := set(self.concerns.values()) - set(CONCERNS):
            raise ValueError(f"{len(unknown)} of the concerns is not one of {', '.join(CONCERNS)}")
        return self

    def is_grid(self, code: str) -> bool:
        """Whether ``code`` is a grid code of this station."""
        return bool(_SAFE.fullmatch(code)) and re.fullmatch(self.grid_pattern, code, re.ASCII) is not None


def hosts(settings: CommunityGridSettings) -> list[str]:
    """The ``host:port`` pairs these settings need: none for folders."""
    return [configured_endpoint(settings.rest.base_url)] if settings.rest is not None else []


def listens(settings: CommunityGridSettings) -> list[str]:
    """The ``ip:port`` pairs these settings listen at."""
    return [settings.door.listen] if settings.door is not None else []
