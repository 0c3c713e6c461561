"""Strict decoding: what arrives is exactly one canonical message of the contract, or it is refused with the reason."""

import re
from functools import cache
from typing import Any, TypeVar

import protovalidate
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from xinqiao.contract.errors import Refusal, Violation
from xinqiao.contract.many import shortened
from xinqiao.contract.single import fits

M = TypeVar("M", bound=Message)

# Control characters but tab and line ends, direction overrides, zero-width characters and byte-order marks: none
# belongs in a name or a sentence, all are used to make one text look like another.
_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_DEPTH = 100

Steps = tuple[tuple[str, bool, "tuple[object, ...] | None"], ...]
"""Fields that hold text or messages: name, repeated, and the steps inside."""


def decode(kind: type[M], data: bytes) -> M:
    """Parse and validate one request.

    Raises Refusal INVALID_ARGUMENT with DECODE, DEPTH, UNKNOWN_FIELD, NON_CANONICAL, CHARSET or the reason of the
    first broken constraint, and a violation for each constraint.
    """
    try:
        message = kind.FromString(data)
    except (DecodeError, UnicodeDecodeError):
        if _group_depth(data) > _DEPTH:
            raise Refusal("INVALID_ARGUMENT", "DEPTH", f"the message is nested more than {_DEPTH} deep") from None
        raise Refusal("INVALID_ARGUMENT", "DECODE", "the bytes are not a message of this contract") from None
    message.DiscardUnknownFields()
    if message.SerializeToString(deterministic=True) != data:
        raise _not_canonical(kind, data)
    validate(message)
    return message


def validate(message: Message) -> None:
    """Check text and constraints of a message that was made in this process or just decoded."""
    if fits(message):
        return
    message = shortened(message)
    _check_text(message, _text_plan(message.DESCRIPTOR), "")
    try:
        protovalidate.validate(message)
    except protovalidate.ValidationError as error:
        violations = tuple(
            Violation(_path(v.proto), _reason(v.proto.rule_id), v.proto.message or v.proto.rule_id)
            for v in error.violations
        )
        raise Refusal(
            "INVALID_ARGUMENT",
            violations[0].reason,
            f"{len(violations)} field(s) break the contract: {', '.join(v.field or '(message)' for v in violations)}",
            violations=violations,
        ) from None


def _path(violation: Any) -> str:
    elements: Any = violation.field.elements
    path = ""
    for element in elements:
        path += ("." if path else "") + str(element.field_name)
        subscript = getattr(element, "subscript", None)
        index = getattr(subscript, "value", None) if subscript is not None else None
        if isinstance(index, int):
            path += f"[{index}]"
    return path


def _reason(rule_id: str) -> str:
    if rule_id.startswith("enum."):
        return "ENUM"
    return re.sub(r"[^A-Z0-9]+", "_", rule_id.upper()).strip("_") or "CONSTRAINT"


def _not_canonical(kind: type[Message], data: bytes) -> Refusal:
    numbers = sorted(set(_unknown(kind.FromString(data))))
    if numbers:
        listed = ", ".join(str(number) for number in numbers[:20])
        return Refusal(
            "INVALID_ARGUMENT",
            "UNKNOWN_FIELD",
            f"field number(s) {listed} are not in this version of the contract, or have another type there",
            metadata={"field_numbers": listed},
        )
    return Refusal(
        "INVALID_ARGUMENT",
        "NON_CANONICAL",
        "the bytes are not the canonical form of the message: a field is repeated, out of order or a default is written",
    )


def _unknown(message: Message) -> list[int]:
    numbers = [field.field_number for field in UnknownFieldSet(message)]  # type: ignore[attr-defined]
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for inner in value if field.is_repeated else (value,):
            numbers.extend(_unknown(inner))
    return numbers


@cache
def _text_plan(descriptor: Descriptor) -> "Steps":
    steps: list[tuple[str, bool, tuple[object, ...] | None]] = []
    for field in descriptor.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            steps.append((field.name, field.is_repeated, None))
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            inner = _text_plan(field.message_type)
            if inner:
                steps.append((field.name, field.is_repeated, inner))
    return tuple(steps)


def _check_text(message: Message, steps: "Steps", path: str) -> None:
    for name, repeated, inner in steps:
        value = getattr(message, name)
        if inner is None:
            for text in value if repeated else (value,):
                # Nothing unsafe is printable; asking that first costs a fifth.
                if text and not text.isprintable() and (found := _UNSAFE.search(text)):
                    raise Refusal(
                        "INVALID_ARGUMENT",
                        "CHARSET",
                        f"{path}{name} holds the unsafe code point U+{ord(found.group()):04X} at index {found.start()}",
                        violations=(Violation(path + name, "CHARSET", "remove the unsafe code point"),),
                    )
        elif repeated:
            for index, item in enumerate(value):
                _check_text(item, inner, f"{path}{name}[{index}].")  # type: ignore[arg-type]
        elif message.HasField(name):
            _check_text(value, inner, f"{path}{name}.")  # type: ignore[arg-type]


def _group_depth(data: bytes) -> int:
    """How deep the groups of ``data`` nest, without recursion: tells a nesting bomb from plain garbage."""
    depth = deepest = position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        wire = tag & 7
        if wire == 3:
            depth += 1
            deepest = max(deepest, depth)
        elif wire == 4:
            depth -= 1
        elif wire == 0:
            _, position = _varint(data, position)
        elif wire == 1:
            position += 8
        elif wire == 2:
            length, position = _varint(data, position)
            position += length
        elif wire == 5:
            position += 4
        else:
            break
    return deepest


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80 or shift > 63:
            return value, position
        shift += 7
    return value, position
