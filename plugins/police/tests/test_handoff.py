"""A three-way call handed on: the token shows its bearer nothing, is short-lived and is taken once."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from plugins.police.tests.conftest import CREATED
from plugins.police.tests.door import CHILD, Door

from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.contract.clock import ManualClock
from xinqiao_police.handoff import CallFacts, issue, open_token
from xinqiao_police.wire import NotUnderstood

OpenDoor = Callable[..., Door]
KEY, OTHER = b"k" * 32, b"o" * 32
FACTS = CallFacts("J-9", "13912345678", "人民桥南侧 31.38N 120.95E", "CELL", line="12356")
SAID = {"kind": "SUICIDAL", "facts": "来电人称要跳桥", "parties": ["110", "12356", "来电人"], "consent": "GIVEN"}
NOW = 1_791_766_800


def reason(**change: Any) -> str:
    words = {
        "keys": [KEY],
        "token": issue(KEY, FACTS, audience="xinqiao", now_s=NOW),
        "audience": "xinqiao",
        "call": "J-9",
        "now_s": NOW,
    }
    words |= change
    with pytest.raises(NotUnderstood) as caught:
        open_token(**words)
    assert "1391" not in str(caught.value)
    return caught.value.reason


def test_its_bearer_can_read_nothing_but_how_it_is_sealed() -> None:
    token = issue(KEY, FACTS, audience="xinqiao", now_s=NOW)
    parts = [base64.urlsafe_b64decode(part + "==") for part in token.split(".")]
    assert json.loads(parts[0]) == {"alg": "dir", "enc": "A256GCM", "typ": "JWT"}
    for part in parts[1:]:
        assert b"13912345678" not in part and "人民桥".encode() not in part
    opened = open_token([OTHER, KEY], token, audience="xinqiao", call="J-9", now_s=NOW)
    assert (opened.origin_number, opened.basis, opened.line) == ("13912345678", "CELL", "12356")


def test_two_tokens_of_one_call_are_different() -> None:
    assert issue(KEY, FACTS, audience="x", now_s=NOW) != issue(KEY, FACTS, audience="x", now_s=NOW)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"keys": [OTHER]}, "TOKEN/FORGED"), ({"audience": "other"}, "TOKEN/AUDIENCE"), ({"call": "J-8"}, "TOKEN/AUDIENCE"),
        ({"now_s": NOW + 121}, "TOKEN/EXPIRED"), ({"now_s": NOW + 120}, "TOKEN/EXPIRED"), ({"now_s": NOW - 301}, "TOKEN/EXPIRED"),
        ({"token": issue(KEY, FACTS, audience="xinqiao", now_s=NOW, life_s=301)}, "TOKEN/EXPIRED"),
        ({"token": "a.b"}, "TOKEN/FORM"), ({"token": "...."}, "TOKEN/FORM"), ({"token": "e30....x"}, "TOKEN/FORM"),
        ({"token": issue(KEY, CallFacts("J-9", "", "", "GUESS"), audience="xinqiao", now_s=NOW)}, "TOKEN/CLAIMS"),
    ],
)  # fmt: skip
def test_what_is_not_in_order_is_refused_by_its_name(change: dict[str, Any], wanted: str) -> None:
    assert reason(**change) == wanted


def test_not_one_byte_of_it_can_be_changed() -> None:
    token = issue(KEY, FACTS, audience="xinqiao", now_s=NOW)
    for place in range(0, len(token), 7):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        try:
            open_token([KEY], changed, audience="xinqiao", call="J-9", now_s=NOW)
        except NotUnderstood:
            continue
        # Base64's last character has bits that belong to no byte.
        assert token[place + 1 : place + 2] in ("", "."), place


def test_a_call_is_brought_with_its_number_and_on_what_the_location_rests(door: Door) -> None:
    assert door.centre.hand_off("J-9", FACTS, student=CHILD, **SAID).status == 202
    (item,) = door.read()
    assert item.signal.location == FACTS.location
    assert "13912345678" in item.signal.student.described.other
    for word in ("来电人称要跳桥", "12356", "the caller agreed", "cell site"):
        assert word in item.signal.facts
    assert "13912345678" not in item.signal.facts


def test_a_token_is_taken_once_and_a_repeat_of_its_message_is_no_second_use(open_door: OpenDoor) -> None:
    door = open_door()
    token = issue(
        base64.b64decode(door.centre.handoff_secret.reveal()),
        FACTS,
        audience="xinqiao",
        now_s=door.centre.clock.now_us() / 1e6,
    )
    data = {"alert": "J-9", "token": token, **SAID}
    assert door.centre.say("call.handoff", data, webhook_id="msg_a").status == 202
    assert door.centre.say("call.handoff", {**data, "facts": "again"}, webhook_id="msg_b").reason == "TOKEN/USED"
    door.read()
    door.reopen()
    assert door.centre.say("call.handoff", {**data, "facts": "again"}, webhook_id="msg_b").status == 409
    assert door.read() == []


def test_a_late_repeat_of_a_call_that_was_kept_is_acknowledged_and_a_late_token_is_not(open_door: OpenDoor) -> None:
    clock = ManualClock(datetime(2026, 10, 12, 1, 0, tzinfo=UTC))
    door = open_door(clock=clock)
    door.centre.clock = clock
    token = issue(
        base64.b64decode(door.centre.handoff_secret.reveal()), FACTS, audience="xinqiao", now_s=clock.now_us() / 1e6
    )
    from xinqiao_police.wire import Envelope, write_json

    body = write_json(Envelope("call.handoff", "2026-10-12T09:00:00+08:00", {"alert": "J-9", "token": token, **SAID}))
    assert door.send(body, "msg_a").status == 202
    clock.advance(timedelta(minutes=10))
    assert door.send(body, "msg_a").status == 200
    assert door.send(body, "msg_b").reason == "TOKEN/EXPIRED"
    (item,) = door.read()  # however late the gateway looks
    assert item.signal.location == FACTS.location


def test_where_no_key_was_agreed_the_centre_is_told_to_send_an_alert(open_door: OpenDoor) -> None:
    door = open_door(handoff_keys=())
    assert door.centre.hand_off("J-9", FACTS, **SAID).reason == "TOKEN/NOT_AGREED"


# -- from us to 110 -----------------------------------------------------------------------------------------------------

NUMBER, PLACE = "13900000001", "人民桥南侧"


def call(**change: Any) -> DeliverRequest:
    said = {"call": "c-17", "line": "12356", "origin_number": NUMBER, "location_basis": 2, "consent": 1}
    package = {
        "call": said,
        "facts": "说站在桥上",
        "location": PLACE,
        "create_time_us": CREATED,
        "sender_title": "心理热线",
        **change,
    }
    return DeliverRequest(request_id="alerts.a1.hand-off", lane=2, attempt=1, call_hand_off=package)


def test_a_call_goes_to_110_with_its_number_and_place_in_the_token_alone(door: Door) -> None:
    door.adapter.deliver(call(), 5)
    (said,) = door.centre.received
    assert (said.type, said.data["alert"], said.data["facts"]) == ("call.handoff", "c-17", "说站在桥上")
    assert (said.data["line"], said.data["consent"]) == ("12356", "GIVEN")
    parties: Any = said.data["parties"]  # an array; in CAP a parameter each
    assert list(parties.values() if isinstance(parties, dict) else parties) == ["12356", "110"]
    (raw,) = door.centre.raw()
    assert NUMBER.encode() not in raw and PLACE.encode() not in raw
    facts = door.centre.call("c-17")
    assert (facts.origin_number, facts.location, facts.basis, facts.line) == (NUMBER, PLACE, "CELL", "12356")
    with pytest.raises(NotUnderstood, match="TOKEN/AUDIENCE"):
        open_token([_key(door)], str(said.data["token"]), audience="another", call="c-17", now_s=None)


def test_a_try_within_the_tokens_life_is_the_same_message_and_a_later_one_another_with_another_token(
    open_door: OpenDoor,
) -> None:
    clock = ManualClock(datetime(2026, 10, 12, 1, 0, tzinfo=UTC))
    door = open_door(clock=clock)
    door.centre.clock = clock
    for minutes in (0, 1, 2):
        clock.advance(timedelta(minutes=minutes))
        door.adapter.deliver(call(), 5)
        assert len(door.centre.received) == 1
    door.reopen()
    clock.advance(timedelta(minutes=2))
    door.adapter.deliver(call(), 5)
    first, second = door.centre.received
    assert first.data["message"] == second.data["message"]
    assert first.data["token"] != second.data["token"]
    keys, late = [_key(door)], clock.now_us() / 1e6
    with pytest.raises(NotUnderstood, match="TOKEN/EXPIRED"):
        open_token(keys, str(first.data["token"]), audience="110", call="c-17", now_s=late)
    assert open_token(keys, str(second.data["token"]), audience="110", call="c-17", now_s=late).location == PLACE
    assert door.centre.refused == []


def test_where_no_key_is_agreed_the_call_goes_all_the_same(open_door: OpenDoor) -> None:
    door = open_door(handoff_keys=())
    door.adapter.deliver(call(), 5)
    (said,) = door.centre.received
    assert (said.data["origin_number"], said.data["location"], said.data["location_basis"]) == (NUMBER, PLACE, "CELL")


def test_what_is_not_known_of_a_call_is_said_to_be_unknown(open_door: OpenDoor) -> None:
    door = open_door()
    door.adapter.deliver(call(call={"call": "c-18", "line": "12355"}, location=""), 5)
    facts = door.centre.call("c-18")
    assert (facts.origin_number, facts.location, facts.basis) == ("", "", "UNKNOWN")
    assert door.centre.received[0].data["consent"] == "NOT_ASKED"


def test_a_drill_of_a_call_is_an_exercise(door: Door) -> None:
    door.adapter.deliver(call(drill=True), 5)
    assert door.centre.received[0].drill


def _key(door: Door) -> bytes:
    return base64.b64decode(door.centre.handoff_secret.reveal())
