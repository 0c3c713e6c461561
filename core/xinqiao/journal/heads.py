"""The last row of each writer, by hops along the primary key: what a GROUP BY would read every row for."""

from collections.abc import Iterator
from typing import Final

from xinqiao.contract.errors import Refusal
from xinqiao.store import tables
from xinqiao.store.sql import ColumnElement, func, select
from xinqiao.store.tx import ReadTx

SKEW_US: Final = 300_000_000
"""How far a clock may be behind the newest row: five minutes, as the signature of a webhook may be (guarantee C8)."""


def last_rows(tx: ReadTx) -> Iterator[tuple[str, int]]:
    """Each writer and the number of its last row."""
    column = tables.journal.c
    for writer in writers(tx, column.writer):
        yield writer, int(tx.scalar(select(func.max(column.seq)).where(column.writer == writer)))


def writers(tx: ReadTx, column: ColumnElement[str]) -> Iterator[str]:
    """The distinct values of ``column``, the first of a primary key."""
    writer = tx.scalar(select(func.min(column)))
    while writer is not None:
        yield str(writer)
        writer = tx.scalar(select(func.min(column)).where(column > writer))


def newest_us(tx: ReadTx) -> int | None:
    """When the newest row was written; None where there is none. A writer's last row is its newest."""
    column = tables.journal.c
    times = (
        int(tx.scalar(select(column.at_us).where(column.writer == writer, column.seq == seq)))
        for writer, seq in last_rows(tx)
    )
    return max(times, default=None)


def check_clock(tx: ReadTx, now_us: int) -> None:
    """Refuse to go on with a clock that would date new rows before old ones: duties and consents end by it.

    Raises Refusal FAILED_PRECONDITION/CLOCK.
    """
    newest = newest_us(tx)
    if newest is not None and now_us < newest - SKEW_US:
        behind_min = (newest - now_us) // 60_000_000
        raise Refusal(
            "FAILED_PRECONDITION", "CLOCK",
            f"this machine's clock is {behind_min} minutes behind the newest journal row: set it right (timedatectl,"
            " NTP), then start again",
        )  # fmt: skip
