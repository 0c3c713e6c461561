import csv
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plugins.hotline.tests.conftest import AT, CHILD, Centre, kinds, wrong
from pydantic import ValidationError

from xinqiao.adapters.errors import PartnerUnavailable, RecordRejected
from xinqiao.adapters.intray import Letter
from xinqiao.adapters.protocols import Accepted, Refused
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.api.casefile.v1.team_pb2 import TASK_STATE_CANCELLED, TASK_STATE_OPEN
from xinqiao.contract.clock import SystemClock
from xinqiao_hotline.calls import Calls
from xinqiao_hotline.reading import CallReader, ReadingSettings
from xinqiao_hotline.settings import HotlineSettings
from xinqiao_hotline.simulator import sheet

Make = Callable[..., Centre]
TASK = {"name": "tasks/t1", "what": "三天内回访", "due_us": 1_792_000_000_000_000, "state": TASK_STATE_OPEN}
CANARY = "欧阳小雨13800000001"


def test_a_call_back_is_a_row_of_the_sheet_and_a_repeat_writes_nothing(centre: Make) -> None:
    at = centre()
    receipt = at.deliver(TASK, guardians=[{"full_name": "李梅", "phone": "13800000002"}])
    path = at.simulator.outbox / receipt
    with path.open(encoding="utf-8-sig", newline="") as stream:
        assert list(csv.reader(stream))[1] == [
            "tasks/t1", CHILD, "欧阳小雨", "李梅", "13800000002", "三天内回访", "2026-10-15", "待办"
        ]  # fmt: skip
    path.unlink()
    assert at.deliver(TASK, guardians=[{"full_name": "李梅", "phone": "13800000002"}]) == receipt
    assert not path.exists()
    with pytest.raises(RecordRejected, match="KEY_REUSED"):
        at.deliver({**TASK, "what": "别的"})


def test_over_rest_a_repeat_has_one_effect_and_the_withheld_is_absent(centre: Make) -> None:
    at = centre("rest")
    at.simulator.partner.play("drop_after")
    task = {"name": "tasks/t1", "state": TASK_STATE_CANCELLED}
    with pytest.raises(PartnerUnavailable):
        at.deliver(task, family_name="", given_name="")
    assert at.deliver(task, family_name="", given_name="") == "C1"
    assert at.simulator.callbacks == {"tasks/t1": {"task": "tasks/t1", "student": CHILD, "state": "cancelled"}}


def test_a_closed_call_back_reports_its_task_and_one_that_was_not_reached_leaves_it_open(centre: Make) -> None:
    at = centre()
    at.deliver(TASK)
    at.simulator.call("c-1", AT, task="tasks/t1", closed="否", outcome="not_reached")
    assert kinds(at.read()) == ["activities"]
    at.simulator.call("c-2", AT + timedelta(hours=1), task="tasks/t1", closed="是", outcome="counselled")
    items = at.read()
    assert kinds(items) == ["task_report", "activities"]
    assert (items[0].task_report.name, items[0].task_report.report) == ("tasks/t1", "回访：已疏导，一般咨询")
    at.clock.advance(timedelta(days=30))
    assert at.read() == []


def test_a_call_back_that_is_not_closed_in_time_is_told_once_also_after_a_restart(centre: Make) -> None:
    at = centre(closure_days=3)
    at.deliver(TASK)
    at.clock.advance(timedelta(days=3))
    assert at.read() == []
    at.clock.advance(timedelta(minutes=1))
    items = at.read()
    assert wrong(items) == [("CALLBACK_OPEN", "tasks/t1")]
    assert items[0].rejected.source.startswith("callbacks@")
    assert at.read() == []
    at.restarted()
    assert at.read() == []


def test_another_call_back_that_stays_open_is_told_of_its_own(centre: Make) -> None:
    at = centre(closure_days=1)
    at.deliver(TASK)
    at.deliver({**TASK, "name": "tasks/t2"}, "delivery-0002")
    at.deliver({**TASK, "name": "tasks/t3"}, "delivery-0003")
    at.deliver({"name": "tasks/t3", "state": TASK_STATE_CANCELLED}, "delivery-0004")
    at.clock.advance(timedelta(days=2))
    assert sorted(place for _, place in wrong(at.read())) == ["tasks/t1", "tasks/t2"]


def test_a_recall_is_told_to_the_centre(centre: Make) -> None:
    recall: Any = {"name": "recalls/r1", "student": CHILD}
    request = DeliverRequest(request_id="recall-00001", attempt=1, recall=recall)
    at = centre()
    assert at.adapter.deliver(request, 5.0).receipt == "recalls/recall-recall-00001.csv"
    with pytest.raises(RecordRejected, match="DATA/REQUIRED"):
        at.adapter.deliver(DeliverRequest(request_id="delivery-0001", referral={}), 5.0)


