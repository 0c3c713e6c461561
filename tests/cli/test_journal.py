"""`journal prove`, `check-proof` and the check that the page shows: one row, proved to somebody who has only a key."""

import json
import re
import sqlite3
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xinqiao.contract.clock import SystemClock
from xinqiao.journal.append import append
from xinqiao.journal.checkpoint import Checkpointer
from xinqiao.journal.signing import create_signing_key, public_key_pem
from xinqiao.store.engine import open_store
from xinqiao.store.keys import KeyStore
from xinqiao.store.tx import Tx

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "core" / "xinqiao" / "journal" / "README.md"
COUNT = 21


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a signed journal of 21 rows and one that waits for its signature."""
    folder = tmp_path_factory.mktemp("signed")
    KeyStore.create(folder / "keyring")
    urls = [f"sqlite:///{folder / name}.db" for name in ("records", "keys")]
    store = open_store(urls[0], urls[1], folder / "keyring", SystemClock(), migrate=True)
    key = create_signing_key(folder / "journal.key")
    (folder / "journal.pub").write_bytes(public_key_pem(key))

    def fill(tx: Tx, first: int, last: int) -> None:
        for number in range(first, last):
            append(
                tx, kind="released", decision="permit", actor="gateway", partner="医院" * (number % 3), purpose=2,
                classes=6, student=None if number % 2 else f"s{number}", resource=f"deliveries/{number % 19}",
                reason="referral",
            )  # fmt: skip

    store.run(lambda tx: fill(tx, 1, COUNT + 1))
    Checkpointer(store, key, "kunshan").run_once()
    store.run(lambda tx: fill(tx, COUNT + 1, COUNT + 2))
    store.close()
    return folder


@pytest.fixture(scope="module")
def journal(run: Callable[..., Any], signed: Path) -> Callable[..., Any]:
    def call(command: str, *arguments: object, **environment: str) -> Any:
        given = ("--database", signed / "records.db", "--keys", signed / "journal.pub") if command == "prove" else ()
        return run("journal", command, *arguments, *given, **environment)

    return call


@pytest.fixture(scope="module")
def proof(journal: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("proof") / "proof.json"
    done = journal("prove", "main/7", "--out", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"main/7 is proved against the signed checkpoint of {COUNT} rows" in done.stdout
    assert file.stat().st_mode & 0o077 == 0
    return file


@pytest.fixture(scope="module")
def page_check(signed: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Any]:
    """The check as the page has it, run as the page says."""
    (code,) = re.findall(
        r"^<!-- check-proof[^\n]*-->\n```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert len(code.strip().splitlines()) <= 30
    script = tmp_path_factory.mktemp("lawyer") / "check.py"
    script.write_text(code, "utf-8")
    command = [sys.executable, "-X", "utf8", "-I", str(script)]
    return lambda file: subprocess.run(
        [*command, str(file), str(signed / "journal.pub")], capture_output=True, encoding="utf-8", timeout=60,
        check=False,
    )  # fmt: skip


def test_a_proof_holds_with_the_public_key_alone_and_tells_the_row(
    journal: Callable[..., Any], proof: Path, signed: Path
) -> None:
    done = journal("check-proof", proof, "--key", signed / "journal.pub", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 0
    assert (told["holds"], told["row"], told["partner"], told["purpose"]) == (True, "main/7", "医院", "TREATMENT")
    chinese = journal("check-proof", proof, "--key", signed / "journal.pub", LANG="zh_CN.UTF-8")
    assert "证明成立" in chinese.stdout


def test_every_row_checks_without_xinqiao_as_the_page_shows(
    journal: Callable[..., Any], page_check: Callable[[Path], Any], tmp_path: Path
) -> None:
    for seq in (1, 2, 11, 16, 20, COUNT):
        file = tmp_path / f"{seq}.json"
        file.write_text(journal("prove", f"main/{seq}", "--json").stdout, "utf-8")
        done = page_check(file)
        partner = "医院" * (seq % 3)
        assert (done.stderr, done.stdout) == ("", f"{seq} released permit {partner} deliveries/{seq % 19} referral\n")


def bent(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What a forger could try, by name."""
    leaf = bytearray(b64decode(document["leaf"]))
    leaf[-40] ^= 1
    lines = document["checkpoint"].split("\n")
    return {
        "leaf": {**document, "leaf": b64encode(leaf).decode()},
        "short path": {**document, "path": document["path"][:-1]},
        "long path": {**document, "path": [*document["path"], document["path"][0]]},
        "other path": {**document, "path": document["path"][::-1]},
        "size": {**document, "checkpoint": "\n".join([lines[0], "22", *lines[2:]])},
        "root": {**document, "checkpoint": "\n".join([*lines[:2], b64encode(bytes(32)).decode(), *lines[3:]])},
        "writer": {**document, "checkpoint": document["checkpoint"].replace("/main", "/niam", 1)},
    }


