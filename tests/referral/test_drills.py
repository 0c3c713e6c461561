"""Drills: the real way, marked at every step, timed, kept, and nothing of them counted or left behind."""

from datetime import timedelta

import pytest

from xinqiao.api.common.v1.types_pb2 import Guardian
from xinqiao.api.exchange.v1 import exchange_service_pb2 as exchange
from xinqiao.api.referral.v1 import referral_pb2 as pb
from xinqiao.api.referral.v1 import referral_service_pb2 as rpc
from xinqiao.api.screening.v1 import screening_service_pb2 as scr
from xinqiao.disclosure.door import mark_drill
from xinqiao.referral.drills import MARK
from xinqiao.store import tables

STEPS = ["signal", "acknowledge", "refer", "release", "deliver", "receive"]


def start(town, **words):
    return town.call(town.OPERATOR, rpc.StartDrillRequest(**words)).drill


def show(town, drill):
    return town.call(town.OPERATOR, rpc.GetDrillRequest(name=drill.name)).drill


def end_due(town):
    return town.gate.gateway.drills.end_due()


def test_a_drill_goes_from_the_signal_to_the_hospitals_receipt_and_is_timed(two_hospitals):
    town = two_hospitals
    drill = start(town)
    assert [step.step for step in drill.steps] == STEPS
    assert [bool(step.time_us) for step in drill.steps] == [True] * 4 + [False] * 2
    town.deliver_all()
    assert end_due(town) == 1
    ended = show(town, drill)
    assert ended.state == rpc.DRILL_STATE_PASSED
    assert all(step.met and step.due_us >= step.time_us for step in ended.steps)
    assert ended.recipients == [town.HOSPITAL]
    assert ended.end_time_us
    assert [d.name for d in town.call(town.OPERATOR, rpc.ListDrillsRequest()).drills] == [drill.name]


def test_what_arrives_says_that_it_is_a_drill_in_every_place_a_person_or_a_machine_may_look(two_hospitals):
    town = two_hospitals
    start(town)
    town.deliver_all()
    end_due(town)
    town.deliver_all()
    bodies = [request.WhichOneof("body") for _, request in town.recorder.seen]
    assert bodies == ["referral", "referral_update"]
    for _, request in town.recorder.seen:
        assert request.drill
    package, update = (request for _, request in town.recorder.seen)
    assert package.referral.drill and package.referral.referral.drill
    assert package.referral.referral.crisis_facts.startswith(MARK)
    assert package.referral.student.family_name == "演练" and "DRILL" in package.referral.student.given_name
    assert update.referral_update.drill
    assert update.referral_update.state == pb.REFERRAL_STATE_CANCELLED


def test_whoever_looks_at_a_running_drill_sees_that_it_is_one(two_hospitals):
    town = two_hospitals
    drill = start(town)
    town.deliver_all()
    assert all(s.drill for s in town.call(town.PSYCH, scr.ListSignalsRequest()).signals)
    assert all(t.drill for t in town.call(town.PSYCH, scr.ListTriagesRequest()).triages)
    assert town.call(town.HOSPITAL, rpc.GetReferralRequest(name=drill.referral)).referral.drill
    for who in (town.PSYCH, town.HOSPITAL, town.OPERATOR):
        holdings = town.call(who, rpc.ListHoldingsRequest()).holdings
        assert holdings and all(h.drill for h in holdings)


def test_a_real_case_is_never_marked(two_hospitals):
    town = two_hospitals
    start(town)
    local = town.student()
    town.consent(local)
    name = town.refer(local).referral.name
    town.deliver_all()
    real = [r for _, r in town.recorder.seen if r.WhichOneof("body") == "referral" and r.referral.referral.name == name]
    assert [(r.drill, r.referral.drill, r.referral.referral.drill) for r in real] == [(False, False, False)]
    assert [h.drill for h in town.call(town.PSYCH, rpc.ListHoldingsRequest()).holdings if h.item == name] == [False]


def test_a_record_that_cannot_say_that_it_is_a_drill_does_not_leave(two_hospitals):
    assert not mark_drill(Guardian())


def test_when_it_is_over_nothing_of_it_is_held_listed_or_counted(two_hospitals):
    town = two_hospitals
    before = {table.name: len(town.rows(table)) for table in _COUNTED}
    drill = start(town)
    town.deliver_all()
    end_due(town)
    town.deliver_all()
    assert {table.name: len(town.rows(table)) for table in _COUNTED} == before
    assert town.call(town.PSYCH, rpc.ListReferralsRequest()).referrals == []
    assert town.call(town.HOSPITAL, rpc.ListReferralsRequest()).referrals == []
    row = town.rows(tables.referrals, id=drill.referral.removeprefix("referrals/"))[0]
    assert row["state"] == pb.REFERRAL_STATE_CANCELLED


_COUNTED = (
    tables.students, tables.local_ids, tables.assessments, tables.signals, tables.triages, tables.duties,
    tables.holdings,
)  # fmt: skip


def test_a_drill_is_in_no_exchange_also_while_it_runs(make_town):
    def monthly(settings):
        settings["exchanges"] = {
            "monthly": {
                "names": {"zh": "每月", "en": "Monthly"},
                "parties": ["kunshan-no1-middle", "kunshan-mental-health"],
                "datasets": [{"contract": "referrals", "to": "kunshan-mental-health", "purpose": "treatment"}],
                "period": "month",
                "schedule": {"run": {"day": 1, "at": "02:00"}, "close_after_days": 10},
            }
        }

    with make_town(listen=False, change=monthly) as town:
        local = town.student()
        town.consent(local)
        town.refer(local)
        start(town)
        town.deliver_all()
        assert len(town.rows(tables.referrals)) == 2
        town.clock.advance(timedelta(days=25))
        runs = town.call(town.OPERATOR, exchange.RunExchangeRequest(exchange="monthly", period="2026-10")).runs
        assert [run.selected for run in runs] == [1]


