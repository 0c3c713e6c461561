"""The model of gateway.yaml."""

from collections.abc import Iterable, Mapping
from datetime import date
from types import GenericAlias
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    BaseModel,
    Field,
    GetCoreSchemaHandler,
    PlainValidator,
    WithJsonSchema,
    create_model,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from xinqiao.config.crosscheck import gateway_findings
from xinqiao.config.fields import (
    ConfigPath,
    DistrictCode,
    Listen,
    PartnerUrl,
    Slug,
    SpiffeId,
    StoreUrl,
    TimeOfDay,
    at_most,
    known_word,
    matching,
)
from xinqiao.config.loader import FileModel, Strict
from xinqiao.config.problems import Finding, refusal
from xinqiao.config.secret import Secret

PARTNER_KINDS = (
    "school",
    "hospital",
    "police",
    "womens_federation",
    "community_grid",
    "hotline",
    "social_work",
    "youth_league",
    "education_authority",
    "operator",
)
NO_PLUGIN = "\x00none"
"""Stands for the plugins when none is installed; no file can hold it."""

Text = Annotated[str, Field(min_length=1, max_length=200)]
Role = Literal[
    "SCHOOL_PSYCHOLOGIST", "SCHOOL_PLATFORM", "HOSPITAL", "POLICE", "GRID", "WOMENS_FEDERATION", "HOTLINE", "SOCIAL_WORK",
    "YOUTH_LEAGUE", "OPERATOR", "FAMILY", "VOLUNTEER",
]  # fmt: skip
"""The words of the contract's `Role`: the policy's matrix is over these, so a new one would be given nothing."""


def _school_code(code: object) -> str:
    if code == "*":
        raise refusal("CONFIG/POLICY_FORBIDDEN", "a wildcard for schools is not allowed", "list each school code")
    if isinstance(code, (int, float)):
        raise refusal("CONFIG/TYPE", "a school code is text", "quote it")
    if not isinstance(code, str) or not code.isascii() or not code.replace("-", "").isalnum() or len(code) > 32:
        raise refusal("CONFIG/FORMAT", "not a school code", "letters, digits and -, at most 32")
    return code


def _run_day(day: object) -> int | Literal["last"]:
    if day == "last":
        return "last"
    if isinstance(day, int) and not isinstance(day, bool) and 1 <= day <= 28:
        return day
    raise refusal("CONFIG/SCHEDULE", "not a day that every month has", "write 1 to 28, or `last` for the month's end")


SchoolCode = Annotated[str, PlainValidator(_school_code), WithJsonSchema({"type": "string", "maxLength": 32})]
RunDay = Annotated[
    int | Literal["last"],
    PlainValidator(_run_day),
    WithJsonSchema({"oneOf": [{"type": "integer", "minimum": 1, "maximum": 28}, {"const": "last"}]}),
]


class Names(Strict):
    """How something is called, in both languages."""

    zh: Text = Field(description="Chinese name.")
    en: Text = Field(description="English name.")


class Tls(Strict):
    """Keys of the mutual TLS listener."""

    certificate: ConfigPath = Field(description="The gateway's certificate chain, PEM.")
    key: ConfigPath = Field(description="The gateway's private key, PEM, mode 0600.")
    ca: ConfigPath = Field(description="Certificates of the authority that signs partners' certificates, PEM.")
    deny_list: ConfigPath | None = Field(
        default=None, description="File of refused certificate serial numbers, one a line."
    )


class Limits(Strict):
    """What one partner may ask of the gateway."""

    message_bytes: Annotated[int, Field(ge=1024), at_most(4 * 1024 * 1024)] = Field(
        default=1024 * 1024, description="Largest request, bytes; ceiling 4 MiB."
    )
    metadata_bytes: Annotated[int, Field(ge=1024), at_most(16 * 1024)] = Field(
        default=8192, description="Largest metadata of a call, bytes; ceiling 16 KiB."
    )
    streams_per_connection: Annotated[int, Field(ge=1), at_most(1000)] = Field(
        default=100, description="Calls open at once on one connection."
    )
    max_deadline_s: Annotated[int, Field(ge=1), at_most(300)] = Field(
        default=30, description="Longest deadline of a call, seconds; longer ones are cut to it."
    )
    concurrent_per_partner: Annotated[int, Field(ge=1), at_most(1024)] = Field(
        default=64, description="Calls of one partner in work at once."
    )
    rate_per_partner: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Calls a second allowed to one partner; none means no limit."
    )
    stream_idle_s: Annotated[int, Field(ge=1), at_most(600)] = Field(
        default=60, description="Seconds without a whole message after which a stream is cut; it can be resumed."
    )