def test_a_bent_proof_is_refused_by_both(
    journal: Callable[..., Any], page_check: Callable[[Path], Any], proof: Path, signed: Path, tmp_path: Path
) -> None:
    for name, document in bent(json.loads(proof.read_text("utf-8"))).items():
        file = tmp_path / "bent.json"
        file.write_text(json.dumps(document), "utf-8")
        done = journal("check-proof", file, "--key", signed / "journal.pub")
        assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (2, "", False), name
        assert page_check(file).returncode != 0, name


def test_the_words_of_a_row_must_be_those_of_its_leaf(
    journal: Callable[..., Any], proof: Path, signed: Path, tmp_path: Path
) -> None:
    document = json.loads(proof.read_text("utf-8"))
    document["entry"]["reason"] = "something else"
    file = tmp_path / "bent.json"
    file.write_text(json.dumps(document), "utf-8")
    assert journal("check-proof", file, "--key", signed / "journal.pub").returncode == 2


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"format": 7}', "[" * 100_000, "\udcff"])
def test_what_is_no_proof_is_unreadable_and_no_traceback(
    journal: Callable[..., Any], signed: Path, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "proof.json"
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    done = journal("check-proof", file, "--key", signed / "journal.pub")
    assert (done.returncode, "Traceback" in done.stderr) == (4, False)
    assert journal("check-proof", tmp_path / "absent", "--key", signed / "journal.pub").returncode == 4
    assert journal("check-proof", file, "--key", tmp_path / "absent").returncode == 4


def test_a_resource_names_its_row_or_lists_its_rows(journal: Callable[..., Any]) -> None:
    one = journal("prove", "deliveries/5", "--json")
    assert json.loads(one.stdout)["entry"]["seq"] == 5
    several = journal("prove", "deliveries/2")
    assert several.returncode == 64
    assert "main/2 " in several.stdout
    assert "main/21" in several.stdout


def test_a_row_that_is_not_there_or_not_yet_signed_has_no_proof(journal: Callable[..., Any]) -> None:
    for name, word in (("main/99", "no such"), ("referrals/none", "no such"), (f"main/{COUNT + 1}", "no checkpoint")):
        done = journal("prove", name)
        assert done.returncode == 3
        assert word in done.stderr
    assert "尚无检查点" in journal("prove", f"main/{COUNT + 1}", LANG="zh_CN.UTF-8").stderr


def test_a_file_is_never_replaced(journal: Callable[..., Any], proof: Path) -> None:
    before = proof.read_bytes()
    assert journal("prove", "main/8", "--out", proof).returncode == 65
    assert proof.read_bytes() == before


def test_a_damaged_journal_gives_no_proof(run: Callable[..., Any], signed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with sqlite3.connect(signed / "records.db") as source, sqlite3.connect(copy) as target:
        source.backup(target)
        for (name,) in target.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            target.execute(f"DROP TRIGGER {name}")
        target.execute("UPDATE journal SET partner = 'x' WHERE seq = 3")
    done = run("journal", "prove", "main/7", "--database", copy, "--keys", signed / "journal.pub", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    verified = run("journal", "verify", "--database", copy, "--keys", signed / "journal.pub", "--json")
    assert verified.returncode == 2
    assert json.loads(verified.stdout)["first_bad"] == {"writer": "main", "seq": 3}
    people = run("journal", "verify", "--database", copy, "--keys", signed / "journal.pub", LANG="zh_CN.UTF-8")
    assert "首个有问题的行：main 第 3 行" in people.stderr
