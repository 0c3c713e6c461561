"""What a partner's receipt says of each item: what it refused goes back to its source, what differs to the operator."""

import hashlib
from collections.abc import Mapping
from typing import Final, NamedTuple

from xinqiao.api.adapter.v1.adapter_service_pb2 import Rejected
from xinqiao.api.exchange.v1 import exchange_pb2 as pb
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.door import Door
from xinqiao.exchange import runs
from xinqiao.exchange.items import SERVICES, source_of
from xinqiao.exchange.package import check_receipt, partner_reason, read_receipt
from xinqiao.exchange.parts import Part
from xinqiao.journal import witness
from xinqiao.store import tables
from xinqiao.store.holdings import hold
from xinqiao.store.sql import RowMapping, delete, select
from xinqiao.store.tx import ReadTx, Tx

KIND: Final = "exchange_item"
"""The kind of a holding about one item of a run."""

REFUSED_STEP: Final = "refused_"
DIFFERS: Final = "DIFFERS"
MISSING: Final = "MISSING"
_PAGE: Final = 500
_MEND: Final = "the other side of the monthly books refused it: mend it, and it goes with its period again"


class Judgement(NamedTuple):
    """A receipt as it came: ``reason`` is why it does not settle the run, empty where it may; ``receipt`` is what the
    partner surely signed about this package, None where that is not sure."""

    reason: str
    evidence: bytes
    receipt: pb.Receipt | None

    @property
    def accepted(self) -> int:
        """Items taken, by the partner's count."""
        return 0 if self.receipt is None else self.receipt.accepted


def take_receipt(manifest: bytes, signed: pb.SignedReceipt, public_key_pem: bytes) -> Judgement:
    """Look at a receipt for the package of ``manifest``; nothing is raised, for a bad one is evidence too."""
    evidence = signed.SerializeToString(deterministic=True)
    try:
        return Judgement("", evidence, check_receipt(manifest, signed, public_key_pem))
    except Refusal as refusal:
        reason = refusal.reason
    try:
        told = read_receipt(signed, public_key_pem)
    except Refusal:
        return Judgement(reason, evidence, None)
    ours = told.manifest_sha256 == hashlib.sha256(manifest).digest()
    return Judgement(reason, evidence, told if ours else None)


def disagreement(tx: Tx, part: Part, judgement: Judgement) -> str:
    """Why a receipt does not settle the part, and the items at fault marked; empty where it does."""
    different = differing(tx, part, judgement.receipt) if judgement.receipt is not None else 0
    return "RECEIPT_DIFFERS" if different else judgement.reason


def unbalanced(counts: Mapping[str, int], accepted: int) -> str:
    """TOTALS where the run's items do not add up to what was selected and what was taken; else empty."""
    agreed = counts["selected"] == sum(counts.values()) - counts["selected"]
    return "" if agreed and counts["sent"] + counts["withdrawn"] == accepted else "TOTALS"


def differing(tx: Tx, part: Part, receipt: pb.Receipt) -> int:
    """Mark the items of the part of which the partner's copy is another, or is not there; how many, and items we never sent.

    0 where the partner does not tell what it received.
    """
    told = receipt.item_sha256
    if not told:
        return 0
    sent = pb.Manifest.FromString(part.manifest).items
    c = tables.exchange_items.c
    different = max(len(told) - sent, 0)
    after = part.start - 1
    while True:
        page = tx.all(
            select(c.ordinal, c.place, c.digest)
            .where(c.run == part.run, c.place.is_not(None), c.ordinal > after, c.ordinal < part.end)
            .order_by(c.ordinal)
            .limit(_PAGE)
        )
        for item in page:
            place = int(item["place"]) - part.first
            there = place < len(told)
            if there and told[place] == bytes(item["digest"]):
                continue
            different += 1
            tx.update(tables.exchange_items, (part.run, item["ordinal"]), reason=DIFFERS if there else MISSING)
        if len(page) < _PAGE:
            return different
        after = int(page[-1]["ordinal"])


