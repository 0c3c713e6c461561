"""A family-support referral through a whole gateway and the platform: accepted, or refused with its article."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from xinqiao.adapters.host import AdapterHost
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReferralUpdate
from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao.api.referral.v1 import referral_service_pb2 as rpc
from xinqiao.config import Secret
from xinqiao_gov_share.faults import FaultScript
from xinqiao_gov_share.simulator import GovShareSimulator

WOMEN, CARE = "womens-federation", 4


def _tagged(dumper: yaml.SafeDumper, secret: Secret) -> yaml.ScalarNode:
    tag, name = repr(secret).split(" ", 1)
    return yaml.ScalarNode(tag, name)


yaml.SafeDumper.add_representer(Secret, _tagged)


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[GovShareSimulator]:
    simulator = GovShareSimulator(tmp_path / "platform")
    yield simulator
    simulator.stop()


@pytest.fixture
def town(make_town: Callable[..., Any], platform: GovShareSimulator) -> Iterator[Any]:
    def behind_the_platform(settings: dict[str, Any]) -> None:
        settings["adapters"] = {WOMEN: {"adapter": "gov_share", "settings": platform.start()}}

    with make_town(listen=False, change=behind_the_platform, host=AdapterHost.load(["gov_share"])) as made:
        yield made


def sent(town: Any) -> str:
    local = town.student()
    town.consent(local, recipient=WOMEN, purpose=CARE, classes=[2, 3, 4, 13])
    made = town.refer(local, recipient=WOMEN, reason="CLINICAL", support="每周入户一次").referral
    town.deliver_all()
    return str(made.name)


def state(town: Any, name: str) -> int:
    return int(town.call(town.PSYCH, rpc.GetReferralRequest(name=name)).referral.state)


def test_a_referral_is_accepted_attended_and_reported_through_the_platform(
    town: Any, platform: GovShareSimulator
) -> None:
    name = sent(town)
    (ticket,) = platform.platform.tickets
    carried = platform.platform.opened(ticket["ticket"])
    assert "每周入户一次" in carried.decode()
    assert b"CLINICAL" not in carried
    assert "assessments" not in json.loads(carried)
    there = json.loads(carried)["referral"]["name"]
    platform.platform.process(ticket["ticket"])
    for event in (ref.REFERRAL_EVENT_ACCEPT, ref.REFERRAL_EVENT_SCHEDULE, ref.REFERRAL_EVENT_ATTEND):
        update = ReferralUpdate(referral=there, event=event)
        if event == ref.REFERRAL_EVENT_SCHEDULE:
            update.appointment_us = town.clock.now_us() + 10**9
        platform.platform.answer(ticket["ticket"], "referral", update)
    platform.inject(FaultScript("unavailable"))
    town.gate.gateway.read_all()
    town.gate.gateway.read_all()
    assert state(town, name) == ref.REFERRAL_STATE_ATTENDED
    assert town.journal(kind="intake.rejected") == []


def test_a_refusal_hands_the_referral_back_and_is_in_somebodys_hands(town: Any, platform: GovShareSimulator) -> None:
    name = sent(town)
    platform.platform.refuse(platform.platform.tickets[0]["ticket"], "NO_DUTY", article=22)
    town.gate.gateway.read_all()
    assert state(town, name) == ref.REFERRAL_STATE_DECLINED
    (row,) = town.journal(kind="intake.rejected")
    assert row["reason"] == "GOV_SHARE/REFUSED_NO_DUTY:1"
    assert "第22条" in town.call(town.PSYCH, rpc.GetReferralRequest(name=name)).referral.state_reason
