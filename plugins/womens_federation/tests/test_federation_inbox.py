import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st
from plugins.womens_federation.tests.conftest import DAY_US, Desk, kinds, reasons, referral, task

from xinqiao.adapters.files.places import FileRefused
from xinqiao.api.referral.v1 import referral_pb2
from xinqiao_womens_federation import wire
from xinqiao_womens_federation.book import workbook
from xinqiao_womens_federation.clerk import Desk as Clerk
from xinqiao_womens_federation.clerk import Fault
from xinqiao_womens_federation.reading import FederationReader, ReadingSettings
from xinqiao_womens_federation.sheets import read_book

DAY = date(2026, 11, 3)
LECTURE = {"类别": "讲座 Lecture", "对象": "家长 Parents"}
CANARY = "13911112222欧阳秘密"


def filled(desk: Desk) -> Clerk:
    """A workbook with one of everything, whole."""
    desk.deliver(referral(1), referral(2, "c"), task(1))
    clerk = desk.sim.desk()
    clerk.answer(wire.REFERRALS, "referrals/r1", {"办理": wire.DONE, "办理情况": "已走访，家长愿意参加课程"})
    clerk.answer(wire.REFERRALS, "referrals/r2", {"办理": wire.DECLINE, "婉拒原因": wire.NO_ROOM})
    clerk.answer(wire.TASKS, "tasks/t1", {"完成情况": wire.TASK_DONE, "说明": "已上门"})
    clerk.add(wire.ACTIVITIES, 活动编号="A-1", 日期=DAY, 人次=30, 人数=28, **LECTURE)
    clerk.add(
        wire.VISITS,
        学生编号="a" * 26,
        日期=DAY,
        类别=wire.VISIT,
        情况="家里安静",
        已告知学校=wire.YES,
        下次走访="2026-12-01",
    )
    clerk.add(wire.VISITS, 学生编号="b" * 26, 日期="2026-11-04", 类别=wire.SUPPORT, 情况="送去学习用品")
    clerk.said("activities", wire.SOME)
    clerk.said("visits", wire.SOME)
    return clerk


def test_everything_a_clerk_fills_in_comes_as_what_it_is(desk_for: Callable[..., Desk]) -> None:
    desk = desk_for(reports={"activities": "wf-education-monthly", "visits": "wf-visits-monthly"})
    desk.sim.send(filled(desk), "nov.xlsx")
    items = desk.read()
    assert kinds(items) == [*["referral"] * 3, "task_report", "activities", "entry", "entry", "report", "report"]
    accept, outcome, decline = (item.referral for item in items[:3])
    assert (accept.referral, accept.event) == ("referrals/r1", referral_pb2.REFERRAL_EVENT_ACCEPT)
    assert outcome.outcome.care_advice == "已走访，家长愿意参加课程"
    assert (decline.event, decline.reason) == (referral_pb2.REFERRAL_EVENT_DECLINE, wire.NO_ROOM)
    assert (items[3].task_report.name, items[3].task_report.report) == ("tasks/t1", "已上门")
    (activity,) = items[4].activities.activities
    assert (activity.source, activity.day, activity.attendances, activity.persons) == ("A-1", "2026-11-03", 30, 28)
    visit, support = items[5].entry, items[6].entry
    assert visit.student.name == "students/" + "a" * 26
    assert (visit.entry.home_visit.observed, visit.entry.home_visit.next_visit) == ("家里安静", "2026-12-01")
    assert visit.entry.home_visit.told_school
    assert (support.entry.day, support.entry.support.what) == ("2026-11-04", "送去学习用品")
    said = items[8].report
    assert (said.cadence, said.period, said.nil_report, said.students_seen) == (
        "wf-visits-monthly",
        "2026-11",
        False,
        2,
    )
    receipt = json.loads((desk.sim.outbox / "receipts" / "nov.xlsx.receipt.json").read_bytes())
    assert (receipt["outcome"], receipt["items"], receipt["refused"], receipt["errors"]) == ("taken", 9, 0, "")
    assert desk.read() == []


