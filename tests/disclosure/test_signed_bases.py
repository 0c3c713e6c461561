"""Legal bases are law for the gateway only as somebody signed them; agreements end with notice."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from xinqiao.cli.app import main
from xinqiao.disclosure.bases import load_bases, sign_bases
from xinqiao.disclosure.policy import PolicyError
from xinqiao.journal.signing import create_signing_key, load_signing_key, public_key_pem
from xinqiao.store import tables

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "policy" / "legal_bases.yaml"
KEY = Ed25519PrivateKey.generate()


@pytest.fixture
def file(tmp_path):
    return Path(shutil.copy(SHIPPED, tmp_path / "legal_bases.yaml"))


def test_what_was_signed_loads_and_what_was_changed_since_does_not(file):
    sign_bases(file, KEY)
    assert "life-safety" in load_bases(file, [KEY.public_key()])
    file.write_bytes(file.read_bytes().replace(b"notice_hours: 24", b"notice_hours: 23", 1))
    with pytest.raises(PolicyError, match="changed since it was signed"):
        load_bases(file, [KEY.public_key()])


def test_another_key_no_signature_and_no_base64_are_refused_with_what_to_do(file):
    for spoil in (lambda: None, lambda: file.with_name("legal_bases.yaml.sig").write_text("§")):
        spoil()
        with pytest.raises(PolicyError, match="xinqiao policy sign"):
            load_bases(file, [KEY.public_key()])
    sign_bases(file, Ed25519PrivateKey.generate())
    with pytest.raises(PolicyError, match="another key"):
        load_bases(file, [KEY.public_key()])


def test_a_basis_that_ends_before_it_begins_is_refused(file):
    text = file.read_text("utf-8")
    file.write_text(text.replace("    purposes:", "    effective_to: 2001-01-01\n    purposes:", 1), "utf-8")
    with pytest.raises(PolicyError, match="before effective_from"):
        load_bases(file)


def test_a_gateway_starts_on_signed_bases_and_on_no_others(make_town, tmp_path, file):
    key = create_signing_key(tmp_path / "legal.key")
    (tmp_path / "legal.pub").write_bytes(public_key_pem(key))

    def signed(settings):
        del settings["unsigned_legal_bases"]
        settings["legal_bases"], settings["legal_bases_key"] = str(file), str(tmp_path / "legal.pub")

    def silent(settings):
        del settings["unsigned_legal_bases"]

    for change in (signed, silent):
        with pytest.raises(PolicyError, match="legal_bases"), make_town(listen=False, change=change):
            pass
    sign_bases(file, key)
    with make_town(listen=False, change=signed) as town:
        gateway = town.gate.gateway
        assert gateway.reload()
        file.write_bytes(file.read_bytes() + b"# changed\n")
        assert not gateway.reload()  # the old ones stay, and a person is told
        assert "life-safety" in gateway.door.bases


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_command_line_signs_and_checks(file, tmp_path, capsys, language):
    key = tmp_path / "legal.key"
    assert main(["--lang", language, "policy", "sign", str(file), "--key", str(key), "--create-key"]) == 0
    public = str(key.with_suffix(".pub"))
    assert main(["--lang", language, "policy", "check", str(file), "--key", public]) == 0
    assert "life-safety" in capsys.readouterr().out
    assert load_bases(file, [load_signing_key(key).public_key()])
    file.write_bytes(file.read_bytes() + b"# changed\n")
    assert main(["--lang", language, "policy", "check", str(file), "--key", public]) == 78
    assert main(["--lang", language, "policy", "check", str(file)]) == 0


def test_an_agreement_that_ends_is_put_to_the_operator_thirty_days_before(fresh_town):
    gateway = fresh_town.gate.gateway
    gateway.watch_agreements()
    (held,) = fresh_town.rows(tables.holdings, kind="agreement")  # one has ended already
    assert (held["item"], held["holder"], held["step"]) == ("agreements/lapsed-hospital", fresh_town.OPERATOR, "renew")
    ends_us = gateway.registry.find(fresh_town.HOSPITAL).agreement_to_us
    fresh_town.clock.advance(timedelta(microseconds=ends_us - fresh_town.clock.now_us()) - timedelta(days=31))
    gateway.watch_agreements()
    assert len(fresh_town.rows(tables.holdings, kind="agreement")) == 1
    fresh_town.clock.advance(timedelta(days=1))
    gateway.watch_agreements()
    gateway.watch_agreements()
    found = {row["item"]: row["deadline_us"] for row in fresh_town.rows(tables.holdings, kind="agreement")}
    assert found[f"agreements/{fresh_town.HOSPITAL}"] == ends_us
    assert len(fresh_town.journal(kind="agreement.ending", partner=fresh_town.HOSPITAL)) == 1
    gateway.clocks.agreement_notice = timedelta(days=0)  # as after a restart with the renewed agreement
    gateway.watch_agreements()
    assert {row["item"] for row in fresh_town.rows(tables.holdings, kind="agreement")} == {"agreements/lapsed-hospital"}
