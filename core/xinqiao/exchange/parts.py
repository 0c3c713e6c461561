"""The parts of a long run: packages of their own, each sent and counter-signed by itself.

A part is what a crash may have done twice, and what has to fit into memory: a run of a million items is no longer than
one of ten thousand. Short runs have none.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from xinqiao.api.exchange.v1.exchange_pb2 import Manifest
from xinqiao.store import tables
from xinqiao.store.sql import RowMapping, select
from xinqiao.store.tx import ReadTx, Tx

PART: Final = 10_000
"""Selected items in one part."""

_ALL: Final = 2**31 - 1
_P = tables.exchange_parts.c


class Part(NamedTuple):
    """The items of a run from ordinal ``start`` to before ``end``; ``first`` is the place of the first that goes.

    ``number`` counts from 1 and is 0 for a run that goes as a whole. ``manifest`` and ``receipt`` are empty until there
    is one.
    """

    run: str
    number: int = 0
    start: int = 0
    end: int = _ALL
    first: int = 0
    manifest: bytes = b""
    receipt: bytes = b""

    @property
    def request(self) -> str:
        """The request id under which it is sent, however often."""
        return f"exchange-{self.run}" + (f"-p{self.number}" if self.number else "")


def plan(tx: Tx, run: str, selected: int) -> None:
    """Divide a run whose list is frozen, if it is long."""
    if selected > PART:
        tx.insert_many(
            tables.exchange_parts,
            [
                (run, number, start, min(start + PART, selected), 0, None, None)
                for number, start in enumerate(range(0, selected, PART), 1)
            ],
        )


def parts_of(tx: ReadTx, row: RowMapping) -> list[Part]:
    """What a run goes as, in order; the one package of a short run is a part too."""
    run = str(row["id"])
    found = tx.all(select(tables.exchange_parts).where(_P.run == run).order_by(_P.part))
    if not found:
        return [Part(run, manifest=bytes(row["manifest"] or b""))]
    return [
        Part(
            run, int(each["part"]), int(each["start"]), int(each["until"]), int(each["first"]),
            bytes(each["manifest"] or b""), bytes(each["receipt"] or b""),
        )
        for each in found
    ]  # fmt: skip


def after(part: Part) -> int:
    """The place of the first item of the part that follows."""
    return part.first + Manifest.FromString(part.manifest).items


def sealed(tx: Tx, part: Part) -> None:
    """Keep where a part begins, and its manifest."""
    tx.update(tables.exchange_parts, (part.run, part.number), first=part.first, manifest=part.manifest)


def taken(tx: Tx, part: Part, receipt: bytes) -> None:
    """Keep the receipt for a part: it is done."""
    tx.update(tables.exchange_parts, (part.run, part.number), receipt=receipt)


class Places:
    """Where an item stands by its place in the run: the part, and its number in the part's package."""

    def __init__(self, tx: ReadTx, run: str) -> None:
        wanted = select(_P.part, _P.first).where(_P.run == run, _P.manifest.is_not(None)).order_by(_P.part)
        self._firsts: Sequence[int] = [int(row["first"]) for row in tx.all(wanted)]

    def __call__(self, place: int) -> tuple[int, int]:
        """(part, ordinal)."""
        if not self._firsts:
            return 0, place
        number = bisect_right(self._firsts, place)
        return number, place - self._firsts[number - 1]
