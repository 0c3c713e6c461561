"""The demo's tables."""

from collections.abc import Sequence

from rich import box
from rich.table import Table

from xinqiao.api.adapter.v1.adapter_service_pb2 import Rejected
from xinqiao.api.casefile.v1.sharing_pb2 import Disclosure
from xinqiao.api.common.v1.options_pb2 import Purpose
from xinqiao.api.common.v1.types_pb2 import Holding
from xinqiao.api.exchange.v1.exchange_pb2 import ExchangeRun, RunState
from xinqiao.api.referral.v1.referral_service_pb2 import Drill
from xinqiao.cli.holding import tier as named_tier
from xinqiao.cli.holding import word
from xinqiao.cli.texts import Texts
from xinqiao.cli.words import step_word
from xinqiao.contract.clock import BEIJING, from_us
from xinqiao.contract.fields import class_name

_STATES = {"RECONCILED": "对账一致", "AWAIT_RECEIPT": "等待回执", "INCOMPLETE": "未对上", "DISPUTED": "有争议"}


def _table(title: str, heads: Sequence[str]) -> Table:
    """Light lines and whole words: a terminal of 80 columns cuts nothing short."""
    table = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
        pad_edge=False,
    )
    for head in heads:
        table.add_column(head, overflow="fold")
    return table


def runs(found: Sequence[ExchangeRun], zh: bool) -> Table:
    """selected = sent + withheld + refused + failed, a row a run."""
    heads = ("对账与对方", "状态", "应选", "已送", "保留", "拒收", "失败") if zh else (
        "exchange, partner", "state", "selected", "sent", "withheld", "refused", "failed")  # fmt: skip
    table = _table("月度对账" if zh else "Monthly exchange", heads)
    for run in found:
        state = RunState.Name(run.state).removeprefix("RUN_STATE_")
        colour = "green" if state == "RECONCILED" else "red"
        numbers = (run.selected, run.sent, run.withheld, run.refused, run.failed)
        shown = f"[{colour}]{_STATES.get(state, state) if zh else state}"
        whose = f"{run.exchange.removesuffix('-monthly')}\n{run.partner}"
        table.add_row(whose, shown, *(str(number) for number in numbers))
    return table


def journal(rows: Sequence[tuple[str, str, int]], zh: bool) -> str:
    """What happened, by kind of journal row, the most frequent first; what was refused is red."""
    listed = (
        f"[red]{kind} {count}[/red]" if decision == "deny" else f"{kind} {count}" for kind, decision, count in rows
    )
    return f"[bold]{'存证日志' if zh else 'What the journal holds'}[/bold]: " + ", ".join(listed)


def holdings(found: Sequence[Holding], now_us: int, texts: Texts) -> Table:
    """Who holds what, until when: a row a holder and step, the earliest deadline shown."""
    zh = texts.language == "zh"
    heads = ("持有者", "下一步", "等级", "件数", "最早期限", "") if zh else (
        "holder", "next step", "tier", "n", "earliest", "")  # fmt: skip
    table = _table("谁持有什么，到何时" if zh else "Who holds what, until when", heads)
    groups: dict[tuple[int, str, str], list[Holding]] = {}
    for held in found:
        groups.setdefault((-int(held.tier), held.holder, held.step), []).append(held)
    for (_, holder, step), items in sorted(groups.items()):
        tier = int(items[0].tier)
        first = min(item.deadline_us for item in items)
        late = sum(item.deadline_us < now_us or item.escalations > 0 for item in items)
        mark = f"[red]{late} {'件超期' if zh else 'overdue'}" if late else ""
        when = from_us(first).astimezone(BEIJING).strftime("%m-%d %H:%M")
        table.add_row(
            holder,
            step_word(texts, step),
            named_tier(texts, tier) or "-",
            str(len(items)),
            when,
            mark,
        )
    return table


def drill(found: Drill, texts: Texts) -> Table:
    """How long after the signal each step of the crisis lane was, and how long it might have taken."""
    table = _table("", [texts(f"col.{name}") for name in ("step", "actor", "took", "due")])
    for step in found.steps:
        took = f"{(step.time_us - found.start_time_us) / 1e6:.2f} s" if step.time_us else "-"
        allowed = f"{(step.due_us - found.start_time_us) / 1e6:.0f} s"
        table.add_row(word(texts, f"drill.step.{step.step}", step.step), step.actor, took, allowed)
    return table


def statement(found: Sequence[Disclosure], school: str, texts: Texts) -> Table:
    """Who saw which fields, when, why: a row a recipient and reason, the first and the last time, how often; of the
    student's own ``school`` one row in all."""
    zh = texts.language == "zh"
    heads = ("谁", "为何", "哪些信息", "何时", "次数") if zh else ("who", "why", "which fields", "when", "n")
    table = _table("信息披露清单" if zh else "Statement of disclosures", heads)
    groups: dict[tuple[str, int, str], list[Disclosure]] = {}
    for each in found:
        purpose, basis = (int(each.purpose), each.basis) if each.partner != school else (0, "")
        groups.setdefault((each.partner, purpose, basis), []).append(each)
    for (partner, purpose, _), rows in sorted(groups.items()):
        newest = rows[0]
        word = Purpose.Name(Purpose.ValueType(purpose)).removeprefix("PURPOSE_").lower()
        law = "" if partner == school else newest.citation_zh if zh else newest.citation_en
        reason = texts(f"purpose.{word}" if purpose else "purpose.own")
        classes = sorted({one for each in rows for one in each.classes})
        days = sorted({from_us(each.time_us).astimezone(BEIJING).strftime("%m-%d") for each in rows})
        table.add_row(
            (newest.partner_zh if zh else newest.partner_en) or partner, f"{reason}: {law}" if law else reason,
            ("、" if zh else ", ").join(texts(f"class.{class_name(one).lower()}") for one in classes),
            days[0] if len(days) == 1 else f"{days[0]} … {days[-1]}", str(len(rows)),
        )  # fmt: skip
    return table


def rejected(found: Sequence[Rejected], total: int, zh: bool) -> Table:
    """What could not be taken, with place and reason, never a value."""
    table = Table(
        title=f"未能接收 {total} 项（前 {len(found)} 项）" if zh else f"Not taken: {total} (first {len(found)})"
    )
    for head in ("来源", "位置", "原因", "如何修正") if zh else ("source", "place", "reason", "how to mend"):
        table.add_column(head, overflow="fold")
    for item in found:
        table.add_row(item.source[:40], item.place, item.reason, item.message[:80])
    return table