def test_nil_is_said_and_a_blank_says_nothing(desk_for: Callable[..., Desk]) -> None:
    desk = desk_for(reports={"activities": "wf-education-monthly", "visits": "wf-visits-monthly"})
    desk.read()
    clerk = desk.sim.desk()
    clerk.said("visits", wire.NIL)
    desk.sim.send(clerk, "nov.xlsx")
    (item,) = desk.read()
    assert (item.report.cadence, item.report.nil_report) == ("wf-visits-monthly", True)


@pytest.mark.parametrize(("word", "rows"), [(wire.NIL, 1), (wire.SOME, 0)])
def test_nil_that_contradicts_the_rows_is_no_report(desk_for: Callable[..., Desk], word: str, rows: int) -> None:
    desk = desk_for(reports={"activities": "wf-education-monthly"})
    desk.read()
    clerk = desk.sim.desk()
    for number in range(rows):
        clerk.add(wire.ACTIVITIES, 活动编号=f"A-{number}", 日期=DAY, **LECTURE)
    clerk.said("activities", word)
    desk.sim.send(clerk, "nov.xlsx")
    items = desk.read()
    assert kinds(items) == ["activities"] * rows + ["rejected"]
    assert reasons(items) == [("DATA/NIL", "sheet 本月情况, row 2, column 有无")]


@pytest.mark.parametrize(
    ("fault", "reason", "place"),
    [
        ("wrong_choice", "DATA/CODE", "sheet 家庭教育活动, row 2, column 类别"),
        ("text_date", "DATA/DATE", "sheet 家庭教育活动, row 2, column 日期"),
        ("deleted_column", "DATA/HEADER", "sheet 家庭教育活动, row 1, column 类别"),
        ("merged", "DATA/MERGED", "sheet 走访与支持"),
        ("formula", "DATA/FORMULA", "sheet 家庭教育活动, row 2, column F"),
        ("half_written", "DATA/", ""),
    ],
)
def test_what_goes_wrong_on_a_desk_comes_back_with_row_column_and_how_to_mend_it(
    desk: Desk, fault: Fault, reason: str, place: str
) -> None:
    desk.sim.send(filled(desk), "nov.xlsx", fault)
    items = desk.read()
    row_only = fault in ("wrong_choice", "text_date")
    found = [each for each in reasons(items) if each[0] != "DATA/NIL"]
    assert len(found) == 1 and found[0][0].startswith(reason) and found[0][1] == place
    assert len(items) > 1 if row_only else kinds(items) == ["rejected"]
    (told,) = [row for row in desk.sim.errors()["nov.errors.xlsx"] if row["reason"] == found[0][0]]
    assert told["mend"] == wire.MEND.get(found[0][0], wire.MEND_ELSE)
    assert ("A-1" in told["typed"]) is row_only
    receipt = json.loads((desk.sim.outbox / "receipts" / "nov.xlsx.receipt.json").read_bytes())
    assert (receipt["outcome"], receipt["errors"]) == ("partly" if row_only else "refused", "errors/nov.errors.xlsx")


def test_a_mended_file_of_the_same_name_is_taken_and_its_error_sheet_goes(desk: Desk) -> None:
    clerk = filled(desk)
    desk.sim.send(clerk, "nov.xlsx", "wrong_choice")
    first = desk.read()
    desk.sim.send(clerk, "nov.xlsx")
    again = desk.read()
    assert "activities" not in kinds(first) and "activities" in kinds(again)
    assert desk.sim.errors() == {}
    sources = [[item.referral.source for item in items if item.HasField("referral")] for items in (first, again)]
    assert sources[0] == sources[1]  # the gateway replays what it has


def test_the_same_file_twice_is_read_once_whatever_its_name(desk: Desk) -> None:
    desk.sim.send(filled(desk), "nov.xlsx", "duplicate")
    items = desk.read()
    assert kinds(items).count("activities") == 1
    assert desk.read() == []


def test_other_content_under_a_taken_name_is_a_conflict(desk: Desk) -> None:
    clerk = filled(desk)
    desk.sim.send(clerk, "nov.xlsx")
    desk.read()
    clerk.add(wire.ACTIVITIES, 活动编号="A-2", 日期=DAY, **LECTURE)
    desk.sim.send(clerk, "nov.xlsx")
    assert reasons(desk.read()) == [("FILE_CONFLICT", "")]
    desk.sim.send(clerk, "nov-2.xlsx")
    assert kinds(desk.read()).count("activities") == 2


