"""The exchange contract: one run for each receiving party and period, carried to its end whatever breaks on the way."""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from xinqiao.api.common.v1.options_pb2 import ROLE_OPERATOR
from xinqiao.api.exchange.v1 import exchange_pb2 as pb
from xinqiao.api.exchange.v1 import exchange_service_pb2 as rpc
from xinqiao.contract.errors import Refusal
from xinqiao.contract.paging import page_size, position, token
from xinqiao.contract.workdays import WorkCalendar
from xinqiao.disclosure.call import Call, outside_transaction, prepares
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.registry import Partner
from xinqiao.exchange import runs
from xinqiao.exchange.arrivals import beforehand, submit, watch
from xinqiao.exchange.comparing import Ours
from xinqiao.exchange.periods import Length, Window, due_at, finished, length_of, over, span
from xinqiao.exchange.receipts import mended
from xinqiao.exchange.runs import Definition, Key, disputed, key_of
from xinqiao.exchange.steps import Driver, Sender, Teller
from xinqiao.exchange.views import admit, list_items, preview, receivers
from xinqiao.store import tables
from xinqiao.store.drills import not_drill
from xinqiao.store.engine import Store
from xinqiao.store.sql import RowMapping, Select, func, select
from xinqiao.store.tx import ReadTx

_LOOK_BACK: Final[Mapping[Length, int]] = {"week": 156, "month": 36, "quarter": 12, "term": 6}
"""Periods that the scheduler catches up with; older ones are for the operator."""

_log = logging.getLogger(__name__)


class Due(NamedTuple):
    """A period that must be run now. ``late``: it closed already. ``guessed``: see `periods.Window`."""

    exchange: str
    period: str
    start_us: int
    close_us: int
    late: bool
    guessed: bool


