"""Proofreading of instrument files: every problem at once with line and key, and a README whose example works."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from xinqiao.screening.instruments import instrument_schema, load_instruments
from xinqiao.screening.proofread import proofread
from xinqiao.screening.scoring import score
from xinqiao.screening.triage import load_triage

CONFIG = Path(__file__).parents[2] / "config"
SHIPPED = CONFIG / "instruments"
README = (SHIPPED / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)


def _written(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_the_shipped_files_have_no_problem() -> None:
    assert proofread(SHIPPED) == ()


def test_the_example_of_the_readme_is_an_instrument_that_scores_as_it_says(tmp_path: Path) -> None:
    file = _written(tmp_path, BLOCKS[0])
    assert proofread(file) == ()
    mine = load_instruments(tmp_path)["SLEEP-4"]
    assert score(mine, [2, 1, 0, 3]).scores == {"total": 3}
    poor = score(mine, [2, 2, 2, 0])
    assert (poor.scores, poor.category, poor.critical) == ({"total": 9}, "poor", ("item3",))
    broken_off = score(mine, [None, None, 2, None])
    assert (broken_off.category, broken_off.critical, broken_off.complete) == (None, ("item3",), False)


def test_the_overlay_of_the_readme_puts_sdq_into_use_and_its_triage_rules_are_there(tmp_path: Path) -> None:
    file = _written(tmp_path, BLOCKS[1])
    assert proofread(file, SHIPPED) == ()
    library = load_instruments(SHIPPED, tmp_path)
    assert library["SDQ"].enabled and library["SDQ"].licence.record == "Youthinmind, letter 2026-17"
    assert load_triage(CONFIG / "triage" / "default.yaml", library).ordered["SDQ"]


def test_the_readme_names_every_word_of_the_language_and_every_instrument_in_use() -> None:
    assert [word for word in instrument_schema()["properties"] if word not in README] == []
    assert all(each.id in README for each in load_instruments(SHIPPED).enabled())


def test_every_problem_of_a_file_is_told_at_once_in_the_order_found(tmp_path: Path) -> None:
    text = (SHIPPED / "phq-9.yaml").read_text(encoding="utf-8")
    for old, new in (("items: 9\n", 'items: "9"\n'), ("enabled: true", "enabled: yes\nwording: text"),
                     ("missing: {rule: refuse}", "missing: {rule: guess}")):  # fmt: skip
        text = text.replace(old, new)
    file = _written(tmp_path, text)
    faults = {fault.key: fault for fault in proofread(file)}
    assert set(faults) == {"items", "enabled", "wording", "missing.rule"}
    lines = text.splitlines()
    assert all(fault.key.rpartition(".")[2] in lines[fault.line - 1] for fault in faults.values())
    assert "guess" not in faults["missing.rule"].en and "应为以下之一" in faults["missing.rule"].zh


def test_keys_that_do_not_agree_are_all_told_with_their_lines(tmp_path: Path) -> None:
    text = (SHIPPED / "phq-9.yaml").read_text(encoding="utf-8")
    text = (
        text.replace("max: 14", "max: 13")
        .replace("at_least: 1", "at_least: 4")
        .replace("{total: 44261-6}", "{sum: 44261-6}")
    )
    found = proofread(_written(tmp_path, text))
    assert [(fault.key, fault.en.split(";")[0]) for fault in found] == [
        ("bands[0].ranges[3]", "gap or overlap at 14"),
        ("critical[0].at_least", "at_least must lie above scale.min and not above the highest answer of its items"),
        ("loinc.scores", "names a score that is not defined"),
    ]
    assert [text.splitlines()[fault.line - 1].strip()[:8] for fault in found] == ["- {min: ", "at_least", "scores: "]
    assert all(re.search("[\u4e00-\u9fff]", fault.zh) for fault in found)


def test_two_files_of_a_folder_with_one_id_are_told(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        _written(tmp_path, (SHIPPED / "gad-7.yaml").read_text(encoding="utf-8"), name)
    (fault,) = proofread(tmp_path)
    assert (fault.key, Path(fault.file).name) == ("id", "b.yaml") and "a.yaml" in fault.en


@pytest.mark.parametrize("text", ["", "id: [", "- a\n", "id: A\nid: B\n", "\ufeffid: A\n", "id: A\titems: 1\n"])
def test_a_file_that_is_no_plain_yaml_mapping_is_told_and_nothing_is_raised(tmp_path: Path, text: str) -> None:
    assert proofread(_written(tmp_path, text))


def test_an_empty_folder_and_a_missing_file_are_told(tmp_path: Path) -> None:
    assert proofread(tmp_path)[0].zh == "没有量表文件（*.yaml）"
    assert "cannot be read" in proofread(tmp_path / "nowhere.yaml")[0].en


def test_the_schema_takes_every_shipped_file_and_refuses_a_misspelt_word() -> None:
    schema = instrument_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for path in SHIPPED.glob("*.yaml"):
        jsonschema.validate(json.loads(json.dumps(yaml.safe_load(path.read_text(encoding="utf-8")))), schema)
    wrong = yaml.safe_load((SHIPPED / "k6.yaml").read_text(encoding="utf-8"))
    wrong["mising"] = wrong.pop("missing")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)
