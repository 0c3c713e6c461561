"""Cases about the adapter itself: it reaches only what it declares, and neither ends nor holds up its process."""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from xinqiao.adapters.protocols import Rehearsed, Simulator
from xinqiao.testing.conformance import watched
from xinqiao.testing.conformance.registry import case_apart, gate
from xinqiao.testing.conformance.rig import AGENCY, OTHER, NotShown, Rig, Subject, expect
from xinqiao.testing.conformance.watched import END, NEWS, Orders

_DEADLINE_S: Final = 15.0
_PATIENCE_S: Final = 120.0
_STATUS: Final = "status"
_BAIT: Final = ("records.db", "keys.db", "keyring/master.key")


@case_apart
def own_hosts(subject: Subject) -> None:
    _none(subject, "network")


@case_apart
def own_folder(subject: Subject) -> None:
    _none(subject, "file")


@case_apart
def no_programs(subject: Subject) -> None:
    _none(subject, "program")


@case_apart
def no_store(subject: Subject) -> None:
    _none(subject, "store")


@case_apart
def stays(subject: Subject) -> None:
    seen = _session(subject)
    status = ", ".join(seen.get(_STATUS, ("0",)))
    why = f"the adapter ended its process, or held it up for {_PATIENCE_S:g} s, and all others with it (exit status {status})"
    expect(END in seen and _STATUS not in seen, why)
    expect("hang" not in seen, f"the adapter hangs: {'; '.join(seen.get('hang', ()))}")


def _none(subject: Subject, kind: str) -> None:
    seen = _session(subject)
    expect(kind not in seen, "; ".join(seen.get(kind, ())[:3]))
    if END not in seen:
        raise NotShown("the session did not come to its end")


@gate
def _must_not_run_here(subject: Subject) -> str:
    """An adapter that ends its process would end the suite with it."""
    try:
        seen = _session(subject)
    except Exception:  # it does not even start, and the case about that says why
        return ""
    return "" if END in seen else "not run here: the adapter ends or holds up its process"


@lru_cache(maxsize=4)
def _session(subject: Subject) -> Mapping[str, tuple[str, ...]]:
    """The report of one session, lines by kind. Raises Failed where the plugin cannot even be loaded."""
    with TemporaryDirectory(prefix="xinqiao-watch-", ignore_cleanup_errors=True) as folder:
        rig = Rig(subject, Path(folder))
        rig.start_partner()
        try:
            report = _watched(rig, Path(folder))
        finally:
            rig.close()
    seen: dict[str, list[str]] = {}
    for line in report.splitlines():
        kind, _, text = line.partition("\t")
        seen.setdefault(kind, []).append(text)
    return {kind: tuple(texts) for kind, texts in seen.items()}


def _watched(rig: Rig, base: Path) -> str:
    """Run the child beside the partner, which gets its news when the child has delivered; the report's text."""
    baits = [base / "gateway" / name for name in _BAIT] + [rig.state_folder / OTHER / "register"]
    for bait in baits:
        bait.parent.mkdir(parents=True, exist_ok=True)
        bait.write_text("bait", "ascii")
    scratch, report = base / "scratch", base / "report"
    scratch.mkdir()
    report.touch()
    orders = Orders(AGENCY, rig.settings, str(rig.state_folder), [str(base / "gateway")], str(report), _DEADLINE_S)
    # The same path, so that the child finds the same plugins.
    env = {**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-B", "-m", watched.__name__, rig.subject.name]
    with subprocess.Popen(  # noqa: S603 - this interpreter, this package
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        patience = threading.Timer(_PATIENCE_S, child.kill)
        patience.start()
        with suppress(BrokenPipeError):
            child.stdin.write(orders.text() + "\n")
            child.stdin.flush()
            for line in child.stdout:
                if line == NEWS + "\n":
                    _bring(rig.simulator)
                    child.stdin.write("\n")
                    child.stdin.flush()
        status = child.wait()
        patience.cancel()
    return report.read_text("utf-8") + (f"{_STATUS}\t{status}\n" if status else "")


def _bring(partner: Simulator) -> None:
    if isinstance(partner, Rehearsed):
        with suppress(Exception):
            partner.bring(3)
