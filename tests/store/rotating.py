"""Rotates keys for ever and makes new ones meanwhile, until it is killed: ``python rotating.py <keyring> <keys url>
<batch>``; a line at each step, and one for each new key once it is durable, with what it sealed."""

import os
import sys
import threading
from itertools import count
from pathlib import Path

from xinqiao.contract.clock import SystemClock
from xinqiao.store.keys import KeyStore


def say(*words: object) -> None:
    """One write a line: two threads speak, and a kill may come between two writes."""
    os.write(1, f"{' '.join(map(str, words))}\n".encode())


def serve(keys: KeyStore) -> None:
    for number in count():
        student = f"n{os.getpid()}-{number}"
        keys.ensure([student])
        say("made", student, keys.sealer(student).seal(student.encode(), table="signals", key=student).hex())


def main() -> None:
    keys = KeyStore(Path(sys.argv[1]), sys.argv[2], SystemClock())
    threading.Thread(target=serve, args=(keys,), daemon=True).start()
    while True:
        if not keys.rewrapping:
            keys.destroy_retired()
            say("rotated", keys.rotate())
        while keys.rewrap(int(sys.argv[3])):
            say("rewrapped")
        say("over")


if __name__ == "__main__":
    main()
