"""Repairs that the store knows: stuck work, silent partners, consents that end, too much emergency access; each database."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse, Rejected
from xinqiao.api.casefile.v1 import casefile_service_pb2 as case
from xinqiao.api.casefile.v1 import consent_service_pb2 as consent
from xinqiao.api.exchange.v1.exchange_pb2 import RUN_STATE_AWAIT_RECEIPT, RUN_STATE_INCOMPLETE, RUN_STATE_RECONCILED
from xinqiao.api.gateway.v1 import gateway_service_pb2 as rpc
from xinqiao.config.district import RepairTerms
from xinqiao.server.not_taken import Tally
from xinqiao.server.repair_store import silent
from xinqiao.store import tables


@pytest.fixture
def town(make_town: Callable[..., Any], database: str) -> Iterator[Any]:
    with make_town(database, listen=False) as made:
        yield made


def listed(town: Any) -> dict[tuple[str, str], rpc.Repair]:
    found = town.call(town.OPERATOR, rpc.ListRepairsRequest()).repairs
    assert all(each.since_us > 0 and each.mend for each in found), "each says since when, and how to mend it"
    return {(each.code, each.subject): each for each in found}


def bring(town: Any, *rejected: Rejected) -> None:
    """What the hospital's adapter could not read, on its way through the intake."""
    items = iter([ReadResponse(cursor=str(n), rejected=each) for n, each in enumerate(rejected, 1)])
    town.intake(town.HOSPITAL)._take(items, Tally(), lambda tally: None)


def test_dead_letters_are_named_by_recipient_with_their_reasons_until_they_are_put_back(town: Any) -> None:
    town.consent(local := town.student())
    town.recorder.refusing = True
    town.refer(local)
    town.deliver_all()
    [row] = town.rows(tables.deliveries, state=4)
    found = listed(town)["DEAD_LETTERS", town.HOSPITAL]
    assert "DATA/REFUSED 1" in found.text_en and "1 件" in found.text_zh
    assert found.since_us == row["updated_us"] and found.mend == "xinqiao deliveries list --dead"
    town.call(town.OPERATOR, rpc.RetryDeliveryRequest(name=f"deliveries/{row['id']}"))
    assert ("DEAD_LETTERS", town.HOSPITAL) not in listed(town)


def test_what_was_not_taken_is_named_by_agency_and_unmapped_codes_apart(town: Any) -> None:
    bring(
        town,
        Rejected(source="a.csv", reason="DATA/CODE", message="m"),
        Rejected(source="a.csv", reason="DATA/CODE", message="m"),
        Rejected(source="b.csv", reason="UNKNOWN_STUDENT", message="m"),
    )
    found = listed(town)
    taken, codes = found["NOT_TAKEN", town.HOSPITAL], found["UNMAPPED_CODE", town.HOSPITAL]
    assert taken.text_en.startswith("3 things") and "DATA/CODE 2, UNKNOWN_STUDENT 1" in taken.text_en
    assert taken.mend == "xinqiao adapters read recorder_hospital FILE; xinqiao holdings"
    assert codes.text_en.startswith("2 items") and codes.text_zh.startswith("2 项")
    assert f"adapters.{town.HOSPITAL}.settings" in codes.mend and ".yaml:" in codes.mend
    holdings = town.rows(tables.holdings, kind="intake")
    assert taken.since_us == codes.since_us == min(row["opened_us"] for row in holdings)
    for row in holdings:
        town.call(town.OPERATOR, rpc.CloseHoldingRequest(item=row["item"], reason="MENDED_ELSEWHERE"))
    assert not {"NOT_TAKEN", "UNMAPPED_CODE"} & {code for code, _ in listed(town)}


def test_reasons_of_an_earlier_trouble_are_not_told_again(town: Any) -> None:
    bring(town, Rejected(source="a.csv", reason="DATA/CODE", message="m"))
    [row] = town.rows(tables.holdings, kind="intake")
    town.call(town.OPERATOR, rpc.CloseHoldingRequest(item=row["item"], reason="MENDED_ELSEWHERE"))
    town.clock.advance(timedelta(hours=1))
    bring(town, Rejected(source="a.csv", reason="UNKNOWN_STUDENT", message="m"))
    found = listed(town)
    assert "(UNKNOWN_STUDENT 1)" in found["NOT_TAKEN", town.HOSPITAL].text_en
    assert ("UNMAPPED_CODE", town.HOSPITAL) not in found


def put_run(town: Any, period: str, state: int, deadline_us: int) -> None:
    town.gate.gateway.store.run(
        lambda tx: tx.insert(
            tables.exchange_runs, f"run-{period}", "monthly", town.HOSPITAL, period, 0, state, 0, 0, 0, 0, 0, 0,
            tx.now_us, tx.now_us, deadline_us, None, None, 0, "",
        )
    )  # fmt: skip


