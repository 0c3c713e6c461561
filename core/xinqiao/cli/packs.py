"""`xinqiao triage check|shadow`: a rule pack judged before it is switched on."""

import hashlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from xinqiao.api.gateway.v1 import gateway_service_pb2 as rpc
from xinqiao.api.gateway.v1.gateway_service_pb2_grpc import GatewayServiceStub
from xinqiao.cli.files import load_settings, use_password
from xinqiao.cli.output import as_json, say, warn
from xinqiao.cli.remote import connect, request_id
from xinqiao.cli.tables import table
from xinqiao.cli.texts import Texts
from xinqiao.config.settings import Gateway as Settings
from xinqiao.contract.clock import SystemClock
from xinqiao.contract.errors import Refusal
from xinqiao.contract.workdays import start_of
from xinqiao.disclosure.registry import Partner
from xinqiao.screening.instruments import InstrumentLibrary, load_instruments
from xinqiao.screening.shadow import Shadow, shadow
from xinqiao.screening.triage import RulePack, load_triage
from xinqiao.server.runtime import Gateway
from xinqiao.store.history import History
from xinqiao.store.providers import provider_of

_BEGIN = "/xinqiao.api.gateway.v1.GatewayService/BeginShadowRun"


def check(texts: Texts, config: Path, file: Path, *, json: bool) -> int:
    """Check a pack against the instruments of ``config`` and print its levels and rules. Raises TriageError."""
    settings = load_settings(texts, config)
    library = load_instruments(settings.instruments, settings.instruments_overlay)
    pack = load_triage(file, library)
    levels = [(tier, *pack.words(tier)) for tier in sorted(pack.tiers, reverse=True)]
    rules = {name: len(indices) for name, indices in sorted(pack.ordered.items())}
    if json:
        words = [{"tier": tier, "zh": zh, "en": en} for tier, zh, en in levels]
        as_json({"id": pack.id, "version": pack.version, "levels": words, "rules": rules})
        return 0
    say(texts("triage.ok", file=file, pack=f"{pack.id}@{pack.version}", count=len(pack.rules)))
    rows = [(tier, zh if texts.language == "zh" else en) for tier, zh, en in levels]
    table([texts("col.tier"), texts("col.name")], rows, numbers=(0,))
    return 0


def run_shadow(
    texts: Texts, config: Path, partner: str, address: str, *, file: Path, since: str, json: bool
) -> int:  # fmt: skip
    """Print what a pack would have proposed for the stored forms. Nothing is written but the journal's row about it.

    Beside a running gateway the row is the gateway's and the records are read only; without one this process is it.
    """
    settings = load_settings(texts, config)
    use_password(settings)
    library = load_instruments(settings.instruments, settings.instruments_overlay)
    pack = load_triage(file, library)
    request = rpc.BeginShadowRunRequest(
        request_id=request_id(), pack=f"{pack.id}@{pack.version}", digest=hashlib.sha256(file.read_bytes()).hexdigest(),
        since_us=_since(texts, since),
    )  # fmt: skip
    try:
        with connect(texts, config, partner, address) as remote:
            begun = remote.call(GatewayServiceStub(remote.channel).BeginShadowRun, request)
    except Refusal as refusal:
        if refusal.reason not in ("NOT_RUNNING", "USAGE") or address:
            raise
        found = _alone(texts, config, request, library, pack, partner)
    else:
        found = _beside(texts, settings, request, begun, library, pack)
    if json:
        as_json(found.as_dict())
    else:
        _print(texts, pack, found)
    return 0


def _beside(
    texts: Texts, settings: Settings, request: rpc.BeginShadowRunRequest, begun: rpc.BeginShadowRunResponse,
    library: InstrumentLibrary, pack: RulePack,
) -> Shadow:  # fmt: skip
    store = settings.store
    history = History(store.url, store.keys_url, store.keyring, SystemClock(), provider_of(store))
    try:
        with _progress(texts, begun.forms) as progress:
            return shadow(
                history, history.keys, library, pack, since_us=request.since_us, until_us=begun.until_us,
                progress=progress,
            )  # fmt: skip
    finally:
        history.close()


def _alone(
    texts: Texts, config: Path, request: rpc.BeginShadowRunRequest, library: InstrumentLibrary, pack: RulePack,
    partner: str,
) -> Shadow:  # fmt: skip
    """No gateway answers: open the store as the gateway would, which fails while one runs, and put the row in first."""
    gateway = Gateway(config)
    try:
        caller = gateway.registry.find(partner or gateway.operator)
        begun = gateway.pipeline.call(_BEGIN, request, _known(texts, config, caller))
        assert isinstance(begun, rpc.BeginShadowRunResponse)
        with _progress(texts, begun.forms) as progress:
            return shadow(
                gateway.store, gateway.door.keys, library, pack, since_us=request.since_us, until_us=begun.until_us,
                progress=progress,
            )  # fmt: skip
    finally:
        gateway.stop()


def _known(texts: Texts, config: Path, caller: Partner | None) -> Partner:
    if caller is None:
        raise Refusal("INVALID_ARGUMENT", "USAGE", texts("no_partner", file=config))
    return caller


def _since(texts: Texts, since: str) -> int:
    if not since:
        return 0
    try:
        return start_of(date.fromisoformat(since))
    except ValueError:
        raise Refusal("INVALID_ARGUMENT", "USAGE", texts("triage.bad_day")) from None


def _print(texts: Texts, pack: RulePack, found: Shadow) -> None:
    def word(tier: int) -> str:
        zh, en = pack.words(tier)
        return zh if texts.language == "zh" else en

    numbers = {"pack": found.pack, "forms": found.forms, "changed": found.changed, "red": found.newly_red}
    say(texts("triage.summary", **numbers))
    if found.moves:
        now = sorted({now for _, now in found.moves}, reverse=True)
        rows = [
            (word(then), *(found.moves.get((then, tier), "") for tier in now))
            for then in sorted({then for then, _ in found.moves}, reverse=True)
        ]
        table([texts("col.then_now"), *map(word, now)], rows, numbers=range(1, len(now) + 1))
        moved = [
            (rule, word(then), word(tier), count)
            for (rule, then, tier), count in sorted(found.rules.items(), key=lambda each: -each[1])
            if then != tier
        ]
        if moved:
            headings = [texts(f"col.{name}") for name in ("rule", "then", "now", "forms")]
            table(headings, moved, numbers=(3,))
    for reason, count in sorted(found.unread.items()):
        warn(texts("triage.unread", count=count, reason=reason))
    if found.no_longer_red:
        warn(texts("triage.no_longer_red", count=found.no_longer_red))


@contextmanager
def _progress(texts: Texts, total: int) -> Generator[Callable[[int], None]]:
    """A bar on stderr, shown on a person's terminal only."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(texts("triage.reading"), total=total)
        yield lambda forms: bar.update(task, completed=forms)
