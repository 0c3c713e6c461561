"""`xinqiao status`: agencies, exchange runs, open items and repairs on one screen; what is stuck stands first."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from xinqiao.api.common.v1.options_pb2 import Lane
from xinqiao.api.common.v1.types_pb2 import Holding
from xinqiao.api.exchange.v1 import exchange_pb2 as exchange
from xinqiao.api.exchange.v1.exchange_service_pb2 import ListExchangeRunsRequest
from xinqiao.api.exchange.v1.exchange_service_pb2_grpc import ExchangeServiceStub
from xinqiao.api.gateway.v1 import gateway_service_pb2 as rpc
from xinqiao.api.gateway.v1.gateway_service_pb2_grpc import GatewayServiceStub
from xinqiao.api.referral.v1.referral_service_pb2 import ListHoldingsRequest
from xinqiao.api.referral.v1.referral_service_pb2_grpc import ReferralServiceStub
from xinqiao.cli.exits import TRY_AGAIN
from xinqiao.cli.holding import span, tier, word
from xinqiao.cli.output import as_json, clean, plain, when
from xinqiao.cli.remote import Remote, connect
from xinqiao.cli.tables import console as on_stdout
from xinqiao.cli.texts import Texts
from xinqiao.cli.words import step_word
from xinqiao.contract.errors import Refusal

_FETCHED: Final = 200  # of each list; more fit on no screen, and the header has the counts
_PIPED_ROWS: Final = 200
_NARROW: Final = 140  # columns; with less, ids and telephones would break most rows in two
_SETTLED: Final = (exchange.RUN_STATE_RECONCILED, exchange.RUN_STATE_ABANDONED)
_COMING_BACK: Final = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED")
_STATE_STYLES: Final = {
    rpc.AGENCY_STATE_FAILED: "bold red", rpc.AGENCY_STATE_RETRYING: "yellow", rpc.AGENCY_STATE_READY: "green",
    rpc.AGENCY_STATE_MAINTENANCE: "cyan", rpc.AGENCY_STATE_DISABLED: "dim",
}  # fmt: skip
_FIRST: Final = tuple(_STATE_STYLES)
_RUN_STYLES: Final = {
    exchange.RUN_STATE_INCOMPLETE: "bold red", exchange.RUN_STATE_RECONCILED: "green",
    exchange.RUN_STATE_ABANDONED: "dim",
}  # fmt: skip
_SEVERITY_STYLES: Final = {
    rpc.REPAIR_SEVERITY_ERROR: "bold red", rpc.REPAIR_SEVERITY_WARNING: "yellow", rpc.REPAIR_SEVERITY_NOTICE: "dim",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Overview:
    """What a running gateway said at one moment; ``lost`` why it says nothing any more."""

    status: rpc.GetStatusResponse = field(default_factory=rpc.GetStatusResponse)
    runs: Sequence[exchange.ExchangeRun] = ()
    holdings: Sequence[Holding] = ()
    repairs: Sequence[rpc.Repair] = ()
    lost: str = ""

    @property
    def broken(self) -> bool:
        """Whether something does not work now."""
        return any(each.severity == rpc.REPAIR_SEVERITY_ERROR for each in self.repairs)


@dataclass(frozen=True, slots=True)
class Section:
    """One table of the screen; ``total`` is how many there are, ``more`` the command that shows them all.

    ``note`` is what is said of those that need no row, ``spare`` the columns that a narrow window does without, ``aside``
    stands beside the title in red.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Text]]
    total: int
    more: str
    empty: str
    note: str = ""
    spare: Sequence[int] = ()
    aside: str = ""


