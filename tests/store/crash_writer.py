"""Run by test_crash.py: insert for ever, and print each id only once it was acknowledged."""

import os
import sys
import threading
from pathlib import Path

from xinqiao.contract.clock import SystemClock
from xinqiao.store import tables as t
from xinqiao.store.engine import Store, open_store
from xinqiao.store.tx import Tx


def _insert(store: Store, prefix: str) -> None:
    for number in range(1_000_000):
        name = f"{prefix}-{number}"

        def command(tx: Tx, name: str = name) -> None:
            tx.insert(t.meta, name, "half")
            tx.update(t.meta, (name,), value="whole")

        store.run(command)
        os.write(1, f"{name}\n".encode())


def main(url: str, keys_url: str, keyring: str, run: str) -> None:
    store = open_store(url, keys_url, Path(keyring), SystemClock())
    os.write(1, b"ready\n")
    for caller in range(8):
        threading.Thread(target=_insert, args=(store, f"{run}-{caller}"), daemon=True).start()
    threading.Event().wait()


main(*sys.argv[1:])
