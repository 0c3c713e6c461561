"""Small files that must survive a crash: a line added whole or not at all, a content put in place of another."""

import os
from collections.abc import Callable
from pathlib import Path

Sync = Callable[[int], None]


def append(path: Path, line: bytes, sync: Sync | None = None) -> None:
    """Add ``line``, on disk when this returns. Raises OSError; then nothing of it stands in the file.

    A part of a line would be glued to the next one, and both would be unreadable ever after.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        before = os.fstat(descriptor).st_size
        try:
            _write_all(descriptor, line)
            (sync or os.fsync)(descriptor)
            if not before:
                _sync_folder(path.parent, sync or os.fsync)
        except OSError:
            os.ftruncate(descriptor, before)
            raise
    finally:
        os.close(descriptor)


def replace(path: Path, data: bytes, sync: Sync | None = None) -> None:
    """First the content, then the name, each on disk: a torn file can never be found under its name."""
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        _write_all(descriptor, data)
        (sync or os.fsync)(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    _sync_folder(path.parent, sync or os.fsync)


def _sync_folder(folder: Path, sync: Sync) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
