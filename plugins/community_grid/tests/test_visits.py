from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plugins.community_grid.tests.conftest import CHILD, OTHER, Station, kinds, wrong

from xinqiao.api.screening.v1 import screening_pb2 as screening
from xinqiao_community_grid.simulator import GRIDS

Make = Callable[..., Station]
HEADER = "记录编号,网格编码,学生编号,任务编号,走访日期,是否见到,所见情况,照料情况,需求,已告知学校,下次走访,关注"


def sheet(*rows: str, header: str = HEADER) -> bytes:
    return ("\n".join([header, *rows]) + "\n").encode()


def row(record: str = "v-1", grid: str = GRIDS[0], **words: str) -> str:
    cells = {
        "student": CHILD, "task": "tasks/t1", "day": "2026-10-13", "met": "是", "observed": "祖母照看", "care": "祖辈", "need": "",
        "told": "是", "next": "2026-10-20", "concern": "", **words,
    }  # fmt: skip
    return ",".join([record, grid, *cells.values()])


@pytest.mark.parametrize("source", ["folder", "rest"])
def test_a_visit_becomes_an_entry_and_the_report_of_its_task(station: Make, source: str) -> None:
    at = station(source)
    at.simulator.visit(
        "v-1", CHILD, day="2026-10-13", task="tasks/t1", observed="祖母照看", need="课后看护", told_school="是"
    )
    entry, report = at.read()
    assert entry.entry.student.name == CHILD
    assert (entry.entry.entry.day, entry.entry.entry.grid_visit.observed) == ("2026-10-13", "祖母照看")
    assert (entry.entry.entry.grid_visit.need, entry.entry.entry.grid_visit.told_school) == ("课后看护", True)
    assert (report.task_report.name, report.task_report.report) == ("tasks/t1", "祖母照看")
    assert at.read() == []


def test_a_child_who_was_not_met_leaves_the_task_open(station: Make) -> None:
    at = station()
    at.simulator.visit("v-1", CHILD, day="2026-10-13", task="tasks/t1", met="否", observed="家中无人")
    assert kinds(at.read()) == ["entry"]


def test_a_sign_of_danger_comes_before_everything_else_of_its_file(station: Make) -> None:
    at = station()
    at.simulator.drop(
        "visits.csv", sheet(row(), row("v-2", student=OTHER, task="", concern="轻生", observed="说不想活"))
    )
    items = at.read()
    assert kinds(items) == ["signal", "entry", "task_report", "entry"]
    signal = items[0].signal
    assert (signal.source, signal.kind) == (screening.SIGNAL_SOURCE_GRID_MEMBER, screening.SIGNAL_KIND_SUICIDAL)
    assert (signal.student.name, signal.facts) == (OTHER, "说不想活")


def test_danger_does_not_wait_until_a_bad_row_beside_it_is_mended(station: Make) -> None:
    at = station()
    at.simulator.drop("visits.csv", sheet(row(grid="0"), row("v-2", concern="自伤", observed="手臂有伤")))
    first = at.read()
    assert kinds(first) == ["signal", "rejected"]
    at.simulator.drop("visits.csv", sheet(row(), row("v-2", concern="自伤", observed="手臂有伤")))
    again = at.read()
    assert kinds(again) == ["signal", "entry", "task_report", "entry", "task_report"]
    assert again[0].signal == first[0].signal  # the very same request: the gateway takes it once


SLIPS = {
    "the day": ({"day": "2026/10/13"}, "DATA/DATE"),
    "the next visit": ({"next": "下周"}, "DATA/DATE"),
    "told": ({"told": "还没有"}, "DATA/YES_NO"),
    "met": ({"met": "也许"}, "DATA/YES_NO"),
    "too long": ({"observed": "说不想活" * 400}, "DATA/CELL_TOO_LONG"),
    "nothing seen": ({"observed": ""}, "DATA/MISSING"),
    "the task": ({"task": "t1"}, "DATA/CODE"),
    "the grid": ({"grid": "0"}, "DATA/GRID"),
    "the record": ({"record": "一号"}, "DATA/CODE"),
    "more than a word": ({"concern": "有轻生念头"}, "DATA/CODE"),
}


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("slip", SLIPS)
def test_danger_does_not_wait_until_its_own_row_is_mended(station: Make, slip: str, *, alone: bool) -> None:
    at, (words, reason) = station(accept_valid_rows=alone), SLIPS[slip]
    cells = {"record": "v-2", "student": OTHER, "task": "", "concern": "轻生", "observed": "说不想活", **words}
    at.simulator.drop("visits.csv", sheet(row(), row(**cells)))
    items = at.read()
    assert [each[0] for each in wrong(items)] == [reason]
    (signal,) = [item.signal for item in items if item.HasField("signal")]
    assert (signal.student.name, signal.kind) == (OTHER, screening.SIGNAL_KIND_SUICIDAL)
    assert signal.facts.startswith("说不想活") or slip == "nothing seen"
    assert 0 < len(signal.facts) <= 1000
    assert (signal.occurred_us > 0) == (slip != "the day")


