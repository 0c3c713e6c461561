"""An expected report that does not come is a sign: held by somebody, once, whatever restarts in between."""

import random
from datetime import timedelta

import pytest

from xinqiao.api.referral.v1 import referral_service_pb2 as ref
from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao.api.screening.v1 import screening_service_pb2 as scr
from xinqiao.contract.clock import local_date
from xinqiao.screening.cadence import Reports
from xinqiao.screening.expected import expected
from xinqiao.store import tables

OURS, THEIRS = "3205830001", "3205830002"
WEEKLY = """\
version: 1
cadences:
  weekly:
    names: {zh: 每周排查, en: Weekly check}
    role: SCHOOL_PLATFORM
    every: week
    ask_within: P1D
"""
VISITS = (
    WEEKLY
    + """\
  visits:
    names: {zh: 走访, en: Visits}
    role: GRID
    per: partner
    every: week
    school_days_only: false
    ask: OPERATOR
"""
)
CLASSES = (
    WEEKLY
    + f"""\
    units: {{"{OURS}": [七1, 七2]}}
"""
)
DUE, MISSED, RECEIVED = pb.REPORT_STATE_DUE, pb.REPORT_STATE_MISSED, pb.REPORT_STATE_RECEIVED


@pytest.fixture
def weekly(make_town):
    """A town on Monday, 12 October 2026, in which every school owes a report a week."""
    with make_town(listen=False, cadence=WEEKLY) as town:
        yield town


def tick(town):
    return town.gate.gateway.reports.tick(town.gate.gateway.store)


def rows(town, **equal):
    return sorted(town.rows(tables.expected_reports, **equal), key=lambda row: (row["due_us"], row["subject"]))


def came(town, period, *, school=OURS, as_=None, cadence="weekly", **words):
    words = words or {"nil_report": True}
    request = scr.SubmitReportRequest(cadence=cadence, period=period, school=school, **words)
    return town.call(as_ or town.SCHOOL, request).report


def held(town):
    return town.rows(tables.holdings, kind="report")


def test_a_report_is_expected_of_every_school_and_once_however_often_the_clock_ticks(weekly):
    for _ in range(3):
        assert tick(weekly) == 0
    assert [(row["subject"], row["period"], row["state"]) for row in rows(weekly)] == [
        (OURS, "2026-W42", DUE), (THEIRS, "2026-W42", DUE)
    ]  # fmt: skip
    assert held(weekly) == []


def test_a_report_that_does_not_come_is_held_by_the_schools_psychologist_until_a_working_day_later(weekly):
    tick(weekly)
    weekly.clock.advance(timedelta(days=4, hours=10))  # Friday, 19:00 in Beijing
    assert tick(weekly) == 2
    row = rows(weekly, subject=OURS)[0]
    (mine,) = [h for h in held(weekly) if h["school"] == OURS]
    assert row["state"] == MISSED and mine["item"] == f"reports/{row['id']}"
    assert (mine["holder"], mine["step"], mine["student"]) == (weekly.PSYCH, "ask", None)
    assert mine["deadline_us"] == weekly.clock.now_us() + int(timedelta(days=3).total_seconds() * 1e6)  # over a weekend
    (missed,) = weekly.journal(kind="report.missed", resource=mine["item"])
    assert (missed["reason"], missed["partner"]) == ("weekly:2026-W42", weekly.SCHOOL)
    assert mine["item"] in [h.item for h in weekly.call(weekly.PSYCH, ref.ListHoldingsRequest()).holdings]


def test_a_missed_report_is_declared_once_also_by_two_nodes_and_after_a_restart(weekly):
    tick(weekly)
    weekly.clock.advance(timedelta(days=5))
    tick(weekly)
    gateway = weekly.gate.gateway
    again = Reports(gateway.door, gateway.bundle.calendar, gateway.bundle.cadences, "bureau-admin")  # knows nothing yet
    assert again.tick(gateway.store) == 0 and tick(weekly) == 0
    assert len(weekly.journal(kind="report.missed")) == len(held(weekly)) == 2


def test_days_of_downtime_are_caught_up_one_by_one_the_oldest_first(weekly):
    tick(weekly)
    weekly.clock.advance(timedelta(days=33))  # Saturday, 14 November
    assert tick(weekly) == 10
    missed = [row["reason"] for row in weekly.journal(kind="report.missed", partner=weekly.SCHOOL)]
    assert missed == [f"weekly:2026-W{week}" for week in (42, 43, 44, 45, 46)]
    assert len(held(weekly)) == 10
    assert min(h["deadline_us"] for h in held(weekly)) > weekly.clock.now_us()  # nobody is late on the spot


def test_a_long_downtime_is_caught_up_in_bounded_commands(weekly, monkeypatch):
    for limit, size in (("_BATCH", 3), ("_EACH", 2), ("_SUBJECTS", 1)):
        monkeypatch.setattr(f"xinqiao.screening.cadence.{limit}", size)
    tick(weekly)
    weekly.clock.advance(timedelta(days=33))
    assert tick(weekly) == 10
    assert [len(rows(weekly, state=MISSED)), len(held(weekly)), len(rows(weekly, state=DUE))] == [10, 10, 0]


