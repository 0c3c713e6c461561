"""What the two READMEs say can be done is done here, as it is written there."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from xinqiao.adapters.files.places import Place
from xinqiao.api.casefile.v1.casefile_service_pb2 import RegisterStudentsRequest
from xinqiao.contract.clock import ManualClock
from xinqiao.store import tables
from xinqiao.testing.gateway import TemporaryGateway, make_deployment
from xinqiao_school.columns import plan_sheet
from xinqiao_school.settings import SchoolSettings, SheetSettings

ROOT = Path(__file__).resolve().parents[2]
READMES = ("README.md", "README.zh-CN.md")
SCHOOL = "kunshan-no1-middle"
_BLOCK = re.compile(r"^<!-- ([a-z-]+)[^\n]*-->\n```[a-z]+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#]+)\)")
# A stand-in for a language's protoc plugin: writes one empty file for each proto; where Go is meant, it refuses a file
# without an import path, as the real one does.
_PLUGIN = f"""#!{sys.executable}
import sys
from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
kind = sys.argv[0].rpartition("protoc-gen-")[2]
request = CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
answer = CodeGeneratorResponse(supported_features=CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL)
lost = [each.name for each in request.proto_file if not each.options.go_package]
if kind.startswith("go") and lost:
    answer.error = f"no go_package: {{lost}}"
for name in request.file_to_generate:
    answer.file.add(name=name + "." + kind, content="")
