"""Clocks, rosters and ladders: who must act, until when, who is asked next, and that it fires once, also after a crash."""

import threading
from datetime import UTC, date, datetime, timedelta

import pytest
from tests.referral.conftest import second_channel

from xinqiao.api.casefile.v1 import casefile_service_pb2 as case
from xinqiao.api.referral.v1 import referral_pb2 as pb
from xinqiao.api.referral.v1 import referral_service_pb2 as rpc
from xinqiao.api.screening.v1 import screening_service_pb2 as scr
from xinqiao.config.bundle import load_district
from xinqiao.config.clocks import Clocks
from xinqiao.config.district import District
from xinqiao.config.problems import ConfigError
from xinqiao.contract.clock import BEIJING, from_us, to_us
from xinqiao.contract.workdays import WorkCalendar
from xinqiao.store import tables

RED, ORANGE, YELLOW = 4, 3, 2
MIDDLE, PRIMARY = "3205830001", "3205830101"


def held(town, name):
    return town.rows(tables.holdings, item=name)[0]


def at(text):
    return to_us(datetime.fromisoformat(text).replace(tzinfo=BEIJING))


def district(folder, text):
    path = folder / "320583.yaml"
    path.write_text(f'version: 1\ndistrict: "320583"\n{text}', "utf-8")
    return load_district(path)


# -- clocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tier", "step", "span"),
    [
        (RED, "acknowledge", timedelta(minutes=30)), (RED, "guardian", timedelta(hours=1)),
        (RED, "accept", timedelta(hours=24)), (ORANGE, "accept", timedelta(hours=48)),
        (YELLOW, "accept", timedelta(days=7)), (RED, "receive", timedelta(seconds=20)),
    ],
)  # fmt: skip
def test_the_shipped_clocks_are_the_ones_of_the_district(tier, step, span):
    start = at("2026-10-12T09:00")
    assert Clocks(District(district="320583")).deadline(tier, step, start) == start + span // timedelta(microseconds=1)


def test_a_working_time_clock_skips_nights_that_are_no_office_hours_and_holidays(tmp_path):
    overlay = district(
        tmp_path, "clocks: {ORANGE: {acknowledge: PT4H working, guardian: PT24H, accept: PT48H, outcome: P14D}}"
    )
    offices = WorkCalendar(hours=((datetime(1, 1, 1, 8, 30).time(), datetime(1, 1, 1, 17, 30).time()),))
    clocks = Clocks(overlay, offices)
    # 2026-09-30 is a Wednesday before the National Day holiday of 1 to 7 October.
    assert from_us(clocks.deadline(ORANGE, "acknowledge", at("2026-09-30T16:30"))).astimezone(BEIJING) == datetime(
        2026, 10, 8, 11, 30, tzinfo=BEIJING
    )
    assert clocks.deadline(ORANGE, "accept", at("2026-09-30T16:30")) == at("2026-10-02T16:30")  # wall-clock


def test_red_does_not_wait_for_office_hours(tmp_path):
    with pytest.raises(ConfigError, match="office hours"):
        district(
            tmp_path,
            "clocks: {RED: {acknowledge: PT30M working, guardian: PT1H, accept: PT24H, outcome: P7D}}",
        )


