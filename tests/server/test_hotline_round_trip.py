"""A helpline centre through a whole gateway: a described child found or asked about, counts, a call-back and its closure."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from xinqiao.adapters.host import AdapterHost
from xinqiao.api.casefile.v1 import plan_service_pb2 as plan
from xinqiao.api.casefile.v1 import team_pb2, team_service_pb2
from xinqiao.api.screening.v1 import screening_pb2 as screening
from xinqiao.contract.clock import BEIJING, SystemClock, from_us
from xinqiao.store import tables
from xinqiao_hotline import adapter as hotline_adapter
from xinqiao_hotline.simulator import HotlineSimulator

HOTLINE, CARE, MEMBER = "hotline", 4, 11


@pytest.fixture(params=["folder", "rest"])
def centre(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HotlineSimulator]:
    simulator = HotlineSimulator(tmp_path / "centre", source=request.param)
    yield simulator
    simulator.stop()


@pytest.fixture
def town(make_town: Callable[..., Any], centre: HotlineSimulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def only_the_hotline(settings: dict[str, Any]) -> None:
        settings["adapters"] = {HOTLINE: {"adapter": "hotline", "settings": centre.start()}}

    clocks: list[Any] = []
    monkeypatch.setattr(hotline_adapter, "SystemClock", lambda: _Late(clocks))
    with make_town(listen=False, change=only_the_hotline, host=AdapterHost.load(["hotline"])) as made:
        clocks.append(made.clock)
        yield made


class _Late:
    """The town's clock, for an adapter that is made before the town says which that is."""

    def __init__(self, clocks: list[Any]) -> None:
        self._clocks = clocks

    def now_us(self) -> int:
        return int(self._clocks[0].now_us()) if self._clocks else SystemClock().now_us()

    def monotonic(self) -> float:
        return SystemClock().monotonic()


def moment(town: Any, **before: int) -> Any:
    return from_us(town.clock.now_us()).astimezone(BEIJING).replace(second=0, microsecond=0) - timedelta(**before)


def test_a_described_child_is_found_or_held_for_a_person_and_the_calls_are_counted(
    town: Any, centre: HotlineSimulator
) -> None:
    local = town.student(family_name="欧阳", given_name="小雨", born="2011-05-04")
    told = {"school": "3205830001", "name": "欧阳小雨", "birth_date": "2011-05-04"}
    centre.call("c-1", moment(town, hours=3), topic="self_harm", caller="parent", **told)
    centre.call("c-2", moment(town, hours=2), topic="suicidal", name="某同学")
    centre.call("c-3", moment(town, hours=1))
    for _ in range(2):
        town.gate.gateway.read_all()
    (signal,) = town.rows(tables.signals, student=town.inside_id(local))
    assert int(signal["source"]) == screening.SIGNAL_SOURCE_HOTLINE
    states = sorted(row["state"] for row in town.rows(tables.alerts))
    assert len(states) == 2
    assert len(town.rows(tables.holdings, kind="alert")) == 1
    counted = {
        (row["source"][-6:], row["times"], row["crisis"]) for row in town.rows(tables.activities, agency=HOTLINE)
    }
    assert {(times, bool(crisis)) for _, times, crisis in counted} == {(1, False), (2, True)}
    assert town.journal(kind="intake.rejected") == []


def test_a_call_back_goes_out_and_its_closure_ends_the_task(town: Any, centre: HotlineSimulator) -> None:
    local = town.student()
    name = task(town, local)
    town.deliver_all()
    centre.call("c-1", moment(town, minutes=40), task=name, closed="否", outcome="not_reached")
    town.gate.gateway.read_all()
    assert town.rows(tables.tasks, student=town.inside_id(local))[0]["state"] == team_pb2.TASK_STATE_OPEN
    centre.call("c-2", moment(town, minutes=20), task=name, closed="是", outcome="counselled")
    town.gate.gateway.read_all()
    assert town.rows(tables.tasks, student=town.inside_id(local))[0]["state"] == team_pb2.TASK_STATE_DONE
    assert town.journal(kind="intake.rejected") == []


def test_a_call_back_that_stays_open_is_on_record_and_in_somebodys_hands(town: Any, centre: HotlineSimulator) -> None:
    task(town, town.student())
    town.deliver_all()
    town.clock.advance(timedelta(days=8))
    for _ in range(3):
        town.gate.gateway.read_all()
    assert [row["reason"] for row in town.journal(kind="intake.rejected")] == ["CALLBACK_OPEN:1"]
    assert len(town.rows(tables.holdings, kind="intake")) == 1


def task(town: Any, local: str) -> str:
    town.consent(local, recipient=HOTLINE, purpose=CARE, classes=[2, 3, 4, 13])
    town.call(town.PSYCH, plan.OpenPlanRequest(student={"local_id": local}, reason="RED_CASE"))
    team = town.call(town.PSYCH, team_service_pb2.OpenTeamRequest(student={"local_id": local})).team
    until = town.clock.now_us() + 20 * 86_400_000_000
    member = {"recipient": HOTLINE, "role": MEMBER, "not_after_us": until, "reason": "TEAM"}
    town.call(town.PSYCH, team_service_pb2.AddMemberRequest(team=team.name, **member))
    due = town.clock.now_us() + 3 * 86_400_000_000
    assign = team_service_pb2.AssignTaskRequest(team=team.name, holder=HOTLINE, due_us=due, what="三天内回访")
    return str(town.call(town.PSYCH, assign).task.name)
