"""Each partner's own plugin: what the gateway refuses of its file comes back by row, and its clean correction closes it."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from xinqiao.adapters.host import AdapterHost
from xinqiao.api.casefile.v1 import plan_service_pb2 as plan
from xinqiao.api.casefile.v1 import team_service_pb2 as team
from xinqiao.api.common.v1.types_pb2 import TIER_RED, Holding
from xinqiao.api.referral.v1.referral_service_pb2 import ListHoldingsRequest
from xinqiao.contract.clock import from_us, local_date
from xinqiao.store import tables
from xinqiao_community_grid.simulator import GRIDS, CommunityGridSimulator
from xinqiao_hotline.simulator import HotlineSimulator, sheet
from xinqiao_social_work.simulator import SocialWorkSimulator
from xinqiao_womens_federation import wire
from xinqiao_womens_federation.simulator import FederationSimulator
from xinqiao_youth_league.simulator import YouthLeagueSimulator

GRID, WOMEN, AIDE, LEAGUE, LINE = "grid", "womens-federation", "social-work", "youth-league", "hotline"
KINDS = {
    GRID: "community_grid", WOMEN: "womens_federation", AIDE: "social_work", LEAGUE: "youth_league", LINE: "hotline",
}  # fmt: skip
ROLES = {GRID: 2, AIDE: 6, WOMEN: 9}
CLASSES = [2, 3, 4, 5, 6, 8, 13]
NOBODY = "a" * 26
TEXT = "utf-8-sig"


@pytest.fixture
def partners(tmp_path: Path) -> Iterator[dict[str, Any]]:
    made = {
        GRID: CommunityGridSimulator(tmp_path / GRID, source="folder"), WOMEN: FederationSimulator(tmp_path / WOMEN),
        AIDE: SocialWorkSimulator(tmp_path / AIDE), LEAGUE: YouthLeagueSimulator(tmp_path / LEAGUE),
        LINE: HotlineSimulator(tmp_path / LINE, source="folder"),
    }  # fmt: skip
    yield made
    for each in made.values():
        each.stop()


@pytest.fixture
def town(make_town: Any, partners: dict[str, Any]) -> Iterator[Any]:
    def adapters(settings: dict[str, Any]) -> None:
        settings["adapters"] = {
            name: {"adapter": KINDS[name], "settings": partner.start()} for name, partner in partners.items()
        }

    with make_town(listen=False, change=adapters, host=AdapterHost.load([*KINDS.values()])) as made:
        yield made


def known(town: Any, agency: str) -> str:
    """A student in the care of a team that the agency is in, by the name it knows."""
    local = town.student()
    town.consent(local, recipient=agency, purpose=4, classes=CLASSES)
    town.call(town.PSYCH, plan.OpenPlanRequest(student={"local_id": local}, reason="RED_CASE"))
    made = town.call(town.PSYCH, team.OpenTeamRequest(student={"local_id": local})).team
    until = town.clock.now_us() + 20 * 86_400_000_000
    member = team.AddMemberRequest(
        team=made.name, recipient=agency, role=ROLES[agency], not_after_us=until, reason="TEAM"
    )
    town.call(town.PSYCH, member)
    return str(town.gate.gateway.door.students.name(agency, town.inside_id(local)))


def held(town: Any) -> list[Holding]:
    return [each for each in town.call(town.OPERATOR, ListHoldingsRequest()).holdings if each.kind == "intake"]


def listed(town: Any) -> list[str]:
    return sorted(line for each in held(town) for line in each.refused)


def today(town: Any) -> str:
    return local_date(town.clock.now_us()).isoformat()


# -- community grid -----------------------------------------------------------------------------------------------------


def visits(town: Any, *rows: tuple[str, str, str]) -> bytes:
    head = "记录编号,网格编码,学生编号,走访日期,是否见到,所见情况,关注"
    lines = [f"{record},{GRIDS[0]},{student},{today(town)},是,祖母照看,{word}" for record, student, word in rows]
    return "\n".join([head, *lines, ""]).encode()


def test_community_grid(town: Any, partners: dict[str, Any]) -> None:
    station, child = partners[GRID], known(town, GRID)
    first = [("v-1", child, ""), ("v-2", f"students/{NOBODY}", "自伤")]
    station.drop("走访.csv", visits(town, *first))
    town.intake(GRID).run_once()
    assert len(town.rows(tables.entries)) == 1
    assert listed(town) == ["走访.csv, row 3: STUDENT (2)"] and held(town)[0].tier == TIER_RED
    told = (station.outbox / "reports" / "走访.csv.csv").read_text(TEXT).splitlines()
    assert told[1].startswith('"row 3","STUDENT","no such student')
    station.drop("走访-更正.csv", visits(town, *first, ("v-3", child, "")))  # the bad row stands there as it was
    town.intake(GRID).run_once()
    assert [line.partition(":")[0] for line in listed(town)] == ["走访-更正.csv, row 3"]
    station.drop("走访-更正2.csv", visits(town, ("v-2", child, "自伤")))
    town.intake(GRID).run_once()
    assert (listed(town), len(town.rows(tables.signals))) == ([], 1)


# -- hotline ------------------------------------------------------------------------------------------------------------


def calls(town: Any, **about: str) -> bytes:
    at = from_us(town.clock.now_us() - 3_600_000_000).astimezone().isoformat(timespec="minutes")
    return sheet([{"call": "c-1", "line": "12356", "started": at, "ended": at, "topic": "suicidal", **about}])


def test_hotline(town: Any, partners: dict[str, Any]) -> None:
    centre = partners[LINE]
    centre.drop("来电.csv", calls(town, student=f"students/{NOBODY}"))
    town.intake(LINE).run_once()
    assert listed(town) == ["来电.csv, row 2: STUDENT"] and held(town)[0].tier == TIER_RED
    assert '"row 2","STUDENT",' in (centre.outbox / "reports" / "来电.csv.csv").read_text(TEXT)
    centre.drop("来电-correction.csv", calls(town, school="3205830001", name="欧阳小雨"))
    assert town.intake(LINE).run_once().rejected == []
    assert (listed(town), len(town.rows(tables.alerts))) == ([], 1)


# -- social work --------------------------------------------------------------------------------------------------------


def test_social_work(town: Any, partners: dict[str, Any]) -> None:
    agency, child = partners[AIDE], known(town, AIDE)
    head = ("编号", "日期", "个案编号", "学生代号", "主题")

    def log(*rows: tuple[str, str]) -> list[str]:
        agency.drop(
            "个案服务记录.csv", head, [(row, today(town), "c-1", student, f"同伴 {row}") for row, student in rows]
        )
        town.intake(AIDE).run_once()
        return listed(town)

    assert log(("s-1", child), ("s-2", f"students/{NOBODY}")) == ["个案服务记录.csv, row 3: STUDENT"]
    assert '"row 3","STUDENT",' in (agency.outbox / "reports" / "个案服务记录.csv.csv").read_text(TEXT)
    # The next full log leaves the bad row as it was: it is brought again, and refused again, where it now stands.
    assert log(("s-1", child), ("s-3", child), ("s-2", f"students/{NOBODY}")) == ["个案服务记录.csv, row 4: STUDENT"]
    assert log(("s-1", child), ("s-3", child), ("s-2", child)) == []
    assert len(town.rows(tables.entries)) == 3


def test_social_work_names_the_activity_that_is_refused_and_takes_those_beside_it(
    town: Any, partners: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    agency, head = partners[AIDE], ("编号", "日期", "人次")
    rows = [("m-1", "2026-09-01", "9"), ("m-2", "2026-09-02", "9"), ("m-3", "2026-09-03", "9")]
    check = "xinqiao.exchange.activities.Activities._check"
    from xinqiao.exchange.activities import Activities

    real = Activities._check

    def strict(call: Any, index: int, activity: Any, day: date) -> None:
        real(call, index, activity, date(2026, 9, 1) if activity.source.endswith("m-2") else day)

    agency.drop("联席会议.csv", head, rows)
    with monkeypatch.context() as stricter:
        stricter.setattr(check, staticmethod(strict))
        stricter.setattr("xinqiao.exchange.activities.timedelta", lambda days: date(2026, 9, 1) - date(2026, 9, 1))
        town.intake(AIDE).run_once()
    assert sorted(row["source"] for row in town.rows(tables.activities)) == ["meeting/m-1", "meeting/m-3"]
    assert listed(town) == ["联席会议.csv, row 3: DATE_RANGE"]
    agency.drop("联席会议.csv", head, [*rows, ("m-4", "2026-09-04", "9")])
    town.intake(AIDE).run_once()
    assert (listed(town), len(town.rows(tables.activities))) == ([], 4)


def test_what_an_agency_cannot_do_stays_a_persons_whatever_it_sends_next(town: Any, partners: dict[str, Any]) -> None:
    agency = partners[AIDE]
    agency.answer("tasks/t-1", "无法完成", "没有人手")
    town.intake(AIDE).run_once()
    agency.answer("tasks/t-2", "无法完成", "没有人手")
    town.intake(AIDE).run_once()
    assert [line.rpartition(": ")[2] for line in listed(town)] == ["TASK/CANNOT", "TASK/CANNOT"]


# -- youth league -------------------------------------------------------------------------------------------------------


def test_youth_league(town: Any, partners: dict[str, Any]) -> None:
    league = partners[LEAGUE]
    league.month("m-1", "2026-09", 3, -1)
    league.month("m-2", "2026-09", 1, 9)
    league.tell("tasks/none", "done")
    town.intake(LEAGUE).run_once()
    assert listed(town) == ["activities, seq 1, attendances: DATA/VALUE", "answers, seq 1: TASK"]
    league.month("m-1", "2026-09", 3, 120)
    town.intake(LEAGUE).run_once()
    assert listed(town) == ["answers, seq 1: TASK"]
    assert len(town.rows(tables.activities)) == 2


# -- women's federation -------------------------------------------------------------------------------------------------


def test_womens_federation(town: Any, partners: dict[str, Any]) -> None:
    desk, child = partners[WOMEN], known(town, WOMEN).removeprefix("students/")
    town.intake(WOMEN).run_once()
    day = date.fromisoformat(today(town))
    clerk = desk.desk()
    clerk.add(wire.VISITS, 学生编号=NOBODY, 日期=day, 类别=wire.VISIT, 情况="家里安静")
    clerk.add(wire.VISITS, 学生编号=child, 日期=day, 类别=wire.SUPPORT, 情况="送书")
    desk.send(clerk, "十一月.xlsx")
    town.intake(WOMEN).run_once()
    (line,) = listed(town)
    assert line.endswith(".xlsx, sheet 走访与支持, row 2: STUDENT")
    ((row,),) = desk.errors().values()
    assert (row["sheet"], row["row"], row["reason"]) == ("走访与支持", "2", "STUDENT")
    assert "关爱团队" in row["mend"] and NOBODY in row["typed"]
    receipt = json.loads((desk.outbox / "receipts" / "十一月.xlsx.receipt.json").read_bytes())
    assert (receipt["outcome"], receipt["refused"], receipt["errors"]) == ("partly", 1, "errors/十一月.errors.xlsx")
    clerk = desk.desk()
    clerk.add(wire.VISITS, 学生编号=child, 日期=day, 类别=wire.VISIT, 情况="家里安静")
    desk.send(clerk, "十一月-更正.xlsx")
    assert town.intake(WOMEN).run_once().rejected == []
    assert (listed(town), len(town.rows(tables.entries))) == ([], 2)
    receipt = json.loads((desk.outbox / "receipts" / "十一月-更正.xlsx.receipt.json").read_bytes())
    assert (receipt["outcome"], receipt["refused"]) == ("taken", 0)
