"""What comes back: answers in their order, refusals with their article, supplements, missed days; nothing lost or twice."""

import base64
import hashlib
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plugins.gov_share.tests.desk import Desk

from xinqiao.adapters.errors import PartnerUnavailable
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, RecallAnswer, ReferralUpdate
from xinqiao.api.casefile.v1.consent_pb2 import Recall
from xinqiao.api.casefile.v1.team_pb2 import CareTask, TaskPackage
from xinqiao.api.casefile.v1.team_service_pb2 import ReportTaskRequest
from xinqiao.api.common.v1.options_pb2 import LANE_CRISIS
from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao_gov_share.clocks import after_workdays, end_of
from xinqiao_gov_share.content import from_json
from xinqiao_gov_share.faults import FaultScript
from xinqiao_gov_share.tickets import Record
from xinqiao_gov_share.wire import WireRefused, dump, parse


def update(event: Any, **more: Any) -> ReferralUpdate:
    return ReferralUpdate(referral="referrals/r1", event=event, **more)


def answered(desk: Desk, ticket: str, *events: Any, final: bool = False) -> None:
    for at, event in enumerate(events, start=1):
        desk.platform.answer(ticket, "referral", update(event), final=final and at == len(events))


@pytest.fixture
def ticket(desk: Desk, referral: DeliverRequest) -> str:
    return str(desk.adapter.deliver(referral, 5).receipt)


def test_answers_come_once_and_in_order_and_then_the_ticket_is_closed(desk: Desk, ticket: str) -> None:
    desk.platform.process(ticket)
    assert desk.read() == []
    answered(desk, ticket, ref.REFERRAL_EVENT_ACCEPT, ref.REFERRAL_EVENT_ATTEND)
    outcome = ref.Outcome(school_advice="每周联系一次", care_advice="家访")
    desk.platform.answer(ticket, "referral", update(ref.REFERRAL_EVENT_REPORT_OUTCOME, outcome=outcome), final=True)
    desk.later(minutes=2)
    found = [item.referral for item in desk.read()]
    assert [each.event for each in found] == [
        ref.REFERRAL_EVENT_ACCEPT, ref.REFERRAL_EVENT_ATTEND, ref.REFERRAL_EVENT_REPORT_OUTCOME,
    ]  # fmt: skip
    assert [each.source for each in found] == [f"{ticket}#{n}" for n in (1, 2, 3)]
    assert found[2].outcome.care_advice == "家访"
    desk.simulator.stop()  # a closed ticket is asked for no more
    desk.later(minutes=2)
    assert desk.read() == []


def test_a_crash_between_two_items_loses_and_repeats_nothing(desk: Desk, ticket: str) -> None:
    events = [ref.REFERRAL_EVENT_ACCEPT, ref.REFERRAL_EVENT_SCHEDULE, ref.REFERRAL_EVENT_ATTEND]
    answered(desk, ticket, *events, final=True)
    seen: list[int] = []
    while True:
        desk.restart()
        found = desk.read(most=1)
        if not found:
            break
        seen += [item.referral.event for item in found]
    assert seen == events


def test_an_item_the_gateway_did_not_keep_is_brought_again(desk: Desk, ticket: str) -> None:
    answered(desk, ticket, ref.REFERRAL_EVENT_ACCEPT, final=True)
    before = desk.cursor
    (first,) = desk.read()
    desk.cursor = before  # the gateway died before it was durable
    desk.restart()
    (again,) = desk.read()
    assert again == first


def test_a_line_torn_by_a_power_cut_costs_no_other(desk: Desk, referral: DeliverRequest, ticket: str) -> None:
    with (desk.folder / "tickets.jsonl").open("ab") as file:
        file.write(b'{"brought":{"number":1,"tick')
    desk.restart()
    referral.request_id, referral.referral.referral.name = "delivery-0002", "referrals/r2"
    second = desk.adapter.deliver(referral, 5).receipt
    desk.restart()
    for each, name in ((ticket, "referrals/r1"), (second, "referrals/r2")):
        desk.platform.answer(each, "referral", ReferralUpdate(referral=name, event=ref.REFERRAL_EVENT_ACCEPT))
    assert [item.referral.referral for item in desk.read()] == ["referrals/r1", "referrals/r2"]


def test_a_lost_folder_does_not_bring_old_cursors_again(desk: Desk, referral: DeliverRequest, ticket: str) -> None:
    answered(desk, ticket, ref.REFERRAL_EVENT_ACCEPT)
    desk.read()
    (desk.folder / "tickets.jsonl").unlink()
    desk.restart()
    referral.request_id = "delivery-0002"
    second = desk.adapter.deliver(referral, 5).receipt
    answered(desk, second, ref.REFERRAL_EVENT_ACCEPT)
    (item,) = desk.read()
    assert int(item.cursor) == 2


