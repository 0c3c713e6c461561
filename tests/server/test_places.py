"""What an agency sent and nobody took is seen by place, told to it by place, and closed by the next clean one."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from xinqiao.api.adapter.v1.adapter_service_pb2 import Origin, ReadResponse, Rejected
from xinqiao.api.common.v1.types_pb2 import TIER_RED, Holding, Student
from xinqiao.api.gateway.v1.gateway_service_pb2 import CloseHoldingRequest, ListRepairsRequest
from xinqiao.api.referral.v1.referral_service_pb2 import ListHoldingsRequest
from xinqiao.cli import holding
from xinqiao.cli.texts import Texts
from xinqiao.server.not_taken import Tally
from xinqiao.store import refusals, tables

GRID = "grid"


@pytest.fixture
def town(make_town: Callable[..., Any], database: str) -> Iterator[Any]:
    with make_town(database, listen=False) as made:
        yield made


class Agency:
    """A partner that brings these items, and what it is told of them."""

    def __init__(self, town: Any, name: str) -> None:
        self._town, self._name, self._number = town, name, 0
        self.told: list[Rejected] = []

    def bring(self, *items: ReadResponse) -> Tally:
        for item in items:
            self._number += 1
            item.cursor = str(self._number)
        handle: Any = SimpleNamespace(agency=self._name, read=lambda cursor: iter(items), report=self.told.extend)
        return self._town.intake(self._name, handle).run_once()


def stood(source: str, place: str, **words: Any) -> Origin:
    return Origin(source=source, places=[place] if place else [], **words)


def alert(student: str, origin: Origin) -> ReadResponse:
    """A signal about a student whom the gateway does not know by this name."""
    return ReadResponse(origin=origin, signal={"student": {"name": student}, "source": 4, "kind": 1, "facts": "SECRET"})


def bad(place: str, origin: Origin, reason: str = "DATA/CODE") -> ReadResponse:
    return ReadResponse(origin=origin, rejected=Rejected(source=origin.source, place=place, reason=reason))


def held(town: Any) -> list[Holding]:
    found = town.call(town.OPERATOR, ListHoldingsRequest()).holdings
    return [each for each in found if each.kind == "intake"]


NOBODY, NO_ONE = "students/" + "a" * 26, "students/" + "b" * 26


def test_each_refused_alert_of_a_file_is_seen_and_told_by_its_place(town: Any) -> None:
    grid = Agency(town, GRID)
    grid.bring(
        alert(NOBODY, stood("visits.csv@1", "row 2", series="visits.csv")),
        alert(NO_ONE, stood("visits.csv@1", "row 7", series="visits.csv", last=True)),
    )
    (found,) = held(town)
    assert (found.refused[:], found.refused_count) == (
        ["visits.csv, row 2: STUDENT", "visits.csv, row 7: STUDENT"], 2,
    )  # fmt: skip
    assert found.tier == TIER_RED
    assert [(each.source, each.place, each.reason) for each in grid.told] == [
        ("visits.csv@1", "row 2", "STUDENT"), ("visits.csv@1", "row 7", "STUDENT"),
    ]  # fmt: skip
    assert all(each.message for each in grid.told) and "SECRET" not in str(grid.told)


def test_refused_alerts_without_a_place_are_counted(town: Any) -> None:
    Agency(town, GRID).bring(alert(NOBODY, Origin()), alert(NO_ONE, Origin()))
    (found,) = held(town)
    assert (found.refused[:], found.refused_count, found.tier) == (["signal: STUDENT (2)"], 2, TIER_RED)


def test_refused_alerts_of_two_messages_are_two_holdings(town: Any) -> None:
    Agency(town, GRID).bring(alert(NOBODY, stood("alert/1", "data")), alert(NO_ONE, stood("alert/2", "data")))
    assert sorted(line for each in held(town) for line in each.refused) == [
        "alert/1, data: STUDENT", "alert/2, data: STUDENT",
    ]  # fmt: skip


def activity(source: str, day: str) -> dict[str, object]:
    return {"source": source, "kind": 12, "day": day, "times": 1}


def test_a_refused_activity_refuses_none_beside_it_and_is_named(town: Any) -> None:
    grid = Agency(town, GRID)
    batch = [activity("a-1", "2026-09-01"), activity("a-2", "2099-01-01"), activity("a-3", "2026-09-02")]
    origin = Origin(source="months.csv@1", places=["row 2", "row 3", "row 4"], last=True)
    tally = grid.bring(ReadResponse(activities={"activities": batch}, origin=origin))
    assert sorted(row["source"] for row in town.rows(tables.activities, agency=GRID)) == ["a-1", "a-3"]
    assert (tally.updates, [each.place for each in tally.rejected]) == (2, ["row 3"])
    assert [each.refused[:] for each in held(town)] == [["months.csv, row 3: DATE_RANGE"]]


def test_a_student_who_is_not_taken_is_named_by_place(town: Any) -> None:
    pupils = [
        Student(local_id=f"x-{school[-1]}", school=school, birth_date="2011-05-04", family_name="欧阳")
        for school in ("3205830001", "3205830002")
    ]
    origin = Origin(source="roster.zip@1", places=["users.csv, row 2", "users.csv, row 3"], series="roster", last=True)
    Agency(town, town.SCHOOL).bring(ReadResponse(students={"students": pupils}, origin=origin))
    assert [each.refused[:] for each in held(town)] == [["roster.zip, users.csv, row 3: SCOPE"]]


def test_students_brought_one_by_one_have_each_their_own_place(town: Any) -> None:
    items = [
        ReadResponse(
            student=Student(local_id=f"y-{n}", school=school, birth_date="2011-05-04", family_name="欧阳"),
            origin=stood("list.csv@1", f"row {n}", last=n == 3),
        )
        for n, school in enumerate(["3205830001", "3205830002", "3205830001"], 1)
    ]
    assert Agency(town, town.SCHOOL).bring(*items).students == 2
    assert [each.refused[:] for each in held(town)] == [["list.csv, row 2: SCOPE"]]


# -- mended -------------------------------------------------------------------------------------------------------------


def test_a_clean_later_file_of_the_series_closes_what_the_former_left(town: Any) -> None:
    grid = Agency(town, GRID)
    grid.bring(bad("row 2", stood("visits.csv@1", "", series="visits.csv", last=True)))
    grid.bring(ReadResponse(origin=stood("other.csv@2", "", series="other.csv", last=True)))
    assert len(held(town)) == 1
    grid.bring(ReadResponse(origin=stood("visits-correction.csv@3", "", series="visits.csv", last=True)))
    assert held(town) == [] == town.rows(tables.refusals)


def test_the_rest_of_a_file_after_a_crash_does_not_pass_for_a_clean_one(town: Any) -> None:
    grid = Agency(town, GRID)
    grid.bring(bad("row 2", stood("visits.csv@1", "")))
    grid.bring(ReadResponse(origin=stood("visits.csv@1", "", last=True)))
    assert [each.refused[:] for each in held(town)] == [["visits.csv, row 2: DATA/CODE"]]


def test_a_later_file_that_is_bad_too_replaces_what_is_listed(town: Any) -> None:
    grid = Agency(town, GRID)
    grid.bring(bad("row 2", stood("visits.csv@1", "", last=True)))
    opened = held(town)[0].opened_us
    grid.bring(bad("row 9", stood("visits.csv@2", "", last=True), "DATA/DATE"))
    (found,) = held(town)
    assert (found.refused[:], found.opened_us) == (["visits.csv, row 9: DATA/DATE"], opened)


def test_a_file_that_has_not_ended_closes_nothing(town: Any) -> None:
    grid = Agency(town, GRID)
    grid.bring(bad("row 2", stood("visits.csv@1", "", last=True)))
    grid.bring(
        ReadResponse(activities={"activities": [activity("a-1", "2026-09-01")]}, origin=stood("visits.csv@2", ""))
    )
    assert len(held(town)) == 1


def test_closing_by_hand_forgets_the_places(town: Any) -> None:
    Agency(town, GRID).bring(bad("row 2", stood("visits.csv@1", "", last=True)))
    town.call(town.OPERATOR, CloseHoldingRequest(item=held(town)[0].item, reason="MENDED_ELSEWHERE"))
    assert town.rows(tables.refusals) == []


# -- what is kept of a place --------------------------------------------------------------------------------------------


def test_a_place_keeps_no_number_that_could_be_a_persons_and_no_control(town: Any) -> None:
    origin = stood("v-13812345678.csv@1", "", last=True)
    Agency(town, GRID).bring(bad("row 2, 32058320110504123X\x1b[31m", origin), bad("x" * 999, origin))
    (found,) = held(town)
    assert "v-?.csv, row 2, ??[31m: DATA/CODE" in found.refused
    assert max(map(len, found.refused)) < 300
    kept = str(town.rows(tables.refusals))
    assert "1381234" not in kept and "3205832" not in kept


def test_a_file_of_many_bad_rows_keeps_a_thousand_places(town: Any) -> None:
    origin = stood("visits.csv@1", "", last=True)
    Agency(town, GRID).bring(*(bad(f"row {n}", origin) for n in range(refusals.MOST + 5)))
    assert len(town.rows(tables.refusals)) == refusals.MOST
    (found,) = held(town)
    assert (len(found.refused), found.refused_count) == (20, refusals.MOST)


def test_repairs_name_the_first_place(town: Any) -> None:
    Agency(town, GRID).bring(bad("row 2, column met", stood("visits.csv@1", "", last=True)))
    (found,) = (each for each in town.call(town.OPERATOR, ListRepairsRequest()).repairs if each.code == "NOT_TAKEN")
    assert "visits.csv, row 2, column met: DATA/CODE" in found.text_en and "row 2, column met" in found.text_zh


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_list_for_people_has_a_line_for_each_place(language: Any, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"visits.csv, row {n}: STUDENT" for n in range(2, 10)]
    found = Holding(item="intake/community-grid/0f3a", kind="intake", holder="school", refused=lines, deadline_us=1)
    holding._print(Texts(language), [found], 0, json=False)
    shown = capsys.readouterr().out
    assert all(line in shown for line in lines[:5]) and lines[5] not in shown and "..." in shown
