"""Secrets, private files, the district overlay and the schema."""

from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
from pydantic import BaseModel

from xinqiao.config import (
    Bundle,
    ConfigError,
    Secret,
    check_files,
    district_schema,
    json_schema,
    load,
    load_district,
    load_gateway,
    parse_duration,
)
from xinqiao.config.document import read_document

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "config" / "gateway.example.yaml"


class SchoolSettings(BaseModel):
    inbox: str
    outbox: str
    school: str
    encoding: str = "utf-8"


class HospitalSettings(BaseModel):
    base_url: str
    poll_seconds: int = 5


class WithSecret(BaseModel):
    token: Secret


class Loose(BaseModel):
    anything: dict[str, object]


MODELS: dict[str, type[BaseModel]] = {"school": SchoolSettings, "hospital": HospitalSettings}


def _node(folder: Path) -> Path:
    """A copy of the example with every file it names."""
    text = EXAMPLE.read_text(encoding="utf-8").replace("../var/", "var/")
    (folder / "gateway.yaml").write_text(text, encoding="utf-8")
    for name in ("gateway.pem", "gateway.key", "ca.pem", "journal.key", "documents.key"):
        _private(folder / "var" / "pki" / name)
    for name in ("keyring/kek", "hospital/receipt.pub", "school/receipt.pub"):
        _private(folder / "var" / name)
    for name in (
        "policy/legal_bases.yaml",
        "instruments/x.yaml",
        "triage/default.yaml",
        "documents/x.yaml",
        "reports/x.yaml",
    ):
        _private(folder / name)
    overlay = folder / "districts" / "320583.yaml"
    overlay.parent.mkdir()
    overlay.write_bytes((ROOT / "config" / "districts" / "320583.yaml").read_bytes())
    calendar = folder / "calendars" / "320583.yaml"
    calendar.parent.mkdir()
    calendar.write_bytes((ROOT / "config" / "calendars" / "320583.yaml").read_bytes())
    return folder / "gateway.yaml"


def _private(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    path.chmod(0o600)


def _found(path: Path) -> list[tuple[str, str]]:
    return [(found.reason, found.key) for found in check_files(load_gateway(path, MODELS))]


def test_a_complete_node_has_no_problem(tmp_path: Path) -> None:
    path = _node(tmp_path)
    Bundle(path, MODELS).check()
    assert _found(path) == []


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("var/pki/gateway.key", "server.tls.key"),
        ("var/keyring/kek", "store.keyring"),
        ("var/pki/journal.key", "journal.signing_key"),
    ],
)
def test_a_private_file_that_others_may_read_is_refused_with_its_line(tmp_path: Path, name: str, key: str) -> None:
    path = _node(tmp_path)
    (tmp_path / name).chmod(0o640)
    assert _found(path) == [("CONFIG/SECRET_MODE", key)]
    assert check_files(load_gateway(path, MODELS))[0].line > 10


def test_an_absent_file_is_told(tmp_path: Path) -> None:
    path = _node(tmp_path)
    (tmp_path / "var" / "pki" / "ca.pem").unlink()
    assert _found(path) == [("CONFIG/FILE", "server.tls.ca")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        ("07:af # lost laptop\n\nnot a serial\n", "line 3 of it is no serial number"),
        (b"\xff\xfe\x00", "it cannot be read as text"),
    ],
    ids=["missing", "no serial", "binary"],
)
def test_a_deny_list_that_would_deny_everybody_is_told_with_its_line_before_the_start(
    tmp_path: Path, content: str | bytes | None, message: str
) -> None:
    path = _node(tmp_path)
    named = "deny_list: denied.txt"
    path.write_text(path.read_text("utf-8").replace("deny_list: null", named), "utf-8")
    if content is not None:
        (tmp_path / "denied.txt").write_bytes(content.encode() if isinstance(content, str) else content)
    (problem,) = check_files(load_gateway(path, MODELS))
    line = next(n for n, text in enumerate(path.read_text("utf-8").splitlines(), 1) if named in text)
    assert (problem.reason, problem.key, problem.line) == ("CONFIG/FILE", "server.tls.deny_list", line)
    assert problem.message == message
    with pytest.raises(ConfigError, match=f"gateway.yaml:{line}:5: server.tls.deny_list"):
        Bundle(path, MODELS).check()


def test_a_sound_deny_list_is_no_problem(tmp_path: Path) -> None:
    path = _node(tmp_path)
    path.write_text(path.read_text("utf-8").replace("deny_list: null", "deny_list: denied.txt"), "utf-8")
    (tmp_path / "denied.txt").write_text("# revoked\n07:AF:10\n1b # lost laptop\n")
    assert _found(path) == []


def test_a_private_file_inside_a_repository_is_refused(tmp_path: Path) -> None:
    path = _node(tmp_path)
    (tmp_path / ".git").mkdir()
    assert ("CONFIG/SECRET", "journal.signing_key") in _found(path)
    assert check_files(load_gateway(path, MODELS), allow_repository=True) == []


def test_an_environment_secret_that_is_not_set_is_told_only_by_the_file_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _node(tmp_path)
    path.write_text(path.read_text().replace("  keyring:", "  password: !env XQ_TEST_PW\n  keyring:"))
    monkeypatch.delenv("XQ_TEST_PW", raising=False)
    assert _found(path) == [("CONFIG/SECRET", "store.password")]
    monkeypatch.setenv("XQ_TEST_PW", "hunter2")
    assert _found(path) == []


