"""What can go wrong at a platform, on command: scripts for the simulator."""

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

Kind = Literal[
    "slow", "unavailable", "throttled", "unauthorized", "forbidden", "unprocessable", "busy", "drop_before",
    "drop_after", "duplicate", "clock", "html", "unknown_code", "wrong_code", "out_of_order", "gap", "overdue",
    "supplement", "down",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class FaultScript:
    """One fault.

    ``slow`` waits ``seconds`` first; ``unavailable`` and ``throttled`` answer 503 and 429 (``seconds`` as Retry-After),
    ``unauthorized`` and ``forbidden`` 401 and 403, ``unprocessable`` code 2101, ``busy`` code 3001; ``drop_before`` and
    ``drop_after`` break the connection before and after the effect; ``duplicate`` says of a new request that it is known,
    with the ticket it just got, and lists answers twice; ``clock`` refuses the time; ``html`` answers a web page;
    ``unknown_code`` a code nobody agreed; ``wrong_code`` has one more answer, with an event of another table, at the next
    ``bring``; ``out_of_order`` lists answers backwards, ``gap`` without the first;
    ``overdue`` gives a new ticket a due day that has passed; ``supplement`` asks more of a new request;
    ``down`` breaks every connection. ``times`` requests are hit, 0 means until ``clear``.
    """

    kind: Kind
    times: int = 1
    seconds: float = 0.0

    @classmethod
    def load(cls, path: Path) -> "list[FaultScript]":
        """Read a JSON array of scripts. Raises ValueError or OSError."""
        return [cls._of(item) for item in json.loads(path.read_text(encoding="utf-8"))]

    @classmethod
    def _of(cls, value: dict[str, Any]) -> "FaultScript":
        if set(value) - {"kind", "times", "seconds"} or value.get("kind") not in get_args(Kind):
            raise ValueError(f"a fault has a kind ({', '.join(get_args(Kind))}) and may have times, seconds")
        return cls(value["kind"], int(value.get("times", 1)), float(value.get("seconds", 0)))


class Faults:
    """The scripts still to be played, first come first hit; safe to use from many threads."""

    def __init__(self, scripts: Iterable[FaultScript] = ()) -> None:
        self._lock = threading.Lock()
        self._left: list[tuple[FaultScript, int]] = [(script, script.times) for script in scripts]

    def add(self, script: FaultScript) -> None:
        with self._lock:
            self._left.append((script, script.times))

    def clear(self) -> None:
        with self._lock:
            self._left.clear()

    def take(self, kind: Kind) -> FaultScript | None:
        """The next script of this kind, counted as used once; None where there is none."""
        with self._lock:
            for at, (script, times) in enumerate(self._left):
                if script.kind == kind:
                    if times == 1:
                        del self._left[at]
                    elif times > 1:
                        self._left[at] = (script, times - 1)
                    return script
        return None
