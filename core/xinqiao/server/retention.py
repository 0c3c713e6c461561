"""How long records are kept: the rules of `config/policy/retention.yaml`, the daily erasing, its proof, and legal holds."""

import logging
from collections.abc import Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from xinqiao.api.gateway.v1 import retention_service_pb2 as rpc
from xinqiao.casefile.erasure import Erasure
from xinqiao.config.loader import FileModel, Strict, load
from xinqiao.config.problems import ConfigError, Finding
from xinqiao.config.settings import Names
from xinqiao.contract.clock import local_date
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.journal.append import append
from xinqiao.store import tables
from xinqiao.store.engine import Store
from xinqiao.store.holdings import drop, hold
from xinqiao.store.ids import new_id
from xinqiao.store.retention import HOLD, KEPT, LEAVERS, Memory, Since, age, due, erase, leavers
from xinqiao.store.tx import Tx

_DAY_US: Final = 86_400_000_000
_FOUND: Final = 5000
_BATCH: Final = 100
"""Rows erased in one command: a crisis command finds its turn in between."""

_LEAST_DAYS: Final = {
    "requests": 400, "uploads": 400, "consents": 1095, "deliveries": 1095, "duties": 1095, "recalls": 1095,
    "overrides": 1095, "access_requests": 1095, "students": 365,
}  # fmt: skip
"""What may not be kept for less: the contract's memory of repeats, records of provision (PIPL art. 56), and a year in
which a roster that wrongly says a student left can be mended."""

_PROVISION: Final = ("consents", "deliveries", "duties", "recalls", "overrides", "access_requests")
"""Records of provision: a student's key is not destroyed while one of them must be kept."""

_log = logging.getLogger("xinqiao.retention")


class Rule(Strict):
    """How long one kind of record is kept."""

    contract: str = Field(description="What: " + ", ".join(KEPT) + ".")
    keep_days: int = Field(ge=1, le=36_500, description="Days.")
    since: Since = Field(description="From when on: created, changed (its last change), ended, or left (a student).")
    source: Names = Field(description="The rule of law or the reason, for people.")

    def before_us(self, now_us: int) -> int:
        """What is older than this is erased, microseconds since 1970 UTC."""
        return now_us - self.keep_days * _DAY_US


class RetentionFile(FileModel):
    """`retention.yaml`: every kind of record has its rule."""

    version: str = Field(min_length=1, max_length=40, description="Version of the file.")
    review_days: int = Field(ge=1, le=3650, description="Days until a legal hold must be looked at again.")
    rules: tuple[Rule, ...] = Field(description="One a kind.")

    def faults(self) -> list[Finding]:
        """What is wrong beyond the shape of the file."""
        found: list[Finding] = []
        seen: set[str] = set()
        for index, rule in enumerate(self.rules):
            place = ("rules", index)
            kept = KEPT.get(rule.contract)
            if kept is None or rule.contract in seen:
                found.append(
                    Finding(
                        (*place, "contract"),
                        "CONFIG/REFERENCE",
                        "not a kind of record, or named twice",
                        ", ".join(KEPT),
                    )
                )
                continue
            seen.add(rule.contract)
            if rule.since not in kept.since:
                found.append(
                    Finding((*place, "since"), "CONFIG/CONFLICT", "this kind has no such time", ", ".join(kept.since))
                )
            if rule.keep_days < _LEAST_DAYS.get(rule.contract, 1):
                least = f"at least {_LEAST_DAYS[rule.contract]}"
                found.append(
                    Finding((*place, "keep_days"), "CONFIG/BELOW_LEGAL_MINIMUM", "kept for less than it must be", least)
                )
        missing = [name for name in KEPT if name not in seen]
        if missing:
            found.append(
                Finding(("rules",), "CONFIG/MISSING", "a kind of record has no rule: " + ", ".join(missing), "add one")
            )
        return found


def load_retention(path: Path) -> RetentionFile:
    """Read and check the file. Raises ConfigError with every problem, each with its line."""
    file = load(path, RetentionFile)
    problems = [file.problem(finding) for finding in file.faults()]
    if problems:
        raise ConfigError(problems)
    return file


