"""What every family of commands shares: groups, commands, and the options that many of them have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import typer

from xinqiao.cli.texts import Texts

DEFAULT: Final = Path("config/gateway.yaml")

F = TypeVar("F", bound=Callable[..., int])


def group(texts: Texts, key: str) -> typer.Typer:
    """A group of commands under its own name."""
    return typer.Typer(
        name=key, help=texts(key), no_args_is_help=True, add_completion=False, rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )  # fmt: skip


def below(app: typer.Typer, texts: Texts, key: str) -> typer.Typer:
    """A group added to the program."""
    made = group(texts, key)
    app.add_typer(made, name=key)
    return made


def command(group: typer.Typer, texts: Texts, key: str) -> Callable[[F], F]:
    """Add a function to a group, called by the last part of ``key``."""

    def add(function: F) -> F:
        group.command(key.rpartition(".")[2], help=texts(key))(function)
        return function

    return add


class Options:
    """Options that many commands have, each said once."""

    def __init__(self, texts: Texts) -> None:
        self.config: Final[Any] = typer.Option("--config", help=texts("opt.config"), envvar="XINQIAO_CONFIG")
        self.partner: Final[Any] = typer.Option("--as", help=texts("opt.as"), metavar="PARTNER", show_default=False)
        self.address: Final[Any] = typer.Option(help=texts("opt.address"), metavar="HOST:PORT", show_default=False)
        self.json: Final[Any] = typer.Option("--json", help=texts("opt.json"))
        self.limit: Final[Any] = typer.Option(help=texts("opt.limit"), min=1, max=100_000)
