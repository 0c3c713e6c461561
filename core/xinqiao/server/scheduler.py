"""The clock tick: the one module that knows APScheduler. What is due stands in the database, never in a job store."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

_log = logging.getLogger("xinqiao.scheduler")


class Ticks:
    """Calls functions every so many seconds, one at a time each; a missed tick is made up once, not lost."""

    def __init__(self, ticks: Mapping[str, tuple[float, Callable[[], object]]]) -> None:
        """``ticks`` maps a name to (seconds, function). A function that raises is logged by class and called again."""
        self._ticks = dict(ticks)
        self._scheduler: Any = None

    @property
    def names(self) -> frozenset[str]:
        """The names of the ticks."""
        return frozenset(self._ticks)

    def start(self) -> None:
        """Begin to tick on a thread."""
        # Loaded only now, when the gateway already answers.
        from apscheduler.schedulers.background import (  # pyright: ignore[reportMissingTypeStubs]
            BackgroundScheduler,
        )

        self._scheduler = BackgroundScheduler(timezone="Asia/Shanghai")
        for name, (seconds, function) in self._ticks.items():
            self._scheduler.add_job(
                _guarded(name, function), "interval", seconds=seconds, id=name,
                misfire_grace_time=None, coalesce=True, max_instances=1,
            )  # fmt: skip
        self._scheduler.start()

    def stop(self) -> None:
        """Stop after the ticks under way."""
        self._scheduler.shutdown(wait=True)


def _guarded(name: str, function: Callable[[], object]) -> Callable[[], None]:
    def tick() -> None:
        try:
            function()
        except Exception as error:  # one bad tick must not end the clock
            _log.error("tick %s met %s", name, type(error).__name__)

    return tick
