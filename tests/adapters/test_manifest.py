"""A plugin's manifest is read strictly: what it does not say exactly is a fault with file, line and key."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xinqiao.adapters.manifest import Manifest, load_manifest, manifest_of
from xinqiao.api.common.v1.options_pb2 import (
    FIELD_CLASS_CASE_REF,
    FIELD_CLASS_DIAGNOSIS,
)
from xinqiao.config.problems import ConfigError


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Manifest]:
    def read(text: str) -> Manifest:
        path = tmp_path / "manifest.yaml"
        path.write_text(text, "utf-8")
        return load_manifest(path)

    return read


def test_a_good_manifest_says_what_it_says(
    read: Callable[[str], Manifest], manifest_text: Callable[[str], str]
) -> None:
    manifest = read(manifest_text("demo"))
    assert (manifest.domain, manifest.names.zh) == ("demo", "演示")
    assert manifest.read_classes("referral") == {FIELD_CLASS_CASE_REF, FIELD_CLASS_DIAGNOSIS}
    assert manifest.takes("package")
    assert not manifest.takes("referral_update")
    assert manifest.brings("rejected")
    assert not manifest.brings("student")


@pytest.mark.parametrize(
    ("old", "new", "key", "line"),
    [
        ("domain: demo", "domain: Demo", "domain", 1),
        ("zh: 演示, ", "", "names.zh", 2),
        ("partner_kind", "partner_knd", "partner_knd", 3),
        ("check, deliver", "check, send", "capabilities[1]", 4),
        (
            "contract: referral, classes: [CASE_REF, IDENTITY",
            "contract: referal, classes: [CASE_REF, IDENTITY",
            "contracts.written[0].contract",
            7,
        ),
        ("CONTACT]", "COUNSELLING_NOTE]", "contracts.written[0].classes[2]", 7),
        ("CONTACT]", "UNSPECIFIED]", "contracts.written[0].classes[2]", 7),
        ("hosts: the partner's own address", "hosts: ''", "hosts", 11),
        ("xinqiao_demo:Settings", "xinqiao_demo.Settings", "settings", 13),
    ],
)
def test_a_fault_names_line_and_key(
    read: Callable[[str], Manifest], manifest_text: Callable[[str], str], old: str, new: str, key: str, line: int
) -> None:
    text = manifest_text("demo")
    assert old in text
    with pytest.raises(ConfigError) as error:
        read(text.replace(old, new))
    assert (key, line) in [(problem.key, problem.line) for problem in error.value.problems]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[check, deliver, read, exchange]", "[check, deliver, read]"),
        ("[check, deliver, read, exchange]", "[check, read, exchange]"),
        ("[check, deliver, read, exchange]", "[check, deliver, exchange]"),
        ("[check, deliver, read, exchange]", "[deliver, read, exchange]"),
        ("contract: package", "contract: referral"),
    ],
)
def test_capabilities_and_contracts_must_agree(
    read: Callable[[str], Manifest], manifest_text: Callable[[str], str], old: str, new: str
) -> None:
    with pytest.raises(ConfigError):
        read(manifest_text("demo").replace(old, new))


def test_a_packaged_manifest_is_found_in_its_module(site: Any) -> None:
    site.add("demo")
    assert manifest_of("xinqiao_demo").domain == "demo"


def test_an_editable_install_keeps_its_manifest_beside_the_module(site: Any) -> None:
    site.add("demo")
    (site.folder / "xinqiao_demo" / "manifest.yaml").rename(site.folder / "manifest.yaml")
    with pytest.raises(ConfigError):
        manifest_of("xinqiao_demo")
    (site.folder / "pyproject.toml").write_text("", "utf-8")
    assert manifest_of("xinqiao_demo").domain == "demo"
