"""The inbox of what partners push: on disk before it is acknowledged, handed on until the core has it, known ever after."""

import os
from pathlib import Path

import pytest

from xinqiao.adapters import spool
from xinqiao.adapters.spool import Spool, SpoolFull
from xinqiao.store.sealing import Sealer


def test_what_was_put_is_there_after_a_restart_in_the_order_it_came(tmp_path: Path) -> None:
    first = Spool(tmp_path)
    assert [first.put(f"message {n}", f"content {n}".encode()) for n in range(12)] == ["new"] * 12
    assert [item.data for item in Spool(tmp_path).pending()] == [f"content {n}".encode() for n in range(12)]


def test_a_repeat_is_the_same_and_other_content_is_noticed_before_and_after_it_is_done(tmp_path: Path) -> None:
    inbox = Spool(tmp_path)
    inbox.put("id 1", b"a")
    assert (inbox.put("id 1", b"a"), inbox.put("id 1", b"b")) == ("same", "other")
    inbox.done(inbox.pending()[0].key)
    again = Spool(tmp_path)
    assert (again.put("id 1", b"a"), again.put("id 1", b"b"), again.pending()) == ("same", "other", [])


def test_where_an_item_is_can_be_asked_by_its_key_also_after_a_restart(tmp_path: Path) -> None:
    inbox = Spool(tmp_path)
    inbox.put("id 1", b"a")
    assert (inbox.state("id 1"), inbox.state("id 2")) == ("pending", "unknown")
    inbox.done(inbox.pending()[0].key)
    assert (inbox.state("id 1"), Spool(tmp_path).state("id 1")) == ("done", "done")


def test_one_at_a_time_leaves_out_what_is_done_meanwhile(tmp_path: Path) -> None:
    inbox = Spool(tmp_path)
    for number in range(3):
        inbox.put(f"id {number}", str(number).encode())
    each = inbox.each()
    assert next(each).data == b"0"
    inbox.settle(inbox.mark(2))
    assert [item.data for item in each] == [b"2"]


def test_content_is_gone_from_the_folder_once_it_is_done(tmp_path: Path) -> None:
    inbox = Spool(tmp_path)
    inbox.put("欧阳小雨", "中度抑郁发作".encode())
    assert any("中度抑郁发作".encode() in path.read_bytes() for path in tmp_path.iterdir())
    inbox.settle(inbox.mark(inbox.pending()[-1].number))
    left = b"".join(path.name.encode() + path.read_bytes() for path in tmp_path.iterdir())
    assert "中度抑郁发作".encode() not in left
    assert "欧阳小雨".encode() not in left


def test_only_a_cursor_that_comes_back_removes_items_and_only_those_it_covers(tmp_path: Path) -> None:
    inbox = Spool(tmp_path)
    for n in range(3):
        inbox.put(str(n), b"x")
    second = inbox.pending()[1].number
    inbox.settle("00000000:3")
    inbox.settle("nonsense")
    assert len(inbox.pending()) == 3
    inbox.settle(inbox.mark(second))
    assert [item.number for item in inbox.pending()] == [second + 1]


def test_numbers_never_come_twice_so_an_old_cursor_cannot_remove_a_new_item(tmp_path: Path) -> None:
    inbox = Spool(tmp_path)
    inbox.put("1", b"x")
    mark = inbox.mark(inbox.pending()[0].number)
    inbox.settle(mark)
    again = Spool(tmp_path)
    again.put("2", b"y")
    again.settle(mark)
    assert [item.data for item in again.pending()] == [b"y"]