def test_a_file_being_written_waits(desk_for: Callable[..., Desk]) -> None:
    desk = desk_for(settle_s=5)
    data = filled(desk).saved()
    path = desk.sim.inbox / "nov.xlsx"
    path.write_bytes(data[:1000])
    assert desk.read() == []
    desk.clock.us += 4_000_000
    path.write_bytes(data)
    assert desk.read() == []
    desk.clock.us += 5_000_000
    assert "activities" in kinds(desk.read())
    (desk.sim.inbox / "dec.xlsx.part").write_bytes(b"half")
    (desk.sim.inbox / "~$nov.xlsx").write_bytes(b"lock")
    desk.clock.us += 5_000_000
    assert desk.read() == []


def test_where_a_manifest_is_required_nothing_is_read_without_it_and_a_day_later_somebody_is_told(
    desk_for: Callable[..., Desk],
) -> None:
    desk = desk_for(manifest="required")
    data = filled(desk).saved()
    path = desk.sim.drop("nov.xlsx", data)
    desk.clock.us = int(path.stat().st_mtime) * 1_000_000
    assert desk.read() == []
    desk.sim.drop("with.xlsx", data + b"", manifest=True)
    assert "activities" in kinds(desk.read())
    desk.sim.drop("other.xlsx", data[:-9])
    desk.clock.us += 2 * DAY_US
    assert reasons(desk.read()) == [("DATA/MANIFEST", "")]


def test_a_file_that_is_not_its_manifests_is_refused(desk: Desk) -> None:
    data = filled(desk).saved()
    desk.sim.drop("nov.xlsx", data, manifest=True)
    (desk.sim.inbox / "nov.xlsx").write_bytes(data + b"x")
    assert reasons(desk.read()) == [("DATA/MANIFEST", "")]


@pytest.mark.parametrize("name", ["名单.xlsx.exe", "-rf", "-x.xlsx", "a\nb.xlsx", "notes.csv"])
def test_an_odd_name_is_refused_unopened_and_never_repeated_where_it_may_be_a_persons(desk: Desk, name: str) -> None:
    (desk.sim.inbox / name).write_bytes(b"PK")
    items = desk.read()
    assert reasons(items) == [("DATA/FILE_NAME", "")]
    assert "名单" not in str(items) and "\n" not in items[0].rejected.source
    assert desk.read() == []
    assert all(path.parent.name == "receipts" for path in desk.sim.outbox.rglob("*.receipt.json"))


def test_an_empty_file_and_one_that_leads_elsewhere(desk: Desk) -> None:
    (desk.sim.inbox / "empty.xlsx").write_bytes(b"")
    secret = desk.folder / "secret.xlsx"
    secret.write_bytes(filled(desk).saved())
    (desk.sim.inbox / "link.xlsx").symlink_to(secret)
    assert reasons(desk.read()) == [("DATA/EMPTY", "")]


def save(path: Path, options: dict[str, Any], *pages: tuple[str, str]) -> bytes:
    with xlsxwriter.Workbook(str(path), options) as book:
        for name, cell in pages:
            book.add_worksheet(name).write_string(0, 0, cell)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<html><table>", "DATA/FILE_TYPE"),
        (b"\xd0\xcf\x11\xe0" + b"0" * 600, "DATA/FILE_TYPE"),
        (b"%PDF-1.7", "DATA/FILE_TYPE"),
        (b"PK\x03\x04" + b"0" * 100, "DATA/"),
        (b"junk", "DATA/FILE_TYPE"),
    ],
)
def test_what_is_no_workbook_is_refused_by_its_content(data: bytes, reason: str) -> None:
    with pytest.raises(FileRefused) as caught:
        read_book(data, "nov.xlsx", {})
    assert caught.value.reason.startswith(reason)


def test_a_workbook_without_a_sheet_or_with_a_far_cell_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileRefused, match="DATA/SHEET"):
        read_book(save(tmp_path / "a.xlsx", {}, ("a", "x"), ("b", "y")), "nov.xlsx", {})
    with xlsxwriter.Workbook(str(tmp_path / "b.xlsx")) as book:
        page = book.add_worksheet("关爱转介")
        page.write_string(0, 0, "x")
        page.write_string(1_048_575, 16_383, "x")
    with pytest.raises(FileRefused, match="DATA/DIMENSION"):
        read_book((tmp_path / "b.xlsx").read_bytes(), "nov.xlsx", {})


