"""What leaves for the police: signed, the same on every try, marked where it is a drill, and nothing that was withheld."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from plugins.police.tests.conftest import CREATED
from plugins.police.tests.door import Door

from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.adapters.transport import HttpResponse, HttpTransport
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.api.referral.v1.referral_pb2 import Referral, ReferralChange
from xinqiao.contract.clock import ManualClock, from_us
from xinqiao_police.cap import NAMESPACE
from xinqiao_police.faults import FaultScript
from xinqiao_police.wire import JSON

OpenDoor = Callable[..., Door]
CAP_ORDER = (
    "identifier sender sent status msgType source scope restriction addresses code note references incidents info",
    "language category event responseType urgency severity certainty audience eventCode effective onset expires senderName "
    "headline description instruction web contact parameter resource area",
)
"""The sequences of CAP 1.2, section 3.2; `alert`, then `info`."""


def update(state: int, **more: Any) -> DeliverRequest:
    changed = Referral(
        name="referrals/r1", state=state, urgency=3, create_time_us=CREATED,
        history=[ReferralChange(event=14, state=state, time_us=CREATED + 60_000_000)], **more,
    )  # fmt: skip
    return DeliverRequest(request_id=f"referrals.r1.v3.{state}", lane=2, attempt=1, referral_update=changed)


def texts(body: bytes, name: str) -> list[str]:
    return [found.text or "" for found in ET.fromstring(body).iter(f"{{{NAMESPACE}}}{name}")]


def test_a_rescue_says_who_where_and_what_and_the_receipt_is_the_centres_number(
    door: Door, rescue: DeliverRequest
) -> None:
    assert door.adapter.deliver(rescue, 5).receipt == "110/1"
    (said,) = door.centre.received
    assert (said.type, said.drill, said.timestamp) == ("rescue.requested", False, "2026-10-05T17:00:00+08:00")
    data = said.data
    facts = data.get("facts")
    assert (facts, data["location"], data["request"]) == ("在大桥上 <say> & wait", "大桥南侧", "referrals/r1")
    assert data["student"]["full_name"] == "欧阳小雨"
    assert data["basis"]["id"] == "life-safety"


def test_a_guardian_in_conflict_is_a_warning_and_no_name_or_number(door: Door, rescue: DeliverRequest) -> None:
    door.adapter.deliver(rescue, 5)
    (body,) = door.centre.raw()
    assert b"in_conflict" in body
    assert "李梅".encode() in body
    assert "欧阳刚".encode() not in body
    assert b"13800000003" not in body


def test_what_was_withheld_is_absent(door: Door, rescue: DeliverRequest) -> None:
    for field in ("phone", "birth_date", "sex", "guardians"):
        rescue.referral.student.ClearField(field)
    rescue.referral.referral.ClearField("location")
    door.adapter.deliver(rescue, 5)
    (body,) = door.centre.raw()
    for word in (b"phone", b"birth_date", b"sex", b"guardian", b"areaDesc", b"location"):
        assert word not in body


def test_an_escort_asked_for_by_a_police_report(door: Door, escort: DeliverRequest) -> None:
    door.adapter.deliver(escort, 5)
    (said,) = door.centre.received
    assert (said.type, said.data["report"], said.data["location"]) == ("escort.requested", "notices/n1", "家中")
    assert said.data["facts"] == "说要跳楼"


def test_every_try_has_the_same_id_and_bytes_and_one_effect_also_after_a_restart(
    open_door: OpenDoor, wire: str, rescue: DeliverRequest, escort: DeliverRequest
) -> None:
    clock = ManualClock(from_us(CREATED))
    door = open_door(wire, clock=clock)
    door.centre.clock = clock
    receipts = []
    for request in (rescue, escort):
        door.centre.inject(FaultScript("drop_after"))
        with pytest.raises(PartnerUnavailable):
            door.adapter.deliver(request, 5)
        clock.advance(timedelta(hours=5))
        door.reopen()
        receipts.append(door.adapter.deliver(request, 5).receipt)
    assert receipts == ["110/1", "110/2"]
    assert (len(door.centre.received), door.centre.refused) == (2, [])


@pytest.mark.parametrize("where", ["request", "package", "referral"])
def test_a_drill_is_an_exercise_wherever_it_is_said(open_door: OpenDoor, rescue: DeliverRequest, where: str) -> None:
    marked = {"request": rescue, "package": rescue.referral, "referral": rescue.referral.referral}[where]
    marked.drill = True
    for wire in ("json", "cap"):
        door = open_door(wire)
        door.adapter.deliver(rescue, 5)
        assert door.centre.received[0].drill
    body = door.centre.raw()[0]
    assert texts(body, "status") == ["Exercise"]
    assert texts(body, "note") == ["演练 DRILL"]
    assert texts(body, "event")[0].startswith("【演练 DRILL】")


def test_cap_is_restricted_in_the_standards_order_and_says_nothing_of_severity(
    open_door: OpenDoor, rescue: DeliverRequest
) -> None:
    door = open_door("cap", sender="gateway@edu.example")
    door.adapter.deliver(rescue, 5)
    body = door.centre.raw()[0]
    for name, wanted in {
        "identifier": "referrals.r1", "sender": "gateway@edu.example", "status": "Actual", "msgType": "Alert",
        "scope": "Restricted", "urgency": "Immediate", "severity": "Unknown", "certainty": "Unknown",
        "areaDesc": "大桥南侧", "senderName": "市第一中学", "language": "zh-CN", "category": "Rescue",
        "sent": "2026-10-05T17:00:00+08:00",
    }.items():  # fmt: skip
        assert texts(body, name) == [wanted], name
    assert texts(body, "restriction")
    root = ET.fromstring(body)
    for element, order in ((root, CAP_ORDER[0]), (root[-1], CAP_ORDER[1])):
        places = [order.split().index(child.tag.rpartition("}")[2]) for child in element]
        assert places == sorted(places)


@pytest.mark.parametrize(
    ("state", "kind", "word"),
    [(12, "rescue.cancelled", "Cancel"), (14, "rescue.cancelled", "Cancel"), (13, "rescue.updated", "Update")],
)
def test_a_change_names_the_message_it_follows(
    open_door: OpenDoor, rescue: DeliverRequest, state: int, kind: str, word: str
) -> None:
    door = open_door("cap")
    door.adapter.deliver(rescue, 5)
    door.adapter.deliver(update(state), 5)
    first, second = door.centre.raw()
    assert texts(second, "msgType") == [word]
    reference = ",".join(texts(first, name)[0] for name in ("sender", "identifier", "sent"))
    assert texts(second, "references") == [reference]
    assert texts(second, "identifier") != texts(first, "identifier")
    assert door.centre.received[1].type == kind


def test_a_control_character_cannot_break_the_xml(open_door: OpenDoor, rescue: DeliverRequest) -> None:
    door = open_door("cap")
    rescue.referral.referral.crisis_facts = "a\x0b\x00b\ufffe]]>"
    door.adapter.deliver(rescue, 5)
    assert door.centre.received[0].data["facts"] == "a\ufffd\ufffdb\ufffd]]>"


def test_during_a_rotation_each_secret_signs(open_door: OpenDoor, rescue: DeliverRequest, tmp_path: Any) -> None:
    door = open_door()
    fresh = door.centre._secret("fresh.secret")
    door.settings = door.settings.model_copy(update={"sign_with": (fresh, door.centre.gateway_secret)})
    door.reopen()
    assert door.adapter.deliver(rescue, 5).receipt == "110/1"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (FaultScript("unavailable", seconds=7), PartnerUnavailable), (FaultScript("down"), PartnerUnavailable),
        (FaultScript("slow", seconds=1), PartnerUnavailable), (FaultScript("unprocessable"), RecordRejected),
    ],
)  # fmt: skip
def test_what_the_centre_answers_and_what_the_gateway_does_next(
    open_door: OpenDoor, rescue: DeliverRequest, fault: FaultScript, error: type[Exception]
) -> None:
    door = open_door()
    door.centre.inject(fault)
    with pytest.raises(error) as caught:
        door.adapter.deliver(rescue, 0.5)
    if isinstance(caught.value, PartnerUnavailable) and fault.kind == "unavailable":
        assert caught.value.retry_after_s == 7
    assert "大桥" not in str(caught.value)


def test_a_secret_the_centre_does_not_know_is_refused_for_good(open_door: OpenDoor, rescue: DeliverRequest) -> None:
    door = open_door()
    wrong = door.centre._secret("wrong.secret")
    door.settings = door.settings.model_copy(update={"sign_with": (wrong,)})
    door.reopen()
    with pytest.raises(PartnerRefused, match="PARTNER/STATUS"):
        door.adapter.deliver(rescue, 5)


@pytest.mark.parametrize("body", [b"", b"\r\n", b"{}", b'{"receipt": 17}', b'{"receipt": "\xe6\x9d\x8e"}'])
def test_an_answer_without_a_receipt_is_enough(
    open_door: OpenDoor, rescue: DeliverRequest, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    door = open_door()
    monkeypatch.setattr(HttpTransport, "request", lambda *given, **named: HttpResponse(200, {}, body))
    assert door.adapter.deliver(rescue, 5).receipt.startswith("webhook/msg_")


@pytest.mark.parametrize("body", [b"<html>sign in</html>", b"OK", b"[]", b'{"receipt":', b"[" * 100_000, b"\xff"])
def test_a_proxy_that_answers_in_the_centres_place_is_no_acknowledgement(
    open_door: OpenDoor, rescue: DeliverRequest, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    door = open_door()
    with monkeypatch.context() as patch:
        patch.setattr(HttpTransport, "request", lambda *given, **named: HttpResponse(200, {}, body))
        for call in (door.adapter.check, lambda: door.adapter.deliver(rescue, 5)):
            with pytest.raises(PartnerUnavailable, match="not the 110 centre"):
                call()
    assert door.adapter.deliver(rescue, 5).receipt == "110/1"


def test_a_change_without_the_number_of_its_request_is_refused(open_door: OpenDoor) -> None:
    changed = update(12)
    changed.referral_update.ClearField("name")
    with pytest.raises(RecordRejected, match="referral_update.name"):
        open_door().adapter.deliver(changed, 5)


def test_a_report_without_a_number_goes_out_all_the_same(door: Door, escort: DeliverRequest) -> None:
    escort.police_report.ClearField("notice")
    assert door.adapter.deliver(escort, 5).receipt == "110/1"
    assert b"msg_" in door.centre.raw()[0]


def test_check_is_a_signed_ping_that_leaves_nothing(door: Door) -> None:
    assert door.adapter.check().startswith("Standard Webhooks, ")
    assert door.centre.received == []
    assert door.centre.refused == []


def test_a_body_that_is_not_for_the_police_is_refused(open_door: OpenDoor) -> None:
    with pytest.raises(RecordRejected, match="DATA/REQUIRED"):
        open_door().adapter.deliver(DeliverRequest(request_id="recall-0001", recall={"name": "recalls/1"}), 5)


def test_the_centre_keeps_what_it_took_over_a_restart(open_door: OpenDoor, rescue: DeliverRequest) -> None:
    door = open_door()
    door.adapter.deliver(rescue, 5)
    from xinqiao_police.simulator import Centre110

    again = Centre110(door.centre._folder)
    try:
        assert [said.type for said in again.received] == ["rescue.requested"]
        assert JSON
    finally:
        again.stop()
