"""Partners as witnesses: which signed heads of the journal each of them surely has.

What they gave back is kept here only so that an operator knows whom to ask. The proof lies with them: a database that
was rolled back takes this table with it, and not the partners' own archives.
"""

from collections.abc import Iterable

from xinqiao.journal.note import read_checkpoint
from xinqiao.store import tables
from xinqiao.store.tx import Tx


def keep(tx: Tx, partner: str, notes: Iterable[str]) -> None:
    """Note that ``partner`` gave ``notes`` back; they must be ones that were sent to it. The newest of a chain stays."""
    for note in notes:
        head = read_checkpoint(note)
        known = tx.get(tables.witnesses, partner, head.writer)
        if known is None:
            tx.insert(tables.witnesses, partner, head.writer, head.size, tx.now_us, note)
        elif known["size"] < head.size:
            tx.update(tables.witnesses, (partner, head.writer), size=head.size, at_us=tx.now_us, note=note)
