"""`xinqiao serve`: one gateway in this process, until it is told to stop."""

import gc
import logging
import os
import signal
import sys
from pathlib import Path
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
    told = Told()
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
    while (number := told.wait()) == signal.SIGHUP:
        warn(texts("reloaded" if gateway.reload() else "reload.broken", file=config))
    warn(texts("stopping"))
    gateway.stop()
    warn(texts("stopped"))
    return INTERRUPTED if number == signal.SIGINT else 0


def tune_interpreter() -> None:
    """Set Python up for a long run. What is loaded by now stays until the end, and a call leaves no cycles: look for
    garbage less often, in less. And a thread that prepares a bulk load gives way to a crisis after 1 ms, not 5."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()
    sys.setswitchinterval(0.001)


class Told:
    """Waits for SIGTERM, SIGINT or SIGHUP. A second end signal ends the process at once: what is acknowledged is
    durable anyway.

    The signal itself writes to a pipe, from whatever thread it struck and whenever it came: Python's own handler runs
    only once the main thread goes on, and one that is about to block would never.
    """

    def __init__(self) -> None:
        self._ends = 0
        self._heard, said = os.pipe()
        os.set_blocking(said, False)
        signal.set_wakeup_fd(said, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._hear)

    def wait(self) -> int:
        """The next signal."""
        return os.read(self._heard, 1)[0]

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self._ends += number != signal.SIGHUP
        if self._ends > 1:
            os._exit(128 + number)
