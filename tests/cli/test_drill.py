"""`xinqiao drill` and `xinqiao holdings` against a gateway process with the real hospital plugin and its simulator."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cli.test_serving import Served

from xinqiao.adapters.host import AdapterHost


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The hospital plugin's simulator, speaking FHIR on a real socket."""
    kinds = AdapterHost.load(["hospital"]).kinds
    simulator: Any = kinds["hospital"].simulator(tmp_path_factory.mktemp("hospital"))
    simulator.settings = simulator.start()
    yield simulator
    simulator.stop()


@pytest.fixture(scope="module")
def served(run, make_config, hospital: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    config: Path = make_config(tmp_path_factory.mktemp("served"))
    settings = yaml.safe_load(config.read_text("utf-8"))
    settings["adapters"]["kunshan-mental-health"]["settings"] = hospital.settings | {"poll_seconds": 1}
    config.write_text(yaml.safe_dump(settings, allow_unicode=True), "utf-8")
    assert run("keys", "init", "--config", config).returncode == 0
    gateway = Served(config)
    yield gateway
    gateway.stop(signal.SIGKILL)


@pytest.fixture
def ask(run, served: Served):
    def call(*arguments: str, **environment: str):
        return run(*arguments, "--config", served.config, "--address", served.address, **environment)

    return call


def test_a_drill_goes_through_the_real_plugin_and_prints_when_each_step_was(ask, hospital):
    done = ask("drill", "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("DRILL drills/")
    assert "PASSED" in done.stdout
    for word in ("signal raised", "acknowledged", "referral created", "released", "delivered", "received"):
        assert word in done.stdout
    listed = json.loads(ask("drill", "list", "--json").stdout)
    assert [each["state"] for each in listed] == ["DRILL_STATE_PASSED"]
    shown = ask("drill", "show", listed[0]["name"], XINQIAO_LANG="zh")
    assert "演练" in shown.stdout and "对方收到" in shown.stdout
    assert json.loads(ask("holdings", "--json").stdout) == []


@pytest.mark.parametrize("resource", ["Patient", "ServiceRequest"])
def test_what_the_hospitals_system_stored_says_drill_in_plain_words(ask, hospital, resource):
    ask("drill", "run")
    stored = hospital.records.all(resource)
    assert stored and all("DRILL" in str(each) for each in stored)


def test_a_drill_at_an_unknown_school_is_refused_in_words(ask):
    done = ask("drill", "run", "--school", "nowhere")
    assert done.returncode == 65
    assert "SCHOOL" in done.stderr


def test_holdings_say_who_must_do_what_and_how_late_it_is(ask):
    assert ask("drill", "run", "--people").returncode == 0
    done = ask("holdings", "--as", "psych-chen")
    assert done.returncode == 0
    assert "psych-chen" in done.stdout and "acknowledge" in done.stdout and "RED" in done.stdout
    assert "DRILL" in done.stdout
    listed = json.loads(ask("holdings", "--json").stdout)
    # An exchange that is due may be open as well: it belongs to no drill.
    cases = [item for item in listed if item["kind"] != "exchange"]
    assert cases and all(item["drill"] for item in cases)
