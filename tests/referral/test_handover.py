"""Drafts, refusals, redirects and capacity: a student is handed over, and stays in somebody's hands."""

import threading
import time
from datetime import timedelta
from typing import Any

import pytest

from xinqiao.adapters.agency import AgencyHandle, AgencySpec
from xinqiao.adapters.errors import PartnerUnavailable
from xinqiao.adapters.manifest import load_manifest
from xinqiao.api.adapter.v1 import adapter_service_pb2 as adapter
from xinqiao.api.referral.v1 import referral_pb2 as pb
from xinqiao.api.referral.v1 import referral_service_pb2 as rpc
from xinqiao.contract.clock import SystemClock
from xinqiao.contract.errors import Refusal
from xinqiao.referral.capacity import Capacity
from xinqiao.store import tables

SECOND = "other-hospital"


@pytest.fixture
def town(two_hospitals):
    return two_hospitals


@pytest.fixture
def local(town):
    local = town.student()
    for hospital in (town.HOSPITAL, SECOND):
        town.consent(local, recipient=hospital)
    return local


def held(town, name):
    return town.rows(tables.holdings, item=name)


def row(town, name):
    return town.rows(tables.referrals, id=name.removeprefix("referrals/"))[0]


# -- drafts -----------------------------------------------------------------------------------------------------------


def test_a_draft_leaves_nothing_and_nobody_else_can_find_it_but_it_is_held(town, local):
    triage = town.confirmed(local)
    made = town.refer(local, triage=triage, draft=True).referral
    assert made.state == pb.REFERRAL_STATE_DRAFT
    assert town.rows(tables.deliveries) == []
    assert town.refusal(town.HOSPITAL, rpc.GetReferralRequest(name=made.name)) == "NOT_FOUND/REFERRAL"
    assert town.call(town.HOSPITAL, rpc.ListReferralsRequest()).referrals == []
    assert (held(town, made.name)[0]["holder"], held(town, made.name)[0]["step"]) == (town.PSYCH, "send")
    assert held(town, triage)[0]["step"] == "refer"  # not referred yet, so that clock runs on


def test_a_draft_that_is_sent_goes_like_any_other(town, local):
    triage = town.confirmed(local)
    name = town.refer(local, triage=triage, draft=True).referral.name
    assert town.advance(town.PSYCH, name, pb.REFERRAL_EVENT_SEND).state == pb.REFERRAL_STATE_SENT
    assert held(town, triage) == []
    town.deliver_all()
    assert row(town, name)["state"] == pb.REFERRAL_STATE_RECEIVED
    assert town.call(town.HOSPITAL, rpc.GetReferralRequest(name=name)).referral.name == name


def test_a_draft_that_is_thrown_away_is_told_to_nobody_and_the_case_is_still_held(town, local):
    triage = town.confirmed(local)
    name = town.refer(local, triage=triage, draft=True).referral.name
    town.advance(town.PSYCH, name, pb.REFERRAL_EVENT_CANCEL)
    assert town.rows(tables.deliveries) == []
    assert held(town, name) == []
    assert held(town, triage)[0]["step"] == "refer"
    assert town.refusal(town.HOSPITAL, rpc.GetReferralRequest(name=name)) == "NOT_FOUND/REFERRAL"


def test_a_draft_on_a_legal_basis_opens_its_duty_when_it_is_sent(town):
    local = town.student()
    made = town.refer(local, draft=True, basis="life-safety", crisis_facts="facts")
    assert (made.duty, made.withheld) == ("", [])
    assert town.rows(tables.duties, kind="notify-guardian") == []
    town.advance(town.PSYCH, made.referral.name, pb.REFERRAL_EVENT_SEND)
    assert len(town.rows(tables.duties, kind="notify-guardian")) == 1


def test_a_draft_that_the_door_refuses_stays_a_draft(town):
    local = town.student()
    name = town.refer(local, draft=True).referral.name
    request = rpc.AdvanceReferralRequest(name=name, event=pb.REFERRAL_EVENT_SEND)
    assert town.refusal(town.PSYCH, request) == "FAILED_PRECONDITION/NO_CONSENT"
    assert row(town, name)["state"] == pb.REFERRAL_STATE_DRAFT
    assert town.journal(kind="refused", reason="NO_CONSENT")


