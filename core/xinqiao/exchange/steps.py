"""The steps of one run, each a transaction of its own: a crash between any two leaves a state from which to go on."""

import hashlib
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.api.adapter.v1.adapter_service_pb2 import Rejected
from xinqiao.api.common.v1.options_pb2 import FIELD_CLASS_AGGREGATE, PURPOSE_RECONCILIATION
from xinqiao.api.exchange.v1 import exchange_pb2 as pb
from xinqiao.contract.errors import Refusal
from xinqiao.contract.workdays import WorkCalendar
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.registry import Partner
from xinqiao.exchange import parts, runs
from xinqiao.exchange.building import Builder, Changed, make_manifest
from xinqiao.exchange.items import select_items, views_of
from xinqiao.exchange.package import Items, make_package
from xinqiao.exchange.parts import Part
from xinqiao.exchange.periods import Span, due_at, span
from xinqiao.exchange.receipts import (
    Judgement,
    close_items,
    disagreement,
    hold_items,
    take_receipt,
    take_refused,
    unbalanced,
)
from xinqiao.exchange.runs import Definition, Key, key_of, move, name_of
from xinqiao.exchange.tombstones import not_selected_again
from xinqiao.exchange.view import Selected
from xinqiao.journal.checkpoint import routine_stopped
from xinqiao.store import tables
from xinqiao.store.engine import Store
from xinqiao.store.sql import RowMapping, delete
from xinqiao.store.tx import ReadTx, Tx

Sender = Callable[[str, pb.Package, str], pb.SignedReceipt | None]
"""(agency, package, request_id) -> the counter-signed receipt, None while there is none; `AgencyHandle.exchange`."""

Teller = Callable[[str, Sequence[Rejected]], None]
"""(agency, what the other side refused of what it recorded); `AgencyHandle.report`."""

T = TypeVar("T")
_NO_COLUMNS: Final[Mapping[str, object]] = MappingProxyType({})
_UNDECIDED: Final = pb.ITEM_OUTCOME_UNSPECIFIED
_log = logging.getLogger(__name__)


class _MovedError(Exception):
    """Another driver changed the run's state meanwhile: what it did stands."""


