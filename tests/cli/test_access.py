"""`xinqiao access` against a running gateway: asked, listed, decided, looked at once, exported to a file of one's own."""

import json
import stat

import pytest
import yaml

from xinqiao.cli.app import main
from xinqiao.store import tables


@pytest.fixture(scope="module")
def town(make_town):
    with make_town(listen=True) as made:
        # The command line knows no recorder: it reads the same deployment without adapters.
        settings = yaml.safe_load(made.gate.config.read_text("utf-8"))
        text = yaml.safe_dump({**settings, "adapters": {}}, allow_unicode=True)
        (made.gate.folder / "client.yaml").write_text(text, "utf-8")
        yield made


@pytest.fixture
def run(town, capsys, monkeypatch):
    def call(*arguments, as_="psych-chen", lang="en", code=0, token=""):
        monkeypatch.setenv("XINQIAO_ACCESS_TOKEN", token)
        where = [
            "--config",
            str(town.gate.folder / "client.yaml"),
            "--as",
            as_,
            "--address",
            f"127.0.0.1:{town.gate.gateway.port}",
        ]
        assert main(["--lang", lang, *arguments, *where]) == code
        found = capsys.readouterr()
        return found.out + found.err

    return call


def test_a_dead_letter_is_asked_for_approved_and_shown_once(town, run):
    town.consent(local := town.student())
    town.recorder.refusing = True
    town.refer(local)
    town.deliver_all()
    (row,) = town.rows(tables.deliveries, state=4)
    name, reason = f"deliveries/{row['id']}", ("--reason", "REPAIR:ticket-4711")
    asked = json.loads(run("access", "ask", name, *reason, "--json", as_=town.OPERATOR))
    assert asked["access"]["name"] in run("access", "list", "--open")
    holdings = run("holdings", lang="zh")
    assert "审批查阅申请" in holdings
    early = run("access", "show", name, *reason, as_=town.OPERATOR, token=asked["token"], code=77)
    assert "nobody has approved" in early
    decide = ("access", "decide", asked["access"]["name"], "--approve", "--reason", "TICKET_SEEN")
    assert "second person" in run(*decide, as_=town.OPERATOR, code=77)
    assert town.OPERATOR in run(*decide)
    shown = run("access", "show", name, *reason, as_=town.OPERATOR, token=asked["token"])
    assert '"referral"' in shown
    assert "IDENTITY" in shown
    assert "欧阳" not in shown
    assert "was used" in run("access", "show", name, *reason, as_=town.OPERATOR, token=asked["token"], code=77)
    assert "used" in run("access", "list", as_=town.OPERATOR)


def test_an_export_goes_to_a_file_that_nobody_else_reads(town, run, tmp_path):
    town.submit(local := town.student())
    reason, out = ("--reason", "FAMILY_REQUEST:letter-12"), tmp_path / "record.json"
    said = run("access", "ask", local, *reason, lang="zh")
    assert "令牌" in said
    token = said.partition("令牌：")[2].splitlines()[0].strip()
    export = ("access", "export", local, *reason, "--out", str(out))
    run(*export, token=token, code=77)
    assert not out.exists()  # what was refused leaves no file
    (asked,) = [r for r in json.loads(run("access", "list", "--json")) if r["reason"] == reason[1]]
    run("access", "decide", asked["name"], "--approve", "--reason", "LETTER_SEEN", as_=town.OPERATOR)
    out.write_text("older")
    run(*export, token=token, code=65)  # nothing is overwritten, and the token is still good
    out.unlink()
    assert "records" in run(*export, token=token)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    found = json.loads(out.read_text("utf-8"))
    assert found["student"]["family_name"] == "欧阳"
    assert len(found["assessments"]) == 1
    refused = run("access", "decide", asked["name"], "--refuse", "--reason", "LATE", as_=town.OPERATOR, code=65)
    assert "decided already" in refused
