"""The demonstration as a process: it ends well, and killed on the way it goes on without doing anything twice."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("xinqiao_school")
pytest.importorskip("xinqiao_hospital")

ROOT = Path(__file__).resolve().parents[2]


def start(folder: Path, lang: str, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-X", "utf8", "-u", "-m", "xinqiao.cli", "--lang", lang, "demo", "--folder", str(folder), *more],
        cwd=ROOT, env={**os.environ, "COLUMNS": "80"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        encoding="utf-8", start_new_session=True,
    )  # fmt: skip


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    yield from iter(process.stdout.readline, "")  # not from the file: it would be closed with the generator


def counts(folder: Path) -> dict[str, int]:
    with closing(sqlite3.connect(folder / "xinqiao.db")) as database:
        tables = ("notices", "returns", "referrals", "drills", "signals", "consents", "assessments",
                  "recalls", "overrides")  # fmt: skip
        return {name: database.execute(f"select count(*) from {name}").fetchone()[0] for name in tables}


@pytest.mark.parametrize(
    ("lang", "killed_at"),
    [
        pytest.param("en", "the families are told", marks=pytest.mark.soak),
        ("zh", "危机通道演练"),
        ("en", "the hospital saw the least"),
        pytest.param("zh", "撤回同意", marks=pytest.mark.soak),
    ],
)
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
    # Two with the hospital, two with the women's federation, one with the youth league.
    assert told.count("RECONCILED" if lang == "en" else "对账一致") == 5
    assert ("youth league agree with ours" if lang == "en" else "昆山团市委 的十月台账与本方一致") in "".join(
        line.strip() + " " for line in told.splitlines()
    )
    assert ("a second person (psych-chen) approved" if lang == "en" else "另一人 (psych-chen) 已审批") in told
    assert ("everything was deleted; its key says" if lang == "en" else "已全部删除，签名经其公钥验证无误") in told
    statement = told.partition("Statement of disclosures" if lang == "en" else "信息披露清单")[2]
    for word in (
        ("rescue: PIPL", "identity", "the school's own") if lang == "en" else ("紧急救助", "身份信息", "学校自身")
    ):
        assert word in statement
    # Two referrals to the hospital, three for support, and the drill's, which keeps its row so that its report can be read.
    assert counts(folder) == {
        "notices": 1, "returns": 1, "referrals": 6, "drills": 1, "signals": 13, "consents": 7, "assessments": 240,
        "recalls": 1, "overrides": 1,
    }  # fmt: skip
    assert (folder / "notice.pdf").read_bytes().startswith(b"%PDF")


def test_a_file_that_is_not_there_is_refused_before_the_last_story_is_cleared_away(run, tmp_path):
    (tmp_path / "ended").write_text("")
    for language, words in (("en", "there is no such file"), ("zh", "没有这个文件")):
        done = run("--lang", language, "demo", "--folder", tmp_path, "--roster", tmp_path / "none.zip")
        assert (done.returncode, words in done.stderr) == (64, True)
    assert (tmp_path / "ended").exists()


def test_an_interrupted_story_of_other_files_is_not_gone_on_with(tmp_path):
    folder, sheet = tmp_path / "demo", tmp_path / "scores.csv"
    sheet.write_text("student_id," + ",".join(f"phq{n}" for n in range(1, 10)) + "\nA-1,0,0,0,0,0,0,0,0,1\n")
    with start(folder, "en") as first:
        assert any("the families are told" in line for line in lines(first))
        os.killpg(first.pid, signal.SIGKILL)
    with start(folder, "en", "--scores", str(sheet)) as second:
        told = "".join(lines(second))
    assert second.returncode == 0, told
    assert "going on where" not in told
    assert "1 students, 1 forms stored" in told
    assert "no further red case in these files: skipped" in told


def test_what_the_readme_shows_of_tools_works_on_what_the_story_leaves(tmp_path):
    folder = tmp_path / "var" / "demo"
    folder.parent.mkdir()
    (tmp_path / "config").symlink_to(ROOT / "config")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    text = (ROOT / "README.md").read_text("utf-8")
    with start(folder, "en", "--stay") as story:
        try:
            assert any("stays up" in line for line in lines(story))
            said = {name: shell(tmp_path, text, name) for name in ("tools", "gate")}
        finally:
            os.killpg(story.pid, signal.SIGTERM)
            told = "".join(lines(story))
    assert story.returncode == 0, told
    assert "nothing stored" in said["tools"] and "item 9 positive" in said["tools"]
    assert "ask why none came" in said["gate"] and "12356" in said["gate"]
    assert "PASSED" in said["gate"]
    assert said["gate"].rstrip().endswith("genuine, issued 2026-10-13")


def shell(folder: Path, text: str, name: str) -> str:
    found = re.search(rf"^<!-- {name} -->\n```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    done = subprocess.run(
        ["sh", "-ec", found[1]], cwd=folder, env={**os.environ, "XINQIAO_LANG": "en", "COLUMNS": "200"},
        capture_output=True, text=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr + done.stdout
