from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from plugins.hospital.tests.door import Door

from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.transport import HttpTransport
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.api.common.v1.types_pb2 import Guardian, Sex, Student, Tier
from xinqiao.api.referral.v1.referral_pb2 import ConsentEvidence, Referral, ReferralPackage, Urgency
from xinqiao.api.screening.v1.screening_pb2 import Assessment, Score
from xinqiao.config import Secret
from xinqiao_hospital.adapter import HospitalAdapter
from xinqiao_hospital.settings import HospitalSettings, hosts
from xinqiao_hospital.simulator import HospitalSimulator

_DAY_US = 86_400_000_000
_CREATED = 1_791_190_800_000_000  # 2026-10-05 17:00 in Beijing

AdapterFor = Callable[..., HospitalAdapter]


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[HospitalSimulator]:
    simulator = HospitalSimulator(tmp_path / "hospital")
    yield simulator
    simulator.stop()


@pytest.fixture
def adapter_for(tmp_path: Path) -> AdapterFor:
    def make(simulator: HospitalSimulator, token: str | None = None) -> HospitalAdapter:
        secret = Secret("file", str(tmp_path / "token")) if token else None
        if token:
            (tmp_path / "token").touch(mode=0o600)
            (tmp_path / "token").write_text(token)
        return adapter_on(HospitalSettings.model_validate({**simulator.start(), "token": secret}), tmp_path)

    return make


def adapter_on(settings: HospitalSettings, folder: Path) -> HospitalAdapter:
    names = {"zh": "市精神卫生中心", "en": "City mental health centre"}
    context = AgencyContext("city-hospital", names, "test", HttpTransport(hosts(settings)), folder)
    return HospitalAdapter(settings, context)


@pytest.fixture
def package() -> ReferralPackage:
    """A referral with everything a hospital may see."""
    return ReferralPackage(
        referral=Referral(
            name="referrals/r1",
            student="students/" + "a" * 26,
            sender="no1-middle",
            recipient="city-hospital",
            tier=Tier.TIER_RED,
            urgency=Urgency.URGENCY_EMERGENCY,
            reason="量表提示重度抑郁，有自伤想法",
            crisis_facts="前日写过告别信",
            create_time_us=_CREATED,
            note="私密咨询记录",
        ),
        student=Student(
            name="students/" + "a" * 26,
            local_id="2026-0417",
            family_name="欧阳",
            given_name="小雨",
            birth_date="2011-03-09",
            sex=Sex.SEX_FEMALE,
            national_id="11010519491231002X",
            phone="13800000001",
            guardians=[
                Guardian(full_name="李梅", relation="mother", phone="13800000002"),
                Guardian(full_name="欧阳刚", relation="father", phone="13800000003", in_conflict=True),
            ],
        ),
        assessments=[
            Assessment(
                name="assessments/p1",
                instrument="PHQ-9",
                taken_on="2026-10-04",
                answers=bytes([2, 2, 3, 3, 3, 2, 1, 2, 1]),
                scores=[Score(id="total", value=19)],
                complete=True,
            ),
            Assessment(
                name="assessments/g1",
                instrument="GAD-7",
                taken_on="2026-10-04",
                answers=bytes([1, 1, 255, 3, 2, 2, 1]),
                scores=[Score(id="total")],
            ),
        ],
        consent=ConsentEvidence(
            consent="consents/c1", given_us=_CREATED, expires_us=_CREATED + 365 * _DAY_US, signed_by="both"
        ),
        sender_title="市第一中学",
    )


@pytest.fixture
def request_(package: ReferralPackage) -> DeliverRequest:
    return DeliverRequest(request_id="delivery-0001", attempt=1, referral=package)


@pytest.fixture
def open_door(hospital: HospitalSimulator, tmp_path: Path) -> Iterator[Callable[..., Door]]:
    made: list[Door] = []

    def make(**more: Any) -> Door:
        made.append(Door(hospital, tmp_path / "gateway", **more))
        return made[-1]

    yield make
    for door in made:
        door.adapter.close()


@pytest.fixture
def door(open_door: Callable[..., Door], request_: DeliverRequest) -> Door:
    """The referral was delivered: the hospital has it as Task/1."""
    door = open_door()
    door.adapter.deliver(request_, 5)
    door.read()
    return door
