"""bad-inputs row 105: rules that change while the gateway runs; a broken file changes nothing and a person is told."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from xinqiao.api.gateway.v1 import gateway_service_pb2 as rpc
from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao.api.referral.v1 import referral_service_pb2 as ref_rpc
from xinqiao.store import tables
from xinqiao.store.errors import CommitFailed
from xinqiao.store.writer import SqliteWriter

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Rules of one's own to change."""
    shutil.copytree(ROOT / "config", tmp_path / "rules")
    return tmp_path / "rules"


@pytest.fixture
def town(make_town: Callable[..., Any], files: Path) -> Iterator[Any]:
    def mine(settings: dict[str, Any]) -> None:
        settings["policy"] = str(files / "policy")
        settings["legal_bases"] = str(files / "policy" / "legal_bases.yaml")
        settings["instruments"], settings["triage"] = str(files / "instruments"), str(files / "triage" / "default.yaml")
        settings["district_overlay"] = str(files / "districts" / "320583.yaml")

    with make_town(listen=False, change=mine) as made:
        yield made


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def version(town: Any) -> str:
    return str(town.call(town.OPERATOR, rpc.GetStatusRequest()).policy_version)


def alarm(town: Any) -> list[tuple[str, str]]:
    return [(str(row["item"]), str(row["holder"])) for row in town.rows(tables.holdings, kind="config")]


def test_a_stricter_policy_is_in_force_at_once_and_on_record(town: Any, files: Path) -> None:
    local = town.student()
    town.consent(local)
    town.refer(local)
    before = version(town)
    change(
        files / "policy" / "disclosure.yaml",
        "roles: [HOSPITAL]\n    purposes: [TREATMENT]",
        "roles: [HOSPITAL]\n    purposes: [CARE]",
    )
    assert town.gate.gateway.reload() is True
    assert version(town) != before
    assert town.refusal(town.PSYCH, town.refer_request(local)) == "FAILED_PRECONDITION/NOT_IN_POLICY"
    town.deliver_all()
    assert town.recorder.seen == []  # what was queued under the old policy is judged by the new one
    (row,) = town.journal(kind="config.reloaded")
    assert (row["decision"], row["policy_version"]) == ("permit", version(town))


def test_new_telephones_and_crisis_channels_are_in_use_at_once(town: Any, files: Path) -> None:
    overlay = files / "districts" / "320583.yaml"
    overlay.write_text(
        'version: 1\ndistrict: "320583"\ncrisis: {channels: [other-hospital]}\n'
        "phone_list:\n  - {partner: other-hospital, names: {zh: 值班, en: on duty}, phone: '051299999999'}\n",
        "utf-8",
    )
    assert town.gate.gateway.reload() is True
    town.recorder.down = True
    local = town.student()
    name = town.refer(local, urgency=ref.URGENCY_EMERGENCY, crisis_facts="facts", location="here").referral.name
    for _ in range(6):
        town.clock.advance(timedelta(seconds=21))
        town.gate.gateway.ladder.climb()
    found = town.call(town.PSYCH, ref_rpc.GetReferralRequest(name=name)).referral.redirected_to
    assert town.rows(tables.referrals, id=found.removeprefix("referrals/"))[0]["recipient"] == "other-hospital"
    status = town.call(town.OPERATOR, rpc.GetStatusRequest())
    assert [phone.number for phone in status.phones] == ["051299999999"]


def test_a_new_calendar_is_that_of_clocks_exchanges_and_expected_reports(town: Any, files: Path) -> None:
    gateway, off = town.gate.gateway, date(2026, 10, 13)
    assert gateway.exchanges.calendar.is_workday(off)
    change(files / "calendars" / "320583.yaml", "holidays: []", "holidays: [2026-10-13]")
    assert gateway.reload() is True
    assert not gateway.exchanges.calendar.is_workday(off)
    assert gateway.exchanges.calendar is gateway.clocks._calendar is gateway.reports._calendar
    change(files / "calendars" / "320583.yaml", "holidays: [2026-10-13]", "holidays: [2026-13-13]")
    assert gateway.reload() is False
    assert not gateway.exchanges.calendar.is_workday(off)


