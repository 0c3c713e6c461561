"""A case as its reader may see it, and what a partner would see of it now, by which rule."""

from xinqiao.api.casefile.v1 import casefile_pb2 as pb
from xinqiao.api.casefile.v1 import casefile_service_pb2 as rpc
from xinqiao.api.common.v1.options_pb2 import FieldClass
from xinqiao.api.common.v1.types_pb2 import Tier
from xinqiao.casefile.access import Access, mask_of_access, shared_student, show, withheld_classes
from xinqiao.casefile.consents import state_now
from xinqiao.casefile.plans import Plans
from xinqiao.casefile.shares import Shares
from xinqiao.contract.errors import Refusal
from xinqiao.contract.fields import ALL_CLASSES, plan
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.guardians import reachable
from xinqiao.disclosure.policy import Policy, Question, decide
from xinqiao.disclosure.registry import Partner, owns
from xinqiao.disclosure.shares import active, ground_of_task
from xinqiao.disclosure.students import Known
from xinqiao.disclosure.versions import PolicyVersions
from xinqiao.store import tables
from xinqiao.store.errors import SealBroken
from xinqiao.store.sql import RowMapping, Table, func


class Cases:
    """The reading functions of ``CaseFileService``."""

    door: Door
    shares: Shares
    plans: Plans
    versions: PolicyVersions

    def get_case(self, request: rpc.GetCaseRequest, call: Call) -> rpc.GetCaseResponse:
        """The case as the caller may see it, with what was kept back."""
        known, by = shared_student(call, request.student, request.share)
        call.student = known.id
        case = pb.Case(student=self.door.students.load(call.reading, known.id, call.caller.agency))
        t = tables.triages.c
        highest = call.reading.scalar(
            tables.triages.select().with_only_columns(func.max(t.confirmed)).where(t.student == known.id)
        )
        case.tier = Tier.ValueType(highest or 0)
        if by.own:
            self._add_all(call, case, known)
        else:
            case.student.local_id = ""
            self._add_its_own(call, case, known, by)
        found, hidden = self.plans.open_plan_of(call, known.id, by)
        if found is not None:
            case.plan.CopyFrom(found)
        withheld = show(call, case, known.id, by)
        if by.own:
            withheld = [*withheld, *hidden]
        else:
            # By class, whether or not there is anything of it: a path would tell that there is, and how many.
            mask, reasons = mask_of_access(call, known.id, by)
            withheld = withheld_classes("case", plan(pb.Case.DESCRIPTOR).mask, mask, reasons)
        response = rpc.GetCaseResponse(withheld=withheld, case=case)
        show(call, response, known.id, by)  # what was kept back tells something too
        return response

    def _add_all(self, call: Call, case: pb.Case, known: Known) -> None:
        for row in self._rows(call, tables.consents, known.id):
            case.consents.append(self._consent(row, call.reading.now_us))
        for row in self._rows(call, tables.duties, known.id):
            try:
                duty = self.door.keys.record(pb.Duty, row, table="duties")
            except SealBroken:
                duty = pb.Duty(kind=str(row["kind"]), basis=str(row["basis"]))
            duty.name, duty.state = f"duties/{row['id']}", row["state"]
            if duty.contacts:  # as the record has them now: one flagged since must not be told
                del duty.contacts[:]
                duty.contacts.extend(reachable(case.student.guardians))
            case.duties.append(duty)
        self._add_holdings(call, case, known)
        s = tables.shares.c
        given = (s.student == known.id) & (s.state == 1) & (s.not_after_us > call.reading.now_us)
        for row in call.reading.all(tables.shares.select().where(given).order_by(s.created_us.desc(), s.id)):
            case.shares.append(self.shares.message(row, call.caller.agency))

    def _add_its_own(self, call: Call, case: pb.Case, known: Known, by: Access) -> None:
        """Consents for it, what it holds, and the share: whom else the student has to do with is not for it."""
        agency = call.caller.agency
        for row in self._rows(call, tables.consents, known.id):
            if row["recipient"] == agency and row["purpose"] == by.purpose:
                case.consents.append(self._consent(row, call.reading.now_us))
        self._add_holdings(call, case, known, {call.caller.id, agency}, by.ground)
        if by.share is not None:
            case.shares.append(self.shares.message(by.share, agency))

    def _add_holdings(
        self, call: Call, case: pb.Case, known: Known, holders: "set[str] | None" = None, ground: str = ""
    ) -> None:
        h = tables.holdings
        for row in call.reading.all(h.select().where(h.c.student == known.id).order_by(h.c.deadline_us)):
            if holders is not None and row["holder"] not in holders:
                continue
            if ground and row["kind"] == "task" and ground_of_task(call.reading, str(row["item"])) != ground:
                continue
            case.holdings.add(
                item=row["item"], kind=row["kind"], holder=row["holder"], deadline_us=row["deadline_us"],
                step=row["step"], tier=row["tier"], escalations=row["escalations"], opened_us=row["opened_us"],
            )  # fmt: skip

    def _rows(self, call: Call, table: Table, student: str) -> "list[RowMapping]":
        return list(
            call.reading.all(table.select().where(table.c.student == student).order_by(table.c.created_us.desc()))
        )

    def _consent(self, row: RowMapping, now_us: int) -> pb.Consent:
        try:
            consent = self.door.keys.record(pb.Consent, row, table="consents")
        except SealBroken:  # one broken record must not hide the case: it shows its plain columns
            consent = pb.Consent(recipient=str(row["recipient"]), purpose=row["purpose"])
        consent.name, consent.etag = f"consents/{row['id']}", str(row["version"])
        consent.state = state_now(row, now_us)
        return consent

    # -- what if ------------------------------------------------------------------------------------------------------

    def explain_disclosure(self, request: rpc.ExplainDisclosureRequest, call: Call) -> rpc.ExplainDisclosureResponse:
        """Rule by rule what a partner would see now, under this or another version of the policy; nothing is released."""
        known = self.door.students.resolve(call.reading, call.caller, request.student)
        call.student = known.id
        recipient = self.door.registry.find(request.recipient)
        if recipient is None:
            raise Refusal("NOT_FOUND", "RECIPIENT", "no such partner")
        policy = self._version(request.policy_version)
        asked = self.door.question(
            call.reading, recipient=recipient, purpose=int(request.purpose), student=known.id,
            relation="OWN" if owns(recipient, known.school) else "PARTY", basis=request.basis, policy=policy,
        )  # fmt: skip
        response = rpc.ExplainDisclosureResponse(policy_version=policy.version, kept_versions=self.versions.names())
        response.verdicts.extend(_verdicts(policy, asked, recipient))
        if request.against_version:
            other = self._version(request.against_version)
            again = self.door.question(
                call.reading, recipient=recipient, purpose=int(request.purpose), student=known.id,
                relation=asked.relation, basis=request.basis, policy=other,
            )  # fmt: skip
            response.against.extend(_verdicts(other, again, recipient))
            response.changed.extend(
                one.field_class
                for one, two in zip(response.verdicts, response.against, strict=True)
                if one.permitted != two.permitted
            )
        response.shares.extend(
            f"shares/{row['id']}"
            for row in active(call.reading, known.id, recipient.agency)
            if row["purpose"] == request.purpose
        )
        call.disclosed[known.id] = 0
        return response

    def _version(self, version: str) -> Policy:
        if version in ("", self.door.policy.version):
            return self.door.policy
        found = self.versions.load(version)
        if found is None:
            raise Refusal("NOT_FOUND", "POLICY_VERSION", "no such version was kept; kept_versions has those there are")
        return found


def _verdicts(policy: Policy, asked: Question, recipient: Partner) -> "list[rpc.ClassVerdict]":
    found: list[rpc.ClassVerdict] = []
    for field_class in ALL_CLASSES:
        decisions = [
            decide(policy, asked._replace(role=role, field_class=field_class)) for role in sorted(recipient.roles)
        ]  # fmt: skip
        best = next((d for d in decisions if d.permit), decisions[0])
        found.append(
            rpc.ClassVerdict(
                field_class=FieldClass.ValueType(field_class), permitted=best.permit, rule=best.rule, reason=best.reason
            )
        )
    return found
