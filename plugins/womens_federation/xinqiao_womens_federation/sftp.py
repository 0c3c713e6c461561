"""The shelf on an SFTP server: through the gateway's own sockets, to a host whose key is pinned."""

import base64
import io
import stat
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from xinqiao.adapters import recording
from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable
from xinqiao.adapters.sockets import SocketTransport
from xinqiao.config.secret import Secret
from xinqiao_womens_federation.settings import SftpSettings
from xinqiao_womens_federation.shelf import INBOX, MAX_BYTES, OUTBOX, Files, Listed

_LISTED: Final = 10_000
_CHUNK: Final = 256 * 1024
_CLOSE_S: Final = 0.05
"""So near to the deadline it has passed: the library waits by another clock."""


class SftpShelf:
    """Opens one session for each piece of work: monthly files do not need one that stays open."""

    def __init__(self, settings: SftpSettings, sockets: SocketTransport) -> None:
        self._settings = settings
        self._sockets = sockets

    @contextmanager
    def open(self, timeout_s: float) -> Generator[Files, None, None]:
        """Connect, compare the host key before anything is said, then log in.

        Raises PartnerRefused (``EGRESS/HOST_KEY``, ``EGRESS/LOGIN``) or PartnerUnavailable.
        """
        deadline = time.monotonic() + timeout_s
        raw = self._sockets.connect(self._settings.endpoint, timeout_s, secured_by_ssh=True)
        transport: paramiko.Transport | None = None
        try:
            transport = paramiko.Transport(raw)
            transport.banner_timeout = transport.auth_timeout = transport.handshake_timeout = timeout_s
            self._greet(transport, deadline)
            self._log_in(transport, deadline)
            yield _Sftp(transport, self._settings, deadline)
        except (PartnerRefused, FileNotFoundError):
            raise
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise PartnerUnavailable(f"{self._settings.endpoint}: SFTP failed ({type(error).__name__})") from None
        finally:
            if transport is not None:
                transport.close()
            raw.close()

    def _greet(self, transport: paramiko.Transport, deadline: float) -> None:
        pinned = dict(key.split() for key in self._settings.host_keys)
        options = transport.get_security_options()
        kinds = [kind for kind in options.key_types if _plain(kind) in pinned]
        if kinds:
            options.key_types = tuple(kinds)
        try:
            transport.start_client(timeout=max(deadline - time.monotonic(), 0.001))
        except IncompatiblePeer:
            raise self._wrong_key("offers no host key of a pinned type") from None
        key = transport.get_remote_server_key()
        told = f"{key.get_name()} {base64.b64encode(key.asbytes()).decode()}"
        if told.rstrip("=") not in {pin.rstrip("=") for pin in self._settings.host_keys}:
            raise self._wrong_key("shows a host key that is not the pinned one")

    def _wrong_key(self, what: str) -> PartnerRefused:
        mend = "ask the federation by telephone whether it was changed, then mend host_keys"
        return PartnerRefused("EGRESS/HOST_KEY", f"{self._settings.endpoint} {what}; nothing was sent; {mend}")

    def _log_in(self, transport: paramiko.Transport, deadline: float) -> None:
        settings = self._settings
        transport.auth_timeout = max(deadline - time.monotonic(), 0.001)
        try:
            if settings.private_key is not None:
                transport.auth_publickey(settings.user, _private_key(_reveal(settings.private_key)))
            elif settings.password is not None:
                transport.auth_password(settings.user, _reveal(settings.password))
        except paramiko.AuthenticationException:
            # Raised for a server that is too slow or hangs up too, and that is no word about the login.
            if not transport.is_active() or time.monotonic() >= deadline - _CLOSE_S:
                raise PartnerUnavailable(f"{settings.endpoint}: no answer to the login in time") from None
            raise PartnerRefused("EGRESS/LOGIN", f"{settings.endpoint} does not accept this login") from None


class _Sftp:
    """The files of an open session; each wait gets only what is left of the time."""

    def __init__(self, transport: paramiko.Transport, settings: SftpSettings, deadline: float) -> None:
        client = paramiko.SFTPClient.from_transport(transport)
        if client is None:
            raise PartnerUnavailable(f"{settings.endpoint}: no SFTP session was opened")
        self._client = client
        self._roots = {INBOX: settings.inbox, OUTBOX: settings.outbox}
        self._deadline = deadline

    def names(self, place: str) -> list[Listed]:
        """See ``Files``."""
        self._tick()
        found: list[Listed] = []
        try:
            # Not listdir_iter: it leaves requests in flight behind an early end.
            for each in self._client.listdir_attr(self._folder(place)):
                if each.st_mode is not None and stat.S_ISREG(each.st_mode) and len(found) < _LISTED:
                    found.append(Listed(each.filename, each.st_size or 0, int(each.st_mtime or 0)))
        except FileNotFoundError:
            if "/" not in place:
                raise PartnerUnavailable(f"the server has no folder for the {place}") from None
        return found

    def get(self, place: str, name: str, most: int = MAX_BYTES) -> bytes:
        """See ``Files``."""
        data = bytearray()
        with self._client.open(f"{self._folder(place)}/{name}", "rb") as stream:
            while len(data) <= most:
                self._tick()
                chunk = stream.read(min(_CHUNK, most + 1 - len(data)))
                if not chunk:
                    break
                data += chunk
        whole = bytes(data)
        recording.filed("in", name, whole)
        return whole

    def put(self, place: str, name: str, data: bytes) -> None:
        """See ``Files``."""
        self._tick()
        folder = self._folder(place)
        if "/" in place:
            self._make(folder)
        part = f"{folder}/{name}.part"
        # confirm: the size is asked for afterwards, so a full disk there does not pass for success.
        self._client.putfo(io.BytesIO(data), part, len(data), confirm=True)
        self._tick()
        self._client.posix_rename(part, f"{folder}/{name}")
        recording.filed("out", name, data)

    def remove(self, place: str, name: str) -> None:
        """See ``Files``."""
        self._tick()
        try:
            self._client.remove(f"{self._folder(place)}/{name}")
        except FileNotFoundError:
            return

    def _make(self, folder: str) -> None:
        try:
            self._client.stat(folder)
        except FileNotFoundError:
            self._client.mkdir(folder)

    def _folder(self, place: str) -> str:
        root, _, inner = place.partition("/")
        return f"{self._roots[root]}/{inner}" if inner else self._roots[root]

    def _tick(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise PartnerUnavailable("the server did not do it in time")
        channel = self._client.get_channel()
        if channel is None:
            raise PartnerUnavailable("the session is closed")
        channel.settimeout(left)


def _plain(kind: str) -> str:
    """The key type of a signature algorithm: RSA keys sign under several names."""
    return "ssh-rsa" if kind.startswith("rsa-sha2-") else kind


def _reveal(secret: Secret) -> str:
    try:
        return secret.reveal()
    except (LookupError, OSError, ValueError):
        why = f"the password or private key cannot be read from {secret}; see that it is there and readable by us only"
        raise PartnerRefused("EGRESS/LOGIN", why) from None


def _private_key(text: str) -> paramiko.PKey:
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(io.StringIO(text + "\n"))
        except (paramiko.SSHException, ValueError, IndexError):
            continue
    raise PartnerRefused("EGRESS/LOGIN", "private_key is no OpenSSH or PEM key without a passphrase")
