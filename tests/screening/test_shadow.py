"""A pack tried in shadow over what is stored: everything counted, nothing changed, one row says that it was done."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from xinqiao.api.gateway.v1 import gateway_service_pb2 as gw
from xinqiao.api.screening.v1 import screening_service_pb2 as scr
from xinqiao.contract.clock import SystemClock
from xinqiao.journal.signing import load_signing_key, public_key_pem
from xinqiao.journal.verify import verify_database
from xinqiao.screening.instruments import load_instruments
from xinqiao.screening.shadow import shadow
from xinqiao.screening.triage import Tier, load_triage
from xinqiao.store import tables
from xinqiao.store.history import History

CONFIG = Path(__file__).resolve().parents[2] / "config"
LIBRARY = load_instruments(CONFIG / "instruments")
THREE = load_triage(CONFIG / "triage" / "three-colours.yaml", LIBRARY)
MODERATE, SEVERE, RED, NONE = bytes([2] * 6 + [0] * 3), bytes([3] * 7 + [0] * 2), bytes([3] * 9), bytes(9)
FORMS = [MODERATE, MODERATE, SEVERE, RED, NONE, bytes([255] * 8 + [0])]


def unchanged(town):
    """Everything a shadow run must leave as it is."""
    names = [name for name in tables.metadata.tables if name not in ("journal", "checkpoints", "requests")]
    return {name: sorted(map(repr, town.rows(tables.metadata.tables[name]))) for name in names}


def run(town, pack=THREE, *, since_us=0, until_us=2**62):
    gateway = town.gate.gateway
    return shadow(gateway.store, gateway.door.keys, LIBRARY, pack, since_us=since_us, until_us=until_us)


@pytest.fixture
def history(make_town):
    with make_town(listen=False) as town:
        for answers in FORMS:
            town.submit(town.student(), answers)
        yield town


def test_each_stored_form_is_counted_once_under_then_and_now(history):
    found = run(history)
    assert found.forms == len(FORMS)
    assert found.moves == {
        (Tier.YELLOW, Tier.ORANGE): 3, (Tier.ORANGE, Tier.ORANGE): 1, (Tier.RED, Tier.RED): 1,
        (Tier.GREEN, Tier.GREEN): 1,
    }  # fmt: skip
    assert (found.changed, found.newly_red, found.no_longer_red) == (3, 0, 0)
    assert found.rules["phq9-moderate", Tier.YELLOW, Tier.ORANGE] == 2
    assert found.rules["phq9-retest", Tier.YELLOW, Tier.ORANGE] == 1


def test_the_pack_in_force_changes_nothing_over_its_own_history(history):
    found = run(history, load_triage(CONFIG / "triage" / "default.yaml", LIBRARY))
    assert (found.changed, sum(found.moves.values())) == (0, len(FORMS))


def test_a_shadow_run_changes_no_tier_no_triage_and_no_holding(history):
    before = unchanged(history)
    run(history)
    assert unchanged(history) == before


def test_forms_of_an_upload_count_like_single_ones(make_town):
    with make_town(listen=True) as town:
        local = town.student()
        calls = [
            scr.UploadAssessmentsRequest(
                header={"upload_id": town.key(), "instrument": "PHQ-9", "taken_on": "2026-10-02"}
            ),
            scr.UploadAssessmentsRequest(
                batch={"number": 1, "local_ids": [local] * 3, "answers": MODERATE + RED + NONE}
            ),
        ]
        stream = town.gate.channel(town.SCHOOL).stream_stream(
            "/xinqiao.api.screening.v1.ScreeningService/UploadAssessments",
            scr.UploadAssessmentsRequest.SerializeToString, scr.UploadAssessmentsResponse.FromString,
        )  # fmt: skip
        list(stream(iter(calls), timeout=20))
        assert run(town).moves == {(2, 3): 1, (4, 4): 1, (1, 1): 1}


def test_a_pack_that_would_lower_a_red_one_says_so(history, tmp_path):
    # Possible only for a red that no crisis item made: a rule of the district's own, taken back.
    text = (CONFIG / "triage" / "default.yaml").read_text("utf-8")
    severe = next(row for row in history.rows(tables.assessments) if row["tier"] == Tier.ORANGE)
    history.gate.gateway.store.run(lambda tx: tx.update(tables.assessments, (severe["id"],), tier=int(Tier.RED)))
    (tmp_path / "old.yaml").write_text(text, "utf-8")
    found = run(history, load_triage(tmp_path / "old.yaml", LIBRARY))
    assert (found.no_longer_red, found.newly_red) == (1, 0)
    assert history.rows(tables.assessments, id=severe["id"])[0]["tier"] == Tier.RED


def test_newly_red_forms_are_counted(history, tmp_path):
    text = (CONFIG / "triage" / "default.yaml").read_text("utf-8")
    (tmp_path / "strict.yaml").write_text(
        text.replace("at_least: 20}\n    tier: ORANGE", "at_least: 20}\n    tier: RED"), "utf-8"
    )
    assert run(history, load_triage(tmp_path / "strict.yaml", LIBRARY)).newly_red == 1


def test_an_erased_student_and_a_broken_record_are_counted_apart(history):
    rows = history.rows(tables.assessments)
    history.gate.gateway.door.keys.shred(str(rows[0]["student"]))
    history.gate.gateway.store.run(lambda tx: tx.update(tables.assessments, (rows[1]["id"],), sealed=b"\x00" * 40))
    found = run(history)
    assert found.unread == {"erased": 1, "broken": 1}
    assert found.forms == len(FORMS) == sum(found.moves.values()) + 2


def test_only_the_days_asked_for_are_read_page_by_page(history, monkeypatch):
    monkeypatch.setattr("xinqiao.screening.shadow._PAGE", 2)
    history.clock.advance(timedelta(days=1))
    since = history.clock.now_us()
    for answers in (RED, NONE, NONE):
        history.submit(history.student(), answers)
    assert run(history, since_us=since).forms == 3
    assert run(history, until_us=since).forms == len(FORMS)
    assert run(history).forms == len(FORMS) + 3


def test_the_table_names_no_student_no_school_and_no_form(history):
    told = json.dumps(run(history).as_dict())
    for row in history.rows(tables.assessments):
        assert str(row["id"]) not in told and str(row["student"]) not in told and str(row["school"]) not in told


def test_only_an_operator_may_begin_one(history):
    request = gw.BeginShadowRunRequest(pack="three-colours@1", digest="0" * 64)
    assert history.refusal(history.PSYCH, request) == "PERMISSION_DENIED/ROLE"
    assert history.call(history.OPERATOR, request).forms == len(FORMS)


def test_records_read_beside_a_gateway_cannot_be_written(history):
    settings = history.gate.gateway.settings.store
    beside = History(settings.url, settings.keys_url, settings.keyring, SystemClock())
    try:
        with beside.read() as reading, pytest.raises(Exception, match="readonly"):
            reading.all(tables.assessments.update().values(tier=1).returning(tables.assessments.c.id))
        with pytest.raises(Exception, match="readonly|read-only"):
            beside.keys.ensure(["nobody"])
    finally:
        beside.close()


def command(town, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "xinqiao.cli", *map(str, arguments), "--config", str(town.gate.config)],
        capture_output=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("running", [True, False], ids=["beside-a-gateway", "alone"])
def test_the_command_runs_beside_a_gateway_and_without_one_and_leaves_one_row(make_town, running):
    with make_town(listen=True, change=lambda settings: settings.update(adapters={})) as town:
        for answers in FORMS:
            town.submit(town.student(), answers)
        before = unchanged(town)
        where = ["--address", f"127.0.0.1:{town.gate.gateway.port}"] if running else []
        if not running:
            town.gate.stop()
        done = command(town, "triage", "shadow", CONFIG / "triage" / "three-colours.yaml", "--json", *where)
        assert done.returncode == 0, done.stderr
        if not running:
            town.clock.advance(timedelta(days=3650))  # past the machine's clock, by which the command dated its row
            town.gate.start(listen=False, work=False)
        told = json.loads(done.stdout)
        assert (told["forms"], told["changed"], told["newly_red"], told["unread"]) == (len(FORMS), 3, 0, {})
        assert unchanged(town) == before
        (row,) = town.journal(kind="triage.shadowed")
        assert (row["actor"], row["resource"]) == (town.OPERATOR, "triage-packs/three-colours@1")
        assert row["reason"].startswith(f"forms:{len(FORMS)} sha256:")
        public = town.gate.folder / "journal.pub"
        public.write_bytes(public_key_pem(load_signing_key(town.gate.folder / "pki" / "journal.key")))
        assert verify_database(str(town.gate.gateway.settings.store.url), public, None, None).ok


def test_a_gateway_that_runs_elsewhere_is_not_opened_twice(make_town):
    with make_town(listen=True, change=lambda settings: settings.update(adapters={})) as town:
        done = command(town, "triage", "shadow", CONFIG / "triage" / "three-colours.yaml")
        assert done.returncode == 69, done.stderr
        assert "already running" in done.stderr and town.journal(kind="triage.shadowed") == []


def test_the_table_for_people_shows_then_and_now_in_the_districts_words(make_town):
    with make_town(listen=True, change=lambda settings: settings.update(adapters={})) as town:
        town.submit(town.student(), MODERATE)
        where = ["--address", f"127.0.0.1:{town.gate.gateway.port}"]
        done = command(town, "--lang", "zh", "triage", "shadow", CONFIG / "triage" / "three-colours.yaml", *where)
        assert "1 份等级会不同" in done.stdout and "橙色·重点支持" in done.stdout and "phq9-moderate" in done.stdout


def test_the_check_of_a_pack_names_its_fault_and_place(make_town, tmp_path):
    with make_town(listen=False, change=lambda settings: settings.update(adapters={})) as town:
        good = command(town, "triage", "check", CONFIG / "triage" / "three-colours.yaml")
        assert good.returncode == 0 and "Red (emergency)" in good.stdout
        bad = tmp_path / "bad.yaml"
        bad.write_text("id: x\nversion: 1\nsource: s\ntiers: {RED: 4}\nrules: []\n", "utf-8")
        refused = command(town, "triage", "check", bad)
        assert refused.returncode == 78 and "bad.yaml: rules" in refused.stderr