@pytest.mark.parametrize(
    ("sheet", "cells", "reason", "column"),
    [
        (wire.VISITS, {"学生编号": CANARY}, "DATA/ID", "学生编号"),
        (wire.VISITS, {"情况": ""}, "DATA/MISSING", "情况"),
        (wire.VISITS, {"情况": CANARY * 100}, "DATA/TEXT", "情况"),
        (wire.VISITS, {"下次走访": CANARY}, "DATA/DATE", "下次走访"),
        (wire.VISITS, {"已告知学校": CANARY}, "DATA/CODE", "已告知学校"),
        (wire.VISITS, {"情况": CANARY + "\u202e"}, "DATA/CHARSET", "情况"),
        (wire.ACTIVITIES, {"人次": CANARY}, "DATA/NUMBER", "人次"),
        (wire.ACTIVITIES, {"人次": -1}, "DATA/NUMBER_RANGE", "人次"),
        (wire.ACTIVITIES, {"活动编号": CANARY}, "DATA/ID", "活动编号"),
        (wire.ACTIVITIES, {"活动编号": 1234567890123456789}, "DATA/ID", "活动编号"),
    ],
)
def test_a_bad_cell_costs_its_row_and_its_value_stands_only_in_the_clerks_own_sheet(
    desk: Desk, sheet: wire.Sheet, cells: dict[str, Any], reason: str, column: str
) -> None:
    desk.read()
    clerk = desk.sim.desk()
    good = {"学生编号": "a" * 26, "日期": DAY, "类别": wire.VISIT, "情况": "好"}
    if sheet is wire.ACTIVITIES:
        good = {"活动编号": "A-1", "日期": DAY, **LECTURE}
    clerk.add(sheet, **good)
    clerk.add(sheet, **{**good, **cells})
    desk.sim.send(clerk, "nov.xlsx")
    items = desk.read()
    assert kinds(items) == ["activities" if sheet is wire.ACTIVITIES else "entry", "rejected"]
    ((found, place),) = reasons(items)
    assert (found, place) in {
        (reason, f"sheet {sheet.name}, row 3, column {column}"), ("DATA/ID_PRECISION", f"sheet {sheet.name}, row 3, column {column}"),
    }  # fmt: skip
    assert CANARY not in str(items[-1])
    receipts = b"".join(path.read_bytes() for path in (desk.sim.outbox / "receipts").iterdir())
    assert CANARY.encode() not in receipts and b"1391111" not in receipts
    if CANARY in str(cells) and reason != "DATA/CHARSET":
        assert CANARY in desk.sim.errors()["nov.errors.xlsx"][0]["typed"]


@pytest.mark.parametrize(
    ("sheet", "cells", "column"),
    [
        (wire.REFERRALS, {"办理": wire.DECLINE}, "婉拒原因"),
        (wire.REFERRALS, {"办理": wire.DONE}, "办理情况"),
        (wire.REFERRALS, {"办理情况": "写了"}, "办理"),
        (wire.TASKS, {"完成情况": wire.TASK_DONE}, "说明"),
        (wire.TASKS, {"说明": "写了"}, "完成情况"),
    ],
)
def test_a_half_answered_row_is_not_guessed(desk: Desk, sheet: wire.Sheet, cells: dict[str, Any], column: str) -> None:
    desk.deliver(referral(1), task(1))
    clerk = desk.sim.desk()
    clerk.answer(sheet, "", cells)
    desk.sim.send(clerk, "nov.xlsx")
    assert reasons(desk.read()) == [("DATA/MISSING", f"sheet {sheet.name}, row 2, column {column}")]


def test_two_activities_of_one_number_contradict_each_other(desk: Desk) -> None:
    desk.read()
    clerk = desk.sim.desk()
    for attendances in (1, 1, 2):
        clerk.add(wire.ACTIVITIES, 活动编号="A-1", 日期=DAY, 人次=attendances, **LECTURE)
    desk.sim.send(clerk, "nov.xlsx")
    assert reasons(desk.read()) == [("DATA/DUPLICATE", "sheet 家庭教育活动, row 4")]


