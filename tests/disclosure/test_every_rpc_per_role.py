"""Each RPC for each role, generated from the contracts: who may call it, and the most its answer could ever show.

A room is replaced by a careless one that answers with every field there is; what comes out is judged by an oracle that
reads the policy file by itself. A new RPC is tested without a word about it here.
"""

import difflib
import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.descriptor import FieldDescriptor as F

from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.contract.errors import Refusal
from xinqiao.contract.fields import class_name, present
from xinqiao.contract.methods import Method, methods
from xinqiao.disclosure.registry import Partner

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).with_name("golden") / "rpcs.txt"
RAW = yaml.safe_load((ROOT / "config" / "policy" / "disclosure.yaml").read_text("utf-8"))
METHODS = sorted(methods().values(), key=lambda method: method.path)
ROLES = {name.removeprefix("ROLE_"): number for name, number in options.Role.items() if number}
PAIRS = list(itertools.product(METHODS, ROLES))
PLAIN = {F.CPPTYPE_STRING: "CANARY", F.CPPTYPE_BOOL: True, F.CPPTYPE_DOUBLE: 1.0, F.CPPTYPE_FLOAT: 1.0}


def named(pair: tuple[Method, str]) -> str:
    return f"{pair[0].name}-{pair[1]}"


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def oracle(role: str, purpose: int) -> set[str]:
    """The classes that some grant could ever give this role for this purpose."""
    word = options.Purpose.Name(options.Purpose.ValueType(purpose)).removeprefix("PURPOSE_")
    found = {
        klass
        for grant in RAW["grants"]
        if role in listed(grant["roles"]) and word in listed(grant["purposes"])
        for klass in grant["classes"]
    }
    return found - {"COUNSELLING_NOTE"}


def partner(role: str) -> Partner:
    return Partner(
        "somebody", "agency", "somebody", frozenset({ROLES[role]}), frozenset({"S"}), "spiffe://x/p", 0, 2**60
    )


def value(field: F) -> Any:
    if field.cpp_type == F.CPPTYPE_ENUM:
        return field.enum_type.values[-1].number
    if field.type == F.TYPE_BYTES:
        return b"CANARY"
    return PLAIN.get(field.cpp_type, 1)


def fill(message: Any, depth: int = 0) -> Any:
    """A message every field of which is set, some levels deep."""
    for field in message.DESCRIPTOR.fields:
        content = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            content["CANARY"] = value(field.message_type.fields_by_name["value"])
        elif field.message_type is not None:
            if depth < 4:
                fill(content.add() if field.is_repeated else content, depth + 1)
        elif field.is_repeated:
            content.append(value(field))
        else:
            setattr(message, field.name, value(field))
    return message


def test_who_may_call_what_is_what_was_agreed() -> None:
    now = [
        " ".join(
            [
                method.path.rpartition("/")[0].rpartition(".")[2] + "/" + method.name,
                options.Purpose.Name(options.Purpose.ValueType(method.purpose)).removeprefix("PURPOSE_"),
                "crisis" if method.crisis else "routine",
                ",".join(name for name, number in ROLES.items() if number in method.roles),
            ]
        )
        for method in METHODS
    ]
    agreed = GOLDEN.read_text("utf-8").splitlines()
    assert now == agreed, "\n".join(difflib.unified_diff(agreed, now, "agreed", "now", lineterm="", n=0))


@pytest.mark.parametrize("pair", PAIRS, ids=named)
def test_no_answer_shows_a_role_more_than_the_policy_could_ever_grant(town: Any, monkeypatch: Any, pair: Any) -> None:
    method, role = pair
    pipeline, caller = town.gate.gateway.pipeline, partner(role)
    if ROLES[role] not in method.roles:
        with pytest.raises(Refusal) as caught:
            pipeline.admit(method, caller)
        assert (caught.value.status, caught.value.reason) == ("PERMISSION_DENIED", "ROLE")
        return
    pipeline.admit(method, caller)
    if method.streaming:
        return  # its answers are counts and verdicts: tests/server/test_uploads.py

    def careless(_request: Any, call: Any) -> Any:
        if method.mutates:
            call.journal("careless", resource="x")
        return fill(method.response())

    monkeypatch.setitem(pipeline._functions, method.path, careless)
    if method.mutates:
        request = method.request(request_id=town.key())
        data = request.SerializeToString(deterministic=True)
        command = pipeline.mutation(method, caller, request, data)
        answer = pipeline.store.run(command)
    else:
        answer = pipeline.read(method, caller, method.request())
    shown = {class_name(n) for n in range(1, 16) if present(method.response.FromString(answer)) >> n & 1}
    assert shown <= oracle(role, method.purpose)