def test_a_school_new_to_the_district_owes_nothing_from_before(make_town):
    with make_town(listen=False, cadence=WEEKLY) as town:
        town.clock.advance(timedelta(days=33, hours=-20))
        tick(town)
        assert [row["period"] for row in rows(town, subject=OURS)] == ["2026-W46"]


def test_a_cadence_switched_on_after_the_due_hour_begins_with_the_next_period(weekly):
    weekly.clock.advance(timedelta(days=4, hours=10))  # Friday, 19:00
    tick(weekly)
    assert rows(weekly) == []
    weekly.clock.advance(timedelta(days=3))
    tick(weekly)
    assert [row["period"] for row in rows(weekly, subject=OURS)] == ["2026-W43"]


def test_nothing_to_report_is_a_report(weekly):
    tick(weekly)
    report = came(weekly, "2026-W42", nil_report=True, students_seen=812)
    assert (report.state, report.nil_report, report.students_seen, report.holder) == (RECEIVED, True, 812, "")
    weekly.clock.advance(timedelta(days=5))
    assert tick(weekly) == 1  # the other school's
    assert [h["school"] for h in held(weekly)] == [THEIRS]


def test_a_late_report_ends_its_holding_and_is_on_record_as_late(weekly):
    tick(weekly)
    weekly.clock.advance(timedelta(days=5))
    tick(weekly)
    report = came(weekly, "2026-W42", concerns=2)
    assert report.state == RECEIVED
    assert [h["school"] for h in held(weekly)] == [THEIRS]
    (row,) = weekly.journal(kind="report.received", resource=report.name)
    assert row["reason"] == "late"
    assert tick(weekly) == 0


def test_an_unanswered_missed_report_climbs_the_ladder_like_everything_else(weekly):
    tick(weekly)
    weekly.clock.advance(timedelta(days=5))
    tick(weekly)
    weekly.clock.advance(timedelta(days=4))
    assert weekly.gate.gateway.ladder.climb() == 2
    assert [h["holder"] for h in held(weekly) if h["school"] == OURS] == [weekly.SCHOOL]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"nil_report": True, "concerns": 1}, "INVALID_ARGUMENT/NIL_REPORT"),
        ({"students_seen": 5}, "INVALID_ARGUMENT/NIL_REPORT"),
        ({"nil_report": True, "school": THEIRS}, "NOT_FOUND/REPORT"),
        ({"nil_report": True, "period": "2026-W50"}, "NOT_FOUND/REPORT"),
        ({"nil_report": True, "school": ""}, "NOT_FOUND/REPORT"),
        ({"nil_report": True, "cadence": "daily"}, "NOT_FOUND/REPORT"),
    ],
)
def test_a_report_that_is_not_expected_or_contradicts_itself_is_refused(weekly, words, reason):
    tick(weekly)
    request = scr.SubmitReportRequest(**{"cadence": "weekly", "period": "2026-W42", "school": OURS, **words})
    assert weekly.refusal(weekly.SCHOOL, request) == reason


def test_a_report_comes_once(weekly):
    tick(weekly)
    came(weekly, "2026-W42")
    again = scr.SubmitReportRequest(cadence="weekly", period="2026-W42", school=OURS, concerns=3)
    assert weekly.refusal(weekly.SCHOOL, again) == "FAILED_PRECONDITION/STATE"


def test_everybody_sees_what_is_owed_and_with_whom_and_the_operator_sees_all(weekly):
    tick(weekly)
    mine = weekly.call(weekly.PSYCH, scr.ListExpectedReportsRequest()).reports
    assert [(r.subject, r.holder, r.title_zh) for r in mine] == [(OURS, weekly.SCHOOL, "每周排查")]
    assert weekly.call("grid", scr.ListExpectedReportsRequest()).reports == []
    weekly.clock.advance(timedelta(days=5))
    tick(weekly)
    every = weekly.call(weekly.OPERATOR, scr.ListExpectedReportsRequest(open_only=True)).reports
    assert {(r.subject, r.holder, r.state) for r in every} == {
        (OURS, weekly.PSYCH, MISSED), (THEIRS, "psych-li", MISSED)
    }  # fmt: skip


def test_pages_of_expected_reports_hold_each_once_in_order(weekly):
    tick(weekly)
    weekly.clock.advance(timedelta(days=33))
    tick(weekly)
    seen, token = [], ""
    while True:
        page = weekly.call(weekly.OPERATOR, scr.ListExpectedReportsRequest(page_size=3, page_token=token))
        seen += [(r.due_us, r.name) for r in page.reports]
        if not (token := page.next_page_token):
            break
    assert seen == sorted(seen) and len(set(seen)) == len(seen) == 10


