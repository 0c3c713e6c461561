"""A day of a city's screening: 83,000 answer sheets from files to stored tiers, with progress, memory watched.

``python tests/bench/day.py [--forms 83000] [--json]``. The roster is taken first and not counted; then the sheets are
dropped (a third each UTF-8, GB 18030 and XLSX, a thousand rows a file) and taken as the gateway takes them.
"""

import argparse
import csv
import io
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from xinqiao.adapters.host import AdapterHost
from xinqiao.cli.serving import tune_interpreter
from xinqiao.server.intake import Intake, Tally
from xinqiao.server.runtime import Gateway
from xinqiao.store import tables
from xinqiao.store.sql import func
from xinqiao.testing.gateway import make_deployment
from xinqiao_school.synthetic import make_workbook
from xinqiao_school.synthetic_city import make_city

ROOT = Path(__file__).resolve().parents[2]
PARTNER = "kunshan-no1-middle"
ROWS = 1_000
FULL = 83_000
HEADER = ["学号", "日期", *(f"phq{n}" for n in range(1, 10))]


def sheets(inbox: Path, forms: int, day: str) -> Iterator[Path]:
    """Write the day's files; item 9 is positive in 8 of 100 forms."""
    chance = random.Random(7)
    for number, start in enumerate(range(0, forms, ROWS)):
        rows = [
            [f"SYN-{n:07}", day, *map(str, chance.choices(range(4), (62, 25, 9, 4), k=8)),
             str(chance.choices(range(4), (92, 5, 2, 1))[0])]
            for n in range(start, min(start + ROWS, forms))
        ]  # fmt: skip
        kind = ("utf-8", "gb18030", "xlsx")[number % 3]
        path = inbox / f"{'gb' if kind == 'gb18030' else 'day'}-{number:04}.{'xlsx' if kind == 'xlsx' else 'csv'}"
        if kind == "xlsx":
            path.write_bytes(make_workbook([HEADER, *rows]))
        else:
            text = io.StringIO(newline="")
            csv.writer(text).writerows([HEADER, *rows])
            path.write_bytes(text.getvalue().encode(kind))
        yield path


def memory() -> tuple[float, float]:
    """Resident megabytes: now, and at most so far."""
    now = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    return now, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--forms", type=int, default=FULL)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = take(options.forms)
    print(json.dumps(result) if options.json else "\n".join(f"{key:22} {value}" for key, value in result.items()))


def lines(forms: int) -> list[tuple[str, str, str, float, str, float, str, str]]:
    """Name, figure, baseline, ratio, direction, target, unit and note, as ``run.Result`` takes them."""
    script = [sys.executable, __file__, "--json", "--forms", str(forms)]  # a process of its own: its memory is its own
    found = json.loads(subprocess.run(script, stdout=subprocess.PIPE, check=True).stdout)
    if found["forms stored"] != forms or found["rejected"]:
        raise RuntimeError(f"{found['forms stored']} of {forms} forms stored, {found['rejected']} rejected")
    early, late = found["RSS after a fifth, MB"], found["RSS at the end, MB"]
    return [
        (f"a day of {forms:,} sheets, RSS growth", f"{late} MB", f"{early} MB", found["growth, MB"], "<=", 20, " MB",
         f"{found['seconds']} s, {found['forms a second']:,} forms/s, files to tiers; baseline: after a fifth of it"),
    ]  # fmt: skip


def take(forms: int) -> dict[str, object]:
    """A day in a gateway of its own."""
    with tempfile.TemporaryDirectory(prefix="xinqiao-day-") as name:
        folder = Path(name)
        inbox = folder / "inbox"
        inbox.mkdir()
        (folder / "outbox").mkdir()

        def change(settings: dict[str, Any]) -> None:
            about = {
                "inbox": str(inbox), "outbox": str(folder / "outbox"), "school": "3205830001",
                "sheets": [{"match": "gb-*.csv", "encoding": "gb18030"}],
            }  # fmt: skip
            settings["adapters"] = {PARTNER: {"adapter": "school", "settings": about}}

        gateway = Gateway(make_deployment(folder, ROOT / "config/gateway.example.yaml", change=change),
                          host=AdapterHost.load(["school"]))  # fmt: skip
        gateway.start(listen=False, tick=False, work=False)
        tune_interpreter()  # as `xinqiao serve` does
        try:
            return measure(gateway, inbox, forms)
        finally:
            gateway.stop()


def measure(gateway: Gateway, inbox: Path, forms: int) -> dict[str, object]:
    """The roster, then the day."""
    partner = gateway.registry.find(PARTNER)
    if partner is None:
        raise LookupError(PARTNER)
    intake = Intake(gateway.pipeline, gateway.host.agencies[PARTNER], partner, gateway.clocks.deadline)
    make_city(inbox / "roster.zip", users=int(forms / 0.94) + 50)
    begin = time.perf_counter()
    print(f"roster: {intake.run_once().students:,} students in {time.perf_counter() - begin:.1f} s", file=sys.stderr)
    files = list(sheets(inbox, forms, "2026-10-12"))
    samples: list[float] = []
    with Progress(
        TextColumn("forms"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=Console(stderr=True)
    ) as bar:
        task = bar.add_task("forms", total=forms)

        def progress(tally: Tally) -> None:
            bar.update(task, completed=tally.forms)
            samples.append(memory()[0])

        begin = time.perf_counter()
        tally = intake.run_once(progress)
        seconds = time.perf_counter() - begin
    with gateway.store.read() as reading:
        stored = reading.scalar(tables.assessments.select().with_only_columns(func.count(tables.assessments.c.id)))
        tiers = reading.scalar(tables.triages.select().with_only_columns(func.count(tables.triages.c.id)))
    early = samples[len(samples) // 5]
    return {
        "files": len(files), "forms stored": stored, "forms taken": tally.forms, "critical": tally.critical,
        "rejected": len(tally.rejected), "tiers proposed": tiers, "seconds": round(seconds, 1),
        "forms a second": round(tally.forms / seconds), "RSS after a fifth, MB": round(early),
        "RSS at the end, MB": round(samples[-1]), "growth, MB": round(samples[-1] - early),
    }  # fmt: skip


if __name__ == "__main__":
    main()
