"""Reports about a child who is only described: found exactly, or held by a person; never the first of several."""

from datetime import timedelta

import pytest

from xinqiao.api.common.v1.types_pb2 import StudentDescription
from xinqiao.api.referral.v1.referral_service_pb2 import CreateReferralRequest
from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao.api.screening.v1 import screening_service_pb2 as rpc
from xinqiao.screening.described import Found, find
from xinqiao.store import tables

SCHOOL = "3205830001"
POLICE_SOURCE = pb.SIGNAL_SOURCE_POLICE


def report(town, *, as_="police", source=POLICE_SOURCE, facts="在桥上", **described):
    described = {"school": SCHOOL, **described}
    request = rpc.ReportSignalRequest(source=source, kind=1, facts=facts, location="桥", opinion="OPINION")
    request.student.described.CopyFrom(StudentDescription(**described))
    return town.call(as_, request)


def alerts(town, who=None):
    return town.call(who or town.PSYCH, rpc.ListAlertsRequest()).alerts


def held(town, name):
    return town.rows(tables.holdings, item=name)


def test_a_description_that_fits_one_student_alone_becomes_a_signal_at_once(town):
    local = town.student(given_name="只一", born="2010-03-04")
    answer = report(town, full_name="欧阳 只一", birth_date="2010-03-04")
    row = town.rows(tables.alerts, id=answer.alert.removeprefix("alerts/"))[0]
    assert row["state"] == pb.ALERT_STATE_IDENTIFIED
    signals = town.rows(tables.signals, student=town.inside_id(local))
    assert len(signals) == 1
    assert held(town, answer.alert) == []
    assert held(town, f"signals/{signals[0]['id']}")[0]["holder"] == town.PSYCH


def test_the_reporter_never_learns_whether_the_description_fits_anybody(town):
    town.student(given_name="查无", born="2010-03-05")
    hit = report(town, full_name="欧阳查无", birth_date="2010-03-05")
    miss = report(town, full_name="没有 此人", birth_date="2010-03-05")
    for answer in (hit, miss):
        assert answer.alert
        answer.ClearField("alert")
        assert answer == rpc.ReportSignalResponse()


@pytest.mark.parametrize(
    "described",
    [
        {"full_name": "欧阳独名"},
        {"full_name": "欧阳同名"},
        {"full_name": "欧阳同名", "birth_date": "2010-06-06"},
        {"full_name": "欧阳同名", "phone": "13800000000"},
        {"full_name": "欧阳同", "birth_date": "2010-06-07"},
        {"birth_date": "2010-06-07"},
        {"full_name": "欧阳同名", "birth_date": "2010-06-07", "school": "9999999999"},
        {},
    ],
    ids=[
        "a name alone",
        "namesakes",
        "two of a day",
        "another phone",
        "half a name",
        "no name",
        "unknown school",
        "nothing",
    ],
)
def test_what_fits_nobody_or_several_or_is_a_name_alone_waits_for_a_person(town, described):
    if not town.rows(
        tables.local_ids, partner=town.SCHOOL, blind=town.gate.gateway.door.students.blind(town.SCHOOL, "twin1")
    ):
        town.student(local_id="twin1", given_name="同名", born="2010-06-06")
        town.student(local_id="twin2", given_name="同名", born="2010-06-06")
        town.student(local_id="twin3", given_name="同名", born="2010-06-07")
        town.student(given_name="独名")
    answer = report(town, **described)
    (row,) = held(town, answer.alert)
    assert (row["kind"], row["step"], row["tier"]) == ("alert", "identify", 4)
    assert row["holder"] == (town.PSYCH if described.get("school", SCHOOL) == SCHOOL else town.OPERATOR)
    assert town.journal(resource=answer.alert, kind="alert.reported")


