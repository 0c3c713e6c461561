"""A helpline's call is handed to the police with the caller's number and place, at once; the report stands regardless."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from xinqiao.api.casefile.v1 import casefile_service_pb2 as case
from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao.api.screening.v1 import screening_service_pb2 as rpc
from xinqiao.store import tables

LINE, POLICE, GRID = "hotline", "police", "grid"
CALL = {"call": "c-17", "line": "12356", "origin_number": "13900000001", "location_basis": 2, "consent": 1}
UNKNOWN = {"described": {"school": "3205830001", "other": "来电人未说明是谁"}}


@pytest.fixture
def town(make_town: Callable[..., Any], database: str) -> Iterator[Any]:
    def adapters(settings: dict[str, Any]) -> None:
        settings["adapters"][POLICE] = {"adapter": "recorder_partner", "settings": {}}

    with make_town(database, listen=False, change=adapters) as made:
        yield made


def request(student: dict[str, Any], **words: Any) -> rpc.ReportSignalRequest:
    said = {"source": 5, "kind": 1, "facts": "说站在桥上", "location": "人民桥", "hand_off": CALL, **words}
    return rpc.ReportSignalRequest(student=student, **said)


def known(town: Any, **words: Any) -> tuple[str, dict[str, str]]:
    local = town.student(family_name="欧阳", **words)
    return local, {"name": town.gate.gateway.door.students.name(LINE, town.inside_id(local))}


def handed(town: Any) -> list[pb.CallHandOff]:
    town.deliver_all()
    return [each.call_hand_off for _, each in town.recorder.seen if each.WhichOneof("body") == "call_hand_off"]


@pytest.mark.parametrize("who", ["known", "described"])
def test_the_police_get_the_number_and_the_place_and_nothing_of_whom_it_may_be(town: Any, who: str) -> None:
    student = known(town)[1] if who == "known" else UNKNOWN
    answer = town.call(LINE, request(student))
    assert answer.handed_to == POLICE
    (row,) = town.rows(tables.deliveries, kind="call_hand_off")
    assert (row["lane"], row["recipient"], row["basis"]) == (2, POLICE, "life-safety")
    (got,) = handed(town)
    assert (got.call.call, got.call.line, got.call.origin_number) == ("c-17", "12356", "13900000001")
    assert (got.call.location_basis, got.call.consent) == (pb.LOCATION_BASIS_CELL, pb.CALLER_CONSENT_GIVEN)
    assert (got.facts, got.location) == ("说站在桥上", "人民桥")
    assert "精神卫生法" in got.citation and got.create_time_us == town.clock.now_us()
    assert "欧阳" not in str(got) and "students/" not in str(got)
    (released,) = (each for each in town.journal(kind="released") if each["reason"] == "call_hand_off")
    assert (released["partner"], released["basis"]) == (POLICE, "life-safety")


def test_the_school_sees_that_110_was_asked_and_owes_the_guardians_word_of_it(town: Any) -> None:
    local, student = known(town)
    town.call(LINE, request(student))
    (signal,) = town.call(town.PSYCH, rpc.ListSignalsRequest()).signals
    assert signal.handed_to == POLICE
    duties = town.call(town.PSYCH, case.GetCaseRequest(student={"local_id": local})).case.duties
    assert [duty.basis for duty in duties if duty.kind == "notify-guardian"] == ["life-safety"]


def test_once_a_person_says_who_called_the_duty_is_owed_and_110_is_not_asked_again(town: Any) -> None:
    alert = town.call(LINE, request(UNKNOWN)).alert
    assert town.call(town.PSYCH, rpc.ListAlertsRequest()).alerts[0].handed_to == POLICE
    local = town.student()
    signal = town.call(town.PSYCH, rpc.IdentifyAlertRequest(name=alert, student={"local_id": local})).signal
    assert signal.handed_to == POLICE
    duties = town.call(town.PSYCH, case.GetCaseRequest(student={"local_id": local})).case.duties
    assert [duty.item for duty in duties if duty.kind == "notify-guardian"] == [signal.name]
    assert len(handed(town)) == 1


def test_a_report_without_it_tells_the_police_nothing(town: Any) -> None:
    local, student = known(town)
    plain = rpc.ReportSignalRequest(student=student, source=5, kind=1, facts="说站在桥上")
    assert town.call(LINE, plain).handed_to == ""
    assert handed(town) == []
    assert town.call(town.PSYCH, rpc.ListSignalsRequest()).signals[0].handed_to == ""
    duties = town.call(town.PSYCH, case.GetCaseRequest(student={"local_id": local})).case.duties
    assert not [duty for duty in duties if duty.kind == "notify-guardian"]


def test_only_a_helpline_hands_a_call_on_and_only_with_danger(town: Any) -> None:
    local, student = known(town)
    other = {"name": town.gate.gateway.door.students.name(GRID, town.inside_id(local))}
    assert town.refusal(GRID, request(other, source=4)) == "PERMISSION_DENIED/PARTNER_MISMATCH"
    assert town.refusal(LINE, request(student, kind=6)) == "INVALID_ARGUMENT/HAND_OFF"
    assert town.refusal(LINE, request(student, hand_off={**CALL, "origin_number": "call me"})).startswith("INVALID_ARG")
    assert town.rows(tables.signals) == handed(town) == []


def test_where_nobody_can_be_asked_the_report_stands_and_says_so(make_town: Callable[..., Any]) -> None:
    with make_town(listen=False) as alone:  # the police have no adapter
        answer = alone.call(LINE, request(known(alone)[1]))
        assert (answer.handed_to, len(alone.rows(tables.signals))) == ("", 1)
        assert [row["reason"] for row in alone.journal(kind="refused")] == ["NO_POLICE"]
        assert alone.call(LINE, request(UNKNOWN)).handed_to == ""


def test_the_same_report_again_asks_the_police_once(town: Any) -> None:
    asked = request(known(town)[1])
    asked.request_id = "call-c-17-0001"
    assert town.call(LINE, asked) == town.call(LINE, asked)
    assert len(handed(town)) == 1
