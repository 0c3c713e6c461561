"""Confidentiality agreements (保密协议, draft Art. 38): their end is put to a person ahead, for then nothing goes."""

from xinqiao.disclosure.registry import Partner, Registry
from xinqiao.journal.append import append
from xinqiao.store import tables
from xinqiao.store.engine import Store
from xinqiao.store.holdings import drop, hold
from xinqiao.store.tx import ReadTx, Tx

_DAY_US = 86_400_000_000
_ITEM = "agreements/"


def ends_soon(store: Store, registry: Registry, ahead_us: int) -> bool:
    """Whether :func:`announce` has anything to do; a look that takes no write transaction."""
    with store.read() as reading:
        return bool(_fresh(reading, registry, ahead_us) or _renewed(reading, registry, ahead_us))


def announce(tx: Tx, registry: Registry, operator: str, ahead_us: int) -> None:
    """Hold every agreement that ends within ``ahead_us`` for the operator until its end; drop what was renewed."""
    for item in _renewed(tx, registry, ahead_us):
        drop(tx, item)
        append(tx, kind="agreement.renewed", decision="permit", actor="gateway", resource=item)
    for partner in _fresh(tx, registry, ahead_us):
        item = f"{_ITEM}{partner.id}"
        ended = not partner.agreement_holds(tx.now_us)
        hold(
            tx, item, kind="agreement", school="", holder=operator, step="renew",
            deadline_us=tx.now_us + _DAY_US if ended else partner.agreement_to_us,
        )  # fmt: skip
        append(
            tx, kind="agreement.ending", decision="permit", actor="gateway", partner=partner.agency, resource=item,
            reason="ENDED" if ended else "ENDS_SOON",
        )  # fmt: skip


def _held(tx: ReadTx) -> set[str]:
    h = tables.holdings.c
    return {str(row["item"]) for row in tx.all(tables.holdings.select().where(h.kind == "agreement"))}


def _ending(tx: ReadTx, registry: Registry, ahead_us: int) -> list[Partner]:
    return [partner for partner in registry.all() if partner.agreement_to_us <= tx.now_us + ahead_us]


def _fresh(tx: ReadTx, registry: Registry, ahead_us: int) -> list[Partner]:
    held = _held(tx)
    return [partner for partner in _ending(tx, registry, ahead_us) if f"{_ITEM}{partner.id}" not in held]


def _renewed(tx: ReadTx, registry: Registry, ahead_us: int) -> list[str]:
    return sorted(_held(tx) - {f"{_ITEM}{partner.id}" for partner in _ending(tx, registry, ahead_us)})
