"""A city's roster: read, checked, sealed and stored as the gateway does it, against ``csv.reader`` over the same files.

``python tests/bench/roster.py [--users 50000 | --full] [--guardians 0.3]``. The gateway's side runs in a process of its
own, so that its memory is its own; the reference reads every row of every file the roster is made of, and drops it.
"""

import argparse
import csv
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
PARTNER = "kunshan-no1-middle"
FULL = 1_600_000
READ = ("manifest", "orgs", "classes", "users", "roles", "enrollments", "demographics")


def reference(package: Path) -> tuple[float, float]:
    """Seconds, on the wall and of the processor, that ``csv.reader`` takes over the files of the package."""
    begin, busy = time.perf_counter(), time.process_time()
    with zipfile.ZipFile(package) as archive:
        for name in READ:
            if f"{name}.csv" in archive.namelist():
                with archive.open(f"{name}.csv") as member:
                    for _ in csv.reader(io.TextIOWrapper(member, "utf-8", newline="")):
                        pass
    return time.perf_counter() - begin, time.process_time() - busy


def gateway(folder: Path, packages: list[Path], *, profile: bool) -> None:
    """In a process of its own: take each package in turn, and print what it took."""
    from xinqiao.adapters.host import AdapterHost
    from xinqiao.cli.serving import tune_interpreter
    from xinqiao.server.intake import Intake
    from xinqiao.server.runtime import Gateway
    from xinqiao.testing.gateway import make_deployment

    inbox, outbox = folder / "inbox", folder / "outbox"

    def change(settings: dict[str, Any]) -> None:
        about = {"inbox": str(inbox), "outbox": str(outbox), "school": "3205830001"}
        settings["adapters"] = {PARTNER: {"adapter": "school", "settings": about}}

    for path in (inbox, outbox):
        path.mkdir(parents=True)
    config = make_deployment(folder, ROOT / "config/gateway.example.yaml", change=change)
    running = Gateway(config, host=AdapterHost.load(["school"]))
    running.start(listen=False, tick=False, work=False)
    tune_interpreter()  # as `xinqiao serve` does
    partner = running.registry.find(PARTNER)
    assert partner is not None
    intake = Intake(running.pipeline, running.host.agencies[PARTNER], partner, running.clocks.deadline)
    try:
        for package in packages:
            os.link(package, inbox / package.name)
            idle = _rss()
            begin, busy = time.perf_counter(), time.process_time()
            tally = _profiled(intake.run_once) if profile else intake.run_once()
            seconds, cpu = time.perf_counter() - begin, time.process_time() - busy
            print(
                json.dumps(
                    {"students": tally.students, "rejected": [r.reason + " " + r.place for r in tally.rejected[:5]],
                     "seconds": seconds, "cpu": cpu, "idle_mb": idle, "peak_mb": _rss()}
                ),
                flush=True,
            )  # fmt: skip
    finally:
        running.stop()


def _rss() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _profiled(work: Callable[[], Any]) -> Any:
    import cProfile
    import pstats

    mine = cProfile.Profile()
    result = mine.runcall(work)
    stats = pstats.Stats(mine, stream=sys.stderr)
    stats.sort_stats("tottime").print_stats(25)
    return result