def test_stopping_after_any_item_loses_nothing_and_repeats_only_what_has_one_effect(desk: Desk) -> None:
    desk.sim.send(filled(desk), "nov.xlsx")
    whole = [item.SerializeToString() for item in desk.adapter.read("")]
    for stop in range(len(whole)):
        (desk.folder / "state" / "files.jsonl").unlink(missing_ok=True)
        cursor, got = "", []
        for item in desk.restart().read(""):
            got.append(item)
            cursor = item.cursor or cursor
            if len(got) > stop:
                break
        rest = list(desk.restart().read(cursor))
        bodies = {item.SerializeToString() for item in (*got, *rest)}
        assert bodies == set(whole)
        assert (len(rest) == 0) is (stop == len(whole) - 1)


def test_what_was_refused_comes_again_whole_and_what_was_taken_does_not(desk: Desk) -> None:
    desk.sim.send(filled(desk), "nov.xlsx", "wrong_choice")
    whole = list(desk.adapter.read(""))
    refused = reasons(whole)
    (desk.folder / "state" / "files.jsonl").unlink()
    taken = [item for item in whole if not item.HasField("rejected")]
    assert refused and taken
    rest = list(desk.restart().read(taken[-1].cursor))
    assert reasons(rest) == refused
    assert len(rest) == len(refused)


def test_a_gateway_restored_from_a_backup_is_told_again(desk: Desk) -> None:
    desk.sim.send(filled(desk), "nov.xlsx")
    first = desk.read()
    desk.cursor = ""
    assert kinds(desk.read()) == kinds(first)


def test_a_referral_that_was_sent_again_is_answered_again(desk: Desk) -> None:
    def accept(name: str) -> str:
        clerk = desk.sim.desk()
        clerk.answer(wire.REFERRALS, "", {"办理": wire.ACCEPT})
        clerk.add(wire.ACTIVITIES, 活动编号=name, 日期=DAY, **LECTURE)
        desk.sim.send(clerk, f"{name}.xlsx")
        return next(item.referral.source for item in desk.read() if item.HasField("referral"))

    desk.deliver(referral(1))
    first = accept("one")
    anew = referral(1)
    anew.request_id = "delivery-0009"
    desk.deliver(anew)
    assert accept("two") != first


def test_the_reader_of_the_command_line_says_what_would_be_taken(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "nov.xlsx"
    path.write_bytes(filled(desk).saved("wrong_choice"))
    told = list(FederationReader().read_file(path, ReadingSettings()))
    assert [getattr(each, "kind", "") for each in told].count("entry") == 2
    assert [each.reason for each in told if type(each).__name__ == "Refused"] == ["DATA/CODE"]
    assert "欧阳" not in str(told)


BOOK = workbook("2026-11", [referral(1), task()])


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, len(BOOK) - 1), data=st.binary(min_size=0, max_size=40), cut=st.booleans())
def test_a_workbook_with_any_damage_is_read_or_refused(at: int, data: bytes, cut: bool) -> None:
    damaged = BOOK[:at] + data + (b"" if cut else BOOK[at + len(data) :])
    try:
        found = read_book(damaged, "nov.xlsx", {})
    except FileRefused as error:
        assert "欧阳" not in str(error)
    else:
        assert found.items == []


@settings(max_examples=60, deadline=None)
@given(
    typed=st.lists(
        st.one_of(st.text(max_size=20), st.integers(-(10**18), 10**18), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.dates()),
        min_size=8, max_size=8,
    ),
    sheet=st.sampled_from([wire.ACTIVITIES, wire.VISITS]),
)  # fmt: skip
def test_whatever_is_typed_is_an_item_or_a_refusal_with_a_place(typed: list[Any], sheet: wire.Sheet) -> None:
    clerk = Clerk(BOOK)
    names = [field.zh for field in sheet.fields]
    clerk.add(sheet, **dict(zip(names, typed, strict=True)))
    try:
        data = clerk.saved()
    except (TypeError, ValueError):
        return
    try:
        found = read_book(data, "nov.xlsx", {})
    except FileRefused as error:
        assert error.reason.startswith("DATA/")
        return
    assert all(mend.sheet and mend.reason.startswith("DATA/") for mend in found.refused)