def test_a_partner_without_a_school_owes_its_own_reports_and_the_operator_asks(make_town):
    with make_town(listen=False, cadence=VISITS) as town:
        tick(town)
        (row,) = rows(town, cadence="visits")
        assert (row["subject"], row["reporter"], row["school"]) == ("grid", "grid", "")
        town.clock.advance(timedelta(days=5))
        tick(town)
        (asked,) = [h for h in held(town) if h["item"] == f"reports/{row['id']}"]
        assert asked["holder"] == town.OPERATOR
        assert came(town, "2026-W42", school="", as_="grid", cadence="visits").state == RECEIVED


def test_classes_report_one_by_one_where_the_district_lists_them(make_town):
    with make_town(listen=False, cadence=CLASSES) as town:
        tick(town)
        assert {(row["subject"], row["unit"]) for row in rows(town)} == {(OURS, "七1"), (OURS, "七2"), (THEIRS, "")}
        assert came(town, "2026-W42", unit="七2", nil_report=True).unit == "七2"
        assert len(rows(town, state=DUE)) == 2


def test_a_calendar_that_runs_out_is_held_by_the_operator_before_the_reports_fall_silent(make_town):
    ends = 'version: 1\ndistrict: "320583"\nterms: [{id: a, school_year: 2026, first: 2026-09-01, last: 2026-11-06}]\n'
    with make_town(listen=False, cadence=WEEKLY, calendar=ends) as town:
        tick(town)
        (row,) = town.rows(tables.holdings, kind="calendar")
        assert (row["holder"], row["step"]) == (town.OPERATOR, "extend-calendar")
        assert [r["reason"] for r in town.journal(kind="calendar.short")] == ["terms-run-out"]


def test_holidays_that_nobody_has_told_yet_are_held_by_the_operator(make_town):
    late = 'version: 1\ndistrict: "320583"\nterms: [{id: a, school_year: 2030, first: 2030-09-01, last: 2031-06-30}]\n'
    with make_town(listen=False, cadence=WEEKLY, calendar=late) as town:
        town.clock.advance(timedelta(days=365 * 4 + 60))
        tick(town)
        assert [r["reason"] for r in town.journal(kind="calendar.short")] == ["holidays-unknown:2030"]
        assert all(row["guessed"] for row in rows(town))


def test_the_tick_of_a_running_gateway_makes_the_reports(make_town):
    with make_town(listen=False, reports=True) as town:
        assert "reports" in town.gate.gateway.ticks.names


def test_reports_are_the_same_on_every_database(make_town, database):
    with make_town(database, listen=False, cadence=VISITS) as town:
        tick(town)
        town.clock.advance(timedelta(days=12))
        assert tick(town) == 6
        assert tick(town) == 0
        assert came(town, "2026-W42").state == RECEIVED
        assert len(held(town)) == 5


def test_no_cadence_no_reports(fresh_town):
    tick(fresh_town)
    assert fresh_town.rows(tables.expected_reports) == []


@pytest.mark.parametrize("seed", range(4))
def test_over_any_history_no_report_is_lost_and_none_is_missed_twice(make_town, seed):
    """Random downtimes, restarts and reports, in time, late or never."""
    rng = random.Random(seed)
    with make_town(listen=False, cadence=VISITS) as town:
        gateway = town.gate.gateway
        begun = local_date(town.clock.now_us())
        tick(town)
        received = set()
        for _ in range(25):
            town.clock.advance(timedelta(hours=rng.choice([1, 7, 30, 24 * 6, 24 * 20])))
            reports = gateway.reports if rng.random() < 0.5 else Reports(
                gateway.door, gateway.bundle.calendar, gateway.bundle.cadences, town.OPERATOR
            )  # fmt: skip
            reports.tick(gateway.store)
            waiting = [row for row in rows(town) if row["state"] != RECEIVED]
            for row in rng.sample(waiting, len(waiting) // 2):
                by_school = {OURS: town.SCHOOL, THEIRS: "other-school", "": "grid"}
                came(
                    town, row["period"], school=row["school"], as_=by_school[row["school"]], cadence=row["cadence"]
                )  # fmt: skip
                received.add(row["id"])
            state = {row["id"]: row["state"] for row in rows(town)}
            missed = {f"reports/{id_}" for id_, each in state.items() if each == MISSED}
            assert {h["item"] for h in held(town)} == missed
            assert {id_ for id_, each in state.items() if each == RECEIVED} == received
            late = [row["resource"] for row in town.journal(kind="report.missed")]
            assert len(late) == len(set(late)) and missed <= set(late)
            assert all(row["due_us"] >= town.clock.now_us() - 10_000_000 for row in rows(town, state=DUE))
        today = local_date(town.clock.now_us())
        for name, cadence in gateway.bundle.cadences.items():
            owed = {each.period for each in expected(cadence, gateway.bundle.calendar, begun, today)}
            for subject in ["grid"] if cadence.per == "partner" else [OURS, THEIRS]:
                assert {row["period"] for row in rows(town, cadence=name, subject=subject)} == owed
