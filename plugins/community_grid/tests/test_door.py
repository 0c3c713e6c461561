import http.client
import json
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from plugins.community_grid.tests.conftest import CHILD, Station, kinds

from xinqiao.adapters.errors import AdapterConfigError
from xinqiao_community_grid import door as door_module
from xinqiao_community_grid.simulator import GRIDS

Make = Callable[..., Station]
VISIT = {"record": "f-1", "student": CHILD, "day": "2026-10-13", "met": "yes", "observed": "一切如常"}


@pytest.fixture
def at(station: Make) -> Station:
    made = station(grids=[GRIDS[0]], door={"listen": "127.0.0.1:0", "public_url": "https://grid.example.cn:8443"})
    made.adapter.listen()
    made.adapter.listen()
    made.read()
    return made


def filled(at: Station, **change: Any) -> bytes:
    (form,) = at.simulator.forms().values()
    return at.simulator.fill({**form, **change}, [VISIT], {"nil": "yes", "seen": 1, "concerns": 0})


def post(at: Station, body: bytes, path: str = "/forms", method: str = "POST", **headers: str) -> tuple[int, str]:
    assert at.adapter.address is not None
    client = http.client.HTTPConnection(*at.adapter.address, timeout=5)
    try:
        client.request(method, path, body, {"Content-Type": "text/plain", **headers})
        answer = client.getresponse()
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        text = answer.read()
        return answer.status, json.loads(text)["reason"] if text else ""
    finally:
        client.close()


def raw(at: Station, data: bytes) -> bytes:
    assert at.adapter.address is not None
    with socket.create_connection(at.adapter.address, timeout=5) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        found = b""
        while more := client.recv(65536):
            found += more
    return found


def test_a_form_sent_from_a_phone_is_on_disk_before_it_is_acknowledged_and_brought_once(at: Station) -> None:
    assert post(at, filled(at)) == (200, "OK")
    assert len(list(at.folder.glob("inbox/*.item"))) == 1
    assert post(at, filled(at)) == (200, "OK")
    assert kinds(at.read()) == ["entry", "report"]
    assert post(at, filled(at)) == (200, "OK")
    assert at.read() == []


def test_the_form_may_reach_its_own_door_and_nothing_else(at: Station) -> None:
    (path,) = (at.simulator.outbox / "forms").iterdir()
    page = path.read_text("utf-8")
    assert "connect-src https://grid.example.cn:8443/forms;" in page
    assert page.count("https://") == 2


def test_what_bears_no_ticket_of_ours_is_not_kept(at: Station) -> None:
    for change in ({"ticket": "0" * 32}, {"grid": GRIDS[1]}, {"week": "2026-W43"}):
        assert post(at, filled(at, **change)) == (401, "DATA/TICKET")
    assert post(at, b"{}") == (401, "DATA/TICKET")
    body = filled(at)
    at.clock.advance(timedelta(days=4 + 14))
    assert post(at, body)[0] == 200
    at.clock.advance(timedelta(days=1))
    assert post(at, filled(at) + b" ") == (401, "DATA/TICKET")
    assert len(list(at.folder.glob("inbox/*.item"))) == 1


@pytest.mark.parametrize(
    ("body", "words", "status"),
    [
        (b"{", {}, 400),
        (b"{} x", {}, 400),
        (b"[" * 10_000, {}, 400),
        (b"x", {"path": "/"}, 404),
        (b"", {"method": "GET"}, 405),
        (b"x", {"Content-Type": "text/html"}, 415),
        (b"x", {"Content-Encoding": "gzip"}, 415),
        (b"x" * (door_module.MAX_BODY + 1), {}, 413),
        (b"", {"method": "OPTIONS"}, 204),
        (b"x", {"method": "PUT"}, 501),
    ],
)
def test_what_is_no_form_is_refused(at: Station, body: bytes, words: dict[str, str], status: int) -> None:
    assert post(at, body, **words)[0] == status
    assert list(at.folder.glob("inbox/*.item")) == []


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /forms HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b" 411 "),
        (b"POST /forms HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", b" 400 "),
        (b"POST /forms HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b" 400 "),
        (b"POST /forms HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 99\r\n\r\nshort", b""),
        (b"CANARY\r\n\r\n", b""),
        (b"\x16\x03\x01\x02\x00", b""),
    ],
)
def test_any_bytes_get_an_answer_or_a_closed_connection_and_none_is_quoted(
    at: Station, head: bytes, status: bytes
) -> None:
    answer = raw(at, head)
    assert status in answer.split(b"\r\n")[0] + b" "
    assert b"CANARY" not in answer
    assert post(at, filled(at))[0] == 200


def test_a_form_that_got_into_wrong_hands_cannot_fill_the_inbox(at: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "MAX_OF_A_FORM", 2)
    assert [post(at, filled(at) + b" " * number)[0] for number in range(4)] == [200, 200, 429, 429]


def test_a_disk_that_takes_nothing_is_said_and_the_phone_keeps_its_draft(
    at: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = filled(at)
    monkeypatch.setattr("xinqiao.adapters.spool.MAX_PENDING", 0)
    assert post(at, body) == (503, "BUSY")


def test_a_slow_phone_is_cut_off_and_the_others_are_served(station: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "REQUEST_S", 0.5)
    at = station(grids=[GRIDS[0]], door={"listen": "127.0.0.1:0", "public_url": "http://127.0.0.1:1"})
    at.adapter.listen()
    at.read()
    assert at.adapter.address is not None
    slow = [socket.create_connection(at.adapter.address, timeout=5) for _ in range(3)]
    try:
        for each in slow:
            each.sendall(b"POST /forms HTTP/1.1\r\n")
        assert post(at, filled(at))[0] == 200
        assert [each.recv(10) for each in slow] == [b"", b"", b""]
    finally:
        for each in slow:
            each.close()


def test_beyond_loopback_it_needs_tls_and_it_gives_its_port_back(station: Make, at: Station) -> None:
    other = station(grids=[GRIDS[0]], door={"listen": "0.0.0.0:0", "public_url": "https://grid.example.cn"})
    with pytest.raises(AdapterConfigError, match="TLS"):
        other.adapter.listen()
    threads = {thread.name for thread in threading.enumerate()}
    assert "grid-door" in threads
    at.adapter.close()
    assert at.adapter.address is None
    assert "grid-door" not in {thread.name for thread in threading.enumerate()}
    assert isinstance(at.folder, Path)
