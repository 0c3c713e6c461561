"""What really reaches a recipient, field by field: each field of a referral carries a canary of its class."""

from datetime import timedelta

import pytest

from xinqiao.api.casefile.v1 import casefile_service_pb2 as case_rpc
from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao.api.referral.v1 import referral_service_pb2 as ref_rpc
from xinqiao.store import tables
from xinqiao.store.claims import DeliveryState

WORDS = {
    3: "CANARY-IDENTITY", 4: "CANARY-CONTACT", 5: "CANARY-SCHOOL", 8: "CANARY-REASON", 11: "CANARY-CRISIS",
    12: "CANARY-LOCATION", 15: "CANARY-NOTE",
}  # fmt: skip
OUTCOME = ref.Outcome(
    diagnosis="CANARY-DIAGNOSIS", treatment="CANARY-TREATMENT", fitness=2, school_advice="CANARY-ADVICE",
    care_advice="CANARY-CARE",
)  # fmt: skip
LAW = {2, 3, 4, 11, 12}


def marked(town, **words):
    """A student every field of whom tells its class."""
    local = town.student(family_name=WORDS[3], school_title=WORDS[5], **words)
    request = case_rpc.RegisterStudentsRequest()
    student = request.students.add(
        local_id=local, birth_date="2011-05-04", school="3205830001", family_name=WORDS[3], school_title=WORDS[5],
        national_id="CANARY-NATIONAL",
    )  # fmt: skip
    student.guardians.add(full_name=WORDS[4])
    student.guardians.add(full_name="CANARY-CONFLICT", in_conflict=True)
    town.call(town.SCHOOL, request)
    town.submit(local)
    return local


def referral_request(town, local, **words):
    return town.refer_request(
        local, reason=WORDS[8], crisis_facts=WORDS[11], location=WORDS[12], note=WORDS[15], **words
    )


def arrived(town, name):
    """The packages the hospital got of a referral."""
    town.deliver_all()
    packages = [r.referral for _, r in town.recorder.seen if r.WhichOneof("body") == "referral"]
    return [package for package in packages if package.referral.name == name]


def classes_seen(package):
    text = str(package)
    seen = {number for number, word in WORDS.items() if word in text}
    seen |= {6} if package.referral.tier else set()
    seen |= {7} if any(form.answers or form.scores for form in package.assessments) else set()
    seen |= {14} if package.consent.ByteSize() else set()
    return seen


def assert_refused(town, local, reason, **words):
    before = len(town.recorder.seen)
    request = referral_request(town, local, **words)
    assert town.refusal(town.PSYCH, request) == f"FAILED_PRECONDITION/{reason}"
    town.deliver_all()
    assert len(town.recorder.seen) == before
    inside = town.inside_id(local)
    assert town.rows(tables.referrals, student=inside) == []
    assert town.rows(tables.deliveries, student=inside) == []
    rows = town.journal(kind="refused", student=inside, reason=reason)
    assert len(rows) == 1
    assert (rows[0]["decision"], rows[0]["partner"], rows[0]["actor"]) == ("deny", town.HOSPITAL, town.PSYCH)


def test_under_full_consent_the_hospital_gets_what_was_consented_and_no_note_and_no_guardian_in_conflict(town):
    local = marked(town)
    town.consent(local)
    made = town.call(town.PSYCH, referral_request(town, local))
    (package,) = arrived(town, made.referral.name)
    assert classes_seen(package) == {3, 4, 5, 6, 7, 8, 11, 12, 14}
    assert "CANARY-CONFLICT" not in str(package)
    assert local not in str(package)
    assert {w.field_class for w in made.withheld} == {15}
    (delivery,) = town.rows(tables.deliveries, item=made.referral.name)
    (row,) = town.journal(kind="released", resource=f"deliveries/{delivery['id']}")
    assert row["partner"] == town.HOSPITAL
    assert {c for c in range(1, 16) if row["classes"] >> c & 1} == {2, 3, 4, 5, 6, 7, 8, 11, 12, 14}


@pytest.mark.parametrize("classes", [[2, 3], [2, 3, 7], [2, 3, 4, 8], [2, 3, 6, 12, 14]])
def test_under_a_partial_consent_exactly_the_named_classes_arrive(town, classes):
    local = marked(town)
    town.consent(local, classes=classes)
    made = town.call(town.PSYCH, referral_request(town, local))
    (package,) = arrived(town, made.referral.name)
    assert classes_seen(package) == set(classes) - {2}
    assert {w.reason for w in made.withheld} == {"NOT_CONSENTED", "CLASS_NEVER_SHARED"}


