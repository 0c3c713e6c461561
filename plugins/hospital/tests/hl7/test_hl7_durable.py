"""Acknowledged means durable: not before the disk has it, and still there after kill -9."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from xinqiao.adapters.spool import Spool
from xinqiao_hospital.hl7.adapter import Hl7Hospital


def test_the_acknowledgment_waits_for_the_disk(hl: ModuleType, agency_for) -> None:
    adapter = agency_for()
    may_go, synced = threading.Event(), threading.Event()

    def slow_disk(descriptor: int) -> None:
        synced.set()
        assert may_go.wait(10)
        os.fsync(descriptor)

    adapter.receiver.spool._sync = slow_disk
    wire = hl.Wire(adapter.port)
    wire.send(b"\x0b" + hl.rri().encode() + b"\x1c\r")
    assert synced.wait(5)
    wire._peer.settimeout(0.5)
    with pytest.raises(TimeoutError):
        wire.answer()
    may_go.set()
    wire.close()


def test_a_disk_that_is_full_is_no_acknowledgment(hl: ModuleType, agency_for) -> None:
    adapter = agency_for()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    adapter.receiver.spool._sync = full
    wire = hl.Wire(adapter.port)
    wire.send(b"\x0b" + hl.rri().encode() + b"\x1c\r")
    assert hl.said(wire.answer())[:2] == ("AE", "BUSY")
    adapter.receiver.spool._sync = os.fsync
    wire.send(b"\x0b" + hl.rri().encode() + b"\x1c\r")
    assert hl.said(wire.answer())[0] == "AA"
    wire.close()
    assert len(hl.items(adapter)) == 1


_SERVE = """
import sys
from pathlib import Path
from xinqiao.adapters.listening import Listening
from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.transport import HttpTransport
from xinqiao_hospital.hl7.adapter import Hl7Hospital
from xinqiao_hospital.hl7.settings import Hl7Settings
settings = Hl7Settings(host="127.0.0.1", port=9, listen="127.0.0.1:0")
context = AgencyContext("h", {}, "t", HttpTransport([]), Path(sys.argv[1]), Listening([settings.listen]))
adapter = Hl7Hospital(settings, context)
adapter.listen()
print(adapter.port, flush=True)
sys.stdin.read()
"""


def test_what_was_acknowledged_survives_kill_9(hl: ModuleType, tmp_path: Path) -> None:
    for number in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None and process.stdin is not None
        with process:
            wire = hl.Wire(int(process.stdout.readline()))
            wire.send(b"\x0b" + hl.rri(control=f"M{number}").encode() + b"\x1c\r")
            assert hl.said(wire.answer())[0] == "AA"
            process.send_signal(signal.SIGKILL)
            wire.close()
    kept = [item.data.split(b"|")[9] for item in Spool(tmp_path / "hl7-inbox").pending()]
    assert kept == [b"M0", b"M1", b"M2"]


def test_a_crash_between_items_repeats_and_loses_none(
    hl: ModuleType, agency_for: Callable[..., Hl7Hospital], tell: Callable[..., tuple[str, str, str]]
) -> None:
    for number in range(3):
        assert tell(hl.rri(control=f"M{number}"))[0] == "AA"
    first = next(iter(agency_for().read("")))
    again = [item.referral.source for item in agency_for().read(first.cursor)]
    assert [source.split("/")[1] for source in again] == ["M1", "M2"]


def test_a_cursor_of_another_folder_skips_nothing(hl: ModuleType, agency_for, tell) -> None:
    assert tell(hl.rri())[0] == "AA"
    assert len(list(agency_for().read("deadbeef:99"))) == 1


def test_a_reply_that_cannot_be_kept_makes_the_delivery_a_try(
    hl: ModuleType, tmp_path: Path, agency_for, request_
) -> None:
    from xinqiao.adapters.errors import PartnerUnavailable
    from xinqiao_hospital.hl7.simulator import Hl7HospitalSimulator

    hospital = Hl7HospitalSimulator(tmp_path / "rri", reply="rri")
    adapter = agency_for(hospital.start())

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    adapter.receiver.spool._sync = full
    try:
        with pytest.raises(PartnerUnavailable):
            adapter.deliver(request_, 5)
        adapter.receiver.spool._sync = os.fsync
        adapter.deliver(request_, 5)
    finally:
        hospital.stop()
    assert len(hl.items(adapter)) == 1 and len(hospital.messages()) == 1
