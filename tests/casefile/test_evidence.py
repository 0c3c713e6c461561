"""What proves a consent, who may give it at which age, and that nobody asks again and again."""

from datetime import UTC, datetime, timedelta

import pytest

from xinqiao.api.casefile.v1 import casefile_pb2 as case
from xinqiao.api.casefile.v1 import casefile_service_pb2 as rpc
from xinqiao.api.casefile.v1 import consent_pb2 as pb
from xinqiao.api.referral.v1 import notice_service_pb2 as notice
from xinqiao.contract.clock import from_us
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.door import consented

GUARDIAN, STUDENT, BOTH = 1, 2, 3
MOTHER = {"full_name": "欧阳敏", "relation": "mother"}
FATHER = {"full_name": "欧阳刚", "relation": "father"}
YOUNG, OLD = "2014-01-01", "2010-01-01"


def word(town, local):
    with town.gate.gateway.store.read() as tx:
        return consented(tx, town.inside_id(local), town.HOSPITAL, 2).word


def form_request(town, local, **words):
    name = town.gate.gateway.door.students.name(town.SCHOOL, town.inside_id(local))
    asked = {"recipient": town.HOSPITAL, "purpose": 2, "classes": [2, 3], "last_day": "2027-01-01", **words}
    return notice.RenderDocumentRequest(kind=4, subject=name, consent=asked)


# -- evidence -----------------------------------------------------------------------------------------------------------


def test_what_was_printed_is_what_a_consent_may_cite(town):
    local = town.student()
    form = town.call(town.PSYCH, form_request(town, local))
    request = town.consent_request(local, form_sha256=form.form_sha256, text_sha256=form.text_sha256)
    request.consent.form_version = form.form_version
    kept = town.call(town.PSYCH, request).consent
    assert (kept.evidence.form_sha256, kept.evidence.witness) == (form.form_sha256, "w")
    assert kept.create_time_us == town.clock.now_us()


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        (lambda c: c.ClearField("evidence"), "INVALID_ARGUMENT/EVIDENCE"),
        (lambda c: setattr(c.evidence, "witness", ""), "INVALID_ARGUMENT/EVIDENCE"),
        (lambda c: setattr(c.evidence, "guardian_name", ""), "INVALID_ARGUMENT/EVIDENCE"),
        (lambda c: setattr(c.evidence, "guardian_relation", ""), "INVALID_ARGUMENT/EVIDENCE"),
        (lambda c: setattr(c.evidence, "guardian_name", "somebody else"), "INVALID_ARGUMENT/SIGNER"),
        (lambda c: setattr(c.evidence, "guardian_relation", "uncle"), "INVALID_ARGUMENT/SIGNER"),
        (lambda c: setattr(c.evidence, "form_sha256", bytes(32)), "FAILED_PRECONDITION/FORM_UNKNOWN"),
        (lambda c: setattr(c, "form_version", "consent-2025-01"), "FAILED_PRECONDITION/FORM_UNKNOWN"),
        (lambda c: setattr(c, "form_version", "notice-2026-11"), "FAILED_PRECONDITION/FORM_UNKNOWN"),
    ],
)
def test_evidence_that_proves_nothing_is_refused(town, change, answer):
    local = town.student(guardians=[MOTHER])
    request = town.consent_request(local)
    change(request.consent)
    assert town.refusal(town.PSYCH, request) == answer
    assert word(town, local) == "NONE"


def test_the_consent_of_a_guardian_in_conflict_is_none_but_the_refusal_counts(town):
    local = town.student(guardians=[{**FATHER, "in_conflict": True}, MOTHER])
    father = {"guardian": FATHER["full_name"], "guardian_relation": "father"}
    assert town.refusal(town.PSYCH, town.consent_request(local, **father)).endswith("GUARDIAN_IN_CONFLICT")
    town.consent(local, signer=GUARDIAN, state=case.CONSENT_STATE_REFUSED, **father)
    assert word(town, local) == "REFUSED"


# -- who signs ----------------------------------------------------------------------------------------------------------


def test_a_childs_own_word_is_recorded_and_its_no_makes_a_dispute(town):
    local = town.student(born=YOUNG)
    assert town.refusal(town.PSYCH, town.consent_request(local, signer=GUARDIAN, assent=0)) == (
        "INVALID_ARGUMENT/EVIDENCE"
    )
    kept = town.consent(local, signer=GUARDIAN, assent=pb.ASSENT_REFUSED)
    assert kept.state == case.CONSENT_STATE_DISPUTED
    assert word(town, local) == "DISPUTED"
    town.consent(local, signer=BOTH)
    assert word(town, local) == "GIVEN"


def test_two_guardians_disagree_and_only_who_said_no_can_lift_it(town):
    local = town.student(born=YOUNG, guardians=[MOTHER, FATHER])
    father = {"guardian": FATHER["full_name"], "guardian_relation": "father"}
    town.consent(local, signer=GUARDIAN)
    town.consent(local, signer=GUARDIAN, state=case.CONSENT_STATE_REFUSED, **father)
    assert word(town, local) == "DISPUTED"
    town.consent(local, signer=GUARDIAN, at_family_request=True)
    assert word(town, local) == "DISPUTED"
    town.consent(local, signer=GUARDIAN, at_family_request=True, **father)
    assert word(town, local) == "GIVEN"


