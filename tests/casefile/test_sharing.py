"""Shares: for a purpose, classes and a term; nothing by them once they are over, whatever policy and consent still say."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from xinqiao.api.casefile.v1 import casefile_service_pb2 as rpc
from xinqiao.api.casefile.v1 import plan_service_pb2 as plans
from xinqiao.api.casefile.v1 import sharing_pb2 as pb
from xinqiao.api.casefile.v1 import team_service_pb2 as teams
from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.referral.v1.referral_service_pb2 import ListHoldingsRequest
from xinqiao.contract.errors import Refusal
from xinqiao.store import tables


def test_a_share_opens_what_it_names_and_says_what_it_keeps_back(care):
    local = care.student("grid")
    request = care.share_request(local, "grid", classes=[2, 3, 7])
    given_ = care.town.call(care.town.PSYCH, request)
    assert [(lost.field_class, lost.reason) for lost in given_.withheld] == [(7, "NOT_FOR_ROLE")]
    shown = care.case("grid", local)
    assert shown.case.student.family_name == "欧阳"
    assert list(shown.case.student.guardians) == []
    assert [share.name for share in shown.case.shares] == [given_.share.name]
    reasons = {lost.field_class: lost.reason for lost in shown.withheld}
    assert (reasons[options.FIELD_CLASS_CARE_TASK], reasons[options.FIELD_CLASS_TIER]) == ("NOT_SHARED", "NOT_FOR_ROLE")
    read = care.town.journal(kind="read", actor="grid", student=care.town.inside_id(local))[-1]
    assert (read["basis"], read["purpose"]) == (given_.share.name, options.PURPOSE_CARE)
    released = care.town.journal(kind="released", basis=given_.share.name)
    assert [(row["partner"], row["reason"]) for row in released] == [("grid", "share")]


def test_without_a_consent_nobody_is_even_told(care):
    local = care.student()
    before = len(care.town.rows(tables.shares)), len(care.town.rows(tables.pseudonyms))
    refused = care.town.refusal(care.town.PSYCH, care.share_request(local, "grid"))
    assert refused == "FAILED_PRECONDITION/NO_CONSENT"
    assert (len(care.town.rows(tables.shares)), len(care.town.rows(tables.pseudonyms))) == before
    asked = rpc.GetCaseRequest(student={"name": care.name(local, "grid")})
    assert care.town.refusal("grid", asked) == "NOT_FOUND/STUDENT"


def test_a_consent_without_a_share_opens_nothing(care):
    local = care.student("grid")
    care.revoke(care.share(local, "grid"))
    asked = rpc.GetCaseRequest(student={"name": care.name(local, "grid")})
    assert care.town.refusal("grid", asked) == "NOT_FOUND/STUDENT"


def test_what_was_read_by_a_share_is_recalled_when_the_consent_is_taken_back(care):
    local = care.student("grid")
    care.share(local, "grid")
    assert care.case("grid", local).case.student.family_name == "欧阳"
    (consent,) = [each for each in care.case(care.town.PSYCH, local).case.consents if each.recipient == "grid"]
    taken = care.town.call(care.town.PSYCH, rpc.WithdrawConsentRequest(name=consent.name))
    assert len(taken.recalls) == 1
    (recall,) = care.town.rows(tables.recalls, student=care.town.inside_id(local))
    assert recall["recipient"] == "grid"
    assert care.town.rows(tables.holdings, item=taken.recalls[0])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"classes": [2, 15]}, "INVALID_ARGUMENT/CLASS_NEVER_SHARED"),
        ({"classes": [2, 16]}, "INVALID_ARGUMENT/CLASS_NEVER_SHARED"),
        ({"days": -1}, "INVALID_ARGUMENT/TERM"), ({"days": 367}, "INVALID_ARGUMENT/TERM"),
        ({"recipient": "psych-li"}, "NOT_FOUND/RECIPIENT"), ({"recipient": "nobody"}, "NOT_FOUND/RECIPIENT"),
        ({"recipient": "kunshan-no1-middle"}, "NOT_FOUND/RECIPIENT"),
        ({"recipient": "lapsed-hospital", "purpose": 2}, "PERMISSION_DENIED/AGREEMENT_EXPIRED"),
        ({"recipient": "volunteers", "days": 31}, "INVALID_ARGUMENT/TERM"),
    ],
)  # fmt: skip
def test_what_cannot_be_shared_is_refused(care, words, reason):
    local = care.student("grid", "volunteers", "lapsed-hospital")
    words = {"recipient": "grid", **words}
    assert care.town.refusal(care.town.PSYCH, care.share_request(local, **words)) == reason


def test_a_volunteers_group_has_its_month_and_not_a_minute_more(fresh_care, caplog):
    town = fresh_care.town
    local = fresh_care.student("volunteers")
    fresh_care.entry(local, "support")
    share = fresh_care.share(local, "volunteers", days=30, classes=[2, 3, 4, 7, 13])
    shown = fresh_care.case("volunteers", local).case
    assert (shown.student.family_name, len(shown.plan.entries)) == ("欧阳", 1)
    assert not shown.student.guardians
    assert town.call("volunteers", ListHoldingsRequest()).time_us  # nothing held, and nothing for the last net to cut
    assert "cut fields" not in caplog.text
    town.clock.advance(timedelta(days=30))
    asked = rpc.GetCaseRequest(student={"name": fresh_care.name(local, "volunteers")})
    assert town.refusal("volunteers", asked) == "NOT_FOUND/STUDENT"  # by the clock, before anything ran
    assert town.gate.gateway.shares.end_due(town.gate.gateway.store) == 1
    (row,) = town.rows(tables.shares)
    assert row["state"] == pb.SHARE_STATE_ENDED
    assert [r["reason"] for r in town.journal(kind="share.ended", resource=share.name)] == ["TERM_OVER"]
    assert town.gate.gateway.shares.end_due(town.gate.gateway.store) == 0


def test_a_share_is_taken_back_once_by_its_school_alone(care):
    local = care.student("grid")
    share = care.share(local, "grid")
    asked = rpc.RevokeShareRequest(name=share.name, reason="OVER")
    assert care.town.refusal("psych-li", asked) == "NOT_FOUND/SHARE"
    absent = rpc.RevokeShareRequest(name="shares/" + "0" * 32, reason="OVER")
    assert care.town.refusal(care.town.PSYCH, absent) == "NOT_FOUND/SHARE"
    stale = rpc.RevokeShareRequest(name=share.name, reason="OVER", etag="4")
    assert care.town.refusal(care.town.PSYCH, stale) == "ABORTED/VERSION"
    assert care.revoke(share).share.state == pb.SHARE_STATE_REVOKED
    again = rpc.RevokeShareRequest(name=share.name, reason="OVER")
    assert care.town.refusal(care.town.PSYCH, again) == "FAILED_PRECONDITION/STATE"
    assert care.share(local, "grid").name != share.name


def test_one_share_of_a_kind_at_a_time(care):
    local = care.student("grid")
    care.share(local, "grid")
    assert care.town.refusal(care.town.PSYCH, care.share_request(local, "grid")) == "ALREADY_EXISTS/SHARE"


def test_each_sees_the_shares_that_are_its_own(care):
    local = care.student("grid", "police")
    grid, police = care.share(local, "grid"), care.share(local, "police")
    for who, wanted in (("grid", grid), ("police", police)):
        names = [each.name for each in care.town.call(who, rpc.ListSharesRequest(page_size=1000)).shares]
        assert wanted.name in names
        assert not {grid.name, police.name} - {wanted.name} & set(names)
    ask = rpc.ListSharesRequest(student={"local_id": local})
    assert [each.name for each in care.town.call(care.town.PSYCH, ask).shares] == [police.name, grid.name]
    care.revoke(grid)
    assert grid.name not in [each.name for each in care.town.call("grid", rpc.ListSharesRequest()).shares]
    by_other = rpc.GetCaseRequest(student={"name": care.name(local, "police")}, share=grid.name)
    assert care.town.refusal("police", by_other) == "NOT_FOUND/STUDENT"


def test_a_reader_learns_nothing_of_whom_else_the_student_has_to_do_with(care):
    local = care.student("grid", "police", "womens-federation")
    care.town.consent(local)
    care.town.refer(local)
    for recipient in ("police", "womens-federation"):
        care.share(local, recipient)
    care.share(local, "grid")
    shown = care.case("grid", local)
    text = str(shown)
    for other in ("police", "womens-federation", care.town.HOSPITAL, "referrals/", "triages/", "duties/"):
        assert other not in text
    events = rpc.ListCaseEventsRequest(student={"name": care.name(local, "grid")}, page_size=1000)
    seen = {(event.kind, event.actor) for event in care.town.call("grid", events).events}
    assert seen == {("released", care.town.SCHOOL)}


def test_the_family_reads_what_the_school_shares_with_it(care):
    local = care.student()
    care.entry(local, "goal")
    care.entry(local, "outcome_scale")
    care.share(local, "family", purpose=9, classes=[2, 3, 13])
    shown = care.case("family", local).case
    assert [entry.goal.text for entry in shown.plan.entries] == ["每天到校半天"]


def test_an_answer_given_again_after_the_end_of_access_is_empty(care):
    local = care.student("grid")
    share = care.share(local, "grid")
    visit = care.entry_request(care.name(local, "grid"), "grid_visit")
    visit.request_id = care.town.key()
    first = care.town.call("grid", visit)
    assert care.town.call("grid", visit) == first
    care.revoke(share)
    assert not care.town.call("grid", visit).entry.ByteSize()
    again = care.town.journal(kind="replayed", actor="grid", basis=share.name)
    assert sorted((row["decision"], row["reason"]) for row in again) == [("deny", "SHARE_ENDED"), ("permit", "")]


# -- what a partner would see -------------------------------------------------------------------------------------------


def test_an_explanation_under_two_versions_says_which_classes_differ(fresh_care, tmp_path):
    town = fresh_care.town
    local = fresh_care.student("grid")
    gateway = town.gate.gateway
    old = gateway.door.policy.version
    folder = tmp_path / "policy"
    folder.mkdir()
    for file in gateway.settings.policy.iterdir():
        text = file.read_text("utf-8")
        if file.name == "disclosure.yaml":
            text = text.replace("classes: [CASE_REF, IDENTITY, CONTACT, CARE_TASK]\n    needs: consent_or_basis",
                                "classes: [CASE_REF, CARE_TASK]\n    needs: consent_or_basis", 1)  # fmt: skip
        (folder / file.name).write_text(text, "utf-8")
    changed = gateway.settings.model_copy(update={"policy": folder})
    assert gateway._reloading.reload(changed)
    new = gateway.door.policy.version
    assert new != old
    ask = rpc.ExplainDisclosureRequest(student={"local_id": local}, recipient="grid", purpose=4, against_version=old)
    answer = town.call(town.PSYCH, ask)
    assert answer.policy_version == new
    assert list(answer.changed) == [options.FIELD_CLASS_IDENTITY, options.FIELD_CLASS_CONTACT]
    before, now = ({v.field_class for v in each if v.permitted} for each in (answer.against, answer.verdicts))
    assert before - now == {options.FIELD_CLASS_IDENTITY, options.FIELD_CLASS_CONTACT}
    assert set(answer.kept_versions) == {old, new}
    assert not answer.shares
    share = fresh_care.share(local, "grid")
    ask.policy_version, ask.against_version = old, ""
    answer = town.call(town.PSYCH, ask)
    assert (answer.policy_version, list(answer.shares)) == (old, [share.name])
    ask.policy_version = "1999+0"
    assert town.refusal(town.PSYCH, ask) == "NOT_FOUND/POLICY_VERSION"
    ask.policy_version = "../disclosure"
    assert town.refusal(town.PSYCH, ask) == "INVALID_ARGUMENT/STRING_PATTERN"


def test_a_kept_version_that_somebody_changed_is_none(fresh_care):
    town = fresh_care.town
    versions = town.gate.gateway.versions
    (version,) = versions.names()
    assert versions.load(version) == town.gate.gateway.door.policy or versions.load(version).version == version
    path = next(town.gate.folder.rglob(f"{version}.yaml"))
    path.write_text(path.read_text("utf-8").replace("[GRID]", "[GRID, POLICE]", 1), "utf-8")
    assert versions.load(version) is None


# -- the invariant ------------------------------------------------------------------------------------------------------

PARTNERS = {"grid": 2, "police": 4, "volunteers": 7, "kunshan-mental-health": 3}
STEPS = ["share", "share", "member", "member", "revoke", "close", "team", "wait", "wait", "task", "withdraw", "sweep"]


# A history is not made shorter: each step of it is a real call.
@settings(max_examples=3, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_whatever_happens_nobody_reads_anything_after_the_end_of_the_access(care, random):
    """Against a model of its own: who has which accesses until when."""
    town = care.town
    local = care.student(*PARTNERS)
    for kind in ("support", "session", "outcome_scale"):
        care.entry(local, kind)
    accesses, team, tasks, withdrawn = {}, None, [], set()
    given_ = care.case(town.PSYCH, local).case.consents
    consents, ends = {c.recipient: c.name for c in given_}, min(c.not_after_us for c in given_)
    for step in ["team", *random.choices(STEPS, k=24)]:
        who, days = random.choice(sorted(PARTNERS)), random.randint(1, 40)
        now = town.clock.now_us()
        try:
            if step == "share":
                accesses[care.share(local, who, days=days).name] = (who, now + days * 86_400_000_000, "")
            elif step == "team":
                team = care.team(local)[0]
            elif step == "member" and team is not None:
                made = care.add(team, who, PARTNERS[who], days=days)
                accesses[made.name] = (who, now + days * 86_400_000_000, team.name)
            elif step == "revoke" and accesses:
                name = sorted(accesses)[days % len(accesses)]
                care.revoke(pb.Share(name=name))
                accesses.pop(name)
            elif step == "task" and team is not None:
                tasks.append(care.task(team, who, days=days))
            elif step == "close" and team is not None:
                for task in tasks:
                    report = teams.ReportTaskRequest(name=task.name, report="done", cancelled=True)
                    town.call(town.PSYCH, report)
                tasks = []
                town.call(town.PSYCH, teams.CloseTeamRequest(name=team.name, reason="OVER"))
                accesses = {k: v for k, v in accesses.items() if v[2] != team.name}
                team = None
            elif step == "withdraw" and who not in withdrawn and days > 30:
                town.call(town.PSYCH, rpc.WithdrawConsentRequest(name=consents[who]))
                withdrawn.add(who)
            elif step == "wait":
                town.clock.advance(timedelta(days=days / 10))
                town.gate.gateway.checkpointer.tick()  # unsigned for hours, nobody would be shown anything
            elif step == "sweep":
                town.gate.gateway.shares.end_due(town.gate.gateway.store)
        except Refusal as refusal:
            assert refusal.reason in {
                "SHARE", "MEMBER", "TERM", "HOLDER", "STATE", "WITHDRAWN", "CONSENT_EXPIRED", "OPEN_TEAM"
            }, refusal  # fmt: skip
        open_eyes = set(PARTNERS) - withdrawn if town.clock.now_us() + 1_000_000 < ends else set()
        check(care, local, accesses, team, open_eyes)


def check(care, local, accesses, team, open_eyes):
    town, now = care.town, care.town.clock.now_us()
    with town.gate.gateway.store.read() as tx:
        held = [dict(row) for row in tx.all(tables.holdings.select().where(tables.holdings.c.kind == "task"))]
    for who in PARTNERS:
        mine = {name for name, (whose, until, _) in accesses.items() if whose == who and until > now + 100_000}
        ref = {"name": care.name(local, who)}
        listed = town.call(who, rpc.ListSharesRequest(page_size=1000)).shares
        assert {s.name for s in listed if s.student == ref["name"]} <= mine
        reads = [
            rpc.GetCaseRequest(student=ref), plans.ListEntriesRequest(student=ref), rpc.ListCaseEventsRequest(student=ref),
        ]  # fmt: skip
        if mine:
            shown = town.call(who, reads[0])
            assert {s.name for s in shown.case.shares} <= mine
            assert bool(shown.case.student.name) == (who in open_eyes)  # a case that opened nothing would pass it all
            assert not any(e.HasField("session") for e in shown.case.plan.entries) or who == "kunshan-mental-health"
            continue
        for read in reads:
            assert town.refusal(who, read) == "NOT_FOUND/STUDENT"
        if team is not None:
            assert town.refusal(who, teams.GetTeamRequest(name=team.name)) == "NOT_FOUND/TEAM"
        items = {h.item for h in town.call(who, ListHoldingsRequest(page_size=1000)).holdings}
        student = town.inside_id(local)
        assert not items & {row["item"] for row in held if row["student"] == student}
    for row in town.rows(tables.tasks, student=town.inside_id(local), state=1):
        (holding,) = [h for h in held if h["item"] == f"tasks/{row['id']}"]
        assert holding["holder"]
        assert holding["deadline_us"] > 0
