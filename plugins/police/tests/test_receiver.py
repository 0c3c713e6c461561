"""The webhook rows 107 to 116 of the bad-input table, over a real socket, and what an acknowledgement is worth."""

import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from plugins.police.tests.door import ALERT, CHILD, Door

from xinqiao.adapters import durable, spool
from xinqiao.api.referral.v1.referral_pb2 import ReferralEvent
from xinqiao.config import Secret
from xinqiao.contract.clock import ManualClock
from xinqiao_police import pushes, receiver
from xinqiao_police.faults import FaultScript
from xinqiao_police.simulator import Centre110
from xinqiao_police.wire import Envelope, dump, write_json

OpenDoor = Callable[..., Door]
SECRET = "王小明310"


def body(**more: Any) -> bytes:
    data = {"alert": "J-1", "facts": SECRET, **more}
    return write_json(Envelope("alert.created", "2026-10-12T09:00:00+08:00", data))


def raw(door: Door, request: bytes) -> bytes:
    assert door.adapter.address is not None
    with socket.create_connection(door.adapter.address, timeout=5) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while part := connection.recv(65536):
            found += part
    return found


def test_an_alert_is_brought_as_a_signal_about_a_described_child(door: Door) -> None:
    answer = door.centre.alert("J-1", **ALERT, student=CHILD)
    assert (answer.status, answer.word) == (202, "spooled")
    (item,) = door.read()
    signal = item.signal
    assert (signal.source, signal.kind, signal.location) == (6, 1, "人民桥")
    assert signal.facts == "[110 J-1]\n在大桥上"
    described = signal.student.described
    assert (described.school, described.full_name, described.birth_date, described.phone) == (
        "3205830001", "欧阳小雨", "2011-03-09", "13800000001",
    )  # fmt: skip
    assert signal.occurred_us == 1_791_766_800_000_000


def test_an_online_risk_notice_says_that_it_is_one(door: Door) -> None:
    door.centre.alert("W-1", source="ONLINE_MONITORING", facts="在网上写告别信", student=CHILD)
    (item,) = door.read()
    assert item.signal.source == 15


def test_row_107_without_the_right_signature_nothing_is_read_or_kept(door: Door) -> None:
    door.centre.inject(FaultScript("bad_signature"))
    answer = door.centre.alert("J-1", **ALERT)
    assert (answer.status, answer.reason) == (401, "SIGNATURE")
    assert door.send(b"{ not even json", webhook_signature="v1,AAAA").status == 401
    assert door.send(b"", webhook_signature="").status == 401
    assert door.waiting() == 0


@pytest.mark.parametrize("skew", [-302, 302])
def test_row_108_a_signed_message_of_another_time_is_stale(door: Door, skew: int) -> None:
    door.centre.inject(FaultScript("clock_skew", seconds=skew))
    answer = door.centre.alert("J-1", **ALERT)
    assert (answer.status, answer.reason) == (401, "STALE")
    assert door.waiting() == 0


def test_row_109_a_replay_has_no_second_effect_also_days_and_a_restart_later(
    open_door: OpenDoor, tmp_path: Any
) -> None:
    clock = ManualClock(datetime(2026, 10, 12, 1, 0, tzinfo=UTC))
    door = open_door(clock=clock)
    door.centre.clock = clock
    assert door.send(body(), "msg_a").status == 202
    assert len(door.read()) == 1
    assert door.send(body(), "msg_a").status == 200
    assert door.read() == []
    for days in (1, 29):
        clock.advance(timedelta(days=days))
        door.reopen()
        assert (door.send(body(), "msg_a").status, door.read()) == (200, [])


def test_row_110_other_content_under_a_known_id_is_refused(open_door: OpenDoor) -> None:
    door = open_door()
    assert door.send(body(), "msg_a").status == 202
    answer = door.send(body(kind="ABUSE"), "msg_a")
    assert (answer.status, answer.reason) == (409, "KEY_REUSED")
    assert door.waiting() == 1


def test_row_111_a_body_that_a_proxy_rewrote_is_refused(door: Door) -> None:
    door.centre.inject(FaultScript("rewritten"))
    assert door.centre.alert("J-1", **ALERT).status == 401
    assert door.waiting() == 0


