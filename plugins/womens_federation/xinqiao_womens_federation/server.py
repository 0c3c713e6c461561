"""A small SFTP server on loopback for the simulator: one user, its own host key, nothing outside of one folder."""

import os
import socket
import threading
from pathlib import Path
from typing import Any, cast

import paramiko
from paramiko import SFTPAttributes, SFTPHandle, SFTPServer, SFTPServerInterface
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED, OPEN_SUCCEEDED
from paramiko.sftp import SFTP_FAILURE, SFTP_OK

from xinqiao.testing.simulators import Faults


class SftpServer:
    """Serves ``root`` until ``stop``. ``key`` may be changed to show another host key from the next connection on.

    ``faults``: ``slow`` before a login, ``unauthorized`` at one, ``drop_before`` and ``drop_after`` a file gets its name.
    """

    def __init__(
        self, root: Path, user: str, password: str, login_key: paramiko.PKey | None = None, faults: Faults | None = None
    ) -> None:
        self.faults = faults or Faults()
        self.stopping = threading.Event()
        self.key: paramiko.PKey = paramiko.ECDSAKey.generate()
        self.logins = 0
        self._root = root.resolve()
        self._access = _Access(self, user, password, login_key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[paramiko.Transport] = []
        self._thread = threading.Thread(target=self._accept, name="sftp-simulator", daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """Where it is."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def host_key(self) -> str:
        """As ``host_keys`` of the settings wants it."""
        return f"{self.key.get_name()} {self.key.get_base64()}"

    def stop(self) -> None:
        """Close the listener and every session."""
        self.stopping.set()
        # shutdown wakes accept, close alone does not
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        for transport in self._open:
            transport.close()
            transport.join(5)

    def cut(self) -> None:
        """Break every session."""
        for transport in self._open:
            transport.close()

    def admits(self, good: bool) -> int:
        """What a login is answered."""
        self.logins += 1
        slow = self.faults.take("slow")
        if slow is not None:
            self.stopping.wait(slow)
        return AUTH_SUCCESSFUL if good and self.faults.take("unauthorized") is None else AUTH_FAILED

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(raw)
            transport.add_server_key(self.key)
            transport.set_subsystem_handler("sftp", SFTPServer, _Folder, root=self._root)
            self._open = [each for each in self._open if each.is_active()] + [transport]
            try:
                transport.start_server(server=self._access, event=threading.Event())
            except (paramiko.SSHException, EOFError, OSError):
                transport.close()


class _Access(paramiko.ServerInterface):
    def __init__(self, server: SftpServer, user: str, password: str, login_key: paramiko.PKey | None) -> None:
        self.server = server
        self._user = user
        self._password = password
        self._key = login_key

    def check_auth_password(self, username: str, password: str) -> int:
        return self.server.admits((username, password) == (self._user, self._password))

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return self.server.admits(
            username == self._user and self._key is not None and key.asbytes() == self._key.asbytes()
        )

    def get_allowed_auths(self, username: str) -> str:
        return "password,publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED if kind == "session" else OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED


class _Folder(SFTPServerInterface):
    """The tree under ``root``; a path that leads out of it, by ``..`` or by a link, is refused."""

    def __init__(self, server: paramiko.ServerInterface, *args: Any, root: Path, **more: Any) -> None:
        super().__init__(server, *args, **more)
        self._root = root
        self._server = cast("_Access", server).server

    def _real(self, path: str) -> Path:
        real = (self._root / path.lstrip("/")).resolve()
        if real != self._root and self._root not in real.parents:
            raise PermissionError(1, "outside")
        return real

    def list_folder(self, path: str) -> Any:
        try:
            return [_attributes(each) for each in self._real(path).iterdir()]
        except OSError as error:
            return SFTPServer.convert_errno(error.errno or 1)

    def stat(self, path: str) -> Any:
        try:
            return SFTPAttributes.from_stat(self._real(path).stat())
        except OSError as error:
            return SFTPServer.convert_errno(error.errno or 1)

    lstat = stat

    def open(self, path: str, flags: int, attr: SFTPAttributes) -> Any:
        try:
            descriptor = os.open(self._real(path), flags, 0o600)
        except OSError as error:
            return SFTPServer.convert_errno(error.errno or 1)
        handle = SFTPHandle(flags)
        mode = "rb+" if flags & os.O_RDWR else "wb" if flags & os.O_WRONLY else "rb"
        stream = os.fdopen(descriptor, mode)
        handle.readfile = handle.writefile = stream  # type: ignore[attr-defined]
        return handle

    def remove(self, path: str) -> int:
        return _done(lambda: self._real(path).unlink())

    def posix_rename(self, oldpath: str, newpath: str) -> int:
        if self._server.faults.take("drop_before") is not None:
            self._server.cut()
            return SFTP_FAILURE
        done = _done(lambda: self._real(oldpath).replace(self._real(newpath)))
        if self._server.faults.take("drop_after") is not None:
            self._server.cut()
        return done

    rename = posix_rename

    def mkdir(self, path: str, attr: SFTPAttributes) -> int:
        return _done(lambda: self._real(path).mkdir())


def _done(work: Any) -> int:
    try:
        work()
    except OSError as error:
        return SFTPServer.convert_errno(error.errno or 1)
    return SFTP_OK


def _attributes(path: Path) -> SFTPAttributes:
    return SFTPAttributes.from_stat(path.lstat(), path.name)
