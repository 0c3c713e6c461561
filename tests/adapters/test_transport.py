"""The transport against a real socket: what it refuses, what it calls unavailable, what it returns."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from xinqiao.adapters.errors import (
    AdapterConfigError,
    PartnerRefused,
    PartnerUnavailable,
)
from xinqiao.adapters.transport import HttpTransport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\nx-a: 2\r\n\r\nhi"


class Server:
    """Accepts connections on loopback, keeps what it got and answers as the test says."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}"
        self.requests: list[bytes] = []
        self.answer: Callable[[socket.socket], None] = lambda peer: peer.sendall(OK)
        self.stopping = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            with peer:
                try:
                    peer.settimeout(5)
                    self.requests.append(_read_request(peer))
                    self.answer(peer)
                except OSError:
                    continue

    def stop(self) -> None:
        self.stopping.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _read_request(peer: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(peer)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length")), 0)
    while len(body) < length:
        body += _more(peer)
    return head + b"\r\n\r\n" + body


def _more(peer: socket.socket) -> bytes:
    """What comes next. One who hangs up sends nothing for ever: five such threads once took a core from all later tests."""
    data = peer.recv(65536)
    if not data:
        raise ConnectionError
    return data


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def transport(server: Server, *more: str) -> HttpTransport:
    return HttpTransport([f"127.0.0.1:{server.port}", *more])


def get(http: HttpTransport, url: str, **options: Any) -> Any:
    options = {"headers": {}, "body": None, "timeout_s": 3.0, **options}
    return http.request(options.pop("method", "GET"), url, **options)


def test_an_answer_comes_back_with_lower_case_headers_joined(server: Server) -> None:
    response = get(transport(server), server.base + "/a?b=c")
    assert (response.status, response.body, response.headers["x-a"]) == (200, b"hi", "1, 2")
    assert server.requests[0].startswith(b"GET /a?b=c HTTP/1.1\r\n")


def test_a_body_is_sent_and_the_callers_framing_headers_are_ignored(server: Server) -> None:
    headers = {"Content-Length": "1", "Host": "evil", "transfer-encoding": "chunked", "X-Mine": "yes"}
    get(transport(server), server.base + "/", method="POST", headers=headers, body="心桥".encode())
    request = server.requests[0]
    assert request.endswith(b"\r\n\r\n" + "心桥".encode())
    assert b"Content-Length: 6\r\n" in request
    assert b"evil" not in request
    assert b"chunked" not in request
    assert b"X-Mine: yes" in request


def test_a_name_that_is_allowed_is_reached_on_the_address_it_was_resolved_to_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = socket.getaddrinfo, list[str]()

    def look_up(host: str, *rest: Any, **named: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1", *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert get(HttpTransport([f"localhost:{server.port}"]), f"http://localhost:{server.port}/").status == 200
    assert asked == ["localhost"]


def test_a_partner_error_status_is_an_answer(server: Server) -> None:
    server.answer = lambda peer: peer.sendall(b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")
    response = get(transport(server), server.base)
    assert (response.status, response.headers["retry-after"]) == (503, "7")


REFUSED_URLS = [
    "http://127.0.0.1:1/",
    "http://127.0.0.1/",
    "http://127.0.0.2:{port}/",
    "http://localhost:{port}/",
    "http://LOCALHOST:{port}/",
    "http://2130706433:{port}/",
    "http://017700000001:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.0.0.1:{port}/",
    "http://0X7F.1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://127.0.0.01:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://0.0.0.0:{port}/",
    "http://0:{port}/",
    "http://[::1]:{port}/",
    "http://[::]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://[64:ff9b::127.0.0.1]:{port}/",
    "http://[64:ff9b:1::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[fe80::1%25eth0]:{port}/",
    "http://[fe80::1%eth0]:{port}/",
    "http://[127.0.0.1]:{port}/",
    "http://[::1/",
    "http://user@127.0.0.1:{port}/",
    "http://user:secret@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}@evil.example/",
    "http://evil.example@127.0.0.1:{port}/",
    "http://@127.0.0.1:{port}/",
    "http://evil.example#@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/#part",
    "http://127.0.0.1:{port}\\@evil.example/",
    "http://evil.example\\@127.0.0.1:{port}/",
    "http:\\\\127.0.0.1:{port}\\",
    "http://127.0.0.1:{port}/a\\b",
    "http:/127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "127.0.0.1:{port}/",
    "/path",
    "",
    "file:///etc/passwd",
    "ftp://127.0.0.1:{port}/",
    "ws://127.0.0.1:{port}/",
    "javascript:alert(1)",
    "unix:/run/x.sock",
    "http+unix://%2Frun%2Fx.sock/",
    " http://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/ ",
    "http://127.0.0.1:{port}/\n",
    "http://127.0.0.1:{port}/a b",
    "http://127.0.0.1:{port}/a\r\nX: y",
    "http://127.0.0.1:{port}/\x00",
    "http://127.0.0.1:{port}/王",
    "http://127.0.0.1 :{port}/",
    "http://127.0.0.1:{port}:{port}/",
    "http://127.0.0.1:0{port}x/",
    "http://127.0.0.1:-{port}/",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:0/",
    "http://127.0.0.1:/",
    "http://127。0。0。1:{port}/",
    "http://①②⑦.0.0.1:{port}/",
    "http://127.0.0.1%00.evil.example:{port}/",
    "http://%31%32%37.0.0.1:{port}/",
    "http://a..b:{port}/",
    "http://-a:{port}/",
    "http://169.254.169.254/latest/meta-data",
    "http://metadata.google.internal/",
    "https://evil.example/",
]


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_an_address_that_is_not_exactly_an_allowed_one_is_refused(server: Server, url: str) -> None:
    with pytest.raises(PartnerRefused) as refused:
        get(transport(server), url.format(port=server.port))
    assert refused.value.reason == "EGRESS/NOT_ALLOWED"
    assert server.requests == []


@pytest.mark.parametrize("form", ["HTTP://127.0.0.1:{port}/", "http://127.0.0.1:{port}", "http://127.0.0.1:{port}?q=1"])
def test_other_spellings_of_the_allowed_address_are_fine(server: Server, form: str) -> None:
    assert get(transport(server), form.format(port=server.port)).status == 200


@pytest.mark.parametrize(
    "host", ["hospital.example:80", "10.0.0.8:80", "169.254.169.254:80", "[2001:db8::1]:80", "127.0.0.1.nip.io:80"]
)
def test_plain_http_beyond_loopback_is_refused_even_when_allowed(host: str) -> None:
    with pytest.raises(PartnerRefused) as refused:
        get(HttpTransport([host]), f"http://{host}/")
    assert refused.value.reason == "EGRESS/PLAINTEXT"


@pytest.mark.parametrize(
    "found",
    [
        "127.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "fe80::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
def test_an_allowed_name_that_leads_to_an_address_no_partner_has_is_refused(
    monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    def look_up(*_: Any, **__: Any) -> Any:
        return [(0, 0, 0, "", (found, 443))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(PartnerRefused) as refused:
        get(HttpTransport(["hospital.example:443"]), "https://hospital.example/")
    assert refused.value.reason == "EGRESS/NOT_ALLOWED"


@pytest.mark.parametrize("host", ["169.254.169.254:443", "[::ffff:127.0.0.1]:443", "[64:ff9b::7f00:1]:443", "[::]:443"])
def test_an_address_no_partner_has_is_refused_even_when_the_settings_allow_it(host: str) -> None:
    with pytest.raises(PartnerRefused) as refused:
        get(HttpTransport([host]), f"https://{host}/")
    assert refused.value.reason == "EGRESS/NOT_ALLOWED"


@pytest.mark.parametrize(
    "entry", ["", "a", "a:", ":80", "a:0", "a:70000", "a:b", "http://a:80", "u@a:80", "*:80", "127.1:80"]
)
def test_an_allowed_entry_that_is_not_a_host_and_port_is_an_error_at_start(entry: str) -> None:
    with pytest.raises(AdapterConfigError):
        HttpTransport([entry])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_not_followed(server: Server, status: int) -> None:
    to = f"HTTP/1.1 {status} Go\r\nLocation: {server.base}/elsewhere\r\nContent-Length: 0\r\n\r\n"
    server.answer = lambda peer: peer.sendall(to.encode())
    with pytest.raises(PartnerRefused) as refused:
        get(transport(server), server.base)
    assert refused.value.reason == "EGRESS/NOT_ALLOWED"
    assert len(server.requests) == 1


def test_proxies_of_the_environment_are_ignored(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert get(transport(server), server.base).status == 200


def test_an_answer_over_the_limit_is_unavailable(server: Server) -> None:
    server.answer = lambda peer: peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"x" * 101)
    with pytest.raises(PartnerUnavailable, match="longer than 100 bytes"):
        get(transport(server), server.base, max_bytes=100)
    assert len(get(transport(server), server.base, max_bytes=101).body) == 101


def test_an_endless_answer_is_cut_off(server: Server) -> None:
    def endless(peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not server.stopping.is_set():
            peer.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")

    server.answer = endless
    with pytest.raises(PartnerUnavailable, match="longer than"):
        get(transport(server), server.base, max_bytes=100_000)


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-A: "])
def test_a_drip_feed_ends_at_the_overall_deadline(server: Server, start: bytes) -> None:
    def drip(peer: socket.socket) -> None:
        peer.sendall(start)
        while not server.stopping.wait(0.05):
            peer.sendall(b"x")

    server.answer = drip
    begin = time.monotonic()
    with pytest.raises(PartnerUnavailable, match="within"):
        get(transport(server), server.base, timeout_s=0.4)
    assert time.monotonic() - begin < 1.5


def test_a_silent_partner_ends_at_the_deadline(server: Server) -> None:
    def silent(_: socket.socket) -> None:
        server.stopping.wait(5)

    server.answer = silent
    with pytest.raises(PartnerUnavailable, match="within"):
        get(transport(server), server.base, timeout_s=0.2)


def test_a_partner_that_does_not_take_the_body_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        with pytest.raises(PartnerUnavailable, match="within"):
            http = HttpTransport([f"127.0.0.1:{port}"])
            get(http, f"http://127.0.0.1:{port}/", method="POST", body=b"x" * 2**25, timeout_s=0.3)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    ],
    ids=["nothing", "garbage", "short", "short-chunk", "bad-chunk", "long-header", "many-headers"],
)
def test_an_answer_that_is_broken_is_unavailable_never_half(server: Server, answer: bytes) -> None:
    server.answer = lambda peer: peer.sendall(answer)
    with pytest.raises(PartnerUnavailable):
        get(transport(server), server.base)


def test_a_closed_port_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
    with pytest.raises(PartnerUnavailable, match="ConnectionRefusedError"):
        get(HttpTransport([f"127.0.0.1:{port}"]), f"http://127.0.0.1:{port}/")


def test_a_name_that_does_not_resolve_in_time_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def look_up(*_: Any, **__: Any) -> Any:
        release.wait(5)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    begin = time.monotonic()
    with pytest.raises(PartnerUnavailable, match="within"):
        get(HttpTransport(["slow.example:443"]), "https://slow.example/", timeout_s=0.2)
    assert time.monotonic() - begin < 2
    release.set()


def test_a_partner_that_speaks_no_tls_is_unavailable(server: Server) -> None:
    with pytest.raises(PartnerUnavailable):
        get(transport(server), f"https://127.0.0.1:{server.port}/", timeout_s=1.0)


@pytest.mark.parametrize("headers", [{"X": "a\r\nEvil: 1"}, {"X\r\nEvil": "1"}, {"X": "王小明"}, {"": "x"}])
def test_a_header_that_could_split_the_request_is_refused(server: Server, headers: dict[str, str]) -> None:
    with pytest.raises(PartnerRefused) as refused:
        get(transport(server), server.base, headers=headers)
    assert refused.value.reason == "EGRESS/REQUEST"
    assert "王小明" not in str(refused.value)


@pytest.mark.parametrize("method", ["", "get", "GET /x", "GET\r\n"])
def test_a_malformed_method_is_refused(server: Server, method: str) -> None:
    with pytest.raises(PartnerRefused) as refused:
        get(transport(server), server.base, method=method)
    assert refused.value.reason == "EGRESS/REQUEST"


def test_no_error_holds_the_path_the_query_or_the_body(server: Server) -> None:
    secret = "S3cret"
    answers = iter([b"", b"garbage " + secret.encode(), b"HTTP/1.1 302 x\r\nLocation: /S3cret\r\n\r\n"])
    server.answer = lambda peer: peer.sendall(next(answers))
    for _ in range(3):
        url = f"{server.base}/{secret}?id={secret}"
        with pytest.raises((PartnerUnavailable, PartnerRefused)) as error:
            get(transport(server), url, method="POST", body=secret.encode(), headers={"X": secret})
        assert secret not in str(error.value)
        assert error.value.__cause__ is None
        assert error.value.__suppress_context__ or error.value.__context__ is None
    with pytest.raises(PartnerRefused) as refused:
        get(transport(server), f"https://{secret}.example/{secret}")
    assert secret not in str(refused.value)
