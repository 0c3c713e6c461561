import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from plugins.hotline.tests.conftest import AT, CHILD, Centre, counts, kinds, wrong

from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable
from xinqiao.api.screening.v1 import screening_pb2 as screening
from xinqiao_hotline.simulator import sheet

Make = Callable[..., Centre]
ROW = {
    "call": "c-1", "line": "12356", "started": "2026-10-14 14:00", "ended": "2026-10-14 14:10", "topic": "自伤", "caller": "家长",
    "outcome": "转120", "school": "3205830001", "name": "欧阳小雨", "birth_date": "2011-05-04", "phone": "138-0000-0001",
    "class_title": "七1", "location": "人民路口",
}  # fmt: skip
TOLD = {"school": "3205830001", "name": "欧阳小雨", "birth_date": "2011-05-04"}


@pytest.mark.parametrize("source", ["folder", "rest"])
def test_a_call_about_danger_is_a_signal_of_codes_about_the_child_that_was_described(centre: Make, source: str) -> None:
    at = centre(source)
    at.simulator.call("c-1", AT, topic="self_harm", caller="parent", outcome="to_120", location="人民路口", **TOLD)
    signal, figures = at.read()
    told = signal.signal.student.described
    assert (told.school, told.full_name, told.birth_date) == ("3205830001", "欧阳小雨", "2011-05-04")
    assert (signal.signal.source, signal.signal.kind) == (
        screening.SIGNAL_SOURCE_HOTLINE,
        screening.SIGNAL_KIND_SELF_HARM,
    )
    assert signal.signal.facts == (
        "热线12356 通话c-1：2026-10-14 14:00接通，约10分钟；来电人：家长；事由：自伤；处置：已转120。"
    )
    assert signal.signal.location == "人民路口"
    assert "欧阳" not in signal.signal.facts
    assert [
        (each.source, each.times, each.minutes, each.crisis)
        for each in figures.activities.activities
        if not each.withdrawn
    ] == [("calls-12356-2026-10-14-crisis", 1, 10, True)]


def test_a_student_the_centre_was_given_is_named_by_the_code_alone(centre: Make) -> None:
    at = centre()
    at.simulator.call("c-1", AT, topic="concern", student=CHILD, name="欧阳小雨")
    assert at.read()[0].signal.student.name == CHILD


def test_danger_about_somebody_nobody_named_is_still_somebodys_to_ask_about_and_a_worry_only_counts(
    centre: Make,
) -> None:
    at = centre()
    at.simulator.call("c-1", AT, topic="suicidal")
    at.simulator.call("c-2", AT + timedelta(hours=1), topic="concern")
    items = at.read()
    assert kinds(items) == ["signal", "activities", "activities"]
    assert items[0].signal.student.described.other.startswith("热线12356 通话c-1")


def test_free_text_is_not_read_unless_the_settings_take_it_and_that_is_said(centre: Make) -> None:
    at = centre()
    at.simulator.drop(
        "a.csv", sheet([{**ROW, "summary": "SECRET-WORDS"}, {**ROW, "call": "c-2", "summary": "SECRET-WORDS"}])
    )
    items = at.read()
    assert "SECRET-WORDS" not in str(items)
    assert wrong(items) == [("HOTLINE/FREE_TEXT", "row 2, column summary")]
    taking = at.settings.model_copy(update={"free_text": True})
    at.settings = taking
    at.restarted()
    at.simulator.drop("b.csv", sheet([{**ROW, "call": "c-3", "summary": "孩子说手臂疼"}]))
    assert at.read()[0].signal.facts.endswith("\n孩子说手臂疼")


# -- one call, several lines ----------------------------------------------------------------------------------------


def test_a_call_put_through_to_another_line_is_one_sign_and_one_call(centre: Make) -> None:
    at = centre()
    at.simulator.call("c-1", AT, line="12355", topic="suicidal", **TOLD)
    at.simulator.call("c-1", AT + timedelta(minutes=5), line="12356", topic="suicidal", **TOLD)
    items = at.read()
    assert kinds(items) == ["signal", "activities", "activities"]
    assert counts(items) == {"calls-12355-2026-10-14-crisis": 1}
    assert wrong(items) == []


def test_what_the_second_line_heard_that_is_graver_is_not_lost_in_it(centre: Make) -> None:
    at = centre()
    at.simulator.call("c-1", AT, line="12355", topic="concern", **TOLD)
    at.simulator.call("c-1", AT + timedelta(minutes=5), line="12356", topic="suicidal", **TOLD)
    items = at.read()
    assert [item.signal.kind for item in items if item.HasField("signal")] == [
        screening.SIGNAL_KIND_CONCERN, screening.SIGNAL_KIND_SUICIDAL
    ]  # fmt: skip
    assert counts(items[-1:]) == {"calls-12355-2026-10-14-crisis": 1}
    assert [each.withdrawn for each in items[-1].activities.activities] == [True, False]


