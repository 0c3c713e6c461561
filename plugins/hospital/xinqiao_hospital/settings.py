"""What a hospital agency is configured with."""

from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

_DEFAULT_PORT = {"http": 80, "https": 443}


class HospitalSettings(BaseModel):
    """Settings of one hospital that serves FHIR R4 (4.0.1) in JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str = Field(
        description="FHIR base address, such as https://fhir.hospital.example/r4; http on loopback only"
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

    @property
    def exchange_address(self) -> str:
        """Where packages go, given or derived."""
        return self.exchange_url or f"{self.base_url}/xinqiao-exchange"


def hosts(settings: HospitalSettings) -> list[str]:
    """The ``host:port`` pairs these settings need, each once."""
    return sorted({_host_port(settings.base_url), _host_port(settings.exchange_address)})


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
