"""What happens to every call between its bytes and its answer, in one file: the same for gRPC and for adapters.

decode -> validate -> authorize -> replay or run -> release -> journal -> encode. No gRPC in here.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, cast

from google.protobuf.message import Message

from xinqiao.contract.decode import decode, validate
from xinqiao.contract.errors import Refusal
from xinqiao.contract.fields import redact
from xinqiao.contract.methods import Method, methods
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door, deciding
from xinqiao.disclosure.registry import Partner
from xinqiao.journal.append import append
from xinqiao.journal.checkpoint import routine_stopped
from xinqiao.store import tables
from xinqiao.store.batch import Probe
from xinqiao.store.engine import Store
from xinqiao.store.tx import ReadTx, Tx

Function = Callable[[Any, Call], Message]
security = logging.getLogger("xinqiao.security")
_DIGEST = hashlib.sha256().digest_size

_ON_RECORD = frozenset({"PERMISSION_DENIED", "FAILED_PRECONDITION", "NOT_FOUND"})
"""Refusals that leave a journal row; malformed requests leave a line in the security log."""


class Mutation:
    """A decoded mutation as a command. ``probe`` is where its answer stands if it was given before, ``answers`` what
    partners said to its question."""

    __slots__ = ("_pipeline", "answers", "caller", "digest", "method", "probe", "request", "request_id")

    def __init__(
        self, pipeline: "Pipeline", method: Method, caller: Partner, request: Message, data: bytes, answers: object
    ) -> None:
        self._pipeline = pipeline
        self.method = method
        self.caller = caller
        self.request = request
        self.answers = answers
        self.request_id = str(cast(Any, request).request_id)
        self.digest = hashlib.sha256(method.path.encode() + b"\0" + data).digest()
        self.probe: Probe = (tables.requests, (caller.id, self.request_id))

    def __call__(self, tx: Tx) -> bytes:
        return self._pipeline.run(self, tx)


class Pipeline:
    """All RPCs of the served contracts, bound to the functions of their rooms."""

    def __init__(self, store: Store, door: Door, rooms: Mapping[str, object]) -> None:
        """``rooms`` maps a proto service name to the object whose functions serve it.

        Raises LookupError for an RPC without a function: a contract is served whole or not at all.
        """
        self.store = store
        self.door = door
        self.methods = methods()
        self.rooms = rooms
        self._functions: dict[str, Function] = {}
        for path, method in self.methods.items():
            if method.streaming:
                continue
            function = getattr(rooms.get(method.service), method.function, None)
            if function is None:
                raise LookupError(f"{method.service}/{method.name} has no function {method.function} in its room")
            self._functions[path] = function

    def admit(self, method: Method, caller: Partner) -> None:
        """Raises Refusal PERMISSION_DENIED/ROLE or AGREEMENT_EXPIRED."""
        if method.roles.isdisjoint(caller.roles):
            raise Refusal("PERMISSION_DENIED", "ROLE", f"{method.name} is not for the caller's role")
        if not caller.agreement_holds(self.store.clock.now_us()):
            raise Refusal("PERMISSION_DENIED", "AGREEMENT_EXPIRED", "no confidentiality agreement is in force")

    def request(self, method: Method, data: bytes) -> Message:
        """Decode and validate. Raises Refusal INVALID_ARGUMENT."""
        return decode(method.request, data)

    def outside(self, method: Method) -> bool:
        """The function calls a partner, so it must not run inside a write transaction."""
        return bool(getattr(self._functions[method.path], "outside_transaction", False))

    def question(self, method: Method, caller: Partner, request: Message) -> Callable[[], object] | None:
        """What a mutation asks or prepares before its transaction; None where there is nothing, as in a red case."""
        name: str = getattr(self._functions[method.path], "beforehand", "")
        return getattr(self.rooms[method.service], name)(request, caller) if name else None

    def prepares(self, method: Method) -> bool:
        """Whether :meth:`question` is work of this machine, and not a partner's answer to wait for."""
        return bool(getattr(self._functions[method.path], "beforehand_is_bulk", False))

    def mutation(
        self, method: Method, caller: Partner, request: Message, data: bytes, answers: object = None
    ) -> "Mutation":
        """The command that runs a mutation once per ``request_id`` and replays its answer afterwards."""
        return Mutation(self, method, caller, request, data, answers)

    def run(self, mutation: "Mutation", tx: Tx) -> bytes:
        """One mutation in its transaction: the room's function, its journal row, and the answer kept for a repeat."""
        method, caller, request_id = mutation.method, mutation.caller, mutation.request_id
        stored = tx.get(tables.requests, caller.id, request_id)
        if stored is not None:
            return self._replay(tx, stored, mutation.digest, method, caller)
        call = Call(caller, method, tx, self.door, request_id, answers=mutation.answers)
        response = self._functions[method.path](mutation.request, call)
        answer = self._close(response, call, tx)
        if not call.rows:
            raise RuntimeError(f"{method.name} changed something without a journal row")
        sealer = self.door.keys.sealer(call.student) if call.student else self.door.keys.system_sealer()
        views = json.dumps(call.views).encode()
        if not tx.insert_if_absent(
            tables.requests, caller.id, request_id, method.name, b"", call.student,
            sealer.seal(
                mutation.digest + len(views).to_bytes(4, "big") + views + answer,
                table="requests", key=f"{caller.id}/{request_id}",
            ),
            tx.now_us,
        ):  # fmt: skip
            raise Refusal("ABORTED", "IN_PROGRESS", "the same request is being worked on", retry_after_s=0.2)
        return answer

    def _replay(self, tx: Tx, stored: Mapping[Any, Any], digest: bytes, method: Method, caller: Partner) -> bytes:
        """The stored answer, cut down to what its caller may still see, and on record as a disclosure of its own."""
        student = stored["student"]
        sealer = self.door.keys.sealer(str(student)) if student else self.door.keys.system_sealer()
        key = f"{stored['partner']}/{stored['request_id']}"
        kept = sealer.open(bytes(stored["response"]), table="requests", key=key)
        # The digest is sealed too: in the clear, the few forms a student can hand in are tried in a minute.
        before = bytes(stored["digest"])
        if not before:
            before, kept = kept[:_DIGEST], kept[_DIGEST:]
        if before != digest:
            raise Refusal(
                "ALREADY_EXISTS", "KEY_REUSED", "this request_id was used for another request; take a new one"
            )
        length = int.from_bytes(kept[:4], "big")
        answer, lost = kept[4 + length :], 0
        for whose, relation, purpose, basis, shown in json.loads(kept[4 : 4 + length]):
            mask, denials = self.door.permitted(
                tx, recipient=caller, purpose=purpose, student=whose, relation=relation, basis=basis
            )
            lost |= shown & ~mask
            reason = deciding(d.reason for d in denials.values()) if shown and not shown & mask else ""
            append(
                tx, kind="replayed", decision="deny" if reason else "permit", reason=reason,
                actor=caller.id, partner=caller.agency, purpose=purpose,
                classes=shown & mask, student=whose, resource=method.name, basis=basis, policy_version=self.door.policy.version,
            )  # fmt: skip
        if not lost:
            return answer
        response = method.response.FromString(answer)
        redact(response, ~lost)
        return response.SerializeToString(deterministic=True)

    def read(self, method: Method, caller: Partner, request: Message) -> bytes:
        """Run a read, journal what it shows of whom, and only then give the bytes."""
        with self.store.read() as reading:
            call = Call(caller, method, reading, self.door)
            response = self._functions[method.path](request, call)
            answer = self._close(response, call, None)
            if not method.crisis and call.leaves and routine_stopped(reading):
                raise Refusal(
                    "UNAVAILABLE", "JOURNAL_UNSIGNED",
                    "the gateway's journal has not been signed for hours: nothing leaves but what a crisis needs; the"
                    " operator must mend it", retry_after_s=60.0,
                )  # fmt: skip
        shown: list[tuple[str | None, int]] = list(call.disclosed.items()) or [(None, 0)]

        def journal(tx: Tx) -> None:
            for student, classes in shown:
                call.journal_read(tx, student, classes)

        self.store.run(journal, crisis=method.crisis)
        return answer

    def _close(self, response: Message, call: Call, tx: ReadTx | None) -> bytes:
        """The second net: whatever a room forgot, no answer exceeds what policy could ever grant this caller."""
        ceiling = 0
        for purpose in {call.method.purpose} | call.purposes:
            ceiling |= self.door.policy.ceiling(call.caller.roles, purpose)
        size = response.ByteSize()
        # A required field that its room took out is named again, though there is nothing left of it to cut.
        if redact(response, ceiling) and response.ByteSize() != size:
            security.error("the edge cut fields of %s that its room had let pass", call.method.name)
        if isinstance(tx, Tx):
            for student, classes in call.disclosed.items():
                call.journal_read(tx, student, classes)
                call.rows += 1
        return response.SerializeToString(deterministic=True)

    def refused(self, refusal: Refusal, method: Method, caller: Partner) -> Callable[[Tx], None] | None:
        """The command that puts a refusal on record, or None where a log line is enough."""
        security.warning("%s %s/%s caller=%s", method.name, refusal.status, refusal.reason, caller.id)
        if refusal.status not in _ON_RECORD:
            return None

        def journal(tx: Tx) -> None:
            append(
                tx, kind="refused", decision="deny", actor=caller.id, partner=refusal.metadata.get("recipient", ""),
                purpose=method.purpose, student=refusal.subject, resource=method.name, reason=refusal.reason,
                basis=refusal.metadata.get("basis", ""), policy_version=self.door.policy.version,
            )  # fmt: skip

        return journal

    def call(self, path: str, request: Message, caller: Partner) -> Message:
        """A whole call from inside the gateway, as ``caller``: what adapters bring takes the road partners take.

        Raises what the edge would answer, as Refusal.
        """
        method = self.methods[path]
        with self._on_record(method, caller):
            self.admit(method, caller)
            validate(request)
            if method.mutates and not self.outside(method):
                answer = self.store.run(self._command(method, request, caller), crisis=method.crisis)
            else:
                answer = self.read(method, caller, request)
        return method.response.FromString(answer)

    def prepare(self, path: str, request: Message, caller: Partner) -> "Waiting":
        """The first half of :meth:`call` for a mutation: checked and prepared, and not yet in line for the writer.

        Raises as ``call`` does.
        """
        method = self.methods[path]
        with self._on_record(method, caller):
            self.admit(method, caller)
            validate(request)
            return Waiting(self, self._command(method, request, caller))

    def answer(self, mutation: Mutation, coming: "Future[bytes]") -> Message:
        """The second half: wait for the commit."""
        with self._on_record(mutation.method, mutation.caller):
            return mutation.method.response.FromString(coming.result())

    def _command(self, method: Method, request: Message, caller: Partner) -> Mutation:
        data = request.SerializeToString(deterministic=True)
        question = self.question(method, caller, request)
        return self.mutation(method, caller, request, data, question() if question else None)

    @contextmanager
    def _on_record(self, method: Method, caller: Partner) -> Generator[None, None, None]:
        try:
            yield
        except Refusal as refusal:
            if journal := self.refused(refusal, method, caller):
                self.store.run(journal)
            raise


class Waiting:
    """A mutation that is ready for the writer."""

    __slots__ = ("_coming", "_mutation", "_pipeline")

    def __init__(self, pipeline: Pipeline, mutation: Mutation) -> None:
        self._pipeline = pipeline
        self._mutation = mutation
        self._coming: Future[bytes] | None = None

    def submit(self) -> None:
        """Get in line."""
        self._coming = self._pipeline.store.write(self._mutation, crisis=self._mutation.method.crisis)

    def result(self) -> Message:
        """The answer, once it is durable. Raises Refusal."""
        if self._coming is None:
            self.submit()
        return self._pipeline.answer(self._mutation, cast("Future[bytes]", self._coming))
