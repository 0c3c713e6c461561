"""The audit commands: the yearly pack, and the scope of a breach."""

from pathlib import Path
from typing import Annotated

import typer

from xinqiao.cli.commands.tree import DEFAULT, Options, below, command
from xinqiao.cli.texts import Texts


def add_audit(app: typer.Typer, texts: Texts) -> None:
    """Pack and scope."""
    shared = Options(texts)
    config, as_json = shared.config, shared.json
    group = below(app, texts, "audit")

    @command(group, texts, "audit.pack")
    def pack(
        year: Annotated[int, typer.Option(help=texts("opt.year"), min=2000, max=2999)],
        out: Annotated[Path, typer.Option(help=texts("opt.pack_out"), metavar="FOLDER")],
        by: Annotated[str, typer.Option("--as", help=texts("opt.by"), metavar="PARTNER", show_default=False)] = "",
        read_only: Annotated[bool, typer.Option("--read-only", help=texts("opt.read_only"))] = False,
        config: Annotated[Path, config] = DEFAULT,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import audit

        return audit.pack(texts, config, year=year, folder=out, by=by, read_only=read_only, json=json)

    @command(group, texts, "audit.scope")
    def scope(
        partner: Annotated[str, typer.Option(help=texts("opt.seen_by"), show_default=False)] = "",
        actor: Annotated[str, typer.Option(help=texts("opt.actor"), show_default=False)] = "",
        serial: Annotated[str, typer.Option(help=texts("opt.serial"), metavar="HEX", show_default=False)] = "",
        since: Annotated[str, typer.Option(help=texts("opt.from"), metavar="DAY", show_default=False)] = "",
        until: Annotated[str, typer.Option(help=texts("opt.until"), metavar="DAY", show_default=False)] = "",
        rows: Annotated[str, typer.Option(help=texts("opt.rows"), metavar="ROWS", show_default=False)] = "",
        students: Annotated[Path | None, typer.Option(help=texts("opt.students"), metavar="FILE")] = None,
        config: Annotated[Path, config] = DEFAULT,
        database: Annotated[str, typer.Option(help=texts("opt.database"), show_default=False)] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import audit

        return audit.breach(
            texts, config, database=database, partner=partner, actor=actor, serial=serial, since=since, until=until,
            rows=rows, students=students, json=json,
        )  # fmt: skip
