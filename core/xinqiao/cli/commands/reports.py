"""Reports that leave the bureau."""

from pathlib import Path
from typing import Annotated

import typer

from xinqiao.cli.commands.tree import DEFAULT, Options, command
from xinqiao.cli.texts import Texts


def add_reports(app: typer.Typer, texts: Texts) -> None:
    """`xinqiao report`."""
    shared = Options(texts)
    config, partner, address, as_json = shared.config, shared.partner, shared.address, shared.json

    @command(app, texts, "report")
    def report(
        name: Annotated[str, typer.Argument(help=texts("arg.report"), metavar="REPORT")],
        period: Annotated[str, typer.Option(help=texts("opt.report_period"), metavar="PERIOD")],
        agency: Annotated[str, typer.Option(help=texts("opt.report_agency"), show_default=False)] = "",
        release: Annotated[bool, typer.Option("--release", help=texts("opt.release"))] = False,
        reported: Annotated[Path | None, typer.Option(help=texts("opt.reported"), show_default=False)] = None,
        out: Annotated[Path | None, typer.Option(help=texts("opt.report_out"), show_default=False)] = None,
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import reporting

        return reporting.make(
            texts, config, as_, address, report=name, period=period, agency=agency, release=release, reported=reported,
            out=out, json=json,
        )  # fmt: skip
