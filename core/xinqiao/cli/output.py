"""Printing for people and for scripts: UTF-8 always, nothing a name holds can steer the terminal."""

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xinqiao.contract.clock import BEIJING, from_us

_PIPE_WIDTH = 200


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


def coloured(text: str, style: str) -> Text:
    """A cell with a colour, for a terminal; plain text anywhere else."""
    return Text(clean(text), style)


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[int] = ()) -> None:
    """A table on stdout; ``numbers`` are the columns aligned right."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, heading in enumerate(headings):
        shown.add_column(heading, justify="right" if index in numbers else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(cell if isinstance(cell, Text) else Text(clean(str(cell))) for cell in row))
    console().print(shown)


def console() -> Console:
    """A console on stdout; wide where no person's window limits it."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False, emoji=False, markup=False)


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
