"""A notice to guardians from issue to the hospital's counter: who may have it, what it proves, and who holds it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xinqiao.api.referral.v1 import notice_pb2 as pb
from xinqiao.api.referral.v1 import notice_service_pb2 as rpc
from xinqiao.contract.clock import from_us, local_date
from xinqiao.contract.errors import Refusal
from xinqiao.documents import short_form
from xinqiao.referral.notices import HOLDS
from xinqiao.store import tables

MOTHER = {"full_name": "欧阳敏", "relation": "mother", "phone": "13900000001"}
FATHER = {"full_name": "欧阳强", "relation": "father", "phone": "13900000002", "in_conflict": True}
SEEN = "近三周上课时伏案哭泣，说过“活着没意思”，右前臂有新的划痕。"


def child(town, *guardians):
    return town.student(guardians=list(guardians) or [FATHER, MOTHER], grade="八年级", class_title="3班")


def issue_request(town, local, **words):
    words = {"observed_behaviour": SEEN, "advice": "请在24小时内陪同就诊，不要让孩子独处。", **words}
    if "triage" not in words:
        words["triage"] = town.confirmed(local)
    return rpc.IssueNoticeRequest(student={"local_id": local}, **words)


def issue(town, local=None, **words):
    return town.call(town.PSYCH, issue_request(town, local or child(town), **words)).notice


def serve(town, notice, **words):
    receipt = {"channel": 1, "signer": "欧阳敏", "time_us": town.clock.now_us()}
    return rpc.ServeNoticeRequest(name=notice.name, receipt=receipt, **words)


def refuse(town, notice):
    refusal = {"witness": "李老师", "time_us": town.clock.now_us(), "reason": "不愿意"}
    return rpc.RefuseNoticeRequest(name=notice.name, refusal=refusal)


def verdict(town, code, hospital=None):
    return town.call(hospital or town.HOSPITAL, rpc.VerifyNoticeRequest(short_form=code))


def held(town, notice):
    return [(row["step"], row["holder"]) for row in town.rows(tables.holdings, item=notice.name)]


def test_a_notice_goes_from_issue_over_the_guardian_to_the_hospital_and_is_held_all_the_way(town):
    notice = issue(town)
    assert notice.guardian == MOTHER["full_name"]
    assert held(town, notice) == [("serve", town.PSYCH)]
    assert town.call(town.PSYCH, serve(town, notice)).notice.state == pb.NOTICE_STATE_SERVED
    assert held(town, notice) == [("present", town.PSYCH)]
    answer = verdict(town, notice.short_form)
    assert (answer.verdict, answer.priority_due) == (pb.NOTICE_VERDICT_GENUINE, True)
    assert held(town, notice) == []
    shown = town.call(town.PSYCH, rpc.GetNoticeRequest(name=notice.name)).notice
    assert shown.state == pb.NOTICE_STATE_PRESENTED
    assert shown.present_time_us
    kinds = [row["kind"] for row in town.journal(resource=notice.name)]
    assert kinds == ["notice.issued", "released", "notice.served", "notice.verified"]


def test_what_the_paper_tells_the_family_is_on_record_as_a_disclosure_to_it(town):
    notice = issue(town)
    town.call(town.PSYCH, serve(town, notice))
    (row,) = town.journal(kind="released", resource=notice.name)
    assert row["partner"] == "family"
    assert row["classes"] >> 3 & 1
    assert not row["classes"] >> 9 & 1


# -- the guardian in conflict -----------------------------------------------------------------------------------------


def test_a_flagged_guardian_is_passed_over_and_cannot_be_named(town):
    local = child(town, FATHER, MOTHER)
    assert issue(town, local).guardian == MOTHER["full_name"]
    assert town.refusal(town.PSYCH, issue_request(town, local, guardian=1)).endswith("/GUARDIAN_IN_CONFLICT")
    assert town.refusal(town.PSYCH, issue_request(town, local, guardian=3)) == "NOT_FOUND/GUARDIAN"


def test_with_flagged_guardians_only_no_notice_is_written(town):
    local = child(town, FATHER)
    assert town.refusal(town.PSYCH, issue_request(town, local)).endswith("/NO_GUARDIAN")
    assert town.rows(tables.notices, student=town.inside_id(local)) == []


def test_a_guardian_flagged_after_the_issue_is_neither_served_nor_printed_for(town):
    local = child(town, MOTHER)
    notice = issue(town, local)
    town.student(local_id=local, guardians=[{**MOTHER, "in_conflict": True}])
    assert town.refusal(town.PSYCH, serve(town, notice)).endswith("/GUARDIAN_IN_CONFLICT")
    printing = rpc.RenderDocumentRequest(kind=pb.DOCUMENT_KIND_NOTICE, subject=notice.name)
    assert town.refusal(town.PSYCH, printing).endswith("/GUARDIAN_IN_CONFLICT")


def test_a_flagged_guardian_cannot_sign_for_the_other(town):
    notice = issue(town)
    request = serve(town, notice)
    request.receipt.signer = FATHER["full_name"]
    assert town.refusal(town.PSYCH, request).endswith("/GUARDIAN_IN_CONFLICT")


# -- no diagnosis -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["孩子患有抑郁症", "确诊双相", "抑郁\n症", "ＡＤＨＤ", "He has ADHD.", "Schizophrenia suspected"]
)
@pytest.mark.parametrize("field", ["observed_behaviour", "advice"])
def test_a_text_that_names_a_disorder_is_refused_and_not_quoted(town, text, field):
    with pytest.raises(Refusal) as caught:
        town.call(town.PSYCH, issue_request(town, child(town), **{field: text}))
    assert caught.value.reason == "DIAGNOSIS_IN_NOTICE"
    assert text not in str(caught.value)


def test_advice_to_see_a_doctor_is_no_diagnosis(town):
    assert issue(town, advice="请到市精神病医院精神科就诊，由医生确诊。").number


# -- refusal, and the way of article 23 -------------------------------------------------------------------------------


def test_a_refusal_before_a_witness_makes_the_school_decide_in_time(town):
    notice = issue(town)
    assert town.call(town.PSYCH, refuse(town, notice)).notice.state == pb.NOTICE_STATE_REFUSED
    (row,) = town.rows(tables.holdings, item=notice.name)
    assert (row["step"], row["holder"]) == ("decide", town.PSYCH)
    assert row["deadline_us"] - town.clock.now_us() <= timedelta(hours=1) // timedelta(microseconds=1)


def test_a_report_to_the_police_holds_what_the_law_allows_and_opens_the_duty_to_notify(town):
    notice = issue(town)
    town.call(town.PSYCH, refuse(town, notice))
    decided = town.call(town.PSYCH, rpc.DecideNoticeRequest(
        name=notice.name, police="police", grounds="危险迫近", crisis_facts="写了遗书", location="家中", basis="life-safety",
    ))  # fmt: skip
    assert decided.notice.state == pb.NOTICE_STATE_REPORTED
    assert (decided.report.crisis_facts, decided.report.student.family_name) == ("写了遗书", "欧阳")
    assert [g.full_name for g in decided.report.student.guardians] == [MOTHER["full_name"]]
    assert not decided.report.student.grade  # SCHOOL is not for a rescue
    assert "student.grade" in [item.field for item in decided.withheld]
    assert decided.duty.startswith("duties/")
    assert held(town, notice) == [("present", town.PSYCH)]
    (row,) = [r for r in town.journal(kind="released") if r["reason"] == "police_report"][-1:]
    assert (row["partner"], row["basis"]) == ("police", "life-safety")


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        ({"basis": ""}, "FAILED_PRECONDITION/NO_BASIS"),
        ({"basis": "no-such"}, "FAILED_PRECONDITION/BASIS_UNKNOWN"),
        ({"crisis_facts": ""}, "INVALID_ARGUMENT/FACTS_REQUIRED"),
        ({"police": "kunshan-mental-health"}, "NOT_FOUND/RECIPIENT"),
    ],
)
def test_no_report_without_a_basis_facts_and_a_police_partner(town, words, refused):
    notice = issue(town)
    town.call(town.PSYCH, refuse(town, notice))
    report = {"police": "police", "grounds": "g", "crisis_facts": "f", "basis": "life-safety", **words}
    assert town.refusal(town.PSYCH, rpc.DecideNoticeRequest(name=notice.name, **report)) == refused
    assert held(town, notice) == [("decide", town.PSYCH)]


def test_a_school_that_goes_on_persuading_serves_the_notice_again(town):
    notice = issue(town)
    town.call(town.PSYCH, refuse(town, notice))
    town.call(town.PSYCH, rpc.DecideNoticeRequest(name=notice.name, grounds="家长愿再谈"))
    assert held(town, notice) == [("serve", town.PSYCH)]
    assert town.call(town.PSYCH, serve(town, notice)).notice.state == pb.NOTICE_STATE_SERVED


# -- the code ---------------------------------------------------------------------------------------------------------


def test_every_changed_code_is_not_genuine(town):
    code = issue(town).short_form
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    for place in range(len(code)):
        changed = code[:place] + letters[(letters.find(code[place]) + 1) % 32] + code[place + 1 :]
        assert short_form.verify(changed, [town.gate.gateway.pipeline.rooms[NOTICES].terms.key.public_key()]) is None
    assert verdict(town, code[:-1] + ("A" if code[-1] != "A" else "B")).verdict == pb.NOTICE_VERDICT_NOT_GENUINE


NOTICES = "xinqiao.api.referral.v1.NoticeService"


def test_a_code_signed_by_another_key_is_not_genuine_and_tells_nothing(town):
    notice = issue(town)
    own = short_form.verify(notice.short_form, [town.gate.gateway.pipeline.rooms[NOTICES].terms.key.public_key()])
    forged = short_form.sign(own, Ed25519PrivateKey.generate())
    answer = verdict(town, forged)
    assert (answer.verdict, answer.priority_due, answer.issue_day) == (pb.NOTICE_VERDICT_NOT_GENUINE, False, "")
    assert held(town, notice) == [("serve", town.PSYCH)]


def test_a_notice_outlives_the_key_that_signed_it_where_its_public_half_is_kept(town):
    room = town.gate.gateway.pipeline.rooms[NOTICES]
    code, before = issue(town).short_form, room.terms
    room.terms = replace(before, key=Ed25519PrivateKey.generate())
    assert verdict(town, code).verdict == pb.NOTICE_VERDICT_NOT_GENUINE
    room.terms = replace(room.terms, retired=(before.key.public_key(),))
    assert verdict(town, code).verdict == pb.NOTICE_VERDICT_GENUINE
    room.terms = before


@pytest.mark.parametrize("text", ["XQ1", "XQ1AAAA", "hello", "XQ2" + "A" * 133, "XQ1" + "A" * 133, "ＸＱ１"])
def test_anything_else_is_not_genuine_and_never_an_error(town, text):
    assert verdict(town, text).verdict == pb.NOTICE_VERDICT_NOT_GENUINE


def test_a_scanner_that_wraps_lines_is_forgiven(town):
    code = issue(town).short_form
    assert verdict(town, f" {code[:60]}\r\n{code[60:]}\n").verdict == pb.NOTICE_VERDICT_GENUINE


def test_a_revoked_notice_verifies_as_revoked_and_gives_no_priority_also_where_it_was_seen_before(town):
    notice = issue(town)
    assert verdict(town, notice.short_form).verdict == pb.NOTICE_VERDICT_GENUINE
    town.call(town.PSYCH, rpc.RevokeNoticeRequest(name=notice.name, reason="写错了"))
    answer = verdict(town, notice.short_form)
    assert (answer.verdict, answer.priority_due) == (pb.NOTICE_VERDICT_REVOKED, False)
    assert held(town, notice) == []


def test_the_notice_of_an_erased_student_is_no_longer_in_force(town):
    local = child(town)
    seen, unseen = issue(town, local), issue(town, local)
    assert verdict(town, seen.short_form).verdict == pb.NOTICE_VERDICT_GENUINE
    town.gate.gateway.store.keys.shred(town.inside_id(local))
    for notice in (seen, unseen):
        answer = verdict(town, notice.short_form)
        assert (answer.verdict, answer.priority_due) == (pb.NOTICE_VERDICT_REVOKED, False)


def test_a_notice_is_in_force_to_the_end_of_its_last_day_in_beijing(fresh_town):
    town = fresh_town
    notice = issue(town)
    last = short_form.verify(notice.short_form, [town.gate.gateway.pipeline.rooms[NOTICES].terms.key.public_key()])
    assert local_date(notice.expire_time_us) == last.last_day
    town.clock.advance(from_us(notice.expire_time_us) - from_us(town.clock.now_us()) - timedelta(seconds=1))
    assert verdict(town, notice.short_form).verdict == pb.NOTICE_VERDICT_GENUINE
    town.clock.advance(timedelta(seconds=2))
    answer = verdict(town, notice.short_form)
    assert (answer.verdict, answer.priority_due) == (pb.NOTICE_VERDICT_EXPIRED, False)


def test_a_hospital_learns_nothing_but_the_verdict_and_the_day(town):
    notice = issue(town)
    answer = verdict(town, notice.short_form)
    assert [field.name for field, _ in answer.ListFields()] == ["verdict", "priority_due", "issue_day"]
    assert town.refusal(town.HOSPITAL, rpc.GetNoticeRequest(name=notice.name)) == "PERMISSION_DENIED/ROLE"


def test_two_codes_of_one_student_have_nothing_in_common_but_the_day(town):
    local = child(town)
    one, two = issue(town, local).short_form, issue(town, local).short_form
    key = town.gate.gateway.pipeline.rooms[NOTICES].terms.key.public_key()
    assert short_form.verify(one, [key]).serial != short_form.verify(two, [key]).serial


# -- who may, and the invariant ---------------------------------------------------------------------------------------


def test_the_platform_sees_that_there_is_a_notice_and_not_what_it_says(town):
    notice = issue(town)
    shown = town.call(town.SCHOOL, rpc.GetNoticeRequest(name=notice.name)).notice
    assert shown.state == pb.NOTICE_STATE_ISSUED
    assert (shown.observed_behaviour, shown.advice) == ("", "")


def test_a_strangers_notice_looks_like_none_at_all(town):
    notice = issue(town)
    for stranger in ("psych-li", "other-school"):
        foreign = town.refusal(stranger, rpc.GetNoticeRequest(name=notice.name))
        assert foreign == town.refusal(stranger, rpc.GetNoticeRequest(name="notices/" + "0" * 32)) == "NOT_FOUND/NOTICE"
        assert not town.call(stranger, rpc.ListNoticesRequest()).notices
    assert notice.name in [n.name for n in town.call(town.PSYCH, rpc.ListNoticesRequest(page_size=1000)).notices]


def test_a_notice_needs_a_tier_that_a_person_confirmed_for_this_student(town):
    local, other = child(town), child(town)
    open_triage = town.submit(local).triage.name
    assert town.refusal(town.PSYCH, issue_request(town, local, triage=open_triage)).endswith("/TIER_NOT_CONFIRMED")
    assert town.refusal(town.PSYCH, issue_request(town, local, triage=town.confirmed(other))) == "NOT_FOUND/TRIAGE"


def test_an_unserved_notice_is_escalated_when_its_time_is_up(fresh_town):
    town = fresh_town
    notice = issue(town)
    town.clock.advance(timedelta(hours=1, seconds=1))
    town.gate.gateway.ladder.climb()
    assert [row["reason"] for row in town.journal(kind="escalated", resource=notice.name)] == [
        "serve:overdue:psych-chen"
    ]


def test_a_receipt_from_the_future_or_before_the_issue_is_refused(town):
    notice = issue(town)
    for shift in (timedelta(minutes=5), -timedelta(days=2)):
        request = serve(town, notice)
        request.receipt.time_us += shift // timedelta(microseconds=1)
        assert town.refusal(town.PSYCH, request) == "INVALID_ARGUMENT/TIME"


EVENTS = ["serve", "refuse", "report", "persuade", "revoke", "verify"]


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(EVENTS), min_size=1, max_size=8))
def test_whatever_happens_an_open_notice_has_one_holder_and_a_deadline_and_a_done_one_none(town, history):
    notice = issue(town)
    for event in history:
        request = {
            "serve": lambda: serve(town, notice),
            "refuse": lambda: refuse(town, notice),
            "report": lambda: rpc.DecideNoticeRequest(
                name=notice.name, police="police", grounds="g", crisis_facts="f", basis="life-safety"
            ),
            "persuade": lambda: rpc.DecideNoticeRequest(name=notice.name, grounds="g"),
            "revoke": lambda: rpc.RevokeNoticeRequest(name=notice.name, reason="r"),
            "verify": lambda: rpc.VerifyNoticeRequest(short_form=notice.short_form),
        }[event]()
        try:
            town.call(town.HOSPITAL if event == "verify" else town.PSYCH, request)
        except Refusal as refusal:
            assert refusal.reason == "STATE"
        (row,) = town.rows(tables.notices, id=notice.name.removeprefix("notices/"))
        holdings = town.rows(tables.holdings, item=notice.name)
        if row["state"] in HOLDS:
            assert [(h["step"], h["holder"]) for h in holdings] == [(HOLDS[row["state"]], town.PSYCH)]
            assert holdings[0]["deadline_us"] > town.clock.now_us()
        else:
            assert holdings == []
