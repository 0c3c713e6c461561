"""`xinqiao adapters list`, `deliveries ...`: what an operator watches on a running gateway."""

from pathlib import Path

from xinqiao.api.common.v1.options_pb2 import Lane
from xinqiao.api.gateway.v1 import gateway_service_pb2 as rpc
from xinqiao.api.gateway.v1.gateway_service_pb2_grpc import GatewayServiceStub
from xinqiao.cli.exits import TRY_AGAIN
from xinqiao.cli.output import as_json, plain, say, warn, when
from xinqiao.cli.remote import connect, request_id
from xinqiao.cli.tables import table
from xinqiao.cli.texts import Texts


def list_adapters(texts: Texts, config: Path, partner: str, address: str, *, json: bool) -> int:
    """Print the state of each agency."""
    with connect(texts, config, partner, address) as remote:
        status = remote.call(GatewayServiceStub(remote.channel).GetStatus, rpc.GetStatusRequest())
    if json:
        as_json(plain(status))
        return 0
    say(
        texts(
            "adapters.summary", deployment=status.deployment, version=status.version, policy=status.policy_version,
            holdings=status.holdings, overdue=status.overdue,
        )
    )  # fmt: skip
    if status.to_telephone:
        numbers = ", ".join(f"{p.title_zh if texts.language == 'zh' else p.title_en} {p.number}" for p in status.phones)
        say(texts("telephone", count=status.to_telephone, numbers=numbers))
    for problem in status.problems:
        warn(texts("error", text=problem.text_zh if texts.language == "zh" else problem.text_en))
    headings = [texts(f"col.{name}") for name in ("agency", "adapter", "state", "message")]
    rows = [(each.agency, each.adapter, _agency_state(each), each.message) for each in status.agencies]
    table(headings, rows)
    return 0


def list_repairs(texts: Texts, config: Path, partner: str, address: str, *, json: bool) -> int:
    """Print what is to be mended, the most urgent first; 75 when something does not work now, for cron."""
    with connect(texts, config, partner, address) as remote:
        found = list(remote.call(GatewayServiceStub(remote.channel).ListRepairs, rpc.ListRepairsRequest()).repairs)
    if json:
        as_json([plain(each) for each in found])
    elif not found:
        say(texts("repairs.none"))
    else:
        zh = texts.language == "zh"
        names = ("severity", "subject", "since", "message", "mend")
        rows = [
            (
                texts(f"severity.{each.severity}"), each.subject, when(each.since_us) if each.since_us else "",
                each.text_zh if zh else each.text_en, each.mend,
            )
            for each in found
        ]  # fmt: skip
        table([texts(f"repairs.{name}") for name in names], rows)
    return TRY_AGAIN if any(each.severity == rpc.REPAIR_SEVERITY_ERROR for each in found) else 0


def list_deliveries(
    texts: Texts, config: Path, partner: str, address: str, *, dead: bool, limit: int, json: bool
) -> int:
    """Print the newest deliveries, or only the dead ones."""
    with connect(texts, config, partner, address) as remote:
        stub = GatewayServiceStub(remote.channel)

        def ask(size: int, token: str) -> tuple[list[rpc.Delivery], str]:
            request = rpc.ListDeliveriesRequest(dead_only=dead, page_size=size, page_token=token)
            page = remote.call(stub.ListDeliveries, request)
            return list(page.deliveries), page.next_page_token

        found = remote.pages(ask, limit)
    _print_deliveries(texts, found, json=json)
    return 0


def retry(texts: Texts, config: Path, partner: str, address: str, *, names: list[str], json: bool) -> int:
    """Put each named delivery back; stops at the first that the gateway refuses."""
    found: list[rpc.Delivery] = []
    with connect(texts, config, partner, address) as remote:
        stub = GatewayServiceStub(remote.channel)
        for name in names:
            full = name if name.startswith("deliveries/") else f"deliveries/{name}"
            request = rpc.RetryDeliveryRequest(request_id=request_id(), name=full)
            found.append(remote.call(stub.RetryDelivery, request).delivery)
    _print_deliveries(texts, found, json=json)
    return 0


def _print_deliveries(texts: Texts, found: list[rpc.Delivery], *, json: bool) -> None:
    if json:
        as_json([plain(each) for each in found])
        return
    if not found:
        say(texts("nothing"))
        return
    names = ("name", "partner", "lane", "kind", "item", "state", "attempt", "next", "reason")
    rows = [
        (
            each.name, each.recipient, _short(Lane.Name(each.lane)), each.kind, each.item,
            rpc.DeliveryState.Name(each.state).removeprefix("DELIVERY_STATE_").lower(), each.attempt,
            when(each.not_before_us), each.last_reason,
        )
        for each in found
    ]  # fmt: skip
    table([texts(f"col.{name}") for name in names], rows, numbers=(6,))


def _agency_state(each: rpc.AgencyStatus) -> str:
    return rpc.AgencyState.Name(each.state).removeprefix("AGENCY_STATE_").lower()


def _short(name: str) -> str:
    return name.partition("_")[2].lower()
