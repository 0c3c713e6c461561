"""Plugins made on the fly: a folder with modules and dist-info, found by the real importlib.metadata."""

import sys
import textwrap
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest

MANIFEST = """\
domain: {name}
names: {{zh: 演示, en: Demo}}
partner_kind: hospital
capabilities: [check, deliver, read, exchange]
contracts:
  written:
    - {{contract: referral, classes: [CASE_REF, IDENTITY, CONTACT]}}
    - {{contract: package, classes: [AGGREGATE, CASE_REF]}}
  read:
    - {{contract: referral, classes: [CASE_REF, DIAGNOSIS]}}
hosts: the partner's own address
legal_bases: ["PIPL art. 13(1)(3)"]
settings: xinqiao_{name}:Settings
api: 1
"""

MODULE = """\
from pydantic import BaseModel

from xinqiao.adapters.hookspecs import hookimpl
from xinqiao.adapters.protocols import AdapterKind
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverResponse, ReadResponse
from xinqiao.api.exchange.v1.exchange_pb2 import SignedReceipt


class Settings(BaseModel):
    port: int = 443


class Adapter:
    def __init__(self, settings, context):
        self.context = context

    def check(self):
        return "demo 1"

    def deliver(self, request, timeout_s):
        return DeliverResponse(receipt="r/" + request.request_id)

    def read(self, cursor):
        yield ReadResponse(cursor=cursor + "1", referral={{"source": "s"}})

    def exchange(self, package, request_id, timeout_s):
        return None

    def close(self):
        pass


@hookimpl
def xinqiao_adapters():
    return [AdapterKind("{name}", Settings, Adapter, lambda s: [f"demo.example:{{s.port}}"], lambda folder: None)]
"""


class Site:
    """A site folder to put plugins in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(
        self,
        name: str,
        *,
        module: str | None = None,
        manifest: str | None = None,
        point: str | None = None,
        distribution: str | None = None,
    ) -> None:
        """Install a plugin; by default a good one. ``point`` is ``name = module``."""
        package = self.folder / f"xinqiao_{name}"
        package.mkdir()
        source = MODULE if module is None else textwrap.dedent(module)
        (package / "__init__.py").write_text(source.format(name=name) if module is None else source, "utf-8")
        (package / "manifest.yaml").write_text(manifest or MANIFEST.format(name=name), "utf-8")
        info = self.folder / f"xinqiao_{name}-1.dist-info"
        info.mkdir()
        dist = distribution or f"xinqiao-{name}"
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1\n", "utf-8")
        (info / "entry_points.txt").write_text(f"[xinqiao]\n{point or f'{name} = xinqiao_{name}'}\n", "utf-8")

    def entry_points(self) -> list[metadata.EntryPoint]:
        found = metadata.distributions(path=[str(self.folder)])
        return [point for dist in found for point in dist.entry_points if point.group == "xinqiao"]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    before = set(sys.modules)
    yield Site(folder)
    for name in set(sys.modules) - before:
        if name.startswith("xinqiao_"):
            del sys.modules[name]


@pytest.fixture
def manifest_text() -> Callable[[str], str]:
    return lambda name: MANIFEST.format(name=name)
