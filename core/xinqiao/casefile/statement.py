"""What happened in a case, and who saw what of a student, when, why and by what: both from the journal alone."""

from collections.abc import Sequence

from xinqiao.api.casefile.v1 import casefile_service_pb2 as rpc
from xinqiao.api.casefile.v1 import sharing_pb2 as pb
from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.casefile.access import mask_of_access, shared_student, show
from xinqiao.casefile.plans import kind_word
from xinqiao.contract.entry_kinds import visible_kinds
from xinqiao.contract.errors import Refusal
from xinqiao.contract.fields import classes_of
from xinqiao.contract.paging import page_size, position, token
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.records import Paged
from xinqiao.store import tables
from xinqiao.store.sql import ColumnElement, RowMapping

_J = tables.journal.c
_LOOKS = ("read", "replayed", "refused")
"""Kinds of journal rows that change nothing."""


class Statements:
    """The functions of ``CaseFileService`` that read the journal."""

    door: Door

    def list_case_events(self, request: rpc.ListCaseEventsRequest, call: Call) -> rpc.ListCaseEventsResponse:
        """To the school everything that changed; to others what they did, got or may see the entry of."""
        known, by = shared_student(call, request.student)
        call.student = known.id
        wanted = (_J.student == known.id) & _J.kind.not_in(_LOOKS) & (_J.decision == "permit")
        if not by.own:
            mask, _ = mask_of_access(call, known.id, by)
            words = [kind_word(kind) for kind in visible_kinds(mask)]
            seen = (_J.kind == "entry.recorded") & _J.reason.in_(words)
            if mask >> options.FIELD_CLASS_CARE_TASK & 1 and by.share is not None and by.share["team"]:
                seen = seen | _J.kind.like("task.%")
            wanted = wanted & ((_J.partner == call.caller.agency) | seen)
        rows, following = _page(call, request, wanted)
        response = rpc.ListCaseEventsResponse(next_page_token=following)
        for row in rows:
            response.events.add(
                time_us=row["at_us"], kind=row["kind"], resource=row["resource"], actor=self._agency(str(row["actor"]))
            )
        show(call, response, known.id, by)
        return response

    def list_disclosures(self, request: rpc.ListDisclosuresRequest, call: Call) -> rpc.ListDisclosuresResponse:
        """Every row of the journal by which fields of the student went to somebody, and nothing else."""
        known = self.door.students.resolve(call.reading, call.caller, request.student)
        call.student = known.id
        own = known.school in call.caller.schools
        wanted = (_J.student == known.id) & (_J.decision == "permit") & (_J.classes > 0)
        if not own:
            self._may_be_told(call, known.id)
            wanted = wanted & (_J.purpose != int(options.PURPOSE_MANDATORY_REPORT))
        rows, following = _page(call, request, wanted)
        response = rpc.ListDisclosuresResponse(next_page_token=following)
        response.disclosures.extend(disclosure_of(self.door, row) for row in rows)
        call.view(response, student=known.id, relation="OWN" if own else "PARTY")
        return response

    def _may_be_told(self, call: Call, student: str) -> None:
        """A portal cannot know which guardian reads: with one in conflict with the student, a person answers instead."""
        if any(each.in_conflict for each in self.door.students.load(call.reading, student, "").guardians):
            raise Refusal("FAILED_PRECONDITION", "GUARDIAN_IN_CONFLICT", "ask the school, which answers in person")

    def _agency(self, actor: str) -> str:
        partner = self.door.registry.find(actor)
        return partner.agency if partner is not None else actor


def disclosure_of(door: Door, row: RowMapping) -> pb.Disclosure:
    """A row of the journal by which something went to somebody, for people."""
    partner = door.registry.find(str(row["partner"]))
    basis = door.bases.get(str(row["basis"]))
    names = partner.names if partner is not None else {}
    citation = basis.citation if basis is not None else {}
    return pb.Disclosure(
        entry=f"{row['writer']}/{row['seq']}", time_us=row["at_us"], partner=row["partner"],
        partner_zh=names.get("zh", ""), partner_en=names.get("en", ""), actor=row["actor"], kind=row["kind"],
        purpose=row["purpose"], classes=[options.FieldClass.ValueType(each) for each in classes_of(row["classes"])],
        basis=row["basis"], citation_zh=citation.get("zh", ""), citation_en=citation.get("en", ""),
        policy_version=row["policy_version"], resource=row["resource"],
    )  # fmt: skip


def _page(call: Call, request: Paged, wanted: ColumnElement[bool]) -> tuple[Sequence[RowMapping], str]:
    """A page of the journal, newest first. Rows are only ever added, at its head: no page misses or repeats one."""
    after = position(request.page_token)
    if after is not None:
        writer, _, seq = after[1].rpartition("/")
        if not seq.isdigit():
            raise Refusal("INVALID_ARGUMENT", "PAGE_TOKEN", "use next_page_token of the page before, unchanged")
        older = (_J.writer < writer) | ((_J.writer == writer) & (_J.seq < int(seq)))
        wanted = wanted & ((_J.at_us < after[0]) | ((_J.at_us == after[0]) & older))
    size = page_size(request.page_size)
    ordered = tables.journal.select().where(wanted).order_by(_J.at_us.desc(), _J.writer.desc(), _J.seq.desc())
    rows = call.reading.all(ordered.limit(size + 1))
    if len(rows) <= size:
        return rows, ""
    last = rows[size - 1]
    return rows[:size], token(int(last["at_us"]), f"{last['writer']}/{last['seq']}")