def status(
    texts: Texts, config: Path, partner: str, address: str, *, watch: bool, every: float, json: bool
) -> int:  # fmt: skip
    """Print the overview once, or again every ``every`` seconds; 75 when something does not work now, for cron."""
    if watch and json:
        raise Refusal("INVALID_ARGUMENT", "USAGE", texts("status.one"))
    with connect(texts, config, partner, address) as remote:
        seen = ask(remote)
        if json:
            as_json(
                {
                    "status": plain(seen.status), "runs": [plain(each) for each in seen.runs],
                    "holdings": [plain(each) for each in seen.holdings],
                    "repairs": [plain(each) for each in seen.repairs],
                }
            )  # fmt: skip
        elif watch:
            _watch(texts, remote, seen, every)
        else:
            console = on_stdout()
            console.print(screen(texts, seen, console, _PIPED_ROWS))
    return TRY_AGAIN if seen.broken else 0


def ask(remote: Remote) -> Overview:
    """Everything the screen shows. Raises Refusal."""
    gateway, channel = GatewayServiceStub(remote.channel), remote.channel
    runs = remote.call(ExchangeServiceStub(channel).ListExchangeRuns, ListExchangeRunsRequest(page_size=_FETCHED))
    return Overview(
        remote.call(gateway.GetStatus, rpc.GetStatusRequest()), tuple(runs.runs), _stuck(remote),
        tuple(remote.call(gateway.ListRepairs, rpc.ListRepairsRequest()).repairs),
    )  # fmt: skip


def _stuck(remote: Remote) -> tuple[Holding, ...]:
    """The first open items by deadline, and every overdue one however many they are: the newest of them may be red.

    Overdue first, of these the sternest tier, then by deadline.
    """
    stub, found, request = ReferralServiceStub(remote.channel), list[Holding](), ListHoldingsRequest(page_size=_FETCHED)
    while True:
        page = remote.call(stub.ListHoldings, request)
        now_us = page.time_us
        found += page.holdings
        request.page_token = page.next_page_token
        if not page.next_page_token or found[-1].deadline_us >= now_us:
            break
    return tuple(sorted(found, key=lambda each: urgency(each, now_us)))


def urgency(each: Holding, now_us: int) -> tuple[bool, int, int]:
    """Sorts what is overdue to the front, by tier; what is not yet due by its deadline alone."""
    late = each.deadline_us < now_us
    return not late, -each.tier if late else 0, each.deadline_us


def _watch(texts: Texts, remote: Remote, seen: Overview, every: float) -> None:
    """Until Ctrl-C. A gateway that is away is shown as away, and looked for again."""
    console = on_stdout()
    if not sys.stdout.isatty():
        while True:
            console.print(screen(texts, seen, console, _PIPED_ROWS))
            sys.stdout.flush()
            time.sleep(every)
            seen = _again(remote, seen)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(fitted(texts, seen, console), refresh=True)
            time.sleep(every)
            seen = _again(remote, seen)


def _again(remote: Remote, before: Overview) -> Overview:
    try:
        return ask(remote)
    except Refusal as refusal:
        if refusal.status not in _COMING_BACK:
            raise
        return replace(before, lost=refusal.message)


