"""A grid station through a whole gateway: a visit task out, the phone form back, the weekly report, and a silent week."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from xinqiao.adapters.host import AdapterHost
from xinqiao.api.casefile.v1 import plan_service_pb2 as plan
from xinqiao.api.casefile.v1 import team_pb2, team_service_pb2
from xinqiao.api.screening.v1 import screening_pb2 as screening
from xinqiao.contract.clock import local_date
from xinqiao.store import tables
from xinqiao_community_grid.simulator import GRIDS, CommunityGridSimulator

GRID, CARE, GRID_ROLE = "grid", 4, 2
WEEKLY = """\
version: 1
cadences:
  grid-visit-weekly:
    names: {zh: 网格员每周走访, en: Weekly visits by grid members}
    role: GRID
    per: partner
    every: week
    school_days_only: false
    ask: OPERATOR
"""


@pytest.fixture
def station(tmp_path: Path) -> Iterator[CommunityGridSimulator]:
    simulator = CommunityGridSimulator(tmp_path / "station", source="folder", grids=[GRIDS[0]])
    yield simulator
    simulator.stop()


@pytest.fixture
def town(make_town: Callable[..., Any], station: CommunityGridSimulator) -> Iterator[Any]:
    def only_the_grid(settings: dict[str, Any]) -> None:
        settings["adapters"] = {GRID: {"adapter": "community_grid", "settings": station.start()}}

    host = AdapterHost.load(["community_grid"])
    with make_town(listen=False, change=only_the_grid, host=host, cadence=WEEKLY) as made:
        yield made


def reports(town: Any) -> list[tuple[str, int]]:
    town.gate.gateway.reports.tick(town.gate.gateway.store)
    rows = sorted(town.rows(tables.expected_reports), key=lambda row: row["period"])
    return [(row["period"], row["state"]) for row in rows]


def assigned(town: Any) -> tuple[str, Any]:
    """A student with a team and a task that the grid holds."""
    local = town.student(
        phone="13800000001", guardians=[{"full_name": "欧阳敏", "relation": "mother", "phone": "13800000002"}]
    )
    town.consent(local, recipient=GRID, purpose=CARE, classes=[2, 3, 4, 13])
    town.call(town.PSYCH, plan.OpenPlanRequest(student={"local_id": local}, reason="RED_CASE"))
    team = town.call(town.PSYCH, team_service_pb2.OpenTeamRequest(student={"local_id": local})).team
    until = town.clock.now_us() + 20 * 86_400_000_000
    member = {"recipient": GRID, "role": GRID_ROLE, "not_after_us": until, "reason": "TEAM"}
    town.call(town.PSYCH, team_service_pb2.AddMemberRequest(team=team.name, **member))
    due = town.clock.now_us() + 3 * 86_400_000_000
    assign = team_service_pb2.AssignTaskRequest(team=team.name, holder=GRID, due_us=due, what="每周上门，问问睡眠")
    task = town.call(town.PSYCH, assign).task
    town.deliver_all()
    return local, task


def test_a_task_goes_out_and_the_phone_form_brings_visit_task_signal_and_report_back(
    town: Any, station: CommunityGridSimulator
) -> None:
    assert reports(town) == [("2026-W42", screening.REPORT_STATE_DUE)]
    local, task = assigned(town)
    ((name, form),) = station.forms().items()
    (shown,) = form["tasks"]
    assert (shown["task"], shown["family"], shown["what"]) == (task.name, "欧阳", "每周上门，问问睡眠")
    assert "13800000002" not in (station.outbox / "forms" / name).read_text("utf-8")
    assert "13800000002" in next((station.outbox / "tasks").iterdir()).read_text("utf-8-sig")

    day = local_date(town.clock.now_us()).isoformat()
    visit = {"record": "f-1", "student": shown["student"], "task": task.name, "day": day, "met": "yes", "observed": "话少",
             "concern": "concern"}  # fmt: skip
    form |= {"week": "2026-W42", "ticket": _adapter(town).ticket(GRIDS[0], "2026-W42")}
    station.drop("back.json", station.fill(form, [visit], {"nil": "no", "seen": 1, "concerns": 1}))
    town.gate.gateway.read_all()
    known = town.inside_id(local)
    (signal,) = town.rows(tables.signals, student=known)
    assert int(signal["source"]) == screening.SIGNAL_SOURCE_GRID_MEMBER
    assert len(town.rows(tables.entries, student=known)) == 1
    assert town.rows(tables.tasks, student=known)[0]["state"] == team_pb2.TASK_STATE_DONE
    assert town.journal(kind="intake.rejected") == []
    assert reports(town) == [("2026-W42", screening.REPORT_STATE_RECEIVED)]


def test_a_week_in_which_the_grid_is_silent_is_held_and_a_late_report_ends_that(
    town: Any, station: CommunityGridSimulator
) -> None:
    reports(town)
    town.gate.gateway.read_all()
    town.clock.advance(timedelta(days=7))
    town.gate.gateway.read_all()
    assert reports(town) == [("2026-W42", screening.REPORT_STATE_MISSED), ("2026-W43", screening.REPORT_STATE_DUE)]
    (held,) = town.rows(tables.holdings, kind="report")
    assert (held["holder"], held["step"]) == (town.OPERATOR, "ask")
    station.week(GRIDS[0], "2026-W42", seen=0)
    town.gate.gateway.read_all()
    assert reports(town)[0] == ("2026-W42", screening.REPORT_STATE_RECEIVED)
    assert town.rows(tables.holdings, kind="report") == []


def test_a_visit_to_a_child_the_grid_was_never_given_is_refused_named_and_told_to_the_station(
    town: Any, station: CommunityGridSimulator
) -> None:
    station.visit(
        "v-1", "students/" + "a" * 26, day=local_date(town.clock.now_us()).isoformat(), observed="CANARY-SEEN"
    )
    town.gate.gateway.read_all()
    (row,) = town.journal(kind="intake.rejected")
    assert row["reason"] == "STUDENT:1"
    report = next((station.outbox / "reports").iterdir()).read_text("utf-8-sig")
    assert "STUDENT" in report
    assert "CANARY" not in report
    assert town.rows(tables.holdings, kind="intake")


def _adapter(town: Any) -> Any:
    """The adapter inside, for the ticket of a week by the town's clock; its forms follow the machine's."""
    return town.gate.gateway.host.agencies[GRID]._adapter
