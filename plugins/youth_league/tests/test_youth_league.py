"""Requests without identities out, answers and monthly counts in, over a real socket that misbehaves on command."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xinqiao.adapters.errors import AdapterError, PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.adapters.manifest import load_manifest
from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.transport import HttpTransport
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, ReadResponse
from xinqiao.api.casefile.v1.team_pb2 import TASK_STATE_CANCELLED
from xinqiao.api.exchange.v1 import activity_service_pb2 as pb
from xinqiao.config import Secret
from xinqiao.contract.clock import BEIJING, ManualClock, to_us
from xinqiao.testing.suite import conformance
from xinqiao_youth_league import wire
from xinqiao_youth_league.adapter import Cursor, YouthLeagueAdapter
from xinqiao_youth_league.settings import YouthLeagueSettings, hosts
from xinqiao_youth_league.simulator import YouthLeagueSimulator

CANARY = "欧阳𠮷明"
NEED = "每周三下午在镇上辅导作业一小时"


def adapter(league: YouthLeagueSimulator, **words: Any) -> YouthLeagueAdapter:
    chosen = YouthLeagueSettings.model_validate({**league.start(), **words})
    context = AgencyContext("league", {}, "test", HttpTransport(hosts(chosen)), Path("unused"))
    return YouthLeagueAdapter(chosen, context, ManualClock(datetime(2026, 10, 12, 9, tzinfo=BEIJING)))


def request(**words: Any) -> DeliverRequest:
    made = DeliverRequest(request_id="tasks.t1.v1", attempt=1)
    task = made.task.task
    task.name, task.team, task.what, task.state = "tasks/t1", "teams/secret-team", NEED, 1
    task.due_us = to_us(datetime(2026, 10, 20, 18, tzinfo=BEIJING))
    student = made.task.student
    student.family_name, student.name, student.national_id = CANARY, "students/secret", "110105194912310021"
    student.guardians.add(full_name=CANARY, phone="13800138000")
    made.MergeFrom(DeliverRequest(**words))
    return made


def everything(adapter: YouthLeagueAdapter, cursor: str = "") -> list[ReadResponse]:
    return list(adapter.read(cursor))


# -- out ----------------------------------------------------------------------------------------------------------------


def test_a_request_says_what_is_needed_and_until_when(league: YouthLeagueSimulator) -> None:
    assert adapter(league).deliver(request(), 5).receipt == "need-1"
    assert league.requests["tasks/t1"] == {
        "request": "tasks/t1", "state": "open", "need": NEED, "until": "2026-10-20T18:00+08:00", "drill": False,
    }  # fmt: skip


def test_nothing_of_the_student_is_posted_whatever_the_package_holds(league: YouthLeagueSimulator) -> None:
    adapter(league).deliver(request(), 5)
    (body,) = league.bodies
    assert not [word for word in (CANARY, "secret", "1101", "138001") if word in body.decode()]


def test_the_manifest_declares_no_identity_and_no_contact() -> None:
    manifest = load_manifest(Path(__file__).parents[1] / "manifest.yaml")
    assert {word for use in manifest.contracts.written for word in use.classes} == {"CASE_REF", "CARE_TASK"}
    assert [use.contract for use in manifest.contracts.written] == ["task", "recall"]


def test_a_drill_is_called_one_and_a_task_taken_back_says_no_more_than_that(league: YouthLeagueSimulator) -> None:
    gone = request(drill=True)
    gone.task.task.state = TASK_STATE_CANCELLED
    adapter(league).deliver(gone, 5)
    found = league.requests["tasks/t1"]
    assert (found["state"], found["need"], found["drill"]) == ("cancelled", "【演练 DRILL】", True)


def test_a_task_without_its_words_is_not_posted(league: YouthLeagueSimulator) -> None:
    empty = request()
    empty.task.task.what = ""
    with pytest.raises(RecordRejected) as caught:
        adapter(league).deliver(empty, 5)
    assert (caught.value.reason, league.bodies) == ("NOT_RELEASED", [])


def test_a_repeat_is_one_request_also_when_the_answer_was_lost(league: YouthLeagueSimulator) -> None:
    league.play("drop_after")
    with pytest.raises(PartnerUnavailable):
        adapter(league).deliver(request(), 5)
    assert adapter(league).deliver(request(attempt=2, checkpoints=["c"]), 5).receipt == "need-1"
    assert (len(league.bodies), len(set(league.bodies)), len(league.requests)) == (2, 1, 1)


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("down", PartnerUnavailable, "connection failed"),
        ("slow", PartnerUnavailable, "no complete answer"),
        ("unavailable", PartnerUnavailable, "503"),
        ("html", PartnerRefused, "not JSON"),
        ("unprocessable", RecordRejected, "422"),
    ],
)
def test_what_goes_wrong_at_the_league_is_later_or_never_and_said_so(
    league: YouthLeagueSimulator, fault: Any, error: type[AdapterError], words: str
) -> None:
    league.play(fault, seconds={"slow": 2.0, "unavailable": 7.0}.get(fault, 0.0))
    with pytest.raises(error, match=words) as caught:
        adapter(league).deliver(request(), 0.5)
    assert CANARY not in str(caught.value)
    if fault == "unavailable":
        assert isinstance(caught.value, PartnerUnavailable)
        assert caught.value.retry_after_s == 7.0


def test_three_days_down_and_then_all_of_it(league: YouthLeagueSimulator) -> None:
    league.month("m-1", "2026-09", 3, 120)
    league.play("down", times=0)
    for _ in range(3):
        with pytest.raises(PartnerUnavailable):
            everything(adapter(league))
        with pytest.raises(PartnerUnavailable):
            adapter(league).check()
    league.calm()
    assert len(everything(adapter(league))) == 1
    assert adapter(league).check() == "youth league REST 1"


def test_the_token_goes_with_each_request_and_its_absence_is_named(
    league: YouthLeagueSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PartnerRefused, match="LEAGUE_TOKEN"):
        adapter(league, token=Secret("env", "LEAGUE_TOKEN")).check()
    monkeypatch.setenv("LEAGUE_TOKEN", "t0ken")
    assert adapter(league, token=Secret("env", "LEAGUE_TOKEN")).check()


@pytest.mark.parametrize("url", ["http://league.example.cn", "https://league.example.cn/?q=1", "ftp://x", "league"])
def test_an_address_that_could_not_be_used_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        YouthLeagueSettings.model_validate({"base_url": url})


def test_a_recall_names_requests_and_no_student_and_its_signed_answer_comes_back(league: YouthLeagueSimulator) -> None:
    adapter(league).deliver(request(), 5)
    recall = DeliverRequest(request_id="recalls.r1.v1", attempt=1)
    recall.recall.name, recall.recall.student = "recalls/r1", "students/secret"
    recall.recall.items.extend(["tasks/t1", "referrals/r9"])
    assert adapter(league).deliver(recall, 5).receipt == "need-2"
    assert league.recalls["recalls/r1"]["requests"] == ["tasks/t1"]
    assert b"secret" not in league.bodies[-1]
    assert league.requests == {}
    league.delete("recalls/r1")
    (item,) = everything(adapter(league))
    assert (item.recall_receipt.recall, len(item.recall_receipt.receipt.signature)) == ("recalls/r1", 64)
    assert everything(adapter(league), item.cursor) == []


@pytest.mark.parametrize("change", [{"recall": CANARY}, {"receipt": "=="}, {"signature": "A" * 100}, {"receipt": 1}])
def test_a_receipt_that_is_none_is_named_by_its_field(change: dict[str, Any]) -> None:
    item = {"seq": 1, "recall": "recalls/r1", "receipt": "AAAA", "signature": "AAAA", **change}
    (field,) = change
    assert wire.read_receipt(item).rejected.place == f"seq 1, {field}"


# -- in -----------------------------------------------------------------------------------------------------------------


def test_a_group_that_was_found_ends_the_task_and_is_a_number(league: YouthLeagueSimulator) -> None:
    league.tell("tasks/t1", "found", group="blue-team", volunteers=3, words="下周三开始")
    (item,) = everything(adapter(league))
    assert item.task_report.name == "tasks/t1"
    assert item.task_report.report.endswith("队伍 group: blue-team; 人数 volunteers: 3; 下周三开始")
    assert not item.task_report.cancelled


def test_what_the_league_cannot_do_stays_open_in_a_persons_hands(league: YouthLeagueSimulator) -> None:
    league.tell("tasks/t1", "cannot", why="NO_VOLUNTEERS", words=CANARY)
    (item,) = everything(adapter(league))
    assert (item.rejected.reason, item.rejected.place) == ("CANNOT/NO_VOLUNTEERS", "tasks/t1")
    assert CANARY not in str(item)


def test_a_month_of_a_group_is_counts_and_the_same_id_again_replaces_it(league: YouthLeagueSimulator) -> None:
    league.month("m-1", "2026-09", 3, 120)
    league.month("m-2", "2026-09", 1, 30, audience="parents", withdrawn=True)
    league.month("m-1", "2026-09", 4, 150)
    items = everything(adapter(league))
    assert [each for item in items for each in item.activities.activities] == [
        pb.Activity(
            source="month/m-2", kind=pb.ACTIVITY_KIND_VOLUNTEERING, day="2026-09-01", series="group/blue-team",
            audience=pb.AUDIENCE_PARENTS, times=1, attendances=30, withdrawn=True,
        ),
        pb.Activity(
            source="month/m-1", kind=pb.ACTIVITY_KIND_VOLUNTEERING, day="2026-09-01", series="group/blue-team",
            audience=pb.AUDIENCE_STUDENTS, times=4, attendances=150,
        ),
    ]  # fmt: skip
    assert [(item.origin.places[:], item.origin.series) for item in items] == [
        (["seq 2"], "activities/m-2"), (["seq 3"], "activities/m-1"),
    ]  # fmt: skip


def test_stopping_after_any_item_loses_and_repeats_nothing(league: YouthLeagueSimulator) -> None:
    for number in range(5):
        league.tell(f"tasks/t{number}", "done")
        league.month(f"m-{number}", "2026-09", 1, number)
    small = adapter(league, page_size=2)
    whole = everything(small)
    assert len(whole) == 5 + 5
    for stop in range(1, len(whole)):
        first = everything(small)[:stop]
        rest = everything(adapter(league, page_size=2), first[-1].cursor)
        names = [item.task_report.name for item in [*first, *rest] if item.HasField("task_report")]
        counts = [each.source for item in [*first, *rest] for each in item.activities.activities]
        assert (names, counts) == ([f"tasks/t{n}" for n in range(5)], [f"month/m-{n}" for n in range(5)])


@pytest.mark.parametrize("fault", ["duplicate", "out_of_order"])
def test_a_page_twice_or_backwards_is_the_same_page(league: YouthLeagueSimulator, fault: Any) -> None:
    for number in range(3):
        league.tell(f"tasks/t{number}", "done")
    expected = everything(adapter(league))
    league.play(fault)
    assert everything(adapter(league)) == expected


def test_a_word_of_no_code_table_is_named_and_a_list_without_end_is_refused(league: YouthLeagueSimulator) -> None:
    league.tell("tasks/t1", "done")
    league.play("wrong_code")
    _, item = everything(adapter(league))
    assert (item.rejected.reason, item.rejected.place) == ("DATA/VALUE", "seq 2, result")
    league.endless = True
    with pytest.raises(PartnerRefused, match="nothing new"):
        everything(adapter(league))


@pytest.mark.parametrize(
    ("change", "place", "reason"),
    [
        ({"request": CANARY}, "request", "DATA/VALUE"),
        ({"result": CANARY}, "result", "DATA/VALUE"),
        ({"group": CANARY}, "group", "DATA/VALUE"),
        ({"volunteers": "3"}, "volunteers", "DATA/VALUE"),
        ({"words": f"{CANARY} 13800138000"}, "words", "DATA/VALUE"),
        ({"words": "长" * 1001}, "words", "DATA/VALUE"),
        ({CANARY: 1}, "an unknown field", "DATA/FIELD"),
        ({"name": CANARY}, "an unknown field", "DATA/FIELD"),
    ],
)
def test_a_bad_item_is_named_by_field_and_the_next_is_taken(
    league: YouthLeagueSimulator, change: dict[str, Any], place: str, reason: str
) -> None:
    league.tell(**{"request": "tasks/t1", "result": "done", **change})
    league.tell("tasks/t2", "done")
    bad, good = everything(adapter(league))
    assert (bad.rejected.place, bad.rejected.reason) == (f"seq 1, {place}", reason)
    assert CANARY not in str(bad)
    assert good.task_report.name == "tasks/t2"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"month": "2026-13"}, "DATA/VALUE"),
        ({"month": "2026-11"}, "DATA/DATE"),
        ({"attendances": -1}, "DATA/VALUE"),
        ({"group": CANARY}, "DATA/VALUE"),
        ({"audience": "all"}, "DATA/VALUE"),
    ],
)
def test_bad_counts_keep_no_others_out(league: YouthLeagueSimulator, change: dict[str, Any], reason: str) -> None:
    league.month("m-0", "2026-09", 1, 1)
    league.month(**{"identifier": "m-1", "month": "2026-09", "activities": 1, "attendances": 1, **change})
    league.month("m-2", "2026-09", 1, 1)
    first, bad, last = everything(adapter(league))
    assert bad.rejected.reason == reason
    assert [first.activities.activities[0].source, last.activities.activities[0].source] == ["month/m-0", "month/m-2"]


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"null", b"{", b'{"answers": 1}', b'{"answers": [1]}', b'{"answers": [], "answers": []}', b"\xff",
     b'{"answers": [], "more": "yes"}', b"[" * 100_000],
)  # fmt: skip
def test_a_page_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(PartnerRefused, match="DATA/FORMAT"):
        wire.page_of(data, "answers")


@pytest.mark.parametrize("seq", [None, 0, -1, "1", True, 1.0, 2**53])
def test_an_item_without_its_number_stops_the_list(seq: object) -> None:
    with pytest.raises(PartnerRefused, match="seq"):
        wire.sequence_of({"seq": seq}, "answers")


@pytest.mark.parametrize(
    "text", ["", "x", "answers:1", "answers:1,receipts:1,activities:-1", "answers:١,receipts:1,activities:1"]
)
def test_a_cursor_that_is_none_starts_anew(text: str) -> None:
    assert Cursor.parse(text) == Cursor()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from(["done", "tasks/t1", "2026-09"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*wire.Answer.model_fields, *wire.Counts.model_fields, "answers", "more", "x"]),
            inner,
            max_size=9,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_any_answer_is_read_or_refused(value: object) -> None:
    try:
        items, _ = wire.page_of(json.dumps(value).encode(), "answers")
        for item in items:
            wire.sequence_of(item, "answers")
            wire.read_answer(item)
            wire.read_counts(item, "2026-10")
    except PartnerRefused as error:
        assert error.reason == "DATA/FORMAT"


@settings(max_examples=300, deadline=None)
@given(st.fixed_dictionaries(
    {"seq": st.integers(1, 9), "request": st.sampled_from(["tasks/t1", "x"]), "result": st.sampled_from(["done", "found", "x"])},
    optional={"group": st.text(max_size=9), "volunteers": st.integers(), "words": st.text(max_size=30), "why": st.text(max_size=3)},
))  # fmt: skip
def test_an_answer_is_a_report_or_a_rejection(item: dict[str, object]) -> None:
    response = wire.read_answer(item)
    assert response.WhichOneof("body") in ("task_report", "rejected")
    if response.HasField("task_report"):
        assert 1 <= len(response.task_report.report) <= 2000


def test_the_simulator_is_what_the_suite_can_direct() -> None:
    assert {"slow", "down", "duplicate", "out_of_order", "wrong_code"} <= YouthLeagueSimulator.plays


test_conformance = conformance("youth_league")
