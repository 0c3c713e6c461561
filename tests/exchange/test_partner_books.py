"""Books that partners bring through their own wire formats, into a running gateway: right, otherwise, and with one left out.

Each plugin's simulator keeps what its people did and copies its books from that, as a clerk would.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import pytest
from tests.exchange.pairs import PERIOD, SCHOOL, Pairs, exchange

from xinqiao.adapters.host import AdapterHost
from xinqiao.api.gateway.v1 import gateway_service_pb2 as gateway
from xinqiao.server.not_taken import Tally
from xinqiao.store import tables
from xinqiao_community_grid.simulator import CommunityGridSimulator
from xinqiao_social_work.simulator import SocialWorkSimulator
from xinqiao_womens_federation import wire as women
from xinqiao_womens_federation.simulator import FederationSimulator
from xinqiao_youth_league.simulator import YouthLeagueSimulator


class Partner(Protocol):
    """A partner of one plugin: what it does in October, and the books it then brings."""

    agency: str
    plugin: str
    datasets: tuple[str, ...]

    def start(self) -> dict[str, Any]: ...
    def stop(self) -> None: ...
    def october(self, pairs: Pairs, local: str) -> None: ...
    def books(self, fault: Any) -> None: ...
    def heard(self) -> str: ...


class Women:
    """A workbook in a folder: the clerk copies last month's workbook into this month's sheet of books."""

    agency, plugin, datasets = "womens-federation", "womens_federation", ("referrals", "plan-entries", "service-log")

    def __init__(self, folder: Path) -> None:
        self.sim = FederationSimulator(folder)
        self.start, self.stop = self.sim.start, self.sim.stop
        self._sent = 0

    def october(self, pairs: Pairs, local: str) -> None:
        desk = self.sim.desk()
        for row in desk.rows(women.REFERRALS):
            desk.answer(women.REFERRALS, row["转介编号"], {"办理": women.ACCEPT})
        code = pairs.name(local, self.agency).removeprefix("students/")
        day = date(2026, 10, 12)
        desk.add(women.VISITS, 学生编号=code, 日期=day, 类别=women.VISIT, 情况="家里安静")
        desk.add(
            women.ACTIVITIES, 活动编号="A-1", 日期=day, 类别="讲座 Lecture", 对象="家长 Parents", 场次=1, 人次=30, 人数=28
        )  # fmt: skip
        self.last = desk
        self.sim.send(desk, "oct.xlsx")

    def books(self, fault: Any) -> None:
        desk = self.sim.desk()
        desk.copy_books(self.last, fault or None)
        self._sent += 1
        self.sim.send(desk, f"nov-{self._sent}.xlsx")

    def heard(self) -> str:
        return "\n".join(
            f"{row['typed']} {row['english']} {row}" for rows in self.sim.errors().values() for row in rows
        )


class Grid:
    """Visits and books over REST, or in files."""

    agency, plugin, datasets = "grid", "community_grid", ("plan-entries",)

    def __init__(self, folder: Path, source: Any = "rest") -> None:
        self.sim = CommunityGridSimulator(folder, source=source)
        self.stop = self.sim.stop

    def start(self) -> dict[str, Any]:
        return self.sim.start() | {"inbox": str(self.sim.inbox), "outbox": str(self.sim.outbox)}

    def october(self, pairs: Pairs, local: str) -> None:
        for number in range(2):
            self.sim.visit(f"v-{number}", pairs.name(local, self.agency), day=f"2026-10-1{number}")

    def books(self, fault: Any) -> None:
        self.sim.keep_books(PERIOD, fault)

    def heard(self) -> str:
        path = self.sim.outbox / "reports"
        return "\n".join(each.read_text("utf-8-sig") for each in sorted(path.glob("*.csv")))


class Social:
    """Logs in a folder, and the books beside them."""

    agency, plugin, datasets = "social-work", "social_work", ("plan-entries", "service-log")

    def __init__(self, folder: Path) -> None:
        self.sim = SocialWorkSimulator(folder)
        self.start, self.stop = self.sim.start, self.sim.stop

    def october(self, pairs: Pairs, local: str) -> None:
        header = ("编号", "日期", "个案编号", "学生代号", "主题")
        self.sim.drop(
            "个案服务记录-2026.csv", header, [("s-1", "2026-10-10", "c-1", pairs.name(local, self.agency), "同伴")]
        )
        self.sim.drop(
            "小组活动-2026.csv", ("编号", "日期", "小组编号", "人次", "人数"), [("g-1", "2026-10-11", "G", "12", "8")]
        )

    def books(self, fault: Any) -> None:
        self.sim.keep_books(PERIOD, fault)

    def heard(self) -> str:
        path = self.sim.outbox / "reports" / "gateway.csv"
        return path.read_text("utf-8-sig") if path.exists() else ""


class Youth:
    """Counts and books over REST; no student is named."""

    agency, plugin, datasets = "youth-league", "youth_league", ("service-log",)

    def __init__(self, folder: Path) -> None:
        self.sim = YouthLeagueSimulator(folder)
        self.start, self.stop = self.sim.start, self.sim.stop

    def october(self, pairs: Pairs, local: str) -> None:
        self.sim.month("blue-10", PERIOD, 3, 45)
        self.sim.month("green-10", PERIOD, 1, 9, group="green-team")

    def books(self, fault: Any) -> None:
        self.sim.keep_books(PERIOD, fault)

    def heard(self) -> str:
        return "\n".join(f"{each['id']},{each['reason']}" for each in self.sim.findings)


class Gate:
    """A town with one such partner, read when a test says so."""

    def __init__(self, pairs: Pairs, partner: Partner) -> None:
        self.pairs, self.partner = pairs, partner

    def read(self) -> Tally:
        found: Tally = self.pairs.town.intake(self.partner.agency).run_once()
        return found

    def reasons(self) -> list[str]:
        return sorted(str(row["step"]) for row in self.pairs.hold())


PARTNERS: list[Callable[[Path], Partner]] = [Women, Grid, lambda folder: Grid(folder, "folder"), Social, Youth]
NAMES = ["womens_federation", "community_grid", "community_grid_files", "social_work", "youth_league"]


@pytest.fixture
def gate_of(make_town: Callable[..., Any], tmp_path: Path, database: str) -> Iterator[Callable[..., Gate]]:
    with ExitStack() as stack:

        @contextmanager
        def made(make: Callable[[Path], Partner]) -> Iterator[Gate]:
            partner = make(tmp_path / "partner")

            def change(settings: dict[str, Any]) -> None:
                wanted = [(contract, SCHOOL) for contract in partner.datasets]
                settings["exchanges"] = {"monthly": exchange(partner.agency, *wanted, expects=[partner.agency])}
                settings["adapters"] = {partner.agency: {"adapter": partner.plugin, "settings": partner.start()}}

            try:
                host = AdapterHost.load([partner.plugin])
                with make_town(database, listen=False, change=change, host=host) as town:
                    yield Gate(Pairs(town), partner)
            finally:
                partner.stop()

        yield lambda make: stack.enter_context(made(make))


def month_of(gate_of: Callable[..., Gate], make: Callable[[Path], Partner]) -> Gate:
    """October is over, and everything the partner did in it has come."""
    gate = gate_of(make)
    pairs, partner = gate.pairs, gate.partner
    local = pairs.shared(to=partner.agency, classes=(2, 3, 4, 7, 8, 13))
    if "referrals" in partner.datasets:
        pairs.town.refer(local, recipient=partner.agency, support="每周入户一次")
        pairs.town.deliver_all()
    gate.read()
    partner.october(pairs, local)
    tally = gate.read()
    assert tally.rejected == []
    pairs.november()
    gate.read()  # the partner's system turns the month, too
    return gate


@pytest.mark.parametrize("make", PARTNERS, ids=NAMES)
def test_right_books_agree_and_are_awaited_no_more(gate_of: Callable[..., Gate], make: Any) -> None:
    gate = month_of(gate_of, make)
    gate.pairs.exchanges.watch()
    assert [row["step"] for row in gate.pairs.town.rows(tables.holdings, kind="exchange")] == ["package_awaited"]
    gate.partner.books("")
    tally = gate.read()
    assert (tally.rejected, tally.told, gate.reasons(), gate.partner.heard()) == ([], [], [], "")
    (row,) = gate.pairs.town.rows(tables.exchange_arrivals)
    assert (row["exchange"], row["partner"], row["period"]) == ("monthly", gate.partner.agency, PERIOD)
    assert row["complete"] and not row["nil"] and row["records"] >= 2
    assert {each["reason"] for each in gate.pairs.town.rows(tables.exchange_records)} == {""}
    gate.pairs.exchanges.watch()
    assert gate.pairs.town.rows(tables.holdings, kind="exchange") == []
    assert gate.read().updates == 0


@pytest.mark.parametrize("make", PARTNERS, ids=NAMES)
def test_books_that_differ_or_lack_one_are_named_on_both_sides_until_they_are_corrected(
    gate_of: Callable[..., Gate], make: Any
) -> None:
    gate = month_of(gate_of, make)
    gate.partner.books("differing")
    gate.read()
    by_day = gate.partner.plugin == "community_grid"  # a visit on another day is one we have not, and one they have not
    assert gate.reasons() == (["entry_unknown", "missing"] if by_day else ["service_differs"])
    assert ("ENTRY_UNKNOWN" if by_day else "SERVICE_DIFFERS") in gate.partner.heard()
    gate.partner.books("missing")
    gate.read()
    assert gate.reasons() == ["missing"]
    assert "MISSING" in gate.partner.heard()
    (repair,) = [
        each
        for each in gate.pairs.town.call(gate.pairs.town.OPERATOR, gateway.ListRepairsRequest()).repairs
        if each.code == "BOOKS_DIFFER"
    ]
    (lacked,) = gate.pairs.town.rows(tables.exchange_records, reason="MISSING")
    assert str(lacked["source"]) in repair.text_en
    gate.partner.books("")
    gate.read()
    assert gate.reasons() == []


@pytest.mark.parametrize("make", PARTNERS, ids=NAMES)
def test_a_month_of_nothing_is_said_and_what_we_have_of_it_is_named(gate_of: Callable[..., Gate], make: Any) -> None:
    gate = gate_of(make)
    gate.read()
    if isinstance(gate.partner, Women):
        gate.partner.last = gate.partner.sim.desk()
    gate.pairs.november()
    gate.read()
    gate.partner.books("")
    assert gate.read().told == []
    (row,) = gate.pairs.town.rows(tables.exchange_arrivals)
    assert (row["nil"], row["complete"], row["records"]) == (True, True, 0)


def spoil(partner: Any) -> Callable[[], object]:
    """Books with a line that is none; what sends them again as they ought to be."""
    if isinstance(partner, Youth):
        partner.sim._add("books", {"month": PERIOD, "lines": [{"id": "blue-10", "activities": 0, "attendances": 45}]})
        return lambda: partner.books("")
    partner.books("")
    (file,) = (each for each in partner.sim.inbox.iterdir() if each.name.startswith(("books", "月度台账")))
    good = file.read_bytes()
    file.write_bytes(good.replace(PERIOD.encode(), b"2026-13", 1))
    again = file.with_name(f"{file.stem}-correction.csv") if isinstance(partner, Grid) else file
    return lambda: again.write_bytes(good)


@pytest.mark.parametrize("make", PARTNERS[2:], ids=NAMES[2:])
def test_books_with_a_bad_line_are_a_persons_until_whole_ones_come(gate_of: Callable[..., Gate], make: Any) -> None:
    gate = month_of(gate_of, make)
    mend = spoil(gate.partner)
    assert gate.read().rejected
    assert len(gate.pairs.town.rows(tables.holdings, kind="intake")) == 1
    mend()
    assert gate.read().rejected == []
    assert gate.pairs.town.rows(tables.holdings, kind="intake") == []
    (row,) = gate.pairs.town.rows(tables.exchange_arrivals)
    assert row["complete"]
