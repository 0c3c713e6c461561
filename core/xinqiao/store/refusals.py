"""Where stands what an agency sent and nobody took: listed while its holding is open, so that it can be mended."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Final

from xinqiao.store import tables
from xinqiao.store.sql import RowMapping, delete, func, select
from xinqiao.store.tx import ReadTx, Tx

MOST: Final = 1000
"""Places kept of one holding; the journal counts all."""

_SHOWN: Final = 20

_R = tables.refusals.c
_LONGEST: Final = 200
# A place names rows, columns and paths. A run of digits as long as a telephone or identity number is none of them.
# The stand-in for a file's name is a digest.
_NUMBER = re.compile(r"(file-[0-9a-f]{12})|[0-9]{9,}[Xx]?")
_CONTROL = re.compile(r"[^\x20-\x7e\xa1-\ufffd]|[\u200b-\u200f\u2028-\u202e\u2060-\u2069]")


def keep(tx: Tx, item: str, refused: Iterable[tuple[str, str, str]]) -> None:
    """List refusals of the holding ``item``, each as source, place and reason; a bounded number, whatever came."""
    counted = Counter((item, _kept(source), shown(place), shown(reason)) for source, place, reason in refused)
    room = MOST - (tx.scalar(select(func.count()).where(_R.item == item)) or 0)
    for key, count in islice(counted.items(), MOST):
        row = tx.get(tables.refusals, *key)
        if row is not None:
            tx.update(tables.refusals, key, count=row["count"] + count)
        elif room > 0:
            tx.insert(tables.refusals, *key, count, tx.now_us)
            room -= 1


def ended(tx: Tx, item: str, source: str) -> bool:
    """``source`` has ended: whether all of it was taken. Else what earlier sources left is replaced by what it left."""
    here = tx.scalar(select(func.count()).where(_R.item == item, _R.source == _kept(source))) or 0
    if here:
        tx.execute(delete(tables.refusals).where(_R.item == item, _R.source != _kept(source)))
    return not here


def forget(tx: Tx, item: str) -> None:
    """The holding is closed."""
    tx.execute(delete(tables.refusals).where(_R.item == item))


def of(tx: ReadTx, item: str) -> tuple[int, list[str]]:
    """How much was refused of a holding, and the first of it: `visits.csv, row 12, column met: DATA/CODE`."""
    rows = tx.all(select(tables.refusals).where(_R.item == item).order_by(_R.at_us, _R.source, _R.place, _R.reason))
    return sum(row["count"] for row in rows), [_line(row) for row in rows[:_SHOWN]]


def _line(row: RowMapping) -> str:
    where = ", ".join(filter(None, (label(row["source"]), row["place"])))
    times = f" ({row['count']})" if row["count"] > 1 else ""
    return f"{where}: {row['reason']}{times}"


def _kept(source: str) -> str:
    """The name of a source as it may be kept, and a digest of all of it."""
    return f"{shown(label(source))}@{hashlib.sha256(source.encode()).hexdigest()[:12]}"


def label(source: str) -> str:
    """The name of a source, without the digest and batch that follow it."""
    return source.partition("@")[0]


def shown(text: str) -> str:
    """``text`` of an adapter as it may be kept: short, printable, without what could be a person's number."""
    return _NUMBER.sub(lambda found: found[1] or "?", _CONTROL.sub("?", text))[:_LONGEST]
