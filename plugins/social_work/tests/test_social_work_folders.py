"""The adapter between two folders: full logs replaced and taken back, crashes in between, deliveries and reports."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from xinqiao.adapters.errors import PartnerUnavailable, RecordRejected
from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.transport import HttpTransport
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, ReadResponse, Rejected
from xinqiao.contract.clock import BEIJING, ManualClock
from xinqiao_social_work import year
from xinqiao_social_work.adapter import SocialWorkAdapter
from xinqiao_social_work.settings import SocialWorkSettings
from xinqiao_social_work.simulator import SocialWorkSimulator

ROWS = sum(len(table.rows) for table in year.tables())
LESSON = ("编号", "日期", "人数")
CANARY = "欧阳𠮷明"


class Desk:
    """An agency, its adapter, and a gateway that takes each item before it asks for the next."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.agency = SocialWorkSimulator(folder / "agency")
        self.clock = ManualClock(datetime(2026, 10, 12, 9, tzinfo=BEIJING))
        self.cursor = ""
        self.adapter = self.made()

    def made(self, **words: Any) -> SocialWorkAdapter:
        context = AgencyContext("kunshan-aide", {}, "test", HttpTransport([]), self.folder / "state")
        settings = SocialWorkSettings.model_validate({**self.agency.start(), **words})
        return SocialWorkAdapter(settings, context, self.clock)

    def read(self, most: int = 1_000_000) -> list[ReadResponse]:
        """Take items one by one; after ``most`` the gateway stops between storing one and asking for the next."""
        items: list[ReadResponse] = []
        for item in self.adapter.read(self.cursor):
            items.append(item)
            self.cursor = item.cursor or self.cursor
            if len(items) == most:
                break
        return items

    def figures(self) -> list[tuple[str, int, bool]]:
        """What a look brought: source, persons, withdrawn."""
        return [
            (each.source, each.persons, each.withdrawn) for item in self.read() for each in item.activities.activities
        ]

    def lessons(self, *rows: tuple[str, str, str], name: str = "成长课堂-2026.csv", **words: Any) -> None:
        self.agency.drop(name, LESSON, rows, **words)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def rows(count: int, persons: int = 40) -> list[tuple[str, str, str]]:
    return [(f"k-{number}", "2026-09-01", str(persons)) for number in range(count)]


def test_only_what_changed_in_a_newer_full_file_is_brought_and_a_row_that_is_gone_is_withdrawn(desk: Desk) -> None:
    desk.lessons(*rows(3))
    assert desk.figures() == [("lesson/k-0", 40, False), ("lesson/k-1", 40, False), ("lesson/k-2", 40, False)]
    assert desk.figures() == []
    desk.lessons(("k-0", "2026-09-01", "40"), ("k-1", "2026-09-01", "41"), ("k-3", "2026-09-02", "9"))
    assert desk.figures() == [("lesson/k-1", 41, False), ("lesson/k-3", 9, False), ("lesson/k-2", 40, True)]
    desk.lessons(*rows(3))
    assert desk.figures() == [("lesson/k-1", 40, False), ("lesson/k-2", 40, False), ("lesson/k-3", 9, True)]


def test_a_file_that_lost_most_of_its_rows_is_refused_unless_its_manifest_says_that_it_is_whole(desk: Desk) -> None:
    desk.lessons(*rows(40))
    desk.read()
    desk.agency.faults.cut = 0.25
    desk.lessons(*rows(40))
    (told,) = desk.read()
    assert told.rejected.reason == "DATA/TRUNCATED"
    assert desk.read() == []  # told once, not at each look
    desk.agency.faults.cut = 1.0
    desk.lessons(*rows(10), manifest=True)
    assert sum(withdrawn for _, _, withdrawn in desk.figures()) == 30


def test_a_file_taken_away_withdraws_nothing(desk: Desk) -> None:
    desk.lessons(*rows(3))
    desk.read()
    for path in desk.agency.inbox.iterdir():
        path.unlink()
    assert desk.read() == []


def test_a_row_of_another_file_is_not_taken_twice(desk: Desk) -> None:
    desk.agency.faults.twice = True
    desk.lessons(*rows(2))
    items = desk.read()
    assert [item.WhichOneof("body") for item in items] == ["activities", "rejected"]
    assert items[1].rejected.reason == "DATA/DUPLICATE"


def test_stopping_after_any_item_loses_nothing(tmp_path: Path) -> None:
    def brought(stop: int) -> tuple[dict[str, int], int]:
        desk = Desk(tmp_path / str(stop))
        desk.agency.drop_year()
        desk.agency.answer("tasks/t1", "已完成", "去过了")
        found = {}
        first = desk.read(stop)
        desk.adapter = desk.made()  # another process
        rest = desk.read()
        for item in [*first, *rest]:
            for each in item.activities.activities:
                found[each.source] = each.persons
        return found, sum(item.WhichOneof("body") == "task_report" for item in rest)

    whole, _ = brought(1_000_000)
    assert len(whole) == ROWS
    for stop in range(1, 9):
        assert brought(stop) == (whole, 1)


