"""What a dataset of an exchange is to the runs: which records a period holds, and what of each a partner may have now."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from xinqiao.api.exchange.v1.exchange_pb2 import PackageItem
from xinqiao.contract.clock import local_date
from xinqiao.contract.fields import Kept
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.policy import Decision
from xinqiao.disclosure.registry import Partner
from xinqiao.exchange.periods import Span
from xinqiao.store.sealing import Sealer
from xinqiao.store.tx import ReadTx


class Selected(NamedTuple):
    """One frozen member of a run: the record's name and its student, empty where it is about none."""

    item: str
    student: str

    @property
    def key(self) -> str:
        """The name without its collection."""
        return self.item.partition("/")[2]


class Member(NamedTuple):
    """A frozen member as its run keeps it: an `exchange_items` row."""

    chosen: Selected
    ordinal: int
    outcome: int
    reason: str
    digest: bytes


class Verdict(NamedTuple):
    """What the door says of one item now: ``data`` is the serialized ``item`` when ``outcome`` is SENT, without what
    was ``kept`` back of it, for the reasons in ``denials``."""

    outcome: int
    reason: str = ""
    data: bytes = b""
    classes: int = 0
    sealer: Sealer | None = None
    item: PackageItem | None = None
    kept: Sequence[Kept] = ()
    denials: Mapping[int, Decision] = MappingProxyType({})

    @property
    def digest(self) -> bytes:
        """SHA-256 of what goes; empty for nothing."""
        return hashlib.sha256(self.data).digest() if self.data else b""


class Source(NamedTuple):
    """Where a record came from: its school, the agency that must mend it where that is not the school, and when it
    last changed, microseconds since 1970 UTC."""

    school: str
    agency: str
    changed_us: int


Position = tuple[int, str]
"""Where a page of a selection begins: after the record made at this time, with this key."""

Judging = Callable[[Selected, int], Verdict]
"""(member, its place in the package) -> what of it may go."""


class View(Protocol):
    """One dataset; ``prefix`` is the collection in its records' names."""

    @property
    def prefix(self) -> str: ...

    @property
    def asks_consent(self) -> bool:
        """Whether its records hang on consents, whatever the policy asks of reconciliation."""
        ...

    def page(
        self, tx: ReadTx, door: Door, parties: Sequence[str], period: Span, after: Position | None, limit: int
    ) -> tuple[list[Selected], Position | None]:
        """The next records between the two parties of a period, oldest first, and where the page after begins; None at
        the end. A page may hold fewer than ``limit``, or none, before the end."""
        ...

    def belongs(self, tx: ReadTx, door: Door, key: str, period: Span) -> bool:
        """Whether a record that was in one period is in this one too."""
        ...

    def judging(
        self, tx: ReadTx, door: Door, recipient: Partner, page: Sequence[Selected], period: Span
    ) -> Judging:  # fmt: skip
        """Asks the door of the items of one page. The same record, policy and consents give the same bytes."""
        ...

    def source(self, tx: ReadTx, door: Door, key: str) -> Source | None:
        """Where a record came from; None where it is gone."""
        ...


def in_books(day: str, recorded_us: int, changed_us: int, period: Span) -> bool:
    """Whether what was done on ``day`` (ISO 8601) stands in the period's books: it was done in it; or before it, and it
    was recorded or changed in it, so that what is late is not lost."""
    late = any(period.from_us <= at < period.to_us for at in (recorded_us, changed_us))
    return within(day, period) or (late and day < local_date(period.from_us).isoformat())


def within(day: str, period: Span) -> bool:
    """Whether ``day`` (ISO 8601) is one of the period's."""
    return local_date(period.from_us).isoformat() <= day < local_date(period.to_us).isoformat()