# -- what a hospital may decline for ----------------------------------------------------------------------------------


def decline(name, code="", reason="why"):
    return rpc.AdvanceReferralRequest(
        name=name, event=pb.REFERRAL_EVENT_DECLINE, reason=reason, reason_code=code
    )  # fmt: skip


@pytest.mark.parametrize("code", ["", "no-capacity", "not-our-service", "information-missing"])
def test_a_suspected_disorder_may_not_be_refused_for_want_of_room_or_without_a_reason_of_the_list(town, local, code):
    name = town.refer(local).referral.name
    assert town.refusal(town.HOSPITAL, decline(name, code)) == "FAILED_PRECONDITION/MAY_NOT_REFUSE"
    assert held(town, name)[0]["holder"] == town.HOSPITAL
    assert town.journal(kind="refused", reason="MAY_NOT_REFUSE")


def test_a_permitted_reason_returns_the_student_to_the_sender_with_it(town, local):
    name = town.refer(local).referral.name
    town.call(town.HOSPITAL, decline(name, "already-in-care", "seen in Suzhou since May"))
    shown = town.call(town.PSYCH, rpc.GetReferralRequest(name=name)).referral
    assert (shown.state, shown.reason_code) == (pb.REFERRAL_STATE_DECLINED, "already-in-care")
    assert shown.state_reason == "seen in Suzhou since May"
    assert (held(town, name)[0]["holder"], held(town, name)[0]["step"]) == (town.PSYCH, "refer")


@pytest.mark.parametrize("words", ["duplicate", "重复转介", "The same referral twice"])
def test_a_partner_that_sends_no_code_is_understood_by_the_lists_own_words(town, local, words):
    name = town.refer(local).referral.name
    assert town.call(town.HOSPITAL, decline(name, "", words)).referral.reason_code == "duplicate"


def test_a_milder_case_may_be_declined_for_any_reason(town, local):
    name = town.refer(local, triage=town.confirmed(local, tier=2)).referral.name
    assert town.call(town.HOSPITAL, decline(name, "no-capacity")).referral.state == pb.REFERRAL_STATE_DECLINED


def test_an_unknown_code_is_refused(town, local):
    name = town.refer(local).referral.name
    assert town.refusal(town.HOSPITAL, decline(name, "no-mood")) == "INVALID_ARGUMENT/REASON_CODE"


def test_cancelling_is_no_way_around_it_unless_the_sender_asked(town, local):
    name = town.refer(local).referral.name
    cancel = rpc.AdvanceReferralRequest(name=name, event=pb.REFERRAL_EVENT_CANCEL, reason="full")
    assert town.refusal(town.HOSPITAL, cancel) == "FAILED_PRECONDITION/MAY_NOT_REFUSE"
    town.advance(town.PSYCH, name, pb.REFERRAL_EVENT_ASK_RECALL)
    assert town.advance(town.HOSPITAL, name, pb.REFERRAL_EVENT_CANCEL, "").state == pb.REFERRAL_STATE_CANCELLED


# -- redirects --------------------------------------------------------------------------------------------------------


def declined(town, local, **words):
    name = town.refer(local, **words).referral.name
    town.deliver_all()
    town.call(town.HOSPITAL, decline(name, "already-in-care"))
    return name


def redirect(name, recipient=""):
    return rpc.AdvanceReferralRequest(
        name=name, event=pb.REFERRAL_EVENT_REDIRECT, reason="why", recipient=recipient
    )  # fmt: skip


def test_a_redirect_really_hands_over_and_keeps_the_chain(town, local):
    name = declined(town, local)
    old = town.call(town.PSYCH, redirect(name, SECOND)).referral
    new = town.call(town.PSYCH, rpc.GetReferralRequest(name=old.redirected_to)).referral
    assert (old.state, new.state) == (pb.REFERRAL_STATE_REDIRECTED, pb.REFERRAL_STATE_SENT)
    assert (new.redirected_from, new.recipient, new.triage) == (name, SECOND, old.triage)
    assert (held(town, name), held(town, new.name)[0]["holder"]) == ([], SECOND)
    town.deliver_all()
    assert [a for a, r in town.recorder.seen if r.WhichOneof("body") == "referral"] == [town.HOSPITAL, SECOND]
    assert row(town, new.name)["state"] == pb.REFERRAL_STATE_RECEIVED


