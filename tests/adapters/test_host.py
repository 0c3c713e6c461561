"""Plugins are loaded one at a time, and each harms at most itself."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xinqiao.adapters.errors import AdapterConfigError, PartnerRefused
from xinqiao.adapters.host import AdapterHost, AgencySpec
from xinqiao.api.gateway.v1.gateway_service_pb2 import (
    AGENCY_STATE_DISABLED,
    AGENCY_STATE_FAILED,
    AGENCY_STATE_READY,
)

NO_HOOK = "VALUE = 1\n"
MISSPELT = """
    from xinqiao.adapters.hookspecs import hookimpl
    @hookimpl
    def xinqiao_adaptors():
        return []
"""
RAISING_HOOK = """
    from xinqiao.adapters.hookspecs import hookimpl
    @hookimpl
    def xinqiao_adapters():
        raise RuntimeError("no way")
"""
WRONG_ARGUMENT = """
    from xinqiao.adapters.hookspecs import hookimpl
    @hookimpl
    def xinqiao_adapters(config):
        return []
"""
RETURNS_STRINGS = """
    from xinqiao.adapters.hookspecs import hookimpl
    @hookimpl
    def xinqiao_adapters():
        return ["kind"]
"""
OTHER_KIND_NAME = """
    from pydantic import BaseModel
    from xinqiao.adapters.hookspecs import hookimpl
    from xinqiao.adapters.protocols import AdapterKind
    class Settings(BaseModel):
        pass
    @hookimpl
    def xinqiao_adapters():
        return [AdapterKind("clinic", Settings, print, print, print)]