def test_other_content_under_a_call_number_is_named_and_what_is_urgent_in_it_is_taken(centre: Make) -> None:
    at = centre()
    at.simulator.call("c-1", AT, topic="none", **TOLD)
    at.simulator.call("c-1", AT, topic="suicidal", **TOLD)
    items = at.read()
    assert kinds(items) == ["activities", "signal", "rejected"]
    assert wrong(items) == [("DATA/DUPLICATE", "row 2, column call")]
    at.simulator.call("c-1", AT, topic="suicidal", **TOLD)
    assert at.read()[0].signal == items[1].signal  # the very same request: the gateway takes it once


def test_the_same_record_again_changes_nothing(centre: Make) -> None:
    at = centre("rest")
    at.simulator.doubled = True
    at.simulator.call("c-1", AT, topic="suicidal", **TOLD)
    assert kinds(at.read()) == ["signal", "activities"]


# -- seats and hours ------------------------------------------------------------------------------------------------


def test_a_call_while_the_line_is_closed_is_taken_and_named(centre: Make) -> None:
    at = centre()
    night = AT.replace(hour=3)
    at.simulator.call("c-1", night, line="12355", topic="suicidal", **TOLD)
    items = at.read()
    assert kinds(items) == ["signal", "activities", "rejected"]
    assert wrong(items) == [("HOTLINE/CLOSED", "row 2, column started")]
    at.simulator.call("c-2", night, line="12356")
    assert wrong(at.read()) == []


def test_more_calls_at_one_time_than_seats_are_taken_counted_and_named_also_across_files(centre: Make) -> None:
    at = centre()
    for number in range(3):
        at.simulator.call(f"c-{number}", AT + timedelta(minutes=number), minutes=10)
    items = at.read()
    assert wrong(items) == [("HOTLINE/SEATS", "row 2, column started")]
    assert counts(items) == {"calls-12356-2026-10-14": 3}
    at.simulator.call("c-9", AT + timedelta(minutes=11), minutes=10)
    assert wrong(at.read()) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"seats": 1, "national": True}, "at least 2 seats"),
        ({"seats": 2, "national": True, "hours": ["08:00-22:00"]}, "at least 18 hours"),
        ({"seats": 2, "national": True, "hours": ["08:00-20:00", "08:00-21:00"]}, "at least 18 hours"),
        ({"seats": 0}, "greater than or equal"),
        ({"seats": 2, "hours": ["8-20"]}, "HH:MM-HH:MM"),
        ({"seats": 2, "hours": ["08:00-08:00"]}, "same time"),
        ({"seats": 2, "hours": []}, "at least 1"),
    ],
)
def test_a_line_below_the_guideline_or_without_sense_does_not_start(
    centre: Make, line: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        centre(lines={"12356": line})


def test_hours_may_pass_midnight_and_a_local_line_is_not_held_to_the_guideline(centre: Make) -> None:
    line = centre(lines={"8311095": {"seats": 1, "hours": ["18:00-06:00"]}}).settings.lines["8311095"]
    assert [line.is_open(AT.replace(hour=hour)) for hour in (17, 18, 23, 0, 5, 6)] == [
        False,
        True,
        True,
        True,
        True,
        False,
    ]
    assert line.minutes_open() == 720


# -- what a bad record gets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "reason", "column"),
    [
        ({"line": "12320"}, "DATA/LINE", "line"),
        ({"call": "c 1"}, "DATA/CODE", "call"),
        ({"started": "2026/10/14 14:00"}, "DATA/DATE", "started"),
        ({"started": "2026-02-30 14:00"}, "DATA/DATE", "started"),
        ({"started": "46056.5"}, "DATA/DATE", "started"),
        ({"ended": "2026-10-14 13:59"}, "DATA/DATE_RANGE", "ended"),
        ({"ended": "2026-10-15 14:00"}, "DATA/DATE_RANGE", "ended"),
        ({"ended": "2026-10-14 21:00"}, "DATA/DATE_RANGE", "ended"),
        ({"started": "2024-10-14 14:00", "ended": "2024-10-14 14:10"}, "DATA/DATE_RANGE", "started"),
        ({"topic": "Z99"}, "DATA/CODE", "topic"),
        ({"topic": ""}, "DATA/MISSING", "topic"),
        ({"caller": "王老师本人"}, "DATA/CODE", "caller"),
        ({"topic": "咨询", "phone": "１３８0000"}, "DATA/PHONE", "phone"),
        ({"topic": "咨询", "birth_date": "2011.5.4"}, "DATA/DATE", "birth_date"),
        ({"topic": "咨询", "student": "欧阳小雨"}, "DATA/CODE", "student"),
        ({"task": "t1"}, "DATA/CODE", "task"),
        ({"closed": "也许"}, "DATA/YES_NO", "closed"),
        ({"name": "x" * 121, "topic": "咨询"}, "DATA/CELL_TOO_LONG", "name"),
        ({"location": "x" * 401}, "DATA/CELL_TOO_LONG", "location"),
    ],
)
def test_a_bad_cell_is_named_and_its_value_is_not(
    centre: Make, words: dict[str, str], reason: str, column: str
) -> None:
    at = centre()
    at.simulator.drop("calls.csv", sheet([{**ROW, "task": "", "closed": "", "student": "", **words}]))
    items = at.read()
    assert wrong(items) == [(reason, f"row 2, column {column}")]
    for value in words.values():
        assert len(value) < 6 or value not in str(items)


