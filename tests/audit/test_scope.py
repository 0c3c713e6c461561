"""The scope of a breach: counted against a plain loop over the same rows, on the command line, and by certificate."""

import csv
import json
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from tests.cli.conftest import call

from xinqiao.contract.clock import ManualClock
from xinqiao.contract.fields import class_name, classes_of
from xinqiao.journal.append import append
from xinqiao.journal.scope import Figures, Scope, Shown, Sought, scope
from xinqiao.journal.signing import load_signing_key, public_key_pem
from xinqiao.store.engine import Store
from xinqiao.store.readonly import open_journal
from xinqiao.store.tx import Tx

HOSPITAL, POLICE = "hospital", "police"
ROWS = [
    # in each: partner, actor, purpose, classes, student, basis, decision
    (HOSPITAL, "psych", 2, 0b110, "s1", "", "permit"),
    (HOSPITAL, "psych", 2, 0b1100, "s1", "shares/1", "permit"),
    (HOSPITAL, "doctor", 2, 0b10, "s2", "", "permit"),
    (POLICE, "officer", 3, 0b110, "s1", "life-safety", "permit"),
    (POLICE, "officer", 3, 0, "s3", "", "permit"),  # shown nothing
    (POLICE, "officer", 3, 0b110, "s4", "", "deny"),  # refused
    (HOSPITAL, "doctor", 9, 0b10, None, "", "permit"),  # a total, say: of nobody
] * 3


@pytest.fixture
def filled(store: Store, store_url: str, clock: ManualClock) -> str:
    def one(values: Any) -> Callable[[Tx], Any]:
        partner, actor, purpose, classes, student, basis, decision = values
        return lambda tx: append(
            tx, kind="released", decision=decision, actor=actor, partner=partner, purpose=purpose, classes=classes,
            student=student, basis=basis,
        )  # fmt: skip

    for values in ROWS:
        clock.advance(timedelta(seconds=1))
        store.run(one(values))
    return store_url


def found(url: str, **sought: Any) -> tuple[Scope, list[Shown]]:
    listed: list[Shown] = []
    with open_journal(url) as journal:
        return scope(journal, Sought(**sought), listed.append), listed


def plainly(url: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, set[str]]:
    """The same by a loop: for each word of each dimension its students."""
    by: dict[str, set[str]] = defaultdict(set)
    names = [
        "writer",
        "seq",
        "at_us",
        "kind",
        "decision",
        "actor",
        "partner",
        "purpose",
        "classes",
        "student",
        "resource",
        "reason",
        "basis",
    ]
    with open_journal(url) as journal:
        for values in journal.rows():
            row = dict(zip(names, values, strict=False))
            if row["decision"] != "permit" or not row["classes"] or row["student"] is None or not wanted(row):
                continue
            for word in (row["partner"], row["actor"], *(class_name(each) for each in classes_of(row["classes"]))):
                by[word].add(row["student"])
    return by


@pytest.mark.parametrize(
    "sought", [{}, {"partner": HOSPITAL}, {"partner": "officer"}, {"actor": "psych"}, {"actor": "nobody"}]
)
def test_it_says_what_a_loop_over_the_rows_says(filled: str, sought: dict[str, str]) -> None:
    def wanted(row: dict[str, Any]) -> bool:
        who = sought.get("partner")
        return sought.get("actor") in (None, row["actor"]) and who in (None, row["partner"], row["actor"])

    told, listed = found(filled, **sought)
    expected = plainly(filled, wanted)
    counted = {
        word: figures.students
        for dimension in ("partners", "actors", "classes")
        for word, figures in told.by[dimension].items()
        if figures.students
    }
    assert counted == {word: len(students) for word, students in expected.items()}
    assert (
        told.whole.students
        == len({each.student for each in listed})
        == len({student for students in expected.values() for student in students})
    )


def test_what_was_denied_or_empty_is_no_disclosure_and_nameless_ones_are_told(filled: str) -> None:
    told, listed = found(filled)
    assert (told.whole.disclosures, told.whole.students, told.nameless) == (15, 2, 3)
    assert {each.student for each in listed} == {"s1", "s2"}
    assert set(told.by["bases"]) == {"consent-or-policy", "share", "life-safety"}
    assert set(told.by["purposes"]) == {"TREATMENT", "RESCUE", "FAMILY_ACCESS"}
    (hospital,) = [each for each in listed if (each.student, each.partner) == ("s1", HOSPITAL)]
    assert (len(hospital.classes), hospital.disclosures) == (3, 6)
    assert told.whole.first_us == told.by["partners"][HOSPITAL].first_us <= hospital.first_us < told.whole.last_us


