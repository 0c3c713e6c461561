"""What an agency with a remote adapter is configured with."""

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from xinqiao.adapters.errors import AdapterConfigError
from xinqiao.adapters.manifest import Manifest, load_manifest
from xinqiao.adapters.transport import parse_endpoint
from xinqiao.config import ConfigPath
from xinqiao.config.loader import Strict
from xinqiao.config.problems import ConfigError, refusal


def _endpoint(text: str) -> str:
    try:
        return parse_endpoint(text).endpoint
    except AdapterConfigError:
        raise refusal("CONFIG/FORMAT", "not host:port", "write adapter.example.cn:443, IPv6 in brackets") from None


class RemoteSettings(Strict):
    """Where the partner's service is, and what it may be given."""

    address: Annotated[str, AfterValidator(_endpoint)] = Field(description="host:port of the partner's service")
    manifest: ConfigPath = Field(description="What this agency is given and brings: a manifest.yaml of the district's")
    authority: ConfigPath | None = Field(default=None, description="CA that signed the partner's certificate, PEM")
    certificate: ConfigPath | None = Field(default=None, description="The gateway's client certificate, PEM")
    key: ConfigPath | None = Field(default=None, description="Its key, PEM")
    server_name: str = Field(default="", max_length=253, description="Name in the partner's certificate, if another")

    @property
    def local(self) -> bool:
        """Whether the address itself says loopback; only there may it be plain text."""
        return parse_endpoint(self.address).local

    @model_validator(mode="after")
    def _secured(self) -> "RemoteSettings":
        if (self.certificate is None) != (self.key is None):
            raise refusal("CONFIG/CONFLICT", "certificate and key belong together", "give both or neither")
        if self.certificate is not None and self.authority is None:
            raise refusal("CONFIG/CONFLICT", "a client certificate needs an authority", "give the partner's CA")
        if self.authority is None and not self.local:
            raise refusal("CONFIG/CONFLICT", "plain text is for loopback only", "give authority, certificate and key")
        return self


def hosts(settings: RemoteSettings) -> list[str]:
    """The one address."""
    return [settings.address]


def declared(settings: RemoteSettings) -> Manifest:
    """The agency's own manifest. Raises AdapterConfigError where the file is not usable."""
    try:
        return load_manifest(settings.manifest)
    except (ConfigError, OSError) as error:
        raise AdapterConfigError(f"the manifest of this agency is not usable: {error}") from None