def take_refused(tx: Tx, partner: str, part: Part, judgement: Judgement) -> None:
    """Write down what the partner refused of the part, and what it is a witness of now."""
    receipt = judgement.receipt
    assert receipt is not None, "only a good receipt settles"
    c = tables.exchange_items.c
    within = (c.run == part.run) & (c.ordinal >= part.start) & (c.ordinal < part.end)
    for refused in receipt.refused:
        # The partner counts places in the package; the frozen list also holds what was not in it.
        item = tx.one(select(c.ordinal).where(within, c.place == part.first + refused.ordinal))
        if item is not None:
            tx.update(
                tables.exchange_items, (part.run, item["ordinal"]),
                outcome=int(pb.ITEM_OUTCOME_REFUSED), reason=partner_reason(refused.reason),
            )  # fmt: skip
    witness.keep(tx, partner, [*filter(None, [receipt.checkpoint]), *receipt.checkpoints])


def hold_items(tx: Tx, door: Door, row: RowMapping, *, grace_us: int) -> list[tuple[str, Rejected]]:
    """Give each refused item back to where it came from, and each differing one to the operator.

    Returns what agencies other than the school should hear of what they recorded: (agency, what was refused).

    The holding is named by the item's place in the run's packages; what it is stands in the run's items.
    """
    c = tables.exchange_items.c
    wanted = select(tables.exchange_items).where(c.run == row["id"], c.place.is_not(None))
    told: list[tuple[str, Rejected]] = []
    marked = wanted.where((c.outcome == pb.ITEM_OUTCOME_REFUSED) | c.reason.in_((DIFFERS, MISSING)))
    for item in tx.all(marked.order_by(c.ordinal)):
        refused = item["outcome"] == pb.ITEM_OUTCOME_REFUSED
        source = source_of(tx, door, str(item["item"])) if refused else None
        school, agency = (source.school, source.agency) if source is not None else ("", "")
        hold(
            tx, item_name(row, int(item["place"])), kind=KIND, school=school,
            holder=agency or door.registry.holder(school),
            deadline_us=tx.now_us + grace_us, student=item["student"] if refused else None,
            step=f"{REFUSED_STEP if refused else ''}{str(item['reason']).lower()}",
        )  # fmt: skip
        if agency and agency != row["partner"]:
            place = str(item["item"]).removeprefix(f"{SERVICES.prefix}/{agency}/")  # its own id of a service
            reason = str(item["reason"])
            told.append((agency, Rejected(source="exchange", place=place, reason=reason, message=_MEND)))
    return told


def close_items(tx: Tx, row: RowMapping) -> None:
    """Close what is open about the items of a run: another revision follows it, and will say again what is wrong."""
    h = tables.holdings.c
    prefix = item_name(row, 0)[:-1]
    tx.execute(delete(tables.holdings).where(h.kind == KIND, h.item.startswith(prefix, autoescape=True)))


def mended(tx: ReadTx, door: Door) -> list[str]:
    """Ids of settled runs of which a refused item has changed at its source since."""
    h, r = tables.holdings.c, tables.exchange_runs.c
    held = tx.all(select(h.item).where(h.kind == KIND, h.step.startswith(REFUSED_STEP, autoescape=True)))
    found: set[str] = set()
    c = tables.exchange_items.c
    for each in held:
        run, _, place = str(each["item"]).partition("/runs/")[2].partition("/items/")
        row = tx.one(select(tables.exchange_runs).where(r.id == run))
        item = tx.one(select(c.item).where(c.run == run, c.place == int(place)))
        if row is None or item is None or row["state"] != pb.RUN_STATE_RECONCILED:
            continue
        source = source_of(tx, door, str(item["item"]))
        if source is not None and source.changed_us > int(row["updated_us"]):
            found.add(run)
    return sorted(found)


def item_name(row: RowMapping, place: int) -> str:
    """`exchanges/{exchange}/runs/{id}/items/{place in the run's packages}`."""
    return f"{runs.name_of(row)}/items/{place}"
