"""Agencies: adapters, exchanges, deliveries."""

from pathlib import Path
from typing import Annotated

import typer

from xinqiao.cli.commands.tree import DEFAULT, Options, below, command
from xinqiao.cli.texts import Texts


def add_agencies(app: typer.Typer, texts: Texts) -> None:
    """Adapters, exchanges, deliveries."""
    shared = Options(texts)
    config, partner, address, as_json, limit = shared.config, shared.partner, shared.address, shared.json, shared.limit
    exchange_id = typer.Argument(help=texts("arg.exchange"), metavar="NAME")

    adapters = below(app, texts, "adapters")

    @command(adapters, texts, "adapters.list")
    def list_adapters(
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import watching

        return watching.list_adapters(texts, config, as_, address, json=json)

    @command(adapters, texts, "adapters.check")
    def check_adapters(
        config: Annotated[Path, config] = DEFAULT, json: Annotated[bool, as_json] = False
    ) -> int:  # fmt: skip
        from xinqiao.cli import checks

        return checks.check_adapters(texts, config, json=json)

    @command(adapters, texts, "adapters.read")
    def read_files(
        kind: Annotated[str, typer.Argument(help=texts("arg.kind"), metavar="KIND")],
        files: Annotated[list[Path], typer.Argument(help=texts("arg.files"), metavar="FILE...")],
        settings: Annotated[Path | None, typer.Option(help=texts("opt.settings"), metavar="FILE.yaml")] = None,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import reading

        return reading.read(texts, kind, files, settings, json=json)

    @command(adapters, texts, "adapters.conform")
    def conform(
        name: Annotated[str, typer.Argument(help=texts("arg.plugin"), metavar="NAME")],
        remote: Annotated[str, typer.Option(help=texts("opt.remote"), metavar="HOST:PORT", show_default=False)] = "",
        ca: Annotated[Path | None, typer.Option(help=texts("opt.remote_ca"), metavar="FILE.pem")] = None,
        certificate: Annotated[Path | None, typer.Option(help=texts("opt.remote_cert"), metavar="FILE.pem")] = None,
        key: Annotated[Path | None, typer.Option(help=texts("opt.remote_key"), metavar="FILE")] = None,
        write: Annotated[bool, typer.Option("--write", help=texts("opt.write_quality"))] = False,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import conforming

        trust = conforming.Trust(ca, certificate, key)
        return conforming.conform(texts, name, remote, trust, write=write, json=json)

    @command(adapters, texts, "adapters.new")
    def new(
        name: Annotated[str, typer.Argument(help=texts("arg.new"), metavar="NAME")],
        zh: Annotated[str, typer.Option(help=texts("opt.new_zh"), show_default=False)] = "",
        en: Annotated[str, typer.Option(help=texts("opt.new_en"), show_default=False)] = "",
        partner: Annotated[str, typer.Option(help=texts("opt.new_partner"), show_default=False)] = "",
        protocol: Annotated[str, typer.Option(help=texts("opt.new_protocol"), show_default=False)] = "",
        contracts: Annotated[str, typer.Option(help=texts("opt.new_contracts"), show_default=False)] = "",
        folder: Annotated[Path, typer.Option(help=texts("opt.new_folder"), metavar="FOLDER")] = Path("plugins"),
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import scaffolding

        wishes = scaffolding.Wishes(zh=zh, en=en, partner_kind=partner, protocol=protocol, contracts=contracts)
        return scaffolding.new(texts, name, wishes, folder, json=json)

    @command(adapters, texts, "adapters.record")
    def record(
        agency: Annotated[str, typer.Argument(help=texts("arg.agency"), metavar="AGENCY")],
        reason: Annotated[str, typer.Option(help=texts("opt.record_reason"), metavar="WORD:REFERENCE")],
        minutes: Annotated[int, typer.Option(help=texts("opt.record_minutes"), min=1, max=120)] = 10,
        kilobytes: Annotated[int, typer.Option(help=texts("opt.record_kilobytes"), min=1, max=16384)] = 1024,
        stop: Annotated[bool, typer.Option("--stop", help=texts("opt.record_stop"))] = False,
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import recording

        wish = recording.Wish(agency, reason, 0 if stop else minutes, kilobytes)
        return recording.record(texts, config, as_, address, wish, json=json)

    @command(adapters, texts, "adapters.replay")
    def replay(
        file: Annotated[Path, typer.Argument(help=texts("arg.recording"), metavar="FILE.jsonl")],
        lay: Annotated[Path | None, typer.Option(help=texts("opt.lay"), metavar="FOLDER", show_default=False)] = None,
    ) -> int:
        from xinqiao.cli import recording

        return recording.replay(texts, file, lay)

    @command(app, texts, "status")
    def status(
        watch: Annotated[bool, typer.Option("--watch", help=texts("opt.watch"))] = False,
        every: Annotated[float, typer.Option(help=texts("opt.every"), min=0.5, max=3600, metavar="SECONDS")] = 2.0,
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import overview

        return overview.status(texts, config, as_, address, watch=watch, every=every, json=json)

    @command(app, texts, "repairs")
    def list_repairs(
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import watching

        return watching.list_repairs(texts, config, as_, address, json=json)

    exchange = below(app, texts, "exchange")

    @command(exchange, texts, "exchange.list")
    def list_runs(
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        limit: Annotated[int, limit] = 100,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import settling

        return settling.list_runs(texts, config, as_, address, limit=limit, json=json)

    @command(exchange, texts, "exchange.run")
    def run(
        name: Annotated[str, exchange_id],
        period: Annotated[str, typer.Option(help=texts("opt.period"), metavar="PERIOD")],
        revise: Annotated[int | None, typer.Option(help=texts("opt.revise"), metavar="REV", min=0)] = None,
        reason: Annotated[str, typer.Option(help=texts("opt.reason"), metavar="WORD")] = "",
        amend: Annotated[bool, typer.Option("--amend", help=texts("opt.amend"))] = False,
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import settling

        return settling.run(
            texts, config, as_, address, name=name, period=period, revise=revise, reason=reason, amend=amend, json=json
        )  # fmt: skip

    @command(exchange, texts, "exchange.preview")
    def preview(
        name: Annotated[str, exchange_id],
        period: Annotated[str, typer.Option(help=texts("opt.period"), metavar="PERIOD")],
        receiver: Annotated[str, typer.Option("--partner", help=texts("opt.receiver"), metavar="NAME")] = "",
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        limit: Annotated[int, limit] = 100,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import previewing

        return previewing.preview(
            texts, config, as_, address, name=name, period=period, partner=receiver, limit=limit, json=json
        )  # fmt: skip

    @command(exchange, texts, "exchange.items")
    def run_items(
        run: Annotated[str, typer.Argument(help=texts("arg.run"), metavar="RUN")],
        everything: Annotated[bool, typer.Option("--all", help=texts("opt.all_items"))] = False,
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        limit: Annotated[int, limit] = 100,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import previewing

        return previewing.items(
            texts, config, as_, address, run=run, everything=everything, limit=limit, json=json
        )  # fmt: skip

    @command(exchange, texts, "exchange.show")
    def show(
        name: Annotated[str, exchange_id],
        period: Annotated[str, typer.Option(help=texts("opt.only_period"), metavar="PERIOD")] = "",
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import settling

        return settling.show(texts, config, as_, address, name=name, period=period, json=json)

    deliveries = below(app, texts, "deliveries")

    @command(deliveries, texts, "deliveries.list")
    def list_deliveries(
        dead: Annotated[bool, typer.Option("--dead", help=texts("opt.dead"))] = False,
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        limit: Annotated[int, limit] = 100,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import watching

        return watching.list_deliveries(texts, config, as_, address, dead=dead, limit=limit, json=json)

    @command(deliveries, texts, "deliveries.retry")
    def retry(
        names: Annotated[list[str], typer.Argument(help=texts("arg.deliveries"))],
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import watching

        return watching.retry(texts, config, as_, address, names=names, json=json)
