"""`xinqiao holdings`: who must do what until when, overdue first, and whom to telephone about it."""

from pathlib import Path
from typing import Final

from rich.text import Text

from xinqiao.api.common.v1.types_pb2 import Holding
from xinqiao.api.gateway.v1.gateway_service_pb2 import CloseHoldingRequest
from xinqiao.api.gateway.v1.gateway_service_pb2_grpc import GatewayServiceStub
from xinqiao.api.referral.v1.referral_service_pb2 import ListHoldingsRequest
from xinqiao.api.referral.v1.referral_service_pb2_grpc import ReferralServiceStub
from xinqiao.cli.output import as_json, clean, plain, say, when
from xinqiao.cli.remote import connect, request_id
from xinqiao.cli.tables import coloured, table
from xinqiao.cli.texts import Texts
from xinqiao.cli.words import explained, step_word

_COLOURS: Final = {4: "bold red", 3: "dark_orange", 2: "yellow", 1: "green"}
_PHONES = 3  # the first ones; --json has them all
_REFUSED = 5  # likewise


def holdings(texts: Texts, config: Path, partner: str, address: str, *, limit: int, json: bool) -> int:
    """Print open items, overdue first."""
    now_us = 0
    with connect(texts, config, partner, address) as remote:
        stub = ReferralServiceStub(remote.channel)

        def ask(size: int, token: str) -> tuple[list[Holding], str]:
            nonlocal now_us
            page = remote.call(stub.ListHoldings, ListHoldingsRequest(page_size=size, page_token=token))
            now_us = page.time_us
            return list(page.holdings), page.next_page_token

        found = remote.pages(ask, limit)
    _print(texts, found, now_us, json=json)
    return 0


def close(texts: Texts, config: Path, partner: str, address: str, *, item: str, reason: str, json: bool) -> int:
    """Close one open item by hand and print it as it stood."""
    with connect(texts, config, partner, address) as remote:
        request = CloseHoldingRequest(request_id=request_id(), item=item, reason=reason)
        closed = remote.call(GatewayServiceStub(remote.channel).CloseHolding, request).holding
    _print(texts, [closed], 0, json=json)
    return 0


def _print(texts: Texts, found: list[Holding], now_us: int, *, json: bool) -> None:
    if json:
        as_json([plain(each) for each in found])
    elif not found:
        say(texts("nothing"))
    else:
        names = ("tier", "holder", "step", "until", "overdue", "escalations", "phone", "item")
        table([texts(f"col.{name}") for name in names], [_row(texts, each, now_us) for each in found], numbers=(5,))


def _row(texts: Texts, each: Holding, now_us: int) -> tuple[object, ...]:
    late_us = now_us - each.deadline_us
    item = f"{texts('drill.mark')} {each.item}" if each.drill else each.item
    more = ["..."] if len(each.refused) > _REFUSED else []
    refused = [" ".join(filter(None, (line, explained(texts, line)))) for line in each.refused[:_REFUSED]]
    lines = Text("\n".join(map(clean, [item, *refused, *more])))
    return (
        tier(texts, each.tier), each.holder, step_word(texts, each.step), when(each.deadline_us),
        coloured(span(late_us), "bold red") if late_us > 0 else "", each.escalations or "",
        _phones(texts, each), lines,
    )  # fmt: skip


def _phones(texts: Texts, each: Holding) -> str:
    zh = texts.language == "zh"
    return ", ".join(f"{p.title_zh if zh else p.title_en} {p.number}" for p in each.phones[:_PHONES])


def tier(texts: Texts, number: int) -> Text | str:
    """The colour of a case, in it."""
    return coloured(texts(f"tier.{number}"), _COLOURS[number]) if number in _COLOURS else ""


def word(texts: Texts, key: str, fallback: str) -> str:
    """The text of ``key``, or ``fallback`` for a word this program does not know yet."""
    try:
        return texts(key)
    except KeyError:
        return fallback


def span(us: int) -> str:
    """`3 d 4 h`, `2 h 10 min`, `25 min`, `12.3 s` of a length of time."""
    seconds = us / 1_000_000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds) // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"
