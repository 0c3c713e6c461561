"""What can go wrong at a partner, on command: scripts for the simulator."""

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

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
]


@dataclass(frozen=True, slots=True)
class FaultScript:
    """One fault.

    ``slow`` waits ``seconds`` before it works; ``drop_before`` and ``drop_after`` break the connection before and after
    the effect; ``duplicate`` carries a write out twice and lists a Task twice; ``unavailable`` answers 503 with
    ``seconds`` as Retry-After; ``wrong_code`` answers business statuses of an unknown table; ``out_of_order`` lists a
    page backwards; ``html`` answers a web page; ``down`` breaks every connection; ``refuse_items`` refuses ``items``
    in the next receipt. Over HL7 v2 ``nak`` answers AR, and ``unavailable`` AE with "come back later". ``times`` requests
    are hit, 0 means until it is told to stop.
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


class Faults:
    """The scripts still to be played, first come first hit; safe to use from many threads."""

    def __init__(self, scripts: Iterable[FaultScript] = ()) -> None:
        self._lock = threading.Lock()
        self._left = [[script, script.times] for script in scripts]

    def add(self, script: FaultScript) -> None:
        with self._lock:
            self._left.append([script, script.times])

    def clear(self) -> None:
        with self._lock:
            self._left.clear()

    def take(self, *kinds: Kind) -> FaultScript | None:
        """The next script of these kinds, counted as used once; None where there is none."""
        with self._lock:
            for entry in self._left:
                script, left = entry
                assert isinstance(script, FaultScript) and isinstance(left, int)
                if script.kind in kinds:
                    if left == 1:
                        self._left.remove(entry)
                    elif left > 1:
                        entry[1] = left - 1
                    return script
        return None
