"""What agencies did, as counts: the same source again is the same activity, whatever it says now."""

import pytest

from xinqiao.api.exchange.v1 import activity_service_pb2 as pb
from xinqiao.store import tables


def record(town, *activities, as_="social-work"):
    return town.call(as_, pb.RecordActivitiesRequest(activities=[{"day": "2026-09-30", **each} for each in activities]))


def test_the_same_again_changes_nothing_and_a_correction_replaces(town):
    first = record(
        town, {"source": "a-1", "kind": pb.ACTIVITY_KIND_GROUP, "attendances": 12, "persons": 8, "series": "g"}
    )
    assert (first.recorded, first.replaced, first.unchanged) == (1, 0, 0)
    again = record(
        town,
        {"source": "a-1", "kind": pb.ACTIVITY_KIND_GROUP, "attendances": 12, "persons": 8, "series": "g"},
        {"source": "a-2", "kind": pb.ACTIVITY_KIND_LETTER, "times": 3},
    )
    assert (again.recorded, again.replaced, again.unchanged) == (1, 0, 1)
    mended = record(town, {"source": "a-1", "kind": pb.ACTIVITY_KIND_GROUP, "attendances": 13, "withdrawn": True})
    assert (mended.recorded, mended.replaced, mended.unchanged) == (0, 1, 0)
    (row,) = town.rows(tables.activities, source="a-1")
    assert (row["attendances"], row["persons"], row["withdrawn"]) == (13, 0, True)
    assert town.journal(kind="activities.recorded")[-1]["reason"] == "recorded:0 replaced:1 unchanged:0"


def test_two_agencies_ids_are_apart_and_nobody_reads_anothers(town):
    record(town, {"source": "same", "kind": pb.ACTIVITY_KIND_CALL}, as_="hotline")
    record(town, {"source": "same", "kind": pb.ACTIVITY_KIND_MEETING}, as_="youth-league")
    for who, kind in (("hotline", pb.ACTIVITY_KIND_CALL), ("youth-league", pb.ACTIVITY_KIND_MEETING)):
        shown = town.call(who, pb.ListActivitiesRequest()).activities
        assert [each.kind for each in shown] == [kind]
    everything = town.call(town.OPERATOR, pb.ListActivitiesRequest()).activities
    assert {each.kind for each in everything} >= {pb.ACTIVITY_KIND_CALL, pb.ACTIVITY_KIND_MEETING}


@pytest.mark.parametrize("day", ["2026-02-30", "2099-01-01"])
def test_a_day_that_is_none_or_has_not_come_is_refused_and_nothing_is_kept(town, day):
    request = pb.RecordActivitiesRequest(
        activities=[
            {"source": f"ok-{day}", "kind": 1, "day": "2026-09-30"},
            {"source": f"bad-{day}", "kind": 1, "day": day},
        ]
    )
    assert town.refusal("hotline", request) == "INVALID_ARGUMENT/DATE_RANGE"
    assert town.rows(tables.activities, source=f"ok-{day}") == []


@pytest.mark.parametrize("field", ["source", "series"])
def test_no_persons_number_is_kept_in_the_clear(town, field):
    ids = {"source": "s-9", field: "session/320583201203151000"}
    request = pb.RecordActivitiesRequest(activities=[{**ids, "kind": 1, "day": "2026-09-30"}])
    assert town.refusal("hotline", request) == "INVALID_ARGUMENT/PERSONS_NUMBER"
    assert town.rows(tables.activities, source=ids["source"]) == []


def test_a_school_is_one_there_is_and_one_of_the_callers(town):
    for who, school in (("hotline", "1111111111"), (town.SCHOOL, "3205830002")):
        request = pb.RecordActivitiesRequest(
            activities=[{"source": "s-1", "kind": 1, "day": "2026-09-30", "school": school}]
        )
        assert town.refusal(who, request) == "INVALID_ARGUMENT/SCHOOL"
    assert record(town, {"source": "s-2", "kind": 1, "school": "3205830001"}, as_=town.SCHOOL).recorded == 1
