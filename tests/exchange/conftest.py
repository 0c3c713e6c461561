"""A school, a hospital and their books: referrals put straight into the store, and partners that sign receipts."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from xinqiao.adapters.errors import PartnerUnavailable
from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.common.v1.types_pb2 import Student
from xinqiao.api.exchange.v1 import exchange_pb2 as pb
from xinqiao.api.referral.v1 import referral_pb2 as referral_pb
from xinqiao.config.settings import Exchange
from xinqiao.contract.clock import BEIJING, ManualClock, to_us
from xinqiao.contract.methods import methods
from xinqiao.contract.workdays import WorkCalendar
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.policy import load_policy
from xinqiao.disclosure.registry import Partner, Registry
from xinqiao.disclosure.students import Students
from xinqiao.exchange.package import read_items
from xinqiao.exchange.service import Exchanges
from xinqiao.journal.checkpoint import Checkpointer
from xinqiao.journal.signing import public_key_pem
from xinqiao.store import tables
from xinqiao.store.engine import Store
from xinqiao.store.sql import RowMapping, func, select
from xinqiao.store.tx import Tx

POLICY = Path(__file__).parents[2] / "config" / "policy" / "disclosure.yaml"
EXCHANGE = "school-hospital-monthly"
SCHOOL, HOSPITAL = "no1-middle", "mental-health"
PERIOD = "2026-09"
FOREVER = 2**60
GATEWAY_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


def at(year: int, month: int, day: int, hour: int = 12) -> int:
    """Microseconds of an hour in Beijing."""
    return to_us(datetime(year, month, day, hour, tzinfo=BEIJING))


def party(name: str, role: int, *, schools: frozenset[str] = frozenset(), to_us: int = FOREVER) -> Partner:
    return Partner(name, "agency", name, frozenset({role}), schools, f"spiffe://x/partner/{name}", 0, to_us)


def definition(*receivers: str, nil_report: bool = True) -> Exchange:
    contracts = {HOSPITAL: "referrals", SCHOOL: "outcomes"}
    return Exchange.model_validate(
        {
            "names": {"zh": "对账", "en": "Books"},
            "parties": [SCHOOL, HOSPITAL],
            "datasets": [
                {"contract": contracts[to], "to": to, "purpose": "reconciliation"} for to in receivers or (HOSPITAL,)
            ],
            "period": "month",
            "schedule": {"run": {"day": 1, "working": True, "at": "02:00"}, "close_after_days": 10},
            "nil_report": nil_report,
        }
    )


def student_of(name: str) -> str:
    """The internal id of the student whose referral has this name."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


@dataclass
class Desk:
    """The partners' side: takes each request id once, and counter-signs. Scripts change what it does."""

    keys: dict[str, Ed25519PrivateKey] = field(
        default_factory=lambda: {name: Ed25519PrivateKey.generate() for name in (SCHOOL, HOSPITAL)}
    )
    calls: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    taken: dict[str, bytes] = field(default_factory=dict[str, bytes])
    refuse: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    before: Callable[[], None] = lambda: None
    after: Callable[[], None] = lambda: None
    mend: Callable[[pb.Receipt], object] = lambda receipt: None
    waiting: bool = False
    down: bool = False
    wrong_key: bool = False
    tells: bool = False

    def __call__(self, agency: str, package: pb.Package, request_id: str) -> pb.SignedReceipt | None:
        self.before()
        if self.down:
            raise PartnerUnavailable("down")
        self.calls.append((agency, request_id))
        GATEWAY_KEY.public_key().verify(package.signature, package.manifest)
        content = package.SerializeToString(deterministic=True)
        assert self.taken.setdefault(request_id, content) == content, "a request id came with other bytes"
        manifest = pb.Manifest.FromString(package.manifest)
        assert hashlib.sha256(package.items).digest() == manifest.items_sha256
        self.after()
        if self.waiting:
            return None
        receipt = pb.Receipt(
            manifest_sha256=hashlib.sha256(package.manifest).digest(),
            accepted=manifest.items - len(self.refuse),
            refused=[pb.RefusedItem(ordinal=ordinal, reason=reason) for ordinal, reason in self.refuse],
            receive_time_us=1,
            checkpoint=manifest.checkpoint,
            checkpoints=manifest.checkpoints,
        )
        if self.tells:
            receipt.item_sha256.extend(hashlib.sha256(item).digest() for item in read_items(package.items))
        self.mend(receipt)
        signed = receipt.SerializeToString()
        key = Ed25519PrivateKey.generate() if self.wrong_key else self.keys[agency]
        return pb.SignedReceipt(receipt=signed, signature=key.sign(signed))

    def items(self, request_id: str) -> list[pb.PackageItem]:
        package = pb.Package.FromString(self.taken[request_id])
        return [pb.PackageItem.FromString(item) for item in read_items(package.items)]

    def only(self) -> list[pb.PackageItem]:
        (request_id,) = self.taken
        return self.items(request_id)