def test_an_overdue_receipt_and_a_run_that_does_not_reconcile_are_named(town: Any) -> None:
    now_us = town.clock.now_us()
    put_run(town, "2026-07", RUN_STATE_INCOMPLETE, now_us - 1)
    put_run(town, "2026-08", RUN_STATE_AWAIT_RECEIPT, now_us - 1)
    put_run(town, "2026-09", RUN_STATE_AWAIT_RECEIPT, now_us + 3_600_000_000)
    put_run(town, "2026-06", RUN_STATE_RECONCILED, now_us - 1)
    subject = f"monthly/{town.HOSPITAL}"
    found = listed(town)
    assert "2026-07" in found["RUN_INCOMPLETE", subject].text_en and found["RUN_INCOMPLETE", subject].since_us
    overdue = found["RECEIPT_OVERDUE", subject]
    assert "2026-08" in overdue.text_zh and overdue.since_us == now_us - 1
    assert overdue.mend == "xinqiao exchange show monthly --period 2026-08"
    assert len([code for code, each in found if each == subject]) == 2


def test_broken_rules_are_named_by_node_until_they_are_mended(town: Any) -> None:
    gateway = town.gate.gateway
    reloading = gateway._reloading
    gateway.store.run(lambda tx: reloading._broken(tx, "ConfigError"))
    found = listed(town)["CONFIG_BROKEN", gateway.settings.node]
    assert found.since_us and found.mend == f"xinqiao config check {town.gate.config}"
    reloading.good()
    assert ("CONFIG_BROKEN", gateway.settings.node) not in listed(town)


def test_consents_that_end_soon_are_counted_by_recipient(town: Any) -> None:
    for days in (10, 29, 31):
        town.consent(town.student(), days=days)
    taken_back = town.consent(town.student(), days=10)
    town.call(town.PSYCH, case.WithdrawConsentRequest(name=taken_back.name))
    found = listed(town)["CONSENTS_END", town.HOSPITAL]
    assert found.text_en.startswith("2 consents") and "2 份" in found.text_zh
    assert "documents render consent" in found.mend and town.HOSPITAL in found.mend
    town.clock.advance(timedelta(days=11))
    assert listed(town)["CONSENTS_END", town.HOSPITAL].text_en.startswith("2 consents")  # one over, one nearer


def test_emergency_access_is_an_alarm_from_the_districts_number_on_and_for_its_time(town: Any) -> None:
    def break_glass() -> None:
        local = town.student()
        town.confirmed(local)
        asked = consent.BreakGlassRequest(basis="life-safety", facts="missing since noon")
        asked.student.name = town.gate.gateway.door.students.name("police", town.inside_id(local))
        town.call("police", asked)

    break_glass()
    break_glass()
    assert ("OVERRIDES_MANY", "police") not in listed(town)
    break_glass()
    found = listed(town)["OVERRIDES_MANY", "police"]
    assert "3 emergency accesses within 7 days (the limit is 3)" in found.text_en and "3 次" in found.text_zh
    assert found.since_us == min(row["created_us"] for row in town.rows(tables.overrides))
    town.gate.gateway.clocks.repairs = RepairTerms(overrides_person=4)
    assert ("OVERRIDES_MANY", "police") not in listed(town)
    # An agency as a whole counts by itself, whoever of it looked.
    town.gate.gateway.clocks.repairs = RepairTerms(overrides_person=100, overrides_agency=3)
    assert "limit is 3" in listed(town)["OVERRIDES_MANY", "police"].text_en
    town.gate.gateway.clocks.repairs = RepairTerms()
    town.clock.advance(timedelta(days=7))
    assert ("OVERRIDES_MANY", "police") not in listed(town)


def test_a_partner_without_contact_is_named_and_any_contact_ends_it(town: Any) -> None:
    town.consent(local := town.student())
    town.refer(local)
    assert town.deliver_all()
    [row] = [each for each in town.rows(tables.deliveries, state=3) if each["recipient"] == town.HOSPITAL]
    town.clock.advance(timedelta(days=34))
    assert ("PARTNER_SILENT", town.HOSPITAL) not in listed(town)
    town.clock.advance(timedelta(days=2))
    found = listed(town)["PARTNER_SILENT", town.HOSPITAL]
    assert found.since_us == row["updated_us"] and "36 days" in found.text_en and "36 天" in found.text_zh
    town.gate.gateway.clocks.repairs = RepairTerms(silent_after=timedelta(days=60))
    assert ("PARTNER_SILENT", town.HOSPITAL) not in listed(town)
    town.gate.gateway.clocks.repairs = RepairTerms()
    put_run(town, "2026-10", RUN_STATE_RECONCILED, town.clock.now_us())
    assert ("PARTNER_SILENT", town.HOSPITAL) not in listed(town)
    assert ("PARTNER_SILENT", town.SCHOOL) in listed(town)
    town.student()  # the school's system calls
    assert ("PARTNER_SILENT", town.SCHOOL) not in listed(town)


def test_who_was_never_there_is_silent_from_the_gateways_first_day_and_a_paused_adapter_is_not(town: Any) -> None:
    gateway, terms = town.gate.gateway, RepairTerms()
    with gateway.store.read() as reading:
        assert not list(silent(reading, gateway.host.agencies, gateway.registry, terms))
    town.student()  # the journal begins
    town.clock.advance(timedelta(days=40))
    first_us = min(row["at_us"] for row in town.rows(tables.journal))
    assert listed(town)["PARTNER_SILENT", town.HOSPITAL].since_us == first_us
    gateway.host.agencies[town.HOSPITAL].pause()
    assert ("PARTNER_SILENT", town.HOSPITAL) not in listed(town)
