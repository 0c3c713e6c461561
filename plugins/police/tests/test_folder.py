"""Messages as files, for a police network that no webhook leaves."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plugins.police.tests.door import Door
from plugins.police.tests.test_cap import SECRET, alert

from xinqiao.adapters.errors import PartnerUnavailable

OpenDoor = Callable[..., Door]


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def door(open_door: OpenDoor, inbox: Path) -> Door:
    made = open_door("cap", inbox=inbox)
    assert made.adapter._folder is not None
    return made


def put(inbox: Path, name: str, body: bytes, age_s: float = 60) -> Path:
    path = inbox / name
    path.write_bytes(body)
    then = path.stat().st_mtime - age_s
    os.utime(path, (then, then))
    return path


def names(inbox: Path) -> list[str]:
    return sorted(path.relative_to(inbox).as_posix() for path in inbox.rglob("*") if path.is_file())


def test_a_cap_file_is_brought_once_and_leaves_a_receipt_without_a_word_of_it(door: Door, inbox: Path) -> None:
    put(inbox, "a.cap", alert())
    (item,) = door.read()
    assert SECRET in item.signal.facts
    assert names(inbox) == ["a.cap.receipt"]
    assert (inbox / "a.cap.receipt").read_bytes() == b'{"status":"spooled"}'
    put(inbox, "b.xml", alert())
    assert door.read() == []


def test_what_is_not_finished_or_no_message_is_left_alone(door: Door, inbox: Path) -> None:
    put(inbox, "a.cap.part", alert())
    put(inbox, "b.cap", b"")
    put(inbox, "c.cap", alert(), age_s=0)
    put(inbox, "-rf", alert())
    put(inbox, "名单.xlsx.exe", alert())
    (inbox / "d.cap").symlink_to(inbox / "c.cap")
    (inbox / "e.cap").mkdir()
    before = names(inbox)
    assert door.read() == []
    assert names(inbox) == before


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (alert(scope="Public"), "DATA/SCOPE"),
        (b"<!DOCTYPE a []><a/>", "DATA/XML_DTD"),
        (b"x" * 300_000, "DATA/TOO_LARGE"),
    ],
)
def test_a_refused_file_is_put_aside_and_named_to_a_person_and_the_next_is_taken(
    door: Door, inbox: Path, body: bytes, reason: str
) -> None:
    put(inbox, f"{SECRET}.cap", body)
    put(inbox, "z.cap", alert())
    bad, good = door.read()
    assert (bad.rejected.reason, good.HasField("signal")) == (reason, True)
    assert SECRET not in str(bad)
    assert names(inbox) == sorted([f"refused/{SECRET}.cap", f"{SECRET}.cap.receipt", "z.cap.receipt"])


def test_a_refusal_that_was_not_stored_comes_again(door: Door, inbox: Path) -> None:
    put(inbox, "a.cap", alert(scope="Public"))
    reading: Any = door.adapter.read("")
    next(reading)
    reading.close()
    assert names(inbox) == ["a.cap"]
    assert [item.rejected.reason for item in door.read()] == ["DATA/SCOPE"]


def test_files_wait_while_nothing_can_be_kept_or_the_folder_is_gone(door: Door, inbox: Path, monkeypatch: Any) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    put(inbox, "a.cap", alert())
    assert door.adapter._desk is not None
    with monkeypatch.context() as patch:
        patch.setattr(door.adapter._desk._spool, "_sync", full)
        with pytest.raises(PartnerUnavailable):
            door.read()
    assert names(inbox) == ["a.cap"]
    assert len(door.read()) == 1
    (inbox / "a.cap.receipt").unlink()
    inbox.rmdir()
    with pytest.raises(PartnerUnavailable, match="inbox"):
        door.read()


def test_a_folder_in_trouble_does_not_hold_up_what_was_pushed(door: Door, inbox: Path) -> None:
    inbox.rmdir()
    door.centre.alert("J-1", facts="x")
    reading = door.adapter.read("")
    assert next(reading).HasField("signal")
    with pytest.raises(PartnerUnavailable):
        next(reading)
