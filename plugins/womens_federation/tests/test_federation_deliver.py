from collections.abc import Callable
from typing import Any

import pytest
from plugins.womens_federation.tests.conftest import DAY_US, Desk, recall, referral, task

from xinqiao.adapters.errors import PartnerUnavailable, RecordRejected
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.api.referral.v1 import referral_pb2
from xinqiao.api.referral.v1.notice_pb2 import PoliceReport
from xinqiao.contract.errors import Refusal
from xinqiao_womens_federation import wire
from xinqiao_womens_federation.clerk import Desk as Clerk
from xinqiao_womens_federation.shelf import FolderShelf


def names(desk: Desk, sheet: wire.Sheet = wire.REFERRALS) -> list[str]:
    return [next(iter(row.values())) for row in desk.sim.desk().rows(sheet)]


def test_a_repeat_has_one_effect_also_after_a_restart(desk: Desk) -> None:
    desk.deliver(referral(1), referral(2))
    (path,) = desk.sim.outbox.glob("*.xlsx")
    before = path.read_bytes()
    again = referral(1)
    again.attempt = 7
    again.checkpoints.append("note")
    desk.restart()
    desk.deliver(again)
    assert names(desk) == ["referrals/r1", "referrals/r2"]
    assert path.read_bytes() == before


def test_other_content_under_a_used_request_id_is_refused_and_changes_nothing(desk: Desk) -> None:
    desk.deliver(referral(1))
    with pytest.raises(RecordRejected, match="KEY_REUSED"):
        desk.deliver(referral(1, support="别的"))
    assert desk.sim.desk().rows(wire.REFERRALS)[0]["需要的支持"] == "每周入户一次"


def test_a_delivery_that_could_not_be_written_is_in_the_workbook_after_the_next_try(desk: Desk) -> None:
    away = desk.sim.outbox.rename(desk.sim.outbox.with_name("away"))
    with pytest.raises(PartnerUnavailable):
        desk.deliver(referral(1))
    away.rename(desk.sim.outbox)
    desk.deliver(referral(1))
    assert names(desk) == ["referrals/r1"]


def test_a_task_comes_with_its_student_and_goes_when_it_is_no_longer_theirs(desk: Desk) -> None:
    desk.deliver(task(1), task(2))
    assert desk.sim.desk().rows(wire.TASKS)[0]["任务"] == "每周上门"
    assert names(desk, wire.STUDENTS) == ["b" * 26]
    desk.deliver(task(1, state=3))
    assert names(desk, wire.TASKS) == ["tasks/t2"]


@pytest.mark.parametrize(
    ("state", "left"), [(referral_pb2.REFERRAL_STATE_CANCELLED, []), (referral_pb2.REFERRAL_STATE_ACCEPTED, ["referrals/r1"])]
)  # fmt: skip
def test_a_referral_that_is_over_leaves_the_workbook(desk: Desk, state: Any, left: list[str]) -> None:
    desk.deliver(referral(1))
    update = referral_pb2.Referral(name="referrals/r1", state=state)
    desk.deliver(DeliverRequest(request_id="update-0001", referral_update=update))
    assert names(desk) == left


def test_that_a_referral_is_over_is_said_until_the_month_ends_or_it_is_recalled(desk: Desk) -> None:
    update = referral_pb2.Referral(
        name="referrals/r1", student="students/" + "a" * 26, state=referral_pb2.REFERRAL_STATE_CANCELLED
    )
    over = DeliverRequest(request_id="update-0001", drill=True, referral_update=update)
    desk.deliver(referral(1), over)
    (row,) = desk.sim.desk().rows(wire.ENDED)
    assert (row["转介编号"], "演练" in row["做法"]) == ("referrals/r1", True)
    desk.deliver(recall())
    assert names(desk, wire.ENDED) == []
    over.request_id = "update-0002"
    desk.deliver(over)
    assert names(desk, wire.ENDED) == ["referrals/r1"]
    desk.clock.us += 31 * DAY_US
    desk.read()
    assert names(desk, wire.ENDED) == []


def test_a_recall_takes_everything_about_the_student_away_and_asks_the_clerk_to_do_the_same(desk: Desk) -> None:
    desk.deliver(referral(1), referral(2, "c"), task(1, letter="a"))
    clerk = desk.sim.desk()
    clerk.add(wire.VISITS, 学生编号="a" * 26, 类别=wire.VISIT, 情况="看到欧阳小雨")
    desk.sim.send(clerk, "nov.xlsx")
    desk.read()
    assert list(desk.sim.errors()) == ["nov.errors.xlsx"]
    desk.deliver(recall())
    assert names(desk) == ["referrals/r2"]
    assert names(desk, wire.TASKS) == []
    assert desk.sim.desk().rows(wire.RECALLS)[0]["须删除"] == "referrals/r1"
    assert desk.sim.errors() == {}
    held = b"".join(path.read_bytes() for path in (desk.folder / "state").rglob("*") if path.is_file())
    assert b"referrals/r1" in held  # the recall itself names it
    assert held.count("欧阳".encode()) == 2  # r2's student and guardian


