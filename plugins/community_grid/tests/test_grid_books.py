"""A station's own books of a month, from a file or a page: whole, or refused with the row that spoils them."""

from collections.abc import Callable

import pytest
from plugins.community_grid.tests.conftest import CHILD, OTHER, Station, kinds, wrong

from xinqiao.api.casefile.v1.plan_pb2 import ENTRY_KIND_GRID_VISIT

Make = Callable[..., Station]
HEAD = "月份,记录编号,学生编号,走访日期,零报告"


def file(*rows: str, head: str = HEAD) -> bytes:
    return ("\n".join([head, *rows]) + "\n").encode()


@pytest.mark.parametrize("source", ["folder", "rest"])
def test_the_books_are_the_visits_of_the_month_and_a_later_one_corrects_them(station: Make, source: str) -> None:
    at = station(source, exchange="grid-monthly")
    at.simulator.visit("v-1", CHILD, day="2026-09-13")
    at.simulator.visit("v-2", OTHER, day="2026-09-30")
    at.simulator.visit("v-3", OTHER, day="2026-10-01")
    at.read()
    at.simulator.keep_books("2026-09")
    (item,) = at.read()
    books = item.partner_package
    assert (books.exchange, books.period, books.nil, books.more) == ("grid-monthly", "2026-09", False, False)
    assert [(each.source, each.student.name, each.entry_kind, each.day) for each in books.records] == [
        ("v-1", CHILD, ENTRY_KIND_GRID_VISIT, "2026-09-13"), ("v-2", OTHER, ENTRY_KIND_GRID_VISIT, "2026-09-30"),
    ]  # fmt: skip
    at.simulator.keep_books("2026-09", "missing")
    (item,) = at.read()
    assert [each.source for each in item.partner_package.records] == ["v-1"]
    assert item.partner_package.revision > books.revision


def test_a_month_without_a_visit_says_so(station: Make) -> None:
    at = station()
    at.simulator.keep_books("2026-09")
    (item,) = at.read()
    assert (item.partner_package.period, item.partner_package.nil) == ("2026-09", True)


def test_a_whole_county_comes_in_parts(station: Make) -> None:
    at = station()
    at.simulator.drop("books.csv", file(*(f"2026-09,v-{number},{CHILD},2026-09-13," for number in range(1200))))
    items = at.read()
    assert [(len(each.partner_package.records), each.partner_package.more) for each in items] == [
        (500, True), (500, True), (200, False),
    ]  # fmt: skip
    assert len({each.partner_package.revision for each in items}) == 1


@pytest.mark.parametrize("partly", [False, True])
@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (f"2026-09,v-1,{CHILD},2026-09-14,", ("DATA/DUPLICATE", "row 3, column record")),
        ("2026-09,,,,是", ("DATA/NIL", "row 3, column nil")),
        (f"2026-9,v-2,{CHILD},2026-09-14,", ("DATA/CODE", "row 3, column month")),
        ("2026-09,v-2,小雨,2026-09-14,", ("DATA/CODE", "row 3, column student")),
        (f"2026-09,v-2,{CHILD},2026-09-31,", ("DATA/DATE", "row 3, column day")),
    ],
)
def test_a_bad_row_keeps_all_of_the_books_back(
    station: Make, bad: str, fault: tuple[str, str], *, partly: bool
) -> None:
    at = station(accept_valid_rows=partly)
    at.simulator.drop("books.csv", file(f"2026-09,v-1,{CHILD},2026-09-13,", bad))
    items = at.read()
    assert set(kinds(items)) == {"rejected"}
    assert [place for _, place in wrong(items) if place != "books"] == [fault[1]]
    assert ("DATA/INCOMPLETE" in {reason for reason, _ in wrong(items)}) is partly
    assert "小雨" not in str([item.rejected.message for item in items])
