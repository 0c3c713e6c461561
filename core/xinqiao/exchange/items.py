"""The items of a run, whatever their datasets: one after the other, each by its view."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.registry import Partner
from xinqiao.exchange.entry_items import EntryView
from xinqiao.exchange.periods import Span
from xinqiao.exchange.referral_items import ReferralView
from xinqiao.exchange.runs import Definition
from xinqiao.exchange.service_items import ServiceView
from xinqiao.exchange.view import Judging, Member, Position, Selected, Source, Verdict, View
from xinqiao.store import tables
from xinqiao.store.engine import Store
from xinqiao.store.sql import RowMapping, bindparam, select
from xinqiao.store.tx import ReadTx

PAGE: Final = 400
"""Items in one transaction: a crisis write that waits behind it waits for some 20 milliseconds."""

_I: Final = tables.exchange_items.c
_MEMBERS: Final = (
    select(_I.ordinal, _I.item, _I.student, _I.outcome, _I.reason, _I.digest)
    .where(_I.run == bindparam("run"), _I.outcome.in_([bindparam("one"), bindparam("other")]))
    .where(_I.ordinal > bindparam("after"), _I.ordinal < bindparam("end"))
    .order_by(_I.ordinal)
    .limit(PAGE)
)

REFERRALS: Final = ReferralView()
ENTRIES: Final = EntryView()
SERVICES: Final = ServiceView()

DATASETS: Final[Mapping[str, View]] = MappingProxyType(
    {"referrals": REFERRALS, "outcomes": REFERRALS, "plan-entries": ENTRIES, "service-log": SERVICES}
)
"""By the name under which a dataset is configured. What of a referral is its outcome, the door says."""

_VIEWS: Final[Mapping[str, View]] = MappingProxyType({view.prefix: view for view in DATASETS.values()})


def views_of(definition: Definition, to: str = "") -> list[View]:
    """The views of an exchange's datasets, once each, in their order; only of those that ``to`` receives, if named."""
    wanted = (dataset for dataset in definition.datasets if to in ("", dataset.to))
    return list(dict.fromkeys(DATASETS[dataset.contract] for dataset in wanted))


def select_page(
    tx: ReadTx, door: Door, views: Sequence[View], parties: Sequence[str], period: Span, after: Position | None,
    limit: int,
) -> tuple[list[Selected], Position | None]:  # fmt: skip
    """The next of the records between the two parties of a period, dataset by dataset, and where the page after it
    begins; None at the end. Raises Refusal INVALID_ARGUMENT/PAGE_TOKEN for a place in none of them."""
    if not views:
        return [], None
    prefix, _, key = after[1].partition("/") if after is not None else (views[0].prefix, "", "")
    at = next((place for place, view in enumerate(views) if view.prefix == prefix), None)
    if at is None:
        raise Refusal("INVALID_ARGUMENT", "PAGE_TOKEN", "use next_page_token of the page before, unchanged")
    begin = (after[0], key) if after is not None and key else None
    page, following = views[at].page(tx, door, parties, period, begin, limit)
    if following is not None:
        return page, (following[0], f"{prefix}/{following[1]}")
    return page, (0, f"{views[at + 1].prefix}/") if at + 1 < len(views) else None


def select_items(
    store: Store, door: Door, views: Sequence[View], parties: Sequence[str], period: Span
) -> Iterator[list[Selected]]:
    """All pages of the selection, each in a snapshot of its own."""
    after: Position | None = None
    while True:
        with store.read() as tx:
            page, after = select_page(tx, door, views, parties, period, after, PAGE)
        yield page
        if after is None:
            return


def belongs(tx: ReadTx, door: Door, item: str, period: Span) -> bool:
    """Whether a record that was in one period is in this one too."""
    prefix, _, key = item.partition("/")
    return _VIEWS[prefix].belongs(tx, door, key, period)


def source_of(tx: ReadTx, door: Door, item: str) -> Source | None:
    """Where a record came from; None where it is gone."""
    prefix, _, key = item.partition("/")
    return _VIEWS[prefix].source(tx, door, key)


class Judge:
    """Asks the door of the items of one page, each by its view."""

    def __init__(self, tx: ReadTx, door: Door, recipient: Partner, page: Iterable[Selected], period: Span) -> None:
        by: dict[str, list[Selected]] = {}
        for chosen in page:
            by.setdefault(_prefix(chosen), []).append(chosen)
        self._by: dict[str, Judging] = {
            prefix: _VIEWS[prefix].judging(tx, door, recipient, found, period) for prefix, found in by.items()
        }

    def __call__(self, chosen: Selected, ordinal: int) -> Verdict:
        """What of this item the recipient may have now; ``ordinal`` is its place in the package."""
        return self._by[_prefix(chosen)](chosen, ordinal)


def judge(tx: ReadTx, door: Door, recipient: Partner, chosen: Selected, period: Span, ordinal: int) -> Verdict:
    """As :class:`Judge`, of one item."""
    return Judge(tx, door, recipient, [chosen], period)(chosen, ordinal)


def members(tx: ReadTx, run: str, *, after: int, end: int, outcomes: tuple[int, int]) -> list[Member]:
    """The next page of a run's items before ordinal ``end`` with one of these outcomes, in frozen order."""
    found = tx.pick(_MEMBERS, run=run, after=after, end=end, one=outcomes[0], other=outcomes[1])
    return [
        Member(Selected(item, student or ""), ordinal, outcome, reason, digest)
        for ordinal, item, student, outcome, reason, digest in found
    ]


def member(row: RowMapping) -> Selected:
    """The member that an item's row stands for."""
    return Selected(str(row["item"]), str(row["student"] or ""))


def _prefix(chosen: Selected) -> str:
    return chosen.item.partition("/")[0]