class Books:
    """One district's books on one store."""

    def __init__(self, store: Store, clock: ManualClock, folder: Path) -> None:
        self.store, self.clock, self.folder = store, clock, folder
        self.policy = POLICY
        self.desk = Desk()
        self.schools = frozenset({"S1"})
        self.hospital_until_us = FOREVER
        self.definition = definition()

    @property
    def door(self) -> Door:
        registry = Registry(
            [
                party(SCHOOL, options.ROLE_SCHOOL_PLATFORM, schools=self.schools),
                party(HOSPITAL, options.ROLE_HOSPITAL, to_us=self.hospital_until_us),
                party("admin", options.ROLE_OPERATOR),
            ]
        )
        return Door(load_policy(self.policy), {}, registry, Students(self.store.keys), self.store.keys)

    def exchanges(self, store: Store | None = None) -> Exchanges:
        """A fresh process over the same store."""
        return Exchanges(
            store or self.store, self.door, {EXCHANGE: self.definition}, GATEWAY_KEY, "kunshan", self.desk,
            {agency: public_key_pem(key) for agency, key in self.desk.keys.items()}, WorkCalendar(),
        )  # fmt: skip

    def run(self) -> list[pb.ExchangeRun]:
        return self.exchanges().run(EXCHANGE, PERIOD, actor="admin")

    def refer(
        self, name: str, *changes: tuple[int, int, int], school: str = "S1", outcome: bool = False, earlier: str = "",
        student: str = "",
    ) -> None:  # fmt: skip
        """A referral of a student, by default one of its own, with its changes (time, event, state); ``earlier`` is
        advice since corrected."""
        student = student or student_of(name)
        self.store.keys.ensure([student])
        referral = referral_pb.Referral(
            sender=SCHOOL, recipient=HOSPITAL, state=referral_pb.ReferralState.ValueType(changes[-1][2]),
            reason="秘密原因", note="note", state_reason="秘密", appointment_us=5, create_time_us=changes[0][0],
        )  # fmt: skip
        for time_us, event, state in changes:
            referral.history.add(
                event=referral_pb.ReferralEvent.ValueType(event), state=referral_pb.ReferralState.ValueType(state),
                actor=SCHOOL, time_us=time_us,
            )  # fmt: skip
        if outcome:
            referral.outcome.diagnosis, referral.outcome.school_advice = "诊断", "每周随访"
        if earlier:
            referral.earlier_outcomes.add(school_advice=earlier)
        sealed = self.store.keys.sealer(student).seal(referral.SerializeToString(), table="referrals", key=name)
        values = (
            name, student, school, SCHOOL, HOSPITAL, changes[-1][2], 2, 1, changes[0][0], changes[-1][0], len(changes),
            sealed,
        )  # fmt: skip

        def put(tx: Tx) -> None:
            tx.delete(tables.referrals, name)
            tx.insert(tables.referrals, *values)

        self.store.run(put)

    def refer_many(self, *names: str) -> None:
        for name in names:
            self.refer(name, (at(2026, 9, 10), 1, 2))

    def ask(self, name: str, request: Any, caller: str = "admin") -> Any:
        """What a read of ``ExchangeService`` answers a caller, as the edge would call it."""
        method = methods()[f"/xinqiao.api.exchange.v1.ExchangeService/{name}"]
        door = self.door
        partner = door.registry.find(caller)
        assert partner is not None
        with self.store.read() as tx:
            self.last_call = Call(partner, method, tx, door)
            return getattr(self.exchanges(), method.function)(request, self.last_call)

    def write(self, name: str, request: Any, caller: str) -> Any:
        """What a mutation of ``ExchangeService`` answers a caller, in its transaction."""
        method = methods()[f"/xinqiao.api.exchange.v1.ExchangeService/{name}"]
        door = self.door
        partner = door.registry.find(caller)
        assert partner is not None
        function = getattr(self.exchanges(), method.function)
        return self.store.run(lambda tx: function(request, Call(partner, method, tx, door)))

    def enrol(self, local_id: str, caller: str, school: str = "S1") -> str:
        """A student whom the caller knows by this id; the internal one."""
        door = self.door
        partner = door.registry.find(caller)
        assert partner is not None
        known = Partner(
            caller, "agency", partner.agency, partner.roles, frozenset({school}), partner.spiffe, 0, FOREVER
        )  # fmt: skip
        students = [Student(local_id=local_id, school=school)]
        return self.store.run(lambda tx: door.students.register_all(tx, known, students))[0].id

    def journal(self, kind: str = "") -> int:
        c = tables.journal.c
        counted = select(func.count()).select_from(tables.journal)
        with self.store.read() as tx:
            return int(tx.scalar(counted.where(c.kind == kind) if kind else counted))

    def items(self) -> list[tuple[str, int, str]]:
        """(item, outcome, reason) of the newest run."""
        newest = self.rows()[-1]["id"]
        c = tables.exchange_items.c
        with self.store.read() as tx:
            rows = tx.all(select(tables.exchange_items).where(c.run == newest).order_by(c.ordinal))
        return [(str(row["item"]), int(row["outcome"]), str(row["reason"])) for row in rows]

    def rows(self) -> list[RowMapping]:
        c = tables.exchange_runs.c
        with self.store.read() as tx:
            return list(tx.all(select(tables.exchange_runs).order_by(c.revision, c.partner)))

    def holding(self) -> tuple[str, str, int] | None:
        """(holder, step, deadline) of the only open run; None when nothing is open."""
        with self.store.read() as tx:
            rows = tx.all(select(tables.holdings).where(tables.holdings.c.kind == "exchange"))
        assert len(rows) <= 1
        return (str(rows[0]["holder"]), str(rows[0]["step"]), int(rows[0]["deadline_us"])) if rows else None

    def held_items(self) -> list[tuple[str, str, str]]:
        """(holder, school, step) of what is open about single items."""
        c = tables.holdings.c
        with self.store.read() as tx:
            rows = tx.all(select(tables.holdings).where(c.kind == "exchange_item").order_by(c.item))
        return [(str(row["holder"]), str(row["school"]), str(row["step"])) for row in rows]

    def wait(self, **by: int) -> None:
        """Time goes by at a running gateway: its journal is signed meanwhile."""
        self.clock.advance(timedelta(**by))
        Checkpointer(self.store, GATEWAY_KEY, "kunshan").run_once()


@pytest.fixture
def books(store: Store, clock: ManualClock, tmp_path: Path) -> Books:
    """It is 2026-10-12 09:00 in Beijing: September's books were due on the 8th."""
    return Books(store, clock, tmp_path)
