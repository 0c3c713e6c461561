"""The steps of one run, each a transaction of its own: a crash between any two leaves a state from which to go on."""

import hashlib
import logging
import secrets
from collections.abc import Callable, Mapping
from itertools import chain
from types import MappingProxyType
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.api.common.v1.options_pb2 import FIELD_CLASS_AGGREGATE, PURPOSE_RECONCILIATION
from xinqiao.api.exchange.v1 import exchange_pb2 as pb
from xinqiao.contract.errors import Refusal
from xinqiao.contract.workdays import WorkCalendar
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.registry import Partner
from xinqiao.exchange import runs
from xinqiao.exchange.items import PAGE, Selected, Verdict, judge, member, members, select_items
from xinqiao.exchange.package import VERSION, Items, ItemWriter, make_package
from xinqiao.exchange.periods import Span, due_at, span
from xinqiao.exchange.receipts import Judgement, close_items, differing, hold_items, take_receipt, take_refused
from xinqiao.exchange.runs import Definition, Key, key_of, move, name_of
from xinqiao.exchange.tombstones import last_went, not_selected_again, tombstone
from xinqiao.journal.append import append
from xinqiao.journal.checkpoint import latest, routine_stopped
from xinqiao.store import tables
from xinqiao.store.engine import Store
from xinqiao.store.sql import RowMapping, delete, select
from xinqiao.store.tx import ReadTx, Tx

Sender = Callable[[str, pb.Package, str], pb.SignedReceipt | None]
"""(agency, package, request_id) -> the counter-signed receipt, None while there is none; `AgencyHandle.exchange`."""

T = TypeVar("T")
_NO_COLUMNS: Final[Mapping[str, object]] = MappingProxyType({})
_UNDECIDED: Final = pb.ITEM_OUTCOME_UNSPECIFIED
_PACKED: Final = (pb.ITEM_OUTCOME_SENT, pb.ITEM_OUTCOME_WITHDRAWN)
_log = logging.getLogger(__name__)


class _MovedError(Exception):
    """Another driver changed the run's state meanwhile: what it did stands."""


class _ChangedError(Exception):
    """What may go is no longer what this revision promised: it must not be sent again under the same name."""


