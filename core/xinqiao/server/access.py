"""Looking at one record outside the daily work: asked for, decided by a second person, one look a token (查阅审批)."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message

from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.api.common.v1.options_pb2 import ROLE_OPERATOR, Lane
from xinqiao.api.common.v1.types_pb2 import Withheld
from xinqiao.api.gateway.v1 import access_service_pb2 as rpc
from xinqiao.casefile.access import own_student
from xinqiao.casefile.export import Exports
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.call import Call, outside_transaction
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.policy import Relation
from xinqiao.disclosure.records import newest
from xinqiao.disclosure.registry import owns
from xinqiao.disclosure.seconds import may_second, seconds
from xinqiao.journal.append import append
from xinqiao.server.access_rules import AccessRules, Look
from xinqiao.server.status import delivery_of
from xinqiao.store import tables
from xinqiao.store.claims import DeliveryState
from xinqiao.store.engine import Store
from xinqiao.store.errors import KeyGone, SealBroken
from xinqiao.store.holdings import drop, hold
from xinqiao.store.ids import new_id
from xinqiao.store.sql import ColumnElement, RowMapping, select
from xinqiao.store.tx import ReadTx, Tx

_TOKEN_BYTES: Final = 32
_BATCH: Final = 100
_NAME: Final = "accessRequests/"
_WAITING: Final = (int(rpc.ACCESS_STATE_ASKED), int(rpc.ACCESS_STATE_APPROVED))
_NOT_OPEN: Final = {
    int(rpc.ACCESS_STATE_ASKED): "ACCESS_NOT_APPROVED",
    int(rpc.ACCESS_STATE_REFUSED): "ACCESS_NOT_APPROVED",
    int(rpc.ACCESS_STATE_USED): "ACCESS_USED",
    int(rpc.ACCESS_STATE_EXPIRED): "ACCESS_EXPIRED",
}
_TEXTS: Final = {
    "ACCESS_TOKEN": "a look at this record needs a token: ask for it with RequestAccess",
    "ACCESS_ASKER": "the token is another one's: ask for one of your own",
    "ACCESS_RESOURCE": "the token is for another record: ask for this one",
    "ACCESS_PURPOSE": "the token was asked for another reason: repeat that one, or ask again",
    "ACCESS_NOT_APPROVED": "nobody has approved this look: a second person must",
    "ACCESS_USED": "the token was used: one look is one token, ask again",
    "ACCESS_EXPIRED": "the token's time is over: ask again",
}

T = TypeVar("T", bound=Message)


class _Target(NamedTuple):
    """What a look is at: the student, and the delivery, or none for all that is held of the student."""

    student: str
    school: str
    delivery: str


class Access:
    """The functions behind ``AccessService``, and the tick that ends what nobody decided or used."""

    def __init__(self, store: Store, door: Door, rules: AccessRules, exports: Exports) -> None:
        self._store = store
        self._door = door
        self._rules = rules
        self._exports = exports

    # -- asking and deciding ------------------------------------------------------------------------------------------

    def request_access(self, request: rpc.RequestAccessRequest, call: Call) -> rpc.RequestAccessResponse:
        """Open an ask with its holder and deadline; its token is worth nothing until somebody else approves."""
        if request.delivery:
            row, target = self._dead(call, request.delivery)
            if row["payload"] is None:
                raise _erased(target.student)
        else:
            known = own_student(call, request.student)
            target = _Target(known.id, known.school, "")
        terms = self._terms(target.delivery)
        if request.reason.partition(":")[0] not in terms.reasons:
            words = ", ".join(sorted(terms.reasons))
            raise Refusal("INVALID_ARGUMENT", "PURPOSE_WORD", f"`reason` begins with one of {words} (access.yaml)")
        asked = seconds(self._door.registry, target.school, call.caller.id, terms.approvers)
        if not asked:
            text = "nobody but the asker may decide this: name a second person under `partners` in gateway.yaml"
            raise Refusal("FAILED_PRECONDITION", "NO_SECOND_PERSON", text)
        call.student, identifier = target.student, new_id(call.tx.now_us)
        token, due_us = secrets.token_urlsafe(_TOKEN_BYTES), call.tx.now_us + terms.decide_us
        call.tx.insert(
            tables.access_requests, identifier, target.student, target.school, target.delivery, call.caller.id,
            request.reason, _hash(token), int(rpc.ACCESS_STATE_ASKED), "", due_us, call.tx.now_us, call.tx.now_us, 1,
        )  # fmt: skip
        self._hold(call.tx, identifier, target, asked[0], due_us, "decide_access")
        response = rpc.RequestAccessResponse(token=token, holder=asked[0])
        self._answer(call, identifier, response.access, response)
        call.journal(
            "access.asked", resource=response.access.name, student=target.student,
            reason=f"{request.reason} for {_what(target)}",
        )  # fmt: skip
        return response

    def decide_access(self, request: rpc.DecideAccessRequest, call: Call) -> rpc.DecideAccessResponse:
        """The second person's word; with a yes the token opens its record for a short time."""
        identifier = request.name.removeprefix(_NAME)
        row = call.tx.get(tables.access_requests, identifier)
        if row is not None and row["asker"] == call.caller.id:
            raise self._refused("SECOND_PERSON", "a second person must decide, never the asker", row)
        terms = self._terms(str(row["delivery"])) if row is not None else None
        if row is None or terms is None or not may_second(call.caller, str(row["school"]), terms.approvers):
            raise Refusal("NOT_FOUND", "ACCESS", "no such ask for this caller")
        if row["state"] != rpc.ACCESS_STATE_ASKED or call.tx.now_us >= row["due_us"]:
            raise Refusal("FAILED_PRECONDITION", "STATE", "it is decided already, or its time is over")
        target = _Target(str(row["student"]), str(row["school"]), str(row["delivery"]))
        call.student = target.student
        state = rpc.ACCESS_STATE_APPROVED if request.approve else rpc.ACCESS_STATE_REFUSED
        due_us = call.tx.now_us + terms.open_us if request.approve else int(row["due_us"])
        self._move(call.tx, row, int(state), due_us=due_us, decided_by=call.caller.id)
        if request.approve:
            self._hold(call.tx, identifier, target, str(row["asker"]), due_us, "use_access")
        else:
            drop(call.tx, request.name)
        response = rpc.DecideAccessResponse()
        self._answer(call, identifier, response.access, response)
        call.journal(
            "access.decided", resource=request.name, student=target.student,
            reason=f"{'APPROVED' if request.approve else 'REFUSED'}:{request.reason}",
        )  # fmt: skip
        return response

    def list_access_requests(
        self, request: rpc.ListAccessRequestsRequest, call: Call
    ) -> rpc.ListAccessRequestsResponse:  # fmt: skip
        """What the caller asked, or may decide."""
        c = tables.access_requests.c
        wanted = (c.asker == call.caller.id) | self._mine(call)
        if request.open_only:
            wanted = wanted & (c.state == int(rpc.ACCESS_STATE_ASKED)) & (c.due_us > call.reading.now_us)
        rows, following = newest(call, tables.access_requests, request, wanted)
        response = rpc.ListAccessRequestsResponse(next_page_token=following)
        for row in rows:
            self._show(call, row, response.requests.add())
        return response

    def end_due(self) -> int:
        """End asks that nobody decided, and approvals that nobody used, in time; how many."""
        ended = 0
        while self._any_due():
            ended += self._store.run(self._end_due)
        return ended

    # -- looking ------------------------------------------------------------------------------------------------------

    @outside_transaction
    def get_dead_letter(self, request: rpc.GetDeadLetterRequest, call: Call) -> rpc.GetDeadLetterResponse:
        """The content of a dead delivery, by a token. Outside the edge's transaction, for no answer may be kept."""

        def look(inside: Call) -> rpc.GetDeadLetterResponse:
            target, name = self._spend(inside, request.token, request.reason, delivery=request.name)
            row, _ = self._dead(inside, request.name)
            response = rpc.GetDeadLetterResponse(delivery=delivery_of(row), content=self._content(row))
            response.withheld.extend(_once(self._view(inside, response, target)))
            self._view(inside, response, target)  # what was kept back tells something too
            inside.journal("access.used", resource=name, student=target.student, reason=request.reason, basis=name)
            return response

        return self._look(call, look)

    @outside_transaction
    def export_student(self, request: rpc.ExportStudentRequest, call: Call) -> rpc.ExportStudentResponse:
        """All that is held of a student, by a token. Outside the edge's transaction, for no answer may be kept."""

        def look(inside: Call) -> rpc.ExportStudentResponse:
            known = own_student(inside, request.student)
            target, name = self._spend(inside, request.token, request.reason, student=known.id)
            export, unreadable = self._exports.gather(
                inside.reading,
                known.id,
                inside.caller.agency,
                request.from_us,
                request.to_us or inside.reading.now_us + 1,
            )
            response = rpc.ExportStudentResponse(export=export, unreadable=unreadable)
            response.withheld.extend(_once(self._view(inside, response, target)))
            if response.ByteSize() > self._rules.export_bytes:
                text = f"the export is over {self._rules.export_bytes} bytes: ask for less time with from_us and to_us"
                raise Refusal("RESOURCE_EXHAUSTED", "EXPORT_TOO_LARGE", text)
            inside.journal("access.used", resource=name, student=known.id, reason=request.reason, basis=name)
            return response

        return self._look(call, look)

    def _look(self, call: Call, function: Callable[[Call], T]) -> T:
        """Spend, show and put on record in one transaction: what is refused spends nothing, what is shown is on record."""
        return self._store.run(lambda tx: function(replace(call, reading=tx)))

    def _spend(
        self, call: Call, token: str, reason: str, *, delivery: str = "", student: str = ""
    ) -> tuple[_Target, str]:  # fmt: skip
        """Use up a token: what it is for, and the name of its ask. Raises Refusal PERMISSION_DENIED/ACCESS_*."""
        a = tables.access_requests
        row = call.tx.one(a.select().where(a.c.token_hash == _hash(token))) if token else None
        if row is None:
            raise Refusal("PERMISSION_DENIED", "ACCESS_TOKEN", _TEXTS["ACCESS_TOKEN"])
        target = _Target(str(row["student"]), str(row["school"]), str(row["delivery"]))
        asked = (target.delivery, target.student if student else "")
        wrong = ""
        if row["asker"] != call.caller.id:
            wrong = "ACCESS_ASKER"
        elif asked != (delivery.removeprefix("deliveries/"), student):
            wrong = "ACCESS_RESOURCE"
        elif row["reason"] != reason:
            wrong = "ACCESS_PURPOSE"
        elif row["state"] in _NOT_OPEN:
            wrong = _NOT_OPEN[int(row["state"])]
        elif call.tx.now_us >= row["due_us"]:
            wrong = "ACCESS_EXPIRED"
        if wrong:
            raise self._refused(wrong, _TEXTS[wrong], row)
        name = f"{_NAME}{row['id']}"
        self._move(call.tx, row, int(rpc.ACCESS_STATE_USED))
        drop(call.tx, name)
        return target, name

    def _dead(self, call: Call, name: str) -> tuple[RowMapping, _Target]:
        """A dead delivery that the caller may ask for. Raises Refusal NOT_FOUND/DELIVERY, alike for a foreign one, or
        FAILED_PRECONDITION/{STATE, ERASED}."""
        row = call.tx.get(tables.deliveries, name.removeprefix("deliveries/"))
        student = call.tx.get(tables.students, str(row["student"])) if row is not None else None
        school = str(student["school"]) if student is not None else ""
        if row is None or not (ROLE_OPERATOR in call.caller.roles or owns(call.caller, school)):
            raise Refusal("NOT_FOUND", "DELIVERY", "no such delivery for this caller")
        if row["state"] != int(DeliveryState.DEAD):
            raise Refusal(
                "FAILED_PRECONDITION", "STATE", "the delivery is not dead: only what is given up is looked at"
            )
        return row, _Target(str(row["student"]), school, str(row["id"]))

    def _content(self, row: RowMapping) -> DeliverRequest:
        """What would have gone. Raises Refusal FAILED_PRECONDITION/{ERASED, UNREADABLE}."""
        student, key = str(row["student"]), str(row["id"])
        if row["payload"] is None:
            raise _erased(student)
        content = DeliverRequest(
            request_id=str(row["idempotency_key"]), lane=Lane.ValueType(int(row["lane"])), attempt=int(row["attempt"])
        )
        try:
            payload = self._door.keys.sealer(student).open(bytes(row["payload"]), table="deliveries", key=key)
            getattr(content, str(row["kind"])).ParseFromString(payload)
        except KeyGone:
            raise _erased(student) from None
        except (SealBroken, AttributeError, DecodeError):
            text = "its seal is broken, or another version of this program wrote it: nobody can read it"
            raise Refusal("FAILED_PRECONDITION", "UNREADABLE", text) from None
        return content

    # -- stored -------------------------------------------------------------------------------------------------------

    def _terms(self, delivery: str) -> Look:
        return self._rules.dead_letter if delivery else self._rules.student_export

    def _mine(self, call: Call) -> ColumnElement[bool]:
        """Asks that the caller may decide on."""
        c = tables.access_requests.c
        found = c.id == ""
        for kind, terms in (
            (c.delivery != "", self._rules.dead_letter),
            (c.delivery == "", self._rules.student_export),
        ):
            held = call.caller.roles.intersection(terms.approvers)
            if ROLE_OPERATOR in held:
                found = found | kind
            elif held:
                found = found | (kind & c.school.in_(call.caller.schools))
        return found

    def _hold(self, tx: Tx, identifier: str, target: _Target, holder: str, due_us: int, step: str) -> None:
        hold(
            tx, f"{_NAME}{identifier}", kind="access", school=target.school, student=target.student, holder=holder,
            deadline_us=due_us, step=step,
        )  # fmt: skip

    def _move(self, tx: Tx, row: RowMapping, state: int, **values: object) -> None:
        tx.update(
            tables.access_requests, (row["id"],), state=state, updated_us=tx.now_us, version=int(row["version"]) + 1,
            **values,
        )  # fmt: skip

    def _answer(self, call: Call, identifier: str, into: rpc.AccessRequest, response: Message) -> None:
        row = call.tx.get(tables.access_requests, identifier)
        assert row is not None
        self._show(call, row, into)
        self._view(call, response, _Target(str(row["student"]), str(row["school"]), ""))

    def _show(self, call: Call, row: RowMapping, into: rpc.AccessRequest) -> None:
        student, late = str(row["student"]), row["state"] in _WAITING and call.reading.now_us >= row["due_us"]
        delivery = str(row["delivery"])
        into.name, into.asker, into.reason = f"{_NAME}{row['id']}", str(row["asker"]), str(row["reason"])
        into.resource = f"deliveries/{delivery}" if delivery else self._door.students.name(call.caller.agency, student)
        into.state = rpc.ACCESS_STATE_EXPIRED if late else rpc.AccessState.ValueType(int(row["state"]))
        into.due_us, into.decided_by, into.create_time_us = row["due_us"], str(row["decided_by"]), row["created_us"]
        self._view(call, into, _Target(student, str(row["school"]), delivery))

    def _view(self, call: Call, message: Message, target: _Target) -> list[Withheld]:
        relation: Relation = "OWN" if owns(call.caller, target.school) else "NONE"
        return call.view(message, student=target.student, relation=relation)

    def _refused(self, reason: str, text: str, row: RowMapping) -> Refusal:
        """A refusal whose row in the journal names the ask and the student."""
        refusal = Refusal("PERMISSION_DENIED", reason, text, metadata={"basis": f"{_NAME}{row['id']}"})
        refusal.subject = str(row["student"])
        return refusal

    def _any_due(self) -> bool:
        """A look that takes no write transaction, for an idle gateway must not write."""
        with self._store.read() as reading:
            return bool(_due(reading, 1))

    def _end_due(self, tx: Tx) -> int:
        rows = _due(tx, _BATCH)
        for row in rows:
            name = f"{_NAME}{row['id']}"
            self._move(tx, row, int(rpc.ACCESS_STATE_EXPIRED))
            drop(tx, name)
            append(
                tx, kind="access.expired", decision="permit", actor="gateway", student=str(row["student"]),
                resource=name, reason="NOT_DECIDED" if row["state"] == rpc.ACCESS_STATE_ASKED else "NOT_USED",
                policy_version=self._door.policy.version,
            )  # fmt: skip
        return len(rows)


def _due(tx: ReadTx, limit: int) -> list[RowMapping]:
    c = tables.access_requests.c
    over = c.state.in_(_WAITING) & (c.due_us <= tx.now_us)
    return list(tx.all(select(tables.access_requests).where(over).order_by(c.due_us).limit(limit)))


def _hash(token: str) -> bytes:
    """A token is 256 random bits: a plain hash cannot be guessed back."""
    return hashlib.sha256(token.encode()).digest()


def _what(target: _Target) -> str:
    return f"deliveries/{target.delivery}" if target.delivery else "student"


def _erased(student: str) -> Refusal:
    refusal = Refusal("FAILED_PRECONDITION", "ERASED", "its content is past its time and erased")
    refusal.subject = student
    return refusal


def _once(withheld: list[Withheld]) -> list[Withheld]:
    """One line a class: the paths of many records say nothing more."""
    return list({each.field_class: each for each in withheld}.values())