def test_a_redirect_is_a_disclosure_of_its_own_and_what_it_may_not_do_it_does_not(town):
    local = town.student()
    town.consent(local)  # for the first hospital only
    name = declined(town, local)
    assert town.refusal(town.PSYCH, redirect(name, SECOND)) == "FAILED_PRECONDITION/NO_CONSENT"
    assert row(town, name)["state"] == pb.REFERRAL_STATE_DECLINED
    assert len(town.rows(tables.referrals)) == 1
    assert held(town, name)[0]["holder"] == town.PSYCH


def test_a_redirect_without_a_name_takes_the_next_of_the_senders_list_until_there_is_none(town, local):
    name = declined(town, local, recipients=[town.HOSPITAL, SECOND], recipient="")
    new = town.call(town.PSYCH, redirect(name)).referral.redirected_to
    town.call(SECOND, decline(new, "already-in-care"))
    assert town.refusal(town.PSYCH, redirect(new)) == "INVALID_ARGUMENT/RECIPIENT"
    assert town.refusal(town.PSYCH, redirect(new, "bureau-admin")) == "NOT_FOUND/RECIPIENT"


def test_the_first_hospital_cannot_read_what_the_second_has(town, local):
    name = declined(town, local)
    new = town.call(town.PSYCH, redirect(name, SECOND)).referral.redirected_to
    assert town.refusal(town.HOSPITAL, rpc.GetReferralRequest(name=new)) == "NOT_FOUND/REFERRAL"


# -- capacity ---------------------------------------------------------------------------------------------------------


class Answers:
    """What each hospital answers to the question of capacity; ``slow`` keeps it waiting."""

    def __init__(self, town, monkeypatch, **capacity):
        self.asked: list[str] = []
        self.slow_s = 0.0
        self.capacity = {town.HOSPITAL: 0, SECOND: 0} | {k.replace("_", "-"): v for k, v in capacity.items()}
        monkeypatch.setattr(town.gate.gateway.pipeline.rooms[_SERVICE]._capacity, "_ask", self)

    def __call__(self, agency, request):
        self.asked.append(agency)
        time.sleep(self.slow_s)
        answer: Any = self.capacity[agency]
        return adapter.CapacityResponse(capacity=answer) if answer else None


_SERVICE = "xinqiao.api.referral.v1.ReferralService"
AVAILABLE, NONE, WAITLIST, ASSESS = 1, 2, 3, 4


@pytest.mark.parametrize(
    ("first", "second", "chosen"),
    [
        (AVAILABLE, AVAILABLE, 0), (NONE, AVAILABLE, 1), (WAITLIST, AVAILABLE, 1), (WAITLIST, NONE, 0),
        (0, AVAILABLE, 0), (NONE, 0, 1), (ASSESS, WAITLIST, 0), (ASSESS, 0, 1),
    ],
)  # fmt: skip
def test_the_first_hospital_with_a_place_is_taken_and_not_known_counts_as_one(
    town, local, monkeypatch, first, second, chosen
):
    order = [town.HOSPITAL, SECOND]
    answers = Answers(town, monkeypatch, **{town.HOSPITAL: first, SECOND: second})
    made = town.refer(local, recipient="", recipients=order)
    assert sorted(answers.asked) == sorted(order)
    assert made.referral.recipient == order[chosen]
    assert made.referral.recipients == [order[1 - chosen]]
    words = {0: "UNKNOWN", 1: "AVAILABLE", 2: "NONE", 3: "WAITLIST", 4: "ASSESSMENT_REQUIRED"}
    assert [each.answer for each in made.asked] == [words[first], words[second]]


def test_a_service_of_the_district_names_its_hospitals(town, local, monkeypatch):
    Answers(town, monkeypatch, **{town.HOSPITAL: NONE})
    assert town.refer(local, recipient="", service="child-psychiatry").referral.recipient == SECOND
    assert town.refusal(town.PSYCH, town.refer_request(local, recipient="")) == "INVALID_ARGUMENT/RECIPIENT"