def test_row_112_during_a_rotation_both_secrets_are_taken_and_afterwards_the_new_one_only(open_door: OpenDoor) -> None:
    door = open_door()
    old = door.centre.own_secrets[0]
    door.centre.rotate()
    assert door.centre.alert("J-1", **ALERT).status == 202  # signed with both, we know the old one
    door.settings = door.settings.model_copy(update={"verify_with": tuple(door.centre.own_secrets)})
    door.reopen()
    door.centre.own_secrets = [door.centre.own_secrets[1]]
    assert door.centre.alert("J-2", **ALERT).status == 202
    door.settings = door.settings.model_copy(update={"verify_with": tuple(door.centre.own_secrets)})
    door.reopen()
    door.centre.own_secrets = [old]
    assert door.centre.alert("J-3", **ALERT).status == 401


def test_a_secret_whose_file_is_replaced_counts_without_a_restart(open_door: OpenDoor) -> None:
    door = open_door()
    fresh = door.centre.rotate()
    door.centre.own_secrets = [fresh]
    assert door.centre.alert("J-1", **ALERT).status == 401
    old = door.settings.verify_with[0]
    (door.centre._folder / "centre.secret").write_text(fresh.reveal())
    assert old.reveal() == fresh.reveal()
    assert door.centre.alert("J-1", **ALERT).status == 202


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"Content-Length: 9999999\r\n", b"413"),
        (b"Transfer-Encoding: chunked\r\n", b"411"),
        (b"", b"411"),
        (b"Content-Length: 2\r\nContent-Length: 3\r\n", b"400"),
        (b"Content-Length: -1\r\n", b"400"),
        (b"Content-Length: 2\r\nContent-Encoding: gzip\r\n", b"415"),
    ],
)
def test_row_113_what_could_go_on_for_ever_is_not_read(door: Door, head: bytes, expected: bytes) -> None:
    found = raw(door, b"POST /police/v1/webhooks HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n{}")
    assert found.startswith(b"HTTP/1.1 " + expected)
    assert b"Connection: close" in found


