"""Printing for people and for scripts: UTF-8 always, nothing a name holds can steer the terminal."""

import json
import sys
import unicodedata

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from xinqiao.contract.clock import BEIJING, from_us


def clean(text: str) -> str:
    """``text`` with control, format and surrogate characters shown as escapes, so that it stays on its line."""
    return "".join(
        ch if unicodedata.category(ch) not in ("Cc", "Cf", "Cs", "Zl", "Zp") else ascii(ch)[1:-1] for ch in text
    )


def say(text: str) -> None:
    """One line for people, on stdout."""
    print(clean(text))


def warn(text: str) -> None:
    """Lines for people, on stderr."""
    for line in text.splitlines():
        print(clean(line), file=sys.stderr)


def as_json(value: object) -> None:
    """``value`` as JSON, one document, on stdout."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def plain(message: Message) -> dict[str, object]:
    """A protobuf message as JSON values, every field present, names as in the proto."""
    found: dict[str, object] = MessageToDict(
        message, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
    )
    return found


def when(us: int) -> str:
    """A time in Beijing for people; empty for none."""
    return from_us(us).astimezone(BEIJING).strftime("%Y-%m-%d %H:%M") if us else ""
