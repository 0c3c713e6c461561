"""`xinqiao exchange ...`: runs of the periodic exchanges, asked of a running gateway."""

from collections.abc import Iterable
from pathlib import Path

from xinqiao.api.exchange.v1 import exchange_service_pb2 as rpc
from xinqiao.api.exchange.v1.exchange_pb2 import RUN_STATE_RECONCILED, ExchangeRun, RunState
from xinqiao.api.exchange.v1.exchange_service_pb2_grpc import ExchangeServiceStub
from xinqiao.cli.exits import DATA
from xinqiao.cli.output import as_json, plain, say, warn, when
from xinqiao.cli.remote import Remote, connect, request_id
from xinqiao.cli.tables import table
from xinqiao.cli.texts import Texts
from xinqiao.contract.errors import Refusal

_ALL = 100_000
_COUNTS = ("selected", "sent", "withheld", "refused", "failed", "withdrawn")
_COLUMNS = ("exchange", "partner", "period", "revision", "state", *_COUNTS, "late", "deadline")


def list_runs(texts: Texts, config: Path, partner: str, address: str, *, limit: int, json: bool) -> int:
    """Print the newest runs."""
    with connect(texts, config, partner, address) as remote:
        runs = _runs(remote, limit)
    _print(texts, runs, json=json)
    return 0


def run(
    texts: Texts, config: Path, partner: str, address: str, *, name: str, period: str, revise: int | None, reason: str,
    amend: bool, json: bool,
) -> int:  # fmt: skip
    """Run ``name`` for ``period``, or give its disputed revision up, and print where each party's run stands."""
    if (revise is None) != (not reason) or (amend and revise is None):
        raise Refusal("INVALID_ARGUMENT", "USAGE", texts("exchange.revise_how"))
    with connect(texts, config, partner, address) as remote:
        request = rpc.RunExchangeRequest(request_id=request_id(), exchange=name, period=period)
        if revise is not None:
            request.revise.revision, request.revise.reason, request.revise.amend = revise, reason, amend
        runs = list(remote.call(ExchangeServiceStub(remote.channel).RunExchange, request).runs)
    _print(texts, runs, json=json)
    if not json:
        total = {count: sum(int(getattr(each, count)) for each in runs) for count in _COUNTS}
        say(texts("totals", **total))
        if any(each.state != RUN_STATE_RECONCILED for each in runs):
            warn(texts("exchange.open"))
    return 0


def show(texts: Texts, config: Path, partner: str, address: str, *, name: str, period: str, json: bool) -> int:
    """Print the runs of ``name`` in full; 65 when there is none."""
    with connect(texts, config, partner, address) as remote:
        runs = [each for each in _runs(remote, _ALL) if each.exchange == name and period in ("", each.period)]
    if json:
        as_json([plain(each) for each in runs])
    else:
        for each in runs:
            table([texts("col.field"), texts("col.value")], _fields(each))
    if not runs:
        warn(texts("nothing"))
    return 0 if runs else DATA


def _runs(remote: Remote, limit: int) -> list[ExchangeRun]:
    stub = ExchangeServiceStub(remote.channel)

    def ask(size: int, token: str) -> tuple[list[ExchangeRun], str]:
        page = remote.call(stub.ListExchangeRuns, rpc.ListExchangeRunsRequest(page_size=size, page_token=token))
        return list(page.runs), page.next_page_token

    return remote.pages(ask, limit)


def _print(texts: Texts, runs: list[ExchangeRun], *, json: bool) -> None:
    if json:
        as_json([plain(each) for each in runs])
    elif not runs:
        say(texts("nothing"))
    else:
        table(
            [texts(f"col.{name}") for name in _COLUMNS],
            [_row(texts, each) for each in runs],
            numbers=(3, *range(5, 11)),
        )


def _row(texts: Texts, each: ExchangeRun) -> list[object]:
    counts = [getattr(each, count) for count in _COUNTS]
    late, deadline = texts("yes" if each.late else "no"), when(each.deadline_us)
    return [each.exchange, each.partner, each.period, each.revision, _state(each), *counts, late, deadline]


def _state(each: ExchangeRun) -> str:
    return RunState.Name(each.state).removeprefix("RUN_STATE_").lower()


def _fields(each: ExchangeRun) -> Iterable[tuple[str, object]]:
    manifest, receipt = each.manifest, each.receipt
    yield "name", each.name
    yield "partner", each.partner
    yield "period", f"{each.period} r{each.revision}"
    if each.reason:
        yield "reason", each.reason
    yield "state", _state(each)
    yield from ((count, getattr(each, count)) for count in _COUNTS)
    yield "deadline", when(each.deadline_us)
    if each.HasField("manifest"):
        yield "manifest.items", manifest.items
        yield "manifest.items_sha256", manifest.items_sha256.hex()
        yield "manifest.policy_version", manifest.policy_version
        yield "manifest.create_time", when(manifest.create_time_us)
    if each.HasField("receipt"):
        yield "receipt.manifest_sha256", receipt.manifest_sha256.hex()
        yield "receipt.accepted", receipt.accepted
        yield "receipt.refused", ", ".join(f"{item.ordinal}: {item.reason}" for item in receipt.refused)
        yield "receipt.receive_time", when(receipt.receive_time_us)
