"""`xinqiao config check|schema` and `xinqiao adapters check`: what can be known before a gateway runs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from xinqiao.adapters.agency import AgencyHandle, AgencySpec
from xinqiao.adapters.errors import AdapterError
from xinqiao.adapters.host import AdapterHost
from xinqiao.api.gateway.v1.gateway_service_pb2 import AGENCY_STATE_READY, AgencyState
from xinqiao.casefile.rules import load_casefile_rules
from xinqiao.cli.exits import CONFIGURATION, UNAVAILABLE
from xinqiao.cli.files import load_bundle, use_password
from xinqiao.cli.output import as_json, say, warn
from xinqiao.cli.tables import table
from xinqiao.cli.texts import Texts
from xinqiao.config.bundle import Bundle
from xinqiao.config.problems import ConfigError
from xinqiao.config.schema import district_schema, json_schema
from xinqiao.config.settings import Gateway
from xinqiao.disclosure.bases import load_bases
from xinqiao.disclosure.policy import PolicyError, load_policy
from xinqiao.documents.template import TemplateError, load_catalogue
from xinqiao.journal.signing import KeyFileError
from xinqiao.screening.datafile import DataFileError
from xinqiao.screening.instruments import load_instruments
from xinqiao.screening.triage import load_triage
from xinqiao.screening.trust import load_signal_policy
from xinqiao.server.access_rules import load_access_rules
from xinqiao.server.audit.rules import load_audit_rules
from xinqiao.server.retention import load_retention
from xinqiao.server.rules import bases_keys

_MADE_BY_KEYS_INIT = (
    "server.tls.key", "server.tls.certificate", "server.tls.ca", "store.keyring", "journal.signing_key",
)  # fmt: skip


def check_config(texts: Texts, file: Path, *, files: bool, in_repository: bool, json: bool) -> int:
    """Print every problem of ``file`` and of what it names; 78 when there is one."""
    host = AdapterHost.load(None)
    problems = list(_problems(file, host, files=files, in_repository=in_repository))
    if json:
        as_json({"file": str(file), "problems": problems, "plugins_failed": dict(host.failures)})
    else:
        for name, why in host.failures.items():
            warn(texts("plugin.failed", name=name, why=why))
        for problem in problems:
            warn(str(problem["text"]))
        if problems:
            warn(texts("problems", count=len(problems)))
        else:
            say(texts("config.ok", file=file))
        if any(problem["key"] in _MADE_BY_KEYS_INIT and problem["reason"] == "CONFIG/FILE" for problem in problems):
            warn(texts("keys.hint", file=file))
    return CONFIGURATION if problems else 0


def _problems(file: Path, host: AdapterHost, *, files: bool, in_repository: bool) -> Iterator[dict[str, object]]:
    bundle = Bundle(file, host.settings_models())
    try:
        if files:
            bundle.check(allow_repository=in_repository)
        else:
            _ = bundle.gateway, bundle.district
    except ConfigError as error:
        for problem in error.problems:
            yield {
                "file": problem.file, "line": problem.line, "column": problem.column, "key": problem.key,
                "reason": problem.reason, "message": problem.message, "hint": problem.hint, "text": str(problem),
            }  # fmt: skip
    try:
        settings = bundle.gateway
    except ConfigError:
        return
    for key, loading in _data_files(settings):
        try:
            loading()
        except (DataFileError, PolicyError, ConfigError, TemplateError, KeyFileError) as error:
            yield {
                "file": str(file), "line": 0, "column": 0, "key": key, "reason": "CONFIG/FILE",
                "message": str(error), "hint": "", "text": f"{key}: {error}",
            }  # fmt: skip


def _data_files(settings: Gateway) -> Iterator[tuple[str, Callable[[], object]]]:
    if settings.policy.exists():
        yield "policy", lambda: load_policy(settings.policy / "disclosure.yaml")
        yield "policy", lambda: load_retention(settings.policy / "retention.yaml")
        yield "policy", lambda: load_audit_rules(settings.policy / "audit.yaml")
    if settings.legal_bases.exists():
        yield "legal_bases", lambda: load_bases(settings.legal_bases, bases_keys(settings))
    if settings.policy.exists() and settings.legal_bases.exists():
        signals = settings.policy / "signals.yaml"
        yield "policy", lambda: load_signal_policy(signals, load_bases(settings.legal_bases))
    if settings.policy.exists():
        yield "policy", lambda: load_casefile_rules(settings.policy / "casefile.yaml")
        yield "policy", lambda: load_access_rules(settings.policy / "access.yaml")
    if settings.instruments.exists() and settings.triage.exists():
        yield (
            "triage",
            lambda: load_triage(settings.triage, load_instruments(settings.instruments, settings.instruments_overlay)),
        )
    documents, policy = settings.documents, settings.policy / "disclosure.yaml"
    if documents is not None and documents.exists() and policy.exists():
        yield "documents", lambda: load_catalogue(documents, load_policy(policy))


def print_schema(*, district: bool) -> int:
    """Print a JSON Schema."""
    as_json(district_schema() if district else json_schema(AdapterHost.load(None).settings_models()))
    return 0


def check_adapters(texts: Texts, config: Path, *, json: bool) -> int:
    """Start every agency of ``config`` in this process and ask it to answer; 69 when one does not."""
    host = AdapterHost.load(None)
    settings = load_bundle(texts, config, host).gateway
    use_password(settings)
    with TemporaryDirectory(prefix="xinqiao-check-") as folder:
        specs = {name: _spec(name, settings) for name in settings.adapters}
        host.start(specs, deployment=settings.deployment, folder=Path(folder))
        try:
            found = [_asked(handle, name) for name, handle in sorted(host.agencies.items())]
        finally:
            host.close()
    bad = len(host.failures) + sum(not row["ok"] for row in found)
    if json:
        as_json({"plugins_failed": dict(host.failures), "agencies": found})
    else:
        for name, why in host.failures.items():
            warn(texts("plugin.failed", name=name, why=why))
        headings = [texts(f"col.{name}") for name in ("agency", "adapter", "state", "message")]
        table(headings, ([row["agency"], row["adapter"], row["state"], row["message"]] for row in found))
        warn(texts("adapters.bad", count=bad) if bad else texts("adapters.ok"))
    return UNAVAILABLE if bad else 0


def _spec(name: str, settings: Gateway) -> AgencySpec:
    entry, names = settings.adapters[name], settings.partners[name].names
    return AgencySpec(
        agency=name, names={"zh": names.zh, "en": names.en}, kind=entry.adapter, settings=entry.settings,
        enabled=entry.enabled, deadline_s=float(entry.deadline_s), isolation=entry.isolation, memory_mb=entry.memory_mb,
    )  # fmt: skip


def _asked(handle: AgencyHandle, agency: str) -> dict[str, object]:
    ok, message = handle.state == AGENCY_STATE_READY, handle.message
    if ok:
        try:
            message = handle.check()
        except AdapterError as error:
            ok, message = False, error.message
    state = AgencyState.Name(handle.state).removeprefix("AGENCY_STATE_").lower()
    disabled = state == "disabled"
    return {"agency": agency, "adapter": handle.kind, "state": state, "ok": ok or disabled, "message": message}