def test_content_then_name_then_folder_are_synced_before_put_returns(tmp_path: Path) -> None:
    synced: list[str] = []

    def watch(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        os.fsync(descriptor)

    inbox = Spool(tmp_path, sync=watch)
    synced.clear()
    inbox.put("1", b"x")
    assert [Path(name).suffix for name in synced] == [".new", Path(tmp_path.name).suffix]
    assert synced[1] == tmp_path.name


def test_a_disk_that_fails_keeps_nothing_and_a_later_try_is_new(tmp_path: Path) -> None:
    broken = True

    def sync(descriptor: int) -> None:
        if broken:
            raise OSError(28, "No space left on device")

    (tmp_path / "name").write_text("0123abcd")
    inbox = Spool(tmp_path, sync=sync)
    with pytest.raises(OSError, match="No space left"):
        inbox.put("1", b"x")
    assert inbox.pending() == []
    broken = False
    assert inbox.put("1", b"x") == "new"


def test_an_item_torn_by_a_crash_is_not_an_item(tmp_path: Path) -> None:
    inbox = Spool(tmp_path)
    inbox.put("1", b"whole")
    (tmp_path / f"{2:012d}-{'a' * 64}.new").write_bytes(b"ha")
    with (tmp_path / "seen").open("ab") as seen:
        seen.write(b"2 " + b"b" * 20)
    again = Spool(tmp_path)
    assert [item.data for item in again.pending()] == [b"whole"]
    assert again.put("2", b"next") == "new"


def test_a_full_inbox_takes_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MAX_PENDING", 2)
    monkeypatch.setattr(spool, "MAX_PENDING_BYTES", 100)
    inbox = Spool(tmp_path)
    with pytest.raises(SpoolFull):
        inbox.put("big", b"x" * 101)
    inbox.put("1", b"x")
    inbox.put("2", b"x")
    with pytest.raises(SpoolFull):
        inbox.put("3", b"x")
    assert inbox.put("1", b"x") == "same"


def test_others_on_the_machine_cannot_read_it(tmp_path: Path) -> None:
    inbox = Spool(tmp_path / "inbox")
    inbox.put("1", b"x")
    inbox.done(inbox.pending()[0].key)
    inbox.put("2", b"x")
    modes = {path.stat().st_mode & 0o077 for path in [tmp_path / "inbox", *(tmp_path / "inbox").iterdir()]}
    assert modes == {0}


def test_a_disk_that_takes_a_part_of_what_was_done_loses_no_later_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Spool(tmp_path)
    inbox.put("first", b"1")
    cursor, write = inbox.mark(1), os.write
    room = [100]

    def full(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        written = write(descriptor, bytes(data)[: room[0]])
        room[0] -= written
        return written

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            inbox.settle(cursor)
    again = Spool(tmp_path)
    assert again.put("red", b"declined") == "new"
    again.settle(cursor)
    assert [item.data for item in again.pending()] == [b"declined"]
    again.settle(again.mark(again.pending()[-1].number))
    assert Spool(tmp_path).put("first", b"other") == "other"


def test_damage_to_what_is_remembered_does_not_close_the_inbox(tmp_path: Path) -> None:
    inbox = Spool(tmp_path)
    inbox.put("1", b"x")
    inbox.settle(inbox.mark(1))
    (tmp_path / "seen").write_text("000000000001 torn" + (tmp_path / "seen").read_text())
    assert Spool(tmp_path).put("2", b"y") == "new"


def test_what_is_pending_is_sealed_and_bound_to_its_place(tmp_path: Path) -> None:
    seal = Sealer("", {1: (1, bytes(range(32)))})
    inbox = Spool(tmp_path, seal=seal)
    inbox.put("1", "重度抑郁".encode())
    inbox.put("2", "中度焦虑".encode())
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert "重度抑郁".encode() not in on_disk
    again = Spool(tmp_path, seal=seal)
    assert [item.data.decode() for item in again.each()] == ["重度抑郁", "中度焦虑"]
    assert (again.put("1", "重度抑郁".encode()), again.put("1", b"z")) == ("same", "other")
    first, second = sorted(tmp_path.glob("*.item"))
    first.write_bytes(second.read_bytes())
    assert [item.data for item in Spool(tmp_path, seal=seal).pending()] == [b"", "中度焦虑".encode()]
