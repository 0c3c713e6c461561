"""Cases: holdings, drills, signals, expected reports, triage packs."""

from pathlib import Path
from typing import Annotated

import typer

from xinqiao.cli.commands.tree import DEFAULT, Options, below, command
from xinqiao.cli.texts import Texts


def add_cases(app: typer.Typer, texts: Texts) -> None:
    """Holdings and drills."""
    shared = Options(texts)
    config, partner, address, as_json, limit = shared.config, shared.partner, shared.address, shared.json, shared.limit
    held = typer.Typer(name="holdings", help=texts("holdings"), rich_markup_mode=None)
    app.add_typer(held, name="holdings")

    @held.callback(invoke_without_command=True)
    def holdings(
        context: typer.Context,
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        limit: Annotated[int, limit] = 100,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        if context.invoked_subcommand:
            return 0
        from xinqiao.cli import holding

        return holding.holdings(texts, config, as_, address, limit=limit, json=json)

    @command(held, texts, "holdings.close")
    def close(
        item: Annotated[str, typer.Argument(help=texts("arg.item"))],
        reason: Annotated[str, typer.Option(help=texts("opt.reason"), metavar="WORD")],
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import holding

        return holding.close(texts, config, as_, address, item=item, reason=reason, json=json)

    @command(app, texts, "retention")
    def retention(
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import retaining

        return retaining.retention(texts, config, as_, address, json=json)

    drill = below(app, texts, "drill")

    @command(drill, texts, "drill.run")
    def run_drill(
        school: Annotated[str, typer.Option(help=texts("opt.school"), metavar="CODE", show_default=False)] = "",
        hospital: Annotated[str, typer.Option(help=texts("opt.hospital"), metavar="PARTNER", show_default=False)] = "",
        people: Annotated[bool, typer.Option("--people", help=texts("opt.people"))] = False,
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import drilling

        return drilling.run(
            texts, config, as_, address, school=school, hospital=hospital, people=people, json=json
        )  # fmt: skip

    @command(drill, texts, "drill.list")
    def list_drills(
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        limit: Annotated[int, limit] = 100,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import drilling

        return drilling.list_drills(texts, config, as_, address, limit=limit, json=json)

    @command(drill, texts, "drill.show")
    def show_drill(
        name: Annotated[str, typer.Argument(help=texts("arg.drill"), metavar="NAME")],
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import drilling

        return drilling.show(texts, config, as_, address, name=name, json=json)


def add_early(app: typer.Typer, texts: Texts) -> None:
    """Signals, expected reports, triage packs."""
    shared = Options(texts)
    config, partner, address, as_json, limit = shared.config, shared.partner, shared.address, shared.json, shared.limit

    @command(below(app, texts, "signals"), texts, "signals.list")
    def list_signals(
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        limit: Annotated[int, limit] = 100,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import early

        return early.list_signals(texts, config, as_, address, limit=limit, json=json)

    cadence = below(app, texts, "cadence")

    @command(cadence, texts, "cadence.list")
    def list_cadences(config: Annotated[Path, config] = DEFAULT, json: Annotated[bool, as_json] = False) -> int:
        from xinqiao.cli import early

        return early.list_cadences(texts, config, json=json)

    @command(cadence, texts, "cadence.due")
    def list_due(
        every: Annotated[bool, typer.Option("--all", help=texts("opt.all_reports"))] = False,
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        limit: Annotated[int, limit] = 100,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import early

        return early.list_due(texts, config, as_, address, every=every, limit=limit, json=json)

    triage = below(app, texts, "triage")
    pack = typer.Argument(help=texts("arg.pack"), metavar="FILE")

    @command(triage, texts, "triage.check")
    def check_pack(
        file: Annotated[Path, pack],
        config: Annotated[Path, config] = DEFAULT,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import packs

        return packs.check(texts, config, file, json=json)

    @command(triage, texts, "triage.shadow")
    def run_shadow(
        file: Annotated[Path, pack],
        since: Annotated[str, typer.Option(help=texts("opt.since"), metavar="YYYY-MM-DD", show_default=False)] = "",
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import packs

        return packs.run_shadow(texts, config, as_, address, file=file, since=since, json=json)
