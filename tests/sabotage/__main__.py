"""`make sabotage`: take out each control in a copy of the tree and see its tests go red.

Only a failed test counts: a suite that cannot be collected, or a file that no longer compiles, proves nothing.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from tests.sabotage.controls import ROOT, Control, controls

_FAILED = 1  # pytest's exit code where tests ran and some failed
_TIMEOUT_S = 600


@contextmanager
def copies(count: int) -> Iterator["Queue[Path]"]:
    """So many copies of the tree without what git ignores, each to be spoilt and mended by one worker at a time."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    names = [name for name in listed.decode().split("\0") if name]
    with tempfile.TemporaryDirectory(prefix="xinqiao-sabotage-") as folder:
        free: Queue[Path] = Queue()
        for number in range(count):
            home = Path(folder) / str(number)
            for name in names:
                target = home / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)
            free.put(home)
        yield free


def test(home: Path, names: tuple[str, ...]) -> int:
    """pytest's exit code for these tests in a copy, up to the first failure."""
    paths = [home / "core", *sorted((home / "plugins").iterdir()), home]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONDONTWRITEBYTECODE": "1"}
    env.setdefault("XINQIAO_TEST_DATABASES", "sqlite")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *names]
    try:
        return subprocess.run(
            command, check=False, cwd=home, env=env, capture_output=True, timeout=_TIMEOUT_S
        ).returncode
    except subprocess.TimeoutExpired:
        return _FAILED  # a test that now waits for ever has noticed


def without(control: Control, free: "Queue[Path]") -> tuple[str, float]:
    """What became of the tests once the control was gone: ``red``, or why that was not seen."""
    home, began = free.get(), time.monotonic()
    path = home / control.file
    source = path.read_text("utf-8")
    try:
        spoilt = control.removed(source)
        compile(spoilt, control.file, "exec") if path.suffix == ".py" else None
        path.write_text(spoilt, "utf-8")
        code = test(home, control.tests)
        word = "red" if code == _FAILED else "GREEN" if code == 0 else f"no verdict (pytest {code})"
    except (ValueError, SyntaxError) as error:
        word = str(error)
    finally:
        path.write_text(source, "utf-8")
        free.put(home)
    return word, time.monotonic() - began


def main() -> int:
    """Exit code 0: every control was missed by its tests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ids", nargs="*", help="only these controls")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-baseline", action="store_true", help="do not first see the same tests green")
    options = parser.parse_args()
    chosen = [control for control in controls() if not options.ids or control.id in options.ids]
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with copies(options.jobs) as free, Progress(*columns, console=console) as progress:
        if not options.no_baseline:
            task = progress.add_task("nothing removed: all green", total=1)
            home = free.get()
            every = tuple(dict.fromkeys(name for control in chosen for name in control.tests))
            if test(home, every):
                console.print("[red]the tests are red with nothing removed: mend that first")
                return 2
            free.put(home)
            progress.advance(task)
        task = progress.add_task("one control removed each", total=len(chosen))
        found: dict[str, tuple[str, float]] = {}

        def one(control: Control) -> None:
            found[control.id] = without(control, free)
            progress.advance(task)

        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(one, chosen))
    table = Table("control", "guarantees", "without it", "s")
    for control in chosen:
        word, seconds = found[control.id]
        colour = "green" if word == "red" else "bold red"
        table.add_row(control.id, control.guarantee, f"[{colour}]{word}", f"{seconds:.0f}")
    console.print(table)
    missed = [each for each in chosen if found[each.id][0] != "red"]
    console.print(f"{len(chosen) - len(missed)} of {len(chosen)} controls are missed when they are gone")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
