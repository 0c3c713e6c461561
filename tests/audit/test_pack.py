"""The audit pack: what it counts, what it stands on, what it hides, and that its making is on record."""

import csv
import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from tests.journal.conftest import tamper

from xinqiao.api.casefile.v1 import casefile_service_pb2 as case
from xinqiao.api.casefile.v1 import consent_service_pb2 as consent
from xinqiao.api.common.v1.types_pb2 import StudentRef
from xinqiao.api.gateway.v1 import retention_service_pb2 as retention
from xinqiao.config.problems import ConfigError
from xinqiao.contract.errors import Refusal
from xinqiao.journal.signing import load_signing_key, public_key_pem
from xinqiao.server.audit.pack import MANIFEST, make_pack
from xinqiao.server.audit.record import Recorded, record
from xinqiao.server.audit.rules import load_audit_rules
from xinqiao.server.audit.wording import COLUMNS, TITLES
from xinqiao.store import tables

ROOT = Path(__file__).resolve().parents[2]
UNRECORDED = Recorded("", "READ_ONLY")
Pack = Callable[..., Path]


@pytest.fixture(scope="module")
def lived(town: Any) -> Any:
    """A town in which a year's worth of things happened."""
    locals_ = [town.student() for _ in range(7)]
    for local in locals_:
        town.consent(local)
        town.refer(local)
    town.consent(locals_[0], state=2, purpose=4)
    given = town.consent(locals_[1], purpose=4)
    town.call(town.PSYCH, case.WithdrawConsentRequest(name=given.name))
    town.deliver_all()
    for number, (local, hours) in enumerate(((locals_[0], 1), (locals_[1], 30))):
        name = town.gate.gateway.door.students.name("police", town.inside_id(local))
        asked = consent.BreakGlassRequest(basis="life-safety", facts="missing since noon")
        asked.student.name = name
        opened = town.call("police", asked)
        town.clock.advance(timedelta(hours=hours))
        town.call(town.PSYCH, consent.DecideOverrideRequest(name=opened.override, approve=not number, note="n"))
    hold = retention.PlaceLegalHoldRequest(reason="POLICE_INQUIRY:case-118")
    hold.student.local_id = locals_[2]
    town.call(town.PSYCH, hold)
    assert town.refusal("lapsed-hospital", case.GetCaseRequest(student=StudentRef(local_id=locals_[0])))
    town.gate.gateway.checkpointer.run_once()
    return town


@pytest.fixture
def pack(lived: Any, tmp_path: Path) -> Pack:
    def make(folder: str = "pack", *, recorded: Recorded = UNRECORDED, year: int = 2026, settings: Any = None) -> Path:
        settings = settings or lived.gate.gateway.settings
        public = tmp_path / "journal.pub"
        public.write_bytes(public_key_pem(load_signing_key(settings.journal.signing_key)))
        made = make_pack(
            settings, lived.clock, year=year, folder=tmp_path / folder, public_key=public, by="ops", recorded=recorded
        )
        assert json.loads((tmp_path / folder / MANIFEST).read_text("utf-8")) == made.manifest
        return tmp_path / folder

    return make


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO((folder / f"{name}.csv").read_text("utf-8-sig"))))


def counts(folder: Path, name: str, key: str, value: str = "count") -> dict[str, str]:
    return {row[key]: row[value] for row in rows(folder, name)}


def test_the_manifest_covers_every_file_and_stands_on_a_verified_checkpoint(lived: Any, pack: Pack) -> None:
    folder = pack()
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    del files[MANIFEST]
    assert manifest["files"] == files
    assert manifest["journal"]["sound"]
    assert manifest["journal"]["verification"]["rows"] == len(lived.journal())
    notes = {row["note"] for row in lived.rows(tables.checkpoints)}
    assert manifest["journal"]["checkpoints"]
    assert set(manifest["journal"]["checkpoints"].values()) <= notes
    assert (manifest["year"], manifest["whole_year"], manifest["made_by"]) == (2026, False, "ops")
    assert all(path.stat().st_mode & 0o077 == 0 for path in (folder, *folder.iterdir()))


