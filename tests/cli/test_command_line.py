"""Help, languages, exit codes, output: what every command has in common."""

import json
import logging
import os
import string
import subprocess
import sys
from pathlib import Path

import pytest

from xinqiao.cli.app import exit_code, main
from xinqiao.cli.output import clean
from xinqiao.cli.texts import FAMILIES, TABLE, Texts, choose
from xinqiao.contract.errors import Refusal

COMMANDS = (
    "demo", "serve", "config check", "config schema", "status", "repairs", "adapters list", "adapters check", "adapters read",
    "exchange list", "exchange run", "exchange show", "exchange preview", "exchange items", "deliveries list", "deliveries retry", "journal verify",
    "holdings", "holdings close", "keys init", "db upgrade", "signals list", "cadence list", "cadence due",
    "triage check", "triage shadow", "policy sign", "policy check", "access ask", "access list", "access decide",
    "access show", "access export",
)  # fmt: skip
HEAVY = {
    "alembic",
    "cryptography",
    "google.protobuf",
    "grpc",
    "numpy",
    "pluggy",
    "pydantic",
    "rich",
    "sqlalchemy",
    "yaml",
}


def test_help_imports_nothing_heavier_than_typer():
    code = (
        "import sys\nfrom xinqiao.cli import main\nmain(['--help'])\n"
        f"print('LOADED', sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True, timeout=30)
    assert "keys init" in done.stdout
    assert done.stdout.splitlines()[-1] == "LOADED []"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_shows_how_to_call_it(command: str):
    for language in (0, 1):
        assert f"xinqiao {command}" in TABLE[command.replace(" ", ".")][language]


def test_the_help_of_a_command_lists_its_options_and_examples(run):
    done = run("exchange", "run", "--help")
    assert done.returncode == 0
    for word in ("--period", "--as", "--json", "xinqiao exchange run school-hospital-monthly --period 2026-10"):
        assert word in done.stdout


def test_no_text_is_said_in_two_files_where_one_would_hide_the_other():
    assert sum(map(len, FAMILIES)) == len(TABLE)


def test_a_command_called_within_a_process_leaves_its_log_as_it_was(capsys):
    log = logging.getLogger("xinqiao")
    before = log.level
    assert main(["instruments", "schema"]) == 0
    assert capsys.readouterr().out.startswith("{")
    assert log.level == before


def test_both_languages_have_the_same_blanks_to_fill():
    def blanks(text: str) -> set[str | None]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}

    different = [key for key, (en, zh) in TABLE.items() if blanks(en) != blanks(zh)]
    assert not different


def test_every_chinese_text_of_the_table_is_chinese():
    untranslated = [key for key, (en, zh) in TABLE.items() if en and not any("\u4e00" <= ch <= "\u9fff" for ch in zh)]
    assert untranslated == ["yes"] or untranslated == []


def test_the_version_is_printed(run):
    done = run("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "xinqiao")


@pytest.mark.parametrize(
    ("arguments", "environment", "language"),
    [
        ([], {}, "en"),
        ([], {"LANG": "zh_CN.UTF-8"}, "zh"),
        ([], {"LANG": "C"}, "en"),
        ([], {"LANG": "zh_CN.UTF-8", "XINQIAO_LANG": "en"}, "en"),
        (["--lang", "zh"], {"LANG": "en_US.UTF-8"}, "zh"),
        (["demo", "--lang=en"], {"XINQIAO_LANG": "zh"}, "en"),
    ],
)
def test_the_language_is_the_one_asked_for_last(arguments, environment, language):
    assert choose(arguments, environment) == language


def test_chinese_comes_out_as_utf8_even_in_the_c_locale(run):
    done = run("--lang", "zh", "--help", LANG="C", LC_ALL="C", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "心桥" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["serve", "--nonsense"], ["exchange", "run", "x"], ["exchange", "list", "--limit", "0"]]
)
def test_a_wrong_command_line_exits_64_and_names_the_help(run, arguments):
    done = run(*arguments)
    assert done.returncode == 64
    assert "--help" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command", ["serve", "keys init", "db upgrade", "journal verify", "holdings", "adapters check"]
)
def test_a_missing_configuration_exits_78_and_names_the_file(run, command):
    done = run(*command.split(), "--config", "absent.yaml")
    assert done.returncode == 78
    assert "absent.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_who_leaves_early_hears_nothing(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-m", "xinqiao.cli", "config", "schema"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()
    _, complaint = process.communicate(timeout=30)
    assert (process.returncode, complaint) == (141, b"")


def test_an_unexpected_error_exits_70_without_its_text(run, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import xinqiao.cli.upkeep as u\n"
        "def broken(*a, **k):\n    raise RuntimeError('王小明')\n"
        "u.make_keys = broken\n",
        encoding="utf-8",
    )
    done = run("keys", "init", PYTHONPATH=str(tmp_path))
    assert done.returncode == 70
    assert "RuntimeError" in done.stderr
    assert "王小明" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        ("INVALID_ARGUMENT", "PERIOD", 64),
        ("INVALID_ARGUMENT", "FIELDS", 65),
        ("NOT_FOUND", "EXCHANGE", 65),
        ("UNAVAILABLE", "NOT_RUNNING", 69),
        ("FAILED_PRECONDITION", "ALREADY_RUNNING", 69),
        ("INTERNAL", "", 70),
        ("ABORTED", "RUNNING", 75),
        ("RESOURCE_EXHAUSTED", "OVERLOADED", 75),
        ("PERMISSION_DENIED", "ROLE", 77),
        ("UNAUTHENTICATED", "UNKNOWN_PARTNER", 77),
        ("FAILED_PRECONDITION", "KEY_FILE_MISSING", 78),
    ],
)
def test_a_refusal_has_the_exit_code_a_script_can_act_on(status, reason, code):
    assert exit_code(Refusal(status, reason, "")) == code


@pytest.mark.parametrize("hostile", ["\x1b[31mred", "a\rb", "\u202egnp", "line\nbreak", "\x9b1m", "\udce4"])
def test_nothing_in_a_name_steers_the_terminal(hostile: str):
    assert clean(hostile).isprintable()


def test_ordinary_names_are_left_alone():
    assert clean("昆山市第一示范中学 · 𠮷田 é") == "昆山市第一示范中学 · 𠮷田 é"


def test_the_schema_is_json_for_an_editor(run):
    done = run("config", "schema", "--district")
    assert json.loads(done.stdout)["$schema"].startswith("https://json-schema.org/")


def test_a_text_that_is_not_in_the_table_is_a_programming_error():
    with pytest.raises(KeyError):
        Texts("en")("no such text")


def test_ctrl_c_exits_130(tmp_path: Path):
    (tmp_path / "sitecustomize.py").write_text(
        "import xinqiao.cli.upkeep as u\ndef stop(*a, **k):\n    raise KeyboardInterrupt\nu.make_keys = stop\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "xinqiao.cli", "keys", "init"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, cwd=tmp_path, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 130
    assert b"Traceback" not in done.stderr
