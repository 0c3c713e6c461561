"""A recording holds nobody: canaries go in by every field and spelling, and come out of none; and it can be replayed."""

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xinqiao.adapters.host import AdapterHost, AgencySpec
from xinqiao.adapters.protocols import Simulator
from xinqiao.adapters.receiving import HttpDoor, PushHandler
from xinqiao.adapters.recording import Inventor, Tape, vocabulary, work_for
from xinqiao.adapters.recording.forms import NoForm, decoded, form_of, rewrite
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.testing.conformance import samples
from xinqiao.testing.replay import Replay
from xinqiao_community_grid.simulator import CommunityGridSimulator
from xinqiao_hospital.hl7.simulator import Hl7HospitalSimulator
from xinqiao_hospital.simulator import HospitalSimulator
from xinqiao_womens_federation.simulator import FederationSimulator

CANARIES = (
    "龘靐麤", "齉爩鸞想不开", "QZXNAME zhangsan", "320583201103098765", "13988776655", "qzx@example.cn", "2011-03-09",
    "江苏省昆山市灥厵路77号", "འབྲུག་ལྷ་མོ", "Nguyễn Thị", "\U00030edd\U00030ede", "zhang san is sad",
)  # fmt: skip
"""Names, numbers, a birthday and texts that nothing invented can spell by chance."""


def spellings(canary: str) -> set[bytes]:
    """The bytes by which somebody could read it back."""
    plain = {canary.encode(form, "ignore") for form in ("utf-8", "gb18030", "utf-16-le", "utf-16-be")}
    found = set(plain)
    for data in plain:
        found |= {quote(data).encode(), quote_plus(data).encode(), data.hex().encode(), data.hex().upper().encode()}
        for shift in range(3):
            for code in (base64.b64encode, base64.urlsafe_b64encode):
                inner = code(b"\0" * shift + data)[4 if shift else 0 : -4]
                found |= {inner} if len(inner) >= 8 else set()
    found |= {json.dumps(canary)[1:-1].encode(), canary.encode("ascii", "xmlcharrefreplace"), canary[::-1].encode()}
    if len(canary) == 10 and canary[4] == "-":
        found.add(canary.replace("-", "").encode())
    return {each for each in found if len(each) >= 6}


NEEDLES = {needle: canary for canary in CANARIES for needle in spellings(canary)}


