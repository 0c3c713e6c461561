"""The plugin API goes nowhere unannounced: it is frozen in a list, what is announced stays its term, and who uses it is told."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import UTC, date, datetime
from inspect import isfunction, signature
from pathlib import Path
from typing import Any, get_args

import pytest

from xinqiao.adapters import hookspecs, manifest, protocols
from xinqiao.adapters.deprecation import DEPRECATED, TERM, Deprecated, uses
from xinqiao.adapters.host import AdapterHost

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).with_name("golden") / "plugin_api.txt"
PARTS = {"hook", "kind", "manifest", "capability", "contract"}


def surface() -> Iterator[str]:
    """What a plugin relies on, one name a line; a method with what it takes."""
    for name, function in vars(hookspecs).items():
        if name.startswith("xinqiao_") and isfunction(function):
            yield f"hook.{name}({', '.join(signature(function).parameters)})"
    yield from (f"kind.{field.name}" for field in fields(protocols.AdapterKind))
    yield from (f"context.{field.name}" for field in fields(protocols.AgencyContext))
    yield from (f"manifest.{name}" for name in manifest.Manifest.model_fields)
    yield from (f"capability.{word}" for word in get_args(manifest.Capability))
    yield from (f"contract.{word}" for word in sorted({*manifest.WRITTEN, *manifest.READ}))
    for name, made in vars(protocols).items():
        if getattr(made, "_is_protocol", False) and made.__module__ == protocols.__name__:
            for member, function in vars(made).items():
                if not member.startswith("_") and isfunction(function):
                    yield f"{name}.{member}({', '.join(signature(function).parameters)})"
                elif not member.startswith("_") and isinstance(function, property):
                    yield f"{name}.{member}"


def test_the_plugin_api_is_frozen_and_what_goes_has_had_its_term() -> None:
    """A line is added when the API grows. None is ever taken out: what went was announced a term before."""
    frozen, now = GOLDEN.read_text("utf-8").splitlines(), [*surface()]
    new = [line for line in now if line not in frozen]
    assert not new, f"add to {GOLDEN.name}, for good:\n" + "\n".join(new)
    today = datetime.now(UTC).date()
    gone = {each.what for each in DEPRECATED if each.gone <= today}
    missing = [line for line in frozen if line not in now and line.partition("(")[0] not in gone]
    assert not missing, "announce it in xinqiao/adapters/deprecation.py and leave it its term:\n" + "\n".join(missing)


def test_what_is_announced_is_a_name_of_the_api_and_says_what_to_do() -> None:
    frozen = {line.partition("(")[0] for line in GOLDEN.read_text("utf-8").splitlines()}
    assert len({each.what for each in DEPRECATED}) == len(DEPRECATED)
    for each in DEPRECATED:
        assert each.what in frozen and each.what.partition(".")[0] in PARTS and each.zh and each.en
    assert TERM.days >= 365


def announced(what: str) -> Deprecated:
    return Deprecated(what, date(2026, 10, 1), "请改用别的", "use another")


@pytest.mark.parametrize(
    ("what", "file", "line"),
    [
        ("manifest.schedules", "manifest.yaml", "schedules:"),
        ("contract.recall", "manifest.yaml", "- contract: recall"),
        ("capability.listen", "manifest.yaml", "capabilities:"),
        ("kind.reader", "xinqiao_hospital/__init__.py", "reader="),
        ("hook.xinqiao_adapters", "xinqiao_hospital/__init__.py", "xinqiao_adapters"),
    ],
)
def test_a_use_is_found_with_its_file_and_line(what: str, file: str, line: str) -> None:
    host = AdapterHost.load(["hospital"])
    [use] = uses(host.kinds["hospital"], host.manifests["hospital"], [announced(what)])
    assert str(use.file).endswith(file) and line in use.file.read_text("utf-8").splitlines()[use.line - 1]
    assert use.what.gone == date(2027, 10, 1)


@pytest.mark.parametrize("what", ["capability.listen", "contract.police_report", "kind.manifest", "hook.xinqiao_other"])
def test_a_plugin_that_does_not_use_it_is_left_alone(what: str) -> None:
    host = AdapterHost.load(["youth_league"])
    assert [*uses(host.kinds["youth_league"], host.manifests["youth_league"], [announced(what)])] == []


def test_a_plugin_for_a_later_api_is_not_loaded_and_says_how_to_mend_it(site: Any, manifest_text: Any) -> None:
    site.add("later", manifest=manifest_text("later").replace("api: 1", "api: 2"))
    host = AdapterHost.load(["later"], entry_points=site.entry_points)
    assert "plugin API 2, this gateway has 1" in host.failures["later"] and "pip install -U" in host.failures["later"]


def test_a_manifest_must_say_for_which_api_it_was_written(site: Any, manifest_text: Any) -> None:
    site.add("mute", manifest=manifest_text("mute").replace("api: 1\n", ""))
    assert "api" in AdapterHost.load(["mute"], entry_points=site.entry_points).failures["mute"]


@pytest.fixture
def contracts(tmp_path: Path) -> Callable[[str, str], int]:
    """Whether `buf breaking` lets a change of the contracts through: its exit code."""
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    shutil.copy(ROOT / "buf.yaml", tmp_path)

    def changed(text: str, other: str) -> int:
        path = tmp_path / "protos/xinqiao/api/adapter/v1/adapter_service.proto"
        source = path.read_text("utf-8")
        assert source.count(text) == 1
        path.write_text(source.replace(text, other), "utf-8")
        command = [Path(sys.executable).with_name("buf"), "breaking", "--against", str(ROOT)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode

    return changed


def test_a_field_that_is_taken_out_of_a_contract_is_refused(contracts: Callable[[str, str], int]) -> None:
    assert contracts("message DeliverResponse {", "message DeliverResponse {\n  // New.\n  string more = 99;") == 0
    assert contracts("string receipt = 1", "string receipts = 1") == 100
