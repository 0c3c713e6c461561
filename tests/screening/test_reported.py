"""A reporting agency may ask how far its own report has come, and learns nothing else."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from xinqiao.api.referral.v1 import referral_service_pb2 as referral
from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao.api.screening.v1 import screening_service_pb2 as rpc

GRID, POLICE, LINE = "grid", "police", "hotline"
OPEN, TAKEN, CLOSED = pb.SIGNAL_STATE_OPEN, pb.SIGNAL_STATE_ACKNOWLEDGED, pb.SIGNAL_STATE_RESOLVED


@pytest.fixture
def town(make_town: Callable[..., Any], database: str) -> Iterator[Any]:
    with make_town(database, listen=False) as made:
        yield made


def report(town: Any, local: str) -> str:
    known = {"name": town.gate.gateway.door.students.name(GRID, town.inside_id(local))}
    return str(town.call(GRID, rpc.ReportSignalRequest(student=known, source=4, kind=1, facts="SECRET")).signal.name)


def described(town: Any, **words: str) -> str:
    who = {"described": {"school": "3205830001", "full_name": "欧阳𠮷明", **words}}
    return str(town.call(LINE, rpc.ReportSignalRequest(student=who, source=5, kind=1, facts="SECRET")).alert)


def state(town: Any, agency: str, name: str) -> tuple[int, int]:
    answer = town.call(agency, rpc.GetSignalStateRequest(name=name))
    assert {field.name for field, _ in answer.ListFields()} <= {"state", "time_us"}
    return int(answer.state), int(answer.time_us)


def test_received_taken_closed_each_since_when(town: Any) -> None:
    name = report(town, town.student())
    at = town.clock.now_us()
    assert state(town, GRID, name) == (OPEN, at)
    town.clock.advance(timedelta(minutes=5))
    triage = town.call(town.PSYCH, rpc.AcknowledgeSignalRequest(name=name)).signal.triage
    taken = town.clock.now_us()
    assert state(town, GRID, name) == (TAKEN, taken)
    town.clock.advance(timedelta(minutes=5))
    town.call(town.PSYCH, rpc.ConfirmTierRequest(name=triage, tier=4, note="n"))
    assert state(town, GRID, name) == (CLOSED, town.clock.now_us() - 1000)


def test_anothers_report_and_none_at_all_are_the_same(town: Any) -> None:
    name, alert = report(town, town.student()), described(town)
    asked = {
        (POLICE, name), (town.PSYCH, name), (POLICE, "signals/none"), (POLICE, alert), (GRID, alert), (GRID, "alerts/none"),
    }  # fmt: skip
    for agency, about in asked:
        assert town.refusal(agency, rpc.GetSignalStateRequest(name=about)) == "NOT_FOUND/SIGNAL"


def test_an_alert_says_the_same_whether_the_description_fitted_or_not(town: Any) -> None:
    town.student(local_id="fits", class_title="七1", phone="13800000001")
    fits, fits_none = described(town, phone="13800000001"), described(town, phone="13800000009")
    reported = town.clock.now_us()
    town.clock.advance(timedelta(hours=1))
    for name in (fits, fits_none):
        found, since_us = state(town, LINE, name)
        assert (found, abs(since_us - reported) < 10_000) == (OPEN, True)


def test_an_alert_that_a_person_identified_is_received_since_it_was_reported_until_somebody_takes_it(town: Any) -> None:
    alert, local = described(town, other="不知道"), town.student()
    at = state(town, LINE, alert)[1]
    town.clock.advance(timedelta(minutes=5))
    signal = town.call(town.PSYCH, rpc.IdentifyAlertRequest(name=alert, student={"local_id": local})).signal.name
    assert state(town, LINE, alert) == (OPEN, at)
    town.call(town.PSYCH, rpc.AcknowledgeSignalRequest(name=signal))
    assert state(town, LINE, alert)[0] == TAKEN


def test_an_alert_about_nobody_who_can_be_found_is_closed(town: Any) -> None:
    alert = described(town, other="不知道")
    town.call(town.PSYCH, rpc.PassAlertRequest(name=alert, reason="NOT_FOUND_HERE"))
    assert state(town, LINE, alert)[0] == CLOSED


def test_no_holding_is_touched_by_asking(town: Any) -> None:
    name = report(town, town.student())
    before = town.call(town.OPERATOR, referral.ListHoldingsRequest()).holdings
    state(town, GRID, name)
    assert list(town.call(town.OPERATOR, referral.ListHoldingsRequest()).holdings) == list(before)
