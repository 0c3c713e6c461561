"""`xinqiao documents`: forms listed, printed from a running gateway, and a code verified with a public key alone."""

import json
from datetime import timedelta

import pytest

from xinqiao.api.referral.v1 import notice_pb2 as pb
from xinqiao.cli.demo.notice import tell_guardian
from xinqiao.cli.documents import render, verify
from xinqiao.cli.texts import Texts
from xinqiao.contract.clock import SystemClock, local_date
from xinqiao.documents.short_form import ShortForm, sign
from xinqiao.journal.signing import create_signing_key, public_key_pem


@pytest.fixture
def signed(tmp_path):
    """Writes a public key and gives its file and the code of a notice issued that many days ago, good for thirty."""

    def make(ago=1):
        key = create_signing_key(tmp_path / f"{ago}.key")
        (tmp_path / f"{ago}.pub").write_bytes(public_key_pem(key))
        issued = local_date(SystemClock().now_us()) - timedelta(days=ago)
        return tmp_path / f"{ago}.pub", sign(ShortForm("00" * 10, issued, 30), key)

    return make


def test_the_forms_are_listed_with_their_readers(run, config):
    done = run("documents", "list", "--config", config, "--json")
    assert done.returncode == 0
    assert {row["kind"]: row["reader"] for row in json.loads(done.stdout)}["notice"] == "FAMILY"


def test_a_code_is_verified_without_a_gateway_and_without_a_configuration(run, signed):
    public, code = signed()
    done = run("documents", "verify", code, "--key", public, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["verdict"] == "genuine"
    assert json.loads(done.stdout)["priority_due"] is None


def test_a_forged_and_an_old_code_exit_65(capsys, tmp_path, signed):
    public, code = signed()
    late_public, late = signed(31)
    for key, text, word in (
        (late_public, code, "not_genuine"),
        (late_public, late, "expired"),
        (public, "x", "not_genuine"),
    ):
        ending = verify(Texts("en"), tmp_path / "none.yaml", "", "", code=text, key=key, online=False, json=True)
        assert (ending, json.loads(capsys.readouterr().out)["verdict"]) == (65, word)


def test_a_template_that_may_not_be_is_a_configuration_error_with_its_place(run, config, tmp_path):
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "notice.yaml").write_text(
        "id: notice\nversion: '1'\nkind: NOTICE\naudience: {role: FAMILY, purposes: [FAMILY_ACCESS]}\n"
        "title: {zh: 告知书, en: Notice}\nsections: [{rows: [{label: {zh: 诊断, en: D}, fields: [referral.outcome.diagnosis]}]}]\n",
        "utf-8",
    )
    lines = config.read_text("utf-8").splitlines()
    config.write_text(
        "\n".join(f"documents: {folder}" if line.startswith("documents:") else line for line in lines), "utf-8"
    )
    for command in (("documents", "list", "--config", config), ("config", "check", config)):
        done = run(*command)
        assert done.returncode == 78
        assert "sections[0].rows[0]: referral.outcome.diagnosis is DIAGNOSIS" in done.stderr


def test_a_form_is_printed_from_a_running_gateway_into_a_file_of_its_owners(make_town, tmp_path, capsys):
    with make_town(change=lambda settings: settings.update(adapters={})) as town:
        local = town.student(guardians=[{"full_name": "欧阳敏"}])
        name = town.gate.gateway.door.students.name(town.SCHOOL, town.inside_id(local))
        out = tmp_path / "consent.pdf"
        words = {
            "language": "zh",
            "recipient": town.HOSPITAL,
            "purpose": "treatment",
            "classes": "identity,contact",
            "days": 30,
        }
        address = f"127.0.0.1:{town.gate.gateway.port}"
        out.touch(mode=0o644)
        out.chmod(0o644)  # what stood there before does not say who may read it now
        ending = render(
            Texts("en"),
            town.gate.config,
            town.PSYCH,
            address,
            kind="consent",
            subject=name,
            out=out,
            json=True,
            **words,
        )
        assert ending == 0
        assert json.loads(capsys.readouterr().out)["form_version"] == "consent-2026-11"
        assert out.read_bytes()[:5] == b"%PDF-"
        assert out.stat().st_mode & 0o777 == 0o600
        ending = verify(
            Texts("en"), town.gate.config, town.HOSPITAL, address, code="XQ1AAAA", key=None, online=True, json=True
        )
        assert (ending, json.loads(capsys.readouterr().out)["verdict"]) == (65, "not_genuine")


def test_the_storys_one_call_tells_a_guardian_and_ends_at_the_hospitals_counter(make_town, tmp_path):
    with make_town() as town:
        local = town.student(guardians=[{"full_name": "欧阳敏"}])
        name = town.gate.gateway.door.students.name(town.SCHOOL, town.inside_id(local))
        told = tell_guardian(
            town.gate.channel(town.PSYCH), town.gate.channel(town.HOSPITAL), student=name, triage=town.confirmed(local),
            observed_behaviour="上课时伏案哭泣", advice="请尽快就诊", file=tmp_path / "notice.pdf",
        )  # fmt: skip
        assert (told.verdict, told.priority_due) == ("GENUINE", True)
        assert told.notice.state == pb.NOTICE_STATE_PRESENTED
        assert told.file.read_bytes()[:5] == b"%PDF-"