def test_danger_about_a_child_whose_code_cannot_be_read_is_still_somebodys_to_ask_about(station: Make) -> None:
    at = station()
    at.simulator.drop("visits.csv", sheet(row(student="小雨", concern="自杀", observed="说不想活")))
    signal, refused = at.read()
    assert "row 2" in signal.signal.student.described.other and "小雨" not in str(signal.signal.student)
    assert (signal.signal.kind, signal.signal.facts) == (screening.SIGNAL_KIND_SUICIDAL, "说不想活")
    assert (refused.rejected.reason, refused.rejected.place) == ("DATA/CODE", "row 2, column student")


def test_what_is_graver_under_a_record_number_that_was_used_is_not_lost(station: Make) -> None:
    at = station()
    at.simulator.drop("visits.csv", sheet(row()))
    assert kinds(at.read()) == ["entry", "task_report"]
    at.simulator.drop("later.csv", sheet(row(concern="轻生", observed="说不想活")))
    assert kinds(at.read()) == ["signal", "rejected"]


def test_danger_is_not_lost_with_a_file_that_cannot_be_read_to_its_end_or_has_a_used_name(station: Make) -> None:
    at = station()
    at.simulator.drop("broken.csv", sheet(row("v-2", concern="轻生"), 'v-3,"never closed'))
    assert kinds(at.read()) == ["signal", "rejected"]
    at.simulator.drop("visits.csv", sheet(row()))
    assert kinds(at.read()) == ["entry", "task_report"]
    at.simulator.drop("visits.csv", sheet(row("v-4", concern="自伤")))
    items = at.read()
    assert kinds(items) == ["signal", "rejected"]
    assert wrong(items)[0][0] == "FILE_CONFLICT"
    at.simulator.drop("visits-更正.csv", sheet(row("v-4", concern="自伤")))
    assert kinds(at.read()) == ["signal", "entry", "task_report"]


def test_a_row_of_a_page_is_judged_as_one_of_a_file(station: Make) -> None:
    at = station("rest")
    at.simulator.visit("v-1", CHILD, day="13.10.2026", observed="说不想活", concern="suicidal")
    assert sorted(kinds(at.read())) == ["rejected", "signal"]


def test_a_stations_own_words_for_a_concern_are_settings(station: Make) -> None:
    at = station(concerns={"三级": "concern"})
    at.simulator.drop("visits.csv", sheet(row(concern="三级"), row("v-2", concern="四级")))
    assert wrong(at.read()) == [("DATA/CODE", "row 3, column concern")]
    at.simulator.drop("visits2.csv", sheet(row(concern="三级")))
    assert at.read()[0].signal.kind == screening.SIGNAL_KIND_CONCERN


def test_a_grid_code_off_the_pattern_is_named_by_row_and_column_and_nothing_of_the_file_is_taken(station: Make) -> None:
    at = station()
    at.simulator.drop("visits.csv", sheet(row(), row("v-2", grid="32058300100100X"), row("v-3", grid="320583")))
    items = at.read()
    assert wrong(items) == [("DATA/GRID", "row 3, column grid"), ("DATA/GRID", "row 4, column grid")]
    assert kinds(items) == ["rejected", "rejected"]


def test_another_district_has_another_pattern(station: Make) -> None:
    at = station(grid_pattern="FX-[0-9]{2}-[0-9]{3}", grids=["FX-01-007"])
    at.simulator.drop("visits.csv", sheet(row(grid="FX-01-007", task="")))
    assert kinds(at.read()) == ["entry"]


def test_good_rows_are_taken_beside_bad_ones_only_where_that_was_asked_for(station: Make) -> None:
    at = station(accept_valid_rows=True)
    at.simulator.drop("visits.csv", sheet(row(), row("v-2", met="也许")))
    items = at.read()
    assert kinds(items) == ["entry", "task_report", "rejected"]
    assert wrong(items) == [("DATA/YES_NO", "row 3, column met")]