def test_a_crash_within_a_file_repeats_nothing_of_it(desk: Desk) -> None:
    for number in range(4):
        desk.agency.answer(f"tasks/t{number}", "已完成", "去过了")
    names = [item.task_report.name for item in desk.read(2)]
    desk.adapter = desk.made()
    names += [item.task_report.name for item in desk.read()]
    assert names == [f"tasks/t{number}" for number in range(4)]


@pytest.mark.parametrize(
    "text", ["x", "+1", "1-00+1@zz", "٣-0000000000000000", "../../x", "1-0000000000000000+9@0000000000000000"]
)
def test_a_cursor_that_names_nothing_reads_everything(desk: Desk, text: str) -> None:
    desk.lessons(*rows(2))
    desk.cursor = text
    assert len(desk.figures()) == 2


def test_a_gateway_put_back_to_an_older_cursor_goes_on_from_there(desk: Desk) -> None:
    desk.lessons(*rows(2))
    desk.read()
    older = desk.cursor
    desk.lessons(*rows(2, 50))
    newer = desk.figures()
    desk.cursor = older
    assert desk.figures() == newer


def test_what_was_read_before_counts_although_many_looks_went_by(desk: Desk) -> None:
    for number in range(80):
        desk.lessons(("k-0", "2026-09-01", str(number + 1)))
        assert len(desk.figures()) == 1
    assert len(list((desk.folder / "state" / "states").iterdir())) <= 65


def test_a_planned_day_counts_when_it_has_come_though_the_file_stays_the_same(desk: Desk) -> None:
    days = [("d-1", "2026-10-12"), ("d-2", "2026-10-13"), ("d-3", "2026-10-14")]
    desk.agency.drop("驻校排班.csv", ("编号", "日期"), days)
    assert [source for source, _, _ in desk.figures()] == ["duty/d-1"]
    assert desk.read() == []
    desk.clock.advance(timedelta(days=1))
    assert [source for source, _, _ in desk.figures()] == ["duty/d-2"]


def test_a_file_that_is_refused_is_judged_anew_when_it_or_the_settings_change(desk: Desk) -> None:
    bad = [*rows(1), ("k-9", "2026-09-01", "viele")]
    desk.lessons(*bad)
    assert [item.rejected.reason for item in desk.read()] == ["DATA/NUMBER"]
    assert desk.read() == []
    desk.adapter = desk.made(accept_valid_rows=True)
    assert [item.WhichOneof("body") for item in desk.read()] == ["activities", "rejected"]
    desk.lessons(*rows(2))
    assert desk.figures() == [("lesson/k-1", 40, False)]


def test_a_row_that_cannot_be_read_withdraws_nothing(desk: Desk) -> None:
    desk.adapter = desk.made(accept_valid_rows=True)
    desk.lessons(*rows(2))
    desk.read()
    desk.lessons(*rows(1), ("k 1", "2026-09-01", "40"))
    assert [item.WhichOneof("body") for item in desk.read()] == ["rejected"]
    desk.lessons(*rows(1))
    assert desk.figures() == [("lesson/k-1", 40, True)]


def test_an_entry_is_brought_once_and_its_change_is_a_persons_affair(desk: Desk) -> None:
    header = ("编号", "日期", "个案编号", "学生代号", "主题")
    row = ("s-1", "2026-09-01", "case-1", "students/" + "b" * 26)
    desk.agency.drop("个案服务记录.csv", header, [(*row, "同伴关系")])
    assert [item.WhichOneof("body") for item in desk.read()] == ["activities", "entry"]
    desk.agency.drop("个案服务记录.csv", header, [(*row, "亲子关系")])
    (told,) = desk.read()
    assert told.rejected.reason == "ENTRY_CHANGED"


def test_answers_come_once_each_and_a_mended_one_again(desk: Desk) -> None:
    desk.agency.answer("referrals/r1", "接受")
    desk.agency.answer("tasks/t1", "已完成", "去过了")
    assert [item.WhichOneof("body") for item in desk.read()] == ["referral", "task_report"]
    desk.agency.answer("referrals/r1", "反馈", advice="座位靠前")
    (outcome,) = desk.read()
    assert outcome.referral.outcome.school_advice == "座位靠前"


def test_an_unfinished_file_waits_and_a_link_is_not_followed(desk: Desk, tmp_path: Path) -> None:
    desk.agency.faults.unfinished = True
    desk.lessons(*rows(2))
    (tmp_path / "secret.csv").write_text("编号,日期,人数\n1,2026-09-01,4\n", "utf-8")
    (desk.agency.inbox / "成长课堂-x.csv").symlink_to(tmp_path / "secret.csv")
    assert desk.read() == []


def test_a_wrong_code_table_refuses_the_file_by_its_encoding(desk: Desk) -> None:
    desk.agency.faults.mojibake = True
    desk.lessons(*rows(2))
    assert [item.rejected.reason for item in desk.read()] == ["DATA/ENCODING"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"rows": "2", "sha256": ""}', '{"rows": 2, "sha256": "00"}'])