def test_new_clocks_and_a_new_ladder_hold_for_what_comes_after(town: Any, files: Path) -> None:
    overlay = files / "districts" / "320583.yaml"
    overlay.write_text(
        'version: 1\ndistrict: "320583"\nladder: [OPERATOR]\n'
        "clocks: {RED: {acknowledge: PT1M, guardian: PT1H, accept: PT24H, outcome: P7D}}\n", "utf-8"
    )  # fmt: skip
    assert town.gate.gateway.reload() is True
    town.submit(town.student())
    (held,) = town.rows(tables.holdings, kind="signal")
    assert held["deadline_us"] - held["opened_us"] == 60_000_000
    town.clock.advance(timedelta(minutes=2))
    town.gate.gateway.ladder.climb()
    (held,) = town.rows(tables.holdings, kind="signal")
    assert held["holder"] == town.OPERATOR


BROKEN: dict[str, Callable[[Path], object]] = {
    "policy is no yaml": lambda files: (files / "policy" / "disclosure.yaml").write_text("grants: [", "utf-8"),
    "policy grants notes": lambda files: change(
        files / "policy" / "disclosure.yaml", "[AGGREGATE, CASE_REF, TIER, SCHOOL]", "[COUNSELLING_NOTE]"
    ),
    "policy is gone": lambda files: (files / "policy" / "disclosure.yaml").unlink(),
    "legal bases are binary": lambda files: (files / "policy" / "legal_bases.yaml").write_bytes(b"\xff\xfe\x00"),
    "triage is empty": lambda files: (files / "triage" / "default.yaml").write_text("", "utf-8"),
    "an instrument is cut off": lambda files: os.truncate(files / "instruments" / "phq-9.yaml", 300),
    "overlay of another district": lambda files: change(files / "districts" / "320583.yaml", "320583", "320500"),
}


@pytest.mark.parametrize("broken", list(BROKEN))
def test_a_broken_file_changes_nothing_and_is_an_alarm_until_it_is_mended(
    town: Any, files: Path, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    before = version(town)
    good = files.parent / "good"
    shutil.copytree(files, good)
    change(files / "policy" / "disclosure.yaml", 'version: "2026-11"', 'version: "2026-12"')
    BROKEN[broken](files)
    with caplog.at_level(logging.ERROR):
        assert town.gate.gateway.reload() is False
    assert "ALARM" in caplog.text
    assert version(town) == before
    local = town.student()
    town.consent(local)
    assert town.submit(local).assessment.critical
    assert town.refer(local).referral.name
    assert alarm(town) == [(f"config/{town.gate.gateway.store.node}", town.OPERATOR)]
    assert [row["decision"] for row in town.journal(kind="config.refused")] == ["deny"]
    shutil.copytree(good, files, dirs_exist_ok=True)
    assert town.gate.gateway.reload() is True
    assert alarm(town) == []


def test_rules_whose_row_was_not_committed_are_not_in_force(
    town: Any, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, before = town.gate.gateway, version(town)
    change(files / "policy" / "disclosure.yaml", "purposes: [TREATMENT]", "purposes: [CARE]")

    def full(*_transaction: Any, commit: bool) -> None:
        assert commit
        raise OSError("no space left on device")

    with monkeypatch.context() as patch, pytest.raises(CommitFailed):
        patch.setattr(SqliteWriter, "_end", full)
        gateway.reload()
    assert (version(town), town.journal(kind="config.reloaded")) == (before, [])
    assert gateway.reload()
    assert version(town) != before


def test_a_plugin_version_is_switched_off_and_on_again_while_running(town: Any, files: Path) -> None:
    def hospital() -> tuple[int, str]:
        [found] = [
            each
            for each in town.call(town.OPERATOR, rpc.GetStatusRequest()).agencies
            if each.adapter == "recorder_hospital"
        ]
        return found.state, found.message

    overlay = files / "districts" / "320583.yaml"
    assert hospital()[0] == rpc.AGENCY_STATE_READY
    switch = "plugins: {blocked: [{name: recorder_hospital, reason: sends to the wrong ward}]}\n"
    change(overlay, "notify_duty: PT24H\n", f"notify_duty: PT24H\n{switch}")
    assert town.gate.gateway.reload()
    state, message = hospital()
    assert state == rpc.AGENCY_STATE_DISABLED and message.endswith("is blocked: sends to the wrong ward")
    change(overlay, switch, "")
    assert town.gate.gateway.reload()
    assert hospital() == (rpc.AGENCY_STATE_READY, "")
