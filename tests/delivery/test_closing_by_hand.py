"""What no other call can close, an operator closes by hand: with a reason, on record, and nothing else that way."""

from typing import Any

import pytest

from xinqiao.adapters.errors import PartnerRefused
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, Origin, Rejected
from xinqiao.api.gateway.v1 import gateway_service_pb2 as rpc
from xinqiao.server.not_taken import Tally
from xinqiao.store import tables
from xinqiao.store.claims import DeliveryState

REASON = "MENDED_ELSEWHERE:ticket-4711"


def closing(item: str, **words: Any) -> rpc.CloseHoldingRequest:
    return rpc.CloseHoldingRequest(**{"item": item, "reason": REASON, **words})


def held_sheet(town: Any) -> str:
    """A sheet that was not taken: what its school holds."""
    handle: Any = type("Handle", (), {"agency": town.SCHOOL})
    intake = town.intake(town.SCHOOL, handle)
    tally, origin = Tally(), Origin(source="a.csv@sha256:1#1")
    tally.reject(Rejected(source=origin.source, reason="DATA/NUMBER"), origin)
    intake._move("1", tally, origin)
    (row,) = town.rows(tables.holdings, kind="intake")
    return str(row["item"])


def dead(town: Any) -> tuple[str, str]:
    """A referral whose delivery was refused: its name, and the delivery's."""

    def refuse(request: DeliverRequest) -> None:
        raise PartnerRefused("NO", "no")

    local = town.student()
    town.consent(local)
    name = town.refer(local).referral.name
    town.recorder.before = refuse
    town.deliver_all()
    town.recorder.before = None
    (row,) = town.rows(tables.deliveries, item=name)
    assert row["state"] == DeliveryState.DEAD
    return name, f"deliveries/{row['id']}"


def test_a_sheet_that_was_mended_under_another_name_is_closed_with_its_reason_on_record(fresh_town):
    town = fresh_town
    item = held_sheet(town)
    answer = town.call(town.OPERATOR, closing(item))
    assert (answer.holding.item, answer.holding.holder) == (item, town.PSYCH)
    assert town.rows(tables.holdings, item=item) == []
    (row,) = town.journal(kind="holding.closed", resource=item)
    assert (row["actor"], row["reason"]) == (town.OPERATOR, REASON)


def test_a_repeat_answers_the_same_and_a_second_closing_finds_nothing(fresh_town):
    town = fresh_town
    request = closing(held_sheet(town), request_id=town.key())
    assert town.call(town.OPERATOR, request) == town.call(town.OPERATOR, request)
    assert len(town.journal(kind="holding.closed")) == 1
    assert town.refusal(town.OPERATOR, closing(request.item)) == "NOT_FOUND/HOLDING"


@pytest.mark.parametrize("partner", ["SCHOOL", "PSYCH", "HOSPITAL"])
def test_only_an_operator_closes_by_hand(fresh_town, partner):
    town = fresh_town
    item = held_sheet(town)
    assert town.refusal(getattr(town, partner), closing(item)) == "PERMISSION_DENIED/ROLE"
    assert len(town.rows(tables.holdings, item=item)) == 1


@pytest.mark.parametrize("reason", ["", " \n", "王小明 told me", "X" * 65, "FINE:a b", "FINE\n"])
def test_without_a_reason_that_the_journal_may_keep_nothing_is_closed(fresh_town, reason):
    town = fresh_town
    item = held_sheet(town)
    assert town.refusal(town.OPERATOR, closing(item, reason=reason)).startswith("INVALID_ARGUMENT/")
    assert len(town.rows(tables.holdings, item=item)) == 1


def test_a_dead_delivery_is_closed_and_its_content_destroyed(fresh_town):
    town = fresh_town
    name, delivery = dead(town)
    town.call(town.OPERATOR, closing(delivery))
    row = town.rows(tables.deliveries, id=delivery.removeprefix("deliveries/"))[0]
    assert (DeliveryState(row["state"]), row["payload"]) == (DeliveryState.CANCELLED, None)
    assert town.rows(tables.holdings, item=delivery) == []
    assert [row["holder"] for row in town.rows(tables.holdings, item=name)] == [town.PSYCH]  # the case is still held
    assert town.refusal(town.OPERATOR, rpc.RetryDeliveryRequest(name=delivery)) == "FAILED_PRECONDITION/STATE"


def test_a_delivery_that_is_tried_again_is_not_closed_over_its_head(fresh_town):
    town = fresh_town
    _, delivery = dead(town)
    town.call(town.OPERATOR, rpc.RetryDeliveryRequest(name=delivery))
    assert town.refusal(town.OPERATOR, closing(delivery)) == "FAILED_PRECONDITION/STATE"


def test_what_its_own_call_closes_is_not_closed_by_hand_unless_its_student_is_erased(fresh_town):
    town = fresh_town
    local = town.student()
    town.consent(local)
    town.refer(local)
    town.submit(local)
    student = town.inside_id(local)
    items = [str(row["item"]) for row in town.rows(tables.holdings, student=student)]
    assert {item.partition("/")[0] for item in items} == {"signals", "triages", "referrals", "duties"}
    for item in items:
        assert town.refusal(town.OPERATOR, closing(item)) == "FAILED_PRECONDITION/OWN_CALL"
    town.gate.gateway.door.keys.shred(student)
    for item in items:
        assert town.call(town.OPERATOR, closing(item)).holding.item == item
    assert town.rows(tables.holdings, student=student) == []