def test_a_manifest_that_is_none_or_of_another_file_refuses_the_file(desk: Desk, text: str) -> None:
    desk.lessons(*rows(2))
    (desk.agency.inbox / "成长课堂-2026.csv.manifest.json").write_text(text, "utf-8")
    assert [item.rejected.reason for item in desk.read()] == ([] if not text else ["DATA/MANIFEST"]) or not text


def request(**words: Any) -> DeliverRequest:
    made = DeliverRequest(request_id="tasks.t1.v1", attempt=1)
    made.task.task.name, made.task.task.what = "tasks/t1", "每周一次"
    made.task.student.family_name = CANARY
    made.MergeFrom(DeliverRequest(**words))
    return made


def test_a_repeat_writes_nothing_new_even_after_the_agency_took_the_file(desk: Desk) -> None:
    assert desk.adapter.deliver(request(), 5).receipt == "tasks.t1.v1.json"
    assert len(desk.agency.fetch()) == 1
    assert desk.adapter.deliver(request(attempt=2, checkpoints=["c"]), 5).receipt == "tasks.t1.v1.json"
    assert list(desk.agency.outbox.glob("*.json")) == []
    (found,) = desk.agency.fetch()
    assert found["task"]["task"]["what"] == "每周一次"
    assert "attempt" not in found


def test_other_content_under_a_request_id_is_refused_and_a_bad_id_names_no_file(desk: Desk) -> None:
    desk.adapter.deliver(request(), 5)
    with pytest.raises(RecordRejected) as caught:
        desk.adapter.deliver(request(drill=True), 5)
    assert (caught.value.reason, CANARY in str(caught.value)) == ("KEY_REUSED", False)
    with pytest.raises(RecordRejected, match="request_id is"):
        desk.adapter.deliver(request(request_id="../../etc/passwd"), 5)


def test_the_agency_learns_what_was_not_taken_once(desk: Desk) -> None:
    desk.lessons(("k-1", "2026-09-01", "=1+1"))
    items = [item.rejected for item in desk.read()]
    for _ in range(2):
        desk.adapter.report(items)
    text = (desk.agency.outbox / "reports" / "成长课堂-2026.csv.csv").read_text("utf-8-sig")
    assert text.count("row 2, column 人数") == 1
    desk.adapter.report([Rejected(source="../../x@1", place="=cmd", reason="R", message="m")])
    desk.adapter.report([Rejected(source="=answer/a-1@1", reason="STATE", message="m")])
    assert sorted(path.name for path in (desk.agency.outbox / "reports").iterdir()) == [
        "gateway.csv", "成长课堂-2026.csv.csv",
    ]  # fmt: skip
    assert '"\'=answer/a-1"' in (desk.agency.outbox / "reports" / "gateway.csv").read_text("utf-8-sig")


def test_folders_that_are_not_there_are_named(desk: Desk) -> None:
    assert desk.adapter.check() == "folder"
    for path in desk.agency.outbox.iterdir():
        path.unlink()
    desk.agency.outbox.rmdir()
    with pytest.raises(PartnerUnavailable, match="outbox"):
        desk.adapter.check()
    with pytest.raises(PartnerUnavailable, match="outbox"):
        desk.adapter.deliver(request(), 5)


def test_a_receipt_of_a_recall_is_brought_once_and_what_is_none_is_refused(desk: Desk) -> None:
    desk.agency.delete("recalls/r1")
    (item,) = desk.read()
    assert (item.recall_receipt.recall, len(item.recall_receipt.receipt.signature)) == ("recalls/r1", 64)
    assert desk.read() == []
    for number, text in enumerate(("", "[]", '{"recall": "x"}', '{"recall": 1, "receipt": "", "signature": ""}')):
        (desk.agency.inbox / f"{number}.receipt.json").write_text(text, "utf-8")
    assert [item.rejected.reason for item in desk.read()] == ["DATA/RECEIPT"] * 4


def test_the_private_state_holds_counts_and_no_words(desk: Desk) -> None:
    header = ("编号", "日期", "个案编号", "学生代号", "主题", "服务记录")
    line = ("s-1", "2026-09-01", "case-1", "students/" + "b" * 26, CANARY, CANARY)
    desk.adapter = desk.made(bring_notes=True)
    desk.agency.drop("个案服务记录.csv", header, [line])
    desk.read()
    kept = list(_texts(desk.folder / "state"))
    assert kept
    assert not any(CANARY in text or "students/" in text for text in kept)


def test_a_drill_says_so_where_a_person_looks_first(desk: Desk) -> None:
    desk.adapter.deliver(request(drill=True), 5)
    (text,) = desk.agency.effects()
    assert "演练 DRILL" in text.splitlines()[1]


def _texts(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*.json"):
        yield json.dumps(json.loads(path.read_text("utf-8")), ensure_ascii=False)
