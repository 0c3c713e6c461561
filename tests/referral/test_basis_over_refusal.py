"""What the gateway cites by itself it cites only where nobody said no; what a person cites goes with the child."""

from datetime import timedelta

import pytest

from xinqiao.api.casefile.v1.casefile_pb2 import CONSENT_STATE_REFUSED
from xinqiao.api.referral.v1 import referral_pb2 as pb
from xinqiao.contract.errors import Refusal
from xinqiao.store import tables

SECOND = "other-hospital"


def emergency(town, local, **words):
    return town.refer(local, urgency=pb.URGENCY_EMERGENCY, crisis_facts="on the roof", **words).referral


def released(town):
    return [(row["partner"], row["basis"]) for row in town.journal(kind="released", reason="referral")]


def nobody_confirms(town):
    town.recorder.down = True
    town.deliver(2)
    for seconds in (21, 60):
        town.clock.advance(timedelta(seconds=seconds))
        town.gate.gateway.ladder.climb()


def test_the_machine_tells_no_hospital_that_was_refused_and_a_person_telephones(two_hospitals):
    town = two_hospitals
    local = town.student()
    made = emergency(town, local)
    assert (made.basis, made.basis_by_gateway) == ("life-safety", True)
    town.consent(local, recipient=SECOND, state=CONSENT_STATE_REFUSED)
    nobody_confirms(town)
    assert released(town) == [(town.HOSPITAL, "life-safety")]
    assert {row["reason"] for row in town.journal(kind="refused", partner=SECOND)} == {"REFUSED"}
    (held,) = town.rows(tables.holdings, item=made.name)
    assert held["step"] == "phone"


def test_what_a_person_cited_goes_on_to_the_next_hospital_over_a_refusal(two_hospitals):
    town = two_hospitals
    local = town.student()
    for hospital in (town.HOSPITAL, SECOND):
        town.consent(local, recipient=hospital, state=CONSENT_STATE_REFUSED)
    made = emergency(town, local, basis="life-safety")
    assert not made.basis_by_gateway
    nobody_confirms(town)
    assert released(town) == [(town.HOSPITAL, "life-safety"), (SECOND, "life-safety")]


def test_a_hospital_with_consent_is_told_under_the_consent(two_hospitals):
    town = two_hospitals
    local = town.student()
    emergency(town, local)
    town.consent(local, recipient=SECOND)
    nobody_confirms(town)
    assert released(town) == [(town.HOSPITAL, "life-safety"), (SECOND, "")]


@pytest.mark.parametrize("draft", [True, False])
def test_a_refusal_before_it_is_sent_or_sent_again_counts(two_hospitals, draft):
    town = two_hospitals
    local = town.student()
    made = emergency(town, local, draft=draft)
    if not draft:
        town.advance(town.HOSPITAL, made.name, pb.REFERRAL_EVENT_DECLINE, reason_code="already-in-care")
    before = released(town)
    town.consent(local, state=CONSENT_STATE_REFUSED)
    with pytest.raises(Refusal, match="refused"):
        town.advance(town.PSYCH, made.name, pb.REFERRAL_EVENT_SEND)
    assert released(town) == before
    assert len(town.rows(tables.holdings, item=made.name)) == 1


def test_an_emergency_whose_consent_ran_out_before_it_was_sent_goes_under_the_law_with_its_duties(two_hospitals):
    town = two_hospitals
    local = town.student()
    town.consent(local, days=1)
    made = emergency(town, local, draft=True)
    assert made.basis == ""
    town.clock.advance(timedelta(days=2))
    sent = town.advance(town.PSYCH, made.name, pb.REFERRAL_EVENT_SEND)
    assert (sent.basis, released(town)) == ("life-safety", [(town.HOSPITAL, "life-safety")])
    assert {row["kind"] for row in town.rows(tables.duties)} == {"notify-guardian", "tell-guardian"}


def test_an_emergency_sent_again_after_its_consent_ran_out_owes_the_notice(two_hospitals):
    town = two_hospitals
    local = town.student()
    town.consent(local, days=1)
    made = emergency(town, local)
    town.advance(town.HOSPITAL, made.name, pb.REFERRAL_EVENT_DECLINE, reason_code="already-in-care")
    assert town.rows(tables.duties, kind="notify-guardian") == []
    town.clock.advance(timedelta(days=2))
    town.advance(town.PSYCH, made.name, pb.REFERRAL_EVENT_SEND)
    assert released(town) == [(town.HOSPITAL, ""), (town.HOSPITAL, "life-safety")]
    assert len(town.rows(tables.duties, kind="notify-guardian")) == 1