def test_an_answer_that_overtook_another_waits_for_it(desk: Desk, ticket: str) -> None:
    answered(desk, ticket, ref.REFERRAL_EVENT_ACCEPT, ref.REFERRAL_EVENT_ATTEND, final=True)
    desk.simulator.inject(FaultScript("gap", times=2))
    assert desk.read() == []
    desk.later(hours=25)
    (told,) = desk.rejected()
    assert told.reason == "GOV_SHARE/OUT_OF_ORDER"
    desk.later(minutes=2)
    assert [item.referral.event for item in desk.read()] == [ref.REFERRAL_EVENT_ACCEPT, ref.REFERRAL_EVENT_ATTEND]


def test_a_refusal_of_the_agency_declines_the_referral_and_names_the_article(desk: Desk, ticket: str) -> None:
    desk.platform.refuse(ticket, "NO_CAPACITY", article=22, text="本月已满（王科长）")
    declined, told = desk.read()
    assert declined.referral.event == ref.REFERRAL_EVENT_DECLINE
    assert "第22条" in declined.referral.reason
    assert told.rejected.reason == "GOV_SHARE/REFUSED_NO_CAPACITY"
    assert "《政务数据共享条例》 art. 22" in told.rejected.message
    assert "王科长" not in str(told.rejected)
    desk.later(minutes=2)
    assert desk.read() == []


def test_a_refusal_of_the_platform_decides_nothing_for_the_agency(desk: Desk, ticket: str) -> None:
    desk.platform.refuse(ticket, "NO_BASIS", by="PLATFORM", law="PIPL", article=23)
    (told,) = desk.read()
    assert told.rejected.reason == "GOV_SHARE/REFUSED_NO_BASIS"
    assert "《个人信息保护法》 art. 23" in told.rejected.message


def test_a_supplement_is_told_once_each_time_it_is_asked(desk: Desk, referral: DeliverRequest) -> None:
    desk.simulator.inject(FaultScript("supplement"))
    ticket = desk.adapter.deliver(referral, 5).receipt
    (told,) = desk.rejected()
    assert (told.reason, told.source) == ("GOV_SHARE/SUPPLEMENT", ticket)
    assert "使用依据" in told.message
    desk.later(minutes=2)
    assert desk.rejected() == []
    desk.platform.ask_supplement(ticket, ["SEAL"], date(2026, 10, 20))
    desk.later(minutes=2)
    (told,) = desk.rejected()
    assert "until 2026-10-20" in told.message


def test_a_day_of_the_platforms_own_that_passed_is_told_once(desk: Desk, referral: DeliverRequest) -> None:
    desk.simulator.inject(FaultScript("overdue"))
    desk.adapter.deliver(referral, 5)
    assert [told.reason for told in desk.rejected()] == ["GOV_SHARE/OVERDUE"]
    desk.later(minutes=2)
    assert desk.rejected() == []


def test_without_such_a_day_the_working_days_of_the_settings_count(desk: Desk, ticket: str) -> None:
    desk.later(days=2, hours=11)  # Wednesday 23:00: the second working day is not over
    assert desk.rejected() == []
    desk.later(hours=2)
    (told,) = desk.rejected()
    assert "checked by 2026-10-14" in told.message


def test_working_days_know_holidays_and_make_up_days() -> None:
    wednesday = end_of(date(2026, 9, 30)) - 1
    assert after_workdays(wednesday, 1) == date(2026, 10, 8)  # after the National Day holiday
    assert after_workdays(wednesday, 3) == date(2026, 10, 10)  # a Saturday that is worked


def test_an_urgent_request_nobody_took_up_is_an_alarm_after_minutes(desk: Desk, referral: DeliverRequest) -> None:
    referral.lane = LANE_CRISIS
    ticket = desk.adapter.deliver(referral, 5).receipt
    desk.later(minutes=29)
    assert desk.rejected() == []
    desk.later(minutes=2)
    (told,) = desk.rejected()
    assert (told.reason, told.source) == ("GOV_SHARE/OVERDUE", ticket)
    assert "telephone" in told.message


def test_a_task_report_and_a_recall_receipt_come_back(desk: Desk) -> None:
    task = DeliverRequest(request_id="delivery-0003", task=TaskPackage(task=CareTask(name="tasks/t1")))
    recall = DeliverRequest(request_id="delivery-0004", recall=Recall(name="recalls/c1"))
    first, second = (desk.adapter.deliver(each, 5).receipt for each in (task, recall))
    desk.platform.answer(first, "task_report", ReportTaskRequest(name="tasks/t1", report="已家访"), final=True)
    desk.platform.answer(second, "recall_receipt", RecallAnswer(recall="recalls/c1"), final=True)
    found = {item.WhichOneof("body"): item for item in desk.read()}
    assert found["task_report"].task_report.report == "已家访"
    assert found["recall_receipt"].recall_receipt.source == f"{second}#1"


def test_an_answer_about_another_item_is_not_taken(desk: Desk, ticket: str) -> None:
    desk.platform.answer(
        ticket, "referral", ReferralUpdate(referral="referrals/of-another", event=ref.REFERRAL_EVENT_ACCEPT)
    )
    desk.platform.answer(ticket, "task_report", ReportTaskRequest(name="tasks/t1", report="x"))
    reasons = [told.reason for told in desk.rejected()]
    assert reasons == ["DATA/SUBJECT_MISMATCH", "DATA/KIND"]


