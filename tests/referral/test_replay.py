"""`make replay`: a random stretch of a district's life with crashes, its table, and the count of broken promises."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from xinqiao.referral import book
from xinqiao.store import holdings
from xinqiao.testing.histories import Histories

SCRIPT = Path(__file__).resolve().parents[1] / "tools" / "replay.py"


def play(*arguments):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, encoding="utf-8", timeout=600, check=False
    )


def test_two_months_are_played_and_no_promise_is_broken():
    done = play("--seed", "5", "--days", "60", "--seconds", "90")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "violations: 0" in done.stdout
    assert "crash and restart" in done.stdout or "killed in a transaction" in done.stdout


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 9))
def test_a_year_of_referrals(seed):
    done = play("--seed", str(seed), "--days", "365", "--seconds", "300")
    assert done.returncode == 0, done.stdout


def test_the_engine_sees_an_item_that_nobody_holds(tmp_path, monkeypatch):
    """The check of the check: without the holding of a referral the first look says so."""
    town = Histories(tmp_path / "town", SCRIPT.parents[2] / "config" / "gateway.example.yaml", random.Random(5))
    try:
        monkeypatch.setattr(
            book, "hold", lambda tx, item, **words: words["kind"] == "referral" or holdings.hold(tx, item, **words)
        )
        for _ in range(60):
            town.step()
            if town.violations:
                break
        assert "0 holdings" in town.violations[0]
    finally:
        town.close()