class Exchanges:
    """The functions behind ``ExchangeService``, and what the scheduler's tick calls. Safe to use from any thread."""

    def __init__(
        self,
        store: Store,
        door: Door,
        definitions: Mapping[str, Definition],
        signing_key: Ed25519PrivateKey,
        deployment: str,
        sender: Sender,
        receipt_keys: Mapping[str, bytes],
        calendar: WorkCalendar,
        teller: Teller = lambda agency, refused: None,
    ) -> None:
        """``receipt_keys`` are the partners' pinned Ed25519 public keys, PEM, by agency; ``sender`` and ``teller`` reach
        them.

        Raises Refusal INVALID_ARGUMENT/EXCHANGE_PARTY for one whose receiving party is no configured partner.
        """
        for name, definition in definitions.items():
            for partner in receivers(definition):
                if partner not in definition.parties or door.registry.find(partner) is None:
                    raise Refusal(
                        "INVALID_ARGUMENT", "EXCHANGE_PARTY", f"exchanges.{name}: a dataset's `to` is no known party"
                    )
        self._store = store
        self._door = door
        self._definitions = dict(definitions)
        self._signing_key = signing_key
        self._deployment = deployment
        self._sender = sender
        self._teller = teller
        self._receipt_keys = dict(receipt_keys)
        self.calendar = calendar

    def run(
        self, exchange: str, period: str, *, actor: str, late_ok: bool = True, revise: rpc.Revise | None = None
    ) -> list[pb.ExchangeRun]:
        """Settle a period that is over: one run for each receiving party, gone on with where it stands.

        A run that is closed, or that both sides disagree about, is returned as it stands: nothing is written. Every
        party is tried before a fault of one is raised. Must not be called in a transaction: it asks the partners.
        Raises Refusal NOT_FOUND/EXCHANGE, INVALID_ARGUMENT/PERIOD, ABORTED/RUNNING, and with ``late_ok`` False
        FAILED_PRECONDITION/PERIOD_CLOSED for one that closed before it was begun. ``revise`` gives disputed runs of
        that revision up for new ones; FAILED_PRECONDITION/STATE when there is none and never was.
        """
        definition = self._definitions.get(exchange)
        if definition is None:
            raise Refusal("NOT_FOUND", "EXCHANGE", "no such exchange is configured")
        now_us = self._store.clock.now_us()
        if length_of(period) != definition.period:
            raise Refusal("INVALID_ARGUMENT", "PERIOD", f"this exchange is settled by the {definition.period}")
        finished(period, now_us, self.calendar)
        keys = [Key(exchange, partner, period) for partner in receivers(definition)]
        if not late_ok and now_us >= due_at(definition.schedule, period, self.calendar).close_us:
            with self._store.read() as tx:
                if any(runs.newest(tx, key) is None for key in keys):
                    raise Refusal("FAILED_PRECONDITION", "PERIOD_CLOSED", "the period closed before it was run")
        if revise is not None:
            self._check_disputed(keys, revise)
        faults: list[Exception] = []
        for key in keys:
            try:
                self._drive(key, definition, actor, revise)
            except Exception as fault:  # the other party must not wait for it; it is raised below
                faults.append(fault)
        if faults:
            raise faults[0]
        with self._store.read() as tx:
            rows = [runs.newest(tx, key) for key in keys]
        return [self._message(row) for row in rows if row is not None]

    def collect(self, actor: str = "gateway") -> list[pb.ExchangeRun]:
        """Ask again for every receipt that is awaited or overdue; the runs whose state changed by that.

        One partner's fault is logged and does not keep the others waiting. A settled period of which a refused item was
        mended at its source since is sent again, as a new revision.
        """
        changed: list[pb.ExchangeRun] = []
        for row in self._awaiting():
            definition = self._definitions.get(str(row["exchange"]))
            if definition is None or self._door.registry.find(str(row["partner"])) is None:
                _log.warning("%s is open, but its exchange is not configured any more", runs.name_of(row))
                continue
            try:
                self._drive(key_of(row), definition, actor)
            except Exception as fault:  # by type only: its text could hold what a partner sent
                _log.error("%s: asking for its receipt failed: %s", runs.name_of(row), type(fault).__name__)
            with self._store.read() as tx:
                after = runs.newest(tx, key_of(row))
            if after is not None and (after["id"], after["state"]) != (row["id"], row["state"]):
                changed.append(self._message(after))
        return changed + self._rejoin(actor)

    def _rejoin(self, actor: str) -> list[pb.ExchangeRun]:
        with self._store.read() as tx:
            rows = [tx.get(tables.exchange_runs, run) for run in mended(tx, self._door)]
        changed: list[pb.ExchangeRun] = []
        for row in rows:
            definition = self._definitions.get(str(row["exchange"])) if row is not None else None
            if row is None or definition is None or self._door.registry.find(str(row["partner"])) is None:
                continue
            key, wish = key_of(row), rpc.Revise(revision=row["revision"], reason="MENDED", amend=True)
            try:
                self._drive(key, definition, actor, wish)
            except Exception as fault:  # as above
                _log.error("%s: amending it failed: %s", runs.name_of(row), type(fault).__name__)
            with self._store.read() as tx:
                after = runs.newest(tx, key)
            if after is not None and after["id"] != row["id"]:
                changed.append(self._message(after))
        return changed

    def watch(self) -> None:
        """See that every package which a party owes is held by somebody until it comes."""
        now_us = self._store.clock.now_us()
        for name, definition in self._definitions.items():
            if definition.expects:
                with self._store.read() as tx:
                    periods = list(self._owed(tx, name, definition, now_us))
                watch(self._store, self._door, name, definition, periods, self.calendar)

    def due(self, now_us: int) -> list[Due]:
        """The periods whose start has passed and that still have a run to begin or to go on with, oldest first.

        Not among them: what waits for a receipt (`collect` asks for it), and what waits for a person.
        """
        found: list[Due] = []
        with self._store.read() as tx:
            for name, definition in self._definitions.items():
                for period in self._owed(tx, name, definition, now_us):
                    window = due_at(definition.schedule, period, self.calendar)
                    if window.start_us <= now_us and self._unfinished(tx, name, definition, period):
                        found.append(_due(name, period, window, now_us))
        return sorted(found, key=lambda due: (due.start_us, due.period, due.exchange))

    @outside_transaction
    def run_exchange(self, request: rpc.RunExchangeRequest, call: Call) -> rpc.RunExchangeResponse:
        """Run a period, or return its runs. Called on a worker thread with a read snapshot: it waits for partners.

        ``call.rows`` counts one row a run: each has at least the journal row of its planning.
        """
        admit(call)
        revise = request.revise if request.HasField("revise") else None
        settled = self.run(request.exchange, request.period, actor=call.caller.id, revise=revise)
        call.rows += len(settled)
        return rpc.RunExchangeResponse(runs=settled)

    def list_exchange_runs(self, request: rpc.ListExchangeRunsRequest, call: Call) -> rpc.ListExchangeRunsResponse:
        """Runs, newest first: all for an operator, the caller's own for a partner."""
        admit(call)
        size = page_size(request.page_size)
        after = position(request.page_token)
        c = tables.exchange_runs.c
        wanted = select(tables.exchange_runs).order_by(c.started_us.desc(), c.id.desc()).limit(size + 1)
        if ROLE_OPERATOR not in call.caller.roles:
            wanted = wanted.where(c.partner == call.caller.agency)
        if after is not None:
            wanted = wanted.where((c.started_us < after[0]) | ((c.started_us == after[0]) & (c.id < after[1])))
        rows = call.reading.all(wanted)
        response = rpc.ListExchangeRunsResponse(runs=[self._message(row) for row in rows[:size]])
        if len(rows) > size:
            response.next_page_token = token(int(rows[size - 1]["started_us"]), str(rows[size - 1]["id"]))
        return response

    def preview_exchange(self, request: rpc.PreviewExchangeRequest, call: Call) -> rpc.PreviewExchangeResponse:
        """What a partner would get for a period; nothing is sent."""
        return preview(request, call, self._definitions, self.calendar)

    def our_books(self, request: rpc.SubmitPackageRequest, caller: Partner) -> Callable[[], list[Ours]] | None:
        """See `prepares`: what of ours a party's package is compared with once it has come whole."""
        return beforehand(request, self._store, self._door, caller.agency, self._definitions, self.calendar)

    @prepares("our_books")
    def submit_package(self, request: rpc.SubmitPackageRequest, call: Call) -> rpc.SubmitPackageResponse:
        """A party's own package of a period, or a part of it."""
        return submit(request, call, self._definitions, self.calendar)

    def list_exchange_items(self, request: rpc.ListExchangeItemsRequest, call: Call) -> rpc.ListExchangeItemsResponse:
        """The items of a run with what became of each."""
        return list_items(request, call)

    def _check_disputed(self, keys: list[Key], revise: rpc.Revise) -> None:
        with self._store.read() as tx:
            rows = [row for row in (runs.newest(tx, key) for key in keys) if row is not None]
        revision, amend = revise.revision, revise.amend
        if not any(row["revision"] > revision or disputed(row, revision, amend=amend) for row in rows):
            raise Refusal(
                "FAILED_PRECONDITION", "STATE",
                "only a run that both sides disagree about is revised; a settled one is amended with `amend`",
            )  # fmt: skip

    def _drive(self, key: Key, definition: Definition, actor: str, revise: rpc.Revise | None = None) -> None:
        with self._store.read() as tx:
            row = runs.newest(tx, key)
        driver = Driver(
            self._store, self._door, definition, self._signing_key, self._deployment, self._sender,
            self._receipt_keys, self.calendar, key, actor, self._teller,
        )  # fmt: skip
        if revise is not None and row is not None and disputed(row, revise.revision, amend=revise.amend):
            driver.revise(revise.revision, revise.reason, amend=revise.amend)
        elif row is None or (row["state"] not in runs.CLOSED and row["receipt"] is None):
            driver.drive()

    def _awaiting(self) -> list[RowMapping]:
        c, held = tables.exchange_runs.c, tables.holdings.c
        with self._store.read() as tx:
            waiting = list(tx.all(_oldest_first().where(c.state == pb.RUN_STATE_AWAIT_RECEIPT)))
            overdue = {
                str(row["item"])
                for row in tx.all(select(held.item).where(held.kind == "exchange", held.step == runs.OVERDUE.lower()))
            }
            disputed = tx.all(_oldest_first().where(c.state == pb.RUN_STATE_INCOMPLETE, c.receipt.is_(None)))
        return waiting + [row for row in disputed if runs.name_of(row) in overdue]

    def _owed(self, tx: ReadTx, exchange: str, definition: Definition, now_us: int) -> Iterator[str]:
        """The periods that the books could owe, oldest first: from the first run on, else from the first referral
        between the two; of an exchange that had neither, the newest."""
        length = definition.period
        c = tables.exchange_runs.c
        first = tx.scalar(select(func.min(c.period)).where(c.exchange == exchange, runs.of_length(length)))
        if first is not None:
            from_us = self._began(str(first))
        else:
            one, other = definition.parties
            r = tables.referrals.c
            created = tx.scalar(
                select(func.min(r.created_us)).where(
                    ((r.sender == one) & (r.recipient == other)) | ((r.sender == other) & (r.recipient == one)),
                    not_drill(r.student),
                )
            )
            from_us = now_us if created is None else int(created)
        owed = list(over(length, from_us, now_us, _LOOK_BACK[length], self.calendar))
        return iter(owed or list(over(length, 0, now_us, 1, self.calendar)))

    def _began(self, period: str) -> int:
        try:
            return span(period, self.calendar).from_us
        except Refusal:  # a term that the school calendar has no more
            return 0

    @staticmethod
    def _unfinished(tx: ReadTx, exchange: str, definition: Definition, period: str) -> bool:
        rows = [runs.newest(tx, Key(exchange, partner, period)) for partner in receivers(definition)]
        return any(row is None or row["state"] in runs.UNFINISHED for row in rows)

    def _message(self, row: RowMapping) -> pb.ExchangeRun:
        return runs.to_message(row, self._receipt_keys)


def _due(exchange: str, period: str, window: Window, now_us: int) -> Due:
    return Due(exchange, period, window.start_us, window.close_us, now_us >= window.close_us, window.guessed)


def _oldest_first() -> "Select[tuple[object, ...]]":
    c = tables.exchange_runs.c
    return select(tables.exchange_runs).order_by(c.period, c.started_us, c.id)
