"""`xinqiao case`: one student's case, whom it is shared with, what happened in it, and who saw what."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from xinqiao.api.casefile.v1 import casefile_service_pb2 as rpc
from xinqiao.api.casefile.v1 import plan_pb2, sharing_pb2
from xinqiao.api.casefile.v1.casefile_service_pb2_grpc import CaseFileServiceStub
from xinqiao.api.common.v1.options_pb2 import FieldClass, Purpose
from xinqiao.api.common.v1.types_pb2 import StudentRef, Withheld
from xinqiao.cli.holding import tier
from xinqiao.cli.output import as_json, plain, say, warn, when
from xinqiao.cli.remote import connect, request_id
from xinqiao.cli.tables import table
from xinqiao.cli.texts import Texts
from xinqiao.cli.words import number, word
from xinqiao.contract.clock import SystemClock
from xinqiao.contract.errors import Refusal
from xinqiao.contract.fields import class_name

_ID_CARD = re.compile(r"[0-9]{17}[0-9Xx]|[0-9]{15}")
_DAY_US = 86_400_000_000


class Terms(NamedTuple):
    """What is shared with whom, as typed."""

    recipient: str
    purpose: str
    classes: str
    days: int
    reason: str


def show(texts: Texts, config: Path, partner: str, address: str, *, student: str, share: str, json: bool) -> int:
    """Print a case: its entries without their content, and what is kept back."""
    request = rpc.GetCaseRequest(student=student_ref(texts, student), share=share)
    with connect(texts, config, partner, address) as remote:
        answer = remote.call(CaseFileServiceStub(remote.channel).GetCase, request)
    if json:
        as_json(plain(answer))
        return 0
    case = answer.case
    plan = f"{case.plan.name} v{case.plan.version}" if case.plan.name else texts("case.no_plan")
    say(texts("case.tier", tier=str(tier(texts, case.tier)), plan=plan))
    if case.plan.entries:
        rows = [
            (each.day, word(plan_pb2.EntryKind.Name(each.kind), "ENTRY_KIND_"), each.author, each.name)
            for each in case.plan.entries
        ]
        table([texts(f"col.{name}") for name in ("day", "kind", "author", "name")], rows)
    if case.shares:
        _print_shares(texts, case.shares)
    if answer.withheld:
        warn(texts("case.kept_back", fields=_kept(answer.withheld)))
    return 0


def share(texts: Texts, config: Path, partner: str, address: str, *, student: str, terms: Terms, json: bool) -> int:
    """Share a case and print the share."""
    request = rpc.ShareCaseRequest(
        request_id=request_id(), student=student_ref(texts, student), recipient=terms.recipient,
        purpose=Purpose.ValueType(number(texts, Purpose, "PURPOSE_", terms.purpose)),
        classes=[
            FieldClass.ValueType(number(texts, FieldClass, "FIELD_CLASS_", each)) for each in terms.classes.split(",")
        ],
        not_after_us=SystemClock().now_us() + terms.days * _DAY_US, reason=terms.reason,
    )  # fmt: skip
    with connect(texts, config, partner, address) as remote:
        answer = remote.call(CaseFileServiceStub(remote.channel).ShareCase, request)
    if json:
        as_json(plain(answer))
        return 0
    say(texts("case.given", name=answer.share.name, until=when(answer.share.not_after_us)))
    if answer.withheld:
        warn(texts("case.not_now", fields=_kept(answer.withheld)))
    return 0


def revoke(texts: Texts, config: Path, partner: str, address: str, *, name: str, reason: str, json: bool) -> int:
    """End a share."""
    request = rpc.RevokeShareRequest(request_id=request_id(), name=name, reason=reason)
    with connect(texts, config, partner, address) as remote:
        answer = remote.call(CaseFileServiceStub(remote.channel).RevokeShare, request)
    if json:
        as_json(plain(answer))
    else:
        say(texts("case.taken_back", name=answer.share.name, count=answer.returned_tasks))
    return 0


def list_shares(texts: Texts, config: Path, partner: str, address: str, *, limit: int, json: bool) -> int:
    """Print shares, newest first."""
    with connect(texts, config, partner, address) as remote:
        stub = CaseFileServiceStub(remote.channel)

        def ask(size: int, token: str) -> tuple[list[sharing_pb2.Share], str]:
            page = remote.call(stub.ListShares, rpc.ListSharesRequest(page_size=size, page_token=token))
            return list(page.shares), page.next_page_token

        found = remote.pages(ask, limit)
    if json:
        as_json([plain(each) for each in found])
    elif not found:
        say(texts("nothing"))
    else:
        _print_shares(texts, found)
    return 0


def list_events(
    texts: Texts, config: Path, partner: str, address: str, *, student: str, limit: int, json: bool
) -> int:  # fmt: skip
    """Print what happened in a case, newest first."""
    ref = student_ref(texts, student)
    with connect(texts, config, partner, address) as remote:
        stub = CaseFileServiceStub(remote.channel)

        def ask(size: int, token: str) -> tuple[list[sharing_pb2.CaseEvent], str]:
            request = rpc.ListCaseEventsRequest(student=ref, page_size=size, page_token=token)
            page = remote.call(stub.ListCaseEvents, request)
            return list(page.events), page.next_page_token

        found = remote.pages(ask, limit)
    if json:
        as_json([plain(each) for each in found])
    elif not found:
        say(texts("nothing"))
    else:
        rows = [(when(each.time_us), each.kind, each.actor, each.resource) for each in found]
        table([texts(f"col.{name}") for name in ("time", "kind", "actor", "resource")], rows)
    return 0


def list_disclosures(
    texts: Texts, config: Path, partner: str, address: str, *, student: str, limit: int, json: bool
) -> int:  # fmt: skip
    """Print every disclosure, newest first, and how many there are."""
    ref = student_ref(texts, student)
    with connect(texts, config, partner, address) as remote:
        stub = CaseFileServiceStub(remote.channel)

        def ask(size: int, token: str) -> tuple[list[sharing_pb2.Disclosure], str]:
            request = rpc.ListDisclosuresRequest(student=ref, page_size=size, page_token=token)
            page = remote.call(stub.ListDisclosures, request)
            return list(page.disclosures), page.next_page_token

        found = remote.pages(ask, limit)
    if json:
        as_json([plain(each) for each in found])
        return 0
    zh = texts.language == "zh"
    rows = [
        (
            when(each.time_us), (each.partner_zh if zh else each.partner_en) or each.partner, each.actor, each.kind,
            word(Purpose.Name(each.purpose), "PURPOSE_"), ", ".join(class_name(one) for one in each.classes),
            (each.citation_zh if zh else each.citation_en) or each.basis,
        )
        for each in found
    ]  # fmt: skip
    names = ("time", "partner", "actor", "kind", "purpose", "classes", "basis")
    table([texts(f"col.{name}") for name in names], rows)
    say(texts("case.total", count=len(found)))
    return 0


def explain(
    texts: Texts, config: Path, partner: str, address: str, *, student: str, recipient: str, purpose: str, against: str,
    json: bool,
) -> int:  # fmt: skip
    """Print what a partner would see now, class by class."""
    request = rpc.ExplainDisclosureRequest(
        student=student_ref(texts, student), recipient=recipient, against_version=against,
        purpose=Purpose.ValueType(number(texts, Purpose, "PURPOSE_", purpose)),
    )  # fmt: skip
    with connect(texts, config, partner, address) as remote:
        answer = remote.call(CaseFileServiceStub(remote.channel).ExplainDisclosure, request)
    if json:
        as_json(plain(answer))
        return 0
    rows = [
        (class_name(each.field_class), texts("yes") if each.permitted else texts("no"), each.rule, each.reason)
        for each in answer.verdicts
    ]
    table([texts(f"col.{name}") for name in ("class", "goes", "rule", "reason")], rows)
    if against:
        changed = ", ".join(class_name(each) for each in answer.changed)
        key = "case.differs" if changed else "case.same"
        say(texts(key, version=against, classes=changed))
    return 0


def _print_shares(texts: Texts, shares: Iterable[sharing_pb2.Share]) -> None:
    names = ("name", "partner", "purpose", "classes", "until", "state", "role")
    rows = [
        (
            each.name, each.recipient, word(Purpose.Name(each.purpose), "PURPOSE_"),
            ", ".join(class_name(one) for one in each.classes), when(each.not_after_us),
            word(sharing_pb2.ShareState.Name(each.state), "SHARE_STATE_"),
            word(sharing_pb2.MemberRole.Name(each.role), "MEMBER_ROLE_"),
        )
        for each in shares
    ]  # fmt: skip
    table([texts(f"col.{name}") for name in names], rows)


def student_ref(texts: Texts, given: str) -> StudentRef:
    """A student as typed. Raises Refusal INVALID_ARGUMENT/USAGE on an id card number."""
    if _ID_CARD.fullmatch(given):
        raise Refusal("INVALID_ARGUMENT", "USAGE", texts("case.id_card"))
    return StudentRef(name=given) if given.startswith("students/") else StudentRef(local_id=given)


def _kept(withheld: Iterable[Withheld]) -> str:
    return ", ".join(dict.fromkeys(f"{class_name(each.field_class)} ({each.reason})" for each in withheld))
