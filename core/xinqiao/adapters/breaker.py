"""A circuit breaker for one agency: stops asking a partner that does not answer, and finds out when it is back."""

import logging
import threading
from typing import Literal

from xinqiao.contract.clock import Clock

_LOG = logging.getLogger("xinqiao.adapters")

CRISIS_PROBE_S = 5.0
"""A crisis call may probe an open breaker after this many seconds, however long the reset time is."""

Position = Literal["closed", "open", "half-open"]


class Breaker:
    """Opens after ``failures`` calls in a row without an answer; after ``reset_s`` seconds one call may probe.

    Every admitted call holds a ticket and reports with it exactly once. A ticket from before the last change of
    position is stale and changes nothing, so a slow old call cannot be taken for the probe. Safe between threads.
    """

    def __init__(self, name: str, failures: int, reset_s: float, clock: Clock) -> None:
        self._name = name
        self._limit = failures
        self._reset_s = reset_s
        self._clock = clock
        self._lock = threading.Lock()
        self._position: Position = "closed"
        self._in_a_row = 0
        self._since_us = 0
        self._opened_at = 0.0
        self._epoch = 0

    @property
    def position(self) -> Position:
        return self._position

    @property
    def in_a_row(self) -> int:
        """How many calls in a row brought no answer; 0 when all is well."""
        return self._in_a_row

    @property
    def since_us(self) -> int:
        """When the first of those calls in a row was given up, microseconds since 1970 UTC; 0 when all is well."""
        return self._since_us if self._in_a_row else 0

    def wait_s(self) -> float:
        """Seconds until the next routine call may probe; 0 when one may go now."""
        if self._position == "closed":
            return 0.0
        return max(0.0, self._opened_at + self._reset_s - self._clock.monotonic())

    def admit(self, *, crisis: bool) -> int | None:
        """A ticket for one call, or None while the partner is left alone."""
        with self._lock:
            if self._position == "half-open":
                return None
            if self._position == "open":
                elapsed = self._clock.monotonic() - self._opened_at
                if elapsed < self._reset_s and not (crisis and elapsed > CRISIS_PROBE_S):
                    return None
                self._move("half-open")
            return self._epoch

    def answered(self, ticket: int) -> None:
        """The partner answered, with whatever: it is up."""
        with self._lock:
            if ticket != self._epoch:
                return
            self._in_a_row = 0
            if self._position != "closed":
                self._move("closed")
                _LOG.info("agency %s: up, the partner answers again", self._name)

    def unanswered(self, ticket: int) -> None:
        """The partner did not answer in time."""
        with self._lock:
            if ticket != self._epoch:
                return
            self._since_us = self.since_us or self._clock.now_us()
            self._in_a_row += 1
            if self._position == "half-open":
                self._open()
            elif self._in_a_row >= self._limit:
                self._open()
                _LOG.warning("agency %s: down, %d calls in a row without an answer", self._name, self._in_a_row)

    def cancelled(self, ticket: int) -> None:
        """The call ended without a word about the partner; the next caller may probe instead."""
        with self._lock:
            if ticket == self._epoch and self._position == "half-open":
                self._move("open")

    def _open(self) -> None:
        self._opened_at = self._clock.monotonic()
        self._move("open")

    def _move(self, to: Position) -> None:
        self._position = to
        self._epoch += 1
