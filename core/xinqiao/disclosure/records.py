"""Finding records for a caller: rows of the caller's own schools, page by page, absent and foreign ones alike."""

from collections.abc import Sequence
from typing import Protocol

from xinqiao.api.referral.v1.referral_pb2 import Referral
from xinqiao.contract.errors import Refusal
from xinqiao.contract.paging import page_size, position, token
from xinqiao.disclosure.call import Call
from xinqiao.store import tables
from xinqiao.store.drills import no_past_drill
from xinqiao.store.sql import ColumnElement, RowMapping, Table

_PRACTISED = (tables.signals, tables.triages, tables.referrals)


class Paged(Protocol):
    """A request for a page."""

    @property
    def page_size(self) -> int: ...
    @property
    def page_token(self) -> str: ...


def own_row(call: Call, table: Table, identifier: str, kind: str, etag: str) -> RowMapping:
    """A row of the caller's schools. Raises Refusal NOT_FOUND, alike for absent and foreign, or ABORTED/VERSION."""
    row = call.reading.get(table, identifier)
    if row is None or str(row["school"]) not in call.caller.schools:
        raise Refusal("NOT_FOUND", kind, f"no such {kind.lower()} for this caller")
    check_version(row, etag)
    return row


def check_version(row: RowMapping, etag: str) -> None:
    """Raises Refusal ABORTED/VERSION when the caller has seen another version than the one that stands."""
    if etag and etag != str(row["version"]):
        raise Refusal("ABORTED", "VERSION", "the record has changed since; read it again")


def hide_chain(referral: Referral) -> None:
    """Whom else the sender asks is the sender's: a shared id would let two hospitals join what each knows."""
    del referral.recipients[:]
    referral.redirected_to = referral.redirected_from = ""


def newest(call: Call, table: Table, request: Paged, wanted: ColumnElement[bool]) -> tuple[Sequence[RowMapping], str]:
    """A page of the rows that match ``wanted``, newest first, and the token of the next."""
    c = table.c
    if table in _PRACTISED:
        wanted = wanted & no_past_drill(c.student)
    size = page_size(request.page_size)
    after = position(request.page_token)
    statement = table.select().where(wanted)
    if after is not None:
        statement = statement.where((c.created_us < after[0]) | ((c.created_us == after[0]) & (c.id < after[1])))
    rows = call.reading.all(statement.order_by(c.created_us.desc(), c.id.desc()).limit(size + 1))
    if len(rows) <= size:
        return rows, ""
    return rows[:size], token(int(rows[size - 1]["created_us"]), str(rows[size - 1]["id"]))
