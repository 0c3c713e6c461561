"""A monthly package selected, released, journalled, hashed and signed, against ``csv.writer`` over the same rows.

A process of its own measures, so that its memory is the exchange's alone. ``python exchange.py FOLDER ROWS`` is that.
"""

import csv
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FULL = 1_000_000
FEW = 10_000
_PAGE = 5_000

Line = tuple[str, str, str, float, str, float, str, str]
"""The fields of a ``Result``."""


def lines(rows: int) -> list[Line]:
    """Speed against ``csv.writer``, and, of more rows than ``FEW``, the memory that they take over those."""
    with tempfile.TemporaryDirectory(prefix="xinqiao-exchange-") as name:
        many = measure(Path(name) / "many", rows)
        few = measure(Path(name) / "few", FEW) if rows > FEW else many
    speed, plain = rows / many["seconds"], rows / many["plain"]
    found: list[Line] = [
        (f"monthly package, {rows:,} rows", f"{speed:,.0f}/s", f"{plain:,.0f}/s", speed / plain, ">=", 0.05, "",
         "selected, released, journalled, hashed, signed; baseline: csv.writer"),
    ]  # fmt: skip
    if rows > FEW:
        grown = many["grown_mb"] - few["grown_mb"]
        label = f"monthly package, memory over {FEW:,} rows"
        found.append((label, f"{grown:.0f} MB", "", grown, "<=", 100, " MB", f"{rows:,} rows"))
    return found


def measure(folder: Path, rows: int) -> dict[str, float]:
    """Seconds of the exchange and of ``csv.writer``, and the megabytes by which the exchange's process grew."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, __file__, str(folder), str(rows)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _main(folder: Path, rows: int) -> dict[str, float]:
    sys.path.insert(0, str(ROOT))
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from xinqiao.api.common.v1 import options_pb2 as options
    from xinqiao.api.exchange.v1 import exchange_pb2 as pb
    from xinqiao.api.referral.v1.referral_pb2 import REFERRAL_EVENT_SEND, REFERRAL_STATE_SENT, Referral
    from xinqiao.cli.serving import tune_interpreter
    from xinqiao.config.settings import Exchange
    from xinqiao.contract.clock import BEIJING, ManualClock, to_us
    from xinqiao.contract.workdays import WorkCalendar
    from xinqiao.disclosure.door import Door
    from xinqiao.disclosure.policy import load_policy
    from xinqiao.disclosure.registry import Partner, Registry
    from xinqiao.disclosure.students import Students
    from xinqiao.exchange.service import Exchanges
    from xinqiao.journal.signing import public_key_pem
    from xinqiao.store import tables
    from xinqiao.store.engine import open_store
    from xinqiao.store.ids import new_ids
    from xinqiao.store.keys import KeyStore

    month = to_us(datetime(2026, 9, 10, 12, tzinfo=BEIJING))
    clock = ManualClock(datetime(2026, 10, 12, 9, tzinfo=BEIJING))
    KeyStore.create(folder)
    store = open_store(
        f"sqlite:///{folder / 'records.db'}", f"sqlite:///{folder / 'keys.db'}", folder, clock, migrate=True
    )  # fmt: skip
    school, hospital, forever = "school", "hospital", 2**60
    roles = {school: options.ROLE_SCHOOL_PLATFORM, hospital: options.ROLE_HOSPITAL, "admin": options.ROLE_OPERATOR}
    registry = Registry(
        [
            Partner(name, "agency", name, frozenset({role}), frozenset({"S1"} if name == school else ()),
                    f"spiffe://x/partner/{name}", 0, forever)
            for name, role in roles.items()
        ]
    )  # fmt: skip
    referral = Referral(
        sender=school, recipient=hospital, state=REFERRAL_STATE_SENT, reason="r" * 60, note="n" * 60, create_time_us=month
    )  # fmt: skip
    for number in range(3):
        referral.history.add(event=REFERRAL_EVENT_SEND, state=REFERRAL_STATE_SENT, actor=school, time_us=month + number)
    record, written = referral.SerializeToString(), 0
    while written < rows:
        students = new_ids(clock.now_us() + written, min(_PAGE, rows - written))
        names = new_ids(clock.now_us() + written, len(students))
        store.keys.ensure(students)
        store.keys.sealers(students)
        sealed = [
            store.keys.sealer(student).seal(record, table="referrals", key=name)
            for student, name in zip(students, names, strict=True)
        ]
        first = written
        store.run(
            lambda tx, students=students, names=names, sealed=sealed, first=first: tx.insert_many(
                tables.referrals,
                [
                    (name, student, "S1", school, hospital, 2, 2, 1, month + first + at, month + first + at, 1, seal)
                    for at, (name, student, seal) in enumerate(zip(names, students, sealed, strict=True))
                ],
            )
        )
        written += len(students)
    plain = [
        ("referrals/x", "students/abcdefghijklmnopqrstuvwxyz", school, hospital, 2, month, *([1, 2, school, month] * 3))
    ] * min(rows, 100_000)
    began = time.perf_counter()
    with (folder / "rows.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        left = rows
        while left > 0:
            writer.writerows(plain[:left])
            left -= len(plain)
    plain_s = time.perf_counter() - began
    key = Ed25519PrivateKey.generate()
    ends: list[float] = []

    def take(_agency: str, package: pb.Package, _request_id: str) -> pb.SignedReceipt:
        ends.append(time.perf_counter())
        manifest = pb.Manifest.FromString(package.manifest)
        receipt = pb.Receipt(
            manifest_sha256=hashlib.sha256(package.manifest).digest(), accepted=manifest.items, receive_time_us=1,
            checkpoint=manifest.checkpoint, checkpoints=manifest.checkpoints,
        ).SerializeToString()  # fmt: skip
        return pb.SignedReceipt(receipt=receipt, signature=key.sign(receipt))

    definition = Exchange.model_validate(
        {
            "names": {"zh": "对账", "en": "Books"}, "parties": [school, hospital], "period": "month",
            "datasets": [{"contract": "referrals", "to": hospital, "purpose": "reconciliation"}],
            "schedule": {"run": {"day": 1, "working": True, "at": "02:00"}, "close_after_days": 10},
        }
    )  # fmt: skip
    policy = load_policy(ROOT / "config" / "policy" / "disclosure.yaml")
    door = Door(policy, {}, registry, Students(store.keys), store.keys)
    exchanges = Exchanges(
        store, door, {"monthly": definition}, key, "bench", take, {hospital: public_key_pem(key)}, WorkCalendar()
    )  # fmt: skip
    tune_interpreter()  # as the gateway does
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    (run,) = exchanges.run("monthly", "2026-09", actor="admin")
    seconds = time.perf_counter() - began
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if run.state != pb.RUN_STATE_RECONCILED or run.sent != rows:
        raise RuntimeError(f"{run.sent} of {rows} rows went, state {run.state}")
    store.close()
    return {"seconds": seconds, "plain": plain_s, "grown_mb": grown / 1024}


if __name__ == "__main__":
    print(json.dumps(_main(Path(sys.argv[1]), int(sys.argv[2]))))