class Server(Strict):
    """The gRPC listener."""

    listen: Listen = Field(default="127.0.0.1:7443", description="host:port to listen on; port 0 takes any free port.")
    tls: Tls = Field(description="Mutual TLS; there is no plain listener.")
    reflection: bool = Field(default=False, description="Serve gRPC reflection to operators; keep off in production.")
    limits: Limits = Field(default=Limits(), description="Limits for every partner.")


class Vault(Strict):
    """A key of Vault's transit engine."""

    address: PartnerUrl = Field(description="Address of Vault, https; http only to this machine.")
    mount: Annotated[str, matching(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,98}[A-Za-z0-9]", "a mount path, as in transit")] = (
        Field(default="transit", description="Where the transit engine is mounted.")
    )
    key: Annotated[str, matching(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,98}", "a key name, as in xinqiao")] = Field(
        description="Name of the key, of type aes256-gcm96."
    )
    token: Secret = Field(description="Token that may encrypt and decrypt with the key; to rotate, also to change it.")
    namespace: str = Field(default="", max_length=200, description="Namespace, where Vault has them.")
    ca: ConfigPath | None = Field(default=None, description="Authority that signed Vault's certificate, PEM.")


class Store(Strict):
    """Where records and keys are kept."""

    url: StoreUrl = Field(
        default="sqlite:///var/xinqiao.db", description="Database of sealed records, journal and deliveries."
    )
    keys_url: StoreUrl = Field(
        default="sqlite:///var/keys.db", description="Database of students' keys; backed up apart from the records."
    )
    keyring: ConfigPath = Field(description="Master keys that seal the students' keys, mode 0600.")
    key_provider: Slug = Field(
        default="file",
        description="Who holds the master key: `file` (in the keyring), `vault`, or an installed driver by its name.",
    )
    vault: Vault | None = Field(default=None, description="With `key_provider: vault`: where it is.")
    key_driver: dict[Slug, str] = Field(default={}, description="With an installed driver: its settings, no secrets.")
    suite: Literal["aes-256-gcm", "sm4-gcm"] = Field(
        default="aes-256-gcm",
        description="Seals the records of students registered from now on; those known before keep theirs.",
    )
    password: Secret | None = Field(default=None, description="Password of the PostgreSQL user, for both databases.")

    @model_validator(mode="after")
    def _vault_is_told(self) -> Self:
        if (self.key_provider == "vault") != (self.vault is not None):
            hint = "write both `key_provider: vault` and `vault:`, or neither"
            raise refusal("CONFIG/CONFLICT", "one half of the settings for Vault", hint)
        return self


class Journal(Strict):
    """The tamper-evident record of who disclosed what to whom."""

    checkpoint_seconds: int = Field(
        default=60, ge=1, le=60, description="Sign a checkpoint at least this often, seconds."
    )
    checkpoint_rows: int = Field(default=1000, ge=1, le=100_000, description="Sign a checkpoint after this many rows.")
    signing_key: ConfigPath = Field(description="Ed25519 private key that signs checkpoints, PEM, mode 0600.")
    cosigners: dict[str, dict[str, Any]] = Field(
        default={},
        description="Further signers under each checkpoint, such as SM2 in an HSM: name of the installed entry point "
        "and its settings. One that fails leaves the journal unsigned.",
    )


class Agreement(Strict):
    """The data-sharing agreement under which a partner is connected."""

    number: Text = Field(description="Number of the signed agreement.")
    valid_from: date = Field(description="First day on which the partner may call.")
    valid_to: date = Field(description="Last day on which the partner may call.")

    @model_validator(mode="after")
    def _ends_after_start(self) -> Self:
        if self.valid_to < self.valid_from:
            raise refusal("CONFIG/DATE", "the agreement ends before it starts", "mend valid_from or valid_to")
        return self


class Partner(Strict):
    """One party with its own certificate: an agency, a system of it, or a person in it."""

    kind: Annotated[Slug, known_word(PARTNER_KINDS)] = Field(
        description=f"Kind of agency: {', '.join(PARTNER_KINDS)}, or a slug of your own."
    )
    names: Names = Field(description="Names shown to people.")
    spiffe: SpiffeId = Field(description="Identity in the partner's certificate; ends with the partner's id.")
    roles: tuple[Role, ...] = Field(
        min_length=1,
        description="What it may act as; the policy says what each may see. A kind of agency that is new takes the role whose "
        "rights it is to have.",
    )
    agency: Slug | None = Field(default=None, description="For a person or system: the partner id of its agency.")
    schools: tuple[SchoolCode, ...] = Field(default=(), description="Codes of the schools it serves; no wildcards.")
    agreement: Agreement = Field(description="The agreement it is connected under.")
    receipt_key: ConfigPath | None = Field(default=None, description="Ed25519 public key, PEM, checks its receipts.")
    controller_type: Literal["own", "joint", "entrusted"] = Field(
        default="own",
        description="Whether it decides on the data itself, jointly, or acts for another (PIPL 20, 21, 23).",
    )


