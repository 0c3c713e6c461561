"""The police and the whole gateway: a pushed alert becomes a signal with a holder, a rescue goes out and is answered."""

import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from xinqiao.adapters.host import AdapterHost
from xinqiao.api.referral.v1 import notice_service_pb2 as notices
from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao.api.referral.v1 import referral_service_pb2 as rpc
from xinqiao.api.screening.v1 import screening_service_pb2 as screening
from xinqiao.config import Secret
from xinqiao.store import tables
from xinqiao_police.faults import FaultScript
from xinqiao_police.handoff import CallFacts
from xinqiao_police.simulator import Centre110

POLICE, SCHOOL = "police", "3205830001"
MARK = "桥上独行QZX"


@pytest.fixture(params=["json", "cap"])
def centre(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Centre110]:
    simulator = Centre110(tmp_path / "centre", wire=request.param)
    yield simulator
    simulator.stop()


def settings_of(centre: Centre110, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What an adapter of this centre is configured with, its secrets written as an admin writes them."""
    started: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in centre.start().items()
    }

    class Dumper(yaml.SafeDumper):
        pass

    Dumper.add_representer(Secret, lambda dumper, secret: dumper.represent_scalar("!file", repr(secret).split()[1]))
    monkeypatch.setattr(yaml, "safe_dump", lambda data, **words: yaml.dump(data, Dumper=Dumper, **words))
    return started


@pytest.fixture
def town(make_town: Callable[..., Any], centre: Centre110, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    started = settings_of(centre, monkeypatch)

    def only_the_police(settings: dict[str, Any]) -> None:
        settings["adapters"] = {POLICE: {"adapter": "police", "settings": started}}

    with make_town(listen=True, change=only_the_police, host=AdapterHost.load(["police"])) as made:
        adapter: Any = made.gate.gateway.host.agencies[POLICE]._adapter
        centre.connect(adapter.address)
        yield made


def child(town: Any) -> tuple[str, dict[str, str]]:
    local = town.student(given_name="桥生", born="2011-03-09", phone="13800000001")
    return local, {"school_code": SCHOOL, "full_name": "欧阳桥生", "birth_date": "2011-03-09"}


def test_an_alert_about_a_child_who_is_known_is_a_red_signal_with_a_holder_and_a_clock(
    town: Any, centre: Centre110
) -> None:
    local, described = child(town)
    centre.inject(FaultScript("duplicate"))
    answer = centre.alert("J-1", kind="SUICIDAL", facts=MARK, location="人民桥", student=described)
    assert answer.status == 200  # the second of the two
    for _ in range(3):
        town.gate.gateway.read_all()
    (signal,) = town.rows(tables.signals, student=town.inside_id(local))
    (held,) = town.rows(tables.holdings, item=f"signals/{signal['id']}")
    assert (held["holder"], held["tier"]) == (town.PSYCH, 4)
    (shown,) = town.call(town.PSYCH, screening.ListSignalsRequest()).signals
    assert MARK in shown.facts
    assert (shown.source, shown.location) == (6, "人民桥")
    adapter: Any = town.gate.gateway.host.agencies[POLICE]._adapter
    assert adapter._inbox._spool.pending() == []


def test_an_alert_about_a_child_nobody_can_tell_waits_for_a_person_of_that_school(town: Any, centre: Centre110) -> None:
    child(town)
    centre.alert("J-1", kind="SUICIDAL", facts=MARK, student={"school_code": SCHOOL, "full_name": "欧阳桥生"})
    centre.alert("J-2", kind="SELF_HARM", facts=MARK, student={"district": "320505"})
    town.gate.gateway.read_all()
    holders = sorted(row["holder"] for row in town.rows(tables.holdings, kind="alert"))
    assert holders == sorted([town.PSYCH, town.OPERATOR])


def test_the_centre_is_told_once_a_person_has_taken_its_alert_and_nothing_of_whom(town: Any, centre: Centre110) -> None:
    _, described = child(town)
    centre.alert("J-1", kind="SUICIDAL", facts=MARK, student=described)
    centre.alert("J-2", kind="SUICIDAL", facts=MARK, student={"school_code": SCHOOL, "full_name": "某某"})
    town.gate.gateway.read_all()
    town.deliver_all()
    assert centre.received == []  # a machine's match is no person
    (signal,) = town.call(town.PSYCH, screening.ListSignalsRequest()).signals
    town.call(town.PSYCH, screening.AcknowledgeSignalRequest(name=signal.name))
    (waiting,) = (each for each in town.call(town.PSYCH, screening.ListAlertsRequest()).alerts if each.state == 1)
    town.call(town.PSYCH, screening.PassAlertRequest(name=waiting.name, reason="NOT_FOUND_HERE"))
    town.deliver_all()
    said = centre.received
    assert [(each.type, each.data["alert"]) for each in said] == [("alert.taken", "J-1"), ("alert.taken", "J-2")]
    for each in said:
        assert not {"student", "facts", "location"} & set(each.data)


def test_a_call_handed_on_brings_where_the_caller_is(town: Any, centre: Centre110) -> None:
    _, described = child(town)
    call = CallFacts("J-9", "13912345678", "大桥南侧", "GNSS", line="12355")
    assert centre.hand_off("J-9", call, kind="SUICIDAL", facts=MARK, student=described).status == 202
    town.gate.gateway.read_all()
    (shown,) = town.call(town.PSYCH, screening.ListSignalsRequest()).signals
    assert (shown.location, "satellite" in shown.facts) == ("大桥南侧", True)


def test_a_rescue_goes_out_once_and_each_step_of_the_police_comes_back(town: Any, centre: Centre110) -> None:
    local = town.student(guardians=[{"full_name": "欧阳敏", "relation": "mother", "phone": "13800000000"}])
    town.submit(local)
    words = {"recipient": POLICE, "urgency": ref.URGENCY_EMERGENCY, "crisis_facts": "在桥上", "location": "大桥"}
    name = town.refer(local, basis="life-safety", reason="CLINICAL", **words).referral.name
    centre.inject(FaultScript("drop_after"))
    for _ in range(4):
        town.deliver_all()
        town.clock.advance(timedelta(minutes=6))
    (body,) = centre.raw()
    assert b"CLINICAL" not in body and b"PHQ" not in body
    (said,) = centre.received
    assert (said.type, said.data["facts"], said.data["location"]) == ("rescue.requested", "在桥上", "大桥")
    there = said.data["request"]
    centre.answer(there, "accepted", sequence=2)  # overtakes
    centre.answer(there, "received", sequence=1)
    centre.answer(there, "arrived", sequence=3)
    centre.answer(there, "closed", "已找到，交给监护人", sequence=4)
    town.gate.gateway.read_all()
    shown = town.call(town.PSYCH, rpc.GetReferralRequest(name=name)).referral
    assert shown.state == ref.REFERRAL_STATE_OUTCOME_REPORTED
    assert shown.outcome.school_advice == "已找到，交给监护人"
    assert town.journal(kind="intake.rejected") == []


def test_where_the_answer_was_lost_the_centres_own_word_stops_the_clock(town: Any, centre: Centre110) -> None:
    local = town.student()
    words = {"recipient": POLICE, "urgency": ref.URGENCY_EMERGENCY, "crisis_facts": "在桥上", "location": "大桥"}
    name = town.refer(local, basis="life-safety", **words).referral.name
    centre.inject(FaultScript("drop_after"))
    town.deliver(2)
    before = town.call(town.PSYCH, rpc.GetReferralRequest(name=name)).referral.state
    centre.answer(centre.received[0].data["request"], "received", sequence=1)
    town.gate.gateway.read_all()
    after = town.call(town.PSYCH, rpc.GetReferralRequest(name=name)).referral.state
    assert (before, after) == (ref.REFERRAL_STATE_SENT, ref.REFERRAL_STATE_RECEIVED)
    assert town.journal(kind="intake.rejected") == []


def test_a_request_of_another_partner_or_of_nobody_changes_nothing_and_is_shown_to_a_person(
    town: Any, centre: Centre110
) -> None:
    local = town.student()
    town.consent(local)
    before = town.refer(local).referral
    centre.answer(before.name, "accepted")
    centre.answer("referrals/nobody", "accepted")
    town.gate.gateway.read_all()
    assert town.call(town.PSYCH, rpc.GetReferralRequest(name=before.name)).referral.state == before.state
    assert len(town.journal(kind="intake.rejected")) >= 1
    assert town.rows(tables.holdings, kind="intake")


def test_an_escort_after_a_refusal_goes_out(town: Any, centre: Centre110) -> None:
    local = town.student(guardians=[{"full_name": "欧阳敏", "relation": "mother", "phone": "13800000000"}])
    issue = notices.IssueNoticeRequest(
        student={"local_id": local}, triage=town.confirmed(local), observed_behaviour="上课走神", advice="请尽快就诊"
    )
    notice = town.call(town.PSYCH, issue).notice
    refusal = {"witness": "王老师", "time_us": town.clock.now_us(), "reason": "不愿意"}
    town.call(town.PSYCH, notices.RefuseNoticeRequest(name=notice.name, refusal=refusal))
    words = {
        "police": POLICE,
        "grounds": "危险迫近",
        "basis": "life-safety",
        "crisis_facts": "说要跳楼",
        "location": "家中",
    }
    town.call(town.PSYCH, notices.DecideNoticeRequest(name=notice.name, **words))
    town.deliver_all()
    (said,) = centre.received
    assert (said.type, said.data["location"]) == ("escort.requested", "家中")
    assert "上课走神".encode() not in centre.raw()[0]


def test_no_name_or_fact_is_left_in_the_clear_anywhere_on_disk(town: Any, centre: Centre110, caplog: Any) -> None:
    _, described = child(town)
    centre.alert("J-1", kind="SUICIDAL", facts=MARK, student=described)
    found = [path for path in town.gate.folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".item" for path in found)
    for path in found:
        assert MARK.encode() not in path.read_bytes(), path.name
    town.gate.gateway.read_all()
    assert MARK not in caplog.text


def test_it_also_works_from_a_process_of_its_own(
    make_town: Callable[..., Any], centre: Centre110, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()[:2]
    started = settings_of(centre, monkeypatch) | {"receiver": {"listen": f"{address[0]}:{address[1]}"}}

    def only_the_police(settings: dict[str, Any]) -> None:
        settings["adapters"] = {POLICE: {"adapter": "police", "isolation": "process", "settings": started}}

    with make_town(listen=True, change=only_the_police, host=AdapterHost.load(["police"])) as town:
        centre.connect(address)
        local, described = child(town)
        assert centre.alert("J-1", kind="SUICIDAL", facts=MARK, student=described).status == 202
        town.gate.gateway.read_all()
        assert len(town.rows(tables.signals, student=town.inside_id(local))) == 1
        words = {"recipient": POLICE, "urgency": ref.URGENCY_EMERGENCY, "crisis_facts": "在桥上", "location": "大桥"}
        town.refer(local, basis="life-safety", **words)
        town.deliver_all()
        assert [said.type for said in centre.received] == ["rescue.requested"]