def test_it_counts_what_happened(lived: Any, pack: Pack) -> None:
    folder = pack()
    shown = [row for row in lived.journal(decision="permit") if row["classes"]]
    told = {row["partner"]: row for row in rows(folder, "recipients")}
    hospital = [row for row in shown if row["partner"] == lived.HOSPITAL]
    assert len(hospital) >= 7
    assert told[lived.HOSPITAL]["disclosures"] == str(len(hospital) // 5 * 5)
    assert told[lived.HOSPITAL]["students"] == "5"  # seven
    assert told["police"]["students"] == "<5"
    assert counts(folder, "consent_events", "event") == {
        "DISPUTED": "0", "GIVEN": "5", "REFUSED": "<5", "WITHDRAWN": "<5",
    }  # fmt: skip
    consents = {(row["purpose"], row["state"]): row for row in rows(folder, "consents")}
    assert consents["TREATMENT", "GIVEN_NOW"]["consents"] == "5"
    assert consents["TREATMENT", "EXPIRED_IN_YEAR"]["recipient_kind"] == "hospital"
    assert {row["reason"] for row in rows(folder, "denials")} >= {"AGREEMENT_EXPIRED"}
    assert counts(folder, "deletions", "what")["legal_hold.placed"] == "<5"
    bases = {row["basis"]: row for row in rows(folder, "bases")}
    assert bases["life-safety"]["version"] == "2021-11-01"
    assert bases["life-safety"]["signer"]
    assert counts(folder, "bases_cited", "basis", "in_file")["life-safety"] == "yes"
    inventory = {row["table"]: row for row in rows(folder, "inventory")}
    assert inventory["students"]["students"] == "5"
    assert "IDENTITY" in inventory["students"]["classes"]
    keys = counts(folder, "keys", "what")
    assert (keys["subjects.alive.aes-256-gcm"], keys["subjects.destroyed"]) == ("5", "0")


def test_approvals_name_the_person_and_whether_it_was_in_time(lived: Any, pack: Pack) -> None:
    found = {row["decided_by"]: row for row in rows(pack(), "approvals")}[lived.PSYCH]
    assert [found[name] for name in ("decided", "in_24h", "late", "approved", "rejected")] == ["2", "1", "1", "1", "1"]


def test_the_chart_and_the_year_leave_out_other_years(pack: Pack) -> None:
    past = pack("past", year=2025)
    assert {row["disclosures"] for row in rows(past, "months")} == {"0"}
    assert rows(past, "disclosures") == rows(past, "denials") == []
    with pytest.raises(Refusal) as caught:
        pack("future", year=2031)
    assert caught.value.reason == "PERIOD"


def test_the_page_needs_nothing_from_elsewhere_and_speaks_both_languages(pack: Pack) -> None:
    page = (pack() / "index.html").read_text("utf-8")
    assert not re.search(r"<script|<link|<img|@import|url\(|src=|href=|https?://", page)
    assert "未成年人个人信息合规审计材料 2026" in page
    assert "Disclosures by partner, purpose, field class and basis" in page
    assert page.count("<rect ") == 12
    assert "<5" not in page.replace("&lt;5", "")


def test_every_table_and_column_has_words_in_both_languages(pack: Pack) -> None:
    document = json.loads((pack() / "pack.json").read_text("utf-8"))
    assert set(document["sections"]) <= set(TITLES)
    columns = {name for section in document["sections"].values() for row in section for name in row}
    assert columns <= set(COLUMNS)


def test_a_changed_journal_is_told_and_not_hidden(lived: Any, pack: Pack) -> None:
    url = lived.gate.gateway.settings.store.url
    seq, writer = (lived.journal()[3][name] for name in ("seq", "writer"))
    where = f"WHERE seq = {seq} AND writer = '{writer}'"
    before = lived.journal()[3]["reason"]
    tamper(url, f"UPDATE journal SET reason = 'X' {where}")
    try:
        folder = pack()
    finally:
        tamper(url, f"UPDATE journal SET reason = '{before}' {where}")
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    assert (manifest["journal"]["sound"], manifest["journal"]["verification"]["code"]) == (False, 2)
    assert "does NOT verify" in (folder / "index.html").read_text("utf-8")


def test_a_pack_replaces_nothing(pack: Pack, tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "kept.txt").write_text("kept")
    with pytest.raises(Refusal) as caught:
        pack()
    assert caught.value.reason == "FOLDER"
    assert [path.name for path in (tmp_path / "pack").iterdir()] == ["kept.txt"]


def test_its_making_is_on_record_where_this_process_may_write(lived: Any, pack: Pack, database: str) -> None:
    settings = lived.gate.gateway.settings
    recorded = record(settings, lived.clock, year=2026, by="ops")
    if database == "sqlite":  # the gateway is running, and is the only one that writes there
        assert recorded == Recorded("", "GATEWAY_RUNNING")
        return
    (row,) = lived.journal(kind="audit.packed")
    assert (row["actor"], row["reason"], row["at_us"]) == ("ops", "year:2026", lived.clock.now_us())
    assert recorded.row == f"{row['writer']}/{row['seq']}" == "audit-0/1"
    manifest = json.loads((pack(recorded=recorded) / MANIFEST).read_text("utf-8"))
    assert (manifest["journal_row"], manifest["journal"]["sound"]) == ("audit-0/1", True)
    assert "audit-0" in manifest["journal"]["checkpoints"]
    assert record(settings, lived.clock, year=2026, by="ops").row == "audit-0/2"


def test_on_sqlite_a_stopped_gateway_leaves_room_for_the_row_and_goes_on_after_it(make_town: Any) -> None:
    with make_town("sqlite", listen=False) as town:
        town.student()
        settings = town.gate.gateway.settings
        town.gate.stop()
        recorded = record(settings, town.clock, year=2026, by="ops")
        town.clock.advance(timedelta(seconds=1))
        town.gate.start(listen=False, work=False)
        town.student()
        (row,) = town.journal(kind="audit.packed")
        assert recorded.row == f"{row['writer']}/{row['seq']}"
        assert row["writer"] == "main"
        town.gate.gateway.checkpointer.run_once()  # raises where the chain was broken


def test_the_least_count_is_data_and_checked(tmp_path: Path) -> None:
    rules = load_audit_rules(ROOT / "config" / "policy" / "audit.yaml")
    assert [rules.shown(count) for count in (0, 1, 4, 5, 9, 10)] == [0, "<5", "<5", 5, 5, 10]
    broken = tmp_path / "audit.yaml"
    broken.write_text('version: "1"\nleast_count: 1\nsource: {zh: 依, en: by}\n', "utf-8")
    with pytest.raises(ConfigError, match="least_count"):
        load_audit_rules(broken)
