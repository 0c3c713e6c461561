"""HTTP for adapters: one request to one allowed host, with one deadline; everything else is refused.

The transport never follows a redirect, never reads ``*_PROXY`` and never puts a path, query, header or body into an
error: those carry persons. A host name is resolved once per request and the connection goes to the addresses found
and checked, so a name cannot change its mind between the check and the connection.
"""

import http.client
import io
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from xinqiao.adapters import recording
from xinqiao.adapters.errors import AdapterConfigError, PartnerRefused, PartnerUnavailable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[!-~]*)?(?P<query>\?[!-~]*)?",
    re.IGNORECASE | re.ASCII,
)
_NOT_IN_TARGET = frozenset('#\\"<>^`{}')
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", re.ASCII)
_LAST_LABEL_NUMERIC = re.compile(r"(^|.*\.)(0x[0-9a-f]*|[0-9]+)", re.ASCII)
_TOKEN = re.compile(r"[A-Z]{1,20}", re.ASCII)
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_V4_COMPATIBLE = ipaddress.IPv6Network("::/96")
_LOOPBACK_6 = ipaddress.IPv6Address("::1")
_OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "proxy-authorization"})
_REDIRECTS = frozenset({300, 301, 302, 303, 305, 307, 308})
_DEFAULT_PORT = {"http": 80, "https": 443}
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What the partner answered: status, headers with lower-case names (repeats joined by ``, ``), whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a connection goes: the parts of an address, and the address itself where it was written as one."""

    scheme: str
    host: str
    port: int
    path: str
    literal: _Address | None

    @property
    def endpoint(self) -> str:
        return _endpoint(self.host, self.port)

    @property
    def host_header(self) -> str:
        return self.endpoint.rpartition(":")[0] if self.port == _DEFAULT_PORT.get(self.scheme) else self.endpoint

    @property
    def local(self) -> bool:
        """The address text itself says loopback; a name that merely resolves to loopback does not count."""
        return self.host == "localhost" or (self.literal is not None and self.literal.is_loopback)


def configured_endpoint(url: str) -> str:
    """``host:port`` of an address in an agency's settings. Raises ValueError for what the transport would refuse later."""
    try:
        target = _parse(url)
    except PartnerRefused as error:
        raise ValueError(error.message) from None
    if target.scheme == "http" and not target.local:
        raise ValueError("plain http is for loopback only; use https")
    if "?" in url:
        raise ValueError("the address must have no query")
    return target.endpoint