class Breaker(Strict):
    """When to stop calling a partner that fails."""

    failures: int = Field(default=5, ge=1, le=100, description="Failures in a row that open the breaker.")
    reset_s: int = Field(default=60, ge=1, le=86_400, description="Seconds until one trial call.")


class AdapterEntry(Strict):
    """How one agency is reached: which plugin, with which settings."""

    adapter: Slug = Field(description="Name of the installed plugin.")
    enabled: bool = Field(default=True, description="Whether it is started.")
    deadline_s: int = Field(default=20, ge=1, le=600, description="Longest time for one delivery, seconds.")
    concurrency: int = Field(default=2, ge=1, le=64, description="Deliveries to this agency at once.")
    breaker: Breaker = Field(default=Breaker(), description="When to stop calling the agency.")
    isolation: Literal["in-process", "process"] = Field(
        default="in-process", description="process: a process of its own, without store, keys or environment."
    )
    memory_mb: int = Field(default=1024, ge=256, le=65_536, description="With process: most memory it may map, MiB.")
    settings: BaseModel = Field(description="The plugin's own settings.")


class Repairs(Strict):
    """When something counts as to be mended, for `xinqiao repairs`."""

    certificate_days: int = Field(default=30, ge=1, le=365, description="Days before a certificate ends.")
    agreement_days: int = Field(default=30, ge=1, le=365, description="Days before an agreement ends.")
    disk_percent: int = Field(default=10, ge=1, le=50, description="Free part of the disk, percent.")


class Delivery(Strict):
    """How queued disclosures reach their agencies."""

    routine_workers: int = Field(default=4, ge=1, le=64, description="Workers of the routine lane.")
    crisis_workers: int = Field(default=2, ge=1, le=64, description="Workers kept for the crisis lane.")
    backoff_s: tuple[Annotated[int, Field(ge=0, le=604_800)], ...] = Field(
        default=(5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400),
        min_length=1,
        max_length=50,
        description="Wait before each further attempt, seconds; the last one repeats.",
    )
    max_attempts: int = Field(default=10, ge=1, le=1000, description="Attempts before a delivery is a dead letter.")
    lease_s: int = Field(
        default=60, ge=5, le=3600, description="Seconds after which work of a dead worker is taken over."
    )
    poll_ms: int = Field(
        default=200, ge=10, le=60_000, description="Wait between looks into an empty queue, milliseconds."
    )


class RunAt(Strict):
    """The time in each period at which the exchange of the period before is run."""

    day: RunDay = Field(
        description="Day of the month after the period, 1 to 28 or `last`; weekly 1 (Monday) to 7; after a term 1 to 28."
    )
    working: bool = Field(default=False, description="Count working days of the Chinese calendar only.")
    at: TimeOfDay = Field(description='Beijing time in quotes, as in "02:00".')


