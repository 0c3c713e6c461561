"""The kinds of entries of a plan, as the contract declares them: the field of each, and the class it is of."""

from types import MappingProxyType
from typing import Final

from xinqiao.api.casefile.v1 import plan_pb2 as pb
from xinqiao.api.common.v1 import options_pb2 as options

_CONTENT: Final = pb.Entry.DESCRIPTOR.oneofs_by_name["content"].fields

CLASS_OF: Final = MappingProxyType(
    {
        int(pb.EntryKind.Value(f"ENTRY_KIND_{field.name.upper()}")): int(
            field.message_type.GetOptions().Extensions[options.default_class]
        )
        for field in _CONTENT
        if field.message_type is not None
    }
)
"""The field class of each kind, that of its content: who may not see it does not learn that there is such an entry."""


def kind_of(entry: pb.Entry) -> pb.EntryKind.ValueType:
    """The kind of an entry, from what it holds."""
    return pb.EntryKind.Value(f"ENTRY_KIND_{(entry.WhichOneof('content') or 'unspecified').upper()}")


def visible_kinds(mask: int) -> list[int]:
    """The kinds of entries whose class is in the mask."""
    return [kind for kind, field_class in CLASS_OF.items() if mask >> field_class & 1]