def test_without_a_field_the_package_cannot_do_without_the_whole_is_refused_and_the_refusal_is_on_record(town):
    local = marked(town)
    town.consent(local, classes=[2, 7, 8])
    assert_refused(town, local, "NOT_CONSENTED")


def test_without_consent_and_basis_nothing_is_created(town):
    assert_refused(town, marked(town), "NO_CONSENT")


@pytest.mark.parametrize(("state", "reason"), [(2, "REFUSED"), (5, "DISPUTED")])
def test_a_refused_or_disputed_consent_beats_one_that_was_given(town, state, reason):
    local = marked(town)
    town.consent(local)
    town.consent(local, state=state, signer=1)
    assert_refused(town, local, reason)


def test_a_consent_withdrawn_a_moment_ago_opens_nothing(town):
    local = marked(town)
    town.call(town.PSYCH, case_rpc.WithdrawConsentRequest(name=town.consent(local).name))
    assert_refused(town, local, "WITHDRAWN")


def test_an_expired_consent_opens_nothing(fresh_town):
    local = marked(fresh_town)
    fresh_town.consent(local, days=1)
    fresh_town.clock.advance(timedelta(days=1))
    assert_refused(fresh_town, local, "CONSENT_EXPIRED")


def test_a_consent_for_another_recipient_or_purpose_opens_nothing(town):
    local = marked(town)
    town.consent(local, recipient="other-hospital")
    town.consent(local, purpose=4)
    assert_refused(town, local, "NO_CONSENT")


@pytest.mark.parametrize("before", ["nothing", "refused", "disputed"])
def test_danger_to_life_opens_its_own_classes_and_no_more_whatever_the_consent_says(town, before):
    local = marked(town)
    if before != "nothing":
        town.consent(local, state={"refused": 2, "disputed": 5}[before])
    made = town.call(town.PSYCH, referral_request(town, local, basis="life-safety", urgency=ref.URGENCY_EMERGENCY))
    (package,) = arrived(town, made.referral.name)
    assert classes_seen(package) == LAW - {2}
    assert package.basis.id == "life-safety"
    duty = town.rows(tables.duties, id=made.duty.removeprefix("duties/"))
    assert len(duty) == 1
    assert town.journal(kind="released", basis="life-safety", student=town.inside_id(local))


@pytest.mark.parametrize(("basis", "reason"), [("no-such-law", "BASIS_UNKNOWN"), ("mandatory-report", "BASIS_PURPOSE")])
def test_a_basis_that_does_not_apply_is_refused_even_beside_a_consent(town, basis, reason):
    local = marked(town)
    town.consent(local)
    assert_refused(town, local, reason, basis=basis)


def test_a_basis_without_facts_is_refused(town):
    local = marked(town)
    for words in ({"basis": "life-safety"}, {"urgency": ref.URGENCY_EMERGENCY}):
        request = town.refer_request(local, crisis_facts="  ", **words)
        assert town.refusal(town.PSYCH, request) == "INVALID_ARGUMENT/FACTS_REQUIRED"


def test_a_hospital_without_a_confidentiality_agreement_gets_nothing(town):
    local = marked(town)
    town.consent(local, recipient="lapsed-hospital")
    request = referral_request(town, local, recipient="lapsed-hospital")
    assert town.refusal(town.PSYCH, request) == "PERMISSION_DENIED/AGREEMENT_EXPIRED"


# -- what comes back --------------------------------------------------------------------------------------------------


def answered(town, **consent):
    local = marked(town)
    town.consent(local)
    if consent:
        town.consent(local, recipient=town.SCHOOL, **consent)
    name = town.call(town.PSYCH, referral_request(town, local)).referral.name
    town.advance(town.HOSPITAL, name, ref.REFERRAL_EVENT_ACCEPT)
    town.call(town.HOSPITAL, ref_rpc.ReportOutcomeRequest(name=name, outcome=OUTCOME))
    town.deliver_all()
    updates = [
        r.referral_update for a, r in town.recorder.seen
        if a == town.SCHOOL and r.WhichOneof("body") == "referral_update" and r.referral_update.name == name
    ]  # fmt: skip
    return name, updates


