"""`xinqiao signals list`, `cadence list|due`: what was noticed, what is expected, and what did not come."""

from pathlib import Path

from xinqiao.api.common.v1.types_pb2 import Tier
from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao.api.screening.v1 import screening_service_pb2 as rpc
from xinqiao.api.screening.v1.screening_service_pb2_grpc import ScreeningServiceStub
from xinqiao.cli.files import load_bundle
from xinqiao.cli.output import as_json, plain, say, warn, when
from xinqiao.cli.remote import connect
from xinqiao.cli.tables import table
from xinqiao.cli.texts import Texts
from xinqiao.config.cadence import Cadence
from xinqiao.contract.clock import SystemClock, local_date


def list_signals(texts: Texts, config: Path, partner: str, address: str, *, limit: int, json: bool) -> int:
    """Print signals, those nobody has taken first, then the most urgent; never what was seen, unless as JSON to a school."""
    with connect(texts, config, partner, address) as remote:
        stub = ScreeningServiceStub(remote.channel)

        def ask(size: int, token: str) -> tuple[list[pb.Signal], str]:
            page = remote.call(stub.ListSignals, rpc.ListSignalsRequest(page_size=size, page_token=token))
            return list(page.signals), page.next_page_token

        found = remote.pages(ask, limit)
    found.sort(key=lambda each: (each.state, -each.tier, -each.create_time_us))
    if json:
        as_json([plain(each) for each in found])
    elif not found:
        say(texts("nothing"))
    else:
        names = ("name", "state", "tier", "kind", "source", "trust", "time", "related")
        rows = [
            (
                each.name, _word(pb.SignalState.Name(each.state), "SIGNAL_STATE_"), _word(Tier.Name(each.tier), "TIER_"),
                _word(pb.SignalKind.Name(each.kind), "SIGNAL_KIND_"),
                _word(pb.SignalSource.Name(each.source), "SIGNAL_SOURCE_"), each.trust, when(each.create_time_us),
                len(each.related) or "",
            )
            for each in found
        ]  # fmt: skip
        table([texts(f"col.{name}") for name in names], rows, numbers=(7,))
    return 0


def list_due(texts: Texts, config: Path, partner: str, address: str, *, every: bool, limit: int, json: bool) -> int:
    """Print the reports that have not come, the earliest due first; with ``every`` also those that came."""
    with connect(texts, config, partner, address) as remote:
        stub = ScreeningServiceStub(remote.channel)

        def ask(size: int, token: str) -> tuple[list[pb.ExpectedReport], str]:
            request = rpc.ListExpectedReportsRequest(open_only=not every, page_size=size, page_token=token)
            page = remote.call(stub.ListExpectedReports, request)
            return list(page.reports), page.next_page_token

        found = remote.pages(ask, limit)
    if json:
        as_json([plain(each) for each in found])
        return 0
    if not found:
        say(texts("nothing"))
        return 0
    names = ("deadline", "state", "report", "subject", "unit", "period", "holder")
    rows = [
        (
            when(each.due_us) + ("?" if each.calendar_guessed else ""),
            texts(f"report.{_word(pb.ReportState.Name(each.state), 'REPORT_STATE_')}"),
            each.title_zh if texts.language == "zh" else each.title_en, each.subject, each.unit, each.period, each.holder,
        )
        for each in found
    ]  # fmt: skip
    table([texts(f"col.{name}") for name in names], rows)
    if any(each.calendar_guessed for each in found):
        warn(texts("cadence.guessed"))
    return 0


def list_cadences(texts: Texts, config: Path, *, json: bool) -> int:
    """Print what the configuration expects and how far its calendar reaches."""
    bundle = load_bundle(texts, config)
    cadences, calendar = bundle.cadences, bundle.calendar
    today = local_date(SystemClock().now_us())
    ends = calendar.terms[-1].last if calendar.terms else today
    guessed = calendar.guessed_years(today, max(today, ends))
    if json:
        as_json(
            {
                "cadences": {name: each.model_dump(mode="json") for name, each in cadences.items()},
                "terms": [{"id": t.id, "first": str(t.first), "last": str(t.last)} for t in calendar.terms],
                "windows": [{"id": w.id, "first": str(w.first), "last": str(w.last)} for w in calendar.windows],
                "guessed_years": list(guessed),
            }
        )
        return 0
    if not cadences:
        say(texts("cadence.none"))
        return 0
    names = ("name", "report", "reporter", "often", "intensified", "ask")
    rows = [
        (
            name, each.names.zh if texts.language == "zh" else each.names.en, each.role.lower(), _often(texts, each),
            f"{texts(f'every.{each.intensified.every}')}: {', '.join(each.intensified.windows)}"
            if each.intensified
            else "",
            each.ask.lower(),
        )
        for name, each in cadences.items()
    ]  # fmt: skip
    table([texts(f"col.{name}") for name in names], rows)
    if calendar.terms:
        say(texts("cadence.until", day=ends))
    for year in guessed:
        warn(texts("cadence.guessed_year", year=year))
    return 0


def _often(texts: Texts, cadence: Cadence) -> str:
    text = texts(f"every.{cadence.every}")
    return f"{text} × {cadence.times}" if cadence.times > 1 else text


def _word(name: str, prefix: str) -> str:
    word = name.removeprefix(prefix).lower()
    return "" if word == "unspecified" else word
