"""What a school's platform drops beside forms, through a whole gateway: attendance to the plan, the class's weekly check."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from xinqiao.adapters.host import AdapterHost
from xinqiao.api.casefile.v1 import plan_service_pb2 as plan
from xinqiao.api.common.v1.types_pb2 import StudentRef
from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao.store import tables

CADENCE = """\
version: 1
cadences:
  class-teacher-weekly:
    names: {zh: 班主任每周排查, en: Weekly check by class teachers}
    role: SCHOOL_PLATFORM
    every: week
    ask_within: P1D
    units: {"3205830001": [七年级1班, 七年级2班]}
"""


@pytest.fixture
def town(make_town: Callable[..., Any], tmp_path: Path) -> Iterator[Any]:
    for name in ("inbox", "outbox"):
        (tmp_path / name).mkdir()

    def with_a_platform(settings: dict[str, Any]) -> None:
        about = {"inbox": str(tmp_path / "inbox"), "outbox": str(tmp_path / "outbox"), "school": "3205830001"}
        settings["adapters"] = {"kunshan-no1-middle": {"adapter": "school", "settings": about}}

    with make_town(listen=False, cadence=CADENCE, change=with_a_platform, host=AdapterHost.load(["school"])) as made:
        yield made


def test_the_weekly_check_of_a_class_settles_what_that_class_owes(town: Any, tmp_path: Path) -> None:
    town.gate.gateway.reports.tick(town.gate.gateway.store)
    table = "class,period,students_seen,concerns,nil\n七年级1班,2026-W42,45,0,是\n七年级9班,2026-W42,45,0,是\n"
    (tmp_path / "inbox" / "sweep-1.csv").write_text(table, "utf-8")
    tally = town.intake(town.SCHOOL).run_once()
    assert (tally.updates, [item.reason for item in tally.rejected]) == (1, ["REPORT"])
    rows = town.rows(tables.expected_reports, subject="3205830001", period="2026-W42")
    assert {row["unit"]: (row["state"], row["students_seen"]) for row in rows} == {
        "七年级1班": (pb.REPORT_STATE_RECEIVED, 45),
        "七年级2班": (pb.REPORT_STATE_DUE, 0),
    }


def test_attendance_stands_in_the_plan_and_needs_one(town: Any, tmp_path: Path) -> None:
    planned, other = town.student(), town.student()
    town.call(town.PSYCH, plan.OpenPlanRequest(student=StudentRef(local_id=planned), reason="RED_CASE"))
    head, tail = "student_id,from,to,school_days,absent,sick", "2026-09-01,2026-09-30,20,5,2"
    (tmp_path / "inbox" / "attendance-09.csv").write_text(f"{head}\n{planned},{tail}\n{other},{tail}\n", "utf-8")
    tally = town.intake(town.SCHOOL).run_once()
    assert (tally.updates, [item.reason for item in tally.rejected]) == (1, ["NO_PLAN"])
