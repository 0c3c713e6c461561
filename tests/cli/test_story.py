"""The demonstration as a process: it ends well, and killed on the way it goes on without doing anything twice."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("xinqiao_school")
pytest.importorskip("xinqiao_hospital")

ROOT = Path(__file__).resolve().parents[2]


def start(folder: Path, lang: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-X", "utf8", "-u", "-m", "xinqiao.cli", "--lang", lang, "demo", "--folder", str(folder)],
        cwd=ROOT, env={**os.environ, "COLUMNS": "80"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        encoding="utf-8", start_new_session=True,
    )  # fmt: skip


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    yield from process.stdout


def counts(folder: Path) -> dict[str, int]:
    with sqlite3.connect(folder / "xinqiao.db") as database:
        tables = ("notices", "returns", "referrals", "drills", "signals", "consents", "assessments")
        return {name: database.execute(f"select count(*) from {name}").fetchone()[0] for name in tables}  # noqa: S608


@pytest.mark.parametrize(("lang", "killed_at"), [("en", "the families are told"), ("zh", "危机通道演练")])
def test_killed_on_the_way_the_story_goes_on_and_does_nothing_twice(tmp_path, lang, killed_at):
    folder = tmp_path / "demo"
    with start(folder, lang) as first:
        assert any(killed_at in line for line in lines(first))
        os.killpg(first.pid, signal.SIGKILL)
    with start(folder, lang) as second:
        told = "".join(lines(second))
    assert second.returncode == 0, told
    assert ("going on where" if lang == "en" else "接着上次") in told
    assert ("journal sound" if lang == "en" else "存证日志完好") in told
    # Two referrals and the drill's, which keeps its row so that its report can be read.
    assert counts(folder) == {
        "notices": 1, "returns": 1, "referrals": 3, "drills": 1, "signals": 12, "consents": 1, "assessments": 240,
    }  # fmt: skip
    assert (folder / "notice.pdf").read_bytes().startswith(b"%PDF")
