import csv
from collections.abc import Callable

import pytest
from plugins.community_grid.tests.conftest import CHILD, Station

from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.api.casefile.v1.team_pb2 import TASK_STATE_CANCELLED, TASK_STATE_OPEN
from xinqiao_community_grid.simulator import GRIDS

Make = Callable[..., Station]
TASK = {"name": "tasks/t1", "what": "每周上门，问问睡眠", "due_us": 1_792_000_000_000_000, "state": TASK_STATE_OPEN}


def rows(at: Station) -> list[list[str]]:
    found: list[list[str]] = []
    for path in sorted((at.simulator.outbox / "tasks").glob("*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as stream:
            found += list(csv.reader(stream))[1:]
    return found


def test_a_task_is_a_row_of_the_sheet_and_a_repeat_writes_nothing_also_when_it_was_fetched(station: Make) -> None:
    at = station()
    receipt = at.deliver(TASK, guardians=[{"full_name": "李梅", "phone": "13800000002"}])
    assert receipt == "tasks/task-delivery-0001.csv"
    ((task, grid, student, name, guardian, phone, what, due, state),) = rows(at)
    assert (task, grid, student, name) == ("tasks/t1", "", CHILD, "欧阳小雨")
    assert (guardian, phone, what, due, state) == ("李梅", "13800000002", "每周上门，问问睡眠", "2026-10-15", "待办")
    (at.simulator.outbox / receipt).unlink()
    assert at.deliver(TASK, guardians=[{"full_name": "李梅", "phone": "13800000002"}]) == receipt
    assert rows(at) == []


def test_the_same_key_with_other_content_is_refused(station: Make) -> None:
    at = station()
    at.deliver(TASK)
    with pytest.raises(RecordRejected, match="KEY_REUSED"):
        at.deliver({**TASK, "what": "别的"})


def test_what_was_withheld_is_blank_in_the_sheet_and_absent_over_rest(station: Make) -> None:
    at = station("rest")
    at.deliver({"name": "tasks/t1", "state": TASK_STATE_CANCELLED}, family_name="", given_name="")
    assert at.simulator.tasks["tasks/t1"] == {"task": "tasks/t1", "student": CHILD, "state": "cancelled"}


def test_over_rest_a_repeat_has_one_effect_and_the_same_receipt(station: Make) -> None:
    at = station("rest")
    at.simulator.partner.play("drop_after")
    with pytest.raises(PartnerUnavailable):
        at.deliver(TASK)
    assert at.deliver(TASK) == at.deliver(TASK) == "T1"
    assert len(at.simulator.tasks) == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("down", PartnerUnavailable), ("unavailable", PartnerUnavailable), ("throttled", PartnerUnavailable),
        ("unauthorized", PartnerRefused), ("unprocessable", RecordRejected),
    ],
)  # fmt: skip
def test_each_answer_of_the_system_says_what_comes_next(station: Make, fault: str, error: type[Exception]) -> None:
    at = station("rest")
    at.simulator.partner.play(fault, seconds=7.0 if fault in ("throttled", "unavailable") else 0.0)
    with pytest.raises(error) as caught:
        at.deliver(TASK)
    assert "欧阳" not in str(caught.value)
    if fault in ("throttled", "unavailable"):
        assert getattr(caught.value, "retry_after_s", None) == 7.0
    at.deliver(TASK)


def test_the_clerks_sheet_with_grids_filled_in_allots_the_tasks(station: Make) -> None:
    at = station()
    at.deliver(TASK)
    sheet = (at.simulator.outbox / "tasks" / "task-delivery-0001.csv").read_text("utf-8-sig")
    assert [len(form["tasks"]) for form in at.simulator.forms().values()] == [0, 0]
    filled = sheet.replace('"tasks/t1",""', f'"tasks/t1","{GRIDS[1]}"')
    at.simulator.drop("allot.csv", filled.encode("utf-8-sig"))
    assert at.read() == []
    assert [len(form["tasks"]) for form in at.simulator.forms().values()] == [0, 1]


def test_a_recall_takes_the_child_off_every_form_and_tells_the_station(station: Make) -> None:
    at = station(grids=[GRIDS[0]])
    at.deliver(TASK)
    assert "欧阳" in next((at.simulator.outbox / "forms").iterdir()).read_text("utf-8")
    recall = DeliverRequest(request_id="recall-00001", attempt=1, recall={"name": "recalls/r1", "student": CHILD})
    assert at.adapter.deliver(recall, 5.0).receipt == "recalls/recall-recall-00001.csv"
    assert "欧阳" not in next((at.simulator.outbox / "forms").iterdir()).read_text("utf-8")


def test_a_body_it_does_not_take_is_refused(station: Make) -> None:
    with pytest.raises(RecordRejected, match="DATA/REQUIRED"):
        station().adapter.deliver(DeliverRequest(request_id="delivery-0001", referral={}), 5.0)


def test_check_reaches_the_system_or_the_folders(station: Make) -> None:
    assert station("rest", token=None).adapter.check() == "grid REST"
    at = station()
    assert at.adapter.check() == "folder"
    at.simulator.outbox.rename(at.simulator.outbox.with_name("gone"))
    with pytest.raises(PartnerUnavailable, match="outbox"):
        at.adapter.check()