@pytest.mark.parametrize(
    ("words", "reason", "column"),
    [
        ({"student": "欧阳小雨"}, "DATA/CODE", "student"),
        ({"task": "task 1"}, "DATA/CODE", "task"),
        ({"day": "2026/10/13"}, "DATA/DATE", "day"),
        ({"day": "2026-02-30"}, "DATA/DATE", "day"),
        ({"day": "46056"}, "DATA/DATE", "day"),
        ({"met": ""}, "DATA/MISSING", "met"),
        ({"observed": ""}, "DATA/MISSING", "observed"),
        ({"observed": "x" * 1001}, "DATA/CELL_TOO_LONG", "observed"),
        ({"next": "2026-10-01"}, "DATA/DATE", "next_visit"),
        ({"told": "2"}, "DATA/YES_NO", "told_school"),
        ({"observed": "王\u202e"}, "DATA/CHARSET", "observed"),
    ],
)
def test_a_bad_cell_is_named_and_its_value_is_not(
    station: Make, words: dict[str, str], reason: str, column: str
) -> None:
    at = station()
    at.simulator.drop("visits.csv", sheet(row(**words)))
    items = at.read()
    assert wrong(items) == [(reason, f"row 2, column {column}")]
    for value in words.values():
        assert len(value) < 5 or value not in str(items)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "DATA/EMPTY"),
        (b"\n\n", "DATA/EMPTY"),
        (sheet(row()).decode().encode("gb18030"), "DATA/ENCODING"),
        (sheet(row()).decode().encode("utf-16"), "DATA/ENCODING"),
        (sheet(row()).replace(b",", b";"), "DATA/HEADER"),
        (sheet(row()).replace("，".encode(), b","), None),
        (sheet(row(), header=HEADER.replace("是否见到", "见到与否")), "DATA/HEADER"),
        (sheet(row(), header=HEADER.replace("需求", "照料情况")), "DATA/HEADER"),
        (sheet(row() + ",x"), "DATA/COLUMN_COUNT"),
        (sheet('"v-1,' + row()), "DATA/QUOTE"),
        (sheet(row("v\x00")), "DATA/CHARSET"),
    ],
)
def test_a_spoilt_file_is_refused_whole(station: Make, data: bytes, reason: str | None) -> None:
    at = station()
    at.simulator.drop("visits.csv", data)
    items = at.read()
    if reason is None:
        assert wrong(items) == []
    else:
        assert [each[0] for each in wrong(items)] == [reason]
        assert kinds(items) == ["rejected"]


def test_declared_gb18030_is_read(station: Make) -> None:
    at = station(encoding="gb18030")
    at.simulator.drop("visits.csv", sheet(row(observed="𠮷家祖母照看")).decode().encode("gb18030"))
    assert at.read()[0].entry.entry.grid_visit.observed == "𠮷家祖母照看"


@pytest.mark.parametrize("name", ["-rf", "名单.xlsx.exe", "visits.xlsx", "x.html"])
def test_a_file_of_another_type_is_refused_under_a_name_that_is_no_persons(station: Make, name: str) -> None:
    at = station()
    (at.simulator.inbox / name).write_bytes(b"x")
    (item,) = at.read()
    assert item.rejected.reason == "DATA/FILE_TYPE"
    assert "名单" not in item.rejected.source


def test_links_hidden_files_and_parts_are_left_alone(station: Make, tmp_path: Path) -> None:
    at = station()
    (tmp_path / "secret.csv").write_bytes(sheet(row()))
    (at.simulator.inbox / "link.csv").symlink_to(tmp_path / "secret.csv")
    (at.simulator.inbox / ".visits.csv").write_bytes(sheet(row()))
    (at.simulator.inbox / "visits.csv.part").write_bytes(sheet(row()))
    assert at.read() == []


def test_the_same_file_has_one_effect_and_other_content_under_its_name_is_a_conflict(station: Make) -> None:
    at = station()
    at.simulator.drop("visits.csv", sheet(row()))
    assert len(at.read()) == 2
    at.simulator.drop("again.csv", sheet(row()))
    assert at.read() == []
    at.simulator.drop("visits.csv", sheet(row("v-9")))
    assert wrong(at.read()) == [("FILE_CONFLICT", "")]
    at.restarted()
    assert at.read() == []


def test_a_refused_file_may_be_mended_under_its_own_name(station: Make) -> None:
    at = station()
    at.simulator.drop("visits.csv", sheet(row(met="?")))
    assert kinds(at.read()) == ["rejected"]
    at.simulator.drop("visits.csv", sheet(row()))
    assert kinds(at.read()) == ["entry", "task_report"]


