"""One list of what an administrator must mend: each rule makes its line appear, and mending makes it go."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from pydantic import BaseModel

from xinqiao.adapters import deprecation
from xinqiao.adapters.host import AdapterHost, BlockedPlugin
from xinqiao.api.gateway.v1 import gateway_service_pb2 as rpc
from xinqiao.config.district import RepairTerms
from xinqiao.contract.clock import BEIJING, local_date, to_us
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.bases import load_bases
from xinqiao.server.repair_texts import TEXTS
from xinqiao.server.repairs import Repairs

DAY_US = 86_400_000_000


@pytest.fixture
def town(make_town: Callable[..., Any]) -> Iterator[Any]:
    with make_town(listen=False) as made:
        yield made


def listed(town: Any) -> dict[tuple[str, str], rpc.Repair]:
    found = town.call(town.OPERATOR, rpc.ListRepairsRequest()).repairs
    assert all(each.since_us > 0 and each.mend for each in found), "each says since when, and how to mend it"
    return {(each.code, each.subject): each for each in found}


def test_a_sound_gateway_has_only_its_demonstration_to_mend(town: Any) -> None:
    # The town has partners on purpose whose agreement has ended.
    assert {code for code, _ in listed(town)} <= {"BASES_UNSIGNED", "DISK_FULL", "AGREEMENT_ENDED"}


def test_nothing_to_mend_begins_later_than_now(make_town: Callable[..., Any]) -> None:
    with make_town(listen=False) as town:
        town.clock.advance(timedelta(days=-200))  # a story of the spring, and files of today
        now_us = town.clock.now_us()
        found = town.call(town.OPERATOR, rpc.ListRepairsRequest()).repairs
        assert found and all(each.since_us < now_us + 1_000_000 for each in found)


def test_only_an_operator_sees_the_list(town: Any) -> None:
    with pytest.raises(Refusal):
        town.call(town.HOSPITAL, rpc.ListRepairsRequest())


def test_a_blocked_plugin_is_on_the_list_until_it_is_given_back(town: Any) -> None:
    host = town.gate.gateway.host
    host.block([BlockedPlugin("recorder_hospital", (), "leaks")])
    first = listed(town)["PLUGIN_BLOCKED", town.HOSPITAL]
    assert first.severity == rpc.REPAIR_SEVERITY_ERROR
    severities = [each.severity for each in town.call(town.OPERATOR, rpc.ListRepairsRequest()).repairs]
    assert severities == sorted(severities, reverse=True)
    assert "leaks" in first.text_zh and "leaks" in first.text_en and "xinqiao-recorder_hospital" in first.mend
    host.block([])
    assert ("PLUGIN_BLOCKED", town.HOSPITAL) not in listed(town)


def made(town: Any, **words: Any) -> Repairs:
    gateway = town.gate.gateway
    terms = words.pop("terms", RepairTerms())
    seen, forms, free = words.pop("seen", {}), words.pop("forms", gateway.forms), words.pop("free", None)
    return Repairs(gateway.settings, gateway.host.agencies, gateway.door, lambda: terms, seen, forms, free)


def line_of(town: Any, shown: str) -> str:
    """What stands at a place as `gateway.yaml:42: a.b` says it."""
    file, line, key = shown.split(":")
    found = Path(file).read_text("utf-8").splitlines()[int(line) - 1].strip()
    assert found.startswith(f"{key.strip().rpartition('.')[2]}:"), (shown, found)
    return key.strip()


def nearly_full(folder: Path) -> tuple[int, int]:
    return 100, 9


def test_a_full_disk_is_named(town: Any) -> None:
    repairs = made(town, free=nearly_full)
    with town.gate.gateway.store.read() as reading:
        [full] = [each for each in repairs.node(reading) if each.code == "DISK_FULL"]
        began = reading.now_us
        reading.now_us += DAY_US
        [later] = [each for each in repairs.node(reading) if each.code == "DISK_FULL"]
    assert "9 %" in full.text_en and "9%" in full.text_zh and full.mend.startswith("df -h ")
    assert full.since_us == later.since_us == began


def test_agreements_are_named_ahead_and_after_with_their_line(town: Any) -> None:
    gateway, repairs = town.gate.gateway, made(town)
    gateway.watch_agreements()
    [partner] = [each for each in gateway.registry.all() if each.id == town.HOSPITAL]
    with gateway.store.read() as reading:
        for at_us, code in (
            (partner.agreement_to_us - 31 * DAY_US, ""),
            (partner.agreement_to_us - 9 * DAY_US - 1, "AGREEMENT_ENDS"),
            (partner.agreement_to_us + DAY_US, "AGREEMENT_ENDED"),
        ):
            reading.now_us = at_us
            found = [each for each in repairs.agreements(reading) if each.subject == town.HOSPITAL]
            assert [each.code for each in found] == ([code] if code else [])
            for each in found:
                assert code != "AGREEMENT_ENDED" or each.since_us == partner.agreement_to_us
                assert line_of(town, each.mend) == f"partners.{town.HOSPITAL}.agreement.valid_to"


def test_an_agreement_that_the_operator_holds_already_is_as_old_as_that(town: Any) -> None:
    gateway = town.gate.gateway
    [partner] = [each for each in gateway.registry.all() if each.id == town.HOSPITAL]
    town.clock.advance(timedelta(microseconds=partner.agreement_to_us - 9 * DAY_US - gateway.clock.now_us()))
    known_us = gateway.clock.now_us()
    gateway.watch_agreements()
    town.clock.advance(timedelta(days=1))
    assert listed(town)["AGREEMENT_ENDS", town.HOSPITAL].since_us == known_us


def test_certificates_are_named_ahead_and_after_those_of_partners_too(town: Any) -> None:
    gateway = town.gate.gateway
    now_us, far = gateway.clock.now_us(), 36500 * DAY_US
    assert not list(made(town).certificates(now_us))
    found = {each.subject: each for each in made(town).certificates(now_us + far)}
    assert found["gateway.pem"].code == "CERTIFICATE_ENDED" and found["ca.pem"].since_us
    assert line_of(town, found["gateway.pem"].mend) == "server.tls.certificate"
    assert line_of(town, found[town.HOSPITAL].mend) == f"partners.{town.HOSPITAL}.spiffe"
    # The one that a partner really calls with counts, not the one that lies here.
    seen = {town.HOSPITAL: now_us + 9 * DAY_US + 1}
    [ends] = made(town, seen=seen).certificates(now_us)
    assert (ends.code, ends.subject, "9 days" in ends.text_en) == ("CERTIFICATE_ENDS", town.HOSPITAL, True)
    notice_us = gateway.settings.repairs.certificate_days * DAY_US
    assert ends.since_us == seen[town.HOSPITAL] - notice_us, "since it came so near"
    Path(gateway.settings.server.tls.certificate).write_text("no certificate")
    [broken] = made(town).certificates(now_us)
    assert broken.since_us == Path(gateway.settings.server.tls.certificate).stat().st_mtime_ns // 1000
    assert (broken.code, broken.subject) == ("CERTIFICATE_UNREADABLE", "gateway.pem")


def test_a_certificate_that_an_adapter_uses_is_looked_at(town: Any, tmp_path: Path) -> None:
    class Inner(BaseModel):
        files: tuple[Path, ...]

    class OneSettings(BaseModel):
        tls: Inner

    gateway = town.gate.gateway
    (tmp_path / "note.txt").write_text("no certificate")
    certificate = tmp_path / "client.pem"
    certificate.write_bytes(Path(gateway.settings.server.tls.certificate).read_bytes())
    settings = OneSettings(tls=Inner(files=(tmp_path / "note.txt", certificate, tmp_path / "absent.pem")))
    entry = gateway.settings.adapters[town.HOSPITAL].model_copy(update={"settings": settings})
    changed = gateway.settings.model_copy(update={"adapters": {town.HOSPITAL: entry}})
    repairs = Repairs(changed, gateway.host.agencies, gateway.door, RepairTerms, {}, None)
    found = [each for each in repairs.certificates(gateway.clock.now_us() + 36500 * DAY_US) if "adapters" in each.mend]
    assert [(each.code, each.subject) for each in found] == [("CERTIFICATE_ENDED", town.HOSPITAL)]


def test_a_partner_that_calls_is_known_by_the_end_of_its_certificate(make_town: Callable[..., Any]) -> None:
    with make_town(listen=True) as heard:
        heard.gate.call(heard.OPERATOR, rpc.GetStatusRequest())
        pem = (heard.gate.folder / "pki" / "partners" / f"{heard.OPERATOR}.pem").read_bytes()
        ends = x509.load_pem_x509_certificate(pem).not_valid_after_utc
        assert heard.gate.gateway.edge._identity.ends == {heard.OPERATOR: to_us(ends)}


def test_legal_bases_and_forms_that_end_are_named_with_their_line(town: Any) -> None:
    gateway = town.gate.gateway
    today = local_date(gateway.clock.now_us())
    first = next(iter(gateway.door.bases.values()))
    kind, form = next(iter(gateway.forms.templates.items()))
    for days, word, severity in ((59, "ENDS", rpc.REPAIR_SEVERITY_WARNING), (-1, "ENDED", rpc.REPAIR_SEVERITY_ERROR)):
        last = today + timedelta(days=days)
        gateway.door.bases = {**gateway.door.bases, first.id: replace(first, end=last)}
        forms = replace(gateway.forms, templates={kind: form.model_copy(update={"valid_to": last})})
        found = {each.code: each for each in made(town, forms=forms).law(gateway.clock.now_us())}
        assert found[f"BASIS_{word}"].subject == first.id and found[f"BASIS_{word}"].severity == severity
        assert found[f"FORM_{word}"].subject == form.form_version
        # A file without the key: its entry, or the file, is what is named.
        assert "legal_bases.yaml:" in found[f"BASIS_{word}"].mend and f"{form.id}.yaml:" in found[f"FORM_{word}"].mend
    short = RepairTerms(law_notice=timedelta(days=5))
    gateway.door.bases = {first.id: replace(first, end=today + timedelta(days=59))}
    assert "BASIS_ENDS" not in {each.code for each in made(town, terms=short).law(gateway.clock.now_us())}


def test_the_line_of_a_legal_basis_that_ends(town: Any, tmp_path: Path) -> None:
    gateway = town.gate.gateway
    source = Path(gateway.settings.legal_bases).read_text("utf-8")
    mended = source.replace(
        "    effective_from: 2021-11-01\n", "    effective_from: 2021-11-01\n    effective_to: 2026-10-20\n"
    )
    path = tmp_path / "legal_bases.yaml"
    path.write_text(mended, "utf-8")
    gateway.door.bases = load_bases(path)
    settings = gateway.settings.model_copy(update={"legal_bases": path})
    repairs = Repairs(settings, gateway.host.agencies, gateway.door, RepairTerms, {}, None)
    [ends] = [each for each in repairs.law(gateway.clock.now_us()) if each.code == "BASIS_ENDS"]
    assert line_of(town, ends.mend) == "bases[0].effective_to"
    assert "8 days" in ends.text_en and "8 天" in ends.text_zh


def test_without_a_key_that_signs_notices_it_is_said(town: Any) -> None:
    Path(town.gate.gateway.settings.document_key).unlink()
    found = listed(town)["NOTICES_UNSIGNED", ""]
    file, line, key = found.mend.split(":")
    beside = Path(file).read_text("utf-8").splitlines()[int(line) - 1]  # the key itself may be absent
    assert beside.startswith("documents:") and key == " document_key"


def test_an_adapter_that_failed_or_does_not_answer_is_named(town: Any) -> None:
    handle = town.gate.gateway.host.agencies[town.HOSPITAL]
    town.recorder.down = True
    town.consent(local := town.student())
    town.refer(local)
    before_us = town.clock.now_us()
    assert ("ADAPTER_RETRYING", town.HOSPITAL) not in listed(town)
    assert town.deliver(1) or town.deliver(2)
    found = listed(town)["ADAPTER_RETRYING", town.HOSPITAL]
    assert "no answer" in found.text_en and 0 < found.since_us <= before_us and found.mend == "xinqiao adapters check"
    town.recorder.down = False
    town.clock.advance(timedelta(minutes=10))
    assert town.deliver_all()
    assert ("ADAPTER_RETRYING", town.HOSPITAL) not in listed(town)
    handle._adapter = None
    handle.failed("it did not start")
    failed_us = town.clock.now_us()
    town.clock.advance(timedelta(hours=1))
    found = listed(town)["ADAPTER_FAILED", town.HOSPITAL]
    assert found.since_us == failed_us, "no delivery waits: since it failed"
    assert "it did not start" in found.text_zh and line_of(town, found.mend) == f"adapters.{town.HOSPITAL}"


def test_a_journal_without_a_signature_is_named(town: Any) -> None:
    town.student()
    since_us = town.clock.now_us()
    town.clock.advance(timedelta(minutes=4))
    assert ("JOURNAL_UNSIGNED", "") not in listed(town)
    town.clock.advance(timedelta(minutes=3))
    found = listed(town)["JOURNAL_UNSIGNED", ""]
    assert 0 < found.since_us <= since_us and found.severity == rpc.REPAIR_SEVERITY_ERROR
    town.gate.gateway.checkpointer.run_once()
    assert ("JOURNAL_UNSIGNED", "") not in listed(town)


@pytest.mark.parametrize("code", TEXTS)
def test_every_repair_says_in_both_languages_what_and_how(code: str) -> None:
    severity, zh, en, mend = TEXTS[code]
    assert severity and zh and en and mend
    assert any("\u4e00" <= letter <= "\u9fff" for letter in zh)


def test_a_plugin_that_uses_what_goes_is_named_with_its_line(town: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = town.gate.gateway
    host = AdapterHost.load(["hospital"])
    repairs = Repairs(gateway.settings, {}, gateway.door, RepairTerms, {}, None, host=host)
    assert [*repairs.plugins()] == []
    goes = deprecation.Deprecated("manifest.schedules", date(2026, 10, 1), "写在设置里", "say it in the settings")
    monkeypatch.setattr(deprecation, "DEPRECATED", (goes,))
    monkeypatch.setattr(deprecation, "API", 2)
    uses, old = repairs.plugins()
    assert (uses.code, uses.subject, line_of(town, uses.mend)) == ("PLUGIN_DEPRECATED", "hospital", "schedules")
    assert "2027-10-01" in uses.text_zh and "写在设置里" in uses.text_zh and "say it in the settings" in uses.text_en
    assert uses.since_us == to_us(datetime(2026, 10, 1, tzinfo=BEIJING))
    assert (old.code, old.mend) == ("PLUGIN_API_OLD", "pip install -U xinqiao-hospital") and old.since_us
