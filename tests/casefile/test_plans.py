"""Plans: every version can be read again, every kind is of one class, and nothing hidden shows in a count."""

from datetime import timedelta

import pytest

from xinqiao.api.casefile.v1 import casefile_service_pb2 as case
from xinqiao.api.casefile.v1 import plan_pb2 as pb
from xinqiao.api.casefile.v1 import plan_service_pb2 as rpc
from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.casefile.plans import kind_word
from xinqiao.contract.entry_kinds import CLASS_OF
from xinqiao.contract.fields import field_class
from xinqiao.store import tables

KINDS = [kind_word(kind).lower() for kind in CLASS_OF]


def kinds(entries):
    return [kind_word(entry.kind).lower() for entry in entries]


def get(care, plan, who=None, **words):
    return care.town.call(who or care.town.PSYCH, rpc.GetPlanRequest(name=plan, **words))


def test_every_kind_of_entry_goes_in_and_comes_out_without_the_note(care):
    local = care.student()
    made = [care.entry(local, kind) for kind in KINDS]
    assert [entry.author for entry in made] == [care.town.SCHOOL] * 9
    assert [entry.plan_version for entry in made] == list(range(2, 11))
    answer = get(care, made[0].plan)
    assert kinds(answer.plan.entries) == KINDS
    assert answer.plan.entries[0].session.theme == "同伴关系"
    assert answer.plan.entries[0].session.note == ""
    assert [(lost.field, lost.reason) for lost in answer.withheld] == [
        ("plan.entries.session.note", "CLASS_NEVER_SHARED")
    ]
    held = care.town.rows(tables.holdings, item=made[0].plan)
    assert [(row["kind"], row["step"], row["holder"]) for row in held] == [("plan", "review_plan", care.town.PSYCH)]


def test_each_kind_is_of_the_class_that_its_content_declares():
    assert {kind for kind in pb.EntryKind.values() if kind} == set(CLASS_OF)
    for kind, declared in CLASS_OF.items():
        content = pb.Entry.DESCRIPTOR.fields_by_name[kind_word(kind).lower()].message_type
        classes = {field_class(field) for field in content.fields} - {options.FIELD_CLASS_COUNSELLING_NOTE}
        assert classes == {declared}, content.name


def test_a_goal_that_is_replaced_stands_in_the_earlier_version(care):
    local = care.student()
    goal = care.entry(local, "goal")
    other = care.entry(local, "support")
    done = care.entry(local, "goal", supersedes=goal.name, state=2)
    now = get(care, goal.plan)
    assert [entry.name for entry in now.plan.entries] == [other.name, done.name]
    assert now.plan.version == 4
    assert [entry.name for entry in get(care, goal.plan, version=3).plan.entries] == [goal.name, other.name]
    assert [entry.name for entry in get(care, goal.plan, version=2).plan.entries] == [goal.name]
    assert not get(care, goal.plan, version=1).plan.entries
    listed = care.town.call(care.town.PSYCH, rpc.ListEntriesRequest(student={"local_id": local}, kind=5)).entries
    assert [(entry.name, entry.superseded_by) for entry in listed] == [(done.name, ""), (goal.name, done.name)]
    again = care.entry_request(local, "goal", supersedes=goal.name)
    assert care.town.refusal(care.town.PSYCH, again) == "FAILED_PRECONDITION/SUPERSEDED"
    for name in ("entries/" + "0" * 32, other.name):  # absent, and of another kind
        wrong = care.entry_request(local, "goal", supersedes=name)
        assert care.town.refusal(care.town.PSYCH, wrong) == "NOT_FOUND/ENTRY"
    foreign = care.entry(care.student(), "goal")
    wrong = care.entry_request(local, "goal", supersedes=foreign.name)
    assert care.town.refusal(care.town.PSYCH, wrong) == "NOT_FOUND/ENTRY"
    beyond = rpc.GetPlanRequest(name=goal.plan, version=5)
    assert care.town.refusal(care.town.PSYCH, beyond) == "INVALID_ARGUMENT/PLAN_VERSION"


