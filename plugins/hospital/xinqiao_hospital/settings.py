"""What a hospital agency is configured with."""

from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from xinqiao_hospital.hl7.settings import Hl7Settings

_DEFAULT_PORT = {"http": 80, "https": 443}


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
    token: SecretStr | None = Field(default=None, description="Bearer token the hospital issued to this gateway")

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
    hl7 = settings.hl7 if settings.protocol == "hl7v2" else None
    return [hl7.listen] if hl7 is not None and hl7.listen else []


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