def test_over_rest_too_a_recall_is_told_and_check_reaches_the_system(centre: Make) -> None:
    at = centre("rest")
    request = DeliverRequest(request_id="recall-00001", attempt=1, recall={"name": "recalls/r1", "student": CHILD})
    assert at.adapter.deliver(request, 5.0).receipt == "recalls/r1"
    assert at.simulator.recalls == ["recalls/r1"]
    assert at.adapter.check() == "hotline REST"


def test_the_centre_is_told_what_is_wrong_or_odd(centre: Make) -> None:
    at = centre()
    at.simulator.call("c-1", AT.replace(hour=3), line="12355")
    at.adapter.report([item.rejected for item in at.read() if item.HasField("rejected")])
    (path,) = (at.simulator.outbox / "reports").iterdir()
    assert "HOTLINE/CLOSED" in path.read_text("utf-8-sig")
    assert at.adapter.check() == "folder"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"inbox": None, "outbox": None}, "one way to this centre"),
        ({"rest": {"base_url": "https://hotline.example.cn"}}, "one way to this centre"),
        ({"outbox": None}, "inbox and outbox, or neither"),
        ({"outbox": "in"}, "two folders"),
        ({"lines": {}}, "at least 1"),
        ({"lines": {"热线": {"seats": 1}}}, "by its number"),
        ({"topics": {"一级": "grave"}}, "mapped to none of none, concern"),
        ({"free_texts": True}, "Extra inputs"),
    ],
)
def test_settings_that_contradict_say_so(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        HotlineSettings.model_validate({"inbox": "in", "outbox": "out", "lines": {"12355": {"seats": 1}}, **change})
    assert said in str(caught.value)


class Nobody:
    def closed(self, task: str) -> None:
        return


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Calls:
    return Calls(ReadingSettings(), tmp_path_factory.mktemp("state"), Nobody(), SystemClock())


COLUMNS = [
    "call",
    "line",
    "started",
    "ended",
    "topic",
    "student",
    "name",
    "phone",
    "birth_date",
    "task",
    "closed",
    "summary",
    CANARY,
]
CELLS = st.sampled_from(
    ["c-1", "12356", "2026-10-14 14:00", "自伤", "是", "tasks/t1", CANARY, "\x00", "=1+1", ""]
) | st.text(max_size=6)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    form=st.sampled_from(["csv", "page"]),
    rows=st.lists(st.dictionaries(st.sampled_from(COLUMNS), CELLS, max_size=12), max_size=4),
    tail=st.binary(max_size=2),
)
def test_no_record_crashes_it_and_no_fault_repeats_a_value(
    calls: Calls, form: str, rows: list[dict[str, str]], tail: bytes
) -> None:
    import json

    data = json.dumps({"records": rows}).encode() if form == "page" else sheet(rows) if rows else b""
    try:
        told = [
            str(item.rejected)
            for item in calls.judge(Letter(1, form, "f", data + tail)).items
            if item.HasField("rejected")
        ]
    except (RecordRejected, UnicodeEncodeError) as error:
        told = [str(error)] if isinstance(error, RecordRejected) else []
    assert CANARY not in "".join(told)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.sampled_from(["csv", "page", "exe"]), data=st.binary(max_size=200))
def test_no_bytes_crash_it(calls: Calls, form: str, data: bytes) -> None:
    try:
        calls.judge(Letter(1, form, "f", data))
    except RecordRejected as error:
        assert error.reason.startswith("DATA/")


def test_a_file_is_read_outside_of_any_agency(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    row = {"call": "c-1", "line": "12355", "started": "2026-10-14 14:00", "ended": "2026-10-14 14:10", "topic": "自伤"}
    path.write_bytes(sheet([row]))
    assert list(CallReader().read_file(path, ReadingSettings())) == [
        Accepted("signal", ""), Accepted("activities", "")
    ]  # fmt: skip
    path.write_bytes(sheet([{**row, "line": "1"}]))
    danger, item = CallReader().read_file(path, ReadingSettings())
    assert danger == Accepted("signal", "")
    assert isinstance(item, Refused)
    assert (item.reason, item.place) == ("DATA/LINE", "row 2, column line")


def test_the_settings_of_the_readme_read_a_file(tmp_path: Path) -> None:
    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text("utf-8")
    (block,) = [each for each in readme.split("```yaml\n")[1:] if each.startswith("inbox:")]
    given = yaml.safe_load(block.partition("```")[0])
    settings = ReadingSettings.model_validate(given, context={"folder": tmp_path})
    assert settings.rest is None and settings.inbox is not None
    path = tmp_path / "calls.csv"
    row = {"call": "c-1", "line": "12355", "started": "2026-10-14 14:00", "ended": "2026-10-14 14:10", "topic": "一级"}
    path.write_bytes(sheet([row]).decode("utf-8-sig").encode("gb18030"))
    assert Accepted("signal", "") in list(CallReader().read_file(path, settings))
