"""The league's own books: counts under its own ids, whole or refused, and what differs posted back to it once."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from xinqiao.adapters.errors import PartnerUnavailable
from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.transport import HttpTransport
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse, Rejected
from xinqiao.contract.clock import BEIJING, ManualClock
from xinqiao_youth_league.adapter import Cursor, YouthLeagueAdapter
from xinqiao_youth_league.settings import YouthLeagueSettings, hosts
from xinqiao_youth_league.simulator import YouthLeagueSimulator

LINE = {"id": "blue-09", "activities": 3, "attendances": 45}


def adapter(league: YouthLeagueSimulator, **words: Any) -> YouthLeagueAdapter:
    chosen = YouthLeagueSettings.model_validate({**league.start(), **words})
    context = AgencyContext("league", {}, "test", HttpTransport(hosts(chosen)), Path("unused"))
    return YouthLeagueAdapter(chosen, context, ManualClock(datetime(2026, 10, 12, 9, tzinfo=BEIJING)))


def books(league: YouthLeagueSimulator, cursor: str = "", **words: Any) -> list[ReadResponse]:
    found = adapter(league, **words).read(cursor)
    return [each for each in found if each.WhichOneof("body") in ("partner_package", "rejected")]


def test_the_books_come_after_the_counts_they_are_compared_with(league: YouthLeagueSimulator) -> None:
    league.month("blue-09", "2026-09", 3, 45)
    league.month("gone-09", "2026-09", 0, 0)
    league.keep_books("2026-09")
    *counts, item = adapter(league, exchange="league-monthly").read("")
    package = item.partner_package
    assert (package.exchange, package.period, package.revision, package.nil) == ("league-monthly", "2026-09", 1, False)
    (record,) = package.records
    kept = {each.source: each for one in counts for each in one.activities.activities}[record.service.source]
    for name in ("kind", "day", "times", "attendances", "persons", "withdrawn"):
        assert getattr(record.service, name) == getattr(kept, name)
    assert record.source == "blue-09" and not record.HasField("student")
    assert list(adapter(league).read(item.cursor)) == []


def test_a_month_of_nothing_says_so_and_a_correction_is_a_higher_revision(league: YouthLeagueSimulator) -> None:
    league.keep_books("2026-09")
    league.month("blue-09", "2026-09", 3, 45)
    league.keep_books("2026-09")
    first, second = (each.partner_package for each in books(league))
    assert (first.nil, first.revision, second.nil, second.revision) == (True, 1, False, 2)


@pytest.mark.parametrize(
    "item",
    [
        {"month": "2026-09"},
        {"month": "2026-09", "nil": True, "lines": [LINE]},
        {"month": "2026-09", "lines": [LINE, LINE]},
        {"month": "2026-09", "lines": [LINE, {**LINE, "id": "green-09", "attendances": -1}]},
        {"month": "2026-09", "lines": [{**LINE, "name": "小雨"}]},
        {"month": "2026-13", "lines": [LINE]},
        {"month": "2026-09", "lines": "小雨"},
    ],
)
def test_books_with_a_bad_line_are_no_books(league: YouthLeagueSimulator, item: dict[str, Any]) -> None:
    league._add("books", item)
    league.keep_books("2026-08")
    bad, good = books(league)
    assert bad.rejected.source == "books@1" and bad.rejected.place.startswith("seq 1, ")
    assert "小雨" not in str(bad)
    assert good.partner_package.nil


def test_many_lines_come_in_parts_and_the_cursor_moves_with_the_last(league: YouthLeagueSimulator) -> None:
    league._add("books", {"month": "2026-09", "lines": [{**LINE, "id": f"g-{number}"} for number in range(700)]})
    first, last = books(league)
    assert (len(first.partner_package.records), first.partner_package.more, first.cursor) == (500, True, "")
    assert (len(last.partner_package.records), last.partner_package.more) == (200, False)
    assert Cursor.parse(last.cursor).books == 1


def test_a_cursor_of_before_there_were_books_goes_on_where_it_was() -> None:
    assert Cursor.parse("answers:3,receipts:1,activities:7") == Cursor(3, 1, 7, 0)
    assert Cursor.parse(Cursor(3, 1, 7, 2).text()) == Cursor(3, 1, 7, 2)


def test_a_platform_without_books_is_not_asked_and_not_told(league: YouthLeagueSimulator) -> None:
    league.keep_books("2026-09")
    assert books(league, books=False) == []
    adapter(league, books=False).report([Rejected(source="partner_package", place="blue-09", reason="MISSING")])
    assert league.findings == []


def test_what_differs_is_posted_once_and_nothing_else_is(league: YouthLeagueSimulator) -> None:
    differs = Rejected(source="partner_package", place="blue-09", reason="SERVICE_DIFFERS", message="compare")
    for _ in range(2):
        adapter(league).report([differs, Rejected(source="activities", place="seq 1", reason="DATA/VALUE")])
    assert league.findings == [{"id": "blue-09", "reason": "SERVICE_DIFFERS", "message": "compare"}]
    league.play("down", times=1)
    with pytest.raises(PartnerUnavailable):
        adapter(league).report([Rejected(source="partner_package", place="green-09", reason="MISSING")])
