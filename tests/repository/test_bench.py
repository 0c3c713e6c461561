"""`make bench` runs: nothing else calls it between releases, and what it measures moves under it."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BRIEF = ("--rounds", "1", "--seconds", "0.3", "--cases", "3", "--json")


def measured(*more: str) -> set[str]:
    command = [sys.executable, "tests/bench", *BRIEF, *more]
    ran = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert ran.returncode == 0, ran.stderr[-2000:]
    results = json.loads(ran.stdout)
    assert all(math.isfinite(each["ratio"]) for each in results)
    return {each["name"] for each in results}


def test_the_red_lane_is_measured_beside_a_load() -> None:
    assert measured("--only", "red") == {"red lane, p99 beside a bulk load", "red lane, p99 absolute"}


@pytest.mark.soak
def test_every_target_is_measured() -> None:
    assert len(measured()) > 25  # a line for each target, the list of which is in `run.py`
