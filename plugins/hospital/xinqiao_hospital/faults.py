"""What can go wrong at a partner, on command: scripts for the simulator."""

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from xinqiao.contract.clock import Clock, SystemClock

Kind = Literal[
    "slow",
    "drop_before",
    "drop_after",
    "duplicate",
    "unavailable",
    "nak",
    "wrong_code",
    "out_of_order",
    "html",
    "down",
    "refuse_items",
    "entry_errors",
    "entry_busy",
    "conflict",
    "precondition",
    "throttled",
    "unauthorized",
    "forbidden",
    "unprocessable",
    "stale",
    "small_pages",
    "push_twice",
    "push_late",
    "push_lost",
]


@dataclass(frozen=True, slots=True)
class FaultScript:
    """One fault.

    ``slow`` waits ``seconds`` before it works; ``drop_before`` and ``drop_after`` break the connection before and after
    the effect; ``duplicate`` carries a write out twice and lists a Task twice; ``unavailable`` answers 503 with
    ``seconds`` as Retry-After; ``wrong_code`` answers business statuses of an unknown table; ``out_of_order`` lists a
    page backwards; ``html`` answers a web page; ``down`` breaks every connection, for ``seconds`` where they are given
    (days, with a clock that is set); ``refuse_items`` refuses ``items`` in the next receipt. ``entry_errors`` answers a
    transaction with 200 and an OperationOutcome for the entries ``items``, ``entry_busy`` with 503 for them, and nothing
    has happened; ``conflict``, ``precondition`` and ``throttled`` answer 409, 412 and 429 (``seconds`` as Retry-After),
    ``unauthorized``, ``forbidden`` and ``unprocessable`` 401, 403 and 422;
    ``stale`` lists Tasks as they were one version ago; ``small_pages`` lists one a page. ``push_twice`` pushes twice,
    ``push_late`` after the next push, ``push_lost`` never. Over HL7 v2 ``nak`` answers AR, and ``unavailable`` AE with
    "come back later". ``times`` requests are hit, 0 means until it is told to stop.
    """

    kind: Kind
    times: int = 1
    seconds: float = 0.0
    items: tuple[int, ...] = ()

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "FaultScript":
        """Read one script. Raises ValueError where it is not one."""
        unknown = set(value) - {"kind", "times", "seconds", "items"}
        if unknown or value.get("kind") not in get_args(Kind):
            raise ValueError(f"a fault has a kind ({', '.join(get_args(Kind))}) and may have times, seconds, items")
        items = tuple(int(item) for item in value.get("items", ()))
        return cls(value["kind"], int(value.get("times", 1)), float(value.get("seconds", 0)), items)

    @classmethod
    def load(cls, path: Path) -> "list[FaultScript]":
        """Read a JSON array of scripts. Raises ValueError or OSError."""
        return [cls.from_json(item) for item in json.loads(path.read_text(encoding="utf-8"))]


@dataclass(slots=True)
class _Left:
    script: FaultScript
    times: int
    until_us: int | None


class Faults:
    """The scripts still to be played, first come first hit; safe to use from many threads."""

    def __init__(self, scripts: Iterable[FaultScript] = (), clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._left: list[_Left] = []
        for script in scripts:
            self.add(script)

    def add(self, script: FaultScript) -> None:
        lasts = script.kind == "down" and script.seconds > 0
        until = self._clock.now_us() + int(script.seconds * 1_000_000) if lasts else None
        with self._lock:
            self._left.append(_Left(script, 0 if lasts else script.times, until))

    def clear(self) -> None:
        with self._lock:
            self._left.clear()

    def take(self, *kinds: Kind) -> FaultScript | None:
        """The next script of these kinds, counted as used once; None where there is none."""
        with self._lock:
            for entry in list(self._left):
                if entry.until_us is not None and self._clock.now_us() >= entry.until_us:
                    self._left.remove(entry)
                elif entry.script.kind in kinds:
                    if entry.times == 1:
                        self._left.remove(entry)
                    elif entry.times > 1:
                        entry.times -= 1
                    return entry.script
        return None
