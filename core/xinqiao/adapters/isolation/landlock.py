"""Landlock (Linux 5.13 and newer): the kernel itself bounds what files and ports this process reaches; needs no root.

It binds native code too, which Python's audit hooks do not see. Numbers from ``linux/landlock.h``.
"""

import ctypes
import os
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Final

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_BENEATH, _PORT = 1, 2
_NO_NEW_PRIVILEGES: Final = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REFER, _TRUNCATE, _IOCTL = (1 << n for n in (0, 1, 2, 3, 13, 14, 15))
_ON_FILES: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
_READ: Final = _READ_FILE | _READ_DIR
_BIND, _CONNECT = 1, 2
_SCOPES: Final = 3  # signals and abstract Unix sockets stay within this process


def version() -> int:
    """Version of the kernel's Landlock; 0 where there is none."""
    return max(0, int(_libc().syscall(_CREATE, None, 0, 1)))


def restrict(
    reads: Collection[Path], writes: Collection[Path], connects: Collection[int], binds: Collection[int]
) -> int:
    """Leave this thread, and those it starts, these paths and TCP ports; return the version in force, 0 for none.

    Nothing can be executed any more. Ports are bounded from version 4 on, signals from version 6 on. What is not there
    now is not granted. Raises OSError.
    """
    abi = version()
    if not abi:
        return 0
    libc = _libc()
    handled = (1 << 13) - 1 | (_REFER if abi >= 2 else 0) | (_TRUNCATE if abi >= 3 else 0)
    attributes = struct.pack("=QQQ", handled, _BIND | _CONNECT, _SCOPES)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    ruleset = _called(libc.syscall(_CREATE, attributes, len(attributes), 0))
    try:
        for paths, access in ((reads, _READ), (writes, handled & ~_EXECUTE)):
            for path in paths:
                _beneath(libc, ruleset, path, access)
        if abi >= 4:
            for ports, access in ((connects, _CONNECT), (binds, _BIND)):
                for port in ports:
                    _called(libc.syscall(_ADD, ruleset, _PORT, struct.pack("=QQ", access, port), 0))
        _called(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
        _called(libc.syscall(_RESTRICT, ruleset, 0))
    finally:
        os.close(ruleset)
    return abi


def _beneath(libc: ctypes.CDLL, ruleset: int, path: Path, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        allowed = access if path.is_dir() else access & _ON_FILES
        _called(libc.syscall(_ADD, ruleset, _BENEATH, struct.pack("=Qi", allowed, descriptor), 0))
    finally:
        os.close(descriptor)


def _called(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
