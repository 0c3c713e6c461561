"""Many records of one kind judged column by column: each constraint once over all of them, instead of each of them.

Only ever a reason to accept: what does not fit here, or has a rule that is not known here, is judged by protovalidate,
which alone says what is wrong. A thousand students cost a fifth of the time.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2

M = TypeVar("M", bound=Message)

_MANY = 32
# The one form in which the contract writes rules of its own about a text.
_MATCH = re.compile(r"(this == '' \|\| )?this\.matches\('(\^[^'\\]*\$)'\)")
_LENGTHS = ("min_len", "max_len")


class TextRule(NamedTuple):
    """How many characters, and of what form; ``may_be_empty`` where the form does not count for an empty text."""

    shortest: int
    longest: int
    pattern: re.Pattern[str] | None
    may_be_empty: bool


class _Plan(NamedTuple):
    """What the fields of one kind of record must be; ``texts_of`` gives all texts of one, in the order of ``texts``."""

    texts_of: Callable[[Message], tuple[str, ...]]
    texts: tuple[TextRule, ...]
    enums: tuple[tuple[str, frozenset[int]], ...]
    lists: "tuple[tuple[str, int, _Plan], ...]"


def shortened(message: M) -> M:
    """``message`` with one item left of each long list whose items all fit; itself where there is none."""
    fitting = [
        field
        for field in _lists(message.DESCRIPTOR)
        if len(value := getattr(message, field.name)) >= _MANY and _fits(field, value)
    ]
    if not fitting:
        return message
    short = type(message)()
    for field, value in message.ListFields():
        if field in fitting:
            getattr(short, field.name).append(value[0])
        elif field.is_repeated:
            getattr(short, field.name).MergeFrom(value)
        elif field.message_type is not None:
            getattr(short, field.name).CopyFrom(value)
        else:
            setattr(short, field.name, value)
    return short


@cache
def _lists(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    return tuple(field for field in descriptor.fields if field.is_repeated and field.message_type is not None)


def _fits(field: FieldDescriptor, items: Sequence[Message]) -> bool:
    most, plan = _most(field), _plan(field.message_type)
    return plan is not None and most is not None and len(items) <= most and _all_fit(plan, items)


def _all_fit(plan: _Plan, items: Sequence[Message]) -> bool:
    for text, column in zip(plan.texts, zip(*map(plan.texts_of, items), strict=True), strict=True):
        found = set(column)
        lengths = set(map(len, found))
        if min(lengths) < text.shortest or max(lengths) > text.longest or not "".join(found).isprintable():
            return False
        if text.may_be_empty:
            found.discard("")
        if text.pattern is not None and not all(map(text.pattern.fullmatch, found)):
            return False
    for name, allowed in plan.enums:
        if not set(map(attrgetter(name), items)) <= allowed:
            return False
    for name, most, inner in plan.lists:
        lists = [found for found in map(attrgetter(name), items) if found]
        if lists and (max(map(len, lists)) > most or not _all_fit(inner, [one for found in lists for one in found])):
            return False
    return True


@cache
def _plan(descriptor: Descriptor) -> _Plan | None:
    """None for a kind of record with a rule that is not known here, or with less than two texts."""
    texts: dict[str, TextRule] = {}
    enums: list[tuple[str, frozenset[int]]] = []
    lists: list[tuple[str, int, _Plan]] = []
    if descriptor.GetOptions().HasExtension(validate_pb2.message) or descriptor.oneofs:
        return None
    for field in descriptor.fields:
        rules = rules_of(field)
        if field.message_type is not None:
            most, inner = _most(field), _plan(field.message_type)
            if most is None or inner is None:
                return None
            lists.append((field.name, most, inner))
        elif field.is_repeated:
            return None
        elif field.type == FieldDescriptor.TYPE_STRING:
            text = text_rule(rules)
            if text is None:
                return None
            texts[field.name] = text
        elif field.enum_type is not None and only(rules, "enum", "defined_only"):
            enums.append((field.name, frozenset(field.enum_type.values_by_number)))
        elif rules.ListFields():
            return None
    if len(texts) < 2:
        return None
    texts_of = cast("Callable[[Message], tuple[str, ...]]", attrgetter(*texts))
    return _Plan(texts_of, tuple(texts.values()), tuple(enums), tuple(lists))


def text_rule(rules: Any) -> TextRule | None:
    """What a text must be; None for rules that are not known here."""
    pattern, optional = "", False
    named = {field.name for field, _ in rules.ListFields()}
    if not named <= {"string", "cel"} or len(rules.cel) > 1:
        return None
    if not {field.name for field, _ in rules.string.ListFields()} <= {*_LENGTHS, "pattern"}:
        return None
    for rule in rules.cel:
        found = _MATCH.fullmatch(rule.expression)
        if found is None or rules.string.pattern:
            return None
        pattern, optional = found[2], found[1] is not None
    pattern = pattern or rules.string.pattern
    if pattern and not (pattern.startswith("^") and pattern.endswith("$")):
        return None
    longest = rules.string.max_len if rules.string.HasField("max_len") else 1 << 31
    return TextRule(rules.string.min_len, longest, re.compile(pattern) if pattern else None, optional)


def _most(field: FieldDescriptor) -> int | None:
    """How many items a list of records may have; None for one with other rules, or for no list."""
    rules = rules_of(field)
    if not field.is_repeated or (rules.ListFields() and not only(rules, "repeated", "min_items", "max_items")):
        return None
    return int(rules.repeated.max_items) if rules.repeated.HasField("max_items") else 1 << 31


def only(rules: Any, kind: str, *names: str) -> bool:
    """Whether these rules are of one kind, and none but these."""
    if [field.name for field, _ in rules.ListFields()] != [kind]:
        return False
    return {field.name for field, _ in getattr(rules, kind).ListFields()} <= set(names)


def rules_of(field: FieldDescriptor) -> Any:
    """The constraints beside a field."""
    return field.GetOptions().Extensions[validate_pb2.field]
