"""A message judged alone, by rules compiled for its type, is judged as protovalidate judges it."""

import re
from collections.abc import Iterator
from typing import Any

import protovalidate
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from xinqiao.contract import single
from xinqiao.contract.decode import validate
from xinqiao.contract.errors import Refusal
from xinqiao.contract.methods import Method, methods
from xinqiao.contract.single import fits

COMPILED = 85
"""At least so many of the contract's requests are judged by compiled rules."""

TEXTS = (
    "", "a", "x" * 26, "x" * 33, "x" * 4001, "request-0001", "request-0001\n", "20231-000", "S1", "PHQ-9", "phq-9", "0-4",
    "1-5\n", "2026-10-01", "2026-13-01", "٢٠٢٦-10-01", "2026-10", "2026", "students/" + "a2" * 13, "students/" + "A2" * 13,
    "exchanges/a/runs/" + "0" * 32, "a@1", "0" * 64, "REPAIR:ticket-4711", "partner-one", "GAD_7", "学生", "欧" * 60, "欧" * 61, "a\u202eb", "\x00", "\ufeff", "a\tb", " ", "\u3000", "~" * 200, "é",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2, 4, 50, 99, 100, 101, 200, 201, 1000, 1001, 2**31 - 1, -(2**31), 1_790_000_000_000_000)
SIZES = (0, 1, 9, 31, 32, 33, 64, 65, 200, 201, 5000)
REQUESTS = [method for method in methods().values() if single._compiled(method.request.DESCRIPTOR) is not None]


def _values(field: FieldDescriptor) -> list[Any]:
    """What some rule of the contract allows or only just forbids."""
    if field.enum_type is not None:
        return [*field.enum_type.values_by_number, 77]
    if field.type == FieldDescriptor.TYPE_STRING:
        named = re.match(r"\^\(?([A-Za-z_-]+)", field.GetOptions().Extensions[validate_pb2.field].string.pattern)
        return [*TEXTS, *([f"{named[1]}/0f"] if named is not None else [])]
    if field.type == FieldDescriptor.TYPE_BYTES:
        return [bytes(size) for size in SIZES]
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return [True]
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return [0.0, 1.5, float("inf"), float("nan")]
    signed = field.cpp_type in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64)
    narrow = field.cpp_type in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32)
    return [n for n in NUMBERS if (signed or n >= 0) and (not narrow or -(2**31) <= n < 2**31)]


def _broken(message: Message) -> list[tuple[str, str]]:
    """The constraints that are broken, as protovalidate says: the field, and which of its rules."""
    try:
        protovalidate.validate(message)
    except protovalidate.ValidationError as error:
        return [(each.proto.field.elements[-1].field_name, each.proto.rule_id) for each in error.violations]
    return []


def _wrong(message: Message) -> int:
    return len(_broken(message))


def _fields(message: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldDescriptor]]:
    """Every field that is no record, of the message and of the records in it."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type is None:
            yield path, field
        elif message.HasField(field.name):
            yield from _fields(getattr(message, field.name), (*path, field.name))


def _with(message: Message, path: tuple[str, ...], field: FieldDescriptor, value: Any) -> Message:
    changed = type(message)()
    changed.CopyFrom(message)
    inside: Any = changed
    for name in path:
        inside = getattr(inside, name)
    setattr(inside, field.name, value)
    return changed


def _begin(message: Message, inside: Any) -> None:
    """Put in the records that must be there, empty."""
    for field in inside.DESCRIPTOR.fields:
        place = field if field.containing_oneof is None else field.containing_oneof
        if field.message_type is not None and (place.name, "required") in _broken(message):
            getattr(inside, field.name).SetInParent()
        if field.message_type is not None and not field.is_repeated and inside.HasField(field.name):
            _begin(message, getattr(inside, field.name))


def _sound(kind: type[Message]) -> Message:
    """A message that keeps every rule, found by mending what is wrong with an empty one."""
    message: Any = kind()
    for _ in range(3):
        _begin(message, message)
        for path, field in list(_fields(message)):
            best = min((_with(message, path, field, value) for value in _values(field)), key=_wrong)
            if _wrong(best) < _wrong(message):
                message = best
    return message


@pytest.mark.parametrize("method", REQUESTS, ids=lambda method: method.name)
def test_compiled_rules_judge_as_protovalidate_does(method: Method) -> None:
    sound = _sound(method.request)
    assert _wrong(sound) == 0
    assert fits(sound)
    for path, field in _fields(sound):
        for value in _values(field):
            changed = _with(sound, path, field, value)
            # A text with an unprintable character may be sound: its characters are for the library's slower way to judge.
            if fits(changed) != (_wrong(changed) == 0):
                assert isinstance(value, str)
                assert not value.isprintable()
                assert not fits(changed)


@pytest.mark.parametrize("method", REQUESTS, ids=lambda method: method.name)
def test_what_must_be_there_is_missed(method: Method) -> None:
    sound: Any = _sound(method.request)
    for field, _ in sound.ListFields():
        without = method.request()
        without.CopyFrom(sound)
        without.ClearField(field.name)
        assert fits(without) == (_wrong(without) == 0)


def test_most_requests_of_the_contract_are_judged_by_compiled_rules() -> None:
    assert len(REQUESTS) >= COMPILED
    assert "SubmitAssessment" in [method.name for method in REQUESTS]


def test_a_text_that_only_looks_right_is_still_named() -> None:
    submit = methods()["/xinqiao.api.screening.v1.ScreeningService/SubmitAssessment"]
    request: Any = submit.request(
        request_id="request-0001", instrument="PHQ-9", taken_on="2026-10-01", answers=bytes(9)
    )
    request.student.local_id = "S1\u200b"
    with pytest.raises(Refusal, match="CHARSET"):
        validate(request)
    request.student.ClearField("ref")
    with pytest.raises(Refusal) as refused:
        validate(request)
    assert [violation.field for violation in refused.value.violations] == ["student.ref"]