def test_a_step_may_have_a_clock_of_its_own(tmp_path):
    overlay = district(
        tmp_path,
        "clocks: {RED: {acknowledge: PT30M, guardian: PT1H, accept: PT24H, outcome: P7D, refer: PT2H, close: P3D}}",
    )
    clocks, start = Clocks(overlay), at("2026-10-12T09:00")
    assert from_us(clocks.deadline(RED, "refer", start)) - from_us(start) == timedelta(hours=2)
    assert from_us(clocks.deadline(RED, "close", start)) - from_us(start) == timedelta(days=3)
    assert from_us(clocks.deadline(RED, "confirm", start)) - from_us(start) == timedelta(hours=1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("clocks: {ORANGE: {acknowledge: PT4H workdays, guardian: PT24H, accept: PT48H, outcome: P14D}}", "duration"),
        ("crisis: {next_after: PT2M, phone_after: PT60S}", "next_after is longer"),
        ("rosters: [{school: '1', week: {MONDAY: a}, stand_in: b}]", "MON"),
        ("rosters: [{school: '1', week: {}, stand_in: b, exceptions: [{first: 2026-02-02, last: 2026-02-01, holder: c}]}]",
         "last is before first"),
    ],
)  # fmt: skip
def test_an_overlay_that_makes_no_sense_is_refused_with_its_place(tmp_path, text, words):
    with pytest.raises(ConfigError) as caught:
        district(tmp_path, text)
    assert words in str(caught.value)
    assert "320583.yaml:3" in str(caught.value)


# -- the Kunshan week -------------------------------------------------------------------------------------------------

KUNSHAN = """
rosters:
  - school: "3205830001"
    week: {TUE: worker-lu, WED: worker-lu}
    stand_in: psych-chen
  - school: "3205830101"
    week: {MON: worker-lu, THU: worker-lu, FRI: worker-lu}
    stand_in: psych-wang
    exceptions: [{first: 2026-11-26, holder: psych-zhou}, {first: 2026-12-01, last: 2026-12-04, holder: psych-wu}]
"""


@pytest.mark.parametrize(
    ("day", "middle", "primary"),
    [
        ("2026-11-23", "psych-chen", "worker-lu"),  # Monday
        ("2026-11-24", "worker-lu", "psych-wang"),  # Tuesday
        ("2026-11-25", "worker-lu", "psych-wang"),  # Wednesday
        ("2026-11-26", "psych-chen", "psych-zhou"),  # Thursday, an exception
        ("2026-11-27", "psych-chen", "worker-lu"),  # Friday
        ("2026-11-28", "psych-chen", "psych-wang"),  # Saturday
        ("2026-12-03", "psych-chen", "psych-wu"),  # Thursday, an exception of four days
        ("2026-10-06", "psych-chen", "psych-wang"),  # Tuesday, a holiday: the stand-ins
        ("2026-10-10", "psych-chen", "psych-wang"),  # Saturday, a make-up day without an entry
    ],
)
def test_who_is_on_duty_follows_the_kunshan_week_with_its_exceptions_and_holidays(tmp_path, day, middle, primary):
    clocks = Clocks(district(tmp_path, KUNSHAN))
    for hour in ("00:00", "12:00", "23:59"):
        assert clocks.on_duty(MIDDLE, at(f"{day}T{hour}")) == middle
        assert clocks.on_duty(PRIMARY, at(f"{day}T{hour}")) == primary
    assert clocks.on_duty("another", at(f"{day}T12:00")) == ""


def test_everybody_a_roster_can_name_must_be_a_partner(tmp_path):
    names = {name for _, name in district(tmp_path, KUNSHAN).named()}
    assert names == {"worker-lu", "psych-chen", "psych-wang", "psych-zhou", "psych-wu"}


@pytest.fixture
def resident(make_town, tmp_path):
    """A town whose school has a resident social worker on Tuesday and Wednesday; it is Monday 12 October 2026."""

    def change(settings):
        settings["partners"]["worker-lu"] = {
            **settings["partners"]["psych-chen"], "spiffe": "spiffe://xinqiao.example/partner/worker-lu",
            "names": {"zh": "陆社工", "en": "Ms Lu"},
            "agreement": {"number": "T-1", "valid_from": "2026-01-01", "valid_to": "2028-12-31"},
            "schools": [MIDDLE], "roles": ["SCHOOL_PSYCHOLOGIST"],
        }  # fmt: skip
        roster = {"school": MIDDLE, "week": {"TUE": "worker-lu", "WED": "worker-lu"}, "stand_in": "psych-chen"}
        second_channel(settings, tmp_path, rosters=[roster])

    with make_town(listen=False, change=change) as town:
        yield town