def test_the_school_sees_candidates_and_says_who_it_is(town):
    locals_ = [town.student(given_name="两人", born=f"2010-07-0{day}") for day in (1, 2)]
    name = report(town, full_name="欧阳两人").alert
    alert = next(each for each in alerts(town) if each.name == name)
    names = {town.gate.gateway.door.students.name(town.SCHOOL, town.inside_id(each)): each for each in locals_}
    assert set(alert.candidates) == set(names)
    assert (alert.facts, alert.opinion, alert.described.full_name) == ("在桥上", "", "欧阳两人")
    answer = town.call(town.PSYCH, rpc.IdentifyAlertRequest(name=name, student={"name": alert.candidates[0]}))
    known = town.inside_id(names[alert.candidates[0]])
    (signal,) = town.rows(tables.signals, student=known)
    assert answer.signal.name == answer.alert.signal == f"signals/{signal['id']}"
    assert (answer.signal.facts, answer.signal.location) == ("在桥上", "桥")
    assert held(town, name) == []
    assert town.journal(resource=name, kind="alert.identified", student=known)
    # What was said lies under the student's key now, and nowhere else.
    left = town.call(town.PSYCH, rpc.ListAlertsRequest()).alerts
    assert not any(each.facts or each.described.full_name for each in left if each.name == name)
    again = rpc.IdentifyAlertRequest(name=name, student={"name": alert.candidates[0]})
    assert town.refusal(town.PSYCH, again) == "FAILED_PRECONDITION/STATE"


def test_another_school_sees_nothing_and_absent_and_foreign_are_alike(town):
    name = report(town, full_name="外校 看不见").alert
    assert not any(each.name == name for each in alerts(town, "psych-li"))
    for who in ("psych-li",):
        foreign = town.refusal(who, rpc.PassAlertRequest(name=name, reason="NOT_OURS"))
        absent = town.refusal(who, rpc.PassAlertRequest(name="alerts/" + "0" * 32, reason="NOT_OURS"))
        assert foreign == absent == "NOT_FOUND/ALERT"


def test_an_operator_sees_that_there_is_one_and_never_who_or_what(town):
    name = report(town, full_name="运维 不知", school="").alert
    shown = next(each for each in alerts(town, town.OPERATOR) if each.name == name)
    assert (shown.tier, shown.facts, shown.described.full_name, shown.location) == (4, "", "", "")


def test_passing_on_reaches_the_other_school_and_wins_no_time(fresh_town):
    town = fresh_town
    name = report(town, full_name="走错 学校").alert
    before = held(town, name)[0]["deadline_us"]
    town.clock.advance(timedelta(minutes=1))
    town.call(town.PSYCH, rpc.PassAlertRequest(name=name, school="3205830002", reason="NOT_OUR_STUDENT:call-1"))
    (row,) = held(town, name)
    assert (row["holder"], row["deadline_us"]) == ("psych-li", before)
    assert [each.name for each in alerts(town, "psych-li")] == [name]
    assert alerts(town) == []
    unknown = rpc.PassAlertRequest(name=name, school="1111111111", reason="NOT_OURS")
    assert town.refusal("psych-li", unknown) == "NOT_FOUND/SCHOOL"
    town.call("psych-li", rpc.PassAlertRequest(name=name, reason="CANNOT_BE_FOUND"))
    assert held(town, name) == []
    assert town.journal(resource=name, kind="alert.closed")[0]["reason"] == "CANNOT_BE_FOUND"


def test_an_alert_that_nobody_takes_climbs_the_ladder(fresh_town):
    town = fresh_town
    name = report(town, full_name="无人 处理").alert
    town.clock.advance(timedelta(hours=2))
    assert town.gate.gateway.ladder.climb() >= 1
    assert held(town, name)[0]["escalations"] >= 1


def test_only_a_signal_takes_a_description(town):
    request = CreateReferralRequest(
        recipient=town.HOSPITAL, urgency=2, reason="reason", triage=town.confirmed(town.student())
    )
    request.student.described.full_name = "欧阳𠮷明"
    assert town.refusal(town.PSYCH, request) == "NOT_FOUND/STUDENT"


def test_who_left_or_was_shredded_is_nobodys_candidate(town):
    keys, read = town.gate.gateway.door.keys, town.gate.gateway.store.read
    town.student(given_name="已走", born="2010-08-08", left=True)
    town.student(given_name="在校", born="2010-08-08", guardians=[{"full_name": "欧阳敏", "phone": "+8613912345678"}])
    gone = StudentDescription(school=SCHOOL, full_name="欧阳已走", birth_date="2010-08-08")
    assert find(read, keys, gone) == Found()
    there = StudentDescription(school=SCHOOL, full_name="欧阳·在校", phone="13912345678")
    found = find(read, keys, there)
    assert found.certain
    keys.shred(found.certain)
    assert find(read, keys, there) == Found()
