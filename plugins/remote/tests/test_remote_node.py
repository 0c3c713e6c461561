"""A partner's service in Node: the same suite, over the same contract."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from xinqiao.cli import main

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "node"
PACKAGES = Path(os.environ.get("XINQIAO_NODE_MODULES", EXAMPLE / "node_modules"))
OUTSIDE = {"refusals", "wrong_code", "partner_repeats", "partner_out_of_order", "drill_is_visible"}
"""What nobody sees or commands from outside of a partner."""


@pytest.fixture
def address() -> Iterator[str]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    if not (PACKAGES / "@grpc" / "grpc-js").is_dir() or not (PACKAGES / "@grpc" / "proto-loader").is_dir():
        pytest.skip("run `npm install` in plugins/remote/examples/node, or name a node_modules in XINQIAO_NODE_MODULES")
    command = [node, str(EXAMPLE / "server.js"), "127.0.0.1:0"]
    env = {**os.environ, "NODE_PATH": str(PACKAGES)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.startswith("serving at port ")
        yield f"127.0.0.1:{line.split()[-1]}"
        server.terminate()


def test_it_fails_nothing_and_shows_all_that_can_be_seen_from_outside(address: str, capsys: pytest.CaptureFixture[str]):
    assert main(["adapters", "conform", str(EXAMPLE / "manifest.yaml"), "--remote", address, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    results = {each["case"]: each["result"] for each in report["cases"]}
    assert {case for case, result in results.items() if result == "not_shown"} == OUTSIDE
    assert {result for case, result in results.items() if case not in OUTSIDE} == {"passed"}
    # Silver asks for refusals, which this partner cannot be told to make.
    assert report["tier"] == "bronze"