class HttpTransport:
    """Sends requests to the ``host:port`` pairs it was made with; safe to use from several threads at once.

    ``allowed`` entries look like ``fhir.example.cn:443``, ``127.0.0.1:8080`` or ``[::1]:8080``. ``tls`` replaces the
    default client context (system trust store, TLS 1.2 or newer), for a partner with a private authority.
    Raises AdapterConfigError when an entry of ``allowed`` is not such a pair.
    """

    def __init__(self, allowed: Sequence[str], *, tls: ssl.SSLContext | None = None) -> None:
        self._allowed = frozenset(allowed_entry(entry) for entry in allowed)
        self._tls = tls

    @property
    def allowed(self) -> frozenset[str]:
        """The ``host:port`` pairs that can be reached."""
        return self._allowed

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_s: float,
        max_bytes: int = 4 * 2**20,
    ) -> HttpResponse:
        """Send one request and read the whole answer within ``timeout_s`` seconds, from look-up to last byte.

        ``Host``, ``Content-Length``, ``Transfer-Encoding`` and ``Connection`` among ``headers`` are ignored: the
        transport writes its own. Any status is returned, 4xx and 5xx too, except redirects.

        Raises PartnerRefused: ``EGRESS/NOT_ALLOWED`` (address not allowed, or malformed, or the partner redirects),
        ``EGRESS/PLAINTEXT`` (``http`` beyond loopback), ``EGRESS/CERTIFICATE`` (the partner's certificate does not
        verify), ``EGRESS/REQUEST`` (method or header malformed). Raises PartnerUnavailable when the partner cannot be
        reached, breaks off, is too slow, or answers more than ``max_bytes``.
        """
        target = _parse(url)
        if target.endpoint not in self._allowed:
            raise _not_allowed("this address is not one of the agency's hosts; name it in the agency's settings")
        if target.scheme == "http" and not target.local:
            raise PartnerRefused("EGRESS/PLAINTEXT", f"{target.endpoint}: plain http is for loopback only; use https")
        if _TOKEN.fullmatch(method) is None:
            raise PartnerRefused("EGRESS/REQUEST", "the method must be 1 to 20 capital letters")
        deadline = time.monotonic() + timeout_s
        answer: HttpResponse | None = None
        try:
            with closing(self._connect(target, deadline)) as raw:
                answer = _roundtrip(raw, target, method, headers, body, deadline, max_bytes)
                return answer
        except ssl.SSLCertVerificationError as e:
            why = f"{target.endpoint}: certificate not accepted (code {e.verify_code}); check the partner's certificate"
            raise PartnerRefused("EGRESS/CERTIFICATE", why) from None
        except TimeoutError:
            raise PartnerUnavailable(f"{target.endpoint}: no complete answer within {timeout_s:g} s") from None
        except (OSError, http.client.HTTPException) as e:
            raise PartnerUnavailable(f"{target.endpoint}: connection failed ({type(e).__name__})") from None
        except ValueError:
            # From None: http.client and codecs quote the offending header in their messages.
            raise PartnerRefused("EGRESS/REQUEST", f"{target.endpoint}: a header is malformed") from None
        finally:
            told = None if answer is None else (answer.status, answer.headers, answer.body)
            recording.posted(method, target.path, headers, body, told)

    def _connect(self, target: Endpoint, deadline: float) -> socket.socket:
        raw = reach(target, deadline)
        if target.scheme == "http":
            return raw
        try:
            raw.settimeout(_left(deadline))
            self._tls = self._tls or _client_context()
            return self._tls.wrap_socket(raw, server_hostname=target.host)
        except BaseException:
            raw.close()
            raise


def reach(target: Endpoint, deadline: float) -> socket.socket:
    """A TCP connection to an allowed target, by the addresses checked here. Raises OSError or PartnerRefused."""
    found = [target.literal] if target.literal is not None else _resolve(target.host, target.port, deadline)
    if not found or any(_forbidden(address, target) for address in found):
        raise _not_allowed(f"{target.endpoint}: the name leads to an address that no partner can have")
    return _connect_first(found, target.port, deadline)


def parse_endpoint(entry: str) -> Endpoint:
    """The parts of ``host:port``. Raises AdapterConfigError where it is not such a pair."""
    host, _, port = allowed_entry(entry).rpartition(":")
    literal, spelling = _host(host)
    return Endpoint("tcp", spelling, int(port), "", literal)


class _DeadlineSocket(io.RawIOBase):
    """What http.client needs of a socket; every read and write gets only the time that is left of the whole."""

    def __init__(self, raw: socket.socket, deadline: float) -> None:
        super().__init__()
        self._raw = raw
        self._deadline = deadline

    def makefile(self, mode: str, *_: object) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineSocket(self._raw, self._deadline))

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._raw.settimeout(_left(self._deadline))
            view = view[self._raw.send(view[:_CHUNK]) :]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        self._raw.settimeout(_left(self._deadline))
        return self._raw.recv_into(buffer)


def _roundtrip(
    raw: socket.socket,
    target: Endpoint,
    method: str,
    headers: Mapping[str, str],
    body: bytes | None,
    deadline: float,
    max_bytes: int,
) -> HttpResponse:
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.auto_open = 0
    connection.sock = cast(socket.socket, _DeadlineSocket(raw, deadline))
    sent = {name: value for name, value in headers.items() if name.lower() not in _OWN_HEADERS}
    connection.request(method, target.path, body, {"Host": target.host_header, "Connection": "close", **sent})
    response = connection.getresponse()
    if response.status in _REDIRECTS:
        why = f"{target.endpoint}: the partner redirects, which is never followed; set its final address"
        raise PartnerRefused("EGRESS/NOT_ALLOWED", why)
    content = _read_body(response, target, max_bytes)
    return HttpResponse(response.status, _joined(response.getheaders()), content)


