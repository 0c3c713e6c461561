"""`xinqiao case` against a running gateway: shown, shared, explained, accounted for, taken back."""

import json

import pytest

from xinqiao.api.casefile.v1 import plan_service_pb2 as plans
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


def test_a_case_is_shared_seen_explained_accounted_for_and_taken_back(town, ask):
    local = town.student()
    town.call(town.PSYCH, plans.OpenPlanRequest(student={"local_id": local}, reason="RED_CASE"))
    entry = {"day": "2026-10-12", "grid_visit": {"observed": "SECRETWORDS"}}
    town.call(town.PSYCH, plans.RecordEntryRequest(student={"local_id": local}, entry=entry))
    town.consent(local, recipient="grid", purpose=4, classes=[2, 3, 13], days=300)
    terms = ("--to", "grid", "--classes", "CASE_REF,care-task", "--days", "90", "--reason", "WEEKLY_VISITS")
    name = json.loads(ask("case", "share", local, *terms, "--json"))["share"]["name"]
    shown = ask("case", "show", local)
    assert "grid_visit" in shown
    assert name in shown
    assert "SECRETWORDS" not in shown
    seen_as = town.gate.gateway.door.students.name("grid", town.inside_id(local))
    assert "SECRETWORDS" in ask("case", "show", seen_as, "--json", as_="grid")
    assert "NOT_SHARED" in ask("case", "show", seen_as, as_="grid")
    assert name in ask("case", "shares", as_="grid")
    explained = ask("case", "explain", local, "--to", "grid")
    assert "grid-visits" in explained
    assert "NOT_FOR_ROLE" in explained
    assert "share.given" in ask("case", "events", local)
    told = ask("case", "disclosures", local, lang="zh")
    assert "次披露" in told
    assert name in told
    rows = json.loads(ask("case", "disclosures", local, "--json"))
    assert {row["partner"] for row in rows} == {town.SCHOOL, "grid"}
    assert "0 open tasks" in ask("case", "revoke", name, "--reason", "OVER")
    assert "no such student" in ask("case", "show", seen_as, as_="grid", code=65)


def test_an_id_card_number_is_not_taken_from_the_command_line(ask):
    assert "11010519491231002X" not in ask("case", "show", "11010519491231002X", code=64)


def test_an_unknown_class_is_answered_with_those_there_are(ask):
    terms = ("--to", "grid", "--classes", "EVERYTHING", "--days", "9", "--reason", "WEEKLY_VISITS")
    assert "care_task" in ask("case", "share", "s-1", *terms, code=64)