def test_times_and_sequence_numbers_bound_it(filled: str) -> None:
    with open_journal(filled) as journal:
        rows = list(journal.rows())
    middle = sorted(row[2] for row in rows)[10]
    before, after = found(filled, until_us=middle)[0], found(filled, since_us=middle)[0]
    assert before.whole.disclosures + after.whole.disclosures == 15
    assert before.whole.last_us < middle <= after.whole.first_us
    writer = rows[0][0]
    of_chain = [row for row in rows if row[0] == writer]
    told = found(filled, writer=writer, first=1, last=2)[0]
    assert told.whole.disclosures == sum(row[4] == "permit" and row[8] > 0 for row in of_chain[:2])


def test_nothing_found_is_an_answer(filled: str) -> None:
    told, listed = found(filled, partner="nobody")
    assert (told.whole, listed) == (Figures(), [])


@pytest.fixture(scope="module")
def node(make_town: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A stopped node on SQLite with a release to the hospital on record, and its configuration for the command line."""

    def without_adapters(settings: dict[str, Any]) -> None:
        settings["adapters"] = {}  # a process of its own does not know those of the test

    with make_town("sqlite", listen=False, change=without_adapters) as town:
        local = town.student()
        town.consent(local)
        town.refer(local)
        town.gate.gateway.checkpointer.run_once()
        inside = town.inside_id(local)
        key = town.gate.gateway.settings.journal.signing_key
        key.with_suffix(".pub").write_bytes(public_key_pem(load_signing_key(key)))
        town.gate.stop()
        yield town, inside


def run(node: Any, *arguments: object, **environment: str) -> Any:
    return call(node[0].gate.folder, "audit", *arguments, "--config", node[0].gate.config, **environment)


def test_the_command_tells_counts_and_puts_ids_into_the_file_alone(node: Any, tmp_path: Path) -> None:
    town, inside = node
    file = tmp_path / "affected.csv"
    done = run(node, "scope", "--partner", town.HOSPITAL, "--since", "2026-01-01", "--students", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 students" in done.stdout
    assert "TREATMENT" in done.stdout
    assert inside not in done.stdout
    (row,) = csv.DictReader(StringIO(file.read_text("utf-8")))
    assert (row["student"], row["partner"]) == (inside, town.HOSPITAL)
    assert file.stat().st_mode & 0o077 == 0
    chinese = run(node, "scope", "--partner", town.HOSPITAL, LANG="zh_CN.UTF-8")
    assert "涉及 1 名学生" in chinese.stdout
    again = run(node, "scope", "--partner", town.HOSPITAL, "--students", file)
    assert again.returncode == 65  # a file is never replaced
    assert json.loads(run(node, "scope", "--until", "2026-01-01", "--json").stdout)["whole"]["students"] == 0


def test_a_serial_is_the_caller_while_the_certificate_was_valid(node: Any) -> None:
    town, _ = node
    pem = (town.gate.folder / "pki" / "partners" / f"{town.PSYCH}.pem").read_bytes()
    serial = f"{x509.load_pem_x509_certificate(pem).serial_number:x}"
    done = run(node, "scope", "--serial", serial, "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["sought"]["actor"], told["serial_upper_bound"]) == (0, town.PSYCH, True)
    assert run(node, "scope", "--serial", serial, "--actor", "police").returncode == 64
    assert run(node, "scope", "--serial", "00ff").returncode == 65


@pytest.mark.parametrize(
    "words", [(), ("--rows", "main"), ("--rows", "main/a-b"), ("--since", "yesterday"), ("--serial", "xyz")]
)
def test_what_does_not_narrow_or_cannot_be_read_is_refused(node: Any, words: tuple[str, ...]) -> None:
    done = run(node, "scope", *words)
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.startswith("error: ")


def test_the_pack_command_records_itself_and_says_where(node: Any, tmp_path: Path) -> None:
    town, inside = node
    done = run(node, "pack", "--year", "2026", "--out", tmp_path / "pack", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert told["journal_row"].startswith("main/")
    assert told["made_by"] == town.OPERATOR
    assert (tmp_path / "pack" / "index.html").exists()
    assert not [path for path in (tmp_path / "pack").iterdir() if inside.encode() in path.read_bytes()]
    unread = run(node, "pack", "--year", "2026", "--out", tmp_path / "quiet", "--read-only", LANG="zh_CN.UTF-8")
    assert unread.returncode == 0
    assert "未记入日志" in unread.stderr
    assert run(node, "pack", "--year", "2026", "--out", tmp_path / "pack").returncode == 65
    assert run(node, "pack", "--year", "2026", "--out", tmp_path / "x", "--as", town.PSYCH).returncode == 64
