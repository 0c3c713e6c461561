"""Shares as the door reads them: a share is a ground under which an agency that is not the student's school may read."""

from collections.abc import Sequence

from xinqiao.api.casefile.v1.sharing_pb2 import SHARE_STATE_ACTIVE
from xinqiao.disclosure.registry import Partner
from xinqiao.store import tables
from xinqiao.store.sql import RowMapping, bindparam
from xinqiao.store.tx import ReadTx

PREFIX = "shares/"
"""Of the ground that a share is, in a call and in the journal."""

NO_SHARE = PREFIX
"""A ground that opens nothing."""

_S = tables.shares.c
_ACTIVE = (
    tables.shares.select()
    .where(
        (_S.student == bindparam("student")) & (_S.recipient == bindparam("recipient"))
        & (_S.state == int(SHARE_STATE_ACTIVE)) & (_S.not_after_us > bindparam("now"))
    )
    .order_by(_S.created_us.desc(), _S.id.desc())
)  # fmt: skip


def is_share(ground: str) -> bool:
    """Whether the ground of a disclosure is a share; else it is a legal basis, or empty."""
    return ground.startswith(PREFIX)


def active(tx: ReadTx, student: str, agency: str) -> Sequence[RowMapping]:
    """The shares of a student that are in force for an agency now, the newest first."""
    return tx.find(_ACTIVE, student=student, recipient=agency, now=tx.now_us)


def scope(tx: ReadTx, ground: str, *, recipient: Partner, purpose: int, student: str | None) -> int:
    """The mask of classes a share opens to this recipient for this purpose and student now; 0 where it opens nothing.

    Whatever a room passes: an ended share, or one of another recipient, student or purpose, opens nothing.
    """
    row = tx.get(tables.shares, ground.removeprefix(PREFIX))
    if (
        row is None or row["state"] != SHARE_STATE_ACTIVE or tx.now_us >= row["not_after_us"]
        or row["recipient"] != recipient.agency or row["purpose"] != purpose or row["student"] != student
    ):  # fmt: skip
        return 0
    return int(row["classes"])


def ground_of_task(tx: ReadTx, item: str) -> str:
    """The share under which the holder of `tasks/{id}` may know of it; empty where the school holds it."""
    row = tx.get(tables.tasks, item.removeprefix("tasks/"))
    return str(row["share"]) if row is not None else ""