class Driver:
    """Drives one run from where it stands to where it must wait. One object a drive; it owns the run's lease."""

    def __init__(
        self, store: Store, door: Door, definition: Definition, signing_key: Ed25519PrivateKey, deployment: str,
        sender: Sender, receipt_keys: Mapping[str, bytes], calendar: WorkCalendar, key: Key, actor: str,
        teller: Teller,
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
        self._teller = teller
        self._refused: list[tuple[str, Rejected]] = []
        self._owner = secrets.token_hex(8)
        self._period: Span = span(key.period, calendar)
        self._window = due_at(definition.schedule, key.period, calendar)
        self._grace_us = self._window.close_us - self._window.start_us
        found = door.registry.find(key.partner)
        if found is None:
            raise Refusal("NOT_FOUND", "PARTNER", "the run's partner is not configured any more")
        self._recipient: Partner = found
        self._views = views_of(definition, found.agency)
        self._builder = Builder(store, door, found, self._period, self._views, actor, self._write)

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
            self._tell()

    def _tell(self) -> None:
        """Who recorded what was refused hears of it. Where it cannot be told, the holding still names it."""
        refused, self._refused = self._refused, []
        for agency in dict.fromkeys(agency for agency, _ in refused):
            try:
                self._teller(agency, [each for whose, each in refused if whose == agency])
            except (PartnerUnavailable, PartnerRefused) as error:
                _log.info("agency %s was not told of what was refused: %s", agency, type(error).__name__)

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
        pages = select_items(self._store, self._door, self._views, self._definition.parties, self._period)
        for page in chain(pages, not_selected_again(self._store, key, run) if key.revision else ()):
            self._keep(row, page, ordinal)
            ordinal += len(page)
        self._write(row, lambda tx: self._frozen(tx, row, ordinal))

    def _frozen(self, tx: Tx, row: RowMapping, selected: int) -> None:
        parts.plan(tx, str(row["id"]), selected)
        self._move(tx, row, pb.RUN_STATE_SNAPSHOT)

    def _keep(self, row: RowMapping, page: list[Selected], first: int) -> None:
        values = [
            (str(row["id"]), first + place, chosen.item, chosen.student or None, int(_UNDECIDED), "", b"", None)
            for place, chosen in enumerate(page)
        ]
        self._write(row, lambda tx: tx.insert_many(tables.exchange_items, values))

    # -- SNAPSHOT -> SENDING ----------------------------------------------------------------------------------------

    def _prepare(self, row: RowMapping) -> bool:
        with self._store.read() as tx:
            first, *more = parts.parts_of(tx, row)
        return self._begin_parts(row) if more else self._prepare_whole(row, first)

    def _prepare_whole(self, row: RowMapping, whole: Part) -> bool:
        self._builder.judge(row, whole)
        with self._store.read() as tx:
            counts = runs.totals(tx, whole)
            reason = self._barred(tx)
        if reason:
            self._incomplete(row, reason, columns=counts)
            return False
        if counts["selected"] == 0 and not self._definition.nil_report:
            self._write(row, lambda tx: self._move(tx, row, pb.RUN_STATE_ABANDONED, reason="NIL_NOT_REPORTED"))
            return False
        try:
            items = self._builder.items(row, whole)
        except Changed:
            self._revise(row)
            return True
        self._write(row, lambda tx: self._seal(tx, row, counts, items))
        return True

    def _begin_parts(self, row: RowMapping) -> bool:
        """A long run is judged part by part while it is sent; until all of it is, its own manifest has no items."""
        if self._is_barred(row):
            return False
        with self._store.read() as tx:
            counts = runs.totals(tx, Part(str(row["id"])))
        nothing = Items(b"", b"", 0)
        self._write(row, lambda tx: self._seal(tx, row, counts, nothing))
        return True

    def _seal(self, tx: Tx, row: RowMapping, counts: Mapping[str, int], items: Items) -> None:
        """Write the manifest down and go to SENDING: these bytes, and no others, are this revision from now on."""
        manifest = self._manifest(tx, row, counts, items)
        self._move(tx, row, pb.RUN_STATE_SENDING, payload=manifest, columns={**counts, "manifest": manifest})

    def _manifest(
        self, tx: ReadTx, row: RowMapping, counts: Mapping[str, int], items: Items, part: int = 0, of: int = 0
    ) -> bytes:
        return make_manifest(
            tx, row, counts, items, part, of, deployment=self._deployment, policy_version=self._door.policy.version
        )

    # -- SENDING -> AWAIT_RECEIPT -> RECONCILED | INCOMPLETE --------------------------------------------------------

    def _send(self, row: RowMapping) -> bool:
        """Hand the packages over, or ask again for their receipts; True when a new revision must be driven."""
        if self._is_barred(row):
            return False
        with self._store.read() as tx:
            waits = row["state"] == pb.RUN_STATE_SENDING and runs.earlier_unsent(tx, self._key)
            pieces = parts.parts_of(tx, row)
        if waits:
            return False
        if row["manifest"] is None:  # it was barred before it promised anything
            self._revise(row)
            return True
        first, waiting = 0, False
        signed: pb.SignedReceipt | None = None
        for piece in pieces:
            part = piece if piece.manifest else piece._replace(first=first)
            if not part.receipt:
                if part.number and self._is_barred(row):
                    return False
                try:
                    part, package = self._package(row, part, len(pieces))
                except Changed:
                    self._revise(row)
                    return True
                self._renew(row)
                try:
                    signed = self._sender(str(row["partner"]), package, part.request)
                except PartnerUnavailable:
                    self._overdue(row)
                    return False
                except (PartnerRefused, RecordRejected):
                    self._incomplete(row, "PARTNER_REFUSED")
                    return False
                waiting = waiting or signed is None
                if part.number and signed is not None and not self._take_part(row, part, signed):
                    return False
            first = parts.after(part)
        if row["state"] == pb.RUN_STATE_SENDING:
            self._write(row, lambda tx: self._move(tx, row, pb.RUN_STATE_AWAIT_RECEIPT))
            row = self._newest()
        if waiting:
            self._overdue(row, taken=True)
        elif len(pieces) > 1:
            self._write(row, lambda tx: self._reconcile_parts(tx, row))
        elif signed is not None:
            self._settle(row, pieces[0], signed)
        return False

    def _is_barred(self, row: RowMapping) -> bool:
        """Whether nothing may go now; a person has the run then."""
        with self._store.read() as tx:
            reason = self._barred(tx)
        if reason:
            self._incomplete(row, reason)
        return bool(reason)

    def _package(self, row: RowMapping, part: Part, of: int) -> tuple[Part, pb.Package]:
        """The part with its manifest, and its package. Raises Changed."""
        if not part.manifest:
            self._builder.judge(row, part)
            items = self._builder.items(row, part)
            part = part._replace(manifest=self._write(row, lambda tx: self._seal_part(tx, row, part, items, of)))
        else:
            items = self._builder.items(row, part)
        if pb.Manifest.FromString(part.manifest).items_sha256 != items.sha256:
            raise Changed
        return part, make_package(part.manifest, items.data, self._signing_key)

    def _seal_part(self, tx: Tx, row: RowMapping, part: Part, items: Items, of: int) -> bytes:
        manifest = self._manifest(tx, row, runs.totals(tx, part), items, part.number, of)
        parts.sealed(tx, part._replace(manifest=manifest))
        runs.record(
            tx, self._door, row, pb.RUN_STATE_SENDING, actor=self._actor, reason=f"PART:{part.number}", payload=manifest
        )
        return manifest

    def _take_part(self, row: RowMapping, part: Part, signed: pb.SignedReceipt) -> bool:
        """Keep the receipt of a part that both sides agree about; where they do not, a person gets the run."""
        judgement = take_receipt(part.manifest, signed, self._receipt_keys.get(str(row["partner"]), b""))

        def take(tx: Tx) -> bool:
            reason = disagreement(tx, part, judgement)
            if reason:
                self._close(tx, row, reason, judgement.evidence, runs.totals(tx, Part(part.run)))
                return False
            take_refused(tx, str(row["partner"]), part, judgement)
            parts.taken(tx, part, judgement.evidence)
            runs.record(
                tx, self._door, row, pb.RUN_STATE_AWAIT_RECEIPT, actor=self._actor, reason=f"PART:{part.number}",
                payload=judgement.evidence,
            )  # fmt: skip
            return True

        return self._write(row, take)

    def _reconcile_parts(self, tx: Tx, row: RowMapping) -> None:
        """Close a run of which every part is agreed about; its own manifest sums them up."""
        pieces = parts.parts_of(tx, row)
        counts = runs.totals(tx, Part(str(row["id"])))
        digest = hashlib.sha256(b"".join(pb.Manifest.FromString(piece.manifest).items_sha256 for piece in pieces))
        summary = Items(b"", digest.digest(), parts.after(pieces[-1]))
        manifest = self._manifest(tx, row, counts, summary, of=len(pieces))
        reason = unbalanced(counts, summary.number - counts["refused"])
        self._close(tx, row, reason, pieces[-1].receipt, {**counts, "manifest": manifest})

    def _settle(self, row: RowMapping, whole: Part, signed: pb.SignedReceipt) -> None:
        """Close the run where both sides agree; else a person gets it, with the items about which they do not."""
        pem = self._receipt_keys.get(str(row["partner"]), b"")
        judgement = take_receipt(whole.manifest, signed, pem)
        self._write(row, lambda tx: self._reconcile(tx, row, whole, judgement))

    def _reconcile(self, tx: Tx, row: RowMapping, whole: Part, judgement: Judgement) -> None:
        reason = disagreement(tx, whole, judgement)
        if not reason:
            take_refused(tx, str(row["partner"]), whole, judgement)
        counts = runs.totals(tx, whole)
        self._close(
            tx, row, reason or unbalanced(counts, judgement.accepted), judgement.evidence, counts
        )  # fmt: skip

    def _close(self, tx: Tx, row: RowMapping, reason: str, evidence: bytes, columns: Mapping[str, object]) -> None:
        self._refused = hold_items(tx, self._door, row, grace_us=self._grace_us)
        self._move(
            tx, row, pb.RUN_STATE_INCOMPLETE if reason else pb.RUN_STATE_RECONCILED,
            reason=reason, payload=evidence, columns={**columns, "receipt": evidence},
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

    def _revise(self, row: RowMapping, reason: str = "ITEMS_CHANGED") -> None:
        """Plan the next revision, and give this one up unless both sides agreed about it."""

        def replace(tx: Tx) -> None:
            old = key_of(row)
            if row["state"] != pb.RUN_STATE_RECONCILED:
                counts = runs.totals(tx, Part(str(row["id"])))
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
