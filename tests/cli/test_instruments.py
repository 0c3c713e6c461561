"""`xinqiao instruments`: in this process, since each command is read-only; once as the process people start."""

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from xinqiao.cli.app import main

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "config" / "instruments"
CASES = ROOT.parent / "shared" / "data" / "scoring_cases.csv"


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


Ask = Callable[..., Done]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Runs ``xinqiao`` with arguments, in English unless told otherwise."""
    for name in ("XINQIAO_LANG", "LC_ALL", "LC_MESSAGES", "XINQIAO_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C")

    def call(*arguments: object) -> Done:
        code = main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return Done(code, shown.out, shown.err)

    return call


def test_an_incomplete_phq9_prints_no_total_and_its_critical_item(run: Run):
    done = run("instruments", "score", "PHQ-9", "--answers", "2,1,,3,0,1,0,0,1", "--json", "--folder", SHIPPED)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "instrument": "PHQ-9", "version": 1, "scores": {"total": None}, "category": "incomplete",
        "critical": ["item9"], "complete": False,
    }  # fmt: skip


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("answers", "reason", "place"),
    [
        ("2,1,0,77,0,1,0,0,1", "ANSWER_RANGE", "4"),
        ("2,1,0,-77,0,1,0,0,1", "ANSWER_RANGE", "4"),
        ("2,1,0,seventyseven,0,1,0,0,1", "ANSWER_FORMAT", "4"),
        ("2,1,0,7.7,0,1,0,0,1", "ANSWER_FORMAT", "4"),
        ("2,1,0,255,0,1,0,0,1", "ANSWER_RANGE", "4"),
        ("2,1,0", "ANSWER_COUNT", "9"),
    ],
)
def test_refused_answers_exit_65_with_reason_place_and_mend_but_without_the_value(
    ask: Ask, language: str, answers: str, reason: str, place: str
):
    done = ask("--lang", language, "instruments", "score", "PHQ-9", f"--answers={answers}", "--folder", SHIPPED)
    assert (done.returncode, done.stdout) == (65, "")
    assert reason in done.stderr and place in done.stderr
    assert not any(value in done.stderr for value in ("77", "seventy", "7.7", "255"))


def test_scl90_wants_its_coding_and_says_which_there_are(ask: Ask):
    ones = ",".join("1" * 90)
    asked = ask("instruments", "score", "SCL-90", "--answers", ones, "--folder", SHIPPED)
    assert asked.returncode == 65 and "CODING_REQUIRED" in asked.stderr and "1-5, 0-4" in asked.stderr
    given = ask("instruments", "score", "SCL-90", "--answers", ones, "--coding", "1-5", "--json", "--folder", SHIPPED)
    assert json.loads(given.stdout)["scores"]["total"] == 90
    doubtful = ask("instruments", "score", "SCL-90", "--answers", ones, "--coding", "0-4", "--folder", SHIPPED)
    assert doubtful.returncode == 0 and "lowest of coding 0-4" in doubtful.stderr
    primary = ask(
        "instruments", "score", "SCL-90", "--answers", ones, "--coding", "1-5", "--grade", 5, "--folder", SHIPPED
    )
    assert primary.returncode == 65 and "NOT_SUITED" in primary.stderr


def test_an_instrument_that_is_off_is_scored_and_says_so(ask: Ask):
    done = ask(
        "--lang", "zh", "instruments", "score", "SDQ", "--answers", ",".join("1" * 25), "--json", "--folder", SHIPPED
    )
    assert done.returncode == 0 and "须有授权" in done.stderr
    assert json.loads(done.stdout)["version"] == "YR1"


def test_a_sheet_gets_a_line_per_row_and_each_bad_row_its_reason(ask: Ask, tmp_path: Path):
    sheet = tmp_path / "class.csv"
    sheet.write_text(
        "student,q1,q2,q3,q4,q5,q6,q7,q8,q9\n"
        "S1,0,0,0,0,0,0,0,0,1\nS2,1,1,NA,1,1,1,1,1,0\nS3,9,0,0,0,0,0,0,0,0\nS4,x,0,0,0,0,0,0,0,0\nS5,1\n",
        encoding="utf-8",
    )
    done = ask("instruments", "score", "PHQ-9", "--sheet", sheet, "--missing", "NA", "--json", "--folder", SHIPPED)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 65
    assert [line["row"] for line in lines] == [2, 3, 4, 5, 6]
    assert (lines[0]["critical"], lines[0]["category"], lines[1]["category"]) == (["item9"], "minimal", "incomplete")
    assert [(line["refused"], line["item"]) for line in lines[2:]] == [
        ("ANSWER_RANGE", 1), ("ANSWER_FORMAT", 1), ("ANSWER_COUNT", None),
    ]  # fmt: skip
    assert "2 scored, 3 refused" in done.stderr
    assert "S3" not in done.stdout + done.stderr


def test_a_sheet_of_another_coding_is_refused_whole_with_the_row_of_the_sheet(ask: Ask, tmp_path: Path):
    sheet = tmp_path / "class.csv"
    rows = [["x"] * 90, ["1"] * 90, ["2"] * 89 + ["0"]]
    sheet.write_text("\n".join(",".join(row) for row in rows), encoding="utf-8")
    done = ask("instruments", "score", "SCL-90", "--sheet", sheet, "--coding", "1-5", "--folder", SHIPPED)
    assert (done.returncode, done.stdout) == (65, "")
    assert "CODING_MISMATCH: form 3, item 90" in done.stderr


def test_a_gb18030_sheet_needs_its_declaration(ask: Ask, tmp_path: Path):
    sheet = tmp_path / "班级.csv"
    sheet.write_bytes("学生,一,二,三,四,五,六,七\n张三,1,1,1,1,1,1,1\n".encode("gb18030"))
    guessed = ask("instruments", "score", "GAD-7", "--sheet", sheet, "--folder", SHIPPED)
    assert guessed.returncode == 65 and "ENCODING" in guessed.stderr
    declared = ask(
        "instruments", "score", "GAD-7", "--sheet", sheet, "--encoding", "gb18030", "--json", "--folder", SHIPPED
    )
    assert json.loads(declared.stdout)["scores"] == {"total": 7}


def test_list_shows_who_is_in_use_and_why_the_others_are_not(ask: Ask):
    english = ask("instruments", "list", "--folder", SHIPPED)
    chinese = ask("--lang", "zh", "instruments", "list", "--folder", SHIPPED)
    line = next(line for line in english.stdout.splitlines() if line.strip().startswith("MHT"))
    assert "off" in line and "needs a licence" in line and "from memory, not confirmed: scores, bands" in line
    assert "in use" in next(line for line in english.stdout.splitlines() if "PHQ-9" in line)
    assert "须有授权，尚未登记" in chinese.stdout and "依据未经核实" in chinese.stdout


def test_list_reads_the_gateway_and_shows_the_licence_its_operator_recorded(ask: Ask, config: Path):
    overlay = config.parent / "own"
    overlay.mkdir()
    (overlay / "sdq.yaml").write_text(
        'id: SDQ\nenabled: true\nlicence: {record: "letter 2026-17"}\nconfirmed: {bands: by the scoring sheet}\n',
        encoding="utf-8",
    )
    config.write_text(config.read_text(encoding="utf-8") + "instruments_overlay: own\n", encoding="utf-8")
    done = ask("instruments", "list", "--config", config, "--json")
    sdq = next(each for each in json.loads(done.stdout) if each["id"] == "SDQ")
    assert (sdq["enabled"], sdq["licence_record"], sdq["unconfirmed"]) == (True, "letter 2026-17", [])
    checked = ask("config", "check", "--no-files", config)
    assert checked.returncode == 0, checked.stderr


def test_show_prints_cut_offs_rules_and_sources_in_both_languages(ask: Ask):
    english = ask("instruments", "show", "phq-9", "--folder", SHIPPED)
    assert (
        "phq9-manual" in english.stdout and "20-27 severe" in english.stdout and "Instruction Manual" in english.stdout
    )
    chinese = ask("--lang", "zh", "instruments", "show", "C-SSRS", "--folder", SHIPPED)
    assert "哥伦比亚自杀严重程度评定量表" in chinese.stdout and "高风险" in chinese.stdout
    assert json.loads(ask("instruments", "show", "K10", "--json", "--folder", SHIPPED).stdout)["items"] == 10


def test_check_tells_every_problem_with_file_line_and_key_and_exits_78(ask: Ask, tmp_path: Path):
    shutil.copy(SHIPPED / "gad-7.yaml", tmp_path / "good.yaml")
    k6 = (SHIPPED / "k6.yaml").read_text(encoding="utf-8").replace("max: 12", "max: 11")
    bad = k6.replace("items: 6", "items: six")
    (tmp_path / "bad.yaml").write_text(bad, encoding="utf-8")
    worse = k6.replace("enabled: false", "enabled: true").replace("id: K6", "id: K7")
    (tmp_path / "worse.yaml").write_text(worse, encoding="utf-8")
    done = ask("--lang", "zh", "instruments", "check", tmp_path)
    assert done.returncode == 78
    gap = worse[: worse.index("{min: 13")].count("\n") + 1
    assert f"{tmp_path / 'bad.yaml'}:5: items: 应为整数" in done.stderr
    assert f"{tmp_path / 'worse.yaml'}:{gap}: bands[0].ranges[1]: 在 12 处有空缺或重叠" in done.stderr
    assert "enabled: 依据未经核实（bands, licence）" in done.stderr
    assert "3 个问题" in done.stderr and "good.yaml" not in done.stderr
    assert ask("instruments", "check", tmp_path / "good.yaml").returncode == 0


def test_schema_is_a_json_schema_of_an_instrument(ask: Ask):
    schema = json.loads(ask("instruments", "schema").stdout)
    assert {"id", "scores", "critical", "licence"} <= set(schema["properties"])


@pytest.mark.parametrize("arguments", [["score", "PHQ-9"], ["score", "PHQ-9", "--answers", "1", "--sheet", "x.csv"]])
def test_score_wants_one_source_of_answers(ask: Ask, arguments: list[str]):
    assert ask("instruments", *arguments, "--folder", SHIPPED).returncode == 64


def test_an_unknown_instrument_is_answered_with_those_there_are(ask: Ask):
    done = ask("instruments", "show", "PHQ-8", "--folder", SHIPPED)
    assert done.returncode == 65 and "PHQ-9" in done.stderr


def test_every_shared_case_comes_out_of_the_command_line_with_its_ids(ask: Ask, tmp_path: Path):
    if not CASES.exists():
        pytest.skip("scoring_cases.csv is not here")
    with CASES.open(encoding="utf-8", newline="") as file:
        cases = [row for row in csv.DictReader(file) if not row["answers"].startswith("multiset")]
    sheets: dict[str, list[dict[str, str]]] = {}
    for case in cases:
        sheets.setdefault(case["instrument"], []).append(case)
    for name, rows in sheets.items():
        text = "\n".join(row["answers"].replace(";", ",") for row in rows)
        file = tmp_path / f"{name}.csv"
        file.write_text(text, encoding="utf-8")
        done = ask("instruments", "score", name, "--sheet", file, "--json", "--folder", SHIPPED)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(lines) == len(rows), name
        for line, row in zip(lines, rows, strict=True):
            expected = json.loads(row["expect_scores_json"])
            assert {key: line["scores"][key] for key in expected} == expected, row["case_id"]
            assert (line["category"], bool(line["critical"])) == (
                row["expect_category"],
                row["expect_critical"] == "true",
            )
            assert str(line["version"]) == row["version"] or row["version"].startswith("LOINC")


def test_a_mismatch_of_codings_is_refused_with_its_item_and_no_traceback(run):
    for coding, answer in (("1-5", "0"), ("0-4", "5")):
        form = ",".join([answer] * 90)
        done = run("instruments", "score", "SCL-90", "--coding", coding, "--answers", form, "--folder", SHIPPED)
        assert done.returncode == 65
        assert "1-5" in done.stderr + done.stdout
        assert "internal error" not in done.stderr
