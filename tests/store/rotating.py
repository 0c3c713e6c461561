"""Rotates keys for ever, until it is killed: ``python rotating.py <keyring> <keys url>``; a line at each step."""

import sys
from pathlib import Path

from xinqiao.contract.clock import SystemClock
from xinqiao.store.keys import KeyStore


def main() -> None:
    keys = KeyStore(Path(sys.argv[1]), sys.argv[2], SystemClock())
    while True:
        if not keys.rewrapping:
            keys.destroy_retired()
            print("rotated", keys.rotate(), flush=True)
        while keys.rewrap(7):
            print("rewrapped", flush=True)


if __name__ == "__main__":
    main()
