"""A record that nobody can read any more must not keep a red case of the same student from its way."""

from datetime import timedelta
from typing import Any

import pytest

from xinqiao.api.common.v1 import types_pb2 as types
from xinqiao.api.referral.v1 import notice_pb2 as notice_pb
from xinqiao.api.referral.v1 import notice_service_pb2 as notice_rpc
from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao.api.screening.v1 import screening_pb2 as scr
from xinqiao.api.screening.v1 import screening_service_pb2 as rpc
from xinqiao.store import tables


def report(town: Any, local: str, kind: Any = scr.SIGNAL_KIND_SUICIDAL) -> Any:
    request = rpc.ReportSignalRequest(source=scr.SIGNAL_SOURCE_SCHOOL_CENTRE, kind=kind, facts="says goodbye")
    request.student.local_id = local
    return town.call(town.PSYCH, request)


@pytest.fixture(params=["altered", "of another version"])
def spoil(request: pytest.FixtureRequest) -> Any:
    """Makes a record unreadable: its seal is broken, or what it seals is nothing that this version can decode."""

    def do(town: Any, table: Any, name: str) -> None:
        identifier = name.partition("/")[2]
        (row,) = town.rows(table, id=identifier)
        sealer = town.gate.gateway.door.keys.sealer(row["student"])
        foreign = sealer.seal(b"\xff", table=table.name, key=identifier)
        sealed = foreign if request.param == "of another version" else b"altered"
        town.gate.gateway.store.run(lambda tx: tx.update(table, (identifier,), sealed=sealed))

    return do


def test_a_red_tier_is_confirmed_although_another_signal_of_the_student_is_broken(fresh_town, spoil):
    town = fresh_town
    local = town.student()
    broken = report(town, local, scr.SIGNAL_KIND_VIOLENCE).signal.name
    red = report(town, local)
    spoil(town, tables.signals, broken)
    town.call(town.PSYCH, rpc.ConfirmTierRequest(name=red.triage.name, tier=types.TIER_RED))
    (held,) = town.rows(tables.holdings, item=red.triage.name)
    assert (held["step"], held["tier"]) == ("refer", types.TIER_RED)
    assert town.rows(tables.holdings, item=red.signal.name) == []
    assert town.rows(tables.holdings, item=broken) != [], "what nobody has decided about stays held"


def test_a_broken_triage_is_confirmed_by_its_plain_columns_and_answers_its_reports(fresh_town, spoil):
    town = fresh_town
    local = town.student()
    first, second = report(town, local), report(town, local)
    assert first.triage.name == second.triage.name
    spoil(town, tables.triages, first.triage.name)
    town.call(town.PSYCH, rpc.ConfirmTierRequest(name=first.triage.name, tier=types.TIER_RED))
    (held,) = town.rows(tables.holdings, item=first.triage.name)
    assert (held["step"], held["tier"]) == ("refer", types.TIER_RED)
    for each in (first, second):
        assert town.rows(tables.holdings, item=each.signal.name) == []


def test_a_broken_signal_is_acknowledged(fresh_town, spoil):
    town = fresh_town
    red = report(town, town.student())
    spoil(town, tables.signals, red.signal.name)
    taken = town.call(town.PSYCH, rpc.AcknowledgeSignalRequest(name=red.signal.name)).signal
    assert (taken.state, taken.kind, taken.tier) == (
        scr.SIGNAL_STATE_ACKNOWLEDGED, scr.SIGNAL_KIND_SUICIDAL, types.TIER_RED,
    )  # fmt: skip
    assert town.rows(tables.holdings, item=red.signal.name)[0]["holder"] == town.PSYCH


def test_a_broken_signal_is_answered_by_the_tier_of_the_triage_that_names_it(fresh_town, spoil):
    town = fresh_town
    red = report(town, town.student())
    spoil(town, tables.signals, red.signal.name)
    town.call(town.PSYCH, rpc.ConfirmTierRequest(name=red.triage.name, tier=types.TIER_RED))
    assert town.rows(tables.holdings, item=red.signal.name) == []


def test_a_red_report_is_taken_although_the_triage_of_the_earlier_one_is_broken(fresh_town, spoil):
    town = fresh_town
    local = town.student()
    first = report(town, local)
    spoil(town, tables.triages, first.triage.name)
    second = report(town, local)
    assert second.triage.name != first.triage.name
    assert report(town, local).triage.name == second.triage.name
    for name in (first.triage.name, second.triage.name, second.signal.name):
        assert len(town.rows(tables.holdings, item=name)) == 1, name


@pytest.mark.parametrize("urgency", [ref.URGENCY_URGENT, ref.URGENCY_EMERGENCY])
def test_a_red_referral_goes_although_one_old_form_is_broken(fresh_town, spoil, urgency):
    town = fresh_town
    local = town.student()
    broken, sound = (town.submit(local).assessment.name for _ in range(2))
    spoil(town, tables.assessments, broken)
    town.consent(local)
    town.refer(local, urgency=urgency, crisis_facts="on the roof")
    assert town.deliver(2 if urgency == ref.URGENCY_EMERGENCY else 1)
    sent = town.recorder.seen[-1][1].referral
    assert [form.name for form in sent.assessments] == [sound]


def test_a_notice_is_verified_although_its_record_is_broken(fresh_town, spoil):
    town = fresh_town
    local = town.student(guardians=[{"full_name": "欧阳敏"}])
    request = notice_rpc.IssueNoticeRequest(triage=town.confirmed(local), observed_behaviour="seen", advice="go")
    request.student.local_id = local
    notice = town.call(town.PSYCH, request).notice
    spoil(town, tables.notices, notice.name)
    answer = town.call(town.HOSPITAL, notice_rpc.VerifyNoticeRequest(short_form=notice.short_form))
    assert (answer.verdict, answer.priority_due) == (notice_pb.NOTICE_VERDICT_GENUINE, True)
    assert len(town.rows(tables.holdings, item=notice.name)) == 1


def test_an_unreadable_emergency_stops_neither_the_ladder_nor_its_lane(fresh_town, spoil):
    town = fresh_town
    made = [
        town.refer(town.student(), urgency=ref.URGENCY_EMERGENCY, crisis_facts="on the roof").referral.name
        for _ in range(2)
    ]
    bad = made[0]
    spoil(town, tables.referrals, bad)
    before = {name: town.rows(tables.holdings, item=name)[0]["deadline_us"] for name in made}
    town.clock.advance(timedelta(hours=2))
    town.gate.gateway.ladder.climb()
    for name in made:
        (held,) = town.rows(tables.holdings, item=name)
        assert held["holder"], name
        assert held["deadline_us"] > before[name], name
    assert town.rows(tables.holdings, item=bad)[0]["step"] == "phone"
    assert town.deliver_all()
    assert len(town.rows(tables.holdings, item=bad)) == 1
