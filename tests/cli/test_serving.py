"""`xinqiao serve` and the commands that ask a running gateway."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import yaml

from xinqiao.testing.gateway import make_deployment

EXCHANGE = "school-hospital-monthly"
EXAMPLE = Path(__file__).resolve().parents[2] / "config" / "gateway.example.yaml"


class Served:
    """A gateway in a process of its own, ready."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.process = subprocess.Popen(
            [sys.executable, "-m", "xinqiao.cli", "serve", "--config", str(config), "--log-level", "warning"],
            env=os.environ | {"XINQIAO_LANG": "en"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        )  # fmt: skip
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.line.partition('on port ')[2].partition(',')[0]}"

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.communicate(timeout=30)
        return self.process.returncode


@contextmanager
def _serving(run, config: Path) -> Iterator[Served]:
    assert run("keys", "init", "--config", config).returncode == 0
    gateway = Served(config)
    yield gateway
    gateway.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def served(run, make_config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One gateway for the whole file."""
    with _serving(run, make_config(tmp_path_factory.mktemp("served"))) as gateway:
        yield gateway


@pytest.fixture
def ask(run, served: Served):
    """A command that asks that gateway."""

    def call(*arguments: str, **environment: str):
        return run(*arguments, "--config", served.config, "--address", served.address, **environment)

    return call


def test_ready_is_one_line_with_the_port(served: Served):
    assert served.line.startswith("ready: kunshan/main on port ")
    assert int(served.address.rpartition(":")[2]) > 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_stops_the_gateway_in_order(run, config: Path, number: int, code: int):
    with _serving(run, config) as own:
        assert own.stop(number) == code


STRUCK_ELSEWHERE = """
import signal, threading, time
from xinqiao.cli.serving import Told
told = Told()
def strike():
    time.sleep(0.2)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
threading.Thread(target=strike, daemon=True).start()
print(told.wait() == signal.SIGTERM)
"""


def test_a_signal_that_strikes_another_thread_is_heard_all_the_same():
    done = subprocess.run(
        [sys.executable, "-c", STRUCK_ELSEWHERE], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "True\n"


def test_a_second_gateway_on_the_same_store_exits_69(run, served: Served):
    done = run("serve", "--config", served.config)
    assert done.returncode == 69
    assert "already running" in done.stderr


def test_db_upgrade_is_refused_while_the_gateway_runs(run, served: Served):
    assert run("db", "upgrade", "--config", served.config).returncode == 69


def test_an_operator_sees_the_gateway(ask):
    done = ask("adapters", "list", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["deployment"] == "kunshan"


def test_an_operators_commands_are_refused_to_others_with_77(ask):
    done = ask("deliveries", "list", "--as", "psych-chen")
    assert done.returncode == 77
    assert "ROLE" in done.stderr


def test_an_exchange_is_run_and_its_totals_add_up(ask):
    done = ask("exchange", "run", EXCHANGE, "--period", "2026-10", "--json")
    assert done.returncode == 0
    runs = json.loads(done.stdout)
    assert {run["partner"] for run in runs} == {"kunshan-no1-middle", "kunshan-mental-health"}
    assert all(r["selected"] == r["sent"] + r["withheld"] + r["refused"] + r["failed"] for r in runs)


def test_running_an_exchange_again_changes_nothing(ask):
    first = ask("exchange", "run", EXCHANGE, "--period", "2026-10", "--json")
    second = ask("exchange", "run", EXCHANGE, "--period", "2026-10", "--json")
    assert [run["name"] for run in json.loads(first.stdout)] == [run["name"] for run in json.loads(second.stdout)]
    listed = json.loads(ask("exchange", "list", "--json").stdout)
    assert len(listed) == len(json.loads(first.stdout))


def test_the_table_of_runs_ends_with_the_sum(ask):
    done = ask("exchange", "run", EXCHANGE, "--period", "2026-10")
    assert "selected = sent + withheld + refused + failed + withdrawn: 0 = 0 + 0 + 0 + 0 + 0" in done.stdout


@pytest.mark.parametrize(("name", "period", "code"), [(EXCHANGE, "2026-13", 64), ("nope", "2026-10", 65)])
def test_a_wrong_period_is_usage_and_an_unknown_exchange_is_data(ask, name: str, period: str, code: int):
    assert ask("exchange", "run", name, "--period", period).returncode == code


def test_a_period_is_looked_at_and_the_items_of_a_run_are_listed(ask):
    done = ask("exchange", "preview", EXCHANGE, "--period", "2026-10", "--json")
    assert {each["partner"] for each in json.loads(done.stdout)} == {"kunshan-no1-middle", "kunshan-mental-health"}
    assert ask("exchange", "preview", EXCHANGE, "--period", "2026-10", "--partner", "nobody").returncode == 65
    assert "kunshan-mental-health" in ask("exchange", "preview", EXCHANGE, "--period", "2026-10").stdout
    run = json.loads(ask("exchange", "run", EXCHANGE, "--period", "2026-10", "--json").stdout)[0]["name"]
    assert json.loads(ask("exchange", "items", run, "--all", "--json").stdout) == []


def test_a_delivery_that_is_not_there_exits_65(ask):
    done = ask("deliveries", "retry", "nope")
    assert done.returncode == 65
    assert "DELIVERY" in done.stderr


def test_holdings_are_listed(ask):
    ask("exchange", "run", EXCHANGE, "--period", "2026-10")
    done = ask("holdings", "--json")
    assert done.returncode == 0
    assert all(item["holder"] and int(item["deadline_us"]) > 0 for item in json.loads(done.stdout))


def test_an_item_that_is_not_open_cannot_be_closed(ask):
    done = ask("holdings", "close", "intake/x/y", "--reason", "MENDED_ELSEWHERE")
    assert done.returncode == 65
    assert "HOLDING" in done.stderr


def test_a_closing_reason_is_a_word_and_never_a_sentence(ask):
    done = ask("holdings", "close", "intake/x/y", "--reason", "Wang Xiaoming told me")
    assert done.returncode == 65
    assert "MENDED_ELSEWHERE" in done.stderr
    assert "Xiaoming" not in done.stderr


def test_a_revision_needs_a_reason_and_a_dispute(ask):
    ask("exchange", "run", EXCHANGE, "--period", "2026-10")
    assert ask("exchange", "run", EXCHANGE, "--period", "2026-10", "--revise", "0").returncode == 64
    done = ask("exchange", "run", EXCHANGE, "--period", "2026-10", "--revise", "0", "--reason", "PHONE_AGREED")
    assert done.returncode in (0, 65)  # without a hospital that answers the run may be open, or waiting
    assert "Traceback" not in done.stderr


def test_a_hang_up_reads_the_rules_again_and_a_broken_file_changes_nothing(run, make_config, tmp_path: Path):
    config = make_config(tmp_path)
    settings = yaml.safe_load(config.read_text("utf-8"))
    shutil.copytree(settings["policy"], tmp_path / "policy")
    settings["policy"] = str(tmp_path / "policy")
    config.write_text(yaml.safe_dump(settings, allow_unicode=True), "utf-8")
    rules = tmp_path / "policy" / "disclosure.yaml"
    with _serving(run, config) as own:

        def version() -> str:
            done = run("adapters", "list", "--config", config, "--address", own.address, "--json")
            return json.loads(done.stdout)["policy_version"]

        def hang_up() -> str:
            own.process.send_signal(signal.SIGHUP)
            assert own.process.stderr is not None
            while "rules" not in (line := own.process.stderr.readline()) or "ALARM" in line:
                assert line
            return line

        assert version().startswith("2026-11")
        rules.write_text(rules.read_text("utf-8").replace('"2026-11"', '"2026-12"'), "utf-8")
        assert "in force" in hang_up()
        assert version().startswith("2026-12")
        rules.write_text("grants: [", "utf-8")
        assert "the old ones stay" in hang_up()
        assert version().startswith("2026-12")
        assert own.stop() == 0


def test_without_a_gateway_the_command_says_how_to_start_one(run, config: Path):
    run("keys", "init", "--config", config)
    done = run(
        "exchange", "run", EXCHANGE, "--period", "2026-10", "--config", config,
        "--address", "127.0.0.1:9",
    )  # fmt: skip
    assert done.returncode == 69
    assert f"xinqiao serve --config {config}" in done.stderr


def test_without_a_certificate_the_command_says_how_to_make_one(run, config: Path):
    done = run("holdings", "--config", config, "--address", "127.0.0.1:9")
    assert done.returncode == 78
    assert "xinqiao keys init" in done.stderr


def test_the_journal_of_a_stopped_gateway_verifies_and_a_changed_row_does_not(run, config: Path):
    with _serving(run, config) as own:
        run("exchange", "run", EXCHANGE, "--period", "2026-10", "--config", config, "--address", own.address)
        assert own.stop() == 0
    sound = run("journal", "verify", "--config", config, "--json")
    assert sound.returncode == 0
    assert json.loads(sound.stdout)["rows"] > 0
    with closing(sqlite3.connect(config.parent / "records.db")) as database:
        for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f'DROP TRIGGER "{trigger}"')
        database.execute("UPDATE journal SET actor = 'somebody-else' WHERE seq = 1")
        database.commit()
    assert run("journal", "verify", "--config", config).returncode == 2


def test_a_plugin_that_the_configuration_does_not_name_is_not_imported(tmp_path: Path) -> None:
    config = make_deployment(tmp_path, EXAMPLE)  # which names no adapter
    code = (
        "import sys; from pathlib import Path; from xinqiao.server.runtime import Gateway;"
        f"gateway = Gateway(Path({str(config)!r})); gateway.store.close();"
        "print([name for name in sys.modules if name.startswith('xinqiao_')])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.strip() == "[]"
    assert "hospital, hotline, police, remote, school" in shown.stderr.partition("not loaded: ")[2]


LATER = (
    "alembic", "apscheduler", "cryptography.x509", "fontTools", "fpdf", "grpc_reflection.v1alpha", "multiprocessing", "numpy",
    "openpyxl", "pygments", "rich", "segno", "sqlalchemy.dialects.postgresql", "xinqiao.cli.tables",
    "xinqiao.screening.upload",
)  # fmt: skip


def test_a_gateway_that_takes_connections_has_loaded_nothing_that_only_some_of_its_work_needs(tmp_path: Path) -> None:
    config = make_deployment(tmp_path, EXAMPLE)
    migrated = [sys.executable, "-m", "xinqiao.cli", "db", "upgrade", "--config", str(config)]
    subprocess.run(migrated, check=True, capture_output=True, timeout=60)
    code = (
        "import sys; from pathlib import Path; from xinqiao.cli import serving; from xinqiao.server.runtime import Gateway;"
        f"gateway = Gateway(Path({str(config)!r})); gateway.start(work=False, tick=False);"
        f"print(gateway.port > 0, [name for name in {LATER!r} if name in sys.modules]); sys.stdout.flush();"
        "gateway.stop()"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.strip() == "True []"


def test_a_start_reads_its_configuration_once(tmp_path: Path) -> None:
    config = make_deployment(tmp_path, EXAMPLE)
    code = (
        "from pathlib import Path; from xinqiao.config import document; from xinqiao.cli.files import load_node;"
        "from xinqiao.cli.texts import Texts; from xinqiao.server.runtime import Gateway; read = [];"
        "own = document._Reader._bytes;"
        "document._Reader._bytes = lambda self, path: read.append(path) or own(self, path);"
        f"config = Path({str(config)!r}); bundle, host = load_node(Texts('en'), config);"
        "Gateway(config, host=host, bundle=bundle).store.close(); print(read.count(config))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.strip() == "1"
