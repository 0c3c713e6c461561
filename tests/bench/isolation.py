"""A delivery to a hospital with its adapter in a process of its own, against the same adapter in the gateway's process."""

import statistics
import tempfile
import time
from pathlib import Path

from hospital import request

from xinqiao.adapters.agency import AgencyHandle, Isolation
from xinqiao.adapters.host import AdapterHost, AgencySpec

_ADDED_MS = 2.0
_TIMES = 50


def measure(rounds: int) -> tuple[float, float]:
    """Median seconds of a delivery over loopback HTTP to the hospital's simulator: isolated, in process; in turns."""
    host = AdapterHost.load(["hospital"])
    taken: dict[Isolation, list[float]] = {"process": [], "in-process": []}
    with tempfile.TemporaryDirectory(prefix="xinqiao-bench-") as name:
        simulator = host.kinds["hospital"].simulator(Path(name) / "hospital")
        settings = simulator.start()
        try:
            specs = {
                kind: AgencySpec(kind, {}, "hospital", settings, isolation=kind) for kind in ("process", "in-process")
            }
            agencies = host.start(specs, deployment="bench", folder=Path(name) / "data" / "adapters")
            for number in range((rounds + 1) * _TIMES):
                for kind, each in taken.items():
                    seconds = _timed(agencies[kind], f"{kind}-{number:06d}")
                    if number >= _TIMES:  # the first of each are a warm-up
                        each.append(seconds)
        finally:
            host.close()
            simulator.stop()
    return statistics.median(taken["process"]), statistics.median(taken["in-process"])


def _timed(agency: AgencyHandle, key: str) -> float:
    asked = request()
    asked.request_id = key
    start = time.perf_counter()
    agency.deliver(asked)
    return time.perf_counter() - start


def lines(rounds: int) -> list[tuple[str, str, str, float, str, float, str]]:
    """Name, figure, baseline, milliseconds added, direction, target and unit, as ``run.Result`` takes them."""
    ours, theirs = measure(rounds)
    name = "delivery with isolation: process, added at the median"
    return [(name, f"{ours * 1e3:.2f} ms", f"{theirs * 1e3:.2f} ms", (ours - theirs) * 1e3, "<=", _ADDED_MS, "ms")]


if __name__ == "__main__":
    for line in lines(5):
        print("{}: {} against {}: {:.2f} ms added, target {} {} {}".format(*line))
