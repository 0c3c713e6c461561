"""What every scene of the story stands on: the gateway, its clients, the partners' simulators, and somewhere to speak."""

import time
from datetime import datetime, timedelta
from typing import Final

from rich.console import Console
from rich.table import Table

from xinqiao.api.common.v1 import types_pb2 as types
from xinqiao.api.referral.v1 import referral_pb2, referral_service_pb2
from xinqiao.api.screening.v1 import screening_pb2, screening_service_pb2
from xinqiao.cli.demo.clients import Clients, everything
from xinqiao.cli.demo.deployment import Deployment
from xinqiao.cli.texts import Texts
from xinqiao.contract.clock import BEIJING, ShiftedClock, to_us
from xinqiao.journal.heads import newest_us
from xinqiao.server.runtime import Gateway
from xinqiao.store import tables
from xinqiao.store.claims import DeliveryState
from xinqiao.store.sql import func

BEGIN: Final = datetime(2026, 10, 13, 9, 0, tzinfo=BEIJING)
DEADLINE_S: Final = 20


class Stage:
    """A gateway that runs, and how the scenes reach it. What a scene asks is under a derived id: see ``key``."""

    def __init__(
        self, console: Console, gateway: Gateway, deployment: Deployment, clock: ShiftedClock, texts: Texts
    ) -> None:
        self.console = console
        self.gateway = gateway
        self.deployment = deployment
        self.clock = clock
        self.texts = texts
        self.zh = texts.language == "zh"
        self.clients = Clients(deployment, gateway.port)

    def tell(self, zh: str, en: str) -> None:
        """One fact of the story."""
        line = Table.grid(padding=(0, 1))
        line.add_column()
        line.add_column(overflow="fold")
        line.add_row("  [green]✓[/green]", self.text(zh, en))
        self.console.print(line, highlight=False)

    def say(self, zh: str, en: str) -> None:
        """A remark."""
        self.console.print(f"[bold cyan]{self.text(zh, en)}", highlight=False)

    def text(self, zh: str, en: str) -> str:
        """The reader's language."""
        return zh if self.zh else en

    def name(self, agency: str) -> str:
        """An agency's name in the reader's language."""
        found = self.gateway.registry.find(agency)
        return (found.names["zh" if self.zh else "en"]) if found is not None else agency

    def red(self, index: int) -> screening_pb2.Triage | None:
        """The index-th red case of a different student, the same after a restart."""
        chosen: dict[str, screening_pb2.Triage] = {}
        for triage in self.triages():
            if triage.confirmed == types.TIER_RED:
                chosen.setdefault(triage.student, triage)
        cases = list(chosen.values())
        if index >= len(cases):
            self.tell("名册中没有更多红色个案，跳过", "no further red case in these files: skipped")
            return None
        return cases[index]

    def triages(self) -> list[screening_pb2.Triage]:
        """Every triage of the school, the gravest first."""
        found = everything(self.clients.screening.ListTriages, screening_service_pb2.ListTriagesRequest, "triages")
        return sorted(found, key=lambda triage: (-triage.proposed, triage.name))

    def holdings(self) -> list[types.Holding]:
        """Who holds what, as the operator sees it."""
        return everything(self.clients.watch.ListHoldings, referral_service_pb2.ListHoldingsRequest, "holdings")

    def quiet(self) -> None:
        """Until everything released has arrived; a partner that is down would be seen in the summary."""
        open_states = [int(DeliveryState.PENDING), int(DeliveryState.RUNNING)]
        d = tables.deliveries
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with self.gateway.store.read() as reading:
                if reading.one(d.select().where(d.c.state.in_(open_states)).limit(1)) is None:
                    return
            time.sleep(0.1)

    def wait(self, name: str, state: int) -> None:
        """Until the referral has passed ``state``. Raises RuntimeError after the deadline."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            referral = self.clients.referrals.GetReferral(
                referral_service_pb2.GetReferralRequest(name=name), timeout=DEADLINE_S
            ).referral
            if any(change.state == state for change in referral.history):
                return
            self.gateway.read_all()
            time.sleep(0.1)
        raise RuntimeError(
            f"{name} did not become {referral_pb2.ReferralState.Name(referral_pb2.ReferralState.ValueType(state))}"
        )

    def counts(self) -> dict[str, int]:
        """How many students, forms and signals are stored."""
        with self.gateway.store.read() as reading:
            return {
                table.name: int(reading.scalar(table.select().with_only_columns(func.count(table.c.id))) or 0)
                for table in (tables.students, tables.assessments, tables.signals)
            }


def wind(gateway: Gateway, clock: ShiftedClock, moment: datetime) -> bool:
    """Set the story's clock to ``moment``, or to the newest journal row if that is later; True if there was one."""
    with gateway.store.read() as reading:
        newest = newest_us(reading)
    target = max(to_us(moment), newest or 0)
    if target > clock.now_us():
        clock.advance(timedelta(microseconds=target - clock.now_us()))
    return newest is not None


def key(kind: str, name: str) -> str:
    """A request id that is the same after a restart: what was done is answered then, not done twice."""
    return f"demo.{kind}.{name.rpartition('/')[2]}"
