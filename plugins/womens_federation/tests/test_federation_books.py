"""The sheet of last month's books: what a clerk copies into it, and what keeps all of them back."""

from datetime import date
from typing import Any

import pytest
from plugins.womens_federation.tests.conftest import Desk, kinds, reasons, referral

from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse, Rejected
from xinqiao.api.casefile.v1.plan_pb2 import ENTRY_KIND_HOME_VISIT
from xinqiao.api.referral.v1.referral_pb2 import REFERRAL_STATE_ACCEPTED
from xinqiao_womens_federation import wire

DAY = date(2026, 10, 8)
VISIT = {"台账编号": "V-1", "类别": wire.VISIT, "学生编号": "a" * 26, "日期": DAY}
LECTURE = {
    "台账编号": "A/1", "类别": wire.ACTIVITY_RECORD, "日期": DAY, "活动类别": "讲座 Lecture", "人次": 30, "人数": 28
}  # fmt: skip
ANSWERED = {
    "台账编号": "R-1", "类别": wire.REFERRAL_RECORD, "学生编号": "a" * 26, "转介编号": "referrals/r1",
    "月末办理": wire.ACCEPT,
}  # fmt: skip


def books(desk: Desk, *rows: dict[str, Any], said: str = wire.SOME, name: str = "nov.xlsx") -> list[ReadResponse]:
    """What a look finds after the clerk filled in and sent these books."""
    desk.read()
    clerk = desk.sim.desk()
    for row in rows:
        clerk.add(wire.BOOKS, **row)
    clerk.said(wire.BOOKS_PART, said)
    desk.sim.send(clerk, name)
    return desk.read()


def test_what_the_clerk_copies_comes_as_records_of_the_month_before(desk: Desk) -> None:
    (item,) = books(desk, ANSWERED, VISIT, LECTURE)
    package = item.partner_package
    assert (package.period, package.nil, package.more, package.exchange) == ("2026-10", False, False, "")
    answered, visit, lecture = package.records
    assert (answered.source, answered.referral, answered.state) == ("R-1", "referrals/r1", REFERRAL_STATE_ACCEPTED)
    assert (visit.student.name, visit.entry_kind, visit.day) == (
        "students/" + "a" * 26, ENTRY_KIND_HOME_VISIT, "2026-10-08",
    )  # fmt: skip
    assert (lecture.source, lecture.service.source, lecture.service.attendances) == ("A:1", "A/1", 30)
    assert desk.read() == []


def test_nil_is_said_and_a_blank_brings_no_books(desk: Desk) -> None:
    (item,) = books(desk, said=wire.NIL)
    assert item.partner_package.nil
    assert books(desk, VISIT, said="", name="later.xlsx") == []


def test_a_later_workbook_is_a_higher_revision(desk: Desk) -> None:
    (first,) = books(desk, VISIT)
    (second,) = books(desk, VISIT, LECTURE, name="mended.xlsx")
    assert second.partner_package.revision > first.partner_package.revision


@pytest.mark.parametrize(
    ("spoilt", "column"),
    [
        ({"学生编号": "小雨"}, "学生编号"), ({"日期": "十月八号"}, "日期"), ({"类别": "探访"}, "类别"),
        ({"台账编号": "V-0"}, "台账编号"),
    ],
)  # fmt: skip
def test_a_bad_row_keeps_all_of_the_books_back_and_nothing_else(
    desk: Desk, spoilt: dict[str, Any], column: str
) -> None:
    desk.read()
    clerk = desk.sim.desk()
    clerk.add(wire.BOOKS, **{**VISIT, "台账编号": "V-0"})
    clerk.add(wire.BOOKS, **{**VISIT, **spoilt})
    clerk.said(wire.BOOKS_PART, wire.SOME)
    clerk.add(wire.ACTIVITIES, 活动编号="N-1", 日期=date(2026, 11, 1), 类别="讲座 Lecture", 对象="家长 Parents")
    desk.sim.send(clerk, "nov.xlsx")
    items = desk.read()
    assert kinds(items) == ["activities", "rejected", "rejected"]
    assert [place for _, place in reasons(items)] == [
        f"sheet 上月台账, row 3, column {column}", "sheet 本月情况, row 4, column 有无",
    ]  # fmt: skip
    assert reasons(items)[1][0] == "DATA/INCOMPLETE"


@pytest.mark.parametrize(("said", "rows"), [(wire.NIL, [VISIT]), (wire.SOME, [])])
def test_a_word_that_contradicts_the_rows_brings_no_books(desk: Desk, said: str, rows: list[dict[str, Any]]) -> None:
    assert [reason for reason, _ in reasons(books(desk, *rows, said=said))] == ["DATA/NIL"]


def test_a_workbook_laid_down_before_there_was_the_sheet_is_still_taken(desk: Desk) -> None:
    desk.deliver(referral(1))
    clerk = desk.sim.desk()
    clerk.answer(wire.REFERRALS, "referrals/r1", {"办理": wire.ACCEPT})
    del clerk._sheets[wire.BOOKS.name]
    desk.sim.send(clerk, "old.xlsx")
    assert kinds(desk.read()) == ["referral"]


def test_what_differs_comes_back_by_its_row_and_what_is_missing_by_our_name_for_it(desk: Desk) -> None:
    books(desk, ANSWERED, VISIT)
    found = [("V-1", "ENTRY_UNKNOWN"), ("referrals/r9", "MISSING")]
    told = [Rejected(source="partner_package", place=place, reason=reason, message="m") for place, reason in found]
    for _ in range(2):
        desk.adapter.report(told)
    (lines,) = desk.sim.errors().values()
    assert [(line["sheet"], line["row"], line["reason"]) for line in lines] == [
        ("上月台账", "3", "ENTRY_UNKNOWN"), ("partner_package", "", "MISSING"),
    ]  # fmt: skip
    assert [line["mend"] for line in lines] == [wire.MEND["ENTRY_UNKNOWN"], wire.MEND["MISSING"]]
    assert lines[1]["column"] == "referrals/r9"
