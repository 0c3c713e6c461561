"""``make bench``: every speed and memory target as figure, baseline, ratio, target, met or not, measured in one run.

What is compared runs in turn (A B A B ...) and medians are taken, so that a busy machine slows both alike. The servers
are processes of their own; the load client is this process. ``BENCH_PROFILE=<prefix>`` profiles the gateway's threads.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import agencies
import bulk
import day
import deployment
import door
import exchange
import hospital
import isolation
import journal
import keys
import redlane
import roster
import stages
import startup
import xlsx
from deployment import server
from load import Client, Load
from rich.console import Console
from rich.table import Table

_SATURATED = 0.85
_BAR = 20
_APART = ("exchange", "fhir", "door", "journal", "keys", "roster", "xlsx", "day", "isolation", "agencies")


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table; ``ratio`` is what the target bounds, in ``better`` direction ``>=`` or ``<=``."""

    name: str
    figure: str
    baseline: str
    ratio: float
    better: str
    target: float
    unit: str = ""
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.ratio >= self.target if self.better == ">=" else self.ratio <= self.target


def submissions(
    folder: Path, servers: Mapping[str, tuple[int, int]], rounds: int, seconds: float
) -> tuple[list[Result], dict[str, dict[int, float]]]:
    """Durable ``SubmitAssessment`` against the echo, alone and at 16 and 64 callers; and the CPU microseconds a call of
    both processes. ``servers`` has the port and the process of each."""
    requests = deployment.submissions(os.getpid() % 100_000)
    results: list[Result] = []
    whole: dict[str, dict[int, float]] = {kind: {} for kind in servers}
    for callers in stages.CALLERS:
        loads: dict[str, list[Load]] = {kind: [] for kind in servers}
        busy = dict.fromkeys(servers, 0.0)
        for number in range(rounds + 1):
            for kind, (port, pid) in servers.items():
                client, before = Client(folder, port, deployment.SUBMIT, callers), stages.cpu_s(pid)
                load = client.run(requests, seconds if number else seconds / 3)
                client.close()
                if kind == "gateway" and load.failed:
                    raise RuntimeError(f"{load.failed} of {load.calls} submissions failed")
                if number:  # the first of each is a warm-up
                    loads[kind].append(load)
                    busy[kind] += stages.cpu_s(pid) - before
        results.append(_compare(callers, loads["gateway"], loads["echo"]))
        for kind, spent in busy.items():
            whole[kind][callers] = spent / sum(load.calls for load in loads[kind]) * 1e6
    return results, whole


def _compare(callers: int, gateway: list[Load], echo: list[Load]) -> Result:
    busiest = max(load.busy_s / load.seconds for load in (*gateway, *echo))
    note = f"client {busiest:.0%} busy" + (": SATURATED, the echo is faster than shown" if busiest > _SATURATED else "")
    if callers == 1:
        ours, theirs = (statistics.median(load.median_us for load in loads) for loads in (gateway, echo))
        return Result("SubmitAssessment, 1 caller", f"{ours:,.0f} us", f"{theirs:,.0f} us", ours / theirs, "<=", 2.5,
                      note=note)  # fmt: skip
    ours, theirs = (statistics.median(load.rate for load in loads) for loads in (gateway, echo))
    return Result(f"SubmitAssessment, {callers} callers", f"{ours:,.0f}/s", f"{theirs:,.0f}/s", ours / theirs, ">=",
                  0.4, note=note)  # fmt: skip


