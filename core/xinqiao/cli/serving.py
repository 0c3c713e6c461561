"""`xinqiao serve`: one gateway in this process, until it is told to stop."""

import gc
import logging
import os
import signal
import sys
from pathlib import Path
from queue import SimpleQueue
from types import FrameType

from xinqiao.cli.exits import INTERRUPTED
from xinqiao.cli.files import load_node, use_password
from xinqiao.cli.output import say, warn
from xinqiao.cli.texts import Texts
from xinqiao.contract.errors import Refusal
from xinqiao.server.runtime import Gateway

_LEVELS = ("debug", "info", "warning", "error")


def serve(texts: Texts, config: Path, log_level: str) -> int:
    """Start, say on one line that it is ready and where, wait for SIGTERM or SIGINT, stop in order.

    SIGHUP reads the rules again: policy, legal bases, instruments, triage, district overlay. A broken file changes
    nothing.
    """
    if log_level not in _LEVELS:
        raise Refusal("INVALID_ARGUMENT", "USAGE", f"--log-level: {', '.join(_LEVELS)}")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=log_level.upper())
    logging.getLogger("xinqiao").setLevel(log_level.upper())
    # Below warnings the scheduler reports every tick.
    logging.getLogger("apscheduler").setLevel(max(logging.WARNING, logging.getLogger().level))
    bundle, host = load_node(texts, config)
    use_password(bundle.gateway)
    gateway = Gateway(config, host=host, bundle=bundle)
    told = _Told()
    gateway.start()
    tune_interpreter()
    settings = gateway.settings
    say(
        texts(
            "ready", deployment=settings.deployment, node=settings.node, port=gateway.port,
            agencies=len(gateway.host.agencies), pid=os.getpid(),
        )
    )  # fmt: skip
    sys.stdout.flush()
    while told.wait() == signal.SIGHUP:
        warn(texts("reloaded" if gateway.reload() else "reload.broken", file=config))
    warn(texts("stopping"))
    gateway.stop()
    warn(texts("stopped"))
    return INTERRUPTED if told.by == signal.SIGINT else 0


def tune_interpreter() -> None:
    """Set Python up for a long run. What is loaded by now stays until the end, and a call leaves no cycles: look for
    garbage less often, in less. And a thread that prepares a bulk load gives way to a crisis after 1 ms, not 5."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()
    sys.setswitchinterval(0.001)


class _Told:
    """Waits for SIGTERM, SIGINT or SIGHUP. A second end signal ends the process at once: what is acknowledged is
    durable anyway."""

    def __init__(self) -> None:
        self.by: int = 0
        self._heard: SimpleQueue[int] = SimpleQueue()  # its put is safe in a signal handler
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._hear)

    def wait(self) -> int:
        """The next signal."""
        return self._heard.get()

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if self.by:
            os._exit(128 + number)
        if number != signal.SIGHUP:
            self.by = number
        self._heard.put(number)