def fitted(texts: Texts, seen: Overview, console: Console) -> RenderableType:
    """The screen with as many rows as the console has lines for."""
    rows = console.height
    while True:
        shown = screen(texts, seen, console, rows)
        over = len(console.render_lines(shown, pad=False)) - console.height
        if over <= 0 or rows <= 1:
            return shown
        rows = max(1, rows - max(1, over // 2))


def screen(texts: Texts, seen: Overview, console: Console, rows: int) -> RenderableType:
    """All four tables, of ``rows`` rows together at most; each has its share, and what it leaves goes to the others."""
    sections = [_agencies(texts, seen), _runs(texts, seen), _holdings(texts, seen), _repairs(texts, seen)]
    shares = share([len(each.rows) for each in sections], rows)
    parts: list[RenderableType] = [*_head(texts, seen)]
    for section, count in zip(sections, shares, strict=True):
        parts.append(_table(texts, section, count, narrow=console.width < _NARROW))
    return Group(*parts)


def share(wanted: Sequence[int], rows: int) -> list[int]:
    """``rows`` dealt out one by one to whoever still wants some; the last of the list first, where it is short."""
    given = [0] * len(wanted)
    while rows > 0 and given != list(wanted):
        for index in reversed(range(len(wanted))):
            if given[index] < wanted[index] and rows > 0:
                given[index] += 1
                rows -= 1
    return given


def _head(texts: Texts, seen: Overview) -> list[Text]:
    status, zh = seen.status, texts.language == "zh"
    words = {"deployment": status.deployment, "version": status.version, "policy": status.policy_version}
    head = Text(clean(f"{when(status.time_us)}  {texts('status.head', **words)}"), "bold")
    head.append("  ")
    head.append(texts("status.open", count=status.holdings))
    head.append("  ")
    head.append(
        texts("status.overdue", count=status.overdue), "bold white on red" if status.overdue else "green"
    )  # fmt: skip
    for lane, count in sorted(status.waiting.items()):
        name = word(texts, f"status.{lane.lower()}", lane)
        style = "bold red" if lane == Lane.Name(Lane.LANE_CRISIS) and count else ""
        head.append("  ")
        head.append(clean(f"{name} {count}"), style)
    lines = [head]
    if seen.lost:
        lines.append(Text(clean(texts("status.lost", why=seen.lost)), "bold white on red"))
    if status.to_telephone:
        numbers = ", ".join(f"{p.title_zh if zh else p.title_en} {p.number}" for p in status.phones)
        told = texts("telephone", count=status.to_telephone, numbers=numbers)
        lines.append(Text(clean(told), "bold white on red"))
    lines += [Text(clean(each.text_zh if zh else each.text_en), "bold red") for each in status.problems]
    return lines


def _agencies(texts: Texts, seen: Overview) -> Section:
    """A row for each that is not well or has something to say; the others by name, so that none is off the screen."""
    agencies = sorted(seen.status.agencies, key=lambda each: (_FIRST.index(each.state), each.agency))
    well = [each for each in agencies if each.state == rpc.AGENCY_STATE_READY and not each.message]
    rows = [
        (
            Text(texts(f"agency.{each.state}"), _STATE_STYLES[each.state]), _cell(each.agency), _cell(each.adapter),
            _cell(each.message),
        )
        for each in agencies
        if each not in well
    ]  # fmt: skip
    headings = [texts(f"col.{name}") for name in ("state", "agency", "adapter", "message")]
    names = ", ".join(f"{each.agency} ({each.adapter})" for each in well)
    note = f"{texts(f'agency.{rpc.AGENCY_STATE_READY}')} {len(well)}: {names}" if well else ""
    ill = [(state, sum(each.state == state for each in agencies)) for state in (_FIRST[0], _FIRST[1])]
    aside = ", ".join(f"{texts(f'agency.{state}')} {count}" for state, count in ill if count)
    title, more = texts("status.agencies"), "xinqiao adapters list"
    return Section(title, headings, rows, len(agencies), more, texts("nothing") if not well else "", note, (2,), aside)


def _runs(texts: Texts, seen: Overview) -> Section:
    """What is not settled, by its deadline; of what is, how many."""
    now_us = seen.status.time_us
    still = sorted((each for each in seen.runs if each.state not in _SETTLED), key=lambda each: each.deadline_us)
    rows = [
        (
            Text(texts(f"run.{each.state}"), _RUN_STYLES.get(each.state, "yellow")), _cell(each.exchange),
            _cell(each.partner), _cell(f"{each.period} r{each.revision}" if each.revision else each.period),
            _cell(texts("status.sent", sent=each.sent, selected=each.selected)),
            *_until(texts, each.deadline_us, now_us),
        )
        for each in still
    ]  # fmt: skip
    names = ("state", "exchange", "partner", "period", "sent", "until", "time_left")
    counts = {state: sum(each.state == state for each in seen.runs) for state in _SETTLED}
    note = ", ".join(f"{texts(f'run.{state}')} {count}" for state, count in counts.items() if count)
    headings = [texts(f"col.{name}") for name in names]
    title, more = texts("status.runs"), "xinqiao exchange list"
    return Section(title, headings, rows, len(seen.runs), more, texts("nothing"), note, (4, 5))


def _holdings(texts: Texts, seen: Overview) -> Section:
    zh = texts.language == "zh"
    rows: list[tuple[Text, ...]] = []
    for each in seen.holdings:
        phones = [f"{p.title_zh if zh else p.title_en} {p.number}" for p in each.phones[:1]]
        item = f"{texts('drill.mark')} {each.item}" if each.drill else each.item
        until, left = _until(texts, each.deadline_us, seen.status.time_us)
        colour = tier(texts, each.tier)
        rows.append(
            (
                left, _cell(each.holder), _cell(step_word(texts, each.step)), until,
                colour if isinstance(colour, Text) else Text(colour), _cell(", ".join(phones)), _cell(item),
            )
        )  # fmt: skip
    names = ("time_left", "holder", "step", "until", "tier", "phone", "item")
    headings, total = [texts(f"col.{name}") for name in names], max(seen.status.holdings, len(rows))
    return Section(
        texts("status.holdings"), headings, rows, total, "xinqiao holdings", texts("nothing"), spare=(5, 6)
    )  # fmt: skip


def _repairs(texts: Texts, seen: Overview) -> Section:
    zh, now_us = texts.language == "zh", seen.status.time_us
    rows = [
        (
            Text(texts(f"severity.{each.severity}"), _SEVERITY_STYLES[each.severity]), _cell(each.subject),
            _cell(each.text_zh if zh else each.text_en),
            _cell(texts("status.for", time=_span(texts, now_us - each.since_us)) if each.since_us else ""),
            Text(clean(each.mend), "cyan"),
        )
        for each in seen.repairs
    ]  # fmt: skip
    headings = [texts(f"repairs.{name}") for name in ("severity", "subject", "message", "since", "mend")]
    title, more = texts("status.repairs"), "xinqiao repairs"
    return Section(title, headings, rows, len(rows), more, texts("repairs.none"), spare=(3,))


def _table(texts: Texts, section: Section, count: int, *, narrow: bool) -> RenderableType:
    title = Text.assemble((f"{section.title} ({section.total})", "bold reverse"), "  ", (section.aside, "bold red"))
    note = [Text(clean(section.note), "green")] if section.note else []
    if not section.rows:
        return Group(title, *(note or [Text(section.empty, "green")]))
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    kept = [index for index in range(len(section.headings)) if not (narrow and index in section.spare)]
    for index in kept:
        shown.add_column(section.headings[index], overflow="fold")
    for row in section.rows[:count]:
        shown.add_row(*(row[index] for index in kept))
    parts: list[RenderableType] = [title, shown] if count else [title]
    hidden = len(section.rows) - count if section.note else section.total - count
    if hidden > 0:
        parts.append(Text(texts("status.more", count=hidden, command=section.more), "dim"))
    return Group(*parts, *note)


def _until(texts: Texts, deadline_us: int, now_us: int) -> tuple[Text, Text]:
    """The deadline, and how long that is off: red once it has passed, yellow within the hour."""
    late_us = now_us - deadline_us
    if late_us > 0:
        return Text(when(deadline_us), "red"), Text(texts("status.late", time=_span(texts, late_us)), "bold red")
    style = "yellow" if late_us > -3_600_000_000 else ""
    return Text(when(deadline_us)), Text(texts("status.left", time=_span(texts, -late_us)), style)


def _span(texts: Texts, us: int) -> str:
    """A length of time in the reader's own units."""
    said = span(us)
    if texts.language == "zh":
        for unit, zh in ((" min", " 分"), (" d", " 天"), (" h", " 时"), (" s", " 秒")):
            said = said.replace(unit, zh)
    return said


def _cell(text: str) -> Text:
    return Text(clean(text))
