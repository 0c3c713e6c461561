"""Listening sockets for adapters: only at the addresses that the settings name, in clear text on loopback only."""

import ipaddress
import re
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

from xinqiao.adapters.errors import AdapterConfigError

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[0-9.]+|localhost):(?P<port>[0-9]{1,5})", re.ASCII)
_BACKLOG = 64


class Listening:
    """Opens what the agency's settings name (``AdapterKind.listens``), nothing else."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = frozenset(_parsed(entry) for entry in allowed)

    @property
    def allowed(self) -> frozenset[tuple[str, int]]:
        """The addresses that may be opened; port 0 takes any free one."""
        return self._allowed

    def open(self, address: str, tls: ssl.SSLContext | None) -> socket.socket:
        """A bound, listening socket at ``host:port``. With ``tls``, wrap each connection yourself, in its own thread.

        Raises AdapterConfigError: the address is not declared, is beyond loopback without ``tls``, or is taken.
        """
        host, port = _parsed(address)
        if (host, port) not in self._allowed:
            raise AdapterConfigError("this address is not one the agency's settings name to listen at")
        if tls is None and not ipaddress.ip_address(host).is_loopback:
            raise AdapterConfigError(f"{address}: beyond loopback a listener needs TLS; give certificate and key")
        server = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((host, port))
            server.listen(_BACKLOG)
        except OSError as e:
            server.close()
            raise AdapterConfigError(f"{address}: cannot listen ({e.strerror}); is another process there?") from None
        return server


def server_context(certificate: Path, key: Path, client_authority: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer for a listener; with ``client_authority`` each client must show a certificate of it.

    Raises AdapterConfigError when a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
        if client_authority is not None:
            context.load_verify_locations(client_authority)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as e:
        why = f"the listener's certificate, key or client authority cannot be used ({type(e).__name__})"
        raise AdapterConfigError(why) from None
    return context


def _parsed(address: str) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(address)
    try:
        if found is not None and int(found["port"]) <= 65535:
            host = "127.0.0.1" if found["host"] == "localhost" else found["host"].strip("[]")
            return str(ipaddress.ip_address(host)), int(found["port"])
    except ValueError:
        pass
    raise AdapterConfigError("an address to listen at must be 'ip:port', IPv6 in brackets; correct the settings")
