"""`xinqiao adapters read`: a partner's file item by item, nothing stored."""

import json
import zipfile
from pathlib import Path

from xinqiao_school import synthetic

HEADER = "学号,日期," + ",".join(f"phq{number}" for number in range(1, 10))


def sheet(folder: Path, *rows: str, encoding: str = "utf-8", name: str = "scores.csv") -> Path:
    path = folder / name
    path.write_bytes("\n".join((HEADER, *rows, "")).encode(encoding))
    return path


def lines(done) -> list[dict[str, str]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_good_sheet_is_accepted_row_by_row_without_any_configuration(run, tmp_path: Path):
    file = sheet(tmp_path, "S-1,2026-10-12,0,0,0,0,0,0,0,0,0", "S-2,2026-10-12,1,1,1,1,1,1,1,1,1")
    done = run("adapters", "read", "school", str(file), "--json")
    assert done.returncode == 0
    assert [(line["status"], line["kind"], line["place"]) for line in lines(done)] == [
        ("accepted", "PHQ-9", "row 2"), ("accepted", "PHQ-9", "row 3"),
    ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores.csv"]


def test_a_bad_cell_is_named_with_reason_and_place_and_never_shown(run, tmp_path: Path):
    file = sheet(tmp_path, "S-secret,2026-10-12,0,0,0,0,0,0,0,0,高")
    done = run("adapters", "read", "school", str(file), "--json")
    assert done.returncode == 65
    assert ("refused", "DATA/NUMBER", "row 2, column phq9") in [
        (line["status"], line["reason"], line["place"]) for line in lines(done)
    ]
    assert "高" not in done.stdout + done.stderr
    assert "S-secret" not in done.stdout + done.stderr


def test_the_place_of_a_defect_is_whole_and_the_file_is_named_once(run, tmp_path: Path):
    header = HEADER.replace("phq9", "第九题在过去两周里有没有想过伤害自己")
    file = sheet(tmp_path, name="初中二年级三班心理健康普测答卷.csv")
    file.write_bytes(f"{header}\nS-1,2026-10-12,0,0,0,0,0,0,0,0\n".encode())
    for language, said in (("zh", "拒收"), ("en", "refused")):
        shown = run("--lang", language, "adapters", "read", "school", str(file)).stdout
        (line,) = [line for line in shown.splitlines() if line.startswith(said)]
        assert line.count(file.name) == 1
        plain = json.loads(run("adapters", "read", "school", str(file), "--json").stdout.splitlines()[-1])
        assert plain["place"].removeprefix(file.name) in line


def test_a_file_that_is_not_there_is_66_and_the_others_are_still_read(run, tmp_path: Path):
    file = sheet(tmp_path, "S-1,2026-10-12,0,0,0,0,0,0,0,0,0")
    done = run("adapters", "read", "school", str(tmp_path / "gone.csv"), str(file), "--json")
    assert done.returncode == 66
    assert len(lines(done)) == 1


def test_an_encoding_is_taken_from_the_settings_and_never_guessed(run, tmp_path: Path):
    file = sheet(tmp_path, "S-1,2026-10-12,0,0,0,0,0,0,0,0,0", encoding="gb18030")
    refused = run("adapters", "read", "school", str(file), "--json")
    assert refused.returncode == 65
    assert lines(refused)[0]["reason"] == "DATA/ENCODING"
    settings = tmp_path / "settings.yaml"
    settings.write_text("encoding: gb18030\n", "utf-8")
    taken = run("adapters", "read", "school", str(file), "--settings", str(settings), "--json")
    assert taken.returncode == 0


def test_a_roster_names_each_student_by_its_row_and_no_person(run, tmp_path: Path):
    files = synthetic.make_school(tmp_path / "school", students=5)
    done = run("adapters", "read", "school", str(files.roster))
    assert done.returncode == 0
    assert done.stdout.count("student") == 5
    assert "users.csv: row 3" in done.stdout
    assert "SYN-" not in done.stdout
    with zipfile.ZipFile(files.roster) as archive:
        family = archive.read("users.csv").decode().splitlines()[2].split(",")[7]
    assert family not in done.stdout


def test_a_kind_that_reads_no_files_is_a_usage_error(run, tmp_path: Path):
    assert run("adapters", "read", "nobody", str(tmp_path / "x")).returncode == 64
