"""What a hospital agency is configured with."""

from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from xinqiao.config import Secret
from xinqiao.config.fields import ConfigPath
from xinqiao_hospital.hl7.settings import Hl7Settings

_DEFAULT_PORT = {"http": 80, "https": 443}


class ReceiverSettings(BaseModel):
    """Where a FHIR hospital pushes its Tasks to, and how it shows who it is: a token, a certificate, or both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    listen: str = Field(description="Address to listen at, such as 10.2.0.5:8443; in clear text on loopback only")
    token: Secret | None = Field(default=None, description="Bearer token the hospital must show")
    certificate: ConfigPath | None = Field(default=None, description="This listener's certificate chain, PEM")
    key: ConfigPath | None = Field(default=None, description="Its private key, PEM")
    client_authority: ConfigPath | None = Field(
        default=None, description="Authority of the hospital's client certificate, PEM; given, one is demanded"
    )
    public_url: str | None = Field(
        default=None, description="This receiver's FHIR base as the hospital reaches it; ends in /fhir"
    )
    subscribe: bool = Field(
        default=False, description="Ask the hospital for rest-hook notices; then it is asked for news at each notice"
    )
    subscribed_poll_seconds: int = Field(
        default=300, ge=5, le=86400, description="While subscribed: seconds between two looks without any notice"
    )

    @field_validator("public_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        return None if value is None else _checked(value)

    @model_validator(mode="after")
    def _fits(self) -> "ReceiverSettings":
        if (self.certificate is None) != (self.key is None):
            raise ValueError("give certificate and key, or neither")
        if self.client_authority is not None and self.certificate is None:
            raise ValueError("client_authority needs certificate and key: without TLS no certificate is shown")
        if self.token is None and self.client_authority is None:
            raise ValueError("give token or client_authority: the hospital must show who it is")
        if self.subscribe and self.public_url is None:
            raise ValueError("subscribe needs public_url, the address that the hospital is told")
        return self


class CapacitySettings(BaseModel):
    """How a FHIR hospital shows whether it has a place: free Slots, or characteristics of its HealthcareServices."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    search: Literal["slot", "healthcare-service"] = Field(default="slot", description="What is searched for")
    services: dict[str, str] = Field(
        default_factory=dict[str, str], description="Service of the district: the hospital's token, system|code"
    )
    within_days: int = Field(default=14, ge=1, le=365, description="A free Slot this soon is a place")
    waitlist_days: int = Field(default=90, ge=1, le=730, description="A free Slot only this soon is a waiting list")
    assess_first: tuple[str, ...] = Field(default=(), description="Services that assess before they take anybody")


class HospitalSettings(BaseModel):
    """Settings of one hospital: FHIR R4 (4.0.1) in JSON, or HL7 v2.5.1 over MLLP."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: Literal["fhir", "hl7v2"] = Field(default="fhir", description="What the hospital speaks")
    hl7: Hl7Settings | None = Field(default=None, description="With hl7v2: how to reach its engine")
    base_url: str = Field(
        default="",
        validate_default=False,
        description="With fhir: its base address, such as https://fhir.hospital.example/r4; http on loopback only",
    )
    poll_seconds: int = Field(default=5, ge=1, le=3600, description="Seconds between two looks for changed Tasks")
    exchange_url: str | None = Field(
        default=None, description="Where monthly packages are posted; left out, it is base_url + /xinqiao-exchange"
    )
    token: Secret | None = Field(default=None, description="Bearer token the hospital issued to this gateway")
    receiver: ReceiverSettings | None = Field(default=None, description="With fhir: where the hospital pushes to")
    capacity: CapacitySettings | None = Field(
        default=None, description="With fhir: how to ask for a place before a referral is sent"
    )

    @field_validator("base_url", "exchange_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        return None if value is None else _checked(value)

    @model_validator(mode="after")
    def _fits_protocol(self) -> "HospitalSettings":
        if self.protocol == "fhir" and not self.base_url:
            raise ValueError("protocol fhir needs base_url")
        if self.protocol == "hl7v2" and self.hl7 is None:
            raise ValueError("protocol hl7v2 needs hl7")
        return self

    @property
    def exchange_address(self) -> str:
        """Where packages go, given or derived."""
        return self.exchange_url or f"{self.base_url}/xinqiao-exchange"


def hosts(settings: HospitalSettings) -> list[str]:
    """The ``host:port`` pairs these settings need, each once."""
    if settings.protocol == "hl7v2" and settings.hl7 is not None:
        exchange = [_host_port(settings.exchange_url)] if settings.exchange_url else []
        return sorted({settings.hl7.endpoint, *exchange})
    return sorted({_host_port(settings.base_url), _host_port(settings.exchange_address)})


def listens(settings: HospitalSettings) -> list[str]:
    """The ``ip:port`` pairs these settings listen at."""
    if settings.protocol == "fhir":
        return [settings.receiver.listen] if settings.receiver is not None else []
    return [settings.hl7.listen] if settings.hl7 is not None and settings.hl7.listen else []


def _checked(value: str) -> str:
    parts = urlsplit(value)
    try:
        port_fits = parts.port is None or 1 <= parts.port <= 65535
    except ValueError:
        port_fits = False
    if parts.scheme not in _DEFAULT_PORT or not parts.hostname or not port_fits:
        raise ValueError("must be https://host[:port]/path")
    if "@" in parts.netloc or parts.query or parts.fragment or "?" in value or "#" in value:
        raise ValueError("must hold no user, query or fragment; a token belongs in 'token'")
    return value.rstrip("/")


def _host_port(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or _DEFAULT_PORT[parts.scheme]}"