def test_one_bad_ticket_does_not_hold_up_the_others(desk: Desk, referral: DeliverRequest, ticket: str) -> None:
    referral.request_id, referral.referral.referral.name = "delivery-0002", "referrals/r2"
    second = desk.adapter.deliver(referral, 5).receipt
    desk.platform.answer(second, "referral", ReferralUpdate(referral="referrals/r2", event=ref.REFERRAL_EVENT_ACCEPT))
    desk.platform.change(ticket, state="秘密")
    kinds = [(item.WhichOneof("body"), item.rejected.reason) for item in desk.read()]
    assert sorted(kinds) == [("referral", ""), ("rejected", "DATA/PROFILE")]


def test_a_ticket_that_always_fails_does_not_hold_up_the_others(
    desk: Desk, referral: DeliverRequest, ticket: str
) -> None:
    referral.request_id, referral.referral.referral.name = "delivery-0002", "referrals/r2"
    second = desk.adapter.deliver(referral, 5).receipt
    desk.platform.answer(second, "referral", ReferralUpdate(referral="referrals/r2", event=ref.REFERRAL_EVENT_ACCEPT))
    desk.simulator.inject(FaultScript("unavailable"))
    with pytest.raises(PartnerUnavailable):
        desk.read()
    assert [item.referral.referral for item in desk.read()] == ["referrals/r2"]


def shown(**more: Any) -> dict[str, Any]:
    content = b'{"referral":"referrals/r1","event":3}'
    answer = {
        "number": 1, "kind": "referral", "content": base64.b64encode(content).decode(),
        "sha256": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip
    found = {
        "ticket": "GS-1", "requestNo": "delivery-0001", "state": "ANSWERED", "final": False, "dueOn": None,
        "answers": [answer], "refusal": None, "supplement": None,
    }  # fmt: skip
    return {**found, **more}


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"state": "DONE"}, "data.state"),
        ({"dueOn": "2026-02-30"}, "data.dueOn"),
        ({"dueOn": "2026/2/3"}, "data.dueOn"),
        ({"final": "yes"}, "data.final"),
        ({"ticket": "../x"}, "data.ticket"),
        ({"extra": 1}, "data"),
        ({"answers": [{**shown()["answers"][0], "sha256": "0" * 64}]}, "data.answers[0]"),
        ({"answers": [{**shown()["answers"][0], "number": 0}]}, "data.answers[0].number"),
        ({"state": "REFUSED"}, "data.refusal"),
        (
            {"state": "REFUSED", "refusal": {"by": "AGENCY", "code": "BORED", "law": "PIPL", "article": 1, "text": ""}},
            "data.refusal.code",
        ),
        ({"state": "SUPPLEMENT", "supplement": {"items": ["NAMES"], "until": None}}, "data.supplement.items"),
    ],
)
def test_a_ticket_that_is_not_as_agreed_is_refused_at_its_place(wrong: dict[str, Any], place: str) -> None:
    assert Record.of(shown()).following(0)[0].number == 1
    with pytest.raises(WireRefused) as caught:
        Record.of(shown(**wrong))
    assert caught.value.place == place


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"a":1,"a":2}', "DATA/JSON_DUP_KEY"),
        (b'{"a":NaN}', "DATA/JSON_NUMBER"),
        (b'{"a":1e999}', "DATA/JSON_NUMBER"),
        (b'{"a":' + b"9" * 5000 + b"}", "DATA/JSON_NUMBER"),
        (b'{"a":"\\ud800"}', "DATA/CHARSET"),
        (b'{"a":' + b"[" * 100_000, "DATA/DEPTH"),
        (b'{"a":1} x', "DATA/JSON_SYNTAX"),
        (b"\xff", "DATA/ENCODING"),
        (b"[]", "DATA/PROFILE"),
    ],
)
def test_rows_68_to_71_json_that_cannot_be_trusted_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(WireRefused) as caught:
        parse(text)
    assert caught.value.reason == reason


@given(st.binary(max_size=200) | st.text(max_size=80).map(lambda text: dump(shown(state=text, dueOn=text))))
def test_no_answer_crashes_the_reader(data: bytes) -> None:
    for read in (lambda: Record.of(parse(data)), lambda: from_json("referral", data)):
        try:
            read()
        except WireRefused as refused:
            assert refused.reason.startswith("DATA/")


@given(st.recursive(st.none() | st.booleans() | st.integers(-9, 10**6) | st.text(max_size=9),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)),
       st.sampled_from(sorted(shown())))  # fmt: skip
def test_no_value_of_a_field_crashes_it_or_is_told(value: Any, name: str) -> None:
    try:
        Record.of(parse(dump(shown(**{name: value, "canary": "密码c4nary"}))))
    except WireRefused as refused:
        assert "c4nary" not in f"{refused}"
