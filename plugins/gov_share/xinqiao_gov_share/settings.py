"""What one agency behind a data-sharing platform is configured with."""

from pathlib import Path
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import Field, field_validator

from xinqiao.adapters.transport import configured_endpoint
from xinqiao.config import PartnerUrl, Secret
from xinqiao.config.fields import ConfigPath, matching
from xinqiao.config.loader import Strict

Contract = Literal["referral", "referral_update", "task", "police_report", "recall", "package"]
_Text = Annotated[str, Field(min_length=1, max_length=200)]


class CatalogueEntry(Strict):
    """One entry of the platform's catalogue (资源目录), and what every request under it must state."""

    id: Annotated[
        str, matching(r"[A-Za-z0-9][A-Za-z0-9/._-]{2,63}", "the catalogue id (资源目录编码) as the platform shows it")
    ]
    basis: _Text = Field(description="Use basis (使用依据): the statute and article the agency's duty rests on")
    scene: _Text = Field(default="学生心理健康协同", description="Use scene (使用场景)")


class GovShareSettings(Strict):
    """Settings of one agency that is reached through the platform."""

    base_url: PartnerUrl = Field(description="The platform's interface, such as https://share.example.gov.cn/api/v1")
    app_id: Annotated[str, matching(r"[A-Za-z0-9_-]{1,64}", "the application id the platform issued")]
    secret: Secret = Field(description="The application's signing secret: `!env NAME` or `!file path`")
    algorithm: Literal["hmac-sha256", "hmac-sm3"] = Field(default="hmac-sha256", description="How requests are signed")
    agency_code: Annotated[
        str, matching(r"[0-9A-Z]{9,18}", "the agency's code on the platform (统一社会信用代码 or 组织机构代码)")
    ]
    catalogue: dict[Contract, CatalogueEntry] = Field(
        min_length=1, description="Contract: its catalogue entry; a contract left out cannot go through the platform"
    )
    seal_to: ConfigPath | None = Field(
        default=None, description="The agency's X25519 public key, PEM: the platform then carries what it cannot read"
    )
    check_days: int = Field(default=2, ge=1, le=30, description="Working days the platform has to check a request")
    answer_days: int = Field(default=5, ge=1, le=60, description="Working days the agency then has to answer")
    crisis_minutes: int = Field(
        default=30, ge=1, le=1440, description="Minutes after which an urgent request nobody has taken up is an alarm"
    )
    poll_seconds: int = Field(default=60, ge=1, le=86400, description="Seconds between two looks at one ticket")

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str) -> str:
        configured_endpoint(value)
        return value.rstrip("/")


def hosts(settings: GovShareSettings) -> list[str]:
    """The ``host:port`` of the platform."""
    return [configured_endpoint(settings.base_url)]


def sealing_key(path: Path) -> X25519PublicKey:
    """The agency's key. Raises ValueError, TypeError or OSError when it is not an X25519 public key in PEM."""
    key = load_pem_public_key(path.read_bytes())
    if not isinstance(key, X25519PublicKey):
        raise TypeError("not an X25519 key")
    return key