def test_a_short_contact_needs_no_plan_and_a_goal_does(care):
    local = care.town.student()
    contact = care.entry(local, "phone_call")
    assert (contact.plan, contact.plan_version) == ("", 0)
    for kind in ("goal", "outcome_scale", "attendance", "hardship"):
        assert care.town.refusal(care.town.PSYCH, care.entry_request(local, kind)) == "FAILED_PRECONDITION/NO_PLAN"
    replaced = care.entry(local, "phone_call", supersedes=contact.name, result="已约见面")
    care.open(local)
    care.entry(local, "phone_call")
    ask = rpc.ListEntriesRequest(student={"local_id": local}, contacts_only=True)
    assert [entry.name for entry in care.town.call(care.town.PSYCH, ask).entries] == [replaced.name, contact.name]
    assert len(care.case(care.town.PSYCH, local).case.plan.entries) == 1


def test_a_student_has_one_open_plan_and_can_have_another_later(care):
    local = care.student()
    again = rpc.OpenPlanRequest(student={"local_id": local}, reason="RED_CASE")
    assert care.town.refusal(care.town.PSYCH, again) == "ALREADY_EXISTS/OPEN_PLAN"
    first = care.case(care.town.PSYCH, local).case.plan.name
    stale = rpc.ClosePlanRequest(name=first, reason="STABLE", etag="7")
    assert care.town.refusal(care.town.PSYCH, stale) == "ABORTED/VERSION"
    closed = care.town.call(care.town.PSYCH, rpc.ClosePlanRequest(name=first, reason="STABLE")).plan
    assert (closed.state, closed.reason) == (pb.PLAN_STATE_CLOSED, "STABLE")
    assert care.town.rows(tables.holdings, item=first) == []
    closing = rpc.ClosePlanRequest(name=first, reason="STABLE")
    assert care.town.refusal(care.town.PSYCH, closing) == "FAILED_PRECONDITION/STATE"
    assert care.town.refusal(care.town.PSYCH, care.entry_request(local, "goal")) == "FAILED_PRECONDITION/NO_PLAN"
    assert care.open(local).name != first
    assert get(care, first).plan.state == pb.PLAN_STATE_CLOSED


def test_a_plan_nobody_looked_at_is_seen_by_the_next_on_the_ladder_and_a_look_starts_its_clock_again(fresh_care):
    town = fresh_care.town
    local = fresh_care.student()
    plan = fresh_care.case(town.PSYCH, local).case.plan.name
    town.clock.advance(timedelta(days=20))
    fresh_care.entry(local, "support")
    fresh_care.entry(local, "goal")
    town.clock.advance(timedelta(days=20))
    town.gate.gateway.ladder.climb()
    assert town.journal(kind="escalated", resource=plan) == []
    town.clock.advance(timedelta(days=11))
    town.gate.gateway.ladder.climb()
    assert [row["reason"] for row in town.journal(kind="escalated", resource=plan)] == [
        "review_plan:overdue:psych-chen"
    ]


@pytest.mark.parametrize(
    ("kind", "more", "day"),
    [
        ("support", {}, "2027-01-01"), ("support", {}, "2026-02-30"), ("goal", {"due": "2026-13-01"}, None),
        ("attendance", {"first_day": "2026-10-09", "last_day": "2026-10-01"}, None),
        ("grid_visit", {"next_visit": "2026-02-30"}, None),
    ],
)  # fmt: skip
def test_days_that_cannot_be_are_refused(care, kind, more, day):
    request = care.entry_request(care.student(), kind, **more)
    if day:
        request.entry.day = day
    refused = care.town.refusal(care.town.PSYCH, request)
    assert refused.startswith("INVALID_ARGUMENT/")


# -- who is not the school ----------------------------------------------------------------------------------------------


