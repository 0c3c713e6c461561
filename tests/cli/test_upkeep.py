"""`config check`, `keys init`, `db upgrade`, `journal verify`: what is done beside a gateway."""

import json
import sqlite3
from pathlib import Path

from cryptography import x509


def test_config_check_prints_every_problem_at_once(run, config: Path):
    text = config.read_text(encoding="utf-8").replace("locale: zh-CN", "locale: klingon\nnosuchkey: 1")
    config.write_text(text.replace("poll_ms: 200", "poll_ms: fast"), encoding="utf-8")
    done = run("config", "check", config, "--json")
    assert done.returncode == 78
    problems = json.loads(done.stdout)["problems"]
    assert {"locale", "nosuchkey", "delivery.poll_ms"} <= {problem["key"] for problem in problems}
    assert all(problem["line"] > 0 for problem in problems)


def test_config_check_reads_the_files_that_the_configuration_names(run, config: Path, tmp_path: Path):
    broken = tmp_path / "bases.yaml"
    broken.write_text("version: 1\nbases: 7\n", encoding="utf-8")
    lines = [
        f"legal_bases: {broken}" if line.startswith("legal_bases:") else line
        for line in config.read_text(encoding="utf-8").splitlines()
    ]
    config.write_text("\n".join(lines), encoding="utf-8")
    done = run("config", "check", config, "--no-files")
    assert done.returncode == 78
    assert "legal_bases" in done.stderr


def test_config_check_says_how_to_make_missing_keys(run, config: Path):
    done = run("config", "check", config)
    assert done.returncode == 78
    assert f"xinqiao keys init --config {config}" in done.stderr


def test_config_check_is_content_once_the_keys_are_made(run, config: Path):
    run("keys", "init", "--config", config)
    done = run("config", "check", config)
    assert (done.returncode, done.stderr) == (0, "")


def test_keys_init_makes_everything_a_gateway_and_its_partners_need(run, config: Path, tmp_path: Path):
    done = run("keys", "init", "--config", config, "--json")
    assert done.returncode == 0
    assert all(row["created"] and Path(row["file"]).exists() for row in json.loads(done.stdout))
    partner = x509.load_pem_x509_certificate((tmp_path / "pki" / "partners" / "psych-chen.pem").read_bytes())
    names = partner.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://xinqiao.example/partner/psych-chen"]
    gateway = x509.load_pem_x509_certificate((tmp_path / "pki" / "gateway.pem").read_bytes())
    names = gateway.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://xinqiao.example/gateway"]


def test_private_keys_are_readable_by_their_owner_only(run, config: Path, tmp_path: Path):
    run("keys", "init", "--config", config)
    private = [*tmp_path.rglob("*.key"), tmp_path / "keyring" / "kek"]
    assert len(private) > 5
    assert {oct(path.stat().st_mode & 0o777) for path in private} == {"0o600"}


def test_keys_init_never_replaces_a_key(run, config: Path, tmp_path: Path):
    run("keys", "init", "--config", config)
    made = {path: path.read_bytes() for folder in ("pki", "keyring") for path in (tmp_path / folder).rglob("*.*")}
    again = run("keys", "init", "--config", config, "--json")
    assert again.returncode == 0
    assert not any(row["created"] for row in json.loads(again.stdout))
    assert {path: path.read_bytes() for path in made} == made


def test_keys_init_makes_only_what_is_missing(run, config: Path, tmp_path: Path):
    run("keys", "init", "--config", config)
    for path in (tmp_path / "pki" / "partners").glob("psych-chen.*"):
        path.unlink()
    again = run("keys", "init", "--config", config, "--json")
    created = [Path(row["file"]).name for row in json.loads(again.stdout) if row["created"]]
    assert created == ["psych-chen.pem"]


def test_keys_init_founds_no_second_authority_where_the_first_ones_key_is_kept_elsewhere(run, config, tmp_path):
    run("keys", "init", "--config", config)
    (tmp_path / "pki" / "ca.key").unlink()
    assert run("keys", "init", "--config", config).returncode == 0
    (tmp_path / "pki" / "partners" / "psych-chen.pem").unlink()
    done = run("keys", "init", "--config", config)
    assert done.returncode == 78
    assert "ca.key" in done.stderr


def test_db_upgrade_makes_both_databases_and_may_be_repeated(run, config: Path, tmp_path: Path):
    assert [run("db", "upgrade", "--config", config).returncode for _ in range(2)] == [0, 0]
    for name in ("records.db", "keys.db"):
        with sqlite3.connect(tmp_path / name) as database:
            assert database.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
        database.close()


def test_an_empty_journal_is_sound(run, config: Path):
    run("keys", "init", "--config", config)
    run("db", "upgrade", "--config", config)
    done = run("journal", "verify", "--config", config, "--json")
    assert (done.returncode, json.loads(done.stdout)["rows"]) == (0, 0)


def test_a_journal_that_cannot_be_read_exits_4(run, config: Path):
    run("keys", "init", "--config", config)
    done = run("journal", "verify", "--config", config, "--database", "absent.db")
    assert done.returncode == 4
    assert "absent.db" in done.stderr


def test_adapters_check_needs_no_gateway_and_names_the_agency_that_does_not_answer(run, config: Path):
    done = run("adapters", "check", "--config", config, "--json")
    assert done.returncode == 69
    found = {row["agency"]: row["ok"] for row in json.loads(done.stdout)["agencies"]}
    assert found == {"kunshan-no1-middle": True, "kunshan-mental-health": False}
