"""`xinqiao overrides`, `recalls` and `teams` against a running gateway: listed, decided on, closed."""

import json

import pytest

from xinqiao.api.casefile.v1 import casefile_service_pb2 as case
from xinqiao.api.casefile.v1 import consent_service_pb2 as rpc
from xinqiao.api.casefile.v1 import team_service_pb2 as team
from xinqiao.cli.app import main


@pytest.fixture(scope="module")
def town(make_town):
    with make_town(listen=True, change=lambda settings: settings.update(adapters={})) as made:
        yield made


@pytest.fixture
def ask(town, capsys):
    def run(*arguments, as_="psych-chen", lang="en", code=0):
        where = ["--config", str(town.gate.config), "--as", as_, "--address", f"127.0.0.1:{town.gate.gateway.port}"]
        assert main(["--lang", lang, *arguments, *where]) == code
        found = capsys.readouterr()
        return found.out + found.err

    return run


def opened(town):
    """An emergency access by the hospital; its name."""
    seen_as = town.gate.gateway.door.students.name(town.HOSPITAL, town.inside_id(town.student()))
    request = rpc.BreakGlassRequest(student={"name": seen_as}, basis="life-safety", facts="SECRETFACTS")
    return town.call(town.HOSPITAL, request).override


def test_an_emergency_access_is_listed_without_its_facts_and_approved(town, ask):
    name = opened(town)
    listed = ask("overrides", "list")
    assert name in listed
    assert "waits for a second person" in listed
    assert "life-safety" in listed
    assert "SECRETFACTS" not in listed
    assert "SECRETFACTS" in ask("overrides", "list", "--json")
    assert "待第二人审批" in ask("overrides", "list", lang="zh", as_="bureau-admin")
    assert "approved (PIPL" in ask("overrides", "decide", name, "--approve", "--note", "as reported")
    row = next(each for each in json.loads(ask("overrides", "list", "--json")) if each["name"] == name)
    assert (row["state"], row["decided_by"]) == ("OVERRIDE_STATE_APPROVED", "psych-chen")
    assert "STATE" in ask("overrides", "decide", name, "--reject", "--note", "too late", code=65)


def test_neither_approved_nor_rejected_is_no_decision(town, ask):
    assert "--approve" in ask("overrides", "decide", opened(town), "--note", "as reported", code=64)


def test_what_a_rejected_access_saw_is_recalled_and_the_recall_closed_on_a_letter(town, ask):
    name = opened(town)
    said = ask("overrides", "decide", name, "--reject", "--note", "nobody was in danger")
    recall = next(word for word in said.split() if word.startswith("recalls/"))
    listed = ask("recalls", "list", as_=town.HOSPITAL)
    assert recall in listed
    assert name in listed
    evidence = ("--how", "letter of 2026-11-02, no. 17")
    assert "kept_by_law" in ask("recalls", "close", recall, "--did", "forgotten", *evidence, code=64)
    assert "CITATION_REQUIRED" in ask("recalls", "close", recall, "--did", "kept-by-law", *evidence, code=65)
    assert "已全部删除" in ask("recalls", "close", recall, "--did", "deleted", *evidence, lang="zh")
    assert "closed on other evidence" in ask("recalls", "list", as_=town.HOSPITAL)
    found = json.loads(ask("recalls", "list", "--json", as_=town.HOSPITAL))
    row = next(each for each in found if each["name"] == recall)
    assert (row["state"], row["action"]) == ("RECALL_STATE_CLOSED", "RECALL_ACTION_DELETED")


def test_lists_longer_than_a_page_are_whole(town, ask):
    names = {opened(town) for _ in range(203)}
    found = {each["name"] for each in json.loads(ask("overrides", "list", "--limit", "1000", "--json"))}
    assert names <= found


def test_a_team_is_listed_and_shown_with_its_tasks_and_not_what_they_say(town, ask):
    assert "nothing" in ask("teams", "list", as_="grid")
    local = town.student()
    town.consent(local, recipient="grid", purpose=4, classes=[2, 3, 4, 13])
    name = town.call(town.PSYCH, team.OpenTeamRequest(student={"local_id": local})).team.name
    until = town.clock.now_us() + 10**12
    town.call(
        town.PSYCH,
        team.AddMemberRequest(team=name, recipient="grid", role=2, not_after_us=until, reason="WEEKLY_VISITS"),
    )
    task = team.AssignTaskRequest(team=name, holder="grid", due_us=until, what="SECRETTASK")
    given = town.call(town.PSYCH, task).task.name
    listed = ask("teams", "list", as_="grid")
    assert name in listed
    assert "school" in listed
    shown = ask("teams", "show", name, as_="grid")
    assert given in shown
    assert "grid" in shown
    assert "SECRETTASK" not in shown
    assert "SECRETTASK" in ask("teams", "show", name, "--json", as_="grid")
    assert "no such team" in ask("teams", "show", name, as_="police", code=65)


def test_a_withdrawal_is_followed_until_everybody_has_answered(town, ask):
    local = town.student()
    consent = town.consent(local)
    town.refer(local)
    town.call(town.PSYCH, case.WithdrawConsentRequest(name=consent.name))
    shown = ask("recalls", "show", consent.name)
    assert "not all have answered" in shown
    assert town.HOSPITAL in shown
    recall = json.loads(ask("recalls", "show", consent.name, "--json"))["recalls"][0]["name"]
    ask("recalls", "close", recall, "--did", "returned", "--how", "handed over, register no. 3")
    assert "均已答复" in ask("recalls", "show", consent.name, lang="zh")
