"""What people notice: every source is kept, a crisis is red whoever saw it, one clock runs for the case."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from xinqiao.api.casefile.v1 import casefile_service_pb2 as case
from xinqiao.api.common.v1 import types_pb2 as types
from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao.api.screening.v1 import screening_service_pb2 as scr
from xinqiao.config.problems import ConfigError
from xinqiao.disclosure.bases import load_bases
from xinqiao.screening.trust import CRISES, KindName, SourceName, load_signal_policy
from xinqiao.store import tables

POLICY = Path(__file__).resolve().parents[2] / "config" / "policy"
SUICIDAL, ABUSE, CONCERN = pb.SIGNAL_KIND_SUICIDAL, pb.SIGNAL_KIND_ABUSE, pb.SIGNAL_KIND_CONCERN
TEACHER, PEER, MAILBOX = pb.SIGNAL_SOURCE_CLASS_TEACHER, pb.SIGNAL_SOURCE_PEER, pb.SIGNAL_SOURCE_MAILBOX
HOUR_US = 3_600_000_000
AGENCIES = {
    pb.SIGNAL_SOURCE_GRID_MEMBER: "grid", pb.SIGNAL_SOURCE_HOTLINE: "hotline", pb.SIGNAL_SOURCE_POLICE: "police",
    pb.SIGNAL_SOURCE_HOSPITAL: "kunshan-mental-health", pb.SIGNAL_SOURCE_WOMENS_FEDERATION: "womens-federation",
    pb.SIGNAL_SOURCE_YOUTH_LEAGUE: "youth-league", pb.SIGNAL_SOURCE_SOCIAL_WORKER: "social-work",
}  # fmt: skip


def report(town, local, source=TEACHER, kind=SUICIDAL, *, as_=None, name="", **words):
    request = scr.ReportSignalRequest(source=source, kind=kind, facts="said so at the gate", **words)
    if name:
        request.student.name = name
    else:
        request.student.local_id = local
    return town.call(as_ or town.PSYCH, request)


def pseudonym(town, local, partner):
    """The name under which an agency knows the student, as after a referral."""
    inside, door = town.inside_id(local), town.gate.gateway.door
    return door.students.name(partner, inside)


def holding(town, name):
    (row,) = town.rows(tables.holdings, item=name)
    return row


def listed(town, local, as_="psych-chen"):
    mine = {f"signals/{row['id']}" for row in town.rows(tables.signals, student=town.inside_id(local))}
    return [s for s in town.call(as_, scr.ListSignalsRequest(page_size=1000)).signals if s.name in mine]


@pytest.mark.parametrize("source", [v for v in pb.SignalSource.values() if v])
def test_a_sign_of_crisis_is_proposed_red_whoever_saw_it(town, source):
    local = town.student()
    partner = AGENCIES.get(source)
    made = report(town, local, source, as_=partner, name=pseudonym(town, local, partner) if partner else "")
    row = town.rows(tables.triages, id=made.triage.name.removeprefix("triages/"))[0]
    assert (row["proposed"], row["state"]) == (types.TIER_RED, pb.TRIAGE_STATE_PROPOSED)
    due = holding(town, made.signal.name)
    assert (due["holder"], due["tier"]) == (town.PSYCH, types.TIER_RED)
    assert due["deadline_us"] <= town.clock.now_us() + HOUR_US // 2


@pytest.mark.parametrize("kind", [k for k in pb.SignalKind.values() if k not in (0, CONCERN)])
def test_a_peer_and_a_letter_get_the_same_red_clock_as_the_teacher_and_only_other_words(town, kind):
    peer, teacher = report(town, town.student(), PEER, kind), report(town, town.student(), TEACHER, kind)
    deadlines = [holding(town, made.signal.name)["deadline_us"] for made in (peer, teacher)]
    assert abs(deadlines[0] - deadlines[1]) < 1_000_000
    assert peer.triage.proposed == teacher.triage.proposed == types.TIER_RED
    assert "second source" in peer.triage.reason_en and "do not wait" in peer.triage.reason_en
    assert "核实" in peer.triage.reason_zh and "核实" not in teacher.triage.reason_zh


def test_of_two_red_cases_the_better_founded_is_listed_first(fresh_town):
    peer, teacher = [report(fresh_town, fresh_town.student(), source).triage.name for source in (PEER, TEACHER)]
    later = report(fresh_town, fresh_town.student(), PEER).triage.name
    listed_names = [t.name for t in fresh_town.call(fresh_town.PSYCH, scr.ListTriagesRequest(open_only=True)).triages]
    assert listed_names[0] == teacher and set(listed_names[1:]) == {peer, later}


def test_a_report_keeps_when_and_where_it_happened_apart_from_what_is_made_of_it(town):
    local = town.student()
    made = report(town, local, opinion="perhaps the exams", occurred_us=1_760_000_000_000_000, location="东门")
    (kept,) = listed(town, local)
    assert (kept.occurred_us, kept.location, kept.trust) == (1_760_000_000_000_000, "东门", "observer")
    assert kept.facts == "said so at the gate" and kept.opinion == ""  # a note never leaves
    assert made.signal.facts == kept.facts


def test_a_time_that_has_not_come_is_refused_but_a_clock_in_another_zone_is_not(town):
    local = town.student()
    request = scr.ReportSignalRequest(source=TEACHER, kind=SUICIDAL, facts="f", student={"local_id": local})
    request.occurred_us = town.clock.now_us() + 48 * HOUR_US
    assert town.refusal(town.PSYCH, request) == "INVALID_ARGUMENT/DATE_RANGE"
    request.occurred_us = town.clock.now_us() + 8 * HOUR_US
    assert town.call(town.PSYCH, request).signal.name


# -- several sources, one case ---------------------------------------------------------------------------------------


def test_a_second_source_is_linked_to_the_first_and_both_stay(town):
    local = town.student()
    first = report(town, local, PEER)
    second = report(town, local, pb.SIGNAL_SOURCE_HOTLINE, as_="hotline", name=pseudonym(town, local, "hotline"))
    newer, older = listed(town, local)
    assert (older.source, newer.source) == (PEER, pb.SIGNAL_SOURCE_HOTLINE)
    assert newer.duplicate_of == older.name == first.signal.name
    assert list(older.related) == [second.signal.name] and list(newer.related) == [first.signal.name]
    assert {older.state, newer.state} == {pb.SIGNAL_STATE_OPEN}
    assert [row["kind"] for row in town.journal(resource=second.signal.name)] == ["signal.reported"]


def test_a_case_of_three_reports_has_one_triage_and_the_earliest_deadline(fresh_town):
    local = fresh_town.student()
    first = report(fresh_town, local, PEER)
    due = holding(fresh_town, first.signal.name)["deadline_us"]
    fresh_town.clock.advance(timedelta(minutes=20))
    others = [report(fresh_town, local, TEACHER), report(fresh_town, local, pb.SIGNAL_SOURCE_GUARDIAN)]
    assert {made.triage.name for made in others} == {first.triage.name}
    assert list(others[-1].triage.signals) == [first.signal.name, *(made.signal.name for made in others)]
    held = [holding(fresh_town, made.signal.name) for made in (first, *others)]
    assert {(row["deadline_us"], row["holder"]) for row in held} == {(due, fresh_town.PSYCH)}
    assert len(fresh_town.rows(tables.triages)) == 1


def test_a_further_report_goes_to_whom_the_case_was_escalated_to(fresh_town):
    local = fresh_town.student()
    first = report(fresh_town, local, PEER)
    fresh_town.clock.advance(timedelta(minutes=31))
    assert fresh_town.gate.gateway.ladder.climb()
    second = report(fresh_town, local, TEACHER)
    assert holding(fresh_town, second.signal.name)["holder"] == holding(fresh_town, first.signal.name)["holder"]
    assert holding(fresh_town, second.signal.name)["holder"] != fresh_town.PSYCH


def test_a_further_report_makes_a_decision_on_what_was_seen_before_start_over(town):
    local = town.student()
    first = report(town, local, PEER)
    report(town, local, TEACHER)
    stale = scr.ConfirmTierRequest(name=first.triage.name, tier=types.TIER_GREEN, note="a joke", etag=first.triage.etag)
    assert town.refusal(town.PSYCH, stale) == "ABORTED/VERSION"


def test_one_decision_answers_every_report_of_the_case_and_leaves_none_held(town):
    local = town.student()
    reports = [report(town, local, PEER), report(town, local, TEACHER)]
    town.call(town.PSYCH, scr.ConfirmTierRequest(name=reports[0].triage.name, tier=types.TIER_RED, note="n"))
    assert [s.state for s in listed(town, local)] == [pb.SIGNAL_STATE_RESOLVED] * 2
    for made in reports:
        assert town.rows(tables.holdings, item=made.signal.name) == []
    assert holding(town, reports[0].triage.name)["step"] == "refer"


def test_a_report_after_the_decision_is_linked_and_asks_for_a_new_one(town):
    local = town.student()
    first = report(town, local, PEER)
    town.call(town.PSYCH, scr.ConfirmTierRequest(name=first.triage.name, tier=types.TIER_GREEN, note="n"))
    second = report(town, local, TEACHER)
    assert second.triage.name != first.triage.name and second.triage.proposed == types.TIER_RED
    assert second.signal.duplicate_of == first.signal.name
    assert holding(town, second.signal.name)["step"] == "acknowledge"


def test_a_report_joins_the_case_that_a_form_has_opened(town):
    local = town.student()
    form = town.submit(local)
    second = report(town, local, TEACHER)
    assert second.triage.name == form.triage.name and second.signal.duplicate_of == form.signal
    town.call(town.PSYCH, scr.ConfirmTierRequest(name=form.triage.name, tier=types.TIER_RED))
    assert [s.state for s in listed(town, local)] == [pb.SIGNAL_STATE_RESOLVED] * 2


def test_another_kind_another_student_or_another_month_is_another_case(fresh_town):
    local, other = fresh_town.student(), fresh_town.student()
    made = [report(fresh_town, local), report(fresh_town, local, kind=ABUSE), report(fresh_town, other)]
    fresh_town.clock.advance(timedelta(days=8))
    made.append(report(fresh_town, local))
    assert [m.signal.duplicate_of for m in made] == [""] * 4
    assert len({m.triage.name for m in made}) == 4


def test_an_agency_that_reports_does_not_learn_that_another_one_has(town):
    alone, known = town.student(), town.student()
    report(town, known, TEACHER)
    answers = [
        report(town, local, pb.SIGNAL_SOURCE_HOTLINE, as_="hotline", name=pseudonym(town, local, "hotline"))
        for local in (alone, known)
    ]
    shapes = [
        ([f.name for f, _ in a.signal.ListFields()], [f.name for f, _ in a.triage.ListFields()], list(a.duties))
        for a in answers
    ]
    assert shapes[0] == shapes[1]


def test_only_the_agency_itself_says_that_it_is_the_source(town):
    request = scr.ReportSignalRequest(source=pb.SIGNAL_SOURCE_HOSPITAL, kind=SUICIDAL, facts="f")
    request.student.local_id = town.student()
    assert town.refusal(town.PSYCH, request) == "PERMISSION_DENIED/PARTNER_MISMATCH"


# -- concerns: the only kind for which trust counts ------------------------------------------------------------------


def test_a_concern_is_held_too_and_a_second_independent_source_raises_it(town):
    local = town.student()
    first = report(town, local, PEER, CONCERN)
    assert first.triage.proposed == types.TIER_YELLOW and holding(town, first.signal.name)["step"] == "acknowledge"
    assert report(town, local, PEER, CONCERN).triage.proposed == types.TIER_YELLOW  # the same source is no second one
    assert report(town, local, MAILBOX, CONCERN).triage.proposed == types.TIER_YELLOW  # hearsay twice is hearsay
    third = report(town, local, TEACHER, CONCERN)
    assert (third.triage.name, third.triage.proposed) == (first.triage.name, types.TIER_ORANGE)
    assert report(town, local, PEER, CONCERN).triage.proposed == types.TIER_ORANGE


def test_a_concern_once_raised_is_not_lowered_when_its_first_sources_are_long_past(fresh_town):
    local = fresh_town.student()
    report(fresh_town, local, PEER, CONCERN)
    raised = report(fresh_town, local, TEACHER, CONCERN).triage
    for _ in range(2):
        fresh_town.clock.advance(timedelta(days=10))
        last = report(fresh_town, local, PEER, CONCERN)
    assert last.signal.tier == types.TIER_YELLOW  # alone within its window
    assert (last.triage.name, last.triage.proposed) == (raised.name, types.TIER_ORANGE)


def test_a_concern_beside_a_red_case_leaves_it_red(town):
    local = town.student()
    red = report(town, local)
    report(town, local, PEER, CONCERN)
    row = town.rows(tables.triages, id=red.triage.name.removeprefix("triages/"))[0]
    assert (row["proposed"], row["state"]) == (types.TIER_RED, pb.TRIAGE_STATE_PROPOSED)


# -- a red proposal is never lowered by a machine --------------------------------------------------------------------


@pytest.mark.parametrize(
    "later", [bytes(9), bytes([1] * 8 + [0]), bytes([2] * 8 + [0])], ids=["none", "mild", "orange"]
)
def test_a_lower_form_of_the_same_student_leaves_the_red_one_open_and_held(town, later):
    local = town.student()
    red = town.submit(local)
    before = town.rows(tables.triages, id=red.triage.name.removeprefix("triages/"))[0]
    due = dict(holding(town, red.triage.name))
    town.clock.advance(timedelta(minutes=1))
    town.submit(local, later)
    assert town.rows(tables.triages, id=before["id"])[0] == before
    assert dict(holding(town, red.triage.name)) == due
    assert holding(town, red.signal)["tier"] == types.TIER_RED
    open_red = scr.ListTriagesRequest(open_only=True, page_size=1000)
    assert types.TIER_RED in [t.proposed for t in town.call(town.PSYCH, open_red).triages if t.name == red.triage.name]


# -- the duty to report ----------------------------------------------------------------------------------------------


def test_abuse_opens_the_duty_to_tell_the_police_with_its_basis_a_holder_and_a_deadline(town):
    local = town.student()
    made = report(town, local, TEACHER, ABUSE)
    (name,) = made.duties
    (row,) = town.rows(tables.duties, id=name.removeprefix("duties/"))
    assert (row["kind"], row["basis"]) == ("mandatory-report", "mandatory-report")
    held = holding(town, name)
    assert (held["kind"], held["holder"], held["tier"]) == ("duty", town.PSYCH, types.TIER_RED)
    assert held["deadline_us"] == town.clock.now_us() + HOUR_US
    (opened,) = town.journal(kind="duty.opened", resource=name)
    assert (opened["basis"], opened["reason"]) == ("mandatory-report", "mandatory-report")
    (shown,) = town.call(town.PSYCH, case.GetCaseRequest(student={"local_id": local})).case.duties
    assert (shown.name, shown.item, shown.tell) == (name, made.signal.name, "POLICE")
    assert "第十一条" in shown.citation_zh and "nine departments" in shown.citation_en
    assert town.call(town.PSYCH, case.DischargeDutyRequest(name=name, how="called 110")).duty.state == 2


def test_two_reports_of_abuse_owe_one_duty_and_the_earlier_hour_holds(fresh_town):
    local = fresh_town.student()
    first = report(fresh_town, local, TEACHER, ABUSE)
    due = holding(fresh_town, first.duties[0])["deadline_us"]
    fresh_town.clock.advance(timedelta(minutes=30))
    assert list(report(fresh_town, local, PEER, ABUSE).duties) == list(first.duties)
    assert holding(fresh_town, first.duties[0])["deadline_us"] == due


def test_the_police_owe_no_report_to_themselves(town):
    local = town.student()
    report(town, local, pb.SIGNAL_SOURCE_POLICE, ABUSE, as_="police", name=pseudonym(town, local, "police"))
    assert town.rows(tables.duties, student=town.inside_id(local)) == []


def test_a_sign_that_the_youth_league_passes_on_is_owed_to_the_guardian_under_the_draft(town):
    local = town.student()
    source = pb.SIGNAL_SOURCE_YOUTH_LEAGUE
    report(town, local, source, as_="youth-league", name=pseudonym(town, local, "youth-league"))
    (row,) = town.rows(tables.duties, student=town.inside_id(local))
    assert (row["kind"], row["basis"]) == ("tell-guardian", "signs-are-passed-on")


@pytest.mark.parametrize("term", [{"end": date(2026, 10, 11)}, {"start": date(2026, 10, 13)}], ids=["past", "to come"])
def test_a_basis_that_is_not_in_force_makes_nobody_report(fresh_town, term):
    bases = fresh_town.gate.gateway.door.bases
    bases["mandatory-report"] = replace(bases["mandatory-report"], **term)
    made = report(fresh_town, fresh_town.student(), TEACHER, ABUSE)
    assert list(made.duties) == [] and made.triage.proposed == types.TIER_RED


def test_the_draft_opens_no_door(town):
    basis = town.gate.gateway.door.bases["signs-are-passed-on"]
    assert basis.classes == 0 and basis.recipients == frozenset()


# -- who reads what --------------------------------------------------------------------------------------------------


def test_an_operator_sees_that_signals_wait_and_nothing_of_what_was_seen(town):
    local = town.student()
    made = report(town, local, location="东门", opinion="o")
    (seen,) = listed(town, local, as_=town.OPERATOR)
    told = {f.name for f, _ in seen.ListFields()}
    assert told == {"name", "student", "state", "create_time_us", "etag", "tier", "triage"}
    assert seen.student != made.signal.student  # a pseudonym of its own


# -- the file --------------------------------------------------------------------------------------------------------


def test_the_words_of_the_file_are_those_of_the_contract():
    sources = {name.removeprefix("SIGNAL_SOURCE_") for name in pb.SignalSource.keys()} - {"UNSPECIFIED"}  # noqa: SIM118
    kinds = {name.removeprefix("SIGNAL_KIND_") for name in pb.SignalKind.keys()} - {"UNSPECIFIED"}  # noqa: SIM118
    assert (set(SourceName.__args__), set(KindName.__args__)) == (sources, kinds)
    assert set(CRISES) == kinds - {"CONCERN"}


@pytest.mark.parametrize(
    ("old", "new", "reason", "key"),
    [
        ("SELF_HARM: {tier: RED", "SELF_HARM: {tier: ORANGE", "CONFIG/POLICY_FORBIDDEN", "kinds.SELF_HARM.tier"),
        ("PEER: {trust: hearsay}", "PEER: {trust: nobody}", "CONFIG/REFERENCE", "sources.PEER.trust"),
        ("  PEER: {trust: hearsay}", "", "CONFIG/MISSING", "sources.PEER"),
        ("basis: mandatory-report", "basis: hearsay-act", "CONFIG/REFERENCE", "duties[0].basis"),
        ("raised: {tier: ORANGE", "raised: {tier: GREEN", "CONFIG/CONFLICT", "kinds.CONCERN.raised.tier"),
    ],
)
def test_a_file_that_would_lower_or_lose_a_sign_is_refused_with_its_place(tmp_path, old, new, reason, key):
    text = (POLICY / "signals.yaml").read_text("utf-8")
    assert old in text
    (tmp_path / "signals.yaml").write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_signal_policy(tmp_path / "signals.yaml", load_bases(POLICY / "legal_bases.yaml"))
    assert (reason, key) in [(problem.reason, problem.key) for problem in caught.value.problems]
