"""Who may see what, and the legal bases with their signature."""

from pathlib import Path
from typing import Annotated

import typer

from xinqiao.cli.commands.tree import Options, below, command
from xinqiao.cli.texts import Texts


def add_policy(app: typer.Typer, texts: Texts) -> None:
    """Show and compare; sign and check."""
    as_json = Options(texts).json
    group = below(app, texts, "policy")

    @command(group, texts, "policy.show")
    def show(
        file: Annotated[Path, typer.Argument(help=texts("arg.policy"), metavar="FILE")],
        role: Annotated[str, typer.Option(help=texts("opt.role"), show_default=False)] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import policy

        return policy.show(texts, file, role, json=json)

    @command(group, texts, "policy.diff")
    def diff(
        before: Annotated[Path, typer.Argument(help=texts("arg.policy"), metavar="OLD")],
        after: Annotated[Path, typer.Argument(help=texts("arg.policy"), metavar="NEW")],
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import policy

        return policy.diff(texts, before, after, json=json)

    @command(group, texts, "policy.sign")
    def sign(
        file: Annotated[Path, typer.Argument(help=texts("arg.bases"), metavar="FILE")],
        key: Annotated[Path, typer.Option(help=texts("opt.bases_private"))],
        create_key: Annotated[bool, typer.Option("--create-key", help=texts("opt.create_key"))] = False,
    ) -> int:
        from xinqiao.cli import policy

        return policy.sign(texts, file, key, create=create_key)

    @command(group, texts, "policy.check")
    def check(
        file: Annotated[Path, typer.Argument(help=texts("arg.bases"), metavar="FILE")],
        key: Annotated[Path | None, typer.Option(help=texts("opt.bases_public"), show_default=False)] = None,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import policy

        return policy.check(texts, file, key, json=json)