class Driver:
    """Drives one run from where it stands to where it must wait. One object a drive; it owns the run's lease."""

    def __init__(
        self, store: Store, door: Door, definition: Definition, signing_key: Ed25519PrivateKey, deployment: str,
        sender: Sender, receipt_keys: Mapping[str, bytes], calendar: WorkCalendar, key: Key, actor: str,
    ) -> None:  # fmt: skip
        self._store = store
        self._door = door
        self._definition = definition
        self._signing_key = signing_key
        self._deployment = deployment
        self._sender = sender
        self._receipt_keys = receipt_keys
        self._key = key
        self._actor = actor
        self._owner = secrets.token_hex(8)
        self._period: Span = span(key.period, calendar)
        self._window = due_at(definition.schedule, key.period, calendar)
        self._grace_us = self._window.close_us - self._window.start_us
        found = door.registry.find(key.partner)
        if found is None:
            raise Refusal("NOT_FOUND", "PARTNER", "the run's partner is not configured any more")
        self._recipient: Partner = found

    def revise(self, revision: int, reason: str, *, amend: bool = False) -> None:
        """Follow a disputed revision with a new one, because a person said so, and drive that.

        With ``amend`` also one that both sides agreed about. A run that is neither any more is left alone. Raises
        Refusal ABORTED/RUNNING.
        """
        row = self._store.run(self._begin)
        try:
            if runs.disputed(row, revision, amend=amend):
                self._revise(row, f"REVISED:{reason}")
        finally:
            self._store.run(lambda tx: runs.release(tx, str(row["id"]), self._owner))
        self.drive()

    def drive(self) -> None:
        """Go on until the run is closed, waits for its partner, or for a person.

        Raises Refusal ABORTED/RUNNING while another driver has the run, and whatever an unexpected fault raises; the
        run then stands where it was and the next drive goes on from there.
        """
        row = self._store.run(self._begin)
        first = int(row["revision"])
        try:
            # One new revision a drive: a record that changes faster than it is built must not keep us here.
            while self._step(row) and int(row["revision"]) <= first + 1:
                row = self._newest()
        except _MovedError:
            _log.info("%s: another driver went on with it", name_of(row))
        finally:
            held = str(row["id"])
            self._store.run(lambda tx: runs.release(tx, held, self._owner))

    def _begin(self, tx: Tx) -> RowMapping:
        row = runs.newest(tx, self._key)
        if row is None:
            row = self._plan(tx, self._key)
        runs.take(tx, str(row["id"]), self._owner)
        return row

    def _plan(self, tx: Tx, key: Key, reason: str = "") -> RowMapping:
        """Make the run's row; the unique key decides who plans, so a second one finds it there."""
        late = tx.now_us >= self._window.close_us
        deadline = tx.now_us + self._grace_us if late else self._window.close_us
        identifier = key.id(self._deployment)
        made = tx.insert_if_absent(
            tables.exchange_runs, identifier, key.exchange, key.partner, key.period, key.revision,
            int(pb.RUN_STATE_PLANNED), 0, 0, 0, 0, 0, int(late), tx.now_us, tx.now_us, deadline, None, None,
            0, reason,
        )  # fmt: skip
        row = tx.get(tables.exchange_runs, identifier)
        if row is None:
            raise Refusal("FAILED_PRECONDITION", "DEPLOYMENT", "the runs in this store are of another deployment")
        if made:
            self._move(tx, row, pb.RUN_STATE_PLANNED, reason=f"LATE:{key.period}" if late else "")
        return row

    def _step(self, row: RowMapping) -> bool:
        """Do what the state asks for; True when there is more to do at once."""
        match int(row["state"]):
            case pb.RUN_STATE_PLANNED:
                self._freeze(row)
                return True
            case pb.RUN_STATE_SNAPSHOT:
                return self._prepare(row)
            case pb.RUN_STATE_SENDING | pb.RUN_STATE_AWAIT_RECEIPT | pb.RUN_STATE_INCOMPLETE:
                return row["receipt"] is None and self._send(row)
            case _:
                return False

    # -- PLANNED -> SNAPSHOT ----------------------------------------------------------------------------------------

    def _freeze(self, row: RowMapping) -> None:
        run = str(row["id"])
        c = tables.exchange_items.c
        # A driver that died while it froze left a part of a list: nothing was promised yet, so begin again.
        self._write(row, lambda tx: tx.execute(delete(tables.exchange_items).where(c.run == run)))
        ordinal = 0
        key = key_of(row)
        pages = select_items(self._store, self._door, self._definition.parties, self._period)
        for page in chain(pages, not_selected_again(self._store, key, run) if key.revision else ()):
            self._keep(row, page, ordinal)
            ordinal += len(page)
        self._write(row, lambda tx: self._move(tx, row, pb.RUN_STATE_SNAPSHOT))

    def _keep(self, row: RowMapping, page: list[Selected], first: int) -> None:
        values = [
            (str(row["id"]), first + place, chosen.item, chosen.student, int(_UNDECIDED), "", b"", None)
            for place, chosen in enumerate(page)
        ]
        self._write(row, lambda tx: tx.insert_many(tables.exchange_items, values))

    # -- SNAPSHOT -> SENDING ----------------------------------------------------------------------------------------

    def _prepare(self, row: RowMapping) -> bool:
        with self._store.read() as tx:
            packed = runs.packed(tx, str(row["id"]))
        last: int | None = -1
        while last is not None:
            after, first = last, packed
            last, packed = self._write(row, lambda tx: self._judge_page(tx, row, after, first))  # noqa: B023
        with self._store.read() as tx:
            counts = runs.totals(tx, str(row["id"]))
            reason = self._barred(tx)
        if reason:
            self._incomplete(row, reason, columns=counts)
            return False
        if counts["selected"] == 0 and not self._definition.nil_report:
            self._write(row, lambda tx: self._move(tx, row, pb.RUN_STATE_ABANDONED, reason="NIL_NOT_REPORTED"))
            return False
        try:
            items = self._items(row)
        except _ChangedError:
            self._revise(row)
            return True
        self._write(row, lambda tx: self._seal(tx, row, counts, items))
        return True

    def _judge_page(self, tx: Tx, row: RowMapping, after: int, place: int) -> tuple[int | None, int]:
        """Pass the next items through the door, with their journal rows; ``place`` is the next one in the package.

        The ordinal to go on after, None at the end, and the next place.
        """
        run, key = str(row["id"]), key_of(row)
        page = members(tx, run, after=after, outcomes=(_UNDECIDED,))
        self._door.keys.sealers([str(item["student"]) for item in page])  # all at once, into memory
        decided: list[tuple[object, ...]] = []
        for item in page:
            verdict = judge(tx, self._door, self._recipient, member(item), self._period, place)
            if key.revision and verdict.outcome != pb.ITEM_OUTCOME_SENT:
                verdict = self._taken_back(tx, key, item, verdict, place)
            packed = verdict.outcome in _PACKED
            decided.append(
                (verdict.outcome, verdict.reason, verdict.digest, place if packed else None, run, item["ordinal"])
            )
            place += packed
            self._journal_item(tx, row, item, verdict)
        tx.update_many(tables.exchange_items, ("outcome", "reason", "digest", "place"), decided)
        return (int(page[-1]["ordinal"]) if len(page) == PAGE else None), place

    def _taken_back(self, tx: Tx, key: Key, item: RowMapping, verdict: Verdict, place: int) -> Verdict:
        """What may go no more and went before is taken back; what never went is as the door says."""
        went = last_went(tx, key, str(item["item"]))
        if went is None:
            return verdict
        data = tombstone(went, place, verdict.reason)
        mask = 1 << FIELD_CLASS_AGGREGATE
        return Verdict(pb.ITEM_OUTCOME_WITHDRAWN, verdict.reason, data, mask, self._door.keys.system_sealer())

    def _journal_item(self, tx: Tx, row: RowMapping, item: RowMapping, verdict: Verdict) -> None:
        student = str(item["student"])
        goes = verdict.outcome in _PACKED
        append(
            tx,
            kind="released" if goes else "refused",
            decision="permit" if goes else "deny",
            actor=self._actor,
            partner=self._recipient.agency,
            purpose=PURPOSE_RECONCILIATION,
            classes=verdict.classes,
            student=student,
            resource=str(item["item"]),
            reason=verdict.reason or f"exchange:{row['exchange']}:{row['period']}",
            policy_version=self._door.policy.version,
            payload=verdict.data if goes else None,
            sealer=verdict.sealer,
        )

    def _seal(self, tx: Tx, row: RowMapping, counts: Mapping[str, int], items: Items) -> None:
        """Write the manifest down and go to SENDING: these bytes, and no others, are this revision from now on."""
        note = tx.scalar(
            select(tables.checkpoints.c.note)
            .order_by(tables.checkpoints.c.at_us.desc(), tables.checkpoints.c.size.desc())
            .limit(1)
        )
        manifest = pb.Manifest(
            version=VERSION, deployment=self._deployment, exchange=row["exchange"], partner=row["partner"],
            period=row["period"], revision=row["revision"], items=items.number, items_sha256=items.sha256,
            selected=counts["selected"], withheld=counts["withheld"], failed=counts["failed"],
            withdrawn=counts["withdrawn"], reason=row["reason"],
            policy_version=self._door.policy.version, checkpoint=note or "", create_time_us=tx.now_us,
            checkpoints=latest(tx).values(),
        ).SerializeToString(deterministic=True)  # fmt: skip
        self._move(tx, row, pb.RUN_STATE_SENDING, payload=manifest, columns={**counts, "manifest": manifest})

    # -- SENDING -> AWAIT_RECEIPT -> RECONCILED | INCOMPLETE --------------------------------------------------------

    def _send(self, row: RowMapping) -> bool:
        """Hand the package over, or ask again for its receipt; True when a new revision must be driven."""
        with self._store.read() as tx:
            reason = self._barred(tx)
            waits = row["state"] == pb.RUN_STATE_SENDING and runs.earlier_unsent(tx, self._key)
        if reason:
            self._incomplete(row, reason)
            return False
        if waits:
            return False
        try:
            items = self._items(row)
            manifest = bytes(row["manifest"] or b"")
            if pb.Manifest.FromString(manifest).items_sha256 != items.sha256:
                raise _ChangedError
        except _ChangedError:
            self._revise(row)
            return True
        self._renew(row)
        try:
            signed = self._sender(
                str(row["partner"]), make_package(manifest, items.data, self._signing_key), f"exchange-{row['id']}"
            )
        except PartnerUnavailable:
            self._overdue(row)
            return False
        except (PartnerRefused, RecordRejected):
            self._incomplete(row, "PARTNER_REFUSED")
            return False
        if row["state"] == pb.RUN_STATE_SENDING:
            self._write(row, lambda tx: self._move(tx, row, pb.RUN_STATE_AWAIT_RECEIPT))
            row = self._newest()
        if signed is None:
            self._overdue(row, taken=True)
        else:
            self._settle(row, signed)
        return False

    def _settle(self, row: RowMapping, signed: pb.SignedReceipt) -> None:
        """Close the run where both sides agree; else a person gets it, with the items about which they do not."""
        pem = self._receipt_keys.get(str(row["partner"]), b"")
        judgement = take_receipt(bytes(row["manifest"]), signed, pem)
        self._write(row, lambda tx: self._reconcile(tx, row, judgement))

    def _reconcile(self, tx: Tx, row: RowMapping, judgement: Judgement) -> None:
        reason = judgement.reason
        different = differing(tx, row, judgement.receipt) if judgement.receipt is not None else 0
        if different:
            reason = "RECEIPT_DIFFERS"
        counts = runs.totals(tx, str(row["id"]))
        if not reason:
            counts = take_refused(tx, row, judgement)
            agreed = counts["selected"] == sum(counts.values()) - counts["selected"]
            reason = "" if agreed and counts["sent"] + counts["withdrawn"] == judgement.accepted else "TOTALS"
        hold_items(tx, self._door, row, grace_us=self._grace_us)
        self._move(
            tx, row, pb.RUN_STATE_INCOMPLETE if reason else pb.RUN_STATE_RECONCILED,
            reason=reason, payload=judgement.evidence, columns={**counts, "receipt": judgement.evidence},
        )  # fmt: skip

    def _overdue(self, row: RowMapping, *, taken: bool = False) -> None:
        """No receipt: the run waits, until its deadline; then a person is told and the asking goes on."""
        if self._store.clock.now_us() >= int(row["deadline_us"]):
            self._incomplete(row, runs.OVERDUE)
        elif taken and row["state"] == pb.RUN_STATE_INCOMPLETE:
            # What was in the way is mended: the partner has the package now.
            self._write(row, lambda tx: self._move(tx, row, pb.RUN_STATE_AWAIT_RECEIPT))

    # -- shared -----------------------------------------------------------------------------------------------------

    def _barred(self, tx: ReadTx) -> str:
        """Why not even counts may go to the partner now; empty when they may."""
        if routine_stopped(tx):
            return "JOURNAL_UNSIGNED"
        mask, denials = self._door.permitted(
            tx, recipient=self._recipient, purpose=PURPOSE_RECONCILIATION, student=None, relation="PARTY"
        )
        return "" if mask >> FIELD_CLASS_AGGREGATE & 1 else denials[FIELD_CLASS_AGGREGATE].reason

    def _items(self, row: RowMapping) -> Items:
        """Build the items again, through the door. Raises _ChangedError unless they are what was journalled."""
        writer = ItemWriter()
        after, place = -1, 0
        while True:
            with self._store.read() as tx:
                page = members(tx, str(row["id"]), after=after, outcomes=_PACKED)
                self._door.keys.sealers([str(item["student"]) for item in page])  # all at once, into memory
                for item in page:
                    data = self._data(tx, row, item, place)
                    if not data or hashlib.sha256(data).digest() != bytes(item["digest"]):
                        raise _ChangedError
                    writer.add(data)
                    place += 1
            if len(page) < PAGE:
                return writer.done()
            after = int(page[-1]["ordinal"])

    def _data(self, tx: ReadTx, row: RowMapping, item: RowMapping, place: int) -> bytes:
        if item["outcome"] == pb.ITEM_OUTCOME_SENT:
            return judge(tx, self._door, self._recipient, member(item), self._period, place).data
        went = last_went(tx, key_of(row), str(item["item"]))
        return tombstone(went, place, str(item["reason"])) if went is not None else b""

    def _revise(self, row: RowMapping, reason: str = "ITEMS_CHANGED") -> None:
        """Plan the next revision, and give this one up unless both sides agreed about it."""

        def replace(tx: Tx) -> None:
            old = key_of(row)
            if row["state"] != pb.RUN_STATE_RECONCILED:
                counts = runs.totals(tx, str(row["id"]))
                self._move(tx, row, pb.RUN_STATE_ABANDONED, reason=reason, columns=counts)
            close_items(tx, row)
            word = reason.removeprefix("REVISED:")
            following = self._plan(tx, Key(old.exchange, old.partner, old.period, old.revision + 1), word)
            runs.release(tx, str(row["id"]), self._owner)
            runs.take(tx, str(following["id"]), self._owner)

        self._write(row, replace)

    def _incomplete(
        self, row: RowMapping, reason: str, payload: bytes | None = None, columns: Mapping[str, object] = _NO_COLUMNS
    ) -> None:
        """Hand the run to the operator; nothing when it already lies there for this very reason."""

        def give(tx: Tx) -> None:
            held = tx.get(tables.holdings, name_of(row))
            known = held is not None and held["step"] == reason.lower()
            if payload is None and known and row["state"] == pb.RUN_STATE_INCOMPLETE:
                return
            self._move(tx, row, pb.RUN_STATE_INCOMPLETE, reason=reason, payload=payload, columns=columns)

        self._write(row, give)

    def _move(
        self, tx: Tx, row: RowMapping, state: int, reason: str = "", payload: bytes | None = None,
        columns: Mapping[str, object] = _NO_COLUMNS,
    ) -> None:  # fmt: skip
        move(
            tx, self._door, row, state, actor=self._actor, reason=reason, payload=payload, columns=columns,
            grace_us=self._grace_us,
        )  # fmt: skip

    def _write(self, row: RowMapping, command: Callable[[Tx], T]) -> T:
        """Run ``command`` if the run still stands in the state of ``row`` and is still ours."""

        def guarded(tx: Tx) -> T:
            now = tx.get(tables.exchange_runs, row["id"])
            if now is None or now["state"] != row["state"]:
                raise _MovedError
            runs.take(tx, str(row["id"]), self._owner)
            return command(tx)

        return self._store.run(guarded)

    def _renew(self, row: RowMapping) -> None:
        self._write(row, lambda _tx: None)

    def _newest(self) -> RowMapping:
        with self._store.read() as tx:
            row = runs.newest(tx, self._key)
        if row is None:
            raise Refusal("NOT_FOUND", "RUN", "no such exchange run")
        return row
