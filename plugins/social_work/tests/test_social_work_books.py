"""The agency's own books of a month: a line a service, session or referral; whole, or refused with where it is bad."""

import os
from pathlib import Path
from typing import Any

import pytest

from xinqiao.adapters.protocols import Accepted, AgencyContext, Refused
from xinqiao.adapters.transport import HttpTransport
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse
from xinqiao.api.casefile.v1.plan_pb2 import ENTRY_KIND_SESSION
from xinqiao.api.referral.v1.referral_pb2 import REFERRAL_STATE_ATTENDED
from xinqiao_social_work import wire
from xinqiao_social_work.adapter import SocialWorkAdapter
from xinqiao_social_work.reading import ReadingSettings, SocialWorkReader
from xinqiao_social_work.settings import SocialWorkSettings
from xinqiao_social_work.simulator import SocialWorkSimulator

CHILD = "students/" + "a" * 26
HEAD = tuple(column.name for column in wire.BOOK_COLUMNS)
SESSION = ("2026-09", "个案服务记录", "s-1", "2026-09-10", "", "", "", CHILD, "", "", "")
LETTERS = ("2026-09", "社工信箱", "l-1", "2026-09-12", "7", "", "", "", "", "", "")
REFERRAL = ("2026-09", "转介", "r-1", "", "", "", "", CHILD, "referrals/r1", "到访", "")


class Agency:
    """The adapter, its simulated agency, and the part of the gateway that keeps the cursor."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.sim = SocialWorkSimulator(folder / "agency")
        settings = SocialWorkSettings.model_validate({**self.sim.start(), **more})
        context = AgencyContext("aide", {}, "test", HttpTransport([]), folder / "state")
        context.folder.mkdir()
        self.adapter = SocialWorkAdapter(settings, context)
        self.cursor = ""

    def books(self, *rows: tuple[str, ...], name: str = "月度台账-2026-09.csv", later: int = 0) -> list[ReadResponse]:
        path = self.sim.drop(name, HEAD, rows)
        os.utime(path, (1_790_000_000 + later, 1_790_000_000 + later))
        return self.read()

    def read(self) -> list[ReadResponse]:
        items = list(self.adapter.read(self.cursor))
        self.cursor = items[-1].cursor if items else self.cursor
        return items


@pytest.fixture
def agency(tmp_path: Path) -> Agency:
    return Agency(tmp_path, exchange="aide-monthly")


def test_a_line_is_a_service_a_session_is_an_entry_too_and_a_referral_is_one(agency: Agency) -> None:
    (item,) = agency.books(SESSION, LETTERS, REFERRAL)
    package = item.partner_package
    assert (package.exchange, package.period, package.nil) == ("aide-monthly", "2026-09", False)
    session, entry, letters, referral = package.records
    assert (session.source, session.service.source, session.service.attendances) == ("session:s-1", "session/s-1", 1)
    assert (entry.student.name, entry.entry_kind, entry.day) == (CHILD, ENTRY_KIND_SESSION, "2026-09-10")
    assert (letters.service.times, letters.service.attendances) == (7, 0)
    assert (referral.referral, referral.state) == ("referrals/r1", REFERRAL_STATE_ATTENDED)
    assert agency.read() == []


def test_a_later_file_is_a_higher_revision_and_the_same_is_the_same(agency: Agency) -> None:
    (first,) = agency.books(SESSION)
    (second,) = agency.books(SESSION, LETTERS, name="月度台账-2026-09-更正.csv", later=60)
    assert second.partner_package.revision == first.partner_package.revision + 60


def test_a_month_of_nothing_says_so(agency: Agency) -> None:
    (item,) = agency.books(("2026-09", *[""] * 9, "是"))
    assert item.partner_package.nil


@pytest.mark.parametrize(
    ("rows", "reason", "place"),
    [
        ([(*SESSION[:7], "小雨", "", "", "")], "DATA/", "row 2, column 学生代号"),
        ([SESSION, SESSION], "DATA/DUPLICATE", "row 3, column 编号"),
        ([("2026-09", "家访", "h-1", "2026-09-10", *[""] * 7)], "DATA/CODE", "row 2, column 类别"),
        ([SESSION, ("2026-09", *[""] * 9, "是")], "DATA/NIL", "row 3, column 零报告"),
        ([("2026-09", *[""] * 9, "是"), SESSION], "DATA/NIL", "row 3, column 零报告"),
        ([("九月", *SESSION[1:])], "DATA/", "row 2, column 月份"),
        ([(*SESSION[:3], "2026-09-31", *SESSION[4:])], "DATA/DATE", "row 2, column 日期"),
        ([(*REFERRAL[:9], "在办", "")], "DATA/CODE", "row 2, column 月末状态"),
        ([(*LETTERS[:4], "七", *LETTERS[5:])], "DATA/NUMBER", "row 2, column 次数"),
        ([], "DATA/EMPTY", ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("partly", [False, True])
def test_one_bad_row_refuses_all_of_them_whatever_the_settings(
    tmp_path: Path, rows: list[tuple[str, ...]], reason: str, place: str, *, partly: bool
) -> None:
    agency = Agency(tmp_path, accept_valid_rows=partly)
    (item,) = agency.books(*rows)
    assert item.rejected.reason.startswith(reason) and item.rejected.place == place
    assert item.rejected.message.startswith("whole file refused") and "小雨" not in item.rejected.message
    assert agency.read() == []


def test_books_are_tried_without_any_gateway(agency: Agency) -> None:
    path = agency.sim.drop("月度台账-2026-09.csv", HEAD, [SESSION])
    found = list(SocialWorkReader().read_file(path, ReadingSettings()))
    assert found == [Accepted("books", "2026-09 session:s-1"), Accepted("books", "2026-09 session:s-1:entry")]
    path = agency.sim.drop("月度台账-2026-08.csv", HEAD, [SESSION, SESSION])
    refused = list(SocialWorkReader().read_file(path, ReadingSettings()))
    assert [(each.reason, each.place) for each in refused if isinstance(each, Refused)] == [
        ("DATA/DUPLICATE", "row 3, column 编号"), ("DATA/DUPLICATE", "row 3, column 编号"),
    ]  # fmt: skip


def test_every_bad_row_is_named_at_once(agency: Agency) -> None:
    bad = [(*SESSION[:2], f"s-{number}", "昨天", *SESSION[4:]) for number in range(3)]
    path = agency.sim.drop("月度台账-2026-09.csv", HEAD, [SESSION, *bad])
    whole, *rows = SocialWorkReader().read_file(path, ReadingSettings())
    assert isinstance(whole, Refused) and "3 row(s)" in whole.message
    assert [each.place for each in rows] == [f"row {row}, column 日期" for row in (3, 4, 5)]