def test_row_113_a_body_shorter_than_it_says_is_dropped_and_a_slow_one_is_cut(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = open_door()
    assert raw(door, b"POST /police/v1/webhooks HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{}") == b""
    monkeypatch.setattr(receiver, "REQUEST_S", 0.5)
    door.reopen()
    assert door.adapter._receiver is not None
    door.adapter._receiver._request_s = 0.5
    assert door.adapter.address is not None
    with socket.create_connection(door.adapter.address, timeout=5) as connection:
        connection.sendall(b"POST /police")
        assert connection.recv(100) == b""


def test_row_114_other_methods_types_paths_and_trailing_junk(open_door: OpenDoor) -> None:
    door = open_door()
    assert raw(door, b"GET /police/v1/webhooks HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 405")
    assert raw(door, b"PUT /police/v1/webhooks HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 405")
    assert raw(door, b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").startswith(b"HTTP/1.1 404")
    assert raw(door, b"\x16\x03\x01 HTTP/1.1 " + SECRET.encode() + b"\r\n\r\n").find(SECRET.encode()) == -1
    assert door.send(body(), content_type="text/plain").status == 415
    answer = door.send(body() + b"junk")
    assert (answer.status, answer.reason) == (400, "DATA/JSON_SYNTAX")
    assert door.waiting() == 0


def test_row_115_an_answer_about_a_request_nobody_knows_is_taken_like_any_other(door: Door) -> None:
    assert door.centre.answer("referrals/nobody", "accepted").status == 202
    (item,) = door.read()
    assert item.referral.referral == "referrals/nobody"


def events(door: Door) -> list[str]:
    return [ReferralEvent.Name(item.referral.event).removeprefix("REFERRAL_EVENT_") for item in door.read()]


def test_row_116_a_step_that_came_too_early_waits_for_the_one_before_it(open_door: OpenDoor) -> None:
    clock = ManualClock(datetime(2026, 10, 12, 1, 0, tzinfo=UTC))
    door = open_door(clock=clock)
    door.centre.clock = clock
    door.centre.answer("referrals/r1", "closed", "已找到", sequence=3)
    door.centre.answer("referrals/r1", "received", sequence=1)
    assert events(door) == ["RECEIVE"]
    door.centre.alert("J-1", **ALERT)  # what waits holds up nothing else
    assert door.read()[0].HasField("signal")
    door.reopen()  # and a restart forgets neither it nor how far the request is
    assert events(door) == []
    door.centre.answer("referrals/r1", "accepted", sequence=2)
    assert events(door) == ["ACCEPT", "REPORT_OUTCOME"]
    assert (door.read(), door.waiting()) == ([], 0)


def test_row_116_after_a_day_it_is_handed_on_all_the_same(open_door: OpenDoor) -> None:
    clock = ManualClock(datetime(2026, 10, 12, 1, 0, tzinfo=UTC))
    door = open_door(clock=clock)
    door.centre.clock = clock
    door.centre.answer("referrals/r1", "accepted", sequence=2)
    clock.advance(timedelta(hours=23, minutes=59))
    assert events(door) == []
    clock.advance(timedelta(minutes=1))
    assert events(door) == ["ACCEPT"]


def test_messages_twice_and_in_another_order_have_one_effect_each(door: Door) -> None:
    door.centre.inject(FaultScript("duplicate"), FaultScript("reordered"))
    door.centre.answer("referrals/r1", "received", sequence=1)
    door.centre.answer("referrals/r1", "accepted", sequence=2)
    assert events(door) == ["RECEIVE", "ACCEPT"]
    assert (door.read(), door.waiting()) == ([], 0)


def test_a_crash_between_reading_and_storing_loses_none_and_a_stored_one_comes_no_more(open_door: OpenDoor) -> None:
    door = open_door()
    for number in range(3):
        door.centre.alert(f"J-{number}", **ALERT)
    first = next(iter(door.adapter.read("")))
    door.reopen()
    assert [item.signal.facts[:9] for item in door.adapter.read("")] == ["[110 J-0]", "[110 J-1]", "[110 J-2]"]
    assert [item.signal.facts[:9] for item in door.adapter.read(first.cursor)] == ["[110 J-1]", "[110 J-2]"]


def test_a_flood_is_brought_in_parts_and_none_is_skipped(open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    door = open_door()
    monkeypatch.setattr(pushes, "WINDOW_BYTES", 250)
    door.centre.answer("referrals/r1", "accepted", sequence=2)  # waits, below all of them
    for number in range(7):
        door.centre.alert(f"J-{number}", **ALERT)
    looks = [[item.signal.facts[5:8] for item in door.read()] for _ in range(12)]
    assert [number for look in looks for number in look] == [f"J-{number}" for number in range(7)]
    assert max(map(len, looks)) < 4
    assert door.waiting() == 1


def test_it_is_on_disk_before_it_is_acknowledged(open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    door = open_door()
    order: list[str] = []
    replace, send = durable.replace, receiver._Handler._send
    monkeypatch.setattr(spool.durable, "replace", lambda *a: (replace(*a), order.append("disk"))[0])
    monkeypatch.setattr(receiver._Handler, "_send", lambda self, reply: (order.append("answer"), send(self, reply))[1])
    assert door.centre.alert("J-1", **ALERT).status == 202
    assert order == ["disk", "answer"]


def test_what_cannot_be_kept_is_not_acknowledged(open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    door = open_door()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    assert door.adapter._desk is not None
    monkeypatch.setattr(door.adapter._desk._spool, "_sync", full)
    answer = door.centre.alert("J-1", **ALERT)
    assert (answer.status, answer.reason) == (503, "GATEWAY/BUSY")
    monkeypatch.setattr(door.adapter._desk._spool, "_sync", os.fsync)
    assert door.centre.alert("J-1", **ALERT).status == 202


def test_the_centre_can_ask_how_far_its_alert_is(open_door: OpenDoor) -> None:
    door = open_door()
    assert door.centre.status("msg_a").word == "unknown"
    door.send(body(), "msg_a")
    assert door.centre.status("msg_a").word == "spooled"
    door.read()
    door.read()  # the cursor came back: the gateway has it
    assert door.centre.status("msg_a").word == "stored"
    door.centre.inject(FaultScript("bad_signature"))
    assert door.centre.status("msg_a").status == 401


def test_errors_name_the_field_and_never_what_is_in_it(open_door: OpenDoor) -> None:
    door = open_door()
    wrong = [
        {"facts": ""}, {"facts": 3}, {"kind": SECRET * 30}, {"occurred": SECRET}, {"occurred": "2099-01-01T00:00:00Z"},
        {"alert": f"{SECRET} x"}, {"student": SECRET}, {"student": {"name": SECRET}}, {"student": {"other": SECRET * 90}},
        {SECRET: {SECRET: 1}, "facts": None}, {"student": {"district": SECRET}},
    ]  # fmt: skip
    for change in wrong:
        answer = door.send(body(**change), "msg_x")
        assert answer.status == 400, change
        error = answer.body["error"]
        assert error["place"].startswith(("data", "timestamp"))
        assert SECRET not in dump(answer.body).decode()
    assert door.waiting() == 0


def test_what_fits_no_field_goes_to_a_person_and_an_unknown_code_is_a_crisis_all_the_same(open_door: OpenDoor) -> None:
    door = open_door(kinds={"31": "ABUSE"}, schools={"一中": "3205830001"})
    child = {"full_name": "小雨", "birth_date": "十四岁", "phone": "138", "school": "二中", "district": "320505"}
    door.send(body(kind="99", student=child), "msg_a")
    door.send(body(kind="31", student={"school": "一中"}), "msg_b")
    door.send(body(), "msg_c")
    one, two, three = (item.signal for item in door.read())
    assert one.kind == 5
    assert "code 99" in one.facts
    described = one.student.described
    assert (described.school, described.birth_date, described.phone) == ("", "", "")
    for word in ("二中", "320505", "十四岁", "138"):
        assert word in described.other
    assert (two.kind, two.student.described.school) == (4, "3205830001")
    assert (three.kind, three.student.WhichOneof("ref")) == (5, "described")


def test_an_update_and_a_withdrawal_say_what_they_follow_and_are_reports_of_their_own(door: Door) -> None:
    door.centre.alert("J-2", "alert.updated", follows="J-1", **ALERT)
    door.centre.alert("J-3", "alert.cancelled", follows="J-1", **{**ALERT, "facts": "孩子已到家"})
    updated, withdrawn = (item.signal.facts for item in door.read())
    assert updated.startswith("[110 J-2] 续报 update of J-1")
    assert withdrawn.startswith("[110 J-3] 撤回 withdrawn: J-1")


def test_an_exercise_of_the_centre_raises_no_signal_and_is_shown_to_a_person(door: Door) -> None:
    assert door.centre.alert("J-1", drill=True, **ALERT).status == 202
    (item,) = door.read()
    assert (item.rejected.reason, item.rejected.place) == ("DRILL", "drill")
    assert "在大桥上" not in str(item)


def test_a_damaged_spool_file_is_named_and_holds_up_nothing(open_door: OpenDoor) -> None:
    door = open_door()
    door.centre.alert("J-1", **ALERT)
    door.centre.alert("J-2", **ALERT)
    first = min((door.folder / "inbox").glob("*.item"))
    first.write_bytes(b"json\n{")
    bad, good = door.read()
    assert (bad.rejected.reason, good.HasField("signal")) == ("DATA/SPOOL", True)


def test_without_a_receiver_nothing_is_listened_at_or_read(open_door: OpenDoor, tmp_path: Any) -> None:
    centre = Centre110(tmp_path / "c")
    settings = {**centre.start(), "receiver": None}
    centre.stop()
    from plugins.police.tests.door import PoliceAdapter, PoliceSettings, hosts, listens

    from xinqiao.adapters.protocols import AgencyContext
    from xinqiao.adapters.transport import HttpTransport

    made = PoliceSettings.model_validate(settings)
    adapter = PoliceAdapter(made, AgencyContext("p", {}, "test", HttpTransport(hosts(made)), tmp_path))
    adapter.listen()
    assert (adapter.address, list(adapter.read("")), listens(made)) == (None, [], [])


def test_a_secret_that_is_no_key_stops_the_listener_with_its_name(open_door: OpenDoor, tmp_path: Any) -> None:
    from xinqiao.adapters.errors import AdapterConfigError

    door = open_door()
    path = tmp_path / "bad"
    path.touch(mode=0o600)
    path.write_text("hunter2")
    door.adapter.close()
    door.settings = door.settings.model_copy(update={"verify_with": (Secret("file", str(path)),)})
    with pytest.raises(AdapterConfigError, match="verify_with") as caught:
        door.open()
    assert "hunter2" not in str(caught.value)
