"""What a hospital that speaks HL7 v2 is configured with."""

import ipaddress
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from xinqiao.config.fields import ConfigPath
from xinqiao_hospital.hl7.ack import Party
from xinqiao_hospital.hl7.charset import GB_18030, UTF_8
from xinqiao_hospital.hl7.mllp import Limits
from xinqiao_hospital.hl7.tables import tables


class Hl7Settings(BaseModel):
    """Settings of one hospital's HL7 v2 engine (2.5.1 over MLLP)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(description="Host of the hospital's MLLP listener; beyond loopback it must speak TLS")
    port: int = Field(ge=1, le=65535, description="Its port, often 2575")
    charset: Literal["UTF-8", "GB18030"] = Field(
        default="UTF-8", description="Character set sent, and taken for messages with an empty MSH-18"
    )
    application: str = Field(default="XINQIAO", max_length=180, description="This gateway in MSH-3")
    facility: str = Field(default="XINQIAO", max_length=180, description="This gateway in MSH-4")
    partner_application: str = Field(default="", max_length=180, description="The hospital in MSH-5")
    partner_facility: str = Field(
        default="", max_length=180, description="The hospital in MSH-6; messages from another facility are refused"
    )
    processing_id: Literal["P", "T", "D"] = Field(default="P", description="MSH-11: production, training, debugging")
    listen: str = Field(default="", description="Where this gateway listens, as in 127.0.0.1:2575; empty for nowhere")
    peers: tuple[str, ...] = Field(default=(), description="Addresses or networks that may connect; empty for loopback")
    tls: bool = Field(default=False, description="TLS to the hospital and on the listener")
    tls_authority: ConfigPath | None = Field(default=None, description="PEM of who signs the hospital's certificates")
    tls_certificate: ConfigPath | None = Field(default=None, description="PEM of this gateway's certificate")
    tls_key: ConfigPath | None = Field(default=None, description="PEM of its key")
    connect_seconds: float = Field(default=10.0, gt=0, le=60, description="Longest wait for a connection")
    answer_seconds: float = Field(default=30.0, gt=0, le=300, description="Longest wait for an acknowledgment")
    frame_seconds: float = Field(default=10.0, gt=0, le=60, description="Longest time for one whole message to arrive")
    idle_seconds: float = Field(default=300.0, gt=0, le=86400, description="Longest silence on a connection")
    max_bytes: int = Field(default=1024 * 1024, ge=1024, le=16 * 1024 * 1024, description="Largest message taken")
    max_connections: int = Field(default=8, ge=1, le=64, description="Connections at the same time")
    status_codes: dict[str, str] = Field(
        default_factory=dict[str, str], description="The hospital's own RF1-1 codes, each with a word of tables.yaml"
    )
    result_codes: dict[str, str] = Field(
        default_factory=dict[str, str], description="The hospital's own OBX-3 codes, each with a word of tables.yaml"
    )

    @field_validator("peers")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for peer in value:
            ipaddress.ip_network(peer)
        return value

    @model_validator(mode="after")
    def _codes(self) -> "Hl7Settings":
        if not set(self.status_codes.values()) <= set(tables().status):
            raise ValueError(f"status_codes: each is one of {', '.join(tables().status)}")
        if not set(self.result_codes.values()) <= set(tables().results):
            raise ValueError(f"result_codes: each is one of {', '.join(tables().results)}")
        return self

    @property
    def encoding(self) -> str:
        """The Python codec of ``charset``."""
        return UTF_8 if self.charset == "UTF-8" else GB_18030

    @property
    def here(self) -> Party:
        return Party(self.application, self.facility)

    @property
    def there(self) -> Party:
        return Party(self.partner_application, self.partner_facility)

    @property
    def endpoint(self) -> str:
        """``host:port``, IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def limits(self) -> Limits:
        return Limits(self.max_bytes, self.frame_seconds, self.idle_seconds, self.max_connections)
