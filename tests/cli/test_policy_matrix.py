"""`xinqiao policy show` and `diff`: who may see what, and what a changed policy opens."""

import json
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[2] / "config" / "policy" / "disclosure.yaml"


@pytest.fixture
def wider(tmp_path: Path) -> Path:
    path = tmp_path / "disclosure.yaml"
    text = FILE.read_text("utf-8")
    assert "roles: [POLICE, HOSPITAL]" in text
    path.write_text(text.replace("roles: [POLICE, HOSPITAL]", "roles: [POLICE, HOSPITAL, GRID]", 1), "utf-8")
    return path


def test_the_matrix_of_one_role_is_shown_with_what_each_class_takes(run):
    done = run("policy", "show", FILE, "--role", "POLICE", "--json")
    assert done.returncode == 0
    rows = json.loads(done.stdout)
    assert {row["role"] for row in rows} == {"POLICE"}
    rescue = {
        row["field_class"]: row["takes"] for row in rows if row["purpose"] == "RESCUE" and row["relation"] == "PARTY"
    }
    assert rescue["LOCATION"] == "basis"
    assert "DIAGNOSIS" not in rescue


def test_a_policy_that_opens_something_says_what_and_exits_65(run, wider):
    done = run("policy", "diff", FILE, wider, "--json")
    assert done.returncode == 65
    assert {row["field_class"] for row in json.loads(done.stdout)} == {"IDENTITY", "CONTACT", "CRISIS_FACT", "LOCATION"}
    assert "4 cells open" in done.stderr
    assert "LOCATION" in run("policy", "diff", FILE, wider).stdout


def test_a_policy_that_only_shuts_exits_0_and_the_same_one_says_so(run, wider):
    assert run("policy", "diff", wider, FILE).returncode == 0
    assert "Nobody sees more or less" in run("policy", "diff", FILE, FILE).stdout
