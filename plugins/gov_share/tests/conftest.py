from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from plugins.gov_share.tests.desk import START, Desk

from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.api.common.v1.options_pb2 import LANE_ROUTINE
from xinqiao.api.common.v1.types_pb2 import Guardian, Sex, Student, Tier
from xinqiao.api.referral.v1.referral_pb2 import Referral, ReferralPackage, Urgency
from xinqiao.contract.clock import ManualClock

OpenDesk = Callable[..., Desk]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime.fromtimestamp(START, UTC))


@pytest.fixture
def open_desk(tmp_path: Path, clock: ManualClock) -> Iterator[OpenDesk]:
    made: list[Desk] = []

    def make(**words: Any) -> Desk:
        made.append(Desk(tmp_path, clock, **words))
        return made[-1]

    yield make
    for desk in made:
        desk.close()


@pytest.fixture
def desk(open_desk: OpenDesk) -> Desk:
    return open_desk()


@pytest.fixture
def referral() -> DeliverRequest:
    return DeliverRequest(
        request_id="delivery-0001",
        lane=LANE_ROUTINE,
        attempt=1,
        referral=ReferralPackage(
            referral=Referral(
                name="referrals/r1", student="students/" + "a" * 26, sender="no1-middle", recipient="womens-federation",
                tier=Tier.TIER_YELLOW, urgency=Urgency.URGENCY_ROUTINE, reason="家庭冲突，需要家庭教育指导",
            ),
            student=Student(
                name="students/" + "a" * 26, family_name="欧阳", given_name="小雨", birth_date="2011-03-09",
                sex=Sex.SEX_FEMALE, phone="13800000001",
                guardians=[Guardian(full_name="李梅", relation="mother", phone="13800000002")],
            ),
            sender_title="市第一中学",
        ),
    )  # fmt: skip