def test_a_new_case_goes_to_who_is_on_duty_that_day(resident):
    town = resident
    for days, holder in ((0, "psych-chen"), (1, "worker-lu"), (1, "worker-lu"), (1, "psych-chen")):
        town.clock.advance(timedelta(days=days))
        made = town.submit(town.student())
        assert held(town, made.triage.name)["holder"] == holder
        assert held(town, made.signal)["holder"] == holder


def test_what_is_overdue_goes_to_who_is_on_duty_then_to_the_next_person_and_at_last_to_the_operator(resident):
    town = resident
    town.clock.advance(timedelta(days=1))  # Tuesday
    local = town.student()
    town.consent(local)
    name = town.refer(local).referral.name
    seen = []
    for _ in range(5):
        deadline = held(town, name)["deadline_us"]
        town.clock.advance(timedelta(microseconds=deadline + 1 - town.clock.now_us()))
        town.gate.gateway.ladder.climb()
        seen.append(held(town, name)["holder"])
    # On Wednesday she is on duty; on Thursday no more, but nobody is skipped and nobody gets it twice.
    assert seen == ["worker-lu", "psych-chen", town.SCHOOL, town.OPERATOR, town.OPERATOR]


def test_what_began_with_the_psychologist_never_comes_back_to_her(resident):
    town = resident
    signal = town.submit(town.student()).signal
    seen = [held(town, signal)["holder"]]
    for _ in range(5):
        town.clock.advance(timedelta(days=1))
        town.gate.gateway.ladder.climb()
        seen.append(held(town, signal)["holder"])
    assert seen == ["psych-chen", "worker-lu", town.SCHOOL, town.OPERATOR, town.OPERATOR, town.OPERATOR]


def test_at_the_end_of_the_ladder_the_list_shows_whom_to_telephone(resident):
    town = resident
    local = town.student()
    town.consent(local)
    name = town.refer(local).referral.name
    phones = []
    for _ in range(5):
        town.clock.advance(timedelta(days=2))
        town.gate.gateway.ladder.climb()
        listed = {h.item: h for h in town.call(town.OPERATOR, rpc.ListHoldingsRequest()).holdings}
        phones.append([phone.number for phone in listed[name].phones])
    assert phones[1] == ["051200000003"]  # on Friday it is the psychologist's, whose duty room has a number
    assert {"110", "120", "12356"} <= set(phones[-1])


# -- telling a guardian -----------------------------------------------------------------------------------------------

PARENTS = [
    {"full_name": "父亲甲", "relation": "father", "phone": "13900000001", "in_conflict": True},
    {"full_name": "母亲乙", "relation": "mother", "phone": "13900000002"},
]


def tell(town, local):
    duties = town.rows(tables.duties, student=town.inside_id(local), kind="tell-guardian")
    return f"duties/{duties[0]['id']}" if duties else ""


def duty_of(town, local, name):
    request = case.GetCaseRequest(student={"local_id": local})
    return next(d for d in town.call(town.PSYCH, request).case.duties if d.name == name)


def test_confirming_red_opens_the_step_of_telling_a_guardian_within_the_hour(fresh_town):
    town = fresh_town
    local = town.student(guardians=PARENTS)
    before = town.clock.now_us()
    town.confirmed(local)
    row = held(town, tell(town, local))
    assert (row["step"], row["holder"], row["tier"]) == ("guardian", town.PSYCH, RED)
    assert timedelta(minutes=59) < from_us(row["deadline_us"]) - from_us(before) <= timedelta(hours=1, seconds=1)


def test_a_milder_tier_opens_no_such_step(fresh_town):
    town = fresh_town
    local = town.student(guardians=PARENTS)
    town.confirmed(local, tier=ORANGE)
    assert tell(town, local) == ""


