"""Cadence and calendar files: what contradicts itself is refused with its place."""

from pathlib import Path

import pytest

from xinqiao.config import Bundle, ConfigError
from xinqiao.config.cadence import CadenceFile
from xinqiao.config.calendar import CalendarFile
from xinqiao.config.loader import load

CONFIG = Path(__file__).resolve().parents[2] / "config"


def refused(folder, model, text):
    path = folder / "file.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path, model)
    return [(problem.reason, problem.key, problem.line) for problem in caught.value.problems]


def calendar(folder, lines):
    return refused(folder, CalendarFile, f'version: 1\ndistrict: "320583"\n{lines}\n')


def cadence(folder, words):
    return refused(
        folder, CadenceFile,
        f"version: 1\ncadences:\n  a: {{names: {{zh: 甲, en: A}}, role: GRID, every: week, {words}}}\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "reason", "key"),
    [
        ("terms: [{id: a, school_year: 2026, first: 2026-09-01, last: 2026-08-01}]", "CONFIG/CONFLICT", "terms[0]"),
        ("terms: [{id: a, school_year: 2026, first: 2026-09-31, last: 2027-01-01}]", "CONFIG/DATE", "terms[0].first"),
        (
            "terms: [{id: a, school_year: 2026, first: 2026-09-01, last: 2027-01-30},"
            " {id: b, school_year: 2026, first: 2027-01-30, last: 2027-06-30}]", "CONFIG/CONFLICT", "",
        ),
        ('working_days: {hours: ["8:30-12:00"]}', "CONFIG/SCHEDULE", "working_days.hours[0]"),
        ("working_days: {holidays: [2027-01-01], make_up_days: [2027-01-01]}", "CONFIG/CONFLICT", "working_days"),
    ],
)  # fmt: skip
def test_a_calendar_that_contradicts_itself_is_refused(tmp_path, lines, reason, key):
    assert (reason, key) in [found[:2] for found in calendar(tmp_path, lines)]


@pytest.mark.parametrize(
    "words",
    [
        "times: 2",  # a week
        "intensified: {windows: [exams], every: week}",
        'per: partner, ask: OPERATOR, units: {"3205830001": [a]}',
        "per: partner",  # and its school would ask
    ],
)
def test_a_cadence_that_contradicts_itself_is_refused(tmp_path, words):
    assert [found[:2] for found in cadence(tmp_path, words)] == [("CONFIG/CONFLICT", "cadences.a")]


def bundle(folder, cadence_text, calendar_text=""):
    (folder / "cadence.yaml").write_text(cadence_text, "utf-8")
    (folder / "calendar.yaml").write_text(f'version: 1\ndistrict: "320583"\n{calendar_text}\n', "utf-8")
    (folder / "district.yaml").write_text(
        'version: 1\ndistrict: "320583"\ncadence: cadence.yaml\ncalendar: calendar.yaml\n', "utf-8"
    )
    text = (CONFIG / "gateway.example.yaml").read_text("utf-8")
    (folder / "gateway.yaml").write_text(
        text.partition("\nadapters:")[0].replace("districts/320583.yaml", "district.yaml"), "utf-8"
    )
    return Bundle(folder / "gateway.yaml", {})


@pytest.mark.parametrize("every", ["term", "school_year"])
def test_a_cadence_by_terms_needs_a_calendar_with_terms(tmp_path, every):
    text = f"version: 1\ncadences:\n  a: {{names: {{zh: 甲, en: A}}, role: SCHOOL_PLATFORM, every: {every}}}\n"
    with pytest.raises(ConfigError, match=r"cadence\.yaml:3:\d+: cadences\.a\.every: the calendar has no terms"):
        _ = bundle(tmp_path, text).cadences


def test_a_window_that_the_calendar_does_not_have_is_refused(tmp_path):
    shipped = (CONFIG / "cadence" / "default.yaml").read_text("utf-8").replace("exams]", "examinations]")
    terms = "terms: [{id: a, school_year: 2026, first: 2026-09-01, last: 2027-01-30}]"
    with pytest.raises(ConfigError, match="no such window in the calendar"):
        _ = bundle(tmp_path, shipped, terms).cadences


def test_the_calendar_of_another_district_is_refused(tmp_path):
    made = bundle(tmp_path, (CONFIG / "cadence" / "default.yaml").read_text("utf-8"))
    (tmp_path / "calendar.yaml").write_bytes((CONFIG / "calendars" / "420325.yaml").read_bytes())
    with pytest.raises(ConfigError, match="not the district of gateway.yaml"):
        _ = made.calendar