def ingest(folder: Path, port: int, pid: int, rounds: int, rows: int) -> list[Result]:
    """The streamed upload: its rate against raw inserts, and the memory it takes for many rows."""
    bulk.register(folder, port)
    bulk.upload(folder, port, 10_000, 1)
    small = startup.rss(pid)
    uploads: list[bulk.Ingest] = []
    raws: list[bulk.Ingest] = []
    alone: list[bulk.Ingest] = []
    for number in range(rounds):
        uploads.append(bulk.upload(folder, port, bulk.PUPILS, 10 + number))
        raws.append(bulk.raw(folder, 10 + number))
        alone.append(bulk.raw(folder, 10 + number, forms_alone=True))
    ours, theirs, forms = (statistics.median(one.rate for one in all_of) for all_of in (uploads, raws, alone))
    bulk.upload(folder, port, rows, 2)
    large = startup.rss(pid)
    return [
        Result("UploadAssessments", f"{ours:,.0f} forms/s", f"{theirs:,.0f} forms/s", ours / theirs, ">=", 0.25,
               note=f"batches of {bulk.BATCH:,}; baseline: executemany of the same rows, no index; "
                    f"of the forms alone, without what follows from them: {ours / forms:.2f}"),
        Result(f"RSS growth, 10,000 to {rows:,} rows", f"{large:.0f} MB", f"{small:.0f} MB", large - small, "<=", 50,
               " MB"),
    ]  # fmt: skip


def red(folder: Path, count: int) -> list[Result]:
    """The crisis lane beside a bulk load: 100,000 rows going in and the monthly exchange running."""
    with redlane.partners(folder), server("district", folder) as (port, _):
        redlane.register(folder, port)
        redlane.cases(folder, port, 5, 0)
        idle = redlane.cases(folder, port, count, 5)
        with redlane.load(folder, port, 100_000) as process:
            busy = redlane.cases(folder, port, count, 5 + count)
            if process.poll() is not None:
                raise RuntimeError("the load ended before the measurement did")
    return [
        Result("red lane, p99 beside a bulk load", f"{busy.at(0.99) * 1e3:.0f} ms", f"{idle.at(0.99) * 1e3:.0f} ms",
               busy.at(0.99) / idle.at(0.99), "<=", 3,
               note=f"medians {busy.at(0.5) * 1e3:.0f} and {idle.at(0.5) * 1e3:.0f} ms; {count} cases each; "
                    "baseline: the same, idle"),
        Result("red lane, p99 absolute", f"{busy.at(0.99) * 1e3:.0f} ms", "", busy.at(0.99), "<=", 1, " s"),
    ]  # fmt: skip


def starts(folder: Path) -> list[Result]:
    """Start times and idle memory; the gateway's own command must be there."""
    xinqiao = startup.command()
    if xinqiao is None:
        return []
    imported = startup.python("import grpc, sqlalchemy, protovalidate")
    ready, imports, memory = startup.ready(xinqiao, folder, imported)
    shown, typer = startup.pair([*xinqiao, "--help"], startup.python("import typer"))
    return [
        Result("xinqiao serve, ready", f"{ready * 1e3:.0f} ms", f"{imports * 1e3:.0f} ms", ready / imports, "<=", 2,
               note="baseline: import grpc, sqlalchemy, protovalidate"),
        Result("xinqiao serve, idle RSS", f"{memory:.0f} MB", "", memory, "<=", 120, " MB"),
        Result("xinqiao --help", f"{shown * 1e3:.0f} ms", f"{typer * 1e3:.0f} ms", shown / typer, "<=", 1.5,
               note="baseline: import typer"),
    ]  # fmt: skip


def show(results: list[Result]) -> None:
    """The table, each ratio with a bar whose end is the target."""
    table = Table(title="XinQiao against its targets", title_justify="left")
    for heading in ("measured", "figure", "baseline", "ratio", "target", "met", "towards the target", "note"):
        table.add_column(heading, justify="right" if heading in ("figure", "baseline", "ratio") else "left")
    for result in results:
        part = result.ratio / result.target if result.better == ">=" else result.target / max(result.ratio, 1e-9)
        filled = min(_BAR, round(_BAR * part))
        table.add_row(
            result.name, result.figure, result.baseline, f"{result.ratio:.2f}{result.unit}",
            f"{result.better} {result.target:g}{result.unit}",
            "[green]met[/]" if result.met else "[red]NOT MET[/]",
            "█" * filled + "░" * (_BAR - filled), result.note,
        )  # fmt: skip
    console = Console()
    Console(width=max(console.width, 160)).print(table) if not console.is_terminal else console.print(table)