def test_the_school_learns_the_advice_and_never_the_diagnosis(town):
    name, updates = answered(town)
    assert [u.state for u in updates] == [ref.REFERRAL_STATE_ACCEPTED, ref.REFERRAL_STATE_OUTCOME_REPORTED]
    for update in (*updates, town.call(town.PSYCH, ref_rpc.GetReferralRequest(name=name)).referral):
        for word in ("DIAGNOSIS", "TREATMENT", "NOTE"):
            assert f"CANARY-{word}" not in str(update)
    assert updates[-1].outcome.school_advice == "CANARY-ADVICE"
    assert "CANARY-ADVICE" not in str(updates[0])
    for word in (WORDS[8], WORDS[11], WORDS[12]):
        assert word not in str(updates)


def test_a_corrected_outcome_reaches_the_school_and_the_former_one_stays_with_the_hospital(town):
    name, _ = answered(town)
    seen = len(town.recorder.seen)
    better = {"school_advice": "rest for a week", "diagnosis": "CANARY-DIAGNOSIS"}
    for _ in range(2):  # the hospital's system says it twice
        town.call(town.HOSPITAL, ref_rpc.ReportOutcomeRequest(name=name, outcome=better))
    town.deliver_all()
    (update,) = [r.referral_update for a, r in town.recorder.seen[seen:] if a == town.SCHOOL]
    shown = town.call(town.PSYCH, ref_rpc.GetReferralRequest(name=name)).referral
    for each in (update, shown):
        assert each.outcome.school_advice == "rest for a week"
        assert "CANARY-" not in str(each.outcome)
        assert not each.earlier_outcomes
    (former,) = town.call(town.HOSPITAL, ref_rpc.GetReferralRequest(name=name)).referral.earlier_outcomes
    assert former.school_advice == "CANARY-ADVICE"
    town.advance(town.PSYCH, name, ref.REFERRAL_EVENT_CLOSE)
    late = ref_rpc.ReportOutcomeRequest(name=name, outcome=OUTCOME)
    assert town.refusal(town.HOSPITAL, late) == "FAILED_PRECONDITION/STATE"


def test_the_psychologist_reads_the_advice_and_the_platform_no_reason(town):
    name, _ = answered(town)
    seen = town.call(town.PSYCH, ref_rpc.GetReferralRequest(name=name)).referral
    assert (seen.outcome.school_advice, seen.reason) == ("CANARY-ADVICE", WORDS[8])
    assert WORDS[8] not in str(town.call(town.SCHOOL, ref_rpc.GetReferralRequest(name=name)))


def test_with_a_consent_for_it_the_psychologist_reads_the_diagnosis_and_the_platform_does_not(town):
    name, updates = answered(town, classes=[9, 10], purpose=5)
    seen = town.call(town.PSYCH, ref_rpc.GetReferralRequest(name=name)).referral
    assert seen.outcome.diagnosis == "CANARY-DIAGNOSIS"
    assert "CANARY-DIAGNOSIS" not in str(town.call(town.SCHOOL, ref_rpc.GetReferralRequest(name=name)))
    assert "CANARY-DIAGNOSIS" not in str(updates)


def test_the_hospital_reads_back_nothing_the_consent_does_not_name(town):
    local = marked(town)
    town.consent(local, classes=[2, 3])
    name = town.call(town.PSYCH, referral_request(town, local)).referral.name
    text = str(town.call(town.HOSPITAL, ref_rpc.GetReferralRequest(name=name)))
    assert name in text
    assert not any(word in text for word in WORDS.values())


# -- at the last moment -----------------------------------------------------------------------------------------------


def queued(town, **consent):
    local = marked(town)
    made = town.consent(local, **consent)
    name = town.call(town.PSYCH, referral_request(town, local)).referral.name
    return local, made.name, name


def state_of(town, name):
    row = town.rows(tables.deliveries, item=name)[0]
    return DeliveryState(row["state"]), row["last_reason"], row["payload"]


def test_a_withdrawal_cancels_what_is_queued_and_destroys_its_content(town):
    town.deliver_all()
    _, consent, name = queued(town)
    answer = town.call(town.PSYCH, case_rpc.WithdrawConsentRequest(name=consent))
    assert answer.cancelled_deliveries == 1
    assert state_of(town, name) == (DeliveryState.CANCELLED, "WITHDRAWN", None)
    assert arrived(town, name) == []


