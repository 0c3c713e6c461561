"""Emergency access (破窗访问): a rescuer sees what a law allows, a second person decides on it, the guardians are told."""

from xinqiao.api.casefile.v1 import consent_pb2 as pb
from xinqiao.api.casefile.v1 import consent_service_pb2 as rpc
from xinqiao.api.common.v1.options_pb2 import ROLE_OPERATOR
from xinqiao.api.common.v1.types_pb2 import TIER_RED, Withheld
from xinqiao.api.screening.v1.screening_pb2 import Signal
from xinqiao.casefile.recalls import Given, Recalls
from xinqiao.contract.errors import Refusal
from xinqiao.contract.fields import class_name, mask_of
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door, denial
from xinqiao.disclosure.duties import open_duty
from xinqiao.disclosure.overrides import open_override
from xinqiao.disclosure.policy import Relation
from xinqiao.disclosure.records import newest
from xinqiao.disclosure.seconds import may_second
from xinqiao.disclosure.students import Known
from xinqiao.store import tables
from xinqiao.store.holdings import drop
from xinqiao.store.sql import RowMapping

_FACTS = 10  # the newest facts of a crisis; a rescuer wants today, not the archive


class Overrides:
    """Break the glass, and the decisions on it."""

    def __init__(self, door: Door, recalls: Recalls) -> None:
        self.door = door
        self._recalls = recalls

    def break_glass(self, request: rpc.BreakGlassRequest, call: Call) -> rpc.BreakGlassResponse:
        """Show what basis and policy allow; open the decision and the duty to tell."""
        if not request.facts.strip():
            raise Refusal("INVALID_ARGUMENT", "FACTS_REQUIRED", "say in `facts` what has happened")
        known = self.door.students.resolve(call.tx, call.caller, request.student)
        basis, purpose = self.door.bases.get(request.basis), call.method.purpose
        state = basis.state(purpose, call.caller.roles, call.tx.now_us) if basis is not None else "UNKNOWN"
        if state != "VALID":
            raise denial(f"BASIS_{state}", call.caller, purpose, known.id, request.basis)
        call.student = known.id
        record = self.door.students.leaving(call.tx, known.id, call.caller.agency)
        response = rpc.BreakGlassResponse(student=record, crisis_facts=self._facts(call, known))
        withheld = call.view(response, student=known.id, relation="PARTY", basis=request.basis)
        duty = open_duty(
            call.tx, self.door, student=known.id, school=known.school, basis=request.basis, item="",
            holder=self.door.registry.holder(known.school), tier=TIER_RED,
        )  # fmt: skip
        override = open_override(
            call.tx, self.door, student=known.id, school=known.school, basis=request.basis, actor=call.caller.id,
            recipient=call.caller.agency, purpose=purpose, facts=request.facts, classes=call.disclosed[known.id],
            duty=duty, tier=TIER_RED,
        )  # fmt: skip
        response.override, response.due_us = override.name, override.due_us
        response.withheld.extend(_once(withheld))
        call.journal("override.used", resource=override.name, student=known.id, basis=request.basis)
        return response

    def decide_override(self, request: rpc.DecideOverrideRequest, call: Call) -> rpc.DecideOverrideResponse:
        """A second person approves, or has what was shown recalled."""
        row = call.tx.get(tables.overrides, request.name.removeprefix("overrides/"))
        if row is None or not may_second(call.caller, str(row["school"])):
            raise Refusal("NOT_FOUND", "OVERRIDE", "no such emergency access for this caller")
        if row["actor"] == call.caller.id:
            raise Refusal("PERMISSION_DENIED", "OWN_OVERRIDE", "a second person must decide")
        if row["state"] != pb.OVERRIDE_STATE_PENDING:
            raise Refusal("FAILED_PRECONDITION", "STATE", "it is decided already")
        student, identifier = str(row["student"]), str(row["id"])
        call.student = student
        override = self.door.keys.record(pb.Override, row, table="overrides")
        override.state = pb.OVERRIDE_STATE_APPROVED if request.approve else pb.OVERRIDE_STATE_REJECTED
        override.decided_by, override.decide_time_us, override.note = call.caller.id, call.tx.now_us, request.note
        record = override.SerializeToString()
        call.tx.update(
            tables.overrides, (identifier,), state=int(override.state), updated_us=call.tx.now_us,
            version=int(row["version"]) + 1,
            sealed=self.door.keys.sealer(student).seal(record, table="overrides", key=identifier),
        )  # fmt: skip
        drop(call.tx, request.name)
        response = rpc.DecideOverrideResponse()
        if not request.approve:
            response.recall = self._recalls.open(
                call.tx, student=student, school=str(row["school"]), recipient=str(row["recipient"]),
                cause=request.name, purpose=int(override.purpose), actor=call.caller.id,
                given=Given(mask_of(list(override.classes)), []),
            )  # fmt: skip
        self._shown(call, row, override, response.override)
        call.view(response, student=student, relation=_relation(call, row))
        call.journal(
            "override.decided", resource=request.name, student=student, basis=override.basis, payload=record,
            reason=pb.OverrideState.Name(override.state),
        )  # fmt: skip
        return response

    def list_overrides(self, request: rpc.ListOverridesRequest, call: Call) -> rpc.ListOverridesResponse:
        """Those the caller may decide on, newest first."""
        c = tables.overrides.c
        mine = c.id != "" if ROLE_OPERATOR in call.caller.roles else c.school.in_(call.caller.schools)
        rows, token = newest(call, tables.overrides, request, mine)
        response = rpc.ListOverridesResponse(next_page_token=token)
        for row in rows:
            self._shown(call, row, self.door.keys.record(pb.Override, row, table="overrides"), response.overrides.add())
        return response

    def _shown(self, call: Call, row: RowMapping, override: pb.Override, into: pb.Override) -> None:
        override.name = f"overrides/{row['id']}"
        override.student = self.door.students.name(call.caller.agency, str(row["student"]))
        if override.state == pb.OVERRIDE_STATE_PENDING and call.reading.now_us >= override.due_us:
            override.state = pb.OVERRIDE_STATE_OVERDUE
        into.CopyFrom(override)
        call.view(into, student=str(row["student"]), relation=_relation(call, row))

    def _facts(self, call: Call, known: Known) -> list[str]:
        c = tables.signals.c
        rows = call.tx.all(
            tables.signals.select().where(c.student == known.id).order_by(c.created_us.desc(), c.id).limit(_FACTS)
        )
        found = [self.door.keys.readable(Signal, row, table="signals") for row in rows]
        return [signal.facts for signal in found if signal is not None and signal.facts]


def _relation(call: Call, row: RowMapping) -> Relation:
    return "OWN" if str(row["school"]) in call.caller.schools else "NONE"


def _once(withheld: list[Withheld]) -> list[Withheld]:
    """One line a class: the paths of many guardians say nothing more."""
    return list({class_name(each.field_class): each for each in withheld}.values())