def _read_body(response: http.client.HTTPResponse, target: Endpoint, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := response.read1(min(_CHUNK, max_bytes + 1 - size)):
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise PartnerUnavailable(f"{target.endpoint}: the answer is longer than {max_bytes} bytes")
    if response.length:
        raise PartnerUnavailable(f"{target.endpoint}: the answer broke off {response.length} bytes before its end")
    return b"".join(parts)


def _joined(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return headers


def _parse(url: str) -> Endpoint:
    found = _URL.fullmatch(url)
    if found is None or _NOT_IN_TARGET.intersection(url):
        raise _not_allowed("the address must be https://host[:port]/path without user, fragment or odd characters")
    scheme = found["scheme"].lower()
    literal, host = _host(found["host"])
    port = int(found["port"]) if found["port"] else _DEFAULT_PORT[scheme]
    if not host or not 1 <= port <= 65535:
        raise _not_allowed("the host must be a DNS name, a dotted IPv4 or a bracketed IPv6 address, the port 1-65535")
    return Endpoint(scheme, host, port, (found["path"] or "/") + (found["query"] or ""), literal)


def _host(text: str) -> tuple[_Address | None, str]:
    """The address if ``text`` is one, and the normal spelling; an empty spelling means that it is not a host."""
    lowered = text.lower()
    if lowered.startswith("["):
        try:
            v6 = ipaddress.IPv6Address(lowered[1:-1])
        except ValueError:
            return None, ""
        return v6, v6.compressed
    try:
        v4 = ipaddress.IPv4Address(lowered)
    except ValueError:
        # 2130706433, 0x7f.1 and 127.1 are numbers to the resolver, never names: refuse them outright.
        good = _NAME.fullmatch(lowered) is not None and _LAST_LABEL_NUMERIC.fullmatch(lowered) is None
        return None, lowered if good else ""
    return v4, str(v4)


def allowed_entry(entry: str) -> str:
    """``host:port`` in its normal spelling. Raises AdapterConfigError for anything else."""
    host, _, port = entry.rpartition(":")
    _, spelling = _host(host)
    if not spelling or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise AdapterConfigError("an allowed host must be 'host:port', IPv6 in brackets; correct the settings")
    return _endpoint(spelling, int(port))


def _endpoint(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _forbidden(address: _Address, target: Endpoint) -> bool:
    if address.is_multicast or address.is_unspecified or address.is_link_local:
        return True
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_reserved or address.is_loopback != target.local
    if address != _LOOPBACK_6 and _embeds_ipv4(address):
        return True
    return address.is_loopback != target.local


def _embeds_ipv4(address: ipaddress.IPv6Address) -> bool:
    if address.ipv4_mapped is not None or address.sixtofour is not None or address.teredo is not None:
        return True
    return address in _V4_COMPATIBLE or any(address in network for network in _NAT64)


def _resolve(host: str, port: int, deadline: float) -> list[_Address]:
    """Look the name up once. In a thread, because the resolver of the operating system knows no deadline."""
    found: list[_Address] = []
    failure: list[str] = []

    def look_up() -> None:
        try:
            for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                found.append(ipaddress.ip_address(str(info[4][0]).partition("%")[0]))
        except (OSError, ValueError) as e:
            failure.append(type(e).__name__)

    thread = threading.Thread(target=look_up, name="xinqiao-resolve", daemon=True)
    thread.start()
    thread.join(_left(deadline))
    if thread.is_alive():
        raise TimeoutError
    if failure:
        raise PartnerUnavailable(f"{_endpoint(host, port)}: the name does not resolve ({failure[0]})")
    return found


def _connect_first(found: Sequence[_Address], port: int, deadline: float) -> socket.socket:
    last: OSError = OSError()
    for address in found:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        raw = socket.socket(family, socket.SOCK_STREAM)
        try:
            raw.settimeout(_left(deadline))
            raw.connect((str(address), port))
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as e:
            raw.close()
            last = e
        else:
            return raw
    raise last


def _client_context() -> ssl.SSLContext:
    # Not create_default_context(): that one writes session keys where SSLKEYLOGFILE says.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _not_allowed(message: str) -> PartnerRefused:
    return PartnerRefused("EGRESS/NOT_ALLOWED", message)