def test_a_hospital_that_is_down_makes_the_drill_go_to_the_next_one_and_the_report_says_so(two_hospitals):
    town = two_hospitals
    town.recorder.down = True
    drill = start(town)
    town.deliver_all()
    town.clock.advance(timedelta(seconds=21))
    town.gate.gateway.ladder.climb()
    town.recorder.down = False
    town.deliver_all()
    end_due(town)
    ended = show(town, drill)
    assert ended.recipients == [town.HOSPITAL, "other-hospital"]
    assert ended.state == rpc.DRILL_STATE_PASSED
    town.clock.advance(timedelta(minutes=2))
    town.deliver_all()
    assert all(request.drill for _, request in town.recorder.seen)


def test_a_drill_that_reaches_nobody_is_ended_by_the_clock_and_says_what_was_missed(two_hospitals):
    town = two_hospitals
    town.recorder.down = True
    drill = start(town)
    town.clock.advance(timedelta(minutes=4))
    assert end_due(town) == 0
    town.clock.advance(timedelta(minutes=2))
    assert end_due(town) == 1
    ended = show(town, drill)
    assert ended.state == rpc.DRILL_STATE_MISSED
    assert [step.step for step in ended.steps if not step.met] == ["deliver", "receive"]
    assert town.rows(tables.holdings) == []


def test_in_a_drill_for_people_the_gateway_raises_the_signal_and_people_do_the_rest(two_hospitals):
    town = two_hospitals
    drill = start(town, people=True)
    signal = town.call(town.PSYCH, scr.ListSignalsRequest()).signals[0]
    assert signal.drill
    town.clock.advance(timedelta(minutes=10))
    assert end_due(town) == 0
    town.call(town.PSYCH, scr.AcknowledgeSignalRequest(name=signal.name))
    triage = town.call(town.PSYCH, scr.ListTriagesRequest()).triages[0]
    request = rpc.CreateReferralRequest(
        recipient=town.HOSPITAL, triage=triage.name, urgency=3, reason="drill", crisis_facts="drill",
        student={"name": signal.student},
    )  # fmt: skip
    town.call(town.PSYCH, request)
    town.deliver_all()
    end_due(town)
    ended = show(town, drill)
    assert ended.state == rpc.DRILL_STATE_PASSED
    assert [step.actor for step in ended.steps[1:3]] == [town.PSYCH] * 2


def test_a_repeated_start_is_the_same_drill_and_a_second_one_at_once_is_refused(two_hospitals):
    town = two_hospitals
    request = rpc.StartDrillRequest(request_id=town.key())
    first = town.call(town.OPERATOR, request).drill
    assert town.call(town.OPERATOR, request).drill.name == first.name
    assert len(town.rows(tables.drills)) == 1
    assert town.refusal(town.OPERATOR, rpc.StartDrillRequest()) == "FAILED_PRECONDITION/DRILL_RUNNING"


def test_a_drill_that_a_crash_interrupted_is_ended_after_the_restart(two_hospitals):
    town = two_hospitals
    start(town)
    town.gate.stop()
    town.gate.start(listen=False, work=False)
    town.clock.advance(timedelta(minutes=6))
    assert end_due(town) == 1
    assert town.rows(tables.holdings) == []


def test_a_drill_whose_referral_nobody_can_read_any_more_ends_all_the_same(two_hospitals):
    town = two_hospitals
    drill = start(town)
    (row,) = town.rows(tables.referrals)
    town.gate.gateway.store.run(lambda tx: tx.update(tables.referrals, (row["id"],), sealed=b"altered"))
    town.clock.advance(timedelta(hours=3))
    assert end_due(town) == 1
    assert show(town, drill).state == rpc.DRILL_STATE_MISSED
    assert town.rows(tables.holdings) == []
    assert end_due(town) == 0


def test_what_a_hospital_says_of_a_drill_that_is_over_changes_nothing_and_blames_nobody(two_hospitals):
    town = two_hospitals
    drill = start(town)
    town.deliver_all()
    end_due(town)
    late = rpc.AdvanceReferralRequest(name=drill.referral, event=pb.REFERRAL_EVENT_ACCEPT)
    answer = town.call(town.HOSPITAL, late).referral
    assert (answer.state, answer.drill) == (pb.REFERRAL_STATE_CANCELLED, True)


@pytest.mark.parametrize("who", ["psych-chen", "kunshan-mental-health"])
def test_only_an_operator_starts_a_drill(two_hospitals, who):
    assert two_hospitals.refusal(who, rpc.StartDrillRequest()) == "PERMISSION_DENIED/ROLE"


def test_an_unknown_school_or_hospital_is_refused_and_leaves_nothing(two_hospitals):
    town = two_hospitals
    assert town.refusal(town.OPERATOR, rpc.StartDrillRequest(school="x")) == "INVALID_ARGUMENT/SCHOOL"
    assert town.refusal(town.OPERATOR, rpc.StartDrillRequest(recipient="bureau-admin")) == "NOT_FOUND/RECIPIENT"
    assert town.rows(tables.drills) == []


def test_the_journal_names_no_person_for_what_the_machine_played(two_hospitals):
    town = two_hospitals
    start(town)
    student = town.rows(tables.drills)[0]["student"]
    actors = {row["actor"] for row in town.journal(student=student)}
    assert actors <= {"drill", "gateway", town.OPERATOR, town.PSYCH}
    played = {row["actor"] for row in town.journal(student=student, kind="signal.acknowledged")}
    assert played == {"drill"}
