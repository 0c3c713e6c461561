"""A repeat gets the answer it got, less what its caller may no longer see: each is a disclosure of its own."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from xinqiao.api.casefile.v1 import casefile_service_pb2 as case_rpc
from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao.api.referral.v1 import referral_service_pb2 as ref_rpc

REASON = "CANARY-REASON"


def accepted(town: Any) -> tuple[str, str, Any]:
    """A hospital's call that shows it the reason of a referral: the student, the consent, and the call to repeat."""
    local = town.student()
    consent = town.consent(local).name
    name = town.refer(local, reason=REASON).referral.name
    request = ref_rpc.AdvanceReferralRequest(request_id=town.key(), name=name, event=ref.REFERRAL_EVENT_ACCEPT)
    assert town.call(town.HOSPITAL, request).referral.reason == REASON
    return local, consent, request


def replays(town: Any, local: str) -> list[tuple[str, int, str]]:
    rows = town.journal(kind="replayed", student=town.inside_id(local))
    return [(str(row["decision"]), int(row["classes"]), str(row["reason"])) for row in rows]


def test_while_nothing_changed_the_repeat_is_the_same_and_on_record(fresh_town):
    town = fresh_town
    local, _, request = accepted(town)
    first = town.call(town.HOSPITAL, request)
    assert first == town.call(town.HOSPITAL, request)
    assert first.referral.reason == REASON
    assert [(decision, classes > 0) for decision, classes, _ in replays(town, local)] == [("permit", True)] * 2


def test_after_the_consent_is_withdrawn_a_repeat_shows_nothing_that_it_covered(fresh_town):
    town = fresh_town
    local, consent, request = accepted(town)
    town.call(town.PSYCH, case_rpc.WithdrawConsentRequest(name=consent))
    again = town.call(town.HOSPITAL, request)
    assert REASON not in str(again)
    assert not again.referral.tier
    assert replays(town, local) == [("permit", 1 << 2, "")]


def test_a_repeat_of_which_nothing_may_be_shown_any_more_is_on_record_as_denied(fresh_town):
    town = fresh_town
    local, _, request = accepted(town)
    door = town.gate.gateway.door
    door.policy = replace(door.policy, grants=())
    assert not town.call(town.HOSPITAL, request).referral.ByteSize()
    assert replays(town, local) == [("deny", 0, "NOT_IN_POLICY")]


def test_after_a_narrower_consent_a_repeat_shows_what_is_left(fresh_town):
    town = fresh_town
    local, _, request = accepted(town)
    town.consent(local, classes=[2, 3, 6])
    again = town.call(town.HOSPITAL, request)
    assert (again.referral.reason, again.referral.tier) == ("", 4)
    assert replays(town, local) == [("permit", 1 << 2 | 1 << 6, "")]


def test_after_the_agreement_has_ended_a_repeat_is_refused_whole(fresh_town):
    town = fresh_town
    _, _, request = accepted(town)
    town.clock.advance(timedelta(days=5 * 366))
    assert town.refusal(town.HOSPITAL, request) == "PERMISSION_DENIED/AGREEMENT_EXPIRED"


def test_after_the_student_is_erased_a_repeat_is_refused(fresh_town):
    town = fresh_town
    local, _, request = accepted(town)
    town.gate.gateway.door.keys.shred(town.inside_id(local))
    assert town.refusal(town.HOSPITAL, request) == "NOT_FOUND/KEY_GONE"
