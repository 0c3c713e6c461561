"""Settings of one league: where its platform is."""

from pydantic import Field, field_validator

from xinqiao.adapters.transport import configured_endpoint
from xinqiao.config import PartnerUrl, Secret
from xinqiao.config.loader import Strict


class YouthLeagueSettings(Strict):
    """One platform."""

    base_url: PartnerUrl = Field(description="Such as https://league.example.cn/volunteers/v1; http on loopback only")
    token: Secret | None = Field(
        default=None, description="Bearer token, `!env NAME` or `!file path`; none where the network alone admits"
    )
    page_size: int = Field(default=100, ge=1, le=1000, description="Items asked for at once")
    books: bool = Field(default=False, description="Whether the platform lists its own books and takes what differs")
    exchange: str = Field(
        default="", pattern=r"^([a-z0-9][a-z0-9-]{0,62})?$",
        description="The exchange (gateway.yaml) that its books are of; empty: the only one it is a party of",
    )  # fmt: skip
    timeout_s: float = Field(default=10.0, gt=0, le=60, description="Longest wait for one page")

    @field_validator("base_url")
    @classmethod
    def _reachable(cls, value: str) -> str:
        configured_endpoint(value)
        return value.rstrip("/")


def hosts(settings: YouthLeagueSettings) -> list[str]:
    """The one ``host:port`` these settings need."""
    return [configured_endpoint(settings.base_url)]
