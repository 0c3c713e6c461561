"""`xinqiao access`: asking to look at one record, deciding on it, looking once."""

import json as json_text
import os
from collections.abc import Iterable
from pathlib import Path

from xinqiao.api.common.v1.types_pb2 import Withheld
from xinqiao.api.gateway.v1 import access_service_pb2 as rpc
from xinqiao.api.gateway.v1.access_service_pb2_grpc import AccessServiceStub
from xinqiao.cli.casing import student_ref
from xinqiao.cli.output import as_json, plain, say, warn, when
from xinqiao.cli.remote import connect, request_id
from xinqiao.cli.tables import table
from xinqiao.cli.texts import Texts
from xinqiao.contract.fields import class_name

_DELIVERY = "deliveries/"


def ask(texts: Texts, config: Path, partner: str, address: str, *, what: str, reason: str, json: bool) -> int:
    """Ask, and print the token once."""
    request = rpc.RequestAccessRequest(request_id=request_id(), reason=reason)
    if what.startswith(_DELIVERY):
        request.delivery = what
    else:
        request.student.CopyFrom(student_ref(texts, what))
    with connect(texts, config, partner, address) as remote:
        answer = remote.call(AccessServiceStub(remote.channel).RequestAccess, request)
    if json:
        as_json(plain(answer))
        return 0
    found = answer.access
    lines = texts(
        "access.asked", name=found.name, holder=answer.holder, until=when(found.due_us), token=answer.token
    )  # fmt: skip
    for line in lines.splitlines():
        say(line)
    return 0


def decide(
    texts: Texts, config: Path, partner: str, address: str, *, name: str, approve: bool, reason: str, json: bool
) -> int:  # fmt: skip
    """Say yes or no as the second person."""
    request = rpc.DecideAccessRequest(request_id=request_id(), name=name, approve=approve, reason=reason)
    with connect(texts, config, partner, address) as remote:
        found = remote.call(AccessServiceStub(remote.channel).DecideAccess, request).access
    if json:
        as_json(plain(found))
    else:
        key = "access.approved" if approve else "access.refused"
        say(texts(key, name=found.name, asker=found.asker, until=when(found.due_us)))
    return 0


def list_requests(
    texts: Texts, config: Path, partner: str, address: str, *, open_only: bool, limit: int, json: bool
) -> int:  # fmt: skip
    """Print asks, newest first."""
    with connect(texts, config, partner, address) as remote:
        stub = AccessServiceStub(remote.channel)

        def page(size: int, token: str) -> tuple[list[rpc.AccessRequest], str]:
            request = rpc.ListAccessRequestsRequest(open_only=open_only, page_size=size, page_token=token)
            answer = remote.call(stub.ListAccessRequests, request)
            return list(answer.requests), answer.next_page_token

        found = remote.pages(page, limit)
    if json:
        as_json([plain(each) for each in found])
    elif not found:
        say(texts("nothing"))
    else:
        names = ("name", "asker", "resource", "reason", "state", "until", "decided_by")
        rows = [
            (
                each.name, each.asker, each.resource, each.reason,
                rpc.AccessState.Name(each.state).removeprefix("ACCESS_STATE_").lower(), when(each.due_us), each.decided_by,
            )
            for each in found
        ]  # fmt: skip
        table([texts(f"col.{name}") for name in names], rows)
    return 0


def show(texts: Texts, config: Path, partner: str, address: str, *, name: str, token: str, reason: str) -> int:
    """Print a dead letter, always as JSON: its parts differ from kind to kind."""
    request = rpc.GetDeadLetterRequest(request_id=request_id(), name=name, token=token, reason=reason)
    with connect(texts, config, partner, address) as remote:
        answer = remote.call(AccessServiceStub(remote.channel).GetDeadLetter, request)
    as_json(plain(answer))
    _kept_back(texts, answer.withheld)
    return 0


def export(
    texts: Texts, config: Path, partner: str, address: str, *, student: str, token: str, reason: str, out: Path, json: bool
) -> int:  # fmt: skip
    """Write a student's record to a file that nobody else may read."""
    request = rpc.ExportStudentRequest(
        request_id=request_id(), student=student_ref(texts, student), token=token, reason=reason
    )
    # Opened first: a place that cannot be written must not cost the token.
    with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        try:
            with connect(texts, config, partner, address) as remote:
                answer = remote.call(AccessServiceStub(remote.channel).ExportStudent, request)
        except BaseException:
            out.unlink()
            raise
        file.write(json_text.dumps(plain(answer.export), ensure_ascii=False, indent=2) + "\n")
    count = sum(len(value) for field, value in answer.export.ListFields() if field.is_repeated)
    if json:
        as_json({"file": str(out), "records": count, "unreadable": answer.unreadable})
    else:
        say(texts("access.written", file=out, count=count, unreadable=answer.unreadable))
    _kept_back(texts, answer.withheld)
    return 0


def _kept_back(texts: Texts, withheld: Iterable[Withheld]) -> None:
    fields = ", ".join(dict.fromkeys(f"{class_name(each.field_class)} ({each.reason})" for each in withheld))
    if fields:
        warn(texts("access.withheld", fields=fields))
