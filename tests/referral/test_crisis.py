"""The crisis lane: a minimal message under the law, the next hospital, and at last a person with a telephone number."""

from datetime import timedelta

import pytest

from xinqiao.adapters.errors import PartnerRefused
from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.gateway.v1.gateway_service_pb2 import GetStatusRequest
from xinqiao.api.referral.v1 import referral_pb2 as pb
from xinqiao.api.referral.v1 import referral_service_pb2 as rpc
from xinqiao.api.screening.v1 import screening_service_pb2 as scr
from xinqiao.contract.fields import present
from xinqiao.store import tables

SECOND = "other-hospital"


def emergency(town, local=None, **words):
    local = local or town.student(guardians=[{"full_name": "母亲", "phone": "13900000001"}])
    return town.refer(
        local, urgency=pb.URGENCY_EMERGENCY, crisis_facts="on the roof", location="north building", **words
    ).referral


def held(town, name):
    return town.rows(tables.holdings, item=name)


def state(town, name):
    return town.rows(tables.referrals, id=name.removeprefix("referrals/"))[0]["state"]


def after(town, seconds):
    town.clock.advance(timedelta(seconds=seconds))
    town.gate.gateway.ladder.climb()


def successor(town, name):
    return town.call(town.PSYCH, rpc.GetReferralRequest(name=name)).referral.redirected_to


def test_an_emergency_without_any_consent_goes_under_the_crisis_basis_with_its_duties(two_hospitals):
    town = two_hospitals
    made = emergency(town)
    assert made.basis == "life-safety"
    assert {row["kind"] for row in town.rows(tables.duties)} == {"notify-guardian", "tell-guardian"}


def test_the_message_under_the_law_is_minimal(two_hospitals):
    town = two_hospitals
    local = town.student(guardians=[{"full_name": "母亲", "phone": "13900000001"}])
    town.submit(local)
    emergency(town, local)
    assert town.deliver(2)
    (agency, request) = town.recorder.seen[-1]
    allowed = ("CASE_REF", "IDENTITY", "CONTACT", "CRISIS_FACT", "LOCATION")
    mask = sum(1 << options.FieldClass.Value(f"FIELD_CLASS_{word}") for word in allowed)
    assert agency == town.HOSPITAL
    assert request.referral.referral.crisis_facts == "on the roof"
    assert present(request.referral) & ~mask == 0
    assert not request.referral.assessments
    assert not request.referral.referral.reason


def test_when_the_first_hospital_does_not_confirm_the_second_is_told_under_a_decision_of_its_own(two_hospitals):
    town = two_hospitals
    town.recorder.down = True
    first = emergency(town).name
    town.deliver(2)
    after(town, 19)
    assert successor(town, first) == ""
    after(town, 2)
    second = successor(town, first)
    assert state(town, first) == pb.REFERRAL_STATE_REDIRECTED
    assert held(town, first) == []
    assert held(town, second)[0]["holder"] == SECOND
    released = {row["partner"] for row in town.journal(kind="released", reason="referral")}
    assert released == {town.HOSPITAL, SECOND}
    assert [row["partner"] for row in town.journal(kind="crisis.channel")] == [SECOND]
    town.recorder.down = False
    town.clock.advance(timedelta(minutes=2))
    town.deliver_all()
    assert state(town, second) == pb.REFERRAL_STATE_RECEIVED


def test_a_refusal_by_the_first_hospitals_system_moves_on_at_once(two_hospitals):
    town = two_hospitals
    town.recorder.refusing = True
    first = emergency(town).name
    assert town.deliver(2)
    assert held(town, successor(town, first))[0]["holder"] == SECOND


@pytest.mark.parametrize("word", ["WITHDRAWN", "DISPUTED", "REFUSED", "SHREDDED"])
def test_a_partners_word_for_its_refusal_is_never_taken_for_a_familys_no(two_hospitals, word):
    def refuse(request):
        raise PartnerRefused(word, "no")

    town = two_hospitals
    town.recorder.before = refuse
    first = emergency(town).name
    assert town.deliver(2)
    assert held(town, successor(town, first))[0]["holder"] == SECOND


def test_after_a_minute_without_any_confirmation_a_person_holds_the_telephone_with_its_numbers(two_hospitals):
    town = two_hospitals
    town.recorder.down = True
    first = emergency(town).name
    after(town, 21)
    second = successor(town, first)
    after(town, 21)
    assert held(town, second)[0]["step"] == "receive"
    after(town, 20)
    row = held(town, second)[0]
    assert (row["step"], row["holder"]) == ("phone", town.PSYCH)
    assert [each["partner"] for each in town.journal(kind="crisis.phone")] == [town.PSYCH]
    listed = {h.item: h for h in town.call(town.PSYCH, rpc.ListHoldingsRequest()).holdings}
    numbers = [phone.number for phone in listed[second].phones]
    status = town.call(town.OPERATOR, GetStatusRequest())
    assert (status.to_telephone, [phone.number for phone in status.phones]) == (1, numbers)
    assert numbers[:2] == ["051200000001", "051200000002"]
    assert {"110", "120", "12356"} <= set(numbers)
    after(town, 1801)
    assert held(town, second)[0]["holder"] == town.SCHOOL


