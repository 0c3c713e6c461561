"""The operating system agrees: by the system calls of a gateway process, a record's journal row was synced to disk
before the first byte of it went to any socket, and no byte went to anybody but the partner."""

import codecs
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from xinqiao_hospital.simulator import HospitalSimulator

_CALLS = "connect,sendto,sendmsg,sendmmsg,write,writev,pwrite64,pwritev,sendfile,splice,fsync,fdatasync"
_STRACE = ("strace", "-f", "--seccomp-bpf", "-yy", "-s", "70000", "-e", "signal=none")
_LINE = re.compile(r"(\d+) +(?:<\.\.\. )?(\w+)(?: resumed>|\()(.*)", re.DOTALL)
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_SOCKET = re.compile(r"\d+<(?:TCP|UDP|RAW)\w*:\[?([^\]>]*->[^\]>]*|\d+)?")
_PORT = re.compile(r"->.*:(\d+)\]?>|sin6?_port=htons\((\d+)\)")
_ROW = re.compile(rb"releasedpermit.{1,300}?(deliveries/[0-9a-f]{32})", re.DOTALL)
_REFERRAL = re.compile(rb"referrals/[0-9a-f]{32}")


def _why_not() -> str:
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run([*_STRACE, "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"strace may not trace here: {tried.stderr.strip()[:200]}"


class Call(NamedTuple):
    """One system call as it began (``ended`` False while others got between) or as it ended."""

    process: str
    name: str
    began: bool
    ended: bool
    rest: str

    @property
    def data(self) -> bytes:
        """Every text of the call, one after another."""
        return b"".join(codecs.escape_decode(text.encode())[0] for text in _TEXT.findall(self.rest))


class Sent(NamedTuple):
    """What went to one peer over one connection, and what was safely on disk when it began."""

    port: int
    synced: frozenset[str]
    data: bytearray


def calls(trace: Path) -> Iterator[Call]:
    for line in trace.read_text("utf-8", "replace").splitlines():
        found = _LINE.fullmatch(line)
        if found is not None:
            yield Call(found[1], found[2], " resumed>" not in line[:60], "<unfinished ...>" not in line[-20:], found[3])


def sent(trace: Path) -> list[Sent]:
    """All that went to sockets of the internet, in order."""
    written, synced, syncing = set[str](), set[str](), dict[str, set[str]]()
    found: dict[str, Sent] = {}
    for call in calls(trace):
        if call.name in ("fsync", "fdatasync"):
            if call.began and "records.db-wal>" in call.rest:
                syncing[call.process] = set(written)  # only what was written before it began is surely covered
            if call.ended and re.search(r"= 0$", call.rest):
                synced |= syncing.pop(call.process, set())
        elif "records.db-wal>" in call.rest:
            written |= {row.decode() for row in _ROW.findall(call.data)}
        elif call.began and (where := _SOCKET.match(call.rest)) is not None:
            port = _PORT.search(call.rest)
            number = int(port[1] or port[2]) if port else 0
            if call.name == "connect":
                if "AF_INET" in call.rest:
                    found.setdefault(f"connect {number}", Sent(number, frozenset(), bytearray()))
                continue
            entry = found.setdefault(where[0], Sent(number, frozenset(synced), bytearray()))
            entry.data.extend(call.data or b"?")  # whatever it sent without a text to read
    return list(found.values())


def faults(trace: Path, hospital: int, referrals: dict[str, str]) -> list[str]:
    """What the trace shows that may not be: bytes to strangers, a record without its row, more than one in one message."""
    wrong: list[str] = []
    for each in sent(trace):
        names = {name.decode() for name in _REFERRAL.findall(bytes(each.data))}
        if each.port != hospital:
            wrong.append("STRANGER")
        elif each.data and (len(names) != 1 or not names <= referrals.keys()):
            wrong.append("UNKNOWN")
        elif each.data and not {referrals[name] for name in names} <= each.synced:
            wrong.append("NO_ROW")
    return wrong


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[Any]:
    why = _why_not()
    if why:
        pytest.skip(why)
    hospital = HospitalSimulator(tmp_path / "hospital")
    settings = hospital.start()

    def run(fault: str) -> tuple[Path, int, dict[str, str]]:
        trace = tmp_path / "trace"
        program = str(Path(__file__).with_name("traced_gateway.py"))
        done = subprocess.run(
            [*_STRACE, "-o", str(trace), "-e", f"trace={_CALLS}", sys.executable, program, str(tmp_path / "gateway"),
             json.dumps(settings), fault],
            capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        pairs = dict(line.split() for line in done.stdout.splitlines())
        return trace, int(urlsplit(str(settings["base_url"])).port or 0), pairs

    try:
        yield run
    finally:
        hospital.stop()


def test_no_byte_of_a_record_is_sent_before_its_row_is_synced_and_none_to_a_stranger(traced: Any) -> None:
    trace, hospital, referrals = traced("")
    assert len(referrals) == 3
    assert faults(trace, hospital, referrals) == []
    told = [set(_REFERRAL.findall(bytes(each.data))) for each in sent(trace) if each.data]
    assert told == [{name.encode()} for name in referrals]


@pytest.mark.parametrize(("fault", "seen"), [("early", "NO_ROW"), ("rogue", "STRANGER")])
def test_the_trace_shows_who_sends_too_early_and_who_sends_on_their_own(traced: Any, fault: str, seen: str) -> None:
    assert set(faults(*traced(fault))) == {seen}


def test_a_row_that_was_written_and_not_synced_is_no_row(traced: Any) -> None:
    trace, hospital, referrals = traced("")
    lines = trace.read_text("utf-8", "replace").splitlines()
    trace.write_text("\n".join(line for line in lines if "records.db-wal>" not in line or "sync(" not in line), "utf-8")
    assert faults(trace, hospital, referrals) == ["NO_ROW"] * 3