sys.stdout.buffer.write(answer.SerializeToString())
"""


def _text(readme: str) -> str:
    return (ROOT / readme).read_text("utf-8")


def _blocks(readme: str) -> dict[str, str]:
    return dict(_BLOCK.findall(_text(readme)))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporaryGateway]:
    """A gateway in `var/demo` with the student of the READMEs and a port file, as `make run STAY=1` leaves it."""
    folder = tmp_path_factory.mktemp("home") / "var" / "demo"
    folder.mkdir(parents=True)
    config = make_deployment(folder, ROOT / "config" / "gateway.example.yaml")
    with TemporaryGateway(config, clock=ManualClock(datetime(2026, 11, 2, tzinfo=UTC))) as gate:
        (folder / "port").write_text(str(gate.gateway.port))
        request = RegisterStudentsRequest(request_id="readme-roster")
        request.students.add(
            local_id="SYN-00001", family_name="欧阳", given_name="示例", birth_date="2012-05-04", school="3205830001"
        )
        gate.call(SCHOOL, request)
        yield gate


@pytest.mark.parametrize("readme", READMES)
def test_the_first_call_prints_what_the_page_shows_and_a_repeat_stores_nothing(
    demo: TemporaryGateway, readme: str
) -> None:
    blocks = _blocks(readme)
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-X", "utf8", "-c", blocks["first-rpc"]],
            cwd=demo.folder.parents[1], capture_output=True, text=True, encoding="utf-8", timeout=60, check=False,
        )  # fmt: skip
        assert done.stderr == ""
        assert done.stdout == blocks["first-rpc-answer"]
    with demo.gateway.store.read() as reading:
        assert len(list(reading.all(tables.assessments.select()))) == 1


def test_the_command_shown_for_java_gives_every_contract_to_both_plugins(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    script = f'#!/bin/sh\nexec {sys.executable} -m grpc_tools.protoc "$@"\n'
    environment = _path_with(tmp_path, {"protoc": script, "protoc-gen-java": _PLUGIN, "protoc-gen-grpc-java": _PLUGIN})
    subprocess.run(
        ["sh", "-ec", _blocks("README.md")["client-java"]], cwd=tmp_path, env=environment, check=True, timeout=60
    )
    contracts = {path.relative_to(ROOT / "protos").as_posix() for path in (ROOT / "protos").rglob("*.proto")}
    assert _written(tmp_path / "var/client/java") == {f"{c}.{k}" for c in contracts for k in ("java", "grpc-java")}


def test_the_template_shown_for_go_gives_every_contract_an_import_path(tmp_path: Path) -> None:
    environment = _path_with(tmp_path, {"protoc-gen-go": _PLUGIN, "protoc-gen-go-grpc": _PLUGIN})
    template = tmp_path / "buf.gen.yaml"
    template.write_text(_blocks("README.md")["client-go"], "utf-8")
    buf = Path(sys.executable).parent / "buf"
    done = subprocess.run(
        [str(buf), "generate", str(ROOT), "--template", str(template), "-o", str(tmp_path)],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "xinqiao/api/screening/v1/screening_service.proto.go-grpc" in _written(tmp_path / "var/client/go")


@pytest.mark.parametrize("readme", READMES)
def test_the_mapping_shown_reads_the_sheet_it_describes(readme: str) -> None:
    (raw,) = yaml.safe_load(_blocks(readme)["sheet-mapping"])["sheets"]
    sheet = SheetSettings.model_validate(raw)
    header = ["学号", "日期", *[f"phq{n}" for n in range(1, 10)], *[f"焦虑{n}" for n in range(1, 8)], "身高"]
    plan = plan_sheet(header, sheet, _settings(), Place("sheet"))
    assert plan.names() == header[:-1]


@pytest.mark.parametrize("readme", READMES)
def test_every_header_that_is_called_recognised_is(readme: str) -> None:
    rows = re.findall(r"^\| (?:student|学生|date|日期) \|([^|]*)\|$", _text(readme), re.MULTILINE)
    students, dates = (re.findall(r"`([^`\s]+)`", row) for row in rows)
    items = [f"phq{n}" for n in range(1, 10)]
    assert len(students) == 5
    assert len(dates) == 4
    for student in students:
        for date in dates:
            plan = plan_sheet([date, *items, student], SheetSettings(), _settings(), Place("sheet"))
            assert (plan.student, plan.date) == (student, date)


@pytest.mark.parametrize("items", [("PHQ-9_{}", 9, "PHQ-9"), ("gad{}", 7, "GAD-7"), ("phq{}", 9, "PHQ-9")])
def test_every_spelling_of_the_answers_that_is_called_recognised_is(items: tuple[str, int, str]) -> None:
    pattern, count, instrument = items
    plan = plan_sheet(_header(pattern, count), SheetSettings(), _settings(), Place("sheet"))
    assert [each.instrument for each in plan.instruments] == [instrument]


def test_letters_stand_for_both_questionnaires_together_and_an_id_is_not_needed() -> None:
    header = [*(f"D{n}" for n in range(1, 10)), *(f"A{n}" for n in range(1, 8))]
    plan = plan_sheet(header, SheetSettings(), _settings(), Place("sheet"))
    assert (plan.student, {each.instrument for each in plan.instruments}) == (None, {"PHQ-9", "GAD-7"})


@pytest.mark.parametrize(
    "readme", [*READMES, "config/README.md", "plugins/README.md", "core/xinqiao/journal/README.md"]
)
def test_every_link_leads_somewhere(readme: str) -> None:
    links = [link for link in _LINK.findall(_text(readme)) if "://" not in link]
    assert [link for link in links if not ((ROOT / readme).parent / link).exists()] == []


@pytest.mark.parametrize("readme", READMES)
def test_every_promise_names_a_folder_that_holds_tests(readme: str) -> None:
    folders = {link for link in _LINK.findall(_text(readme)) if link.startswith("tests/") or link.endswith("/tests")}
    assert len(folders) >= 13
    assert [each for each in sorted(folders) if not list((ROOT / each).glob("test_*.py"))] == []


@pytest.mark.parametrize("readme", READMES)
def test_every_make_target_that_is_named_exists(readme: str) -> None:
    named = set(re.findall(r"\bmake (run|test|bench|replay|lint|install|generate)\b", _text(readme)))
    targets = set(re.findall(r"^([a-z-]+):(?!=)", _text("Makefile"), re.MULTILINE))
    assert {"run", "test"} <= named <= targets
    for variable in ("STAY", "ROSTER", "SCORES"):
        assert f"{variable}=" in _text(readme)
        assert variable in _text("Makefile")


def test_both_languages_show_the_same_code_and_the_same_places() -> None:
    one, other = (_text(readme) for readme in READMES)
    assert set(_LINK.findall(one)) - {"README.zh-CN.md"} == set(_LINK.findall(other)) - {"README.md"}
    first, second = (_blocks(readme) for readme in READMES)
    assert first.keys() == second.keys()
    assert (first["client-java"], first["client-go"]) == (second["client-java"], second["client-go"])
    for name in ("tools", "gate"):  # run as they stand in tests/cli/test_story.py; only the remarks are translated
        commands = [re.sub(r"\s*#.*", "", blocks[name]).strip() for blocks in (first, second)]
        assert commands[0] == commands[1]
    mappings = [yaml.safe_load(blocks["sheet-mapping"]) for blocks in (first, second)]
    assert mappings[0] == mappings[1]


@pytest.mark.parametrize("readme", READMES)
def test_a_readme_is_short_and_names_no_machine_of_ours(readme: str) -> None:
    text = _text(readme)
    assert len(text.splitlines()) < 260
    assert re.findall(r"(?<![\w.])/(?:work|home|root|tmp|srv)/", text) == []
    assert set(re.findall(r"https?://([^/)\s]+)", text)) <= {"buf.build"}


def _settings() -> SchoolSettings:
    return SchoolSettings(inbox=Path("in"), outbox=Path("out"), school="S", default_date="2026-10-12")


def _header(pattern: str, count: int) -> list[str]:
    return ["id", *(pattern.format(number) for number in range(1, count + 1))]


def _path_with(folder: Path, programs: dict[str, str]) -> dict[str, str]:
    """An environment that has these programs and little else: nothing may come from a registry or a cache."""
    home = folder / "bin"
    home.mkdir()
    for name, text in programs.items():
        (home / name).write_text(text)
        (home / name).chmod(0o755)
    return {"PATH": f"{home}:/usr/bin:/bin", "HOME": str(folder)}


def _written(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
