"""Plugins written by the scaffold, found by the real importlib.metadata, changed where a test says."""

import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from xinqiao.testing import scaffolding
from xinqiao.testing.conformance import Subject

CONTRACTS = ("referral", "referral_update", "recall", "task")


class Workshop:
    """A folder with plugins, on the path of this process and of those it starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info = folder / "site"
        self.info.mkdir()

    def make(self, name: str, *changes: tuple[str, str, str], protocol: str = "http") -> Subject:
        """A scaffolded plugin, with ``(file, text, other text)`` put in place of one another."""
        contracts = () if protocol == "webhook" else CONTRACTS
        scaffolding.write(scaffolding.Wishes(name, "示例机构", "Example", "hospital", protocol, contracts), self.folder)
        project = self.folder / name
        for file, text, other in changes:
            path = project / (file if file.endswith(".yaml") else f"xinqiao_{name}/{file}")
            source = path.read_text("utf-8")
            assert source.count(text) == 1, f"{file} no longer has: {text}"
            path.write_text(source.replace(text, other), "utf-8")
        dist = self.info / f"xinqiao_{name}-0.1.0.dist-info"
        dist.mkdir()
        (dist / "METADATA").write_text(f"Metadata-Version: 2.1\nName: xinqiao-{name}\nVersion: 0.1.0\n", "utf-8")
        (dist / "entry_points.txt").write_text(f"[xinqiao]\n{name} = xinqiao_{name}\n", "utf-8")
        sys.path[:0] = [str(project), str(self.info)]
        return Subject(name, entry_points=self.entry_points)

    def entry_points(self) -> list[metadata.EntryPoint]:
        found = metadata.distributions(path=[str(self.info)])
        return [point for dist in found for point in dist.entry_points if point.group == "xinqiao"]


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    folder = tmp_path / "workshop"
    folder.mkdir()
    yield Workshop(folder)
    for name in set(sys.modules) - before:
        if name.startswith("xinqiao_"):
            del sys.modules[name]
