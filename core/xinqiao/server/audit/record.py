"""The journal row of a pack, written before the pack: no row, no bytes, where this process may write."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from xinqiao.api.common.v1.options_pb2 import PURPOSE_OPERATION
from xinqiao.config.settings import Gateway
from xinqiao.contract.clock import Clock
from xinqiao.journal.append import append
from xinqiao.journal.checkpoint import Checkpointer
from xinqiao.journal.cosigning import load_cosigners
from xinqiao.journal.heads import check_clock
from xinqiao.journal.signing import load_signing_key
from xinqiao.store.engine import open_store
from xinqiao.store.errors import StoreBusy
from xinqiao.store.providers import provider_of
from xinqiao.store.sealing import SUITE_IDS

NODE: Final = "audit"
"""The chain on PostgreSQL, where a gateway goes on writing its own beside this one."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """``row`` is WRITER/SEQ, or empty with ``why`` not in a word."""

    row: str
    why: str = ""


def record(settings: Gateway, clock: Clock, *, year: int, by: str) -> Recorded:
    """Append and sign "who made the pack of which year"; the time is the row's.

    ``GATEWAY_RUNNING`` on SQLite beside a running gateway, which alone may write there. ``by`` is the operator as the
    command was told: whoever can run it holds the node's own files. Raises Refusals of the store, and KeyFileError.
    """
    key = load_signing_key(Path(settings.journal.signing_key))
    sqlite = settings.store.url.startswith("sqlite")
    try:
        store = open_store(
            settings.store.url, settings.store.keys_url, settings.store.keyring, clock, writers=1,
            node=settings.node if sqlite else NODE, suite=SUITE_IDS[settings.store.suite],
            provider=provider_of(settings.store),
        )  # fmt: skip
    except StoreBusy:
        return Recorded("", "GATEWAY_RUNNING")
    with closing(store):
        with store.read() as reading:
            check_clock(reading, clock.now_us())
        entry = store.run(
            lambda tx: append(
                tx, kind="audit.packed", decision="permit", actor=by, purpose=PURPOSE_OPERATION,
                resource=f"auditPacks/{year}", reason=f"year:{year}",
            )
        )  # fmt: skip
        Checkpointer(
            store, key, settings.deployment, cosigners=load_cosigners(settings.journal.cosigners),
            memory=settings.journal.signing_key.with_suffix(".heads" if sqlite else ".audit-heads"),
        ).run_once()  # fmt: skip
    return Recorded(f"{entry.writer}/{entry.seq}")