@pytest.mark.parametrize("signer", [GUARDIAN, STUDENT, BOTH])
def test_of_age_a_guardian_has_no_say(town, signer):
    local = town.student(born="2008-10-11")
    if signer == GUARDIAN:
        for state in (case.CONSENT_STATE_GIVEN, case.CONSENT_STATE_REFUSED):
            request = town.consent_request(local, signer=GUARDIAN, state=state)
            assert town.refusal(town.PSYCH, request).endswith("STUDENT_REQUIRED")
    else:
        town.consent(local, signer=signer)
        assert word(town, local) == "GIVEN"


def test_where_the_district_asks_it_a_guardian_signs_beside_a_minor(fresh_town):
    town = fresh_town
    terms = town.gate.gateway.clocks.consent
    town.gate.gateway.clocks.consent = terms.model_copy(update={"guardian_co_consent": True})
    local, adult = town.student(born=OLD), town.student(born="2008-01-01")
    assert town.refusal(town.PSYCH, town.consent_request(local, signer=STUDENT)).endswith("GUARDIAN_REQUIRED")
    town.consent(local, signer=BOTH)
    town.consent(adult, signer=STUDENT)


@pytest.mark.parametrize(
    ("born", "last_young_day"), [("2012-10-13", datetime(2026, 10, 13)), ("2012-02-29", datetime(2026, 3, 1))]
)
def test_the_day_one_turns_fourteen_still_needs_a_guardian_and_the_next_the_student(fresh_town, born, last_young_day):
    town = fresh_town
    noon = last_young_day.replace(hour=4, tzinfo=UTC)
    town.clock.advance(noon - from_us(town.clock.now_us()))
    local = town.student(born=born)
    assert town.refusal(town.PSYCH, town.consent_request(local, signer=STUDENT)).endswith("GUARDIAN_REQUIRED")
    town.consent(local, signer=GUARDIAN)
    town.clock.advance(timedelta(days=1))
    assert word(town, local) == "GIVEN"  # what was given before stays for its scope
    assert town.refusal(town.PSYCH, town.consent_request(local, signer=GUARDIAN)).endswith("STUDENT_REQUIRED")
    town.consent(local, signer=STUDENT)


# -- states and asking again --------------------------------------------------------------------------------------------


def test_an_expired_consent_is_shown_as_such(fresh_town):
    town = fresh_town
    local = town.student()
    town.consent(local, days=2)
    request = rpc.GetCaseRequest(student={"local_id": local})
    assert town.call(town.PSYCH, request).case.consents[0].state == case.CONSENT_STATE_GIVEN
    town.clock.advance(timedelta(days=2))
    assert town.call(town.PSYCH, request).case.consents[0].state == case.CONSENT_STATE_EXPIRED


@pytest.mark.parametrize("by", ["refusal", "withdrawal"])
def test_after_a_no_nobody_asks_again_before_the_day_that_is_named(fresh_town, by):
    town = fresh_town
    local = town.student(guardians=[MOTHER])
    if by == "refusal":
        town.consent(local, state=case.CONSENT_STATE_REFUSED)
    else:
        town.call(town.PSYCH, rpc.WithdrawConsentRequest(name=town.consent(local).name))
    for request in (form_request(town, local), town.consent_request(local)):
        with pytest.raises(Refusal) as caught:
            town.call(town.PSYCH, request)
        assert (caught.value.reason, caught.value.metadata["ask_again_from"]) == ("ASKED_TOO_SOON", "2027-04-10")
    town.call(town.PSYCH, form_request(town, local, purpose=4))  # for something else one may ask
    town.call(town.PSYCH, form_request(town, local, at_family_request=True))
    town.clock.advance(timedelta(days=179))
    assert town.refusal(town.PSYCH, town.consent_request(local)).endswith("ASKED_TOO_SOON")
    town.clock.advance(timedelta(days=1))
    town.call(town.PSYCH, form_request(town, local))
    town.consent(local)
    assert word(town, local) == "GIVEN"


def test_a_second_no_is_kept_and_a_family_that_comes_by_itself_is_heard(town):
    local = town.student(guardians=[MOTHER, FATHER])
    for guardian in (MOTHER, FATHER):
        town.consent(
            local, signer=GUARDIAN, state=case.CONSENT_STATE_REFUSED, guardian=guardian["full_name"],
            guardian_relation=guardian["relation"],
        )  # fmt: skip
    for guardian in (MOTHER, FATHER):
        town.consent(
            local, signer=BOTH, guardian=guardian["full_name"], guardian_relation=guardian["relation"],
            at_family_request=True,
        )  # fmt: skip
    assert word(town, local) == "GIVEN"
