"""Plain sockets for adapters whose partner does not speak HTTP: to allowed hosts, by the same checks, and no others."""

import socket
import ssl
import time
from collections.abc import Sequence
from pathlib import Path

from xinqiao.adapters.errors import AdapterConfigError, PartnerRefused, PartnerUnavailable
from xinqiao.adapters.transport import allowed_entry, parse_endpoint, reach


class SocketTransport:
    """Connects to the ``host:port`` pairs it was made with; safe to use from several threads at once.

    Raises AdapterConfigError when an entry of ``allowed`` is not such a pair.
    """

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self._allowed = frozenset(allowed_entry(entry) for entry in allowed)

    def connect(
        self, endpoint: str, timeout_s: float, tls: ssl.SSLContext | None = None, *, secured_by_ssh: bool = False
    ) -> socket.socket:
        """A connected socket, its time-out set to what is left of ``timeout_s`` seconds.

        ``secured_by_ssh``: the adapter speaks SSH over it and compares the host key with a pinned one before it logs in.
        Raises PartnerRefused: ``EGRESS/NOT_ALLOWED``, ``EGRESS/PLAINTEXT`` (no ``tls`` beyond loopback),
        ``EGRESS/CERTIFICATE``; or PartnerUnavailable.
        """
        target = parse_endpoint(endpoint)
        if target.endpoint not in self._allowed:
            raise PartnerRefused("EGRESS/NOT_ALLOWED", "this address is not one of the agency's hosts")
        if tls is None and not secured_by_ssh and not target.local:
            raise PartnerRefused("EGRESS/PLAINTEXT", f"{target.endpoint}: plain TCP is for loopback only; use TLS")
        deadline = time.monotonic() + timeout_s
        raw: socket.socket | None = None
        try:
            raw = reach(target, deadline)
            if tls is not None:
                raw.settimeout(max(deadline - time.monotonic(), 0.001))
                raw = tls.wrap_socket(raw, server_hostname=target.host)
            raw.settimeout(max(deadline - time.monotonic(), 0.001))
            return raw
        except ssl.SSLCertVerificationError as e:
            why = f"{target.endpoint}: certificate not accepted (code {e.verify_code}); check the partner's certificate"
            failure: Exception = PartnerRefused("EGRESS/CERTIFICATE", why)
        except TimeoutError:
            failure = PartnerUnavailable(f"{target.endpoint}: no connection within {timeout_s:g} s")
        except OSError as e:
            failure = PartnerUnavailable(f"{target.endpoint}: connection failed ({type(e).__name__})")
        if raw is not None:
            raw.close()
        raise failure


def client_context(authority: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer, the peer's certificate checked by ``authority`` or else the system's trust store.

    Raises AdapterConfigError when a file cannot be used.
    """
    # Not create_default_context(): that one writes session keys where SSLKEYLOGFILE says.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if authority is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(authority)
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as e:
        why = f"the authority, certificate or key for TLS cannot be used ({type(e).__name__})"
        raise AdapterConfigError(why) from None
    return context
