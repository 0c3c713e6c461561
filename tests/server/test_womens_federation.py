"""A women's federation with its real adapter: consent, referral, workbook, clerk, and back into the gateway."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from xinqiao.adapters.host import AdapterHost
from xinqiao.api.casefile.v1.plan_service_pb2 import ListEntriesRequest, OpenPlanRequest
from xinqiao.api.casefile.v1.sharing_pb2 import MEMBER_ROLE_WOMENS_FEDERATION as ROLE
from xinqiao.api.casefile.v1.team_service_pb2 import AddMemberRequest, OpenTeamRequest
from xinqiao.api.exchange.v1.activity_service_pb2 import ListActivitiesRequest
from xinqiao.api.referral.v1 import referral_pb2
from xinqiao.api.referral.v1.referral_service_pb2 import GetReferralRequest
from xinqiao_womens_federation import wire
from xinqiao_womens_federation.simulator import FederationSimulator

WOMEN, CARE = "womens-federation", 4
DAY = date(2026, 10, 12)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[FederationSimulator]:
    made = FederationSimulator(tmp_path / "federation")
    yield made
    made.stop()


@pytest.fixture
def town(make_town: Any, desk: FederationSimulator, database: str) -> Iterator[Any]:
    def adapters(settings: dict[str, Any]) -> None:
        settings["adapters"] = {WOMEN: {"adapter": "womens_federation", "settings": desk.start()}}

    host = AdapterHost.load(["womens_federation"])
    with make_town(database, listen=False, change=adapters, host=host) as made:
        yield made


def referred(town: Any) -> tuple[str, str]:
    local = town.student()
    town.consent(local, recipient=WOMEN, purpose=CARE, classes=[2, 3, 4, 13])
    name = town.refer(local, recipient=WOMEN, reason="CLINICAL", support="每周入户一次").referral.name
    # A referral lets them answer it; visits are recorded by members of the care team.
    team = town.call(town.PSYCH, open_team(town, local)).team
    until = town.clock.now_us() + 20 * 86_400_000_000
    member = AddMemberRequest(team=team.name, recipient=WOMEN, role=ROLE, not_after_us=until, reason="TEAM")
    town.call(town.PSYCH, member)
    town.deliver_all()
    return local, name


def open_team(town: Any, local: str) -> OpenTeamRequest:
    town.call(town.PSYCH, OpenPlanRequest(student={"local_id": local}, reason="RED_CASE"))
    return OpenTeamRequest(student={"local_id": local})


def test_a_month_with_the_womens_federation(town: Any, desk: FederationSimulator) -> None:
    local, name = referred(town)
    clerk = desk.desk()
    (row,) = clerk.rows(wire.REFERRALS)
    assert (row["转介编号"], row["需要的支持"], row["姓名"][:2]) == (name, "每周入户一次", "欧阳")
    assert "CLINICAL" not in str(clerk.rows(wire.REFERRALS))
    clerk.answer(wire.REFERRALS, name, {"办理": wire.DONE, "办理情况": "家长参加了两次课程"})
    clerk.add(
        wire.ACTIVITIES, 活动编号="A-1", 日期=DAY, 类别="家庭教育指导 Family education", 对象="家长 Parents", 人次=30
    )
    clerk.add(wire.VISITS, 学生编号=row["学生编号"], 日期=DAY, 类别=wire.VISIT, 情况="家里安静")
    clerk.add(wire.VISITS, 学生编号="z" * 26, 日期=DAY, 类别=wire.VISIT, 情况="没有这个学生")
    clerk.add(wire.VISITS, 学生编号=row["学生编号"], 日期="十月", 类别=wire.SUPPORT, 情况="送书")
    desk.send(clerk, "oct.xlsx")
    tally = town.intake(WOMEN).run_once()
    assert (
        town.call(town.PSYCH, GetReferralRequest(name=name)).referral.state
        == referral_pb2.REFERRAL_STATE_OUTCOME_REPORTED
    )
    (activity,) = town.call(WOMEN, ListActivitiesRequest()).activities
    assert (activity.source, activity.attendances) == ("A-1", 30)
    (entry,) = town.call(town.PSYCH, ListEntriesRequest(student={"local_id": local})).entries
    assert (entry.home_visit.observed, entry.author) == ("家里安静", WOMEN)
    assert sorted(item.reason for item in tally.rejected) == ["DATA/DATE", "STUDENT"]
    told = desk.errors()["oct.errors.xlsx"]
    assert sorted(each["reason"] for each in told) == ["DATA/DATE", "STUDENT"]
    again = town.intake(WOMEN).run_once()
    assert (again.updates, again.rejected) == (0, [])


def test_the_same_rows_in_another_file_change_nothing(town: Any, desk: FederationSimulator) -> None:
    local, name = referred(town)
    clerk = desk.desk()
    code = clerk.rows(wire.REFERRALS)[0]["学生编号"]
    clerk.answer(wire.REFERRALS, name, {"办理": wire.ACCEPT})
    clerk.add(wire.VISITS, 学生编号=code, 日期=DAY, 类别=wire.SUPPORT, 情况="送书")
    desk.send(clerk, "one.xlsx")
    town.intake(WOMEN).run_once()
    clerk.add(wire.VISITS, 学生编号=code, 日期=DAY, 类别=wire.SUPPORT, 情况="第二次")
    desk.send(clerk, "two.xlsx")
    assert town.intake(WOMEN).run_once().rejected == []
    entries = town.call(town.PSYCH, ListEntriesRequest(student={"local_id": local})).entries
    assert sorted(entry.support.what for entry in entries) == ["第二次", "送书"]
    history = town.call(town.PSYCH, GetReferralRequest(name=name)).referral.history
    assert [change.event for change in history].count(referral_pb2.REFERRAL_EVENT_ACCEPT) == 1