def measure(users: int, *, guardians: float = 0.0, folder: Path | None = None, profile: bool = False) -> dict[str, Any]:
    """Build the packages, let a gateway of its own take them, and read them with ``csv.reader`` before and after."""
    from xinqiao_school.synthetic_city import make_city, make_city_delta

    with tempfile.TemporaryDirectory(prefix="xinqiao-roster-", dir=folder) as name:
        place = Path(name)
        bulk, delta = place / "bulk.zip", place / "delta.zip"
        make_city(bulk, users=users, guardians=guardians)
        make_city_delta(delta, users=users, share=0.01)
        before = reference(bulk)
        command = [sys.executable, __file__, *(["--profile"] if profile else []), "--gateway", str(place / "g")]
        done = subprocess.run([*command, str(bulk), str(delta)], stdout=subprocess.PIPE, check=True)
        after = reference(bulk)
        base, base_cpu = (before[0] + after[0]) / 2, (before[1] + after[1]) / 2
        first, second = (json.loads(line) for line in done.stdout.splitlines())
    return {
        "users": users, "students": first["students"], "bulk_s": first["seconds"], "csv_reader_s": base,
        "ratio": base / first["seconds"], "bulk_cpu_s": first["cpu"], "csv_reader_cpu_s": base_cpu,
        "cpu_ratio": base_cpu / first["cpu"], "idle_mb": first["idle_mb"], "peak_mb": first["peak_mb"],
        "delta_students": second["students"], "delta_s": second["seconds"],
        "delta_share": second["seconds"] / first["seconds"], "rejected": first["rejected"] + second["rejected"],
    }  # fmt: skip


def lines(users: int) -> list[tuple[str, str, str, float, str, float, str, str]]:
    """Name, figure, baseline, ratio, direction, target, unit and note, as ``run.Result`` takes them."""
    found = measure(users)
    if found["rejected"]:
        raise RuntimeError(f"the package was not taken whole: {found['rejected']}")
    rate = f"{found['students'] / found['bulk_s']:,.0f}/s"
    return [
        (f"OneRoster, {users:,} users, stored", rate, f"{found['csv_reader_s']:.2f} s", found["ratio"], ">=", 0.15, "",
         f"{found['bulk_s']:.1f} s; baseline: csv.reader; by processor time {found['cpu_ratio']:.3f}"),
        ("OneRoster, peak RSS", f"{found['peak_mb']:.0f} MB", f"{found['idle_mb']:.0f} MB", found["peak_mb"], "<=", 250,
         " MB", "baseline: before" + ("" if users == FULL else f"; the target is meant for {FULL:,} users (--full)")),
        ("OneRoster, delta of 1 %", f"{found['delta_s']:.2f} s", f"{found['bulk_s']:.1f} s", found["delta_share"], "<=",
         0.02, "", "of the bulk package's time"),
    ]  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--full", action="store_true", help=f"{FULL:,} users")
    parser.add_argument("--guardians", type=float, default=0.0, help="their share of the users")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--gateway", nargs="+", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.gateway:
        gateway(options.gateway[0], options.gateway[1:], profile=options.profile)
        return
    users = FULL if options.full else options.users
    results = measure(users, guardians=options.guardians, folder=options.folder, profile=options.profile)
    if options.json:
        print(json.dumps(results))
        return
    table = Table(title=f"OneRoster, {users:,} users", title_justify="left")
    for heading in ("measured", "figure", "baseline", "ratio", "target"):
        table.add_column(heading)
    rate = f"{results['students'] / results['bulk_s']:,.0f} students/s"
    table.add_row("bulk read, checked, stored", f"{results['bulk_s']:.1f} s ({rate})",
                  f"csv.reader {results['csv_reader_s']:.1f} s", f"{results['ratio']:.3f}", ">= 0.15")  # fmt: skip
    table.add_row("the same, processor time", f"{results['bulk_cpu_s']:.1f} s",
                  f"csv.reader {results['csv_reader_cpu_s']:.1f} s", f"{results['cpu_ratio']:.3f}", "")  # fmt: skip
    table.add_row("peak RSS", f"{results['peak_mb']:.0f} MB", f"{results['idle_mb']:.0f} MB before", "", "< 250 MB")
    table.add_row(f"delta of {results['delta_students']:,}", f"{results['delta_s']:.2f} s", f"{results['bulk_s']:.1f} s",
                  f"{results['delta_share']:.3f}", "about 0.01")  # fmt: skip
    Console(width=120).print(table)
    if results["rejected"]:
        print(results["rejected"])


if __name__ == "__main__":
    main()
