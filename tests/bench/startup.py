"""How long the commands take to be there, and what an idle gateway holds in memory."""

import compileall
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import yaml
from rich.table import Table

_RUNS = 5
_ROOT = Path(__file__).resolve().parents[2]


def command() -> list[str] | None:
    """How to start ``xinqiao``: the console script beside this interpreter, or None."""
    script = shutil.which("xinqiao", path=str(Path(sys.executable).parent))
    return [script] if script is not None and _seconds([script, "--help"]) is not None else None


def pair(first: list[str], second: list[str]) -> tuple[float, float]:
    """The median seconds of two commands, run in turn, after one warm-up of each."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(_RUNS + 1):
        for arguments, seconds in zip((first, second), taken, strict=True):
            one = _seconds(arguments)
            if one is None:
                raise RuntimeError(f"{arguments[0]} {arguments[-1]} failed")
            seconds.append(one)
    return statistics.median(taken[0][1:]), statistics.median(taken[1][1:])


def python(code: str) -> list[str]:
    """The command that runs ``code``."""
    return [sys.executable, "-c", code]


def ready(xinqiao: list[str], folder: Path, baseline: list[str]) -> tuple[float, float, float]:
    """Median seconds until ``xinqiao serve`` takes connections and those of ``baseline``, run in turn after one warm-up
    of each; and the gateway's idle RSS in MB."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = yaml.safe_load((folder / "gateway.yaml").read_text(encoding="utf-8"))
    config["server"]["listen"] = f"127.0.0.1:{port}"
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    # What it is compared with was compiled when pip installed it, an editable install is not.
    compileall.compile_dir(_ROOT / "core", quiet=1)
    taken: list[float] = []
    bare: list[float] = []
    memory: list[float] = []
    for _ in range(_RUNS + 1):
        begin = time.perf_counter()
        process = subprocess.Popen(
            [*xinqiao, "serve", "--config", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            _wait(process, port, begin)
            taken.append(time.perf_counter() - begin)
            time.sleep(1)
            memory.append(rss(process.pid))
        finally:
            process.terminate()
            process.wait(30)
        seconds = _seconds(baseline)
        if seconds is None:
            raise RuntimeError(f"{baseline[-1]} failed")
        bare.append(seconds)
    return statistics.median(taken[1:]), statistics.median(bare[1:]), statistics.median(memory[1:])


def profile() -> Table:
    """What a start imports, milliseconds by package: of three runs the fastest of each module, without what it imports."""
    best: dict[str, int] = {}
    for _ in range(3):
        code = [sys.executable, "-X", "importtime", "-c", "import xinqiao.cli.app, xinqiao.cli.serving"]
        shown = subprocess.run(code, capture_output=True, text=True, check=True)
        for own, name in re.findall(r"^import time: +(\d+) \| +\d+ \| +(\S+)$", shown.stderr, re.MULTILINE):
            best[name] = min(int(own), best.get(name, sys.maxsize))
    packages: Counter[str] = Counter()
    for name, own in best.items():
        parts = name.split(".")
        packages[".".join(parts[:2]) if parts[0] == "xinqiao" else parts[0]] += own
    table = Table(title=f"xinqiao serve: its {len(best)} imports by package, ms", title_justify="left")
    table.add_column("package")
    table.add_column("ms", justify="right")
    for name, own in packages.most_common(20):
        table.add_row(name, f"{own / 1e3:.1f}")
    table.add_row("all", f"{sum(best.values()) / 1e3:.0f}")
    return table


def rss(pid: int) -> float:
    """Resident memory of a process, MB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    if found is None:
        raise RuntimeError(f"process {pid} has no resident memory: it ended")
    return int(found[1]) / 1024


def _wait(process: "subprocess.Popen[bytes]", port: int, begin: float) -> None:
    while time.perf_counter() - begin < 30:
        if process.poll() is not None:
            raise RuntimeError("xinqiao serve ended at once")
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            time.sleep(0.005)
        else:
            return
    raise TimeoutError("xinqiao serve did not listen within 30 s")


def _seconds(arguments: list[str]) -> float | None:
    begin = time.perf_counter()
    done = subprocess.run(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ, check=False)
    return time.perf_counter() - begin if done.returncode == 0 else None
