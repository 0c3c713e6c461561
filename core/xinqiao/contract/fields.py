"""Field classes as the descriptors declare them, compiled to a plan per message type, and redaction by plan."""

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from xinqiao.api.common.v1 import options_pb2 as options

ALL_CLASSES: tuple[int, ...] = tuple(v for v in options.FieldClass.values() if v)
NEVER = 1 << options.FIELD_CLASS_COUNSELLING_NOTE


class Unclassified(TypeError):
    """A proto field has no field class; the build must not pass."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A field that goes or stays as a whole."""

    name: str
    field_class: int
    bit: int
    presence: bool
    required: bool


@dataclass(frozen=True, slots=True)
class Branch:
    """A field that holds messages whose own fields are judged one by one."""

    name: str
    repeated: bool
    inner: "Plan"
    required: bool
    default_class: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Leaves and branches of one message type."""

    leaves: tuple[Leaf, ...]
    branches: tuple[Branch, ...]
    mask: int
    by_class: tuple[tuple[int, tuple[Leaf, ...]], ...]
    """The leaves again, those of each class together under its bit."""


class Cut(NamedTuple):
    """What redacting one message type to one mask has to look at: nothing else of it can be forbidden."""

    leaves: tuple[Leaf, ...]
    branches: "tuple[tuple[Branch, Cut | None, bool], ...]"
    """Each with the cut inside, None for nothing, and whether nothing in it may go."""


class Kept(NamedTuple):
    """A field that the door kept back: its path, its class, and whether the message is useless without it."""

    path: str
    field_class: int
    required: bool


def class_name(field_class: int) -> str:
    """``DIAGNOSIS`` for ``FIELD_CLASS_DIAGNOSIS``."""
    return options.FieldClass.Name(options.FieldClass.ValueType(field_class)).removeprefix("FIELD_CLASS_")


def mask_of(classes: "list[int] | tuple[int, ...] | set[int] | frozenset[int]") -> int:
    """One bit a class."""
    mask = 0
    for field_class in classes:
        mask |= 1 << field_class
    return mask


def classes_of(mask: int) -> list[int]:
    """The classes whose bits are set."""
    return [field_class for field_class in ALL_CLASSES if mask >> field_class & 1]


def field_class(field: FieldDescriptor) -> int:
    """The class of a field: its own, or its message's default. Raises Unclassified where neither is set."""
    own = int(field.GetOptions().Extensions[options.field_class])
    if own:
        return own
    owner = field.containing_type
    default = int(owner.GetOptions().Extensions[options.default_class]) if owner is not None else 0
    if not default:
        raise Unclassified(f"{field.full_name} has no field class; add (field_class) or its message's (default_class)")
    return default


@cache
def plan(descriptor: Descriptor) -> Plan:
    """Compile a message type. A message-typed field is judged inside, unless it names a class of its own."""
    leaves: list[Leaf] = []
    branches: list[Branch] = []
    mask = 0
    for field in descriptor.fields:
        required = bool(field.GetOptions().Extensions[options.required_for_release])
        inner = field.message_type
        own = int(field.GetOptions().Extensions[options.field_class])
        if inner is None or own or inner.GetOptions().map_entry:
            label = field_class(field)
            leaves.append(Leaf(field.name, label, 1 << label, field.has_presence and not field.is_repeated, required))
            mask |= 1 << label
        else:
            default = int(inner.GetOptions().Extensions[options.default_class])
            branch = Branch(field.name, field.is_repeated, plan(inner), required, default)
            branches.append(branch)
            mask |= branch.inner.mask
    bits = dict.fromkeys(leaf.bit for leaf in leaves)
    by_class = tuple((bit, tuple(leaf for leaf in leaves if leaf.bit == bit)) for bit in bits)
    return Plan(tuple(leaves), tuple(branches), mask, by_class)


def redact(message: Message, permitted: int) -> list[Kept]:
    """Clear every field of ``message`` whose class is not in the mask ``permitted``; say what was cleared."""
    cut = _cut(message.DESCRIPTOR, permitted)
    return [] if cut is None else _redact(message, cut, permitted)


@lru_cache(maxsize=4096)
def _cut(descriptor: Descriptor, permitted: int) -> Cut | None:
    """What to look at, worked out once: an answer is cut twice, and mostly there is next to nothing to cut."""
    return _cut_of(plan(descriptor), permitted)


def _cut_of(compiled: Plan, permitted: int) -> Cut | None:
    if compiled.mask & ~permitted == 0:
        return None
    leaves = tuple(leaf for leaf in compiled.leaves if not leaf.bit & permitted)
    branches: list[tuple[Branch, Cut | None, bool]] = []
    for branch in compiled.branches:
        inside, empty = _cut_of(branch.inner, permitted), not branch.inner.mask & permitted
        if inside is not None or empty or (branch.required and not permitted >> branch.default_class & 1):
            branches.append((branch, inside, empty))
    return Cut(leaves, tuple(branches))


def _redact(message: Message, cut: Cut, permitted: int) -> list[Kept]:
    kept: list[Kept] = []
    for leaf in cut.leaves:
        if message.HasField(leaf.name) if leaf.presence else getattr(message, leaf.name):
            message.ClearField(leaf.name)
            kept.append(Kept(leaf.name, leaf.field_class, leaf.required))
    for branch, inside, empty in cut.branches:
        name = branch.name
        if branch.required and not permitted >> branch.default_class & 1:
            kept.append(Kept(name, branch.default_class, True))
        if inside is not None:
            if branch.repeated:
                for index, item in enumerate(getattr(message, name)):
                    if found := _redact(item, inside, permitted):
                        kept += _below(f"{name}[{index}]", found)
            elif message.HasField(name) and (found := _redact(getattr(message, name), inside, permitted)):
                kept += _below(name, found)
        if empty:
            message.ClearField(name)  # even empty messages tell how many there were
    return kept


def _below(name: str, found: list[Kept]) -> list[Kept]:
    """With the paths as they are seen from above; made only where something was kept, which is rare."""
    return [Kept(f"{name}.{path}", label, required) for path, label, required in found]


def present(message: Message, within: int = -1) -> int:
    """The mask of classes for which ``message`` really holds a value. ``within`` is the mask to which it was redacted,
    where it was: for other classes nothing need be looked at."""
    return _present(message, plan(message.DESCRIPTOR), ~within) & within


def _present(message: Message, compiled: Plan, mask: int) -> int:
    """``mask`` and what is found besides: of a class that was seen nothing more need be looked for."""
    for bit, leaves in compiled.by_class:
        if not bit & mask:
            for leaf in leaves:
                if message.HasField(leaf.name) if leaf.presence else getattr(message, leaf.name):
                    mask |= bit
                    break
    for branch in compiled.branches:
        if not branch.inner.mask & ~mask:
            continue
        if branch.repeated:
            for item in getattr(message, branch.name):
                mask = _present(item, branch.inner, mask)
        elif message.HasField(branch.name):
            mask = _present(getattr(message, branch.name), branch.inner, mask)
    return mask
