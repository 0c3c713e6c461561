"""`xinqiao signals list`, `cadence list|due`: over the wire, against a running gateway."""

import json
import subprocess
import sys
from datetime import timedelta

import pytest

from xinqiao.api.screening.v1 import screening_service_pb2 as scr


@pytest.fixture(scope="module")
def town(make_town):
    """Two signals of one student, and a school week that has gone by without a report."""
    with make_town(listen=True, reports=True, change=lambda settings: settings.update(adapters={})) as made:
        local = made.student()
        for source in (10, 2):
            request = scr.ReportSignalRequest(source=source, kind=1, facts="said so at the gate")
            request.student.local_id = local
            made.call(made.PSYCH, request)
        gateway = made.gate.gateway
        gateway.reports.tick(gateway.store)
        made.clock.advance(timedelta(days=5))
        gateway.reports.tick(gateway.store)
        yield made


def command(town, *arguments, remote=True):
    where = ["--address", f"127.0.0.1:{town.gate.gateway.port}"] if remote else []
    return subprocess.run(
        [sys.executable, "-m", "xinqiao.cli", *arguments, "--config", str(town.gate.config), *where],
        capture_output=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip


def test_a_school_lists_its_signals_with_source_and_trust_and_never_what_was_seen_in_the_table(town):
    done = command(town, "signals", "list", "--as", town.PSYCH)
    assert done.returncode == 0, done.stderr
    for word in ("suicidal", "peer", "hearsay", "class_teacher", "observer", "red"):
        assert word in done.stdout
    assert "gate" not in done.stdout
    told = json.loads(command(town, "signals", "list", "--as", town.PSYCH, "--json").stdout)
    assert [each["facts"] for each in told] == ["said so at the gate"] * 2


def test_an_operator_lists_that_signals_wait_and_nothing_clinical_also_as_json(town):
    done = command(town, "signals", "list")
    assert "open" in done.stdout and "red" in done.stdout
    told = json.loads(command(town, "signals", "list", "--json").stdout)
    assert {(each["facts"], each["kind"], each["source"], each["trust"]) for each in told} == {
        ("", "SIGNAL_KIND_UNSPECIFIED", "SIGNAL_SOURCE_UNSPECIFIED", "")
    }  # fmt: skip
    for word in ("suicidal", "peer", "hearsay"):
        assert word not in done.stdout


def test_what_did_not_come_is_listed_with_who_asks(town):
    done = command(town, "--lang", "zh", "cadence", "due", "--as", town.PSYCH)
    assert "班主任每周排查" in done.stdout and "逾期未报" in done.stdout and town.PSYCH in done.stdout
    told = json.loads(command(town, "cadence", "due", "--json").stdout)
    assert {each["state"] for each in told} == {"REPORT_STATE_DUE", "REPORT_STATE_MISSED"}


def test_the_cadences_and_the_reach_of_the_calendar_are_listed_without_a_gateway(town):
    done = command(town, "cadence", "list", remote=False)
    assert done.returncode == 0, done.stderr
    assert "class-teacher-weekly" in done.stdout and "twice a week: term_start, before_holidays, exams" in done.stdout
    assert "2027-06-30" in done.stdout
    told = json.loads(command(town, "cadence", "list", "--json", remote=False).stdout)
    assert told["cadences"]["drill"]["times"] == 2


def test_a_district_without_cadences_says_so(make_town):
    with make_town(listen=False, change=lambda settings: settings.update(adapters={})) as plain:
        assert "no report is expected" in command(plain, "cadence", "list", remote=False).stdout