def test_a_withdrawal_does_not_stop_what_goes_by_law(town):
    local = marked(town)
    consent = town.consent(local).name
    request = referral_request(town, local, basis="life-safety", urgency=ref.URGENCY_EMERGENCY)
    name = town.call(town.PSYCH, request).referral.name
    answer = town.call(town.PSYCH, case_rpc.WithdrawConsentRequest(name=consent))
    assert answer.cancelled_deliveries == 0
    assert len(arrived(town, name)) == 1


def test_a_consent_that_ran_out_in_the_queue_cancels_the_delivery_when_it_is_claimed(fresh_town):
    _, _, name = queued(fresh_town, days=1)
    fresh_town.clock.advance(timedelta(days=1))
    assert arrived(fresh_town, name) == []
    assert state_of(fresh_town, name) == (DeliveryState.CANCELLED, "CONSENT_EXPIRED", None)
    assert len(fresh_town.journal(kind="delivery.cancelled", reason="CONSENT_EXPIRED")) == 1


def test_a_narrower_consent_given_later_cancels_what_the_wider_one_queued(fresh_town):
    local, _, name = queued(fresh_town)
    fresh_town.consent(local, classes=[2, 3])
    assert arrived(fresh_town, name) == []
    assert state_of(fresh_town, name)[:2] == (DeliveryState.CANCELLED, "NOT_CONSENTED")


def test_a_dispute_between_two_tries_stops_the_next_one(fresh_town):
    town = fresh_town
    local, _, name = queued(town)
    town.recorder.down = True
    assert town.deliver(1) is True
    assert state_of(town, name)[0] == DeliveryState.PENDING
    town.consent(local, state=5)
    town.recorder.down = False
    town.clock.advance(timedelta(minutes=10))
    assert arrived(town, name) == []
    assert state_of(town, name)[:2] == (DeliveryState.CANCELLED, "DISPUTED")


def test_every_try_carries_the_same_key(fresh_town):
    town = fresh_town
    _, _, name = queued(town)
    keys = {row["idempotency_key"] for row in town.rows(tables.deliveries, item=name)}
    town.recorder.down = True
    for _ in range(3):
        town.deliver(1)
        town.clock.advance(timedelta(hours=1))
    town.recorder.down = False
    town.deliver_all()
    assert {request.request_id for _, request in town.recorder.seen} == keys


def test_a_delivery_that_never_succeeds_becomes_a_dead_letter_with_a_holder(fresh_town):
    town = fresh_town
    _, _, name = queued(town)
    town.recorder.down = True
    for _ in range(60):
        if not town.deliver(1):
            town.clock.advance(timedelta(days=1))
        if state_of(town, name)[0] == DeliveryState.DEAD:
            break
    row = town.rows(tables.deliveries, item=name)[0]
    assert (row["state"], row["attempt"]) == (DeliveryState.DEAD, 10)
    held = town.rows(tables.holdings, item=f"deliveries/{row['id']}")
    assert [h["holder"] for h in held] == [town.OPERATOR]


def test_a_class_that_the_adapter_does_not_declare_never_reaches_it_even_when_policy_allows(town):
    """The hospital's recorder declares only reference and reason of an update."""
    local = marked(town)
    town.consent(local)
    name = town.call(town.PSYCH, referral_request(town, local)).referral.name
    town.deliver_all()
    town.advance(town.PSYCH, name, ref.REFERRAL_EVENT_HOLD, reason="CANARY-HOLD")
    town.deliver_all()
    updates = [r.referral_update for a, r in town.recorder.seen if a == town.HOSPITAL]
    (update,) = [update for update in updates if update.name == name]
    assert update.state == ref.REFERRAL_STATE_ON_HOLD
    assert update.state_reason == "CANARY-HOLD"
    assert not update.tier
    assert WORDS[11] not in str(update)
    assert WORDS[12] not in str(update)


def test_two_agencies_cannot_join_their_names_of_a_student(town):
    local = marked(town)
    town.consent(local)
    made = town.call(town.PSYCH, referral_request(town, local))
    (package,) = arrived(town, made.referral.name)
    assert package.referral.student == package.student.name != made.referral.student