def test_where_none_of_several_has_a_place_the_sender_is_told_and_still_holds_the_case(town, local, monkeypatch):
    Answers(town, monkeypatch, **{town.HOSPITAL: NONE, SECOND: NONE})
    triage = town.confirmed(local, tier=3)
    request = town.refer_request(local, triage=triage, recipient="", recipients=[town.HOSPITAL, SECOND])
    assert town.refusal(town.PSYCH, request) == "FAILED_PRECONDITION/NO_CAPACITY"
    assert held(town, triage)[0]["step"] == "refer"
    assert town.refer(local, triage=triage).referral.recipient == town.HOSPITAL  # named alone, a person has decided


def test_red_is_never_stopped_by_a_full_hospital(town, local, monkeypatch):
    Answers(town, monkeypatch, **{town.HOSPITAL: NONE, SECOND: NONE})
    made = town.refer(local, recipient="", recipients=[town.HOSPITAL, SECOND])
    assert (made.referral.tier, made.referral.recipient) == (4, town.HOSPITAL)


def test_an_emergency_does_not_even_ask(town, local, monkeypatch):
    answers = Answers(town, monkeypatch, **{town.HOSPITAL: NONE})
    answers.slow_s = 30
    town.refer(local, urgency=pb.URGENCY_EMERGENCY, crisis_facts="facts")
    assert answers.asked == []


def test_the_question_is_asked_outside_of_the_transaction_so_nobody_else_waits(town, local, monkeypatch):
    answers = Answers(town, monkeypatch)
    answers.slow_s = 1.5
    request = town.refer_request(local)
    asking = threading.Thread(target=lambda: town.call(town.PSYCH, request))
    asking.start()
    while not answers.asked:
        time.sleep(0.01)
    began = time.monotonic()
    town.student()  # a write of somebody else
    assert time.monotonic() - began < 1
    asking.join()


class Asked:
    """An adapter whose answer to the question of capacity is ``does``."""

    def __init__(self, does):
        self.does = does

    def check(self):
        return "asked"

    def capacity(self, request, timeout_s):
        return self.does()

    def close(self):
        pass


@pytest.fixture
def handle(tmp_path):
    """Makes the gateway's handle of an agency with such an adapter."""
    manifest = tmp_path / "m.yaml"
    manifest.write_text(
        "domain: asked\nnames: {zh: 问, en: Asked}\npartner_kind: hospital\ncapabilities: [check, capacity]\ncontracts: {}\n"
        "hosts: none\nlegal_bases: [consent]\napi: 1\n", "utf-8",
    )  # fmt: skip
    made = AgencyHandle(AgencySpec("asked", {}, "asked", {}), load_manifest(manifest), SystemClock())

    def make(does):
        made.started(Asked(does))
        return made

    yield make
    made.close(2)


def test_a_hospital_that_does_not_answer_in_time_is_not_waited_for(handle):
    slow, began = handle(lambda: time.sleep(1.0)), time.monotonic()
    assert slow.capacity(adapter.CapacityRequest(), 0.2) is None
    assert time.monotonic() - began < 0.9


@pytest.mark.parametrize("fault", [PartnerUnavailable("down"), RuntimeError("broken"), "not an answer"])
def test_a_hospital_that_fails_the_question_is_unknown_and_still_gets_its_calls(handle, fault):
    def fail():
        if isinstance(fault, Exception):
            raise fault
        return fault

    faulty = handle(fail)
    for _ in range(10):
        assert faulty.capacity(adapter.CapacityRequest(), 1.0) is None
    assert faulty.check() == "asked"


def test_a_hospital_that_answers_is_heard(handle):
    answer = adapter.CapacityResponse(capacity=adapter.CAPACITY_WAITLIST, wait_days=9)
    assert handle(lambda: answer).capacity(adapter.CapacityRequest(), 1.0) == answer


def test_choosing_among_one_never_refuses():
    capacity = Capacity(lambda agency, request: None, {})
    assert capacity.choose(["a"], {"a": NONE}, red=False).recipient == "a"
    with pytest.raises(Refusal, match="NO_CAPACITY"):
        capacity.choose(["a", "b"], {"a": NONE, "b": NONE}, red=False)


def test_a_wait_for_an_answer_is_shorter_than_any_clock_of_red(town):
    wait = town.gate.gateway.bundle.district.capacity_wait
    assert wait < timedelta(seconds=10)