def test_a_guardian_in_conflict_is_never_the_one_to_tell(fresh_town):
    town = fresh_town
    local = town.student(guardians=PARENTS)
    town.confirmed(local)
    name = tell(town, local)
    assert [g.full_name for g in duty_of(town, local, name).contacts] == ["母亲乙"]
    refused = case.DischargeDutyRequest(name=name, how="phoned", told="父亲甲")
    assert town.refusal(town.PSYCH, refused) == "FAILED_PRECONDITION/GUARDIAN_IN_CONFLICT"
    assert held(town, name)
    town.call(town.PSYCH, case.DischargeDutyRequest(name=name, how="phoned at ten", told="母亲乙"))
    assert town.rows(tables.holdings, item=name) == []


def test_where_every_guardian_is_in_conflict_the_step_is_held_all_the_same(fresh_town):
    town = fresh_town
    local = town.student(guardians=[PARENTS[0]])
    town.confirmed(local)
    name = tell(town, local)
    assert list(duty_of(town, local, name).contacts) == []
    assert held(town, name)["holder"] == town.PSYCH


def test_an_emergency_before_any_confirmation_opens_it_once(fresh_town):
    town = fresh_town
    local = town.student(guardians=PARENTS)
    triage = town.submit(local).triage.name
    town.refer(local, triage=triage, urgency=pb.URGENCY_EMERGENCY, crisis_facts="facts")
    town.call(town.PSYCH, scr.ConfirmTierRequest(name=triage, tier=RED, note="n"))
    assert len(town.rows(tables.duties, kind="tell-guardian")) == 1


# -- once -------------------------------------------------------------------------------------------------------------


def overdue_referral(town):
    local = town.student()
    town.consent(local)
    name = town.refer(local).referral.name
    town.clock.advance(timedelta(days=2))
    return name


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_ticks_at_once_move_an_overdue_item_once(make_town, kind):
    with make_town(kind, listen=False) as town:
        name = overdue_referral(town)
        barrier = threading.Barrier(4)

        def tick():
            barrier.wait()
            town.gate.gateway.ladder.climb()

        ticks = [threading.Thread(target=tick) for _ in range(4)]
        for each in ticks:
            each.start()
        for each in ticks:
            each.join()
        assert held(town, name)["escalations"] == 1
        assert len(town.journal(kind="escalated", resource=name)) == 1


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_escalation_survives_a_restart_and_is_not_fired_again(make_town, kind):
    with make_town(kind, listen=False) as town:
        name = overdue_referral(town)
        town.gate.gateway.ladder.climb()
        before = held(town, name)
        for _ in range(2):
            town.gate.stop()
            town.gate.start(listen=False, work=False)
            town.gate.gateway.ladder.climb()
        assert held(town, name) == before
        assert len(town.journal(kind="escalated", resource=name)) == 1


def test_a_deadline_that_passed_while_the_gateway_was_down_fires_at_the_first_tick(make_town):
    with make_town(listen=False) as town:
        local = town.student()
        town.consent(local)
        name = town.refer(local).referral.name
        town.gate.stop()
        town.clock.advance(timedelta(days=2))
        town.gate.start(listen=False, work=False)
        assert town.gate.gateway.ladder.climb() >= 1
        assert held(town, name)["escalations"] == 1


def test_a_backlog_of_any_length_is_moved_by_one_tick(fresh_town):
    town = fresh_town
    local = town.student()
    for _ in range(60):
        town.submit(local, bytes([3] * 9))
    town.clock.advance(timedelta(days=9))
    open_items = len(town.rows(tables.holdings))
    assert open_items > 100
    assert town.gate.gateway.ladder.climb() == open_items
    assert all(row["deadline_us"] > town.clock.now_us() for row in town.rows(tables.holdings))


def test_the_days_of_this_file_are_what_it_says():
    assert date(2026, 10, 12).strftime("%A") == "Monday"
    assert datetime(2026, 10, 12, 1, 0, tzinfo=UTC).astimezone(BEIJING).hour == 9