def test_danger_does_not_wait_for_a_digit_of_a_phone_number_nor_for_the_row_beside_it(centre: Make) -> None:
    at = centre()
    at.simulator.drop(
        "calls.csv", sheet([{**ROW, "phone": "abc", "birth_date": "?"}, {**ROW, "call": "c-2", "topic": "Z"}])
    )
    items = at.read()
    assert kinds(items) == ["signal", "rejected", "rejected", "rejected"]
    told = items[0].signal.student.described
    assert (told.full_name, told.phone, told.birth_date) == ("欧阳小雨", "", "")
    assert {each[0] for each in wrong(items)} == {"DATA/PHONE", "DATA/DATE", "DATA/CODE"}


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"line": "95000"}, "DATA/LINE"),
        ({"started": "昨晚"}, "DATA/DATE"),
        ({"ended": "2031-01-01T00:00:00"}, "DATA/DATE_RANGE"),
        ({"location": "桥" * 401}, "DATA/CELL_TOO_LONG"),
        ({"outcome": "Z"}, "DATA/CODE"),
        ({"task": "t1"}, "DATA/CODE"),
        ({"call": "一号"}, "DATA/CODE"),
        ({"topic": "疑似轻生"}, "DATA/CODE"),
    ],
)
def test_no_slip_in_the_record_of_a_dangerous_call_holds_it_back(
    centre: Make, words: dict[str, str], reason: str, *, alone: bool
) -> None:
    at = centre(accept_valid_rows=alone)
    at.simulator.drop("calls.csv", sheet([{**ROW, "topic": "轻生", "task": "", "closed": "", "student": "", **words}]))
    items = at.read()
    assert [each[0] for each in wrong(items)] == [reason]
    (signal,) = [item.signal for item in items if item.HasField("signal")]
    assert signal.kind == screening.SIGNAL_KIND_SUICIDAL
    assert signal.student.described.full_name == ROW["name"]
    assert "请向热线核实" in signal.facts and (signal.occurred_us > 0) == ("started" not in words)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "DATA/EMPTY"),
        (sheet([ROW]).decode("utf-8-sig").encode("gb18030"), "DATA/ENCODING"),
        (sheet([ROW]).replace(b",", b";"), "DATA/QUOTE"),
        (sheet([ROW]).replace(b'"', b"").replace(b",", b";"), "DATA/HEADER"),
        (sheet([ROW]).replace(b'"topic"', b'"about"'), "DATA/HEADER"),
        (sheet([ROW])[:-30], "DATA/QUOTE"),
        (sheet([ROW]).replace(b"c-1", b"c\x001"), "DATA/CHARSET"),
    ],
)
def test_a_spoilt_file_is_refused_whole(centre: Make, data: bytes, reason: str) -> None:
    at = centre()
    at.simulator.drop("calls.csv", data)
    assert [each[0] for each in wrong(at.read())] == [reason]


def test_declared_gb18030_and_the_centres_own_words_are_read(centre: Make) -> None:
    at = centre(
        encoding="gb18030", topics={"一级": "suicidal"}, callers={"孩子": "self"}, outcomes={"已派警": "to_110"}
    )
    row = {**ROW, "topic": "一级", "caller": "孩子", "outcome": "已派警", "name": "𠮷小雨"}
    at.simulator.drop("calls.csv", sheet([row]).decode("utf-8-sig").encode("gb18030"))
    signal = at.read()[0].signal
    assert (signal.kind, signal.student.described.full_name) == (screening.SIGNAL_KIND_SUICIDAL, "𠮷小雨")
    assert "来电人：本人；事由：轻生言行；处置：已转110" in signal.facts


@pytest.mark.parametrize("after", range(7))
def test_stopping_after_any_item_loses_and_repeats_nothing(centre: Make, after: int) -> None:
    at = centre()
    at.simulator.drop("a.csv", sheet([ROW, {**ROW, "call": "c-2", "topic": "concern"}]))
    at.simulator.drop("b.csv", sheet([{**ROW, "call": "c-3", "line": "12355"}]))
    first = at.read(after) if after else []
    at.restarted()
    items = [*first, *at.read()]
    assert kinds(items) == ["signal", "signal", "activities", "signal", "activities"]
    assert counts(items) == {
        "calls-12356-2026-10-14": 1, "calls-12356-2026-10-14-crisis": 1, "calls-12355-2026-10-14-crisis": 1
    }  # fmt: skip