def test_a_manifest_that_disagrees_refuses_the_file(station: Make) -> None:
    at = station()
    (at.simulator.inbox / "visits.csv.manifest.json").write_text('{"rows": 2}')
    at.simulator.drop("visits.csv", sheet(row()))
    assert wrong(at.read())[0][0] == "DATA/TRUNCATED"
    (at.simulator.inbox / "other.csv.manifest.json").write_text('{"sha256": "00"}')
    at.simulator.drop("other.csv", sheet(row("v-3")))
    assert wrong(at.read()) == [("DATA/MANIFEST", "")]


def test_a_record_number_used_again_for_something_else_is_named(station: Make) -> None:
    at = station()
    at.simulator.visit("v-1", CHILD, day="2026-10-13")
    at.simulator.visit("v-1", CHILD, day="2026-10-13", need="")
    at.simulator.visit("v-1", CHILD, day="2026-10-12")
    items = at.read()
    assert kinds(items) == ["entry", "rejected"]
    assert wrong(items) == [("DATA/DUPLICATE", "row 2, column record")]


@pytest.mark.parametrize("after", range(7))
def test_stopping_after_any_item_loses_and_repeats_nothing(station: Make, after: int) -> None:
    at = station()
    at.simulator.drop("a.csv", sheet(row(), row("v-2"), row("v-3")))
    at.simulator.drop("b.csv", sheet(row("v-4", concern="自伤")))
    first = at.read(after) if after else []
    at.restarted()
    items = [*first, *at.read()]
    assert kinds(items) == ["entry", "task_report"] * 3 + ["signal", "entry", "task_report"]


def test_what_lies_in_the_folder_is_sealed_until_the_gateway_has_it(station: Make) -> None:
    at = station()
    at.simulator.visit("v-1", CHILD, day="2026-10-13")
    at.read()
    assert list(at.folder.glob("inbox/*.item")) != []
    at.read()
    assert list(at.folder.glob("inbox/*.item")) == []


def test_the_station_is_told_what_was_not_taken_and_never_twice(station: Make) -> None:
    at = station()
    at.simulator.drop("visits.csv", sheet(row(met="?")))
    told: Any = [item.rejected for item in at.read()]
    at.adapter.report(told)
    at.adapter.report(told)
    text = (at.simulator.outbox / "reports" / "visits.csv.csv").read_text("utf-8-sig").splitlines()
    assert len(text) == 2
    assert "row 2, column met" in text[1]


# -- the weekly report ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["folder", "rest"])
def test_the_report_goes_when_every_grid_has_spoken_and_nil_is_said(station: Make, source: str) -> None:
    at = station(source)
    at.simulator.week(GRIDS[0], "2026-W42", seen=4)
    assert at.read() == []
    at.simulator.week(GRIDS[1], "2026-W42", seen=3)
    (item,) = at.read()
    report = item.report
    assert (report.cadence, report.period, report.nil_report) == ("grid-visit-weekly", "2026-W42", True)
    assert (report.students_seen, report.concerns) == (7, 0)


def test_a_concern_of_one_grid_makes_it_no_nil_report(station: Make) -> None:
    at = station()
    at.simulator.week(GRIDS[0], "2026-W42", seen=4)
    at.simulator.week(GRIDS[1], "2026-W42", nil="否", seen=3, concerns=2)
    (item,) = at.read()
    assert (item.report.nil_report, item.report.concerns) == (False, 2)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("2026-W42,,0,", "DATA/MISSING"),
        ("2026-W42,是,3,1", "DATA/NIL"),
        ("2026-W42,否,3,", "DATA/NIL"),
        ("2026-W42,否,3,0", "DATA/NIL"),
        ("2026-W54,是,3,", "DATA/WEEK"),
        ("2025-W53,是,3,", "DATA/WEEK"),
        ("2026-42,是,3,", "DATA/WEEK"),
        ("2026-W42,是,三,", "DATA/NUMBER"),
    ],
)
def test_silence_is_no_nil_report(station: Make, cells: str, reason: str) -> None:
    at = station()
    at.simulator.drop("weeks.csv", f"网格编码,周次,零报告,走访人数,关注人数\n{GRIDS[0]},{cells}\n".encode())
    assert [each[0] for each in wrong(at.read())] == [reason]


def test_a_report_read_again_after_a_crash_is_the_same_and_a_second_one_is_named(station: Make) -> None:
    at = station(grids=[GRIDS[0]])
    at.simulator.week(GRIDS[0], "2026-W42", seen=4)
    (first,) = list(at.adapter.read(""))
    (again,) = list(at.restarted().read(""))
    assert again.report == first.report
    at.cursor = again.cursor
    at.simulator.week(GRIDS[0], "2026-W42", seen=5)
    assert wrong(at.read()) == [("DATA/DUPLICATE", "row 2, column week")]