class Parts:
    """Runs the parts; one that breaks is shown with its traceback, and takes none of the others with it."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.broken: list[str] = []

    def run(self, name: str, measure: Callable[[], list[Result]]) -> None:
        """Measure one part."""
        try:
            self.results += measure()
        except Exception:
            traceback.print_exc()
            self.broken.append(name)


def apart(parts: Parts, only: str | None, rounds: int, *, full: bool) -> None:
    """What needs no running server."""
    lines: dict[str, Callable[[], list[Any]]] = {
        "exchange": lambda: exchange.lines(exchange.FULL if full else 10_000),
        "fhir": lambda: hospital.lines(rounds),
        "door": lambda: door.lines(rounds),
        "journal": lambda: journal.lines(journal.FULL if full else 200_000, rounds),
        "roster": lambda: roster.lines(roster.FULL if full else 50_000),
        "xlsx": lambda: xlsx.lines(20_000 if full else 5_000, rounds),
        "day": lambda: day.lines(day.FULL),
        "isolation": lambda: isolation.lines(rounds),
        "agencies": lambda: agencies.lines(min(rounds, 3)),
        "keys": lambda: keys.lines(100_000 if full else 30_000, min(rounds, 3)),
    }
    for name, part in lines.items():
        if only in (None, name):
            parts.run(name, lambda part=part: [Result(*line) for line in part()])


def report(results: list[Result], why: Mapping[str, Callable[[], Table]], *, as_json: bool) -> None:
    """As JSON or as the table; under it, for the first target missed of each kind, the profile that says ``why``."""
    if as_json:
        print(json.dumps([{**asdict(result), "met": result.met} for result in results], indent=2))
        return
    show(results)
    for kind, profile in why.items():
        if any(result.name.startswith(kind) and not result.met for result in results):
            Console().print(profile())


def main() -> None:
    """Measure, print, and leave nothing behind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument("--full", action="store_true", help="1,000,000 rows, 1,600,000 users, 83,000 sheets")
    parser.add_argument("--rounds", type=int, default=5, help="turns each side takes (default 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a turn (default 2)")
    parser.add_argument("--cases", type=int, default=150, help="red cases, idle and beside the load (default 150)")
    parser.add_argument("--only", choices=("submit", "upload", "red", "start", *_APART), help="one part alone")
    options = parser.parse_args()
    parts = Parts()
    apart(parts, options.only, options.rounds, full=options.full)
    why: dict[str, Callable[[], Table]] = {"xinqiao serve, ready": startup.profile}
    if options.only not in _APART:
        with tempfile.TemporaryDirectory(prefix="xinqiao-bench-") as name:
            served(parts, Path(name), options, why)
    report(parts.results, why, as_json=options.json)
    if parts.broken:
        sys.exit(f"could not be measured, see above: {', '.join(parts.broken)}")


def served(parts: Parts, folder: Path, options: argparse.Namespace, why: dict[str, Callable[[], Table]]) -> None:
    """What needs servers."""
    deployment.create(folder)
    with server("gateway", folder) as (port, process), server("echo", folder) as (echo, bare):
        deployment.register(folder, port)

        def submit() -> list[Result]:
            servers = {"echo": (echo, bare.pid), "gateway": (port, process.pid)}
            measured, whole = submissions(folder, servers, options.rounds, options.seconds)
            why["SubmitAssessment"] = lambda: stages.table(stages.measure(), whole)
            return measured

        if options.only in (None, "submit"):
            parts.run("submit", submit)
        if options.only in (None, "upload"):
            rows = 1_000_000 if options.full else 200_000
            parts.run("upload", lambda: ingest(folder, port, process.pid, options.rounds, rows))
    if options.only in (None, "red"):
        (folder / "district").mkdir()
        parts.run("red", lambda: red(folder / "district", options.cases))
    if options.only in (None, "start"):
        parts.run("start", lambda: starts(folder))
        if startup.command() is None:
            print("xinqiao is not installed beside this Python: its start was not measured", file=sys.stderr)


if __name__ == "__main__":
    main()
