"""kill -9: what was acknowledged is there, and nothing is there by half."""

import random
import subprocess
import sys
import threading
from pathlib import Path

from xinqiao.contract.clock import ManualClock
from xinqiao.store import tables as t
from xinqiao.store.engine import open_store

_WRITER = Path(__file__).with_name("crash_writer.py")
_KILLS = 20


def _run_and_kill(arguments: list[str], seconds: float) -> list[str]:
    """The ids acknowledged by a process that is killed ``seconds`` after it was ready."""
    with subprocess.Popen([sys.executable, str(_WRITER), *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        lines = process.stdout.read().split("\n")
        timer.join()
    return lines[:-1]  # what follows the last line end was cut by the kill


def test_no_acknowledged_row_is_lost_by_kill_9(
    store_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock
) -> None:
    dice = random.Random(20261012)
    acknowledged: list[str] = []
    for run in range(_KILLS):
        acknowledged += _run_and_kill([*store_urls, str(keyring_dir), str(run)], dice.uniform(0.02, 0.25))
    store = open_store(*store_urls, keyring_dir, clock)
    with store.read() as tx:
        rows = {row["key"]: row["value"] for row in tx.all(t.meta.select())}
    store.close()
    assert len(acknowledged) > 10 * _KILLS
    assert set(acknowledged) - rows.keys() == set()
    assert set(rows.values()) == {"whole"}
