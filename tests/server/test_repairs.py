"""One list of what an administrator must mend: each rule makes its line appear, and mending makes it go."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from xinqiao.adapters.host import BlockedPlugin
from xinqiao.api.gateway.v1 import gateway_service_pb2 as rpc
from xinqiao.contract.errors import Refusal
from xinqiao.server.repairs import TEXTS, Repairs

DAY_US = 86_400_000_000


@pytest.fixture
def town(make_town: Callable[..., Any]) -> Iterator[Any]:
    with make_town(listen=False) as made:
        yield made


def listed(town: Any) -> dict[tuple[str, str], rpc.Repair]:
    found = town.call(town.OPERATOR, rpc.ListRepairsRequest()).repairs
    return {(each.code, each.subject): each for each in found}


def test_a_sound_gateway_has_only_its_demonstration_to_mend(town: Any) -> None:
    # The town has partners on purpose whose agreement has ended.
    assert {code for code, _ in listed(town)} <= {"BASES_UNSIGNED", "DISK_FULL", "AGREEMENT_ENDED"}


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


def test_a_full_disk_is_named(town: Any) -> None:
    gateway = town.gate.gateway
    repairs = Repairs(gateway.settings, gateway.host.agencies, gateway.registry, lambda folder: (100, 9))
    with gateway.store.read() as reading:
        [full] = [each for each in repairs.node(reading) if each.code == "DISK_FULL"]
    assert "9 %" in full.text_en and "9%" in full.text_zh


def test_certificates_and_agreements_are_named_ahead_and_after(town: Any) -> None:
    gateway = town.gate.gateway
    repairs = Repairs(gateway.settings, gateway.host.agencies, gateway.registry)
    [partner] = [each for each in gateway.registry.all() if each.id == town.HOSPITAL]
    for at_us, code in (
        (partner.agreement_to_us - 31 * DAY_US, ""),
        (partner.agreement_to_us - 9 * DAY_US - 1, "AGREEMENT_ENDS"),
        (partner.agreement_to_us + DAY_US, "AGREEMENT_ENDED"),
    ):
        found = {each.code for each in repairs.agreements(at_us) if each.subject == town.HOSPITAL}
        assert found == ({code} if code else set())
    Path(gateway.settings.server.tls.certificate).write_text("no certificate")
    codes = {each.code for each in repairs.certificates(gateway.clock.now_us() + 36500 * DAY_US)}
    assert codes == {"CERTIFICATE_UNREADABLE", "CERTIFICATE_ENDED"}


@pytest.mark.parametrize("code", TEXTS)
def test_every_repair_says_in_both_languages_what_and_how(code: str) -> None:
    severity, zh, en, mend = TEXTS[code]
    assert severity and zh and en and mend
    assert any("\u4e00" <= letter <= "\u9fff" for letter in zh)
