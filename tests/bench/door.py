"""The door: what one decision costs, and what it costs to let a typical record go.

``python tests/bench/door.py``. Processor time of the thread that does it, so that a busy machine does not decide.
"""

import gc
import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import deployment
import hospital
import journal

from xinqiao.adapters.host import AdapterHost
from xinqiao.api.casefile.v1.casefile_pb2 import CONSENT_STATE_GIVEN
from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.referral.v1.referral_pb2 import ReferralPackage
from xinqiao.contract.fields import ALL_CLASSES, mask_of, present, redact
from xinqiao.disclosure.policy import Decision, Policy, Question, decide, load_policy, permitted
from xinqiao.server.runtime import Gateway
from xinqiao.store import tables
from xinqiao.store.tx import Tx

Line = tuple[str, str, str, float, str, float, str, str]
_TIMES = 2_000
_HOSPITAL = "kunshan-mental-health"
_STUDENT = "s" * 26
_TREATMENT = options.PURPOSE_TREATMENT


def lines(rounds: int) -> list[Line]:
    """Name, figure, baseline, ratio, direction, target, unit and note, as ``run.Result`` takes them."""
    return [deciding(rounds), *releasing(rounds)]


def _seconds(work: Callable[[], object]) -> float:
    begin = time.thread_time()
    for _ in range(_TIMES):
        work()
    return (time.thread_time() - begin) / _TIMES


def _in_turn(rounds: int, *works: Callable[[], object]) -> list[float]:
    """The best of many turns of each: what is in the way of all is not the code."""
    taken: list[list[float]] = [[] for _ in works]
    gc.disable()
    for _ in range(4 * rounds):
        for work, found in zip(works, taken, strict=True):
            found.append(_seconds(work))
    gc.enable()
    return [min(found) for found in taken]


# -- decide -----------------------------------------------------------------------------------------------------------


def _nothing(policy: Policy, question: Question) -> Decision | None:
    """As `decide` is called, and nothing done."""


def deciding(rounds: int) -> Line:
    """Every role, purpose and class of the shipped policy in turn; no answer is kept between two calls of `decide`."""
    policy = load_policy(deployment.ROOT / "config" / "policy" / "disclosure.yaml")
    asked = [
        Question(role, purpose, field_class, "PARTY", "GIVEN", mask_of(ALL_CLASSES))
        for role in options.Role.values() for purpose in options.Purpose.values() for field_class in ALL_CLASSES
    ]  # fmt: skip
    ours, theirs = cycle(asked), cycle(asked)
    took, bare = _in_turn(rounds, lambda: decide(policy, next(ours)), lambda: _nothing(policy, next(theirs)))
    permits = sum(decide(policy, question).permit for question in asked)
    return (
        "decide()", f"{took * 1e6:.2f} us", f"{bare * 1e6:.2f} us", took * 1e6, "<=", 5, " us",
        f"{len(asked):,} questions, {permits} permitted; baseline: the same call of a function that does nothing",
    )  # fmt: skip


# -- release ----------------------------------------------------------------------------------------------------------


def releasing(rounds: int) -> list[Line]:
    """A referral to a hospital under a consent, decided and cut in a real transaction, without its journal row."""
    with tempfile.TemporaryDirectory(prefix="xinqiao-door-") as name:
        folder = Path(name)
        deployment.create(folder)
        gateway = Gateway(folder / "gateway.yaml", host=AdapterHost.load([]))
        gateway.start(tick=False, work=False)
        try:
            return gateway.store.run(lambda tx: _released(tx, gateway, rounds))
        finally:
            gateway.stop()


def _released(tx: Tx, gateway: Gateway, rounds: int) -> list[Line]:
    """The record alone: copied, cut to what is permitted, serialized. And all that `release` does, with what it asks the
    database, so that a consent taken back a moment ago counts, and with the classes it finds, as the journal wants them."""
    message, door = _record(), gateway.door
    data, kind = message.SerializeToString(deterministic=True), type(message)
    recipient = gateway.registry.find(_HOSPITAL)
    assert recipient is not None
    door.keys.ensure([_STUDENT])
    consent = dict.fromkeys(tables.consents.columns.keys(), 0) | {
        "id": "c1", "student": _STUDENT, "recipient": _HOSPITAL, "purpose": _TREATMENT, "classes": mask_of(ALL_CLASSES),
        "state": CONSENT_STATE_GIVEN, "not_after_us": tx.now_us + 10**12, "created_us": tx.now_us - 1, "sealed": b"",
    }  # fmt: skip
    tx.insert(tables.consents, *consent.values())
    asked = door.question(tx, recipient=recipient, purpose=_TREATMENT, student=_STUDENT, relation="PARTY")

    def cut() -> bytes:
        mask, _ = permitted(door.policy, recipient.roles, asked)
        projected = kind()
        projected.CopyFrom(message)
        redact(projected, mask)
        return projected.SerializeToString(deterministic=True)

    def release() -> None:
        door.release(
            tx, message, recipient=recipient, purpose=_TREATMENT, student=_STUDENT, relation="PARTY", kind="referral",
            item="referrals/r1", actor="psych-chen", key="k", enqueue=False,
        )  # fmt: skip

    def bare() -> bytes:
        return kind.FromString(data).SerializeToString(deterministic=True)

    if len(cut()) >= len(data):
        raise RuntimeError("nothing was cut from the record: it is not typical")
    mask, _ = permitted(door.policy, recipient.roles, asked)
    left = kind.FromString(cut())

    def rules() -> None:
        door.permitted(tx, recipient=recipient, purpose=_TREATMENT, student=_STUDENT, relation="PARTY")

    with journal.no_journal():
        record, whole, theirs, asking, finding = _in_turn(
            rounds, cut, release, bare, rules, lambda: present(left, mask)
        )
    note = f"{len(data)} bytes; baseline: parse and serialize them"
    rest = whole - record - asking - finding
    stages = (
        f"{note}; of it rules and consent {asking * 1e6:.1f}, cut {record * 1e6:.1f}, classes found "
        f"{finding * 1e6:.1f}, drill, key, id and what was kept back {rest * 1e6:.1f} us"
    )
    return [
        (name, f"{took * 1e6:.1f} us", f"{theirs * 1e6:.1f} us", took / theirs, "<=", 4, "", said)
        for name, took, said in (
            ("a record cut by the door", record, note), ("release(), its journal row excluded", whole, stages)
        )
    ]  # fmt: skip


def _record() -> ReferralPackage:
    """A referral with all that a hospital may see, and the school's own note, which it may not."""
    found = hospital.request().referral
    found.referral.note = "只留在学校的记录"
    found.referral.triage, found.referral.etag = "triages/" + "b" * 32, "1"
    found.referral.history.add(event=1, state=2, actor="psych-chen", time_us=found.referral.create_time_us)
    for form in found.assessments:
        form.student, form.category, form.create_time_us = found.student.name, "moderate", found.consent.given_us
    found.student.school, found.student.school_title = "3205830001", "示范中学"
    found.student.grade, found.student.class_title = "八年级", "八年级1班"
    return found


def main() -> None:
    """Measure and print."""
    for name, figure, baseline, ratio, better, target, unit, note in lines(5):
        print(f"{name}: {figure} against {baseline}: ratio {ratio:.2f}{unit}, target {better} {target}{unit}; {note}")


if __name__ == "__main__":
    main()
