"""What can go wrong at a 110 centre, on command: scripts for the simulator."""

import threading
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

Kind = Literal[
    "slow", "down", "drop_before", "drop_after", "unavailable", "throttled", "unauthorized", "forbidden", "unprocessable",
    "html", "duplicate", "out_of_order", "wrong_code", "reordered", "bad_signature", "clock_skew", "rewritten",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class FaultScript:
    """One fault; ``times`` messages are hit, 0 means until it is cleared.

    The common words are those of ``xinqiao.testing.simulators``; ``out_of_order`` and ``wrong_code`` are of one ``bring``.
    Of what the centre sends there are more: ``reordered`` sends after the next one, ``bad_signature`` signs with another
    secret, ``clock_skew`` with a clock ``seconds`` off, ``rewritten`` lets a proxy add a blank to the body.
    """

    kind: Kind
    times: int = 1
    seconds: float = 0.0

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "FaultScript":
        """Read one script. Raises ValueError where it is not one."""
        if set(value) - {"kind", "times", "seconds"} or value.get("kind") not in get_args(Kind):
            raise ValueError(f"a fault has a kind ({', '.join(get_args(Kind))}) and may have times, seconds")
        return cls(value["kind"], int(value.get("times", 1)), float(value.get("seconds", 0)))


class Faults:
    """The scripts still to be played, first come first hit; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: list[FaultScript] = []

    def add(self, *scripts: FaultScript) -> None:
        with self._lock:
            self._left += scripts

    def clear(self) -> None:
        with self._lock:
            self._left.clear()

    def take(self, *kinds: Kind) -> FaultScript | None:
        """The next script of these kinds, counted as used once; None where there is none."""
        with self._lock:
            for number, script in enumerate(self._left):
                if script.kind not in kinds:
                    continue
                if script.times == 1:
                    del self._left[number]
                elif script.times > 1:
                    self._left[number] = replace(script, times=script.times - 1)
                return script
        return None
