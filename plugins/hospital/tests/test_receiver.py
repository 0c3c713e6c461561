"""What a hospital pushes: judged with reason and place, on disk before it is acknowledged, handed on once."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from plugins.hospital.tests.door import TOKEN, Door, task

from xinqiao.adapters import spool as spooling
from xinqiao_hospital import codes, receiver
from xinqiao_hospital.faults import FaultScript

MODIFIER = {"modifierExtension": [{"url": "urn:x", "valueBoolean": True}]}


# -- taken ---------------------------------------------------------------------------------------------------------------


def test_a_pushed_update_is_acknowledged_and_then_read_once(door: Door) -> None:
    answer = door.put(task())
    assert (answer.status, answer.etag, answer.outcome["resourceType"]) == (201, 'W/"1"', "OperationOutcome")
    assert door.pushed() == ["ACCEPT"]
    assert door.pushed() == []


def test_what_was_acknowledged_survives_a_crash_before_it_was_read(door: Door) -> None:
    assert door.put(task()).status == 201
    door.reopen()
    assert door.pushed() == ["ACCEPT"]


def test_what_was_read_but_not_stored_comes_again(door: Door) -> None:
    door.put(task())
    cursor = door.cursor
    assert door.pushed() == ["ACCEPT"]
    door.cursor = cursor
    door.reopen()
    assert door.pushed() == ["ACCEPT"]


def test_the_simulator_pushes_a_whole_course_of_treatment(door: Door) -> None:
    door.simulator.push_to(door.gateway.base_url, TOKEN)
    for step in ("accept", "schedule", "attend", "outcome"):
        assert door.simulator.act("Task/1", step)
    assert door.simulator.pusher.wait()
    assert [answer.status for answer in door.simulator.pusher.answers[-4:]] == [201, 200, 200, 200]
    assert door.pushed() == ["ACCEPT", "SCHEDULE", "ATTEND", "REPORT_OUTCOME"]


def test_pushed_and_asked_for_tell_the_same_source_so_that_only_one_has_an_effect(door: Door) -> None:
    door.simulator.push_to(door.gateway.base_url, TOKEN)
    door.simulator.accept_all()
    assert door.simulator.pusher.wait()
    found = [item.referral for item in door.read()]
    assert len(found) == 2
    assert found[0] == found[1]


def test_a_repeat_is_acknowledged_again_and_has_one_effect(door: Door) -> None:
    assert door.put(task()).status == 201
    assert door.put(task()).status == 200
    assert door.pushed() == ["ACCEPT"]
    assert door.put(task()).status == 200
    assert door.pushed() == []


def test_duplicates_and_overtaken_pushes_are_brought_in_order(door: Door) -> None:
    door.simulator.push_to(door.gateway.base_url, TOKEN)
    door.simulator.inject(FaultScript("push_late"), FaultScript("push_twice"))
    door.simulator.act("Task/1", "accept")
    door.simulator.act("Task/1", "schedule")
    door.simulator.act("Task/1", "attend")
    assert door.simulator.pusher.wait()
    assert door.pushed() == ["ACCEPT", "SCHEDULE", "ATTEND"]


def test_the_same_words_later_are_a_new_change_where_the_hospital_numbers_nothing(door: Door) -> None:
    paused = {"status": "on-hold", "statusReason": {"text": "监护人要求推迟"}}
    accepted = task()
    for one in (accepted, {**accepted, **paused}, accepted, {**accepted, **paused}):
        assert door.put({**one, "meta": {"lastUpdated": "2026-10-06T01:00:00Z"}}).status in (200, 201)
    assert door.pushed() == ["ACCEPT", "HOLD", "RESUME", "HOLD"]


def test_our_own_change_come_back_is_no_news(door: Door) -> None:
    marked = {"versionId": "3", "tag": [{"system": codes.WRITTEN, "code": "2"}]}
    cancelled = {"status": "cancelled", "businessStatus": codes.business_status("6.0")}
    assert door.put(task(meta=marked, **cancelled)).status == 201
    assert door.pushed() == []
    assert door.waiting() == 0


def test_a_refusal_brings_the_districts_code_of_a_permitted_reason(door: Door) -> None:
    reason = {"text": "本院无相应科室", "coding": [{"system": codes.DECLINE_REASON, "code": "no-department"}]}
    declined = {"status": "rejected", "businessStatus": codes.business_status("4.0")}
    door.put(task(statusReason=reason, **declined))
    [found] = [item.referral for item in door.read() if item.referral.reason]
    assert (found.reason, found.reason_code) == ("本院无相应科室", "no-department")


def test_a_patch_moves_a_task_by_its_status_and_outputs(door: Door) -> None:
    patch = [
        {"op": "test", "path": "/status", "value": "requested"},
        {"op": "replace", "path": "/status", "value": "in-progress"},
        {"op": "replace", "path": "/businessStatus", "value": codes.business_status("5.1.1")},
        {
            "op": "add",
            "path": "/output/-",
            "value": {
                "type": {"coding": [{"system": codes.OUTPUT, "code": "appointment"}]},
                "valueDateTime": "2026-10-08T09:30:00+08:00",
            },
        },
    ]
    sent = json.dumps(patch).encode()
    answer = door.gateway.send("PATCH", "/Task/1", sent, kind="application/json-patch+json")
    assert answer.status == 201, answer
    assert door.pushed() == ["SCHEDULE"]
    again = door.gateway.send("PATCH", "/Task/1", sent, kind="application/json-patch+json")
    assert (again.status, again.reasons, again.places) == (422, ["DATA/PATCH"], ["[0]"])


def test_a_message_bundle_is_taken_and_what_an_output_names_beside_it_is_read(door: Door) -> None:
    diagnosis = {
        "resourceType": "Condition",
        "subject": {"reference": "urn:uuid:0c1f6d4e-7a55-4a0e-9a52-000000000002"},
        "code": {"text": "中度抑郁发作"},
    }
    done = task(
        status="completed",
        businessStatus=codes.business_status("7.0"),
        output=[
            {
                "type": {"coding": [{"system": codes.OUTPUT, "code": "diagnosis"}]},
                "valueReference": {"reference": "urn:uuid:0c1f6d4e-7a55-4a0e-9a52-000000000001"},
            }
        ],
    )
    header = {
        "resourceType": "MessageHeader",
        "id": "m1",
        "eventCoding": {"system": "http://terminology.hl7.org/CodeSystem/v2-0003", "code": "I12"},
        "source": {"endpoint": "https://fhir.hospital.example"},
    }
    entries = [
        {"fullUrl": "urn:uuid:0c1f6d4e-7a55-4a0e-9a52-000000000000", "resource": header},
        {"fullUrl": "urn:uuid:0c1f6d4e-7a55-4a0e-9a52-000000000003", "resource": done},
        {"fullUrl": "urn:uuid:0c1f6d4e-7a55-4a0e-9a52-000000000001", "resource": diagnosis},
    ]
    bundle = {"resourceType": "Bundle", "type": "message", "entry": entries}
    answer = door.gateway.send("POST", "/$process-message", json.dumps(bundle).encode())
    assert answer.status == 200, answer
    assert answer.outcome["entry"][0]["resource"]["response"] == {"identifier": "m1", "code": "ok"}
    [found] = [item.referral for item in door.read() if item.referral.outcome.diagnosis]
    assert found.outcome.diagnosis == "中度抑郁发作"


def test_a_transaction_with_one_bad_entry_is_refused_whole_with_each_fault_at_its_entry(door: Door) -> None:
    def entry(number: str, **more: Any) -> dict[str, Any]:
        return {"resource": task(id=number, **more), "request": {"method": "PUT", "url": f"Task/{number}"}}

    good, bad, worse = entry("1"), entry("7", status="banana"), entry("8", **MODIFIER)
    stranger = entry("9", identifier=[{"system": codes.REFERRAL, "value": "referrals/of-somebody-else"}])
    for entries in ([good, bad, worse], [good, entry("7", status="completed")], [good, stranger]):
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        answer = door.gateway.send("POST", "", json.dumps(bundle).encode())
        assert answer.status == 422
        assert all(place.startswith("Bundle.entry[") for place in answer.places)
    assert answer.places == ["Bundle.entry[1].resource.identifier"]
    assert (door.waiting(), door.pushed()) == (0, [])
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [good]}
    answer = door.gateway.send("POST", "", json.dumps(bundle).encode())
    assert (answer.status, answer.outcome["entry"][0]["response"]["status"]) == (200, "201 Created")
    assert door.pushed() == ["ACCEPT"]


# -- durable before it is acknowledged ------------------------------------------------------------------------------------


def test_content_name_and_facts_are_synced_before_the_answer_leaves(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    sync, send = os.fsync, receiver._Handler._send

    def synced(descriptor: int) -> None:
        events.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).suffix or "folder")
        sync(descriptor)

    def sent(handler: Any, reply: Any) -> None:
        events.append(f"answer {reply.status}")
        send(handler, reply)

    monkeypatch.setattr(door.adapter._spool, "_sync", synced)
    monkeypatch.setattr("xinqiao.adapters.durable.os.fsync", synced)
    monkeypatch.setattr(receiver._Handler, "_send", sent)
    assert door.put(task()).status == 201
    assert [event for event in events if event != "folder"] == [".new", ".jsonl", "answer 201"]
    assert "folder" in events[: events.index("answer 201")]


def test_a_disk_that_fails_is_never_acknowledged(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(door.adapter._spool, "_sync", full)
    answer = door.put(task())
    assert (answer.status, answer.reasons) == (503, ["PARTNER/BUSY"])
    assert door.waiting() == 0
    monkeypatch.setattr(door.adapter._spool, "_sync", os.fsync)
    assert door.put(task()).status == 201
    assert door.pushed() == ["ACCEPT"]


def test_a_full_spool_asks_the_hospital_to_come_back(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spooling, "MAX_PENDING", 0)
    assert door.put(task()).status == 503


# -- refused -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "reason", "place"),
    [
        (MODIFIER, "DATA/PROFILE", "Task.modifierExtension"),
        ({"implicitRules": "urn:x"}, "DATA/PROFILE", "Task.implicitRules"),
        ({"requestedPeriod": {"start": "2026"}}, "DATA/PROFILE", "Task.requestedPeriod"),
        ({"context": {"reference": "Encounter/1"}}, "DATA/PROFILE", "Task.context"),
        ({"resourceType": "Appointment"}, "DATA/REQUIRED", "Task.participant"),
        ({"resourceType": "Unheard"}, "DATA/PROFILE", "Task.resourceType"),
        ({"status": "banana"}, "DATA/CODE", "Task.status"),
        ({"status": None}, "DATA/REQUIRED", "Task.status"),
        ({"authoredOn": "2026-02-30"}, "DATA/DATE", "Task.authoredOn"),
        (
            {"businessStatus": {"coding": [{"system": "urn:other", "code": "9"}]}},
            "DATA/CODE",
            "Task.businessStatus.coding",
        ),
        (
            {"status": "rejected", "businessStatus": codes.business_status("4.0")},
            "DATA/REASON",
            "Task.statusReason.text",
        ),
        ({"status": "completed"}, "DATA/STATE", "Task.status"),
        ({"identifier": []}, "DATA/PROFILE", "Task.identifier"),
        ({"for": {"reference": "https://evil.example/Patient/1"}}, "DATA/REFERENCE", "Task.for.reference"),
        ({"focus": {"reference": "file:///etc/passwd"}}, "DATA/REFERENCE", "Task.focus.reference"),
        ({"focus": {"reference": "#nowhere"}}, "DATA/REFERENCE", "Task.focus.reference"),
        (
            {"identifier": [{"system": codes.REFERRAL, "value": "referrals/of-somebody-else"}]},
            "DATA/UNKNOWN_REFERRAL",
            "Task.identifier",
        ),
        (
            {"for": {"identifier": {"system": codes.PSEUDONYM, "value": "students/" + "b" * 26}}},
            "DATA/SUBJECT_MISMATCH",
            "Task.for",
        ),
    ],
)
def test_what_cannot_be_taken_is_refused_with_reason_and_place_and_leaves_nothing(
    door: Door, more: dict[str, Any], reason: str, place: str
) -> None:
    answer = door.put(task(**more))
    assert answer.status == 422, answer
    assert reason in answer.reasons
    assert place in answer.places
    assert door.waiting() == 0
    assert door.pushed() == []


def test_a_reference_below_the_hospitals_own_address_is_taken_and_never_fetched(door: Door) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.3)
        elsewhere = f"http://127.0.0.1:{trap.getsockname()[1]}/Patient/1"
        assert door.put(task(**{"for": {"reference": elsewhere}})).status == 422
        own = f"{door.settings.base_url}/Patient/1"
        assert door.put(task(**{"for": {"reference": own}})).status == 201
        door.pushed()
        with pytest.raises(TimeoutError):
            trap.accept()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"resourceType":"Task","id":"1","id":"2"}', "DATA/JSON_DUP_KEY"),
        (b'{"resourceType":"Task","id":"1","x":NaN}', "DATA/JSON_NUMBER"),
        (b'{"resourceType":"Task","id":"1","x":1e999}', "DATA/JSON_NUMBER"),
        (b'{"x":' + b"1" * 5000 + b"}", "DATA/JSON_NUMBER"),
        (b"[" * 100_000 + b"]" * 100_000, "DATA/DEPTH"),
        (b'{"x":"\\ud800"}', "DATA/CHARSET"),
        (b'{"x":"\xff"}', "DATA/ENCODING"),
        (b'{"x":', "DATA/JSON_SYNTAX"),
        (b"[]", "DATA/PROFILE"),
    ],
)
def test_json_that_cannot_be_trusted_is_refused(door: Door, body: bytes, reason: str) -> None:
    answer = door.gateway.send("PUT", "/Task/1", body)
    assert (answer.status, answer.reasons) == (400, [reason])
    assert len(answer.places) == 1


def test_versions_are_held_to(door: Door) -> None:
    assert door.put(task(), If_Match='W/"1"').status == 412
    assert door.put(task()).status == 201
    assert door.put(task(meta={"versionId": "3"}), If_Match='W/"1"').status == 200
    assert door.put(task(meta={"versionId": "4"}), If_Match='W/"1"').status == 412
    changed = task(meta={"versionId": "3"}, description="其他内容")
    answer = door.put(changed)
    assert (answer.status, answer.reasons) == (409, ["DATA/VERSION"])


def test_id_and_address_must_agree(door: Door) -> None:
    answer = door.gateway.send("PUT", "/Task/2", json.dumps(task()).encode())
    assert (answer.status, answer.places) == (400, ["Task.id"])


def test_no_refusal_quotes_what_was_sent(door: Door) -> None:
    name = "欧阳小雨 13800000001"
    for more in ({"status": name}, {"authoredOn": name}, {"for": {"reference": name}}, {"intent": name, name: 1}):
        answer = door.put(task(**more))
        assert answer.status == 422
        assert name not in json.dumps(answer.outcome, ensure_ascii=False)


def test_fifty_thousand_entries_are_too_many(door: Door) -> None:
    entry = b'{"request":{"method":"PUT","url":"Task/1"}}'
    body = b'{"resourceType":"Bundle","type":"transaction","entry":[' + b",".join([entry] * 50_000) + b"]}"
    answer = door.gateway.send("POST", "", body)
    assert (answer.status, answer.reasons, answer.places) == (413, ["DATA/TOO_LARGE"], ["Bundle.entry"])
