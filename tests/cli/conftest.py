"""The command line as a process of its own, and a deployment for it to work on."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "config" / "gateway.example.yaml"

Run = Callable[..., subprocess.CompletedProcess[str]]


def call(folder: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("XINQIAO_", "LC_", "LANG"))}
    return subprocess.run(
        [sys.executable, "-m", "xinqiao.cli", *map(str, arguments)],
        env=clean | {"LANG": "C"} | environment, cwd=folder, capture_output=True, encoding="utf-8", timeout=60,
        check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs ``xinqiao`` with arguments in an empty folder; keywords are environment variables."""
    return partial(call, tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="module")
def make_config() -> Callable[[Path], Path]:
    """Writes a configuration with both agencies and no key yet; everything it makes lies in its folder."""

    def make(folder: Path) -> Path:
        settings = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
        for name in ("policy", "instruments", "triage", "legal_bases", "district_overlay", "documents", "reports"):
            settings[name] = str(EXAMPLE.parent / settings[name])
        settings["server"]["listen"] = "127.0.0.1:0"
        settings["server"]["tls"] |= {"certificate": "pki/gateway.pem", "key": "pki/gateway.key", "ca": "pki/ca.pem"}
        settings["store"] |= {"url": "sqlite:///records.db", "keys_url": "sqlite:///keys.db", "keyring": "keyring"}
        settings["journal"]["signing_key"] = "pki/journal.key"
        settings["document_key"] = "pki/documents.key"
        school = {"inbox": str(folder / "inbox"), "outbox": str(folder / "outbox"), "school": "3205830001"}
        settings["adapters"] = {
            "kunshan-no1-middle": {"adapter": "school", "settings": school},
            # Nobody answers there.
            "kunshan-mental-health": {"adapter": "hospital", "settings": {"base_url": "http://127.0.0.1:9/fhir"}},
        }
        for partner in settings["partners"].values():
            partner.pop("receipt_key", None)
        for name in ("inbox", "outbox"):
            (folder / name).mkdir()
        path = folder / "gateway.yaml"
        path.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
        return path

    return make


@pytest.fixture
def config(make_config: Callable[[Path], Path], tmp_path: Path) -> Path:
    """Such a configuration in ``tmp_path``."""
    return make_config(tmp_path)