def test_counts_of_a_day_grow_and_replace_and_hold_nobody(centre: Make) -> None:
    at = centre()
    at.simulator.call("c-1", AT, name="欧阳小雨", school="3205830001")
    at.read()
    at.restarted()
    at.simulator.call("c-2", AT + timedelta(hours=2))
    items = at.read()
    assert counts(items) == {"calls-12356-2026-10-14": 2}
    kept = b"".join(path.read_bytes() for path in (at.folder / "held", at.folder / "calls"))
    assert b"c-1" not in kept
    assert "欧阳".encode() not in kept


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("down", PartnerUnavailable), ("unavailable", PartnerUnavailable), ("throttled", PartnerUnavailable),
        ("unauthorized", PartnerRefused), ("html", PartnerRefused), ("cut", PartnerRefused), ("drop_after", PartnerUnavailable),
    ],
)  # fmt: skip
def test_a_look_that_fails_is_made_up_for(centre: Make, fault: Any, error: type[Exception]) -> None:
    at = centre("rest")
    at.simulator.call("c-1", AT, topic="suicidal", **TOLD)
    at.simulator.partner.play(fault, times=3)
    for _ in range(3):
        with pytest.raises(error):
            at.read()
    assert kinds(at.read()) == ["signal", "activities"]


def test_pages_however_they_come_and_a_wrong_code_table(centre: Make) -> None:
    at = centre("rest")
    at.simulator.small_pages = at.simulator.backwards = True
    for number in range(4):
        at.simulator.call(f"c-{number}", AT + timedelta(hours=number), topic="concern", **TOLD)
    assert kinds(at.read()).count("signal") == 4
    at.simulator.wrong_code = True
    at.simulator.call("c-9", AT, topic="suicidal", **TOLD)
    assert wrong(at.read()) == [("DATA/CODE", "row 1, column topic")]
    assert "suicidal" in json.dumps(at.simulator._records)


# -- three-way calls ----------------------------------------------------------------------------------------------------

THREE_WAY = {"hand_off": "是", "origin_number": "139-0000-0001", "location_basis": "基站", "agreed": "否"}


@pytest.mark.parametrize("source", ["folder", "rest"])
def test_a_dangerous_call_asks_110_to_join_with_the_callers_number_and_place(centre: Make, source: str) -> None:
    at = centre(source)
    asked = {"hand_off": "yes", "origin_number": "139-0000-0001", "location_basis": "cell", "agreed": "no"}
    at.simulator.call("c-1", AT, topic="suicidal", location="人民桥", **asked)
    signal = at.read()[0].signal
    said = signal.hand_off
    assert (said.call, said.line, said.origin_number) == ("c-1", "12356", "13900000001")
    assert (said.location_basis, said.consent) == (screening.LOCATION_BASIS_CELL, screening.CALLER_CONSENT_REFUSED)
    assert signal.location == "人民桥"


def test_the_columns_have_chinese_names(centre: Make) -> None:
    at = centre()
    head = "通话编号,线路,接通时间,结束时间,事由,所在位置,定位依据,请110接入,来电号码,来电人同意"
    cells = "c-1,12356,2026-10-14 14:00,2026-10-14 14:10,轻生,人民桥,来电人自述,是,13900000001,是"
    at.simulator.drop("来电.csv", f"{head}\n{cells}\n".encode())
    said = at.read()[0].signal.hand_off
    assert (said.origin_number, said.location_basis) == ("13900000001", screening.LOCATION_BASIS_CALLER)
    assert said.consent == screening.CALLER_CONSENT_GIVEN


@pytest.mark.parametrize("change", [{"hand_off": "否"}, {"hand_off": ""}, {"topic": "情绪困扰"}])
def test_nobody_is_asked_to_join_where_the_line_does_not_ask_or_there_is_no_danger(
    centre: Make, change: dict[str, str]
) -> None:
    at = centre()
    at.simulator.drop("来电.csv", sheet([ROW | THREE_WAY | change]))
    assert not at.read()[0].signal.HasField("hand_off")


def test_a_number_or_a_basis_that_is_none_does_not_hold_up_the_call(centre: Make) -> None:
    at = centre()
    at.simulator.drop(
        "来电.csv", sheet([ROW | THREE_WAY | {"origin_number": "隐藏", "location_basis": "?", "agreed": "?"}])
    )
    said = at.read()[0].signal.hand_off
    assert (said.call, said.origin_number, said.location_basis, said.consent) == ("c-1", "", 0, 0)
