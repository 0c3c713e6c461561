"""The plugin of plugins/README.md works as it is written there."""

import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^`plugins/hello/([^`]+)`\n\n```[a-z]+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def blocks() -> dict[str, str]:
    return dict(BLOCK.findall((ROOT / "plugins" / "README.md").read_text("utf-8")))


def test_the_readme_plugin_loads_and_its_own_test_passes(
    site: Any, blocks: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add("hello", module=blocks["xinqiao_hello/__init__.py"], manifest=blocks["manifest.yaml"])
    path = tmp_path / "hello_readme.py"
    path.write_text(blocks["tests/test_hello.py"], "utf-8")
    module = _imported(path)
    load = module.AdapterHost.load

    def load_from_site(allowed: list[str]) -> Any:
        return load(allowed, entry_points=site.entry_points)

    monkeypatch.setattr(module.AdapterHost, "load", load_from_site)
    own_test = cast("Callable[[Path], None]", module.test_a_repeat_has_one_effect)
    own_test(tmp_path)


def test_the_readme_project_builds_a_wheel_with_its_manifest(blocks: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    for name, text in blocks.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    script = textwrap.dedent("""
        import zipfile, hatchling.build
        wheel = hatchling.build.build_wheel(".")
        print(*zipfile.ZipFile(wheel).namelist(), sep="\\n")
    """)
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert {"xinqiao_hello/__init__.py", "xinqiao_hello/manifest.yaml"} <= set(done.stdout.split())


def _imported(path: Path) -> ModuleType:
    spec = util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
