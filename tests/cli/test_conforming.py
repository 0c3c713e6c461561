"""``xinqiao adapters conform`` for people and for scripts."""

import json
from typing import Any

import pytest

from xinqiao.cli import conforming, main
from xinqiao.testing.conformance import Outcome, Report, rules


def report(**results: Any) -> Report:
    return Report(
        "hospital", rules(), {name: Outcome(name, results.get(name, "passed"), "seen") for name in rules().cases}
    )


@pytest.fixture
def outcome(monkeypatch: pytest.MonkeyPatch) -> Any:
    def give(**results: Any) -> None:
        monkeypatch.setattr(conforming, "run_suite", lambda subject: report(**results))

    return give


def test_a_failed_case_comes_with_how_to_mend_it_in_both_languages(outcome: Any, capsys: pytest.CaptureFixture[str]):
    outcome(one_effect="failed", withheld="not_shown")
    assert main(["adapters", "conform", "hospital"]) == 65
    english = capsys.readouterr().out
    assert "FAILED" in english
    assert (
        "  the same request twice: one effect, the same receipt: give the partner request_id as idempotency key"
        in english
    )
    assert "hospital: bronze (28 passed, 1 failed, 1 not shown)" in english
    assert main(["--lang", "zh", "adapters", "conform", "hospital"]) == 65
    chinese = capsys.readouterr().out
    assert "未通过" in chinese
    assert "把 request_id 作为幂等键交给对方" in chinese


def test_for_a_script_it_is_one_json_document(outcome: Any, capsys: pytest.CaptureFixture[str]):
    outcome()
    assert main(["adapters", "conform", "hospital", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["plugin"], shown["tier"], len(shown["cases"])) == ("hospital", "platinum", len(rules().cases))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gossip"], "pip install -e"),
        (["gossip", "--remote", "127.0.0.1:1"], "manifest"),
        (["hospital", "--remote", "127.0.0.1:1", "--write"], "--write"),
    ],
)
def test_what_cannot_be_judged_is_refused_with_a_way_out(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
):
    assert main(["adapters", "conform", *arguments]) == 64
    assert said in capsys.readouterr().err


def test_an_address_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]):
    assert main(["adapters", "conform", "hospital", "--remote", "nowhere"]) == 64
    assert "host:port" in capsys.readouterr().err