class Retention:
    """The functions behind ``RetentionService``, and the tick that erases."""

    def __init__(self, store: Store, door: Door, rules: RetentionFile, erasure: Erasure) -> None:
        self._store = store
        self._door = door
        self.rules = rules
        self._erasure = erasure
        self._done_on: date | None = None

    # -- erasing ------------------------------------------------------------------------------------------------------

    def tick(self) -> int:
        """Once a day erase what is past its time; how many rows. A restart in the middle goes on where it was."""
        today = local_date(self._store.clock.now_us())
        if today == self._done_on:
            return 0
        erased = sum(self._erase(rule) for rule in self.rules.rules)
        self._done_on = today
        return erased

    def _erase(self, rule: Rule) -> int:
        return self._erase_leavers(rule) if rule.contract == LEAVERS else self._erase_rows(rule)

    def _erase_leavers(self, rule: Rule) -> int:
        """Destroy the keys of students who left, one after another; each is looked at again in its own transaction."""
        now_us, total = self._store.clock.now_us(), 0
        before_us = rule.before_us(now_us)
        memory: Memory = [
            (r.contract, r.since, r.before_us(now_us)) for r in self.rules.rules if r.contract in _PROVISION
        ]
        while True:
            with self._store.read() as reading:
                found = leavers(reading, before_us, memory, _FOUND)
            erased = sum(
                self._erasure.shred_leaver(
                    student, partial(_still, student, before_us, memory), f"LEFT days:{rule.keep_days} rules:{self.rules.version}"
                )
                for student in found
            )  # fmt: skip
            if erased:
                self._store.run(partial(self._record, rule, erased))
            total += erased
            if len(found) < _FOUND or not erased:
                return total

    def _erase_rows(self, rule: Rule) -> int:
        before_us, total = rule.before_us(self._store.clock.now_us()), 0
        while True:
            with self._store.read() as reading:
                keys = due(reading, rule.contract, rule.since, before_us, _FOUND)
            erased = 0
            for start in range(0, len(keys), _BATCH):
                erased += self._store.run(partial(self._batch, rule, before_us, keys[start : start + _BATCH]))
            total += erased
            if len(keys) < _FOUND or not erased:
                return total

    def _batch(self, rule: Rule, before_us: int, keys: Sequence[tuple[Any, ...]], tx: Tx) -> int:
        erased = erase(tx, rule.contract, rule.since, before_us, keys)
        if erased:
            self._record(rule, erased, tx)
        return erased

    def _record(self, rule: Rule, erased: int, tx: Tx) -> None:
        append(
            tx, kind="retention.erased", decision="permit", actor="gateway", resource=f"retention/{rule.contract}",
            reason=f"rows:{erased} days:{rule.keep_days} rules:{self.rules.version}",
            policy_version=self._door.policy.version,
        )  # fmt: skip

    def get_retention(self, request: rpc.GetRetentionRequest, call: Call) -> rpc.GetRetentionResponse:
        """What is held, how long it may be, and the oldest of it."""
        del request
        h = tables.holdings
        response = rpc.GetRetentionResponse(
            version=self.rules.version,
            holds=len(call.reading.all(h.select().with_only_columns(h.c.item).where(h.c.kind == HOLD))),
        )
        for rule in self.rules.rules:
            held = age(call.reading, rule.contract, rule.since, rule.before_us(call.reading.now_us))
            response.contracts.add(
                contract=rule.contract, keep_days=rule.keep_days, since=rule.since, rows=held.rows,
                oldest_us=held.oldest_us, past=held.past, source_zh=rule.source.zh, source_en=rule.source.en,
            )  # fmt: skip
        return response

    # -- legal holds --------------------------------------------------------------------------------------------------

    def place_legal_hold(self, request: rpc.PlaceLegalHoldRequest, call: Call) -> rpc.PlaceLegalHoldResponse:
        """Keep everything of a student until the hold is released (未成年人网络保护条例 第三十八条)."""
        known = self._door.students.resolve(call.tx, call.caller, request.student)
        call.student = known.id
        name = f"legalHolds/{new_id(call.tx.now_us)}"
        review_us = call.tx.now_us + self.rules.review_days * _DAY_US
        hold(
            call.tx, name, kind=HOLD, school=known.school, student=known.id, holder=call.caller.id,
            deadline_us=review_us, step="hold",
        )  # fmt: skip
        call.journal("legal_hold.placed", resource=name, student=known.id, reason=request.reason)
        return rpc.PlaceLegalHoldResponse(name=name, review_us=review_us)

    def release_legal_hold(self, request: rpc.ReleaseLegalHoldRequest, call: Call) -> rpc.ReleaseLegalHoldResponse:
        """End a hold of the caller's own; what is past its time goes at the next tick."""
        row = call.tx.get(tables.holdings, request.name)
        placed = tables.journal.c
        mine = call.tx.one(
            tables.journal.select().where(
                (placed.resource == request.name) & (placed.kind == "legal_hold.placed")
                & (placed.partner == call.caller.agency)
            )
        )  # fmt: skip
        if row is None or row["kind"] != HOLD or mine is None:
            raise Refusal("NOT_FOUND", "HOLD", "no such hold of this caller")
        drop(call.tx, request.name)
        self._done_on = None
        call.student = str(row["student"])
        call.journal("legal_hold.released", resource=request.name, student=call.student, reason=request.reason)
        return rpc.ReleaseLegalHoldResponse()


def _still(student: str, before_us: int, memory: Memory, tx: Tx) -> bool:
    """Whether nothing has come up meanwhile: a hold, an open item, or a roster that knows the student again."""
    return leavers(tx, before_us, memory, 1, student) == [student]
