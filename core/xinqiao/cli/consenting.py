"""`xinqiao overrides` and `recalls`: emergency accesses a second person decides on, and what recipients must give back."""

from collections.abc import Iterable
from pathlib import Path

from xinqiao.api.casefile.v1 import consent_pb2
from xinqiao.api.casefile.v1 import consent_service_pb2 as rpc
from xinqiao.api.casefile.v1.consent_service_pb2_grpc import ConsentServiceStub
from xinqiao.cli.output import as_json, plain, say, when
from xinqiao.cli.remote import connect, request_id
from xinqiao.cli.tables import table
from xinqiao.cli.texts import Texts
from xinqiao.cli.words import number, word
from xinqiao.contract.fields import class_name

_PAGE = 200  # the most that these lists give at once


def list_overrides(texts: Texts, config: Path, partner: str, address: str, *, limit: int, json: bool) -> int:
    """Print emergency accesses, newest first; the facts only as JSON."""
    with connect(texts, config, partner, address) as remote:
        stub = ConsentServiceStub(remote.channel)

        def ask(size: int, token: str) -> tuple[list[consent_pb2.Override], str]:
            request = rpc.ListOverridesRequest(page_size=min(size, _PAGE), page_token=token)
            page = remote.call(stub.ListOverrides, request)
            return list(page.overrides), page.next_page_token

        found = remote.pages(ask, limit)
    if json:
        as_json([plain(each) for each in found])
    elif not found:
        say(texts("nothing"))
    else:
        rows = [
            (
                each.name, each.actor, each.basis, ", ".join(class_name(one) for one in each.classes),
                _override(texts, each.state), when(each.due_us), each.decided_by,
            )
            for each in found
        ]  # fmt: skip
        names = ("name", "actor", "basis", "classes", "state", "until", "decided_by")
        table([texts(f"col.{name}") for name in names], rows)
    return 0


def decide(
    texts: Texts, config: Path, partner: str, address: str, *, name: str, approve: bool, note: str, json: bool
) -> int:
    """Approve an emergency access, or not: then what was seen is recalled."""
    request = rpc.DecideOverrideRequest(request_id=request_id(), name=name, approve=approve, note=note)
    with connect(texts, config, partner, address) as remote:
        answer = remote.call(ConsentServiceStub(remote.channel).DecideOverride, request)
    if json:
        as_json(plain(answer))
    elif answer.recall:
        say(texts("overrides.recalled", name=name, recall=answer.recall))
    else:
        law = answer.override.citation_zh if texts.language == "zh" else answer.override.citation_en
        say(texts("overrides.decided", name=name, state=_override(texts, answer.override.state), law=law))
    return 0


def list_recalls(texts: Texts, config: Path, partner: str, address: str, *, limit: int, json: bool) -> int:
    """Print the recalls that the caller's agency must answer, newest first."""
    with connect(texts, config, partner, address) as remote:
        stub = ConsentServiceStub(remote.channel)

        def ask(size: int, token: str) -> tuple[list[consent_pb2.Recall], str]:
            page = remote.call(stub.ListRecalls, rpc.ListRecallsRequest(page_size=min(size, _PAGE), page_token=token))
            return list(page.recalls), page.next_page_token

        found = remote.pages(ask, limit)
    if json:
        as_json([plain(each) for each in found])
    elif not found:
        say(texts("nothing"))
    else:
        _print_recalls(texts, found)
    return 0


def show_withdrawal(texts: Texts, config: Path, partner: str, address: str, *, consent: str, json: bool) -> int:
    """Print what has become of a withdrawal, recipient by recipient."""
    with connect(texts, config, partner, address) as remote:
        stub = ConsentServiceStub(remote.channel)
        answer = remote.call(stub.GetWithdrawal, rpc.GetWithdrawalRequest(name=consent))
    if json:
        as_json(plain(answer))
        return 0
    key = "recalls.done" if answer.done else "recalls.not_done"
    say(texts(key, name=answer.consent.name, since=when(answer.effective_us)))
    if answer.recalls:
        _print_recalls(texts, answer.recalls)
    return 0


def close_recall(
    texts: Texts, config: Path, partner: str, address: str, *, name: str, did: str, how: str, citation: str, json: bool
) -> int:  # fmt: skip
    """Close a recall on other evidence than a signed receipt."""
    action = consent_pb2.RecallAction.ValueType(number(texts, consent_pb2.RecallAction, "RECALL_ACTION_", did))
    request = rpc.CloseRecallRequest(request_id=request_id(), name=name, action=action, how=how, citation=citation)
    with connect(texts, config, partner, address) as remote:
        recall = remote.call(ConsentServiceStub(remote.channel).CloseRecall, request).recall
    if json:
        as_json(plain(recall))
    else:
        say(texts("recalls.closed", name=recall.name, action=_action(texts, recall.action)))
    return 0


def _print_recalls(texts: Texts, recalls: Iterable[consent_pb2.Recall]) -> None:
    rows = [
        (
            each.name, each.recipient, each.cause, _recall(texts, each.state), _action(texts, each.action),
            when(each.due_us), when(each.end_time_us),
        )
        for each in recalls
    ]  # fmt: skip
    names = ("name", "partner", "cause", "state", "action", "until", "ended")
    table([texts(f"col.{name}") for name in names], rows)


def _override(texts: Texts, state: consent_pb2.OverrideState.ValueType) -> str:
    return texts(f"override.{word(consent_pb2.OverrideState.Name(state), 'OVERRIDE_STATE_')}")


def _recall(texts: Texts, state: consent_pb2.RecallState.ValueType) -> str:
    return texts(f"recall.{word(consent_pb2.RecallState.Name(state), 'RECALL_STATE_')}")


def _action(texts: Texts, action: consent_pb2.RecallAction.ValueType) -> str:
    named = word(consent_pb2.RecallAction.Name(action), "RECALL_ACTION_")
    return texts(f"action.{named}") if named else ""
