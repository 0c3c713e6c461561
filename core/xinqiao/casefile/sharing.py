"""Sharing a case: for a purpose, for classes, for a term, and taking it back."""

from xinqiao.api.casefile.v1 import casefile_service_pb2 as rpc
from xinqiao.api.casefile.v1 import sharing_pb2 as pb
from xinqiao.api.common.v1.options_pb2 import Purpose
from xinqiao.casefile.access import Access, own_student, show
from xinqiao.casefile.shares import Shares, Terms
from xinqiao.contract.errors import Refusal
from xinqiao.contract.fields import mask_of
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.records import check_version, newest
from xinqiao.disclosure.registry import owns
from xinqiao.store import tables
from xinqiao.store.sql import ColumnElement


class Sharing:
    """The sharing functions of ``CaseFileService``."""

    shares: Shares

    def share_case(self, request: rpc.ShareCaseRequest, call: Call) -> rpc.ShareCaseResponse:
        """Share a case; it opens nothing that policy and consent do not open too."""
        known = own_student(call, request.student)
        call.student = known.id
        terms = Terms(
            request.recipient,
            int(request.purpose),
            mask_of(list(request.classes)),
            request.not_after_us,
            request.reason,
        )
        share, withheld = self.shares.give(call, known, terms)
        record = share.SerializeToString()
        response = rpc.ShareCaseResponse(share=share, withheld=withheld)
        call.view(response, student=known.id)
        word = Purpose.Name(request.purpose).removeprefix("PURPOSE_")
        call.journal(
            "share.given", resource=share.name, student=known.id, reason=f"{request.recipient}:{word}:{request.reason}",
            payload=record,
        )  # fmt: skip
        return response

    def revoke_share(self, request: rpc.RevokeShareRequest, call: Call) -> rpc.RevokeShareResponse:
        """End a share or a membership: from this commit nothing is read by it."""
        row = call.tx.get(tables.shares, request.name.removeprefix("shares/"))
        if row is None or not owns(call.caller, str(row["school"])):
            raise Refusal("NOT_FOUND", "SHARE", "no such share for this caller")
        check_version(row, request.etag)
        if row["state"] != pb.SHARE_STATE_ACTIVE:
            raise Refusal("FAILED_PRECONDITION", "STATE", "the share is over already")
        student = call.student = str(row["student"])
        share, returned = self.shares.end(call.tx, row, int(pb.SHARE_STATE_REVOKED), request.reason)
        share.student = call.door.students.name(call.caller.agency, student)
        response = rpc.RevokeShareResponse(share=share, returned_tasks=returned)
        call.view(response, student=student)
        call.journal("share.revoked", resource=request.name, student=student, reason=request.reason)
        return response

    def list_shares(self, request: rpc.ListSharesRequest, call: Call) -> rpc.ListSharesResponse:
        """To a school the shares it gave; to anybody else those in force for it."""
        c, caller, now_us = tables.shares.c, call.caller, call.reading.now_us
        schools = [school for school in caller.schools if owns(caller, school)]
        mine = (c.recipient == caller.agency) & (c.state == int(pb.SHARE_STATE_ACTIVE)) & (c.not_after_us > now_us)
        wanted: ColumnElement[bool] = c.school.in_(schools) | mine
        if request.HasField("student"):
            known = own_student(call, request.student) if schools else call.door.students.resolve(
                call.reading, caller, request.student
            )  # fmt: skip
            wanted = wanted & (c.student == known.id)
        rows, following = newest(call, tables.shares, request, wanted)
        shown: list[pb.Share] = []
        for row in rows:
            share = self.shares.message(row, caller.agency)
            own = owns(caller, str(row["school"]))
            by = Access("OWN", call.method.purpose) if own else Access("PARTY", int(row["purpose"]), share.name, row)
            show(call, share, str(row["student"]), by)
            shown.append(share)
        # One whose consent was taken back tells nothing any more, not even that it is there.
        return rpc.ListSharesResponse(shares=[each for each in shown if each.name], next_page_token=following)
