"""When a deadline passes, something visible happens: the item moves to the next holder and the journal says so."""

from collections.abc import Callable, Sequence

from xinqiao.api.common.v1.options_pb2 import PURPOSE_OPERATION, ROLE_OPERATOR
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.registry import Registry
from xinqiao.journal.append import append
from xinqiao.store import tables
from xinqiao.store.engine import Store
from xinqiao.store.holdings import overdue
from xinqiao.store.sql import RowMapping
from xinqiao.store.tx import Tx

_BATCH = 100
_MINUTE_US = 60_000_000


class Ladder:
    """Moves overdue items up the district's ladder, one person after another; the operator at its end keeps them,
    and from there on every list shows whom to telephone."""

    def __init__(
        self,
        store: Store,
        door: Door,
        registry: Registry,
        deadline: Callable[[int, str, int], int],
        operator: str,
        roles: Sequence[int],
        unconfirmed: Callable[[Tx, str], bool],
    ) -> None:
        """``roles`` is who is asked next, in order; of a role, everybody who serves the item's school, the one on duty
        first. ``unconfirmed`` is what happens to an emergency that no hospital has confirmed; whether anything did."""
        self._unconfirmed = unconfirmed
        self._store = store
        self._door = door
        self._registry = registry
        self._deadline = deadline
        self._operator = operator
        self.roles = tuple(roles)

    def climb(self) -> int:
        """Move every item whose deadline has passed; how many. Each passing deadline fires once."""
        moved = 0
        while self._any():
            batch = self._store.run(self._climb, crisis=True)
            moved += batch
            if not batch:  # another node was faster
                break
        return moved

    def _any(self) -> bool:
        """A look that takes no write transaction, for an idle gateway must not write."""
        with self._store.read() as reading:
            return bool(overdue(reading, 1))

    def _climb(self, tx: Tx) -> int:
        rows = overdue(tx, _BATCH)
        for row in rows:
            if row["step"] == "receive" and self._went_on(tx, str(row["item"])):
                continue
            holder = self._next(tx, row)
            tx.update(
                tables.holdings, (row["item"],), holder=holder, escalations=int(row["escalations"]) + 1,
                deadline_us=tx.now_us + max(30 * _MINUTE_US, self._span(row, tx.now_us)),
            )  # fmt: skip
            append(
                tx, kind="escalated", decision="permit", actor="gateway", partner=holder, purpose=PURPOSE_OPERATION,
                student=row["student"], resource=str(row["item"]), reason=f"{row['step']}:overdue:{row['holder']}",
                policy_version=self._door.policy.version,
            )  # fmt: skip
        return len(rows)

    def _went_on(self, tx: Tx, item: str) -> bool:
        try:
            with tx.savepoint():
                return self._unconfirmed(tx, item)
        except Refusal:  # one unreadable or unmovable record must not stop the ladder of everybody
            return False

    def _next(self, tx: Tx, row: RowMapping) -> str:
        """Who is on duty now, then everybody else in order who has not had it yet, at last the operator.

        Who has had it is asked of the journal, for who is on duty changes from day to day and nobody may be skipped.
        """
        if row["holder"] == self._operator:
            return self._operator
        school = str(row["school"])
        serving = [self._registry.with_role(role, school) for role in self.roles if school and role != ROLE_OPERATOR]
        on_duty = [self._registry.holder(school)] if school else []
        rungs = dict.fromkeys([*on_duty, *(each.id for found in serving for each in found)])
        had = {str(row["holder"])}
        if row["escalations"]:
            j = tables.journal.c
            told = tables.journal.select().where((j.resource == row["item"]) & (j.kind == "escalated"))
            newest = told.order_by(j.at_us.desc(), j.seq.desc()).limit(int(row["escalations"]))
            for each in tx.all(newest):  # from whom it went to whom
                had |= {str(each["partner"]), str(each["reason"]).rpartition(":")[2]}
        return next((rung for rung in rungs if rung not in had and rung != self._operator), self._operator)

    def _span(self, row: RowMapping, now_us: int) -> int:
        try:
            return self._deadline(int(row["tier"]), str(row["step"]), now_us) - now_us
        except KeyError:  # steps with a clock of their own: a duty to notify, a receipt, a dead letter
            return 24 * 60 * _MINUTE_US
