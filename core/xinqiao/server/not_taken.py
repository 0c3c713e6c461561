"""What agencies sent and nobody took: counted, on record, and in somebody's hands until it comes clean."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from xinqiao.api.adapter.v1.adapter_service_pb2 import Origin, ReadResponse, Rejected
from xinqiao.api.common.v1.types_pb2 import TIER_RED
from xinqiao.config.clocks import Deadline
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.registry import Partner, Registry
from xinqiao.journal.append import append
from xinqiao.store import refusals
from xinqiao.store.holdings import INTAKE, drop, hold
from xinqiao.store.refusals import label
from xinqiao.store.tx import Tx

_DAY_US = 86_400_000_000
_NAMED = frozenset({"forms", "referral", "rejected", "recall_receipt"})  # bodies that name their source
_CALLED = {"student": "roster", "students": "roster"}
_PART = re.compile(r"#[0-9]+$")


class Refused(NamedTuple):
    """Something that was not taken, what it is one of, and whether somebody said with it that a child is in danger."""

    item: Rejected
    series: str
    red: bool


@dataclass(slots=True)
class Tally:
    """What one look at a partner brought; counts of items, never their content."""

    students: int = 0
    forms: int = 0
    critical: int = 0
    unknown: int = 0
    updates: int = 0
    refused: list[Refused] = field(default_factory=list[Refused])
    recorded: int = 0
    told: list[Rejected] = field(default_factory=list[Rejected])
    """What somebody holds already, and the source should hear of."""

    @property
    def rejected(self) -> list[Rejected]:
        """What was not taken: where, why and how to mend it."""
        return [each.item for each in self.refused]

    def reject(self, item: Rejected, origin: Origin, *, red: bool = False) -> None:
        """Note one thing that was not taken."""
        self.refused.append(Refused(item, origin.series or label(item.source), red))

    def refuse(self, refusal: Refusal, origin: Origin, at: int = 0, *, red: bool = False) -> None:
        """Note the refusal of what stands at the place number ``at`` of ``origin``."""
        place = origin.places[at] if at < len(origin.places) else ""
        item = Rejected(source=origin.source, place=place, reason=refusal.reason, message=refusal.message)
        self.reject(item, origin, red=red)


def keep_refused(tx: Tx, refused: Sequence[Refused], partner: Partner, registry: Registry, deadline: Deadline) -> None:
    """A form that is not taken may be a red one nobody has seen: the school holds it until that sheet comes clean."""
    agency, school = partner.agency, min(partner.schools, default="")
    for reason, count in Counter(each.item.reason for each in refused).items():
        append(
            tx, kind="intake.rejected", decision="deny", actor="gateway", partner=agency,
            resource=f"intake/{agency}", reason=f"{reason}:{count}",
        )  # fmt: skip
    for series in dict.fromkeys(each.series for each in refused):
        item, own = _item(agency, series), [each for each in refused if each.series == series]
        red = any(each.red for each in own)
        hold(
            tx, item, kind="intake", school=school, step="mend",
            holder=registry.holder(school), tier=TIER_RED if red else 0,
            deadline_us=deadline(TIER_RED, "acknowledge", tx.now_us) if red else tx.now_us + _DAY_US,
        )  # fmt: skip
        refusals.keep(tx, item, [(_mark(said.source), said.place, said.reason) for said, _, _ in own])


def close_if_clean(tx: Tx, agency: str, origin: Origin) -> None:
    """A source has ended: if all of it was taken, what an earlier one of its series left is mended."""
    item = _item(agency, origin.series or label(origin.source))
    if refusals.ended(tx, item, _mark(origin.source)):
        drop(tx, item)


def origin_of(item: ReadResponse) -> Origin:
    """Where an item stands; what an adapter that does not say so has told with the item itself."""
    kind = item.WhichOneof("body") or ""
    if item.origin.source or not kind:
        return item.origin
    source = str(getattr(item, kind).source) if kind in _NAMED else _CALLED.get(kind, kind)
    return Origin(source=source, last=kind == "forms")


def _mark(source: str) -> str:
    """The source without the number of a part of it."""
    return _PART.sub("", source)


def _item(agency: str, series: str) -> str:
    return f"{INTAKE}{agency}/{hashlib.sha256(series.encode()).hexdigest()[:16]}"