class Schedule(Strict):
    """When an exchange runs and closes."""

    run: RunAt = Field(description="When the finished period is run.")
    close_after_days: int | None = Field(
        default=None, ge=1, le=90, description="Days after the run until an unanswered period closes."
    )
    close_by_working_day: int | None = Field(
        default=None, ge=1, le=28,
        description="Or: the working day after the period, at whose end it closes. Counted as a run with `working` is.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _one_closing_rule(self) -> Self:
        if (self.close_after_days is None) == (self.close_by_working_day is None):
            text = "one rule says when a period closes: close_after_days or close_by_working_day"
            raise refusal("CONFIG/SCHEDULE", text, "write one of the two")
        return self


class Dataset(Strict):
    """One kind of record that one party gives the other."""

    contract: Literal["referrals", "outcomes", "plan-entries", "service-log"] = Field(
        description="What is exchanged: a kind of record that the parties' books hold."
    )
    to: Slug = Field(description="The party that receives it.")
    purpose: Annotated[Slug, Field(min_length=3)] = Field(description="Purpose, as named in the policy.")


class Exchange(Strict):
    """A periodic, reconciled exchange between two partners."""

    names: Names = Field(description="Names shown to people.")
    parties: Annotated[tuple[Slug, ...], Field(min_length=2, max_length=2)] = Field(description="The two partner ids.")
    datasets: tuple[Dataset, ...] = Field(min_length=1, description="What goes which way.")
    period: Literal["week", "month", "quarter", "term"] = Field(
        description="Length of a period; `term` goes by the school calendar of the district."
    )
    schedule: Schedule = Field(description="When it runs.")
    nil_report: bool = Field(default=True, description="Send a report also when there is nothing to report.")
    expects: tuple[Slug, ...] = Field(
        default=(), description="Parties whose own package of each period must come, if only to say that it is nil."
    )


class Gateway(FileModel):
    """gateway.yaml: one node of the gateway. Use ``load_gateway``, which knows the settings of installed plugins."""

    version: int = Field(ge=1, le=1, description="Version of this file's form.")
    deployment: Slug = Field(description="Id of the deployment, the same on every node.")
    node: Slug = Field(default="main", description="Id of this node.")
    district: DistrictCode = Field(description="GB/T 2260 code of the district, six digits in quotes.")
    locale: Literal["zh-CN", "en"] = Field(default="zh-CN", description="Language of notices and reports.")
    server: Server = Field(description="The gRPC listener.")
    store: Store = Field(description="Where records and keys are kept.")
    journal: Journal = Field(description="The tamper-evident journal.")
    policy: ConfigPath = Field(description="Folder of the disclosure policy.")
    instruments: ConfigPath = Field(description="Folder of the screening instruments.")
    instruments_overlay: ConfigPath | None = Field(
        default=None, description="Folder of the district's instrument files: licences recorded, facts confirmed, more."
    )
    triage: ConfigPath = Field(description="File of the triage rules.")
    legal_bases: ConfigPath = Field(description="File of the legal bases.")
    legal_bases_key: ConfigPath | None = Field(
        default=None, description="Ed25519 public key, PEM, with which the legal bases must be signed."
    )
    unsigned_legal_bases: bool = Field(
        default=False, description="Take legal bases that nobody has signed; for demonstrations only."
    )
    district_overlay: ConfigPath | None = Field(
        default=None, description="The district's clocks, ladder and phone list."
    )
    documents: ConfigPath | None = Field(
        default=None, description="Folder of the templates of printed forms; without it no notice can be issued."
    )
    reports: ConfigPath | None = Field(
        default=None, description="Folder of the definitions of reports; without it none can be made."
    )
    document_key: ConfigPath | None = Field(
        default=None,
        description="Ed25519 private key that signs notices, PEM, mode 0600; public keys of earlier ones (*.pem) stand in"
        " the folder of its name with `.retired`.",
    )
    partners: dict[Slug, Partner] = Field(min_length=1, description="Everyone who may connect, by partner id.")
    adapters: dict[Slug, AdapterEntry] = Field(default={}, description="How agencies are reached, by partner id.")
    delivery: Delivery = Field(default=Delivery(), description="How queued disclosures are sent.")
    repairs: Repairs = Field(default=Repairs(), description="When something counts as to be mended.")
    exchanges: dict[Slug, Exchange] = Field(default={}, description="Periodic exchanges, by id.")

    @classmethod
    def findings(cls, raw: Mapping[str, Any]) -> Iterable[Finding]:
        return gateway_findings(raw)


class _ByAdapter:
    """Chooses the entry model by the plugin's name."""

    def __init__(self, entries: Mapping[str, type[AdapterEntry]]) -> None:
        self._entries = entries

    def __get_pydantic_core_schema__(self, _source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {name: handler.generate_schema(entry) for name, entry in self._entries.items()}
        return core_schema.tagged_union_schema(choices, discriminator="adapter")


def gateway_model(adapter_models: Mapping[str, type[BaseModel]]) -> type[Gateway]:
    """``Gateway`` that accepts exactly the plugins in ``adapter_models`` (name to settings model)."""
    entries: dict[str, type[AdapterEntry]] = {
        name: create_model(
            f"Adapter_{name}",
            __base__=AdapterEntry,
            __doc__=f"An agency reached with the plugin `{name}`.",
            adapter=(cast("type[str]", Literal[name]), Field(description="Name of the installed plugin.")),
            settings=(model, Field(description=f"Settings of the plugin `{name}`.")),
        )
        for name, model in adapter_models.items()
    }
    choice: Any = Annotated[AdapterEntry, _ByAdapter(entries or {NO_PLUGIN: AdapterEntry})]
    mapping: Any = GenericAlias(dict, cast("tuple[Any, ...]", (Slug, choice)))
    description = Gateway.model_fields["adapters"].description
    return create_model(
        "Gateway",
        __base__=Gateway,
        __doc__=Gateway.__doc__,
        adapters=(mapping, Field(default=cast("dict[str, AdapterEntry]", {}), description=description)),
    )
