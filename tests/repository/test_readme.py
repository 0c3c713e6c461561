"""What the two READMEs say can be done is done here, as it is written there."""

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from xinqiao_school.columns import plan_sheet
from xinqiao_school.settings import SchoolSettings, SheetSettings

from xinqiao.adapters.files.places import Place
from xinqiao.api.casefile.v1.casefile_service_pb2 import RegisterStudentsRequest
from xinqiao.contract.clock import ManualClock
from xinqiao.store import tables
from xinqiao.testing.gateway import TemporaryGateway, make_deployment

ROOT = Path(__file__).resolve().parents[2]
READMES = ("README.md", "README.zh-CN.md")
SCHOOL = "kunshan-no1-middle"
_BLOCK = re.compile(r"^<!-- ([a-z-]+)[^\n]*-->\n```[a-z]+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#]+)\)")
# A stand-in for protoc-gen-go: it refuses a file without an import path for Go, as the real one does.
_GO_PLUGIN = f"""#!{sys.executable}
import sys
from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
request = CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
answer = CodeGeneratorResponse(supported_features=CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL)
lost = [each.name for each in request.proto_file if not each.options.go_package]
answer.error = f"no go_package: {{lost}}" if lost else ""
for name in request.file_to_generate:
    answer.file.add(name=name + ".go", content="")
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
            local_id="SYN-00001", family_name="欧阳", given_name="示例", birth_date="2012-05-04", school="3205830001", sex=1
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


def test_the_java_client_is_generated_by_the_command_shown(tmp_path: Path) -> None:
    (tmp_path / "protos").symlink_to(ROOT / "protos")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    command = _blocks("README.md")["client-java"]
    # `find` does not enter a folder that is a link.
    command = command.replace(".venv/bin/python", sys.executable).replace("find protos", "find -L protos")
    subprocess.run(["sh", "-ec", command], cwd=tmp_path, check=True, timeout=60)
    written = {path.name for path in (tmp_path / "var" / "client" / "java").rglob("*.java")}
    assert {"ScreeningServiceOuterClass.java", "ReferralOuterClass.java"} <= written


def test_the_buf_template_generates_a_client_for_go(tmp_path: Path) -> None:
    plugins = tmp_path / "bin"
    plugins.mkdir()
    for name in ("protoc-gen-go", "protoc-gen-go-grpc"):
        (plugins / name).write_text(_GO_PLUGIN)
        (plugins / name).chmod(0o755)
    template = tmp_path / "buf.gen.yaml"
    template.write_text(_blocks("README.md")["client-go"], "utf-8")
    # All of the environment but this is left out: nothing may come from a registry or a cache.
    environment = {"PATH": f"{plugins}:/usr/bin:/bin", "HOME": str(tmp_path)}
    buf = Path(sys.executable).parent / "buf"
    done = subprocess.run(
        [str(buf), "generate", str(ROOT), "--template", str(template), "-o", str(tmp_path)],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "var" / "client" / "go").rglob("screening_service.proto.go"))


@pytest.mark.parametrize("readme", READMES)
def test_the_mapping_shown_reads_the_sheet_it_describes(readme: str) -> None:
    (raw,) = yaml.safe_load(_blocks(readme)["sheet-mapping"])["sheets"]
    sheet = SheetSettings.model_validate(raw)
    header = ["学号", "日期", *[f"phq{n}" for n in range(1, 10)], *[f"焦虑{n}" for n in range(1, 8)], "身高"]
    plan = plan_sheet(header, sheet, _settings(), Place("sheet"))
    assert plan.names() == header[:-1]


@pytest.mark.parametrize("readme", READMES)
def test_every_header_that_is_called_recognised_is(readme: str) -> None:
    rows = [line.split("|")[2] for line in _text(readme).splitlines() if re.match(r"\| (student|学生|date|日期) \|", line)]
    students, dates = (re.findall(r"`([^`\s]*[A-Za-z_\u4e00-\u9fff][^`\s]*)`", row) for row in rows)
    items = [f"phq{n}" for n in range(1, 10)]
    dates.remove("make run") if "make run" in dates else None
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


@pytest.mark.parametrize("readme", (*READMES, "config/README.md", "plugins/README.md"))
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
    named = set(re.findall(r"\bmake (run|test|bench|lint|install|generate)\b", _text(readme)))
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
    mappings = [yaml.safe_load(blocks["sheet-mapping"]) for blocks in (first, second)]
    assert mappings[0] == mappings[1]


@pytest.mark.parametrize("readme", READMES)
def test_a_readme_is_short_and_names_no_machine_of_ours(readme: str) -> None:
    text = _text(readme)
    assert len(text.splitlines()) < 220
    assert re.findall(r"(?<![\w.])/(?:work|home|root|tmp|srv)/", text) == []
    assert set(re.findall(r"https?://([^/)\s]+)", text)) <= {"buf.build"}


def _settings() -> SchoolSettings:
    return SchoolSettings(inbox=Path("in"), outbox=Path("out"), school="S", default_date="2026-10-12")


def _header(pattern: str, count: int) -> list[str]:
    return ["id", *(pattern.format(number) for number in range(1, count + 1))]
