"""Asking for a consent: not again and again after a no (network data regulation art. 22(6))."""

from datetime import timedelta

from xinqiao.api.casefile.v1.casefile_pb2 import (
    CONSENT_STATE_GIVEN,
    CONSENT_STATE_REFUSED,
    CONSENT_STATE_WITHDRAWN,
)
from xinqiao.contract.clock import local_date
from xinqiao.contract.errors import Refusal
from xinqiao.store import tables
from xinqiao.store.tx import ReadTx


def check_asked_again(
    tx: ReadTx, *, student: str, recipient: str, purpose: int, wait: timedelta, at_family_request: bool
) -> None:
    """Raises Refusal FAILED_PRECONDITION/ASKED_TOO_SOON while ``wait`` (whole days) runs since the last no.

    A no is a refusal that stands, or a withdrawal after which nothing was given again. ``ask_again_from`` in the
    refusal's metadata is the first day on which one may ask again. A family that comes by itself is not asked.
    """
    if at_family_request:
        return
    c = tables.consents.c
    rows = tx.all(
        tables.consents.select()
        .with_only_columns(c.state, c.created_us, c.updated_us)
        .where((c.student == student) & (c.recipient == recipient) & (c.purpose == purpose))
    )
    given_us = max((int(row["created_us"]) for row in rows if row["state"] == CONSENT_STATE_GIVEN), default=-1)
    said_no = [
        int(row["updated_us"])
        for row in rows
        if row["state"] == CONSENT_STATE_REFUSED
        or (row["state"] == CONSENT_STATE_WITHDRAWN and row["updated_us"] > given_us)
    ]
    if not said_no:
        return
    first = local_date(max(said_no)) + wait
    if local_date(tx.now_us) < first:
        raise Refusal(
            "FAILED_PRECONDITION", "ASKED_TOO_SOON",
            f"the family has said no: it may be asked again from {first.isoformat()} on, unless it comes by itself",
            metadata={"ask_again_from": first.isoformat()},
        )  # fmt: skip