def test_a_person_who_reached_the_hospital_by_telephone_says_so_and_the_hospital_holds_it(two_hospitals):
    town = two_hospitals
    town.recorder.down = True
    first = emergency(town).name
    after(town, 21)
    second = successor(town, first)
    after(town, 60)
    refused = town.refusal(town.PSYCH, rpc.AdvanceReferralRequest(name=second, event=pb.REFERRAL_EVENT_RECEIVE))
    assert refused == "FAILED_PRECONDITION/REASON_REQUIRED"
    town.advance(town.PSYCH, second, pb.REFERRAL_EVENT_RECEIVE, reason="spoke to the duty doctor")
    assert state(town, second) == pb.REFERRAL_STATE_RECEIVED
    assert (held(town, second)[0]["holder"], held(town, second)[0]["step"]) == (SECOND, "accept")


def test_a_confirmation_in_time_stops_the_fallback(two_hospitals):
    town = two_hospitals
    name = emergency(town).name
    town.deliver(2)
    after(town, 300)
    assert state(town, name) == pb.REFERRAL_STATE_RECEIVED
    assert town.journal(kind="crisis.channel") == town.journal(kind="crisis.phone") == []


def test_what_nobody_has_tried_to_send_yet_is_taken_back_when_the_next_hospital_is_told(two_hospitals):
    town = two_hospitals
    first = emergency(town).name
    after(town, 21)
    assert [row["state"] for row in town.rows(tables.deliveries, item=first)] == [5]
    town.deliver_all()
    assert {agency for agency, _ in town.recorder.seen} == {SECOND}


def test_a_hospital_that_may_have_it_already_is_told_that_it_was_passed_on(two_hospitals):
    town = two_hospitals
    town.recorder.down = True
    first = emergency(town).name
    town.deliver(2)
    after(town, 21)
    town.recorder.down = False
    town.clock.advance(timedelta(minutes=2))
    town.deliver_all()
    told = [request for agency, request in town.recorder.seen if agency == town.HOSPITAL]
    assert [request.WhichOneof("body") for request in told] == ["referral", "referral_update"]
    assert told[1].referral_update.state == pb.REFERRAL_STATE_REDIRECTED
    assert told[1].referral_update.name == first


@pytest.mark.parametrize("field", ["redirected_to", "redirected_from", "recipients"])
def test_no_hospital_learns_whom_else_the_school_asks(two_hospitals, field):
    town = two_hospitals
    town.recorder.down = True
    first = emergency(town, recipients=[town.HOSPITAL, SECOND]).name
    town.deliver(2)
    after(town, 21)
    second = successor(town, first)
    town.recorder.down = False
    town.clock.advance(timedelta(minutes=2))
    town.deliver_all()
    for name, hospital in ((first, town.HOSPITAL), (second, SECOND)):
        shown = town.call(hospital, rpc.GetReferralRequest(name=name)).referral
        assert not getattr(shown, field)
    for _, request in town.recorder.seen:
        body = request.referral.referral if request.WhichOneof("body") == "referral" else request.referral_update
        assert not getattr(body, field)


def test_the_fallback_goes_on_after_a_restart(two_hospitals):
    town = two_hospitals
    town.recorder.down = True
    first = emergency(town).name
    town.gate.stop()
    town.gate.start(listen=False, work=False)
    after(town, 21)
    assert held(town, successor(town, first))[0]["holder"] == SECOND


def test_an_emergency_that_cannot_be_read_any_more_is_escalated_and_stops_nobody_elses_clock(two_hospitals):
    town = two_hospitals
    town.recorder.down = True
    broken, good = emergency(town).name, emergency(town).name
    town.gate.gateway.store.run(
        lambda tx: tx.update(tables.referrals, (broken.removeprefix("referrals/"),), sealed=b"x" * 64)
    )
    after(town, 21)
    assert held(town, broken)[0]["escalations"] == 1
    assert successor(town, good)


def test_a_tier_confirmed_after_the_emergency_left_is_not_held_for_ever(two_hospitals):
    town = two_hospitals
    report = scr.ReportSignalRequest(source=2, kind=1, facts="facts")
    local = town.student()
    report.student.local_id = local
    triage = town.call(town.PSYCH, report).triage.name
    made = emergency(town, local, triage=triage)
    assert held(town, triage)[0]["step"] == "confirm"
    town.deliver_all()
    town.call(town.PSYCH, scr.ConfirmTierRequest(name=triage, tier=4, note="note"))
    town.advance(town.HOSPITAL, made.name, pb.REFERRAL_EVENT_ACCEPT)
    assert held(town, triage) == []
    assert len(held(town, made.name)) == 1
