"""Random bytes and record ids, drawn in bulk: each call to the operating system gives the interpreter lock away."""

import os
import struct
import threading
from collections.abc import Iterator
from itertools import chain

_POOL_BYTES = 4096
_NONCES = 256
_NONCE = struct.Struct("12s")


class _Pool(threading.local):
    """A thread's own supply; every byte is used once."""

    def __init__(self) -> None:
        self.data = b""
        self.used = 0


_pool = _Pool()


def random_bytes(count: int) -> bytes:
    """``count`` bytes of the operating system's randomness."""
    pool = _pool
    end = pool.used + count
    if end > len(pool.data):
        pool.data, pool.used, end = os.urandom(max(_POOL_BYTES, count)), 0, count
    taken = pool.data[pool.used : end]
    pool.used = end
    return taken


def new_nonce() -> bytes:
    """12 random bytes, as AES-GCM takes them (NIST SP 800-38D, 8.2.2); never twice the same, from any thread."""
    try:
        return next(_nonces[0])  # one step of C: no two threads get the same
    except StopIteration:
        _nonces[0] = fresh = _draw()
        return next(fresh)


def _draw() -> Iterator[bytes]:
    return chain.from_iterable(_NONCE.iter_unpack(os.urandom(_NONCE.size * _NONCES)))


_nonces = [_draw()]


def _forget() -> None:
    """A forked process must not use what its parent has drawn."""
    _nonces[0] = _draw()
    _pool.data, _pool.used = b"", 0


os.register_at_fork(after_in_child=_forget)


def new_id(now_us: int) -> str:
    """An id of 32 hex digits: 48 bits of milliseconds, 80 random bits (the order of UUIDv7, RFC 9562).

    Ids of one time lie together, so rows written together touch few pages; nobody can guess one.
    """
    return f"{now_us // 1000:012x}{random_bytes(10).hex()}"


def new_ids(now_us: int, count: int) -> list[str]:
    """Many ids at once, ascending, so that they are appended to an index one after another."""
    head, tail = f"{now_us // 1000:012x}", random_bytes(10 * count).hex()
    return [head + each for each in sorted([tail[start : start + 20] for start in range(0, 20 * count, 20)])]
