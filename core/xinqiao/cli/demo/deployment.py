"""A complete deployment in one folder: configuration, keys, certificates and the partners' simulators."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import yaml

from xinqiao.adapters.host import AdapterHost
from xinqiao.cli.demo.agencies import AGENCIES, SettingsDumper, Simulators
from xinqiao.contract.clock import SystemClock
from xinqiao.journal.signing import create_signing_key, load_signing_key, public_key_pem
from xinqiao.server.pki import Authority, write_private
from xinqiao.store.keys import KeyStore

SCHOOL, PSYCHOLOGIST, HOSPITAL, OPERATOR = (
    "kunshan-no1-middle",
    "psych-chen",
    "kunshan-mental-health",
    "bureau-admin",
)
_FOLDERS = ("policy", "instruments", "triage", "legal_bases", "district_overlay", "documents", "reports")


@dataclass(slots=True)
class Deployment:
    """Where everything of the demo lies. ``school`` and ``hospital`` are the simulators, started by ``prepare``."""

    folder: Path
    config: Path
    host: AdapterHost
    school: Any
    hospital: Any
    others: Simulators

    def stop(self) -> None:
        """Stop every simulator."""
        for simulator in (self.school, self.hospital, self.others):
            simulator.stop()

    def channel(self, partner: str, port: int) -> grpc.Channel:
        """A channel with the certificate of ``partner``, as any client would open it."""
        pki = self.folder / "pki"
        credentials = grpc.ssl_channel_credentials(
            (pki / "ca.pem").read_bytes(),
            (pki / "partners" / f"{partner}.key").read_bytes(),
            (pki / "partners" / f"{partner}.pem").read_bytes(),
        )
        options = [("grpc.ssl_target_name_override", "localhost")]
        return grpc.secure_channel(f"127.0.0.1:{port}", credentials, options)


def prepare(folder: Path, example: Path, settings: dict[str, Any], files: str) -> Deployment:
    """Make, or find again, the deployment in ``folder``; ``settings`` go to the school's adapter.

    A folder whose story has ended is cleared; one whose story was interrupted is kept, so that it goes on, unless it was
    a story of other ``files``.
    """
    told = folder / "files"
    if (folder / "ended").exists() or (told.exists() and told.read_text(encoding="utf-8") != files):
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # a real roster may be played, and forms are printed
    told.write_text(files, encoding="utf-8")
    host = AdapterHost.load(["school", "hospital", *(agency.plugin for agency in AGENCIES)])
    missing = {"school", "hospital"} - set(host.kinds)
    if missing:
        raise SystemExit(f"the plugins {sorted(missing)} are not installed: run `make install` ({dict(host.failures)})")
    school = host.kinds["school"].simulator(folder / "school")
    hospital = host.kinds["hospital"].simulator(folder / "hospital")
    others = Simulators(host, folder.resolve())  # a secret is named by its path, which counts from the configuration
    adapters = {
        SCHOOL: {"adapter": "school", "settings": {**school.start(), **settings}},
        HOSPITAL: {"adapter": "hospital", "settings": hospital.start()},
        **others.start(),
    }
    config, spiffes = _write_config(folder, example, adapters, others)
    _make_keys(folder, spiffes)
    for name, simulator in ((SCHOOL, school), (HOSPITAL, hospital), *others.signing()):
        (folder / "pki" / f"{name}.receipt.pub").write_bytes(simulator.receipt_public_key_pem())
    return Deployment(folder, config, host, school, hospital, others)


def _write_config(
    folder: Path, example: Path, adapters: dict[str, Any], others: Simulators
) -> tuple[Path, dict[str, str]]:
    config: dict[str, Any] = yaml.safe_load(example.read_text(encoding="utf-8"))
    for key in _FOLDERS:
        config[key] = str((example.parent / str(config[key])).resolve())
    config["district_overlay"] = str(_write_district(folder, Path(config["district_overlay"])))
    pki = folder.resolve() / "pki"
    config["server"]["listen"] = "127.0.0.1:0"
    config["server"]["tls"] |= {
        "certificate": str(pki / "gateway.pem"), "key": str(pki / "gateway.key"), "ca": str(pki / "ca.pem"),
    }  # fmt: skip
    config["store"] = {
        "url": f"sqlite:///{folder.resolve()}/xinqiao.db",
        "keys_url": f"sqlite:///{folder.resolve()}/keys.db",
        "keyring": str(folder.resolve() / "keyring"),
    }
    config["journal"]["signing_key"] = str(pki / "journal.key")
    config["document_key"] = str(pki / "documents.key")
    config["delivery"]["backoff_s"] = [1, 2, 5, 30, 300]
    for name, entry in adapters.items():
        config["adapters"].setdefault(name, {}).update(entry)
    for name in (SCHOOL, HOSPITAL):
        config["partners"][name]["receipt_key"] = str(pki / f"{name}.receipt.pub")
    if (school := adapters[SCHOOL]["settings"].get("school")) is not None:
        for name in (SCHOOL, PSYCHOLOGIST):
            config["partners"][name]["schools"] = [school]
    for agency in others.agencies:
        config["partners"][agency.id] = agency.partner(config["partners"][SCHOOL]["schools"])
    for name, _ in others.signing():
        config["partners"][name]["receipt_key"] = str(pki / f"{name}.receipt.pub")
    config["exchanges"] |= others.exchanges(SCHOOL)
    path = folder / "gateway.yaml"
    path.write_text(yaml.dump(config, Dumper=SettingsDumper, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path, {name: str(partner["spiffe"]) for name, partner in config["partners"].items()}


def _write_district(folder: Path, shipped: Path) -> Path:
    """The district as shipped, with its expected reports switched on: there, each district does it once all agree."""
    overlay: dict[str, Any] = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    overlay["calendar"] = str((shipped.parent / str(overlay["calendar"])).resolve())
    overlay["cadence"] = str((shipped.parent.parent / "cadence" / "default.yaml").resolve())
    path = folder.resolve() / "district.yaml"
    path.write_text(yaml.safe_dump(overlay, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path


def _make_keys(folder: Path, spiffes: Mapping[str, str]) -> None:
    pki = folder / "pki"
    if (folder / "keyring" / "kek").exists():
        return
    # The certificates are checked by TLS against the machine's clock, whatever month the story plays in.
    (pki / "partners").mkdir(parents=True, exist_ok=True)
    authority = Authority(pki, SystemClock())
    certificate, key = authority.issue("gateway", dns=["localhost"])
    (pki / "gateway.pem").write_bytes(certificate)
    write_private(pki / "gateway.key", key)
    for name, spiffe in spiffes.items():
        certificate, key = authority.issue(name, uris=[spiffe])
        (pki / "partners" / f"{name}.pem").write_bytes(certificate)
        write_private(pki / "partners" / f"{name}.key", key)
    create_signing_key(pki / "journal.key")
    create_signing_key(pki / "documents.key")
    for name in ("journal", "documents"):
        (pki / f"{name}.pub").write_bytes(public_key_pem(load_signing_key(pki / f"{name}.key")))
    KeyStore.create(folder / "keyring")  # last: its presence says that the rest is complete