"""


def spec(agency: str = "demo-1", kind: str = "demo", **changes: Any) -> AgencySpec:
    given: dict[str, Any] = {"agency": agency, "names": {"en": "Demo"}, "kind": kind, "settings": {}}
    return AgencySpec(**(given | changes))


def load(site: Any, allowed: list[str] | None = None) -> AdapterHost:
    return AdapterHost.load(allowed, entry_points=site.entry_points)


def test_a_good_plugin_is_loaded_with_its_settings_model(site: Any) -> None:
    site.add("demo")
    host = load(site)
    assert dict(host.failures) == {}
    assert list(host.settings_models()["demo"].model_fields) == ["port"]


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("raise ValueError('at import')\n", "importing xinqiao_broken raised ValueError: at import"),
        ("import no_such_module_here\n", "ModuleNotFoundError"),
        ("def f(:\n", "SyntaxError"),
        ("import sys\nsys.exit(3)\n", "SystemExit"),
        (NO_HOOK, "exactly one kind"),
        (MISSPELT, "misspelt"),
        (WRONG_ARGUMENT, "other arguments"),
        (RAISING_HOOK, "hook raised RuntimeError: no way"),
        (RETURNS_STRINGS, "must return an AdapterKind, not str"),
        (OTHER_KIND_NAME, "must be called broken"),
    ],
    ids=["import", "missing", "syntax", "exit", "no-hook", "misspelt", "argument", "raises", "strings", "kind-name"],
)
def test_a_broken_plugin_is_listed_with_its_reason_and_the_others_load(site: Any, module: str, why: str) -> None:
    site.add("alpha")
    site.add("broken", module=module)
    site.add("demo")
    host = load(site)
    assert set(host.kinds) == {"alpha", "demo"}
    assert why in host.failures["broken"]


def test_a_distribution_of_another_name_is_refused_before_its_import(site: Any) -> None:
    site.add("demo", distribution="evil-hospital")
    host = load(site)
    assert "evil-hospital" in host.failures["demo"]
    assert "xinqiao_demo" not in sys.modules


def test_a_distribution_named_with_an_underscore_is_the_same_name(site: Any) -> None:
    site.add("night_line", distribution="xinqiao_night_line")
    assert list(load(site).kinds) == ["night_line"]


@pytest.mark.parametrize("point", ["demo = xinqiao_other", "demo = xinqiao_demo:thing", "Demo = xinqiao_demo"])
def test_an_entry_point_that_names_another_module_is_refused(site: Any, point: str) -> None:
    site.add("demo", point=point)
    host = load(site)
    assert host.kinds == {}
    assert "entry point" in next(iter(host.failures.values()))


def test_a_manifest_of_another_domain_is_refused(site: Any, manifest_text: Callable[[str], str]) -> None:
    site.add("demo", manifest=manifest_text("demo").replace("domain: demo", "domain: clinic"))
    assert "domain must be demo" in load(site).failures["demo"]


def test_a_manifest_whose_settings_are_another_class_is_refused(site: Any, manifest_text: Callable[[str], str]) -> None:
    site.add("demo", manifest=manifest_text("demo").replace(":Settings", ":Adapter"))
    assert "not the class its kind uses" in load(site).failures["demo"]


def test_a_manifest_with_a_fault_names_file_line_and_key(site: Any, manifest_text: Callable[[str], str]) -> None:
    site.add("demo", manifest=manifest_text("demo").replace("IDENTITY", "IDENTTY"))
    why = load(site).failures["demo"]
    assert "manifest.yaml:7:" in why
    assert "contracts.written[0].classes[1]" in why


def test_an_unlisted_plugin_is_not_imported_and_named_in_one_warning(
    site: Any, caplog: pytest.LogCaptureFixture
) -> None:
    site.add("demo")
    site.add("extra", module="raise AssertionError('imported')\n")
    site.add("other", module="raise AssertionError('imported')\n")
    with caplog.at_level(logging.WARNING, "xinqiao.adapters"):
        host = load(site, ["demo"])
    assert list(host.kinds) == ["demo"]
    assert dict(host.failures) == {}
    assert [record.getMessage() for record in caplog.records if "extra, other" in record.getMessage()] != []
    assert len(caplog.records) == 1
    assert "xinqiao_extra" not in sys.modules


def test_two_hosts_in_one_process_do_not_share_plugins(site: Any) -> None:
    site.add("alpha")
    site.add("demo")
    assert list(load(site, ["alpha"]).kinds) == ["alpha"]
    assert list(load(site, ["demo"]).kinds) == ["demo"]


def test_an_agency_starts_ready_and_answers(site: Any, tmp_path: Path) -> None:
    site.add("demo")
    host = load(site)
    handle = host.start({"demo-1": spec()}, deployment="test", folder=tmp_path / "data")["demo-1"]
    assert handle.state == AGENCY_STATE_READY
    assert handle.check() == "demo 1"
    assert (tmp_path / "data" / "demo-1").stat().st_mode & 0o777 == 0o700
    host.close()


def test_an_agency_whose_plugin_failed_is_failed_with_the_reason_and_the_others_start(
    site: Any, tmp_path: Path
) -> None:
    site.add("demo")
    site.add("broken", module=RAISING_HOOK)
    host = load(site)
    handles = host.start(
        {"a": spec("a", "broken"), "b": spec("b"), "c": spec("c", "absent")}, deployment="test", folder=tmp_path
    )
    assert handles["a"].state == AGENCY_STATE_FAILED
    assert "no way" in handles["a"].message
    assert handles["b"].state == AGENCY_STATE_READY
    assert "no such plugin" in handles["c"].message
    with pytest.raises(PartnerRefused) as refused:
        handles["a"].check()
    assert refused.value.reason == "ADAPTER/FAILED"
    host.close()


def test_wrong_settings_fail_the_agency_and_name_the_key_without_the_value(site: Any, tmp_path: Path) -> None:
    site.add("demo")
    host = load(site)
    handle = host.start({"demo-1": spec(settings={"port": "sekret-value"})}, deployment="test", folder=tmp_path)[
        "demo-1"
    ]
    assert handle.state == AGENCY_STATE_FAILED
    assert "settings.port" in handle.message
    assert "sekret" not in handle.message
    host.close()


def test_a_disabled_agency_makes_no_adapter(site: Any, tmp_path: Path) -> None:
    site.add("demo")
    host = load(site)
    handle = host.start({"demo-1": spec(enabled=False)}, deployment="test", folder=tmp_path / "data")["demo-1"]
    assert handle.state == AGENCY_STATE_DISABLED
    assert not (tmp_path / "data").exists()
    with pytest.raises(PartnerRefused) as refused:
        handle.check()
    assert refused.value.reason == "ADAPTER/DISABLED"


def test_the_transport_reaches_only_the_hosts_of_the_settings(site: Any, tmp_path: Path) -> None:
    site.add("demo")
    seen: list[Any] = []
    host = load(site)
    create = host.kinds["demo"].create

    def spy(settings: Any, context: Any) -> Any:
        seen.append(context.http.allowed)
        return create(settings, context)

    object.__setattr__(host.kinds["demo"], "create", spy)
    host.start({"demo-1": spec(settings={"port": 8443})}, deployment="test", folder=tmp_path)
    assert seen == [frozenset({"demo.example:8443"})]
    host.close()


@pytest.mark.parametrize(
    "change",
    [{"agency": "../x"}, {"agency": ""}, {"deadline_s": 0}, {"concurrency": 0}, {"breaker_failures": 0}],
)
def test_a_spec_that_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(AdapterConfigError):
        spec(**change)
