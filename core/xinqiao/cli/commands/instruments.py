"""Instruments: list, check, score."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from xinqiao.cli.commands.tree import Options, below, command
from xinqiao.cli.texts import Texts


def add_instruments(app: typer.Typer, texts: Texts) -> None:
    """What is known of an instrument, and its scores."""
    as_json = Options(texts).json
    group = below(app, texts, "instruments")
    config = typer.Option("--config", help=texts("opt.instrument_config"), envvar="XINQIAO_CONFIG", show_default=False)
    folder = typer.Option("--folder", help=texts("opt.instrument_folder"))
    name = typer.Argument(help=texts("arg.instrument"), metavar="ID")

    @command(group, texts, "instruments.list")
    def list_instruments(
        config: Annotated[Path | None, config] = None,
        folder: Annotated[Path | None, folder] = None,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import instruments

        return instruments.list_instruments(texts, config, folder, json=json)

    @command(group, texts, "instruments.show")
    def show(
        name: Annotated[str, name],
        config: Annotated[Path | None, config] = None,
        folder: Annotated[Path | None, folder] = None,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import instruments

        return instruments.show(texts, config, folder, name, json=json)

    @command(group, texts, "instruments.check")
    def check(
        place: Annotated[Path | None, typer.Argument(help=texts("arg.instrument_place"), metavar="FILE|DIR")] = None,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import instruments

        return instruments.check(texts, place, json=json)

    @command(group, texts, "instruments.schema")
    def schema() -> int:
        from xinqiao.cli import instruments

        return instruments.print_schema()

    @command(group, texts, "instruments.score")
    def score(
        name: Annotated[str, name],
        answers: Annotated[str | None, typer.Option(help=texts("opt.answers"), metavar="2,1,,3")] = None,
        sheet: Annotated[Path | None, typer.Option(help=texts("opt.sheet"), metavar="FILE")] = None,
        coding: Annotated[str, typer.Option(help=texts("opt.coding"), show_default=False)] = "",
        missing: Annotated[str, typer.Option(help=texts("opt.missing"), show_default=False)] = "",
        encoding: Annotated[Literal["utf-8", "gb18030"], typer.Option(help=texts("opt.sheet_encoding"))] = "utf-8",
        age: Annotated[int | None, typer.Option(help=texts("opt.age"))] = None,
        grade: Annotated[int | None, typer.Option(help=texts("opt.grade"))] = None,
        informant: Annotated[str, typer.Option(help=texts("opt.informant"), show_default=False)] = "",
        config: Annotated[Path | None, config] = None,
        folder: Annotated[Path | None, folder] = None,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import instruments

        return instruments.score_answers(
            texts, config, folder, name, answers=answers, sheet=sheet, coding=coding, missing=missing,
            encoding=encoding, age=age, grade=grade, informant=informant, json=json,
        )  # fmt: skip
