"""Cases about the adapter itself: it reaches only what it declares, and neither ends nor holds up its process."""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from xinqiao.adapters.errors import AdapterError
from xinqiao.adapters.protocols import Rehearsed
from xinqiao.testing.conformance.registry import case_apart
from xinqiao.testing.conformance.rig import AGENCY, OTHER, Failed, NotApplicable, NotShown, Rig, Subject, expect
from xinqiao.testing.conformance.watched import END, Orders

_DEADLINE_S: Final = 15.0
_PATIENCE_S: Final = 120.0
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
    expect("timeout" not in seen, f"the process did not end within {_PATIENCE_S:g} s: something holds it")
    expect(END in seen, "the adapter ended its process (os._exit, a crash), and every other adapter with it")
    expect("hang" not in seen, f"the adapter hangs: {'; '.join(seen.get('hang', ()))}")


def _none(subject: Subject, kind: str) -> None:
    seen = _session(subject)
    expect(kind not in seen, "; ".join(seen.get(kind, ())[:3]))
    if END not in seen:
        raise NotShown("the session did not come to its end")


@lru_cache(maxsize=4)
def _session(subject: Subject) -> Mapping[str, tuple[str, ...]]:
    """The report of one session, lines by kind. Raises Failed where the adapter does not even start."""
    with (
        TemporaryDirectory(prefix="xinqiao-watch-", ignore_cleanup_errors=True) as folder,
        Rig(subject, Path(folder)) as rig,
    ):
        with suppress(AdapterError, NotShown, NotApplicable, Failed):
            if isinstance(rig.simulator, Rehearsed):
                rig.bring(3)
        rig.close_adapter()
        base = Path(folder)
        for name in _BAIT:
            bait = base / "gateway" / name
            bait.parent.mkdir(parents=True, exist_ok=True)
            bait.write_text("bait", "ascii")
        other = rig.state_folder / OTHER
        other.mkdir(parents=True, exist_ok=True)
        (other / "register").write_text("bait", "ascii")
        scratch = base / "scratch"
        scratch.mkdir()
        report = base / "report"
        report.touch()
        orders = Orders(
            AGENCY, rig.settings, str(rig.state_folder), [str(base / "gateway")], str(report), _DEADLINE_S, news=True
        )
        command = [sys.executable, "-B", "-m", "xinqiao.testing.conformance.watched", subject.name]
        # The same path, so that the child finds the same plugins.
        env = {**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        seen: dict[str, list[str]] = {}
        try:
            subprocess.run(  # noqa: S603 - this interpreter, this package
                command, input=orders.text(), text=True, capture_output=True, env=env, timeout=_PATIENCE_S, check=False
            )
        except subprocess.TimeoutExpired:
            seen["timeout"] = []
        for line in report.read_text("utf-8").splitlines():
            kind, _, text = line.partition("\t")
            seen.setdefault(kind, []).append(text)
        return {kind: tuple(texts) for kind, texts in seen.items()}
