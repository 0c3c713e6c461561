"""Tables for people. Apart from the rest of the output, because a gateway that serves needs no rich."""

import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xinqiao.cli.output import clean

_PIPE_WIDTH = 200


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
