"""`xinqiao exchange preview` and `exchange items`: what a partner would get, and what became of each item."""

from collections import Counter
from pathlib import Path

from xinqiao.api.common.v1.options_pb2 import FieldClass
from xinqiao.api.exchange.v1 import exchange_service_pb2 as rpc
from xinqiao.api.exchange.v1.exchange_pb2 import ItemOutcome
from xinqiao.api.exchange.v1.exchange_service_pb2_grpc import ExchangeServiceStub
from xinqiao.cli.output import as_json, plain, say, warn
from xinqiao.cli.remote import Remote, connect
from xinqiao.cli.tables import table
from xinqiao.cli.texts import Texts

_PAGE = 1000


def preview(
    texts: Texts, config: Path, as_: str, address: str, *, name: str, period: str, partner: str, limit: int, json: bool
) -> int:  # fmt: skip
    """Print what each receiving party, or only ``partner``, would get for ``period``; nothing is sent."""
    with connect(texts, config, as_, address) as remote:
        first, partners = _whole(remote, name, period, partner, limit)
        others = [each for each in partners if each != first.partner] if not partner else []
        shown = [first, *(_whole(remote, name, period, each, limit)[0] for each in others)]
    if json:
        as_json([plain(each) for each in shown])
        return 0
    for found in shown:
        _print(texts, found, limit)
    return 0


def _whole(
    remote: Remote, name: str, period: str, partner: str, limit: int
) -> tuple[rpc.PreviewExchangeResponse, list[str]]:
    """One party's pages as one answer, of about ``limit`` items, and every receiving party."""
    stub = ExchangeServiceStub(remote.channel)
    whole = rpc.PreviewExchangeResponse()
    while True:
        request = rpc.PreviewExchangeRequest(
            exchange=name, period=period, partner=partner, page_size=_PAGE, page_token=whole.next_page_token
        )  # fmt: skip
        page = remote.call(stub.PreviewExchange, request)
        whole.partner, whole.barred, whole.next_page_token = page.partner, page.barred, page.next_page_token
        whole.items.extend(page.items)
        if not page.next_page_token or len(whole.items) >= limit:
            return whole, list(page.partners)


def items(
    texts: Texts, config: Path, as_: str, address: str, *, run: str, everything: bool, limit: int, json: bool
) -> int:  # fmt: skip
    """Print the items of a run that something is said about, or all."""
    with connect(texts, config, as_, address) as remote:
        stub = ExchangeServiceStub(remote.channel)

        def ask(size: int, token: str) -> tuple[list[rpc.RunItem], str]:
            page = remote.call(
                stub.ListExchangeItems,
                rpc.ListExchangeItemsRequest(run=run, with_reason=not everything, page_size=size, page_token=token),
            )
            return list(page.items), page.next_page_token

        found = remote.pages(ask, limit)
    if json:
        as_json([plain(each) for each in found])
    elif not found:
        say(texts("nothing"))
    else:
        table(
            [texts(f"col.{column}") for column in ("place", "item", "state", "reason")],
            [(each.ordinal if each.packed else "", each.item, _outcome(each.outcome), each.reason) for each in found],
            numbers=(0,),
        )
    return 0


def _print(texts: Texts, shown: rpc.PreviewExchangeResponse, limit: int) -> None:
    say(texts("preview.for", partner=shown.partner))
    if shown.barred:
        warn(texts("preview.barred", reason=shown.barred))
    if not shown.items:
        say(texts("nothing"))
        return
    table(
        [texts(f"col.{column}") for column in ("change", "item", "state", "reason", "goes", "withheld")],
        [
            (_change(each), each.item, _outcome(each.outcome), each.reason, ", ".join(each.fields), _withheld(each))
            for each in shown.items[:limit]
        ],
    )
    changes = Counter(_change(each) for each in shown.items)
    say(texts("preview.totals", **{word: changes[word] for word in ("new", "changed", "same", "gone")}))
    if shown.next_page_token or len(shown.items) > limit:
        warn(texts("preview.more"))


def _change(item: rpc.PreviewItem) -> str:
    return rpc.ItemChange.Name(item.change).removeprefix("ITEM_CHANGE_").lower()


def _outcome(outcome: ItemOutcome.ValueType) -> str:
    return ItemOutcome.Name(outcome).removeprefix("ITEM_OUTCOME_").lower() if outcome else ""


def _withheld(item: rpc.PreviewItem) -> str:
    """`REFERRAL_REASON: NOT_IN_POLICY`, each once: the fields stand in the JSON."""
    told = [f"{FieldClass.Name(one.field_class).removeprefix('FIELD_CLASS_')}: {one.reason}" for one in item.withheld]
    return ", ".join(dict.fromkeys(told))
