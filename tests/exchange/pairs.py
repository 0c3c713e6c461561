"""A town whose school settles with a women's federation and a youth league, by entries and services, through real calls."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.casefile.conftest import Care
from tests.exchange.conftest import GATEWAY_KEY, Desk

from xinqiao.api.exchange.v1 import activity_service_pb2 as activity
from xinqiao.api.exchange.v1 import exchange_pb2 as pb
from xinqiao.exchange.service import Exchanges
from xinqiao.journal.signing import public_key_pem
from xinqiao.store import tables

SCHOOL, WOMEN, YOUTH = "kunshan-no1-middle", "womens-federation", "youth-league"
PERIOD, NEXT = "2026-10", "2026-11"
CODE = "3205830001"
NOVEMBER = datetime(2026, 11, 2, 2, 0, tzinfo=UTC)
SCHEDULE = {"run": {"day": 1, "working": True, "at": "02:00"}, "close_after_days": 10}


def exchange(other: str, *datasets: tuple[str, str], **more: Any) -> dict[str, Any]:
    """An exchange of the school with ``other``; (contract, to)."""
    listed = [{"contract": contract, "to": to, "purpose": "reconciliation"} for contract, to in datasets]
    return {
        "names": {"zh": "月度对账", "en": "Monthly books"}, "parties": [SCHOOL, other], "datasets": listed,
        "period": "month", "schedule": deepcopy(SCHEDULE), **more,
    }  # fmt: skip


def _configure(settings: dict[str, Any]) -> None:
    both = [(contract, to) for contract in ("plan-entries", "service-log") for to in (WOMEN, SCHOOL)]
    settings["exchanges"] = {
        "school-women": exchange(WOMEN, ("referrals", WOMEN), *both),
        "school-youth": exchange(YOUTH, ("referrals", YOUTH), ("plan-entries", YOUTH), ("service-log", YOUTH)),
    }


class Pairs(Care):
    """The words of sharing a case, and of settling a month."""

    def __init__(self, town: Any) -> None:
        super().__init__(town)
        self.desk = Desk()
        gateway = town.gate.gateway
        self.desk.keys |= dict.fromkeys((SCHOOL, WOMEN, YOUTH), GATEWAY_KEY)
        keys = {name: public_key_pem(key) for name, key in self.desk.keys.items()}
        # The partners' side is the desk; everything else is the gateway's own.
        self.exchanges: Exchanges = gateway.exchanges
        self.exchanges._sender, self.exchanges._receipt_keys = self.desk, keys
        self.exchanges._signing_key = GATEWAY_KEY

    def november(self) -> None:
        """The month is over; the journal was signed meanwhile."""
        now = datetime.fromtimestamp(self.town.clock.now_us() / 1e6, UTC)
        self.town.clock.advance(max(NOVEMBER - now, timedelta()))
        self.town.gate.gateway.checkpointer.run_once()

    def settle(self, name: str, **by: Any) -> dict[str, pb.ExchangeRun]:
        """The runs of October, by partner."""
        self.november()
        found = self.exchanges.run(name, PERIOD, actor="admin", **by)
        return {run.partner: run for run in found}

    def package(self, run: pb.ExchangeRun) -> list[pb.PackageItem]:
        """What the partner was sent."""
        return self.desk.items(f"exchange-{run.name.rpartition('/')[2]}")

    def items(self, run: pb.ExchangeRun) -> list[tuple[str, int, str]]:
        """(item, outcome, reason), in frozen order."""
        rows = self.town.rows(tables.exchange_items, run=run.name.rpartition("/")[2])
        rows.sort(key=lambda row: int(row["ordinal"]))
        return [(str(row["item"]), int(row["outcome"]), str(row["reason"])) for row in rows]

    def serve(self, who: str, source: str, **more: Any) -> str:
        """An agency did something; the item's name."""
        given = {"kind": activity.ACTIVITY_KIND_LECTURE, "day": "2026-10-08", "attendances": 30, **more}
        request = activity.RecordActivitiesRequest(activities=[activity.Activity(source=source, **given)])
        self.town.call(who, request)
        return f"activities/{who}/{source}"

    def agree(self, local: str, to: str, **more: Any) -> None:
        """The family consents to care by ``to`` for longer than the month."""
        self.town.consent(local, recipient=to, purpose=4, classes=[2, 3, 4, 5, 6, 7, 8, 13, 14], days=90, **more)

    def shared(self, *, classes: tuple[int, ...] = (2, 3, 4, 13), to: str = WOMEN) -> str:
        """A student with a plan whose case ``to`` may read; the school's id of it."""
        local = self.student()
        self.agree(local, to)
        self.share(local, to, classes=classes, days=90)
        return local

    def hold(self, **equal: object) -> list[Mapping[str, Any]]:
        """What is open about single items."""
        return self.town.rows(tables.holdings, kind="exchange_item", **equal)


@contextmanager
def pairs_in(make_town: Callable[..., Any], database: str) -> Iterator[Pairs]:
    """A town of its own on this database."""
    with make_town(database, listen=False, change=_configure) as town:
        yield Pairs(town)
