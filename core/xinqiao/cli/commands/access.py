"""Looking at one record with a second person's word."""

from pathlib import Path
from typing import Annotated

import typer

from xinqiao.cli.commands.tree import DEFAULT, Options, below, command
from xinqiao.cli.texts import Texts


def add_access(app: typer.Typer, texts: Texts) -> None:
    """`xinqiao access ...`."""
    shared = Options(texts)
    config, partner, address, as_json, limit = shared.config, shared.partner, shared.address, shared.json, shared.limit
    access = below(app, texts, "access")
    reason = typer.Option(help=texts("opt.look_reason"), metavar="WORD:REFERENCE")
    token = typer.Option(
        "--token", help=texts("opt.token"), envvar="XINQIAO_ACCESS_TOKEN", prompt=texts("access.prompt"), hide_input=True,
        metavar="TOKEN", show_default=False,
    )  # fmt: skip

    @command(access, texts, "access.ask")
    def ask(
        what: Annotated[str, typer.Argument(help=texts("arg.look"), metavar="WHAT")],
        reason: Annotated[str, reason],
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import looking

        return looking.ask(texts, config, as_, address, what=what, reason=reason, json=json)

    @command(access, texts, "access.list")
    def list_requests(
        open_only: Annotated[bool, typer.Option("--open", help=texts("opt.open"))] = False,
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        limit: Annotated[int, limit] = 100,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import looking

        return looking.list_requests(texts, config, as_, address, open_only=open_only, limit=limit, json=json)

    @command(access, texts, "access.decide")
    def decide(
        name: Annotated[str, typer.Argument(help=texts("arg.access"), metavar="NAME")],
        approve: Annotated[bool, typer.Option("--approve/--refuse", help=texts("opt.approve"), show_default=False)],
        why: Annotated[str, typer.Option("--reason", help=texts("opt.reason"), metavar="WORD")],
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import looking

        return looking.decide(texts, config, as_, address, name=name, approve=approve, reason=why, json=json)

    @command(access, texts, "access.show")
    def show(
        name: Annotated[str, typer.Argument(help=texts("arg.dead"), metavar="DELIVERY")],
        reason: Annotated[str, reason],
        token: Annotated[str, token],
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
    ) -> int:
        from xinqiao.cli import looking

        return looking.show(texts, config, as_, address, name=name, token=token, reason=reason)

    @command(access, texts, "access.export")
    def export(
        student: Annotated[str, typer.Argument(help=texts("arg.student"), metavar="STUDENT")],
        reason: Annotated[str, reason],
        out: Annotated[Path, typer.Option("--out", help=texts("opt.out"), metavar="FILE")],
        token: Annotated[str, token],
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import looking

        return looking.export(
            texts, config, as_, address, student=student, token=token, reason=reason, out=out, json=json
        )
