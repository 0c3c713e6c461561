from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from plugins.police.tests.door import Door

from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.api.common.v1.types_pb2 import Guardian, Sex, Student
from xinqiao.api.referral.v1.notice_pb2 import PoliceReport
from xinqiao.api.referral.v1.referral_pb2 import BasisCitation, Referral, ReferralPackage, Urgency
from xinqiao_police.simulator import Centre110

CREATED = 1_791_190_800_000_000  # 2026-10-05 17:00 in Beijing


@pytest.fixture(params=["json", "cap"])
def wire(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def open_door(tmp_path: Path) -> Iterator[Callable[..., Door]]:
    made: list[Door] = []

    def make(wire: Any = "json", **more: Any) -> Door:
        made.append(Door(Centre110(tmp_path / f"centre-{len(made)}", wire=wire), tmp_path / f"g-{len(made)}", **more))
        return made[-1]

    yield make
    for door in made:
        door.adapter.close()
        door.centre.stop()


@pytest.fixture
def door(open_door: Callable[..., Door], wire: str) -> Door:
    """A gateway and a centre that agreed on either wire."""
    return open_door(wire)


@pytest.fixture
def rescue() -> DeliverRequest:
    """A rescue as it is released to the police."""
    student = Student(
        name="students/" + "a" * 26, family_name="欧阳", given_name="小雨", sex=Sex.SEX_FEMALE, birth_date="2011-03-09",
        phone="13800000001",
        guardians=[
            Guardian(full_name="李梅", relation="mother", phone="13800000002"),
            Guardian(full_name="欧阳刚", relation="father", phone="13800000003", in_conflict=True),
        ],
    )  # fmt: skip
    referral = Referral(
        name="referrals/r1", student=student.name, urgency=Urgency.URGENCY_EMERGENCY, crisis_facts="在大桥上 <say> & wait",
        location="大桥南侧", create_time_us=CREATED, state=2,
    )  # fmt: skip
    basis = BasisCitation(id="life-safety", citation="个人信息保护法 第十三条", version="2021-11-01")
    package = ReferralPackage(referral=referral, student=student, basis=basis, sender_title="市第一中学")
    return DeliverRequest(request_id="referrals.r1.v2.police", lane=2, attempt=1, referral=package)


@pytest.fixture
def escort(rescue: DeliverRequest) -> DeliverRequest:
    report = PoliceReport(
        notice="notices/n1",
        student=rescue.referral.student,
        crisis_facts="说要跳楼",
        location="家中",
        citation="第二十三条",
    )
    return DeliverRequest(request_id="notices.n1.report", lane=2, attempt=1, police_report=report)