def readable(data: bytes) -> list[str]:
    """Which canaries can be read in ``data``, or in a text that stands in it escaped."""
    texts = [data]
    for line in data.splitlines():
        texts.append(json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return sorted({canary for text in texts for needle, canary in NEEDLES.items() if needle in text})


@pytest.fixture
def tape(tmp_path: Path) -> Iterator[tuple[Tape, Path]]:
    made, path = Tape("canary"), tmp_path / "canary.jsonl"
    words, codes = vocabulary("xinqiao_hospital"), frozenset({"status", "code", "MSA-1", "状态", "kind"})
    made.start(path, "canary", Inventor(words, codes), seconds=60, most=2**22)
    yield made, path
    made.stop()


def contents(canary: str) -> dict[str, tuple[str, bytes]]:
    """The canary in every place of every form, with the media type or suffix it comes under."""
    whole = {"a": canary, canary: 1, "status": canary, "code": f"Task/{canary}", "in": [[canary], {"b": [canary]}],
             "n": canary.encode().hex(), "again": json.dumps({"x": canary}), "b64": base64.b64encode(canary.encode()).decode(),
             "q": quote(canary), "g": quote(canary.encode("gb18030", "ignore"))}  # fmt: skip
    escaped = canary.replace("|", " ")
    hl7 = f"MSH|^~\\&|{escaped}|b|c|d|20261005||REF^I12|{escaped}|P|2.5.1\rPID|1||{escaped}^^^X~{escaped}&b||{escaped}^\\X41\\\r{escaped}|{escaped}\r"
    table = f'状态,{canary},name\r\n"{canary}",b,{canary}\r\n'
    xml = f'<?xml version="1.0"?><status a="{canary}">{canary}<{"".join(c for c in canary if c.isalnum())}/></status>'
    return {
        "json": ("application/json", json.dumps(whole, ensure_ascii=False).encode()),
        "json escapes": ("application/json", json.dumps(whole).encode()),
        "json gb18030": ("application/json", json.dumps(whole, ensure_ascii=False).encode("gb18030")),
        "number": ("application/json", b'{"n": 320583201103098765, "m": 13988776655.0, "k": -13988776655}'),
        "hl7": ("", hl7.encode()),
        "hl7 gb18030": ("", hl7.encode("gb18030")),
        "csv": (".csv", table.encode("utf-8-sig")),
        "csv gb18030": (".csv", table.encode("gb18030")),
        "form": ("application/x-www-form-urlencoded", f"{quote(canary)}={quote(canary)}&status={quote_plus(canary)}".encode()),
        "xml": ("text/xml", xml.encode()),
        "xml entities": ("text/xml", xml.encode("ascii", "xmlcharrefreplace")),
        "comment": ("text/xml", f"<!-- {canary} --><a/>".encode()),
        "text": ("text/plain", f"{canary}, {canary}".encode()),
        "utf-16": ("text/plain", canary.encode("utf-16")),
        "bytes": ("application/zip", b"PK\3\4\0" + canary.encode()),
    }  # fmt: skip


@pytest.mark.parametrize("canary", CANARIES)
def test_no_canary_comes_out_whatever_form_and_field_it_goes_in_by(tape: tuple[Tape, Path], canary: str) -> None:
    made, path = tape
    count = 0
    for kind, data in contents(canary).values():
        headers = {"Content-Type": kind, "Authorization": f"Bearer {quote(canary)}", "Idempotency-Key": quote(canary),
                   "X-Name": canary, "ETag": canary, "Retry-After": canary, "Cookie": canary}  # fmt: skip
        where = f"/{quote(canary)}/Task/{quote(canary.encode('gb18030', 'ignore'))}?{quote(canary)}={quote(canary)}"
        made.posted("partner", canary, where, headers, data, (200, headers, data))
        made.exchanged("gateway", data, data)
        made.filed("in", f"{canary}{kind if kind.startswith('.') else '.bin'}", data)
        count += 3
    made.stop()
    written = path.read_bytes()
    assert written.count(b"\n") == count + 1, "something was not recorded, so it shows nothing"
    assert readable(written) == []
    headers = {name for line in written.splitlines() for name in json.loads(line).get("http", {}).get("headers", {})}
    assert headers <= {"content-type", "idempotency-key"}, "not even invented: a token's shape is a token's shape"


def test_the_search_for_canaries_finds_them_in_each_spelling() -> None:
    for canary in CANARIES:
        blind = {name for name, (_, data) in contents(canary).items() if not any(each in data for each in NEEDLES)}
        assert blind <= {"comment", "number"} and not readable(b'{"a": "b"}'), (canary, blind)


@given(st.text(min_size=1, max_size=40))
def test_nothing_but_punctuation_and_the_shape_is_left_of_any_text(text: str) -> None:
    made = Inventor(frozenset({"kept"}), frozenset({"code"}))
    shown = made.value("name", text)
    runs = [run for run in "".join(c if c.isalnum() else " " for c in text).split() if len(run) > 7]
    assert not any(run in shown for run in runs)
    assert made.value("name", text) == shown, "the same value is always replaced by the same"


def test_what_is_kept_is_structure_and_declared_codes_the_program_spells_out() -> None:
    made = Inventor(frozenset({"status", "Task", "accepted", "name"}), frozenset({"status"}))
    text = '{"status": "accepted", "name": "accepted", "李雷": {"status": "李雷"}, "ok": true, "at": "2026-10-05T17:00:00Z"}'
    shown = json.loads(rewrite("json", text, made))
    assert shown["status"] == "accepted"
    assert shown["name"] != "accepted", "a field that is not declared is no code"
    assert {*shown} >= {"status", "name"} and "李雷" not in rewrite("json", text, made)
    assert any(value is True for value in shown.values()), "yes and no tell nobody"


def test_an_invented_value_has_the_shape_and_is_nobodys() -> None:
    made = Inventor(frozenset(), frozenset())
    day = made.value("birth", "2011-03-09")
    assert [part.isdigit() and len(part) for part in day.split("-")] == [4, 2, 2] and 1 <= int(day[5:7]) <= 12
    assert (
        made.value("when", "20261005170000+0800").endswith("+0800") and len(made.value("when", "20261005170000")) == 14
    )
    assert made.value("id", "320583201103098765").startswith("000"), "no identity card begins like that"
    assert made.value("phone", "13988776655").startswith("000") and len(made.value("phone", "13988776655")) == 11
    assert made.value("x", "students/abcdefghij").startswith("students/")
    assert made.value("x", "students/abcdefghij").removeprefix("students/") == made.value("y", "abcdefghij")
    assert made.value("n", "李雷")[:1] in "甲乙丙丁戊己庚辛壬癸子丑寅卯辰巳午未申酉戌亥"


def test_two_recordings_replace_one_value_differently() -> None:
    first, second = (Inventor(frozenset(), frozenset()).value("n", "QZXNAMEQZXNAME") for _ in range(2))
    assert first != second


# -- the tape -----------------------------------------------------------------------------------------------------------


def test_it_ends_by_itself_at_its_size_and_at_its_time(tmp_path: Path) -> None:
    words = Inventor(frozenset(), frozenset())
    small = Tape("a")
    small.start(tmp_path / "small", "a", words, seconds=60, most=600)
    for _ in range(50):
        small.posted("gateway", "GET", "/x", {}, b"x" * 100, None)
    assert not small.running and (tmp_path / "small").stat().st_size <= 600
    assert (tmp_path / "small").stat().st_mode & 0o077 == 0
    short = Tape("a")
    short.start(tmp_path / "short", "a", words, seconds=0.0, most=600)
    short.posted("gateway", "GET", "/x", {}, None, None)
    assert not short.running and (tmp_path / "short").read_bytes().count(b"\n") == 1


def test_a_recording_that_breaks_breaks_nothing_else(tmp_path: Path) -> None:
    class Broken(Inventor):
        def value(self, name: str, text: str) -> str:
            raise KeyError(text)

    tape = Tape("a")
    tape.start(tmp_path / "r", "a", Broken(frozenset(), frozenset()), seconds=60, most=2**20)
    tape.posted("gateway", "GET", "/x?a=b", {}, b"{}", None)
    assert not tape.running


def test_what_is_pushed_is_recorded_with_its_answer(tmp_path: Path) -> None:
    tape = Tape("a")
    tape.start(tmp_path / "r", "a", Inventor(frozenset({"alerts"}), frozenset()), seconds=60, most=2**20)

    class Handler(PushHandler):
        def do_POST(self) -> None:  # noqa: N802 - the library's name
            self.body(1000)
            self.send_response(202)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

    def opened() -> None:
        work_for(tape)
        doors.append(HttpDoor(socket.create_server(("127.0.0.1", 0)), Handler, name="t", tls=None))

    doors: list[HttpDoor] = []
    thread = threading.Thread(target=opened)
    thread.start()
    thread.join()
    with socket.create_connection(doors[0].address, 5) as client:
        client.sendall(b'POST /alerts HTTP/1.1\r\nConnection: close\r\nContent-Length: 20\r\n\r\n{"name": "QZXNAMEQ"}')
        assert client.recv(1000).startswith(b"HTTP/1.1 202")
        while client.recv(1000):
            continue
    doors[0].close()
    tape.stop()
    with Replay(tmp_path / "r") as partner:
        (push,) = partner.pushes()
    assert (push.method, push.target) == ("POST", "/alerts") and push.body.startswith(b'{"') and b"QZX" not in push.body
    assert json.loads((tmp_path / "r").read_text().splitlines()[1])["answer"]["status"] == 202


# -- through the real host, and replayed ----------------------------------------------------------------------------------


@contextmanager
def agency(plugin: str, settings: dict[str, Any], folder: Path) -> Iterator[Any]:
    host = AdapterHost.load([plugin])
    spec = AgencySpec("under-test", {"en": "x"}, plugin, settings, deadline_s=5.0)
    handle = host.start({"under-test": spec}, deployment="test", folder=folder, listen=True)["under-test"]
    assert not handle.message, handle.message
    try:
        yield host, handle
    finally:
        host.close()


def seeded(contract: str, handle: Any) -> DeliverRequest:
    """A record with a canary in every text."""
    made = samples.released(samples.request(contract), handle.manifest.written_classes(contract))
    assert made is not None

    def fill(message: Any) -> None:
        for field, value in message.ListFields():
            if field.message_type is not None:
                for each in value if field.is_repeated else [value]:
                    fill(each)
            elif field.name in (
                "family_name",
                "given_name",
                "full_name",
                "reason",
                "what",
                "facts",
                "crisis_facts",
                "location",
            ):
                setattr(message, field.name, CANARIES[len(field.name) % 3])

    fill(getattr(made, contract))
    return made


Made = Callable[[Path], Simulator]
PARTNERS: dict[str, tuple[str, Made, str]] = {
    "rest": ("community_grid", CommunityGridSimulator, "task"),
    "files": ("community_grid", lambda folder: CommunityGridSimulator(folder, source="folder"), "task"),
    "fhir": ("hospital", HospitalSimulator, "referral"),
    "hl7": ("hospital", lambda folder: Hl7HospitalSimulator(folder, charset="GB18030"), "referral"),
    "sftp": ("womens_federation", lambda folder: FederationSimulator(folder, sftp=False, signs=True), "referral"),
}


def recorded(plugin: str, made: Made, contract: str, folder: Path) -> tuple[Path, str]:
    """What passes in a delivery and a look, on tape; and the receipt there was."""
    partner = made(folder / "partner")
    path = folder / "tape.jsonl"
    with agency(plugin, partner.start(), folder / "data") as (host, handle):
        host.record("under-test", path, seconds=60, most=2**22)
        handle.check()
        receipt = handle.deliver(seeded(contract, handle)).receipt
        if hasattr(partner, "bring"):
            partner.bring(2)
        if isinstance(partner, Hl7HospitalSimulator):
            partner.act_on_all(["accept"])
        list(handle.read(""))
        assert handle.message == "what passes is recorded, with nobody in it"
        handle.workers.tape.stop()
    partner.stop()
    return path, receipt


@pytest.mark.parametrize("way", PARTNERS)
def test_what_passes_between_a_plugin_and_its_partner_is_recorded_without_anybody(tmp_path: Path, way: str) -> None:
    path, _ = recorded(*PARTNERS[way], tmp_path)
    written = path.read_bytes()
    assert written.count(b"\n") >= 3, "nothing passed"
    assert readable(written) == []
    entries = [json.loads(line) for line in written.splitlines()]
    told = {"files": "file", "sftp": "file", "hl7": "hl7"}.get(way, "http")
    assert any(told in entry for entry in entries)


@pytest.mark.parametrize("way", ["rest", "fhir", "hl7"])
def test_a_plugin_works_against_the_replay_of_its_recording(tmp_path: Path, way: str) -> None:
    plugin, made, contract = PARTNERS[way]
    path, receipt = recorded(plugin, made, contract, tmp_path)
    with Replay(path) as partner:
        host, port = partner.mllp
        settings: dict[str, Any] = {
            "rest": {"rest": {"base_url": partner.http}, "grids": ["320583001001001"]},
            "fhir": {"base_url": f"{partner.http}/fhir"},
            "hl7": {"protocol": "hl7v2", "hl7": {"host": host, "port": port, "charset": "GB18030"}},
        }[way]
        with agency(plugin, settings, tmp_path / "again") as (_, handle):
            handle.check()
            request = samples.released(samples.request(contract, 2), handle.manifest.written_classes(contract))
            again = handle.deliver(request).receipt
    assert again and len(again) == len(receipt)


def test_files_of_a_recording_are_laid_for_a_plugin_to_read(tmp_path: Path) -> None:
    path, _ = recorded(*PARTNERS["files"], tmp_path)
    (tmp_path / "laid").mkdir()
    with Replay(path) as partner:
        laid = partner.lay(tmp_path / "laid")
    assert laid and all(each.suffix == ".csv" for each in laid)
    header = laid[0].read_text("utf-8-sig").splitlines()[0]
    assert {"day", "grid", "met", "student"} <= {*header.split(",")}, "the columns that the program knows are kept"


def test_what_is_no_recording_is_told(tmp_path: Path) -> None:
    other = tmp_path / "x"
    other.write_text("{}\n")
    with pytest.raises(ValueError, match="adapters record"):
        Replay(other)


@given(st.binary(max_size=200))
def test_any_bytes_are_rewritten_or_have_no_form(data: bytes) -> None:
    made = Inventor(frozenset(), frozenset())
    for kind in ("json", "csv", "urlencoded", ""):
        try:
            _, text = decoded(data)
            rewrite(form_of(kind, text), text, made)
        except NoForm:
            continue
