"""Reports that leave the bureau: figures that can be checked, and nobody who could be counted out of them."""

import csv
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from tests.exchange import kunshan

from xinqiao.api.casefile.v1 import plan_service_pb2 as plan
from xinqiao.api.exchange.v1 import activity_service_pb2 as act
from xinqiao.api.exchange.v1 import report_service_pb2 as rpc
from xinqiao.api.screening.v1.screening_pb2 import SignalSource
from xinqiao.cli.reporting import paper
from xinqiao.cli.texts import Texts
from xinqiao.config.problems import ConfigError
from xinqiao.documents.report import Paper, to_html, to_pdf
from xinqiao.exchange.periods import current_period
from xinqiao.exchange.report_rules import load_reports
from xinqiao.store import tables

ROOT = Path(__file__).resolve().parents[2]
PRINTED = ROOT.parent / "shared" / "data" / "seed_metrics.csv"
WORKER = "social-work"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def year(make_town: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A town with the logs of 2025."""
    with make_town(request.param, listen=False) as town:
        everything = list(kunshan.logs())
        for start in range(0, len(everything), 300):
            town.call(WORKER, act.RecordActivitiesRequest(activities=everything[start : start + 300]))
        yield town


def make(town: Any, report: str = "yearly", period: str = "2025", **words: Any) -> rpc.Report:
    made: rpc.Report = town.call(
        town.OPERATOR, rpc.MakeReportRequest(report=report, period=period, **words)
    ).report  # fmt: skip
    return made


def test_the_logs_of_a_year_give_every_figure_of_the_printed_report(year: Any) -> None:
    computed = {each.id: each.value for each in make(year, agency=WORKER).figures}
    assert {key: computed[key] for key in kunshan.FIGURES} == kunshan.FIGURES


@pytest.mark.skipif(not PRINTED.exists(), reason="needs ../shared/data")
def test_the_figures_are_those_of_the_published_report(year: Any) -> None:
    with PRINTED.open(encoding="utf-8") as stream:
        said = {row["metric"]: row["value"] for row in csv.DictReader(stream) if row["seed"] == "001"}
    computed = {each.id: str(each.value) for each in make(year).figures if each.id in said}
    assert len(computed) == len(kunshan.FIGURES)
    assert computed == {key: said[key] for key in computed}


def test_a_correction_counts_and_what_was_withdrawn_does_not(year: Any) -> None:
    wrong = act.Activity(source="x-1", kind=act.ACTIVITY_KIND_LECTURE, day="2025-05-05", times=7)
    for withdrawn, expected in ((False, 7), (True, 0)):
        wrong.withdrawn = withdrawn
        year.call(WORKER, act.RecordActivitiesRequest(activities=[wrong]))
        assert next(each.value for each in make(year).figures if each.id == "lectures") == expected


def test_persons_are_of_each_series_the_most_and_sums_without_series_say_so(year: Any) -> None:
    figures = {each.id: each for each in make(year).figures}
    assert figures["group_members"].value == 42
    assert not figures["group_members"].may_count_twice
    assert figures["class_students"].may_count_twice
    assert sum(figures["group_attendance"].by_month) == 351
    assert not figures["group_members"].by_month  # a month's few persons could hurt somebody


def test_a_small_figure_about_persons_is_blank_and_one_about_work_is_not(year: Any) -> None:
    one = act.Activity(source="y-1", kind=act.ACTIVITY_KIND_SESSION, day="2025-03-03", series="alone", crisis=True)
    year.call("hotline", act.RecordActivitiesRequest(activities=[one]))
    figures = {each.id: each for each in make(year, agency="hotline").figures}
    assert (figures["crisis_cases"].blank, figures["crisis_cases"].value) == (True, 0)
    assert (figures["case_sessions"].blank, figures["case_sessions"].value) == (False, 1)
    one.withdrawn = True
    year.call("hotline", act.RecordActivitiesRequest(activities=[one]))


@pytest.mark.parametrize(
    ("report", "period", "word"),
    [
        ("weekly", "2025", "NOT_FOUND/REPORT"),
        ("yearly", "2025-10", "INVALID_ARGUMENT/PERIOD"),
        ("monthly", "2025", "INVALID_ARGUMENT/PERIOD"),
        ("yearly", "2026", "INVALID_ARGUMENT/PERIOD"),
        ("monthly", "2099-01", "INVALID_ARGUMENT/PERIOD"),
    ],
)
def test_only_a_defined_shape_of_a_period_that_is_over(year: Any, report: str, period: str, word: str) -> None:
    assert year.refusal(year.OPERATOR, rpc.MakeReportRequest(report=report, period=period)) == word


def test_making_a_report_is_on_record_and_releasing_it_keeps_it(year: Any) -> None:
    assert make(year).revision == 0
    made = make(year, release=True)
    assert made.revision == 1
    assert year.journal(kind="report.made")
    assert year.journal(kind="report.released")[-1]["reason"] == "2025:r1"
    assert make(year, release=True).revision == 2  # nothing has changed: the difference tells nothing


def statistic(report: rpc.Report, identifier: str) -> dict[tuple[str, str], int]:
    found = next(each for each in report.statistics if each.id == identifier)
    columns = [*found.columns, ""]
    return {
        (row, column): found.cells[at * len(columns) + index]
        for at, row in enumerate([*found.rows, ""])
        for index, column in enumerate(columns)
    }


def screened(town: Any, number: int, *, school: str = "3205830001", as_: str | None = None) -> None:
    as_ = as_ or town.SCHOOL
    for _ in range(number):
        town.submit(town.student(school=as_, code=school), bytes(9), as_=as_)


def next_month(town: Any) -> str:
    """Move to the start of the month after; the month that is over."""
    over = current_period(town.clock.now_us())
    town.clock.advance(timedelta(days=32))
    return over


def test_tables_over_students_blank_what_is_small_and_what_gives_it_away(make_town: Any) -> None:
    with make_town(listen=False) as town:
        screened(town, 8)
        screened(town, 3, school="3205830002", as_="other-school")
        shown = statistic(make(town, "monthly", next_month(town)), "screened")
        assert (shown["3205830001", "PHQ-9"], shown["3205830001", ""]) == (8, 8)
        assert shown["3205830002", "PHQ-9"] == -1
        assert [shown[line] for line in (("3205830002", ""), ("", "PHQ-9"), ("", ""))] == [-1] * 3  # else 11 less 8


def visited(town: Any, *days: str) -> tuple[str, Any]:
    """A visit of the grid on each day, written down by the school's psychologist: of whom, and the last."""
    local = town.student()
    town.call(town.PSYCH, plan.OpenPlanRequest(student={"local_id": local}, reason="RED_CASE"))
    found = [
        town.call(
            town.PSYCH,
            plan.RecordEntryRequest(
                student={"local_id": local}, entry={"day": day, "grid_visit": {"observed": "祖母照看"}}
            ),
        ).entry
        for day in days
    ]
    return local, found[-1]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_visits_that_are_written_down_are_counted_by_their_day_and_once(make_town: Any, database: str) -> None:
    with make_town(database, listen=False) as town:
        local, second = visited(town, "2026-09-28", "2026-10-02")
        visited(town, *["2026-10-03"] * 3)
        again = {"day": "2026-10-02", "grid_visit": {"observed": "已复核"}, "supersedes": second.name}
        town.call(town.PSYCH, plan.RecordEntryRequest(student={"local_id": local}, entry=again))
        counted = act.Activity(source="v-1", kind=act.ACTIVITY_KIND_GRID_VISIT, day="2026-10-05", times=2)
        town.call("grid", act.RecordActivitiesRequest(activities=[counted]))
        town.clock.advance(timedelta(days=32))
        shown = {each.id: each.value for each in make(town, "monthly", "2026-10").figures}
        assert shown["grid_visits"] == 4 + 2  # the school's records of October, and what the grid itself counts
        shown = {each.id: each.value for each in make(town, "monthly", "2026-10", agency="grid").figures}
        assert shown["grid_visits"] == 2
        own = act.Activity(source="v-1", kind=act.ACTIVITY_KIND_GRID_VISIT, day="2026-10-05", times=5)
        town.call(town.SCHOOL, act.RecordActivitiesRequest(activities=[own]))
        shown = {each.id: each.value for each in make(town, "monthly", "2026-10").figures}
        assert shown["grid_visits"] == 5 + 2  # an agency that counts them has counted those it wrote down


def test_persons_of_several_columns_are_one_person_each_in_the_total(make_town: Any) -> None:
    with make_town(listen=False) as town:
        for _ in range(6):
            student = town.student()
            town.submit(student, bytes(9))
            town.submit(student, bytes(7), instrument="GAD-7")
        shown = statistic(make(town, "monthly", next_month(town)), "screened")
        assert [shown["", column] for column in ("GAD-7", "PHQ-9", "")] == [6, 6, 6]


def test_every_line_of_a_table_is_there_whether_it_holds_anything_or_not(make_town: Any) -> None:
    with make_town(listen=False) as town:
        report = make(town, "monthly", next_month(town))
        found = {each.id: each for each in report.statistics}
        assert [f"SIGNAL_SOURCE_{name}" for name in found["signals"].rows] == SignalSource.keys()[1:]
        assert {"3205830001", "3205830002"} <= {*found["screened"].rows}
        assert {*found["signals"].cells} == {0}


def test_a_report_is_of_an_agency_that_there_is_and_of_its_work_alone(year: Any) -> None:
    asked = rpc.MakeReportRequest(report="monthly", period="2025-10", agency=f"{WORKER}x", release=True)
    assert year.refusal(year.OPERATOR, asked) == "NOT_FOUND/AGENCY"
    assert not make(year, "monthly", "2025-10", agency=WORKER).statistics
    assert make(year, "monthly", "2025-10").statistics


def test_what_agencies_publish_leaves_no_few_of_the_districts_to_be_worked_out(make_town: Any) -> None:
    with make_town(listen=False) as town:
        town.clock.advance(timedelta(days=400))
        for agency, count in ((WORKER, 10), ("hotline", 2)):
            cases = [
                act.Activity(
                    source=f"{agency}-{number}", kind=act.ACTIVITY_KIND_SESSION, day="2026-11-03",
                    series=f"{agency}-{number}", crisis=True,
                )
                for number in range(count)
            ]  # fmt: skip
            town.call(agency, act.RecordActivitiesRequest(activities=cases))
        district = {each.id: each for each in make(town, "yearly", "2026", release=True).figures}
        assert district["crisis_cases"].value == 12
        own = rpc.MakeReportRequest(report="yearly", period="2026", agency=WORKER, release=True)
        assert town.refusal(town.OPERATOR, own) == "FAILED_PRECONDITION/DIFFERENCING"  # 12 less 10


def test_a_release_is_compared_with_each_that_went_before(make_town: Any) -> None:
    with make_town(listen=False) as town:
        screened(town, 8)
        month = next_month(town)
        with town.gate.gateway.store.read() as tx:
            at = tx.scalar(tables.assessments.select().with_only_columns(tables.assessments.c.created_us).limit(1))
        assert make(town, "monthly", month, release=True).revision == 1
        moved: list[str] = []
        for count, released in ((6, True), (-5, False)):
            for _ in range(count):
                student = town.student()
                town.submit(student, bytes(9))
                moved.append(town.inside_id(student))
            gone = [moved.pop() for _ in range(-count)]
            for student, moment in [*((each, at) for each in moved), *((each, town.clock.now_us()) for each in gone)]:
                c = tables.assessments
                change = c.update().where(c.c.student == student).values(created_us=moment)
                town.gate.gateway.store.run(lambda tx, change=change: tx.execute(change))
            asked = rpc.MakeReportRequest(report="monthly", period=month, release=True)
            if released:
                assert town.call(town.OPERATOR, asked).report.revision == 2  # 14 beside 8
            else:
                assert town.refusal(town.OPERATOR, asked) == "FAILED_PRECONDITION/DIFFERENCING"  # 9 is near the first


def test_two_releases_that_differ_by_a_few_are_refused(make_town: Any) -> None:
    with make_town(listen=False) as town:
        screened(town, 8)
        screened(town, 9, school="3205830002", as_="other-school")
        month = next_month(town)
        first = make(town, "monthly", month, release=True)
        assert statistic(first, "screened")["3205830001", "PHQ-9"] == 8
        with town.gate.gateway.store.read() as tx:
            at = tx.scalar(tables.assessments.select().with_only_columns(tables.assessments.c.created_us).limit(1))
        late = town.student()
        town.submit(late, bytes(9))
        move = tables.assessments.update().where(tables.assessments.c.student == town.inside_id(late))
        town.gate.gateway.store.run(lambda tx: tx.execute(move.values(created_us=at)))
        again = rpc.MakeReportRequest(report="monthly", period=month, release=True)
        assert town.refusal(town.OPERATOR, again) == "FAILED_PRECONDITION/DIFFERENCING"
        assert make(town, "monthly", month).revision == 0  # to look at, it can still be made


def shown(town: Any, report: rpc.Report, language: str, said: dict[str, str] | None = None) -> Paper:
    texts = Texts("zh" if language == "zh" else "en")
    return paper(texts, report, town.gate.gateway.settings, said or {})


@pytest.mark.parametrize("language", ["zh", "en"])
def test_html_and_pdf_say_the_same_and_load_nothing(year: Any, language: str) -> None:
    report = make(year)
    said = {
        **{key: str(value) for key, value in kunshan.FIGURES.items()},
        "letters_answered": "210",
        "risk_colours": "3",
    }
    page = shown(year, report, language, said)
    text = to_html(page)
    assert not re.search(r"<script|<link|<img|url\(|https?:", text)
    assert '<td class="off">+1</td>' in text
    printed = "".join(each.get_textpage().get_text_bounded() for each in pypdfium2.PdfDocument(to_pdf(page)))
    for wanted in (page.title, "2,913", "+1", page.words["not_computed"]):
        assert wanted in text
        assert wanted in printed


def test_the_shipped_definitions_load_and_a_broken_one_names_its_line(tmp_path: Path) -> None:
    assert set(load_reports(ROOT / "config" / "reports")) == {"monthly", "yearly"}
    broken = (ROOT / "config" / "reports" / "monthly.yaml").read_text("utf-8")
    broken = broken.replace("of: assessments, rows: school", "of: assessments, rows: source")
    (tmp_path / "monthly.yaml").write_text(broken, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_reports(tmp_path)
    assert re.search(r"monthly\.yaml:\d+.*statistics\[0\]\.rows", str(caught.value))


def test_a_year_has_nothing_of_the_people_that_a_month_tells_of(tmp_path: Path) -> None:
    for name in ("monthly", "yearly"):
        text = (ROOT / "config" / "reports" / f"{name}.yaml").read_text("utf-8")
        (tmp_path / f"{name}.yaml").write_text(text, "utf-8")
    with (tmp_path / "yearly.yaml").open("a", encoding="utf-8") as out:
        out.write(
            "statistics:\n  - {id: seen, names: {zh: 筛查, en: Seen}, of: assessments, rows: school, columns: instrument,"
            " measure: persons}\n"
        )
    with pytest.raises(ConfigError) as caught:
        load_reports(tmp_path)
    assert re.search(r"yearly\.yaml:\d+.*statistics\[0\]", str(caught.value))
