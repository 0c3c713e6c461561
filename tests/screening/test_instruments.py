"""The instrument files: what ships, and what a wrong file or overlay is told."""

import re
from pathlib import Path

import pytest
import yaml

from xinqiao.screening.instruments import InstrumentError, load_instruments

SHIPPED = Path(__file__).parents[2] / "config" / "instruments"
Edit = tuple[str, str]


def _shipped(name: str) -> str:
    return (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8")


def _load_edited(tmp_path: Path, name: str, edit: Edit) -> None:
    text = _shipped(name)
    edited = text.replace(*edit)
    assert edited != text, "the edit of the test must change the file"
    (tmp_path / f"{name}.yaml").write_text(edited, encoding="utf-8")
    load_instruments(tmp_path)


def _overlay(tmp_path: Path, text: str) -> Path:
    (tmp_path / "district.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def test_in_use_is_what_is_free_and_has_a_source_for_every_number() -> None:
    enabled = load_instruments(SHIPPED).enabled()
    assert [each.id for each in enabled] == ["ASQ", "C-SSRS", "GAD-7", "PHQ-9", "PSC-17", "WHO-5"]
    assert not any(each.unconfirmed or each.licence.status == "licence_required" for each in enabled)


def test_every_instrument_of_the_programme_has_a_file() -> None:
    assert set(load_instruments(SHIPPED)) == {
        "ASQ", "C-SSRS", "CES-D", "CES-DC", "GAD-7", "ISI", "K10", "K6", "MHT", "PHQ-9", "PHQ-A", "PSC-17", "RCADS-25",
        "SCL-90", "SDQ", "SDQ-IMPACT", "SDQ-PARENT", "SDQ-TEACHER", "WHO-5",
    }  # fmt: skip


def test_every_shipped_file_loads_and_names_both_languages() -> None:
    library = load_instruments(SHIPPED)
    assert len(library) == len(list(SHIPPED.glob("*.yaml")))
    assert all(re.search("[\u4e00-\u9fff]", one.names.zh) and one.names.en.isascii() for one in library.values())


def test_phq9_carries_the_loinc_codes_in_item_order() -> None:
    loinc = load_instruments(SHIPPED)["PHQ-9"].loinc
    assert loinc is not None
    assert (loinc.panel, loinc.items[0], loinc.items[8]) == ("44249-1", "44250-9", "44260-8")
    assert (loinc.scores["total"], loinc.answers[3]) == ("44261-6", "LA6571-9")


def test_a_band_gives_its_own_label_where_raised_is_lowered() -> None:
    library = load_instruments(SHIPPED)
    band = library["SDQ"].band("prosocial", 6)
    assert band is not None and band.label is not None and band.label.en == "slightly lowered"
    assert library["SDQ"].category_label("slightly_raised").en == "slightly raised"


@pytest.mark.parametrize(
    ("edit", "key", "problem"),
    [
        (("enabled: true", "enabled: true\nwording: item text"), "wording", "Extra inputs"),
        (("enabled: true", "enabled: true\nitems: 9"), "line", "items is given twice"),
        (("items: 9\n", 'items: "9"\n'), "items", "valid integer"),
        (("enabled: true", "enabled: 1"), "enabled", "valid boolean"),
        (("max: 14", "max: 13"), "", "gap or overlap at 14"),
        (("max: 27", "max: 26"), "", "must cover 0 to 27"),
        (("category: severe}", "category: sever}"), "", "category sever is not in"),
        (("items: [9]", "items: [10]"), "", "item number is above items"),
        (("at_least: 1", "at_least: 4"), "", "at_least must lie"),
        (("6, 7, 8, 9]}", "6, 7, 8]}"), "bands.0", "must cover 0 to 24"),
        (("items: 9\n", "items: 10\n"), "scores", "items [10] enter no score and no rule"),
        (("44260-8", "44260-9"), "loinc", "check digit is wrong"),
        (("44260-8]", "44260-8, 69722-7]"), "", "one per item"),
        (("max: 3}", "max: 255}"), "scale.max", "less than 255"),
        (("rule: refuse", "rule: prorate"), "missing", "give max_missing"),
        (("rule: refuse", "rule: prorate, max_missing: 9"), "", "with no answer at all"),
        (("source: PHQ", "source: [PHQ"), "line", "expected"),
        (("version: 1", "version: 2026-11-23"), "", "quote it"),
    ],
)
def test_a_wrong_file_is_refused_with_file_key_and_problem(tmp_path: Path, edit: Edit, key: str, problem: str) -> None:
    with pytest.raises(InstrumentError, match=re.escape(problem)) as caught:
        _load_edited(tmp_path, "phq-9", edit)
    assert caught.value.file == tmp_path / "phq-9.yaml"
    assert caught.value.key.startswith(key)


def test_blank_as_zero_is_refused_where_a_blank_would_not_mean_zero(tmp_path: Path) -> None:
    with pytest.raises(InstrumentError, match="a blank would not mean 0"):
        _load_edited(tmp_path, "k10", ("rule: prorate", "rule: zero"))


def test_two_files_with_one_id_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(_shipped("gad-7"), encoding="utf-8")
    with pytest.raises(InstrumentError, match="GAD-7 is defined by another file"):
        load_instruments(tmp_path)


def test_a_missing_or_empty_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InstrumentError, match="is not a directory"):
        load_instruments(tmp_path / "nowhere")
    with pytest.raises(InstrumentError, match="holds no instrument file"):
        load_instruments(tmp_path)


def test_sdq_cannot_be_enabled_before_a_licence_is_recorded(tmp_path: Path) -> None:
    with pytest.raises(InstrumentError, match=re.escape("licence.record")):
        load_instruments(SHIPPED, _overlay(tmp_path, "id: SDQ\nenabled: true\n"))


def test_an_overlay_with_licence_and_checked_facts_enables_sdq(tmp_path: Path) -> None:
    text = "id: SDQ\nenabled: true\nlicence: {record: letter 2026-17}\n"
    with pytest.raises(InstrumentError, match=re.escape("rests on memory (bands)")):
        load_instruments(SHIPPED, _overlay(tmp_path, text))
    checked = text + "confirmed: {bands: Youthinmind scoring sheet of the licence}\n"
    sdq = load_instruments(SHIPPED, _overlay(tmp_path, checked))["SDQ"]
    assert sdq.enabled and sdq.licence.record == "letter 2026-17" and sdq.version == 1


@pytest.mark.parametrize(
    ("change", "key"),
    [("licence: {status: free}", "licence.status"), ("version: 2\nfrom_memory: []", "from_memory")],
)
def test_an_overlay_cannot_talk_a_licence_or_a_doubt_away(tmp_path: Path, change: str, key: str) -> None:
    with pytest.raises(InstrumentError) as caught:
        load_instruments(SHIPPED, _overlay(tmp_path, f"id: SDQ\n{change}\n"))
    assert caught.value.key == key


def test_an_overlay_never_weakens_the_rule_that_voids_a_form(tmp_path: Path) -> None:
    rule = yaml.safe_load(_shipped("mht"))["validity"][0]
    for weaker in ([], [rule | {"at_least": 8}]):
        text = yaml.safe_dump({"id": "MHT", "version": 2, "validity": weaker}, allow_unicode=True)
        with pytest.raises(InstrumentError, match="never weakened"):
            load_instruments(SHIPPED, _overlay(tmp_path, text))


def test_an_overlay_that_changes_results_needs_another_version(tmp_path: Path) -> None:
    with pytest.raises(InstrumentError, match="another version"):
        load_instruments(SHIPPED, _overlay(tmp_path, "id: PHQ-9\nages: {min: 10}\n"))
    changed = load_instruments(SHIPPED, _overlay(tmp_path, "id: PHQ-9\nversion: 2\nages: {min: 10}\n"))["PHQ-9"]
    assert (changed.version, changed.ages.min) == (2, 10)


@pytest.mark.parametrize("change", ["drop", "at_least", "severity"])
def test_an_overlay_never_weakens_the_item_9_rule(tmp_path: Path, change: str) -> None:
    rule = yaml.safe_load(_shipped("phq-9"))["critical"][0]
    weaker = {"drop": [], "at_least": [rule | {"at_least": 2}], "severity": [rule | {"severity": "concern"}]}[change]
    text = yaml.safe_dump({"id": "PHQ-9", "version": 2, "critical": weaker}, allow_unicode=True)
    with pytest.raises(InstrumentError, match="never weakened"):
        load_instruments(SHIPPED, _overlay(tmp_path, text))


def test_an_overlay_may_add_a_whole_instrument(tmp_path: Path) -> None:
    text = _shipped("gad-7").replace("id: GAD-7", "id: GAD-7-LOCAL")
    library = load_instruments(SHIPPED, _overlay(tmp_path, text))
    assert {"GAD-7", "GAD-7-LOCAL"} <= set(library)
