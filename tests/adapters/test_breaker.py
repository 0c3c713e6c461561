"""The breaker: opens after failures in a row, lets one probe through, closes on an answer."""

import logging
from datetime import UTC, datetime, timedelta

import pytest

from xinqiao.adapters.breaker import Breaker
from xinqiao.contract.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 10, 1, tzinfo=UTC))


@pytest.fixture
def breaker(clock: ManualClock) -> Breaker:
    return Breaker("demo", 3, 60.0, clock)


def position(breaker: Breaker) -> str:
    return breaker.position


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        ticket = breaker.admit(crisis=False)
        assert ticket is not None
        breaker.unanswered(ticket)


def test_it_opens_only_after_that_many_failures_in_a_row(breaker: Breaker) -> None:
    fail(breaker, 2)
    assert position(breaker) == "closed"
    ticket = breaker.admit(crisis=False)
    assert ticket is not None
    breaker.answered(ticket)
    fail(breaker, 2)
    assert position(breaker) == "closed"
    fail(breaker)
    assert position(breaker) == "open"
    assert breaker.admit(crisis=False) is None


def test_after_the_reset_time_exactly_one_call_probes(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    clock.advance(timedelta(seconds=59))
    assert breaker.admit(crisis=False) is None
    clock.advance(timedelta(seconds=1))
    assert breaker.admit(crisis=False) is not None
    assert breaker.admit(crisis=False) is None
    assert breaker.admit(crisis=True) is None


def test_an_answered_probe_closes_it(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    clock.advance(timedelta(seconds=60))
    probe = breaker.admit(crisis=False)
    assert probe is not None
    breaker.answered(probe)
    assert position(breaker) == "closed"
    assert breaker.in_a_row == 0


def test_an_unanswered_probe_starts_the_reset_time_again(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    clock.advance(timedelta(seconds=60))
    fail(breaker)
    assert position(breaker) == "open"
    assert breaker.wait_s() == 60.0


def test_a_cancelled_probe_lets_the_next_caller_probe_at_once(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    clock.advance(timedelta(seconds=60))
    probe = breaker.admit(crisis=False)
    assert probe is not None
    breaker.cancelled(probe)
    assert breaker.admit(crisis=False) is not None


def test_a_crisis_call_probes_once_it_is_open_longer_than_five_seconds(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, 3)
    clock.advance(timedelta(seconds=5))
    assert breaker.admit(crisis=True) is None
    clock.advance(timedelta(seconds=1))
    assert breaker.admit(crisis=False) is None
    assert breaker.admit(crisis=True) is not None


def test_the_late_end_of_an_old_call_is_not_taken_for_the_probe(breaker: Breaker, clock: ManualClock) -> None:
    old = breaker.admit(crisis=False)
    assert old is not None
    fail(breaker, 3)
    clock.advance(timedelta(seconds=60))
    probe = breaker.admit(crisis=False)
    assert probe is not None
    breaker.unanswered(old)
    assert position(breaker) == "half-open"
    breaker.answered(old)
    assert position(breaker) == "half-open"


def test_it_logs_once_down_and_once_up(breaker: Breaker, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "xinqiao.adapters"):
        fail(breaker, 3)
        for _ in range(4):
            clock.advance(timedelta(seconds=60))
            fail(breaker)
        clock.advance(timedelta(seconds=60))
        probe = breaker.admit(crisis=False)
        assert probe is not None
        breaker.answered(probe)
    assert [record.getMessage().split(",")[0] for record in caplog.records] == [
        "agency demo: down",
        "agency demo: up",
    ]