def test_a_grid_member_sees_visits_and_needs_and_not_that_there_is_anything_else(care):
    local = care.student("grid")
    care.share(local, "grid")
    plain = care.case("grid", local)
    for kind in ("session", "outcome_scale", "attendance"):
        care.entry(local, kind)
    care.town.confirmed(local)
    beside = care.case("grid", local)
    # Sessions, scales, attendance, a tier, a triage and a signal with their holders: nothing of the answer changed.
    assert beside == plain
    care.entry(local, "grid_visit")
    shown = care.case("grid", local)
    assert kinds(shown.case.plan.entries) == ["grid_visit"]
    assert shown.case.plan.version == shown.case.plan.entries[0].plan_version == 0
    assert [lost.reason for lost in shown.withheld if lost.field_class == options.FIELD_CLASS_SCORES] == [
        "NOT_FOR_ROLE"
    ]
    assert shown.withheld == plain.withheld
    listed = care.town.call("grid", rpc.ListEntriesRequest(student={"name": care.name(local, "grid")}))
    assert kinds(listed.entries) == ["grid_visit"]
    events = case.ListCaseEventsRequest(student={"name": care.name(local, "grid")})
    resources = [event.resource for event in care.town.call("grid", events).events if event.kind == "entry.recorded"]
    assert resources == [shown.case.plan.entries[0].name]


def test_a_grid_member_records_a_visit_and_neither_a_session_nor_over_anothers_visit(care):
    local = care.student("grid")
    care.share(local, "grid")
    name = care.name(local, "grid")
    visit = care.entry(name, "grid_visit", as_="grid")
    assert (visit.author, visit.plan_version) == ("grid", 0)
    assert care.town.refusal("grid", care.entry_request(name, "session")) == "PERMISSION_DENIED/CLASS"
    theirs = care.entry(local, "home_visit")
    over = care.entry_request(name, "home_visit", supersedes=theirs.name)
    assert care.town.refusal("grid", over) == "NOT_FOUND/ENTRY"
    assert care.entry(name, "grid_visit", as_="grid", supersedes=visit.name).name


def test_versions_of_a_plan_are_the_schools_for_their_number_tells_how_much_there_is(care):
    local = care.student("grid")
    care.share(local, "grid")
    plan = care.case("grid", local).case.plan.name
    for version in (1, 99):
        asked = rpc.GetPlanRequest(name=plan, version=version)
        assert care.town.refusal("grid", asked) == "INVALID_ARGUMENT/PLAN_VERSION"
    assert get(care, plan, "grid").plan.name == plan


@pytest.mark.parametrize("stranger", ["psych-li", "other-school", "grid", "police", "worker-lu"])
def test_a_strangers_plan_looks_like_none_at_all(care, stranger):
    local = care.student("grid", "police", "social-work")
    plan = care.case(care.town.PSYCH, local).case.plan.name
    foreign = care.town.refusal(stranger, rpc.GetPlanRequest(name=plan))
    absent = care.town.refusal(stranger, rpc.GetPlanRequest(name="plans/" + "0" * 32))
    assert foreign == absent == "NOT_FOUND/PLAN"
    for ref in ({"local_id": local}, {"name": care.name(local, care.agency(stranger))}):
        asked = rpc.ListEntriesRequest(student=ref)
        assert care.town.refusal(stranger, asked) == "NOT_FOUND/STUDENT"


def test_a_note_is_nowhere_in_what_is_stored_readable_or_answered(care):
    local = care.student()
    secret = "QZXNOTE 只有我知道"
    entry = care.entry(local, "session", note=secret)
    assert secret not in str(entry)
    assert secret not in str(care.case(care.town.PSYCH, local))
    (row,) = care.town.rows(tables.entries, id=entry.name.removeprefix("entries/"))
    assert secret.encode() not in bytes(row["sealed"])
    door = care.town.gate.gateway.door  # kept, as the law asks of a record; the door has no way out for it
    assert door.keys.record(pb.Entry, row, table="entries").session.note == secret
