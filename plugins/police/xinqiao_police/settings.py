"""What a police agency is configured with."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from xinqiao.adapters.transport import configured_endpoint
from xinqiao.config import ConfigPath, PartnerUrl, Secret, Strict, refusal

Wire = Literal["json", "cap"]
KindWord = Literal["SUICIDAL", "SELF_HARM", "VIOLENCE", "ABUSE", "OTHER", "CONCERN"]
Code = Annotated[str, Field(min_length=1, max_length=64)]


class DoorSettings(Strict):
    """Where the 110 centre sends its webhooks to."""

    listen: str = Field(description="Address to listen at, such as 10.2.0.5:8443; in clear text on loopback only")
    certificate: ConfigPath | None = Field(default=None, description="This listener's certificate chain, PEM")
    key: ConfigPath | None = Field(default=None, description="Its private key, PEM")
    client_authority: ConfigPath | None = Field(
        default=None, description="Authority of the centre's client certificate, PEM; given, one is demanded"
    )

    @model_validator(mode="after")
    def _fits(self) -> "DoorSettings":
        if (self.certificate is None) != (self.key is None):
            raise refusal("CONFIG/CONFLICT", "certificate and key go together", "give both, or neither")
        if self.client_authority is not None and self.certificate is None:
            raise refusal("CONFIG/CONFLICT", "client_authority needs TLS", "give certificate and key too")
        return self


class PoliceSettings(Strict):
    """Settings of one 110 centre: Standard Webhooks both ways, in JSON or as CAP 1.2."""

    url: PartnerUrl = Field(description="Where the centre takes webhooks; https, http on loopback only")
    wire: Wire = Field(default="json", description="How bodies are written, in both directions: json, or cap (CAP 1.2)")
    sign_with: tuple[Secret, ...] = Field(
        min_length=1, max_length=4, description="Secrets that sign what is sent, whsec_...; two while one is replaced"
    )
    verify_with: tuple[Secret, ...] = Field(
        default=(), max_length=4, description="Secrets that may have signed what comes, whsec_..."
    )
    receiver: DoorSettings | None = Field(default=None, description="Where the centre sends to; none: it only takes")
    inbox: ConfigPath | None = Field(
        default=None, description="Folder where the centre puts messages as files, where no webhook leaves its network"
    )
    handoff_keys: tuple[Secret, ...] = Field(
        default=(),
        max_length=2,
        description="Keys of call hand-off tokens: 32 bytes in base64, the centre has them too",
    )
    handoff_audience: Annotated[str, Field(pattern=r"^[A-Za-z0-9._@-]{1,100}$")] = Field(
        default="110", description="For whom the tokens are that this gateway makes, as the centre calls itself"
    )
    sender: Annotated[str, Field(pattern=r"^[A-Za-z0-9._@-]{1,100}$")] = Field(
        default="xinqiao", description="With cap: who sends, such as gateway@edu.kunshan.example"
    )
    kinds: dict[Code, KindWord] = Field(
        default_factory=dict[str, KindWord], description="The centre's own codes of what happened, as signal kinds"
    )
    schools: dict[Code, Code] = Field(
        default_factory=dict[str, str], description="Names of schools as the centre writes them, and their codes"
    )

    @model_validator(mode="after")
    def _fits(self) -> "PoliceSettings":
        if self.receiver is not None and not self.verify_with:
            raise refusal("CONFIG/MISSING", "receiver needs verify_with", "give the secrets the centre signs with")
        return self


def hosts(settings: PoliceSettings) -> list[str]:
    """The ``host:port`` that is sent to."""
    return [configured_endpoint(settings.url)]


def listens(settings: PoliceSettings) -> list[str]:
    """The ``ip:port`` that is listened at, if any."""
    return [settings.receiver.listen] if settings.receiver is not None else []
