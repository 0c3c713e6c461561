"""Who calls: exactly one SPIFFE URI in the client certificate, known to the registry, its serial not denied."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from xinqiao.contract.clock import Clock, to_us
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.registry import Partner, Registry

_RELOAD_S = 30.0
_UNREADABLE = -1
_security = logging.getLogger("xinqiao.security")


class Identity:
    """Maps a connection's ``auth_context`` to a partner. Only ``peer_spiffe_id`` counts: a DNS name that spells a
    SPIFFE id looks the same in the list of names, and a certificate with two URIs has no ``peer_spiffe_id`` at all."""

    def __init__(self, registry: Registry, clock: Clock, deny_list: Path | None) -> None:
        self._registry = registry
        self._clock = clock
        self._deny_list = deny_list
        self._denied: frozenset[int] | None = None
        self._next_load = float("-inf")
        self._certificates: dict[bytes, tuple[int, int]] = {}
        self.ends: dict[str, int] = {}
        """When the certificate ends with which a partner last called here, microseconds since 1970 UTC."""

    def caller(self, auth_context: Mapping[str, Iterable[bytes]]) -> Partner:
        """The calling partner. Raises Refusal UNAUTHENTICATED/IDENTITY or REVOKED."""
        uris = list(auth_context.get("peer_spiffe_id", ()))
        partner = self._registry.by_spiffe(uris[0].decode(errors="replace")) if len(uris) == 1 else None
        if partner is None:
            raise Refusal(
                "UNAUTHENTICATED", "IDENTITY", "the certificate needs exactly one URI name, of a registered partner"
            )
        known = [self._known(pem) for pem in auth_context.get("x509_pem_cert", ())]
        if self._deny_list is not None:
            self._check_serials(serial for serial, _ in known)
        if known and known[0][1]:
            self.ends[partner.id] = known[0][1]
        return partner

    def _known(self, pem: bytes) -> tuple[int, int]:
        """Serial number and end of a certificate, read once."""
        found = self._certificates.get(pem)
        if found is None:
            if len(self._certificates) > 10_000:
                self._certificates.clear()
            try:
                found = certificate(pem)
            except ValueError:  # the listener took it: only a deny list, which needs its number, must not
                found = _UNREADABLE, 0
            self._certificates[pem] = found
        return found

    def _check_serials(self, serials: Iterable[int]) -> None:
        if self._clock.monotonic() >= self._next_load:
            self._load()
        if self._denied is None:
            raise Refusal("UNAVAILABLE", "DENY_LIST", "the deny list cannot be read; an operator must mend it")
        numbers = set(serials)
        if self._denied and _UNREADABLE in numbers:
            raise Refusal("UNAUTHENTICATED", "IDENTITY", "the certificate's serial number cannot be read")
        if not self._denied.isdisjoint(numbers):
            raise Refusal("UNAUTHENTICATED", "REVOKED", "the certificate is on the deny list")

    def _load(self) -> None:
        self._next_load = self._clock.monotonic() + _RELOAD_S
        try:
            text = self._deny_list.read_text() if self._deny_list is not None else ""
            lines = (line.split("#")[0].replace(":", "").strip() for line in text.splitlines())
            self._denied = frozenset(int(line, 16) for line in lines if line)
        except (OSError, ValueError):
            # The last good list goes on; where there never was one, nobody is let in: privacy fails closed.
            _security.error("ALARM: the deny list cannot be read, the last good one stays: %s", self._deny_list)


def certificate(pem: bytes) -> tuple[int, int]:
    """Serial number of a certificate, and when it ends, microseconds since 1970 UTC. Raises ValueError for none."""
    from cryptography import x509  # loaded by the first caller, not by the start

    found = x509.load_pem_x509_certificate(pem)
    return found.serial_number, to_us(found.not_valid_after_utc)
