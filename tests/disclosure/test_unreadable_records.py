"""One erased or broken record among many: lists and cases show the others, and of it what stands outside its seal."""

from collections.abc import Callable
from typing import Any

import pytest

from xinqiao.api.casefile.v1 import casefile_service_pb2 as case_rpc
from xinqiao.api.gateway.v1 import gateway_service_pb2 as gate_rpc
from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao.api.referral.v1 import referral_service_pb2 as ref_rpc
from xinqiao.api.screening.v1 import screening_service_pb2 as scr_rpc
from xinqiao.store import tables


def history(town: Any) -> str:
    """A student with one record of every kind; their id at school."""
    local = town.student()
    town.submit(local)
    town.consent(local)
    town.refer(local, basis="life-safety", urgency=ref.URGENCY_EMERGENCY, crisis_facts="facts")
    return local


def erase(town: Any, local: str) -> None:
    town.gate.gateway.door.keys.shred(town.inside_id(local))


def break_seals(town: Any, local: str) -> None:
    put_in(town, local, lambda _table, _identifier: b"altered")


def make_foreign(town: Any, local: str) -> None:
    """What is sealed is nothing that this version of the program can decode."""
    sealer = town.gate.gateway.door.keys.sealer(town.inside_id(local))
    put_in(town, local, lambda table, identifier: sealer.seal(b"\xff", table=table, key=identifier))


def put_in(town: Any, local: str, sealed: Callable[[str, str], bytes]) -> None:
    student = town.inside_id(local)

    def spoil(tx: Any) -> None:
        for table in (
            tables.assessments,
            tables.signals,
            tables.triages,
            tables.referrals,
            tables.consents,
            tables.duties,
        ):
            for row in tx.all(table.select().where(table.c.student == student)):
                tx.update(table, (row["id"],), sealed=sealed(table.name, row["id"]))

    town.gate.gateway.store.run(spoil)


@pytest.mark.parametrize("spoil", [erase, break_seals, make_foreign])
def test_a_list_shows_every_record_and_of_the_unreadable_ones_their_names(fresh_town, spoil):
    town = fresh_town
    history(town)
    spoil(town, history(town))
    history(town)
    for partner, request, field in [
        (town.PSYCH, scr_rpc.ListSignalsRequest(), "signals"),
        (town.PSYCH, scr_rpc.ListTriagesRequest(), "triages"),
        (town.PSYCH, ref_rpc.ListReferralsRequest(), "referrals"),
        (town.HOSPITAL, ref_rpc.ListReferralsRequest(), "referrals"),
        (town.PSYCH, ref_rpc.ListHoldingsRequest(), "holdings"),
        (town.OPERATOR, gate_rpc.ListDeliveriesRequest(), "deliveries"),
    ]:
        shown = getattr(town.call(partner, request), field)
        assert len(shown) == len(town.rows(getattr(tables, field))), field
        assert all(getattr(record, "item" if field == "holdings" else "name") for record in shown), field
        assert {record.state for record in shown if field == "referrals"} <= {ref.REFERRAL_STATE_SENT}


def test_a_students_forms_are_listed_although_one_of_them_is_broken(fresh_town):
    town = fresh_town
    local = town.student()
    made = [town.submit(local).assessment.name for _ in range(3)]
    broken = made[1].removeprefix("assessments/")
    town.gate.gateway.store.run(lambda tx: tx.update(tables.assessments, (broken,), sealed=b"altered"))
    request = scr_rpc.ListAssessmentsRequest()
    request.student.local_id = local
    shown = town.call(town.PSYCH, request).assessments
    assert {form.name: len(form.answers) for form in shown} == {made[0]: 9, made[1]: 0, made[2]: 9}


@pytest.mark.parametrize("spoil", [break_seals, make_foreign])
def test_a_case_is_shown_although_its_consent_and_its_duty_are_broken(fresh_town, spoil):
    town = fresh_town
    local = history(town)
    spoil(town, local)
    request = case_rpc.GetCaseRequest()
    request.student.local_id = local
    case = town.call(town.PSYCH, request).case
    (consent,) = case.consents
    assert (consent.recipient, consent.state, bool(consent.name)) == (town.HOSPITAL, 1, True)
    shown = sorted((duty.kind, duty.basis, duty.state, bool(duty.name)) for duty in case.duties)
    assert shown == [("notify-guardian", "life-safety", 1, True), ("tell-guardian", "", 1, True)]


@pytest.mark.parametrize("spoil", [break_seals, make_foreign])
def test_a_broken_record_asked_for_by_name_says_that_it_is_broken_and_not_what_is_in_it(fresh_town, spoil):
    town = fresh_town
    local = history(town)
    spoil(town, local)
    name = f"referrals/{town.rows(tables.referrals)[0]['id']}"
    assert town.refusal(town.PSYCH, ref_rpc.GetReferralRequest(name=name)) == "INTERNAL/SEAL_BROKEN"
