"""When a deadline passes, something visible happens: the item moves to the next holder and the journal says so."""

from collections.abc import Callable

from xinqiao.api.common.v1.options_pb2 import PURPOSE_OPERATION
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
    """Moves overdue items up: holder, then whoever else serves the school, then the operator, who keeps them."""

    def __init__(
        self, store: Store, door: Door, registry: Registry, deadline: Callable[[int, str, int], int], operator: str
    ) -> None:
        self._store = store
        self._door = door
        self._registry = registry
        self._deadline = deadline
        self._operator = operator

    def climb(self) -> int:
        """Move every item whose deadline has passed; how many. Each passing deadline fires once."""
        with self._store.read() as reading:
            if not overdue(reading, 1):
                return 0
        return self._store.run(self._climb, crisis=True)

    def _climb(self, tx: Tx) -> int:
        rows = overdue(tx, _BATCH)
        for row in rows:
            holder = self._next(row)
            tx.update(
                tables.holdings, (row["item"],), holder=holder, escalations=int(row["escalations"]) + 1,
                deadline_us=tx.now_us + max(30 * _MINUTE_US, self._span(row, tx.now_us)),
            )  # fmt: skip
            append(
                tx, kind="escalated", decision="permit", actor="gateway", partner=holder, purpose=PURPOSE_OPERATION,
                student=row["student"], resource=str(row["item"]), reason=f"{row['step']}:overdue",
                policy_version=self._door.policy.version,
            )  # fmt: skip
        return len(rows)

    def _next(self, row: RowMapping) -> str:
        serving = [p.id for p in self._registry.all() if row["school"] and row["school"] in p.schools]
        ladder = [name for name in serving if name != row["holder"]] if row["escalations"] == 0 else []
        return ladder[0] if ladder else self._operator

    def _span(self, row: RowMapping, now_us: int) -> int:
        try:
            return self._deadline(int(row["tier"]), str(row["step"]), now_us) - now_us
        except KeyError:  # steps with a clock of their own: a duty to notify, a receipt, a dead letter
            return 24 * 60 * _MINUTE_US
