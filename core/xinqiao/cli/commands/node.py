"""The program itself: demo, serve, config, journal, keys, db."""

import gc
from pathlib import Path
from typing import Annotated

import typer

from xinqiao.cli.commands.tree import DEFAULT, Options, below, command
from xinqiao.cli.texts import Texts
from xinqiao.contract.errors import Refusal


def add_running(app: typer.Typer, texts: Texts) -> None:
    """Demo and serve."""
    config = Options(texts).config

    @command(app, texts, "demo")
    def demo(
        roster: Annotated[Path | None, typer.Option(help=texts("opt.roster"))] = None,
        scores: Annotated[Path | None, typer.Option(help=texts("opt.scores"))] = None,
        stay: Annotated[bool, typer.Option("--stay", help=texts("opt.stay"))] = False,
        folder: Annotated[Path, typer.Option(help=texts("opt.folder"))] = Path("var/demo"),
        _lang: Annotated[str, typer.Option("--lang", help=texts("opt.lang"), show_default=False)] = "",
    ) -> int:
        from xinqiao.cli.demo import play

        for file in (roster, scores):
            if file is not None and not file.is_file():  # before the last story is cleared away
                raise Refusal("INVALID_ARGUMENT", "USAGE", texts("demo.no_file", file=file))
        return int(play(roster=roster, scores=scores, stay=stay, folder=folder, lang=texts.language) or 0)

    @command(app, texts, "serve")
    def serve(
        config: Annotated[Path, config] = DEFAULT,
        log_level: Annotated[str, typer.Option(help=texts("opt.log"))] = "info",
    ) -> int:
        gc.disable()  # a start makes next to no garbage; serving turns it on again once all is loaded
        try:
            from xinqiao.cli import serving

            return serving.serve(texts, config, log_level)
        finally:
            gc.enable()


def add_files(app: typer.Typer, texts: Texts) -> None:
    """Checks of the configuration."""
    as_json = Options(texts).json
    group = below(app, texts, "config")

    @command(group, texts, "config.check")
    def check(
        file: Annotated[Path, typer.Argument(help=texts("arg.file"), envvar="XINQIAO_CONFIG")],
        no_files: Annotated[bool, typer.Option("--no-files", help=texts("opt.no_files"))] = False,
        in_repository: Annotated[bool, typer.Option("--in-repository", help=texts("opt.in_repository"))] = False,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import checks

        return checks.check_config(texts, file, files=not no_files, in_repository=in_repository, json=json)

    @command(group, texts, "config.schema")
    def schema(district: Annotated[bool, typer.Option("--district", help=texts("opt.district"))] = False) -> int:
        from xinqiao.cli import checks

        return checks.print_schema(district=district)


def add_upkeep(app: typer.Typer, texts: Texts) -> None:
    """What an administrator does beside a running gateway, or without one."""
    shared = Options(texts)
    config, partner, address, as_json = shared.config, shared.partner, shared.address, shared.json

    journal_group = below(app, texts, "journal")

    @command(journal_group, texts, "journal.verify")
    def verify(
        config: Annotated[Path, config] = DEFAULT,
        database: Annotated[str, typer.Option(help=texts("opt.database"), show_default=False)] = "",
        keys: Annotated[Path | None, typer.Option(help=texts("opt.keys"))] = None,
        receipts: Annotated[Path | None, typer.Option(help=texts("opt.receipts"))] = None,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import journal

        return journal.verify(texts, config, database, keys, receipts, json=json)

    @command(journal_group, texts, "journal.prove")
    def prove(
        row: Annotated[str, typer.Argument(help=texts("arg.row"), metavar="ID")],
        config: Annotated[Path, config] = DEFAULT,
        database: Annotated[str, typer.Option(help=texts("opt.database"), show_default=False)] = "",
        keys: Annotated[Path | None, typer.Option(help=texts("opt.keys"))] = None,
        out: Annotated[Path | None, typer.Option(help=texts("opt.proof_out"))] = None,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import journal

        return journal.prove_row(texts, config, database, keys, name=row, file=out, json=json)

    @command(journal_group, texts, "journal.check-proof")
    def check_proof(
        file: Annotated[Path, typer.Argument(help=texts("arg.proof"))],
        key: Annotated[Path, typer.Option("--key", help=texts("opt.proof_key"))],
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import journal

        return journal.check(texts, file=file, key=key, json=json)

    keys = below(app, texts, "keys")

    @command(keys, texts, "keys.init")
    def init(config: Annotated[Path, config] = DEFAULT, json: Annotated[bool, as_json] = False) -> int:
        from xinqiao.cli import upkeep

        return upkeep.make_keys(texts, config, json=json)

    @command(keys, texts, "keys.rotate")
    def rotate(
        reason: Annotated[str, typer.Option(help=texts("opt.reason"), metavar="WORD")] = "YEARLY",
        no_wait: Annotated[bool, typer.Option("--no-wait", help=texts("opt.no_wait"))] = False,
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import keys as keycommands

        return keycommands.rotate(texts, config, as_, address, reason=reason, wait=not no_wait, json=json)

    @command(keys, texts, "keys.status")
    def status(
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import keys as keycommands

        return keycommands.status(texts, config, as_, address, json=json)

    @command(keys, texts, "keys.destroy")
    def destroy(
        reason: Annotated[str, typer.Option(help=texts("opt.reason"), metavar="WORD")],
        yes: Annotated[bool, typer.Option("--yes", help=texts("opt.yes"))] = False,
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import keys as keycommands

        return keycommands.destroy(texts, config, as_, address, reason=reason, yes=yes, json=json)

    @command(below(app, texts, "student"), texts, "student.shred")
    def shred(
        student: Annotated[str, typer.Argument(help=texts("arg.erased"), metavar="ID")],
        reason: Annotated[str, typer.Option(help=texts("opt.reason"), metavar="WORD")],
        agency: Annotated[str, typer.Option(help=texts("opt.agency"), metavar="PARTNER", show_default=False)] = "",
        confirm: Annotated[str, typer.Option(help=texts("opt.confirm"), metavar="ID", show_default=False)] = "",
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import keys as keycommands

        return keycommands.shred(
            texts, config, as_, address, student=student, agency=agency, reason=reason, confirm=confirm, json=json
        )  # fmt: skip

    @command(below(app, texts, "db"), texts, "db.upgrade")
    def upgrade(config: Annotated[Path, config] = DEFAULT) -> int:
        from xinqiao.cli import upkeep

        return upkeep.upgrade_databases(texts, config)
