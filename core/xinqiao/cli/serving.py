"""`xinqiao serve`: one gateway in this process, until it is told to stop."""

import gc
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from xinqiao.cli.app import INTERRUPTED
from xinqiao.cli.files import load_bundle, use_password
from xinqiao.cli.output import say, warn
from xinqiao.cli.texts import Texts
from xinqiao.contract.errors import Refusal
from xinqiao.server.runtime import Gateway

_LEVELS = ("debug", "info", "warning", "error")


def serve(texts: Texts, config: Path, log_level: str) -> int:
    """Start, say on one line that it is ready and where, wait for SIGTERM or SIGINT, stop in order."""
    if log_level not in _LEVELS:
        raise Refusal("INVALID_ARGUMENT", "USAGE", f"--log-level: {', '.join(_LEVELS)}")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=log_level.upper())
    logging.getLogger("xinqiao").setLevel(log_level.upper())
    # Below warnings the scheduler reports every tick.
    logging.getLogger("apscheduler").setLevel(max(logging.WARNING, logging.getLogger().level))
    use_password(load_bundle(texts, config).gateway)
    gateway = Gateway(config)
    told = _Told()
    gateway.start()
    tune_collector()
    settings = gateway.settings
    say(
        texts(
            "ready", deployment=settings.deployment, node=settings.node, port=gateway.port,
            agencies=len(gateway.host.agencies), pid=os.getpid(),
        )
    )  # fmt: skip
    sys.stdout.flush()
    told.wait()
    warn(texts("stopping"))
    gateway.stop()
    warn(texts("stopped"))
    return INTERRUPTED if told.by == signal.SIGINT else 0


def tune_collector() -> None:
    """What is loaded by now stays until the end, and a call leaves no cycles: look for garbage less often, in less."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


class _Told:
    """Waits for SIGTERM or SIGINT. A second signal ends the process at once: acknowledged work is durable anyway."""

    def __init__(self) -> None:
        self.by: int = 0
        self._event = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)

    def wait(self) -> None:
        self._event.wait()

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if self._event.is_set():
            os._exit(128 + number)
        self.by = number
        self._event.set()