def test_a_secret_is_read_only_when_revealed_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("token: !file token.txt\n")
    _private(tmp_path / "token.txt")
    (tmp_path / "token.txt").write_text("hunter2\n")
    settings = load(tmp_path / "a.yaml", WithSecret)
    assert settings.token.reveal() == "hunter2"
    assert "hunter2" not in repr(settings) + settings.model_dump_json()


def test_a_secret_tag_under_a_field_that_takes_anything_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("anything:\n  inner: !env XQ_TOKEN\n")
    with pytest.raises(ConfigError, match=r"a.yaml:2:3: anything.inner: .*CONFIG/TAG"):
        load(tmp_path / "a.yaml", Loose)


def test_a_secret_file_that_others_may_read_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("token: !file token.txt\n")
    (tmp_path / "token.txt").write_text("hunter2")
    (tmp_path / "token.txt").chmod(0o644)
    with pytest.raises(PermissionError):
        load(tmp_path / "a.yaml", WithSecret).token.reveal()


def test_an_overlay_of_another_district_is_refused(tmp_path: Path) -> None:
    path = _node(tmp_path)
    path.write_text(path.read_text().replace('district: "320583"', 'district: "320585"'))
    with pytest.raises(ConfigError, match=r"320583.yaml:5:1: district: .*CONFIG/CONFLICT"):
        _ = Bundle(path, MODELS).district


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("channels: [kunshan-mental-health]", "channels: [nobody]", "crisis.channels"),
        ("rosters: []", 'rosters: [{school: "1", week: {MON: nobody}, stand_in: psych-chen}]', "rosters"),
        ("child-psychiatry: [kunshan-mental-health]", "child-psychiatry: [nobody]", "services"),
    ],
)
def test_an_overlay_that_names_a_partner_there_is_not_is_refused(tmp_path: Path, old: str, new: str, key: str) -> None:
    path = _node(tmp_path)
    overlay = tmp_path / "districts" / "320583.yaml"
    overlay.write_text(overlay.read_text("utf-8").replace(old, new), "utf-8")
    with pytest.raises(ConfigError, match=rf"{key}.*no such partner.*CONFIG/REFERENCE"):
        Bundle(path, MODELS).check()


def test_without_an_overlay_the_default_clocks_hold(tmp_path: Path) -> None:
    path = _node(tmp_path)
    path.write_text(path.read_text().replace("district_overlay: districts/320583.yaml", "district_overlay: null"))
    assert Bundle(path, MODELS).district.clocks.RED.accept == timedelta(hours=24)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("notify_duty: P1M", "CONFIG/DURATION"),
        ("notify_duty: 24", "CONFIG/DURATION"),
        ("ladder: [OPERATOR, OPERATOR]", "CONFIG/CONFLICT"),
        ("clocks: {RED: {acknowledge: PT5H, guardian: PT6H, accept: PT24H, outcome: P7D}}", "CONFIG/CONFLICT"),
        ("phone_list: [{names: {zh: a, en: b}, phone: 110}]", "CONFIG/TYPE"),
    ],
)
def test_a_bad_district_line_is_refused(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "d.yaml"
    path.write_text(f'district: "320583"\n{line}\n')
    with pytest.raises(ConfigError) as caught:
        load_district(path)
    assert [(found.reason, found.line) for found in caught.value.problems] == [(reason, 2)]


@pytest.mark.parametrize(
    ("text", "seconds"), [("PT30M", 1800), ("P7D", 604_800), ("PT24H", 86_400), ("P1DT12H", 129_600), ("PT5S", 5)]
)
def test_a_duration_is_read_exactly(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "P1DT", "P1Y", "P1M", "PT0S", "-PT1H", "PT1.5H", "30m", "PT1H ", "P٣D"]
)
def test_anything_else_is_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError):
        parse_duration(text)


def test_the_schema_accepts_the_example_and_tells_plugins_apart() -> None:
    checker = jsonschema.Draft202012Validator(json_schema(MODELS))
    raw = read_document(EXAMPLE).raw
    assert list(checker.iter_errors(raw)) == []
    raw["adapters"]["kunshan-mental-health"]["settings"] = {"inbox": "a", "outbox": "b"}
    assert list(checker.iter_errors(raw)) != []


def test_the_district_schema_accepts_the_example() -> None:
    raw = read_document(ROOT / "config" / "districts" / "320583.yaml").raw
    assert list(jsonschema.Draft202012Validator(district_schema()).iter_errors(raw)) == []


def test_every_key_of_the_schema_has_a_description() -> None:
    for name, part in json_schema(MODELS)["$defs"].items():
        bare = [key for key, rule in part.get("properties", {}).items() if "description" not in rule]
        assert name in ("SchoolSettings", "HospitalSettings") or bare == []


def test_the_example_loads_with_its_district() -> None:
    bundle = Bundle(EXAMPLE, MODELS)
    assert set(bundle.gateway.partners) == {"kunshan-no1-middle", "psych-chen", "kunshan-mental-health", "bureau-admin"}
    assert bundle.gateway.exchanges["school-hospital-monthly"].schedule.run.working
    assert bundle.district.clocks.RED.acknowledge.total_seconds() == 1800


@pytest.mark.parametrize("path", sorted((ROOT / "config" / "districts").glob("*.yaml")), ids=lambda path: path.name)
def test_every_district_file_loads_and_is_named_for_its_code(path: Path) -> None:
    assert load_district(path).district == path.stem