def test_the_answer_to_a_recall_is_signed_and_ends_it(desk: Desk) -> None:
    desk.deliver(recall())
    desk.sim.tick()
    (item,) = desk.read()
    assert item.recall_receipt.recall == "recalls/c1"
    assert len(item.recall_receipt.receipt.signature) == 64
    assert desk.read() == []
    assert names(desk, wire.RECALLS) == []


def test_a_new_month_brings_a_new_workbook_with_what_is_open_and_takes_the_old_one_away(desk: Desk) -> None:
    desk.deliver(referral(1))
    desk.clock.us += 31 * DAY_US
    desk.read()
    assert sorted(path.name for path in desk.sim.outbox.glob("xinqiao*")) == [
        "xinqiao-2026-12.xlsx", "xinqiao-2026-12.xlsx.manifest.json",
    ]  # fmt: skip
    assert names(desk) == ["referrals/r1"]
    assert desk.sim.desk().rows(wire.SUMMARY)[0]["期间"] == "2026-12"


def test_a_workbook_that_was_taken_away_is_laid_down_again(desk: Desk) -> None:
    desk.deliver(referral(1))
    for path in desk.sim.outbox.glob("xinqiao*"):
        path.unlink()
    desk.read()
    assert names(desk) == ["referrals/r1"]


class Seal:
    """Turns bytes around, bound to their place."""

    def seal(self, plaintext: bytes, *, table: str, key: str) -> bytes:
        return f"{table}{key}".encode() + plaintext[::-1]

    def open(self, blob: bytes, *, table: str, key: str) -> bytes:
        start = f"{table}{key}".encode()
        if not blob.startswith(start):
            raise Refusal("DATA_LOSS", "SEAL", "broken")
        return blob[len(start) :][::-1]


def test_the_rows_that_are_kept_are_sealed_and_bound_to_their_place(desk: Desk) -> None:
    desk.restart(Seal())
    desk.deliver(referral(1), referral(2, "c"))
    kept = sorted((desk.folder / "state" / "rows").glob("*.row"))
    assert all(path.read_bytes().startswith(f"rows{path.name}".encode()) for path in kept)
    assert not any(
        "欧阳".encode() in path.read_bytes() for path in (desk.folder / "state").rglob("*") if path.is_file()
    )
    kept[0].write_bytes(kept[1].read_bytes())
    desk.clock.us += 31 * DAY_US
    desk.read()
    assert len(names(desk)) == 1


def test_the_workbook_holds_no_more_than_its_manifest_says(desk: Desk) -> None:
    import hashlib
    import json

    desk.deliver(referral(1))
    (path,) = desk.sim.outbox.glob("*.xlsx")
    told = json.loads(path.with_name(path.name + ".manifest.json").read_bytes())
    assert told == {"file": path.name, "period": "2026-11", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert not list(desk.sim.outbox.glob("*.part"))
    assert Clerk(path.read_bytes()).rows(wire.REFERRALS)[0]["姓名"] == "欧阳小雨"


def test_what_has_no_sheet_is_refused(desk: Desk) -> None:
    with pytest.raises(RecordRejected, match="CONTRACT"):
        desk.deliver(DeliverRequest(request_id="police-0001", police_report=PoliceReport()))


def test_check_says_what_answered_and_leaves_nothing(desk_for: Callable[..., Desk]) -> None:
    assert desk_for().adapter.check() == "folder"
    there = desk_for(sftp=True)
    assert there.adapter.check() == "SFTP"
    assert list(there.sim.outbox.iterdir()) == []


def test_a_repeat_that_comes_after_a_recall_brings_nothing_back(desk: Desk) -> None:
    desk.deliver(referral(1))
    desk.deliver(recall())
    desk.deliver(referral(1))
    assert names(desk) == []
    assert "欧阳" not in str(desk.sim.desk().rows(wire.STUDENTS))


def test_a_link_that_took_the_place_of_a_file_is_not_followed(desk: Desk) -> None:
    (desk.folder / "secret").write_bytes(b"secret")
    (desk.sim.inbox / "nov.xlsx").symlink_to(desk.folder / "secret")
    with pytest.raises(PartnerUnavailable), FolderShelf(desk.sim.inbox, desk.sim.outbox).open(5) as files:
        files.get("inbox", "nov.xlsx")
