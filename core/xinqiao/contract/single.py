"""One message judged by the rules of its type, compiled once: a third of what protovalidate takes for it.

Only ever a reason to accept, as in `xinqiao.contract.many`: what does not fit, or is of a type with a list or with a
rule that is not known here, is judged by protovalidate, which alone says what is wrong.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from xinqiao.contract.many import only, rules_of, text_rule

_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: ("int32", 1 << 31), FieldDescriptor.CPPTYPE_INT64: ("int64", 1 << 63),
    FieldDescriptor.CPPTYPE_UINT32: ("uint32", 1 << 32), FieldDescriptor.CPPTYPE_UINT64: ("uint64", 1 << 64),
}  # fmt: skip
_UNBOUNDED = 1 << 64


class _Text(NamedTuple):
    shortest: int
    longest: int
    match: Callable[[str], object] | None
    may_be_empty: bool


class _Rules:
    """What the fields of one type must be, by name."""

    __slots__ = ("choices", "enums", "inner", "numbers", "sizes", "texts")

    def __init__(self) -> None:
        self.texts: list[tuple[str, _Text]] = []
        self.numbers: list[tuple[str, int, int]] = []
        self.sizes: list[tuple[str, int, int]] = []
        self.enums: list[tuple[str, frozenset[int]]] = []
        self.inner: list[tuple[str, bool, _Rules]] = []
        """Records within: whether one must be there, and its own rules."""
        self.choices: list[tuple[str, bool, Mapping[str, _Text | _Rules]]] = []
        """The oneofs: whether one must be chosen, and what each may be."""


def fits(message: Message) -> bool:
    """Whether a message surely keeps every rule of the contract, and surely holds no unsafe text."""
    rules = _compiled(message.DESCRIPTOR)
    return rules is not None and _keeps(rules, message)


def _keeps(rules: _Rules, message: Message) -> bool:
    for name, rule in rules.texts:
        text = getattr(message, name)
        if not (_matches(rule, text) if text else rule.may_be_empty):
            return False
    for name, lowest, highest in rules.numbers:
        if not lowest <= getattr(message, name) <= highest:
            return False
    for name, shortest, longest in rules.sizes:
        if not shortest <= len(getattr(message, name)) <= longest:
            return False
    for name, allowed in rules.enums:
        if getattr(message, name) not in allowed:
            return False
    for name, required, inside in rules.inner:
        if message.HasField(name):
            if not _keeps(inside, getattr(message, name)):
                return False
        elif required:
            return False
    for name, required, members in rules.choices:
        chosen = message.WhichOneof(name)
        if chosen is None:
            if required:
                return False
            continue
        member, value = members.get(chosen), getattr(message, chosen)
        if member is None or not (_keeps(member, value) if isinstance(member, _Rules) else _matches(member, value)):
            return False
    return True


def _matches(rule: _Text, text: str) -> bool:
    shortest, longest, match, _ = rule
    return shortest <= len(text) <= longest and (match is None or match(text) is not None) and text.isprintable()


@cache
def _compiled(descriptor: Descriptor) -> _Rules | None:
    if descriptor.GetOptions().HasExtension(validate_pb2.message):
        return None
    found = _Rules()
    members: dict[str, dict[str, _Text | _Rules]] = {oneof.name: {} for oneof in descriptor.oneofs}
    for field in descriptor.fields:
        if field.containing_oneof is None:
            if field.is_repeated or not _add(found, field):
                return None
        elif rules_of(field).required:
            return None
        elif (member := _member(field)) is not None:  # whoever chooses another is judged by protovalidate
            members[field.containing_oneof.name][field.name] = member
    for oneof in descriptor.oneofs:
        required = bool(oneof.GetOptions().Extensions[validate_pb2.oneof].required)
        found.choices.append((oneof.name, required, members[oneof.name]))
    return found


def _member(field: FieldDescriptor) -> _Text | _Rules | None:
    if field.message_type is not None:
        return _compiled(field.message_type) if not rules_of(field).ListFields() else None
    return _text(rules_of(field)) if field.type == FieldDescriptor.TYPE_STRING else None


def _add(found: _Rules, field: FieldDescriptor) -> bool:
    """Add the rules of one field; False where one is not known here."""
    rules, name = rules_of(field), field.name
    kind, beyond = _INTEGERS.get(field.cpp_type, ("", 0))
    if field.message_type is not None:
        inside = _compiled(field.message_type)
        if inside is None or {each.name for each, _ in rules.ListFields()} - {"required"}:
            return False
        found.inner.append((name, bool(rules.required), inside))
    elif field.type == FieldDescriptor.TYPE_STRING:
        text = _text(rules)
        if text is None:
            return False
        found.texts.append((name, text))
    elif not rules.ListFields():
        pass  # anything may stand there
    elif field.type == FieldDescriptor.TYPE_BYTES and only(rules, "bytes", "min_len", "max_len"):
        own = rules.bytes
        found.sizes.append((name, own.min_len, own.max_len if own.HasField("max_len") else _UNBOUNDED))
    elif field.type == FieldDescriptor.TYPE_BYTES and only(rules, "bytes", "len"):
        found.sizes.append((name, rules.bytes.len, rules.bytes.len))
    elif field.enum_type is not None and only(rules, "enum", "defined_only", "not_in") and rules.enum.defined_only:
        found.enums.append((name, frozenset(field.enum_type.values_by_number) - frozenset(rules.enum.not_in)))
    elif kind and only(rules, kind, "gt", "gte", "lte"):
        own = getattr(rules, kind)
        lowest = own.gt + 1 if own.HasField("gt") else own.gte if own.HasField("gte") else -beyond
        found.numbers.append((name, lowest, own.lte if own.HasField("lte") else beyond))
    else:
        return False
    return True


def _text(rules: Any) -> _Text | None:
    rule = text_rule(rules)
    if rule is None:
        return None
    match = rule.pattern.fullmatch if rule.pattern is not None else None
    empty = not rule.shortest and (match is None or rule.may_be_empty or match("") is not None)
    return _Text(rule.shortest, rule.longest, match, empty)
