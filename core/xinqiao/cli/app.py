"""The commands and their options, and what every ending means as an exit code.

Each command imports what it does when it runs, so that `xinqiao --help` costs no more than typer: this is the one
place in the code base with imports inside functions.
"""

import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import typer

from xinqiao import __version__
from xinqiao.cli.texts import Texts, choose
from xinqiao.contract.errors import Refusal

USAGE: Final = 64
DATA: Final = 65
NO_INPUT: Final = 66
UNAVAILABLE: Final = 69
INTERNAL: Final = 70
TRY_AGAIN: Final = 75
NOT_PERMITTED: Final = 77
CONFIGURATION: Final = 78
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

_BY_REASON: Final = {
    "USAGE": USAGE,
    "PERIOD": USAGE,
    "RUNNING": TRY_AGAIN,
    "ALREADY_RUNNING": UNAVAILABLE,
    "PORT_TAKEN": UNAVAILABLE,
    "KEY_FILE_MISSING": CONFIGURATION,
    "KEY_FILE_MODE": CONFIGURATION,
    "KEY_FILE_BROKEN": CONFIGURATION,
    "KEY_FILE_MISMATCH": CONFIGURATION,
    "CONFIG": CONFIGURATION,
}
_BY_STATUS: Final = {
    "INVALID_ARGUMENT": DATA,
    "FAILED_PRECONDITION": DATA,
    "NOT_FOUND": DATA,
    "ALREADY_EXISTS": DATA,
    "PERMISSION_DENIED": NOT_PERMITTED,
    "UNAUTHENTICATED": NOT_PERMITTED,
    "RESOURCE_EXHAUSTED": TRY_AGAIN,
    "ABORTED": TRY_AGAIN,
    "DEADLINE_EXCEEDED": TRY_AGAIN,
    "UNAVAILABLE": UNAVAILABLE,
    "UNIMPLEMENTED": UNAVAILABLE,
    "INTERNAL": INTERNAL,
}
_CONFIG_ERRORS: Final = ("ConfigError", "PolicyError", "DataFileError", "KeyFileError", "TemplateError")

F = TypeVar("F", bound=Callable[..., int])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; never shows a traceback unless XINQIAO_DEBUG is set."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    texts = Texts(choose(given, os.environ))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        code = _run(given, texts)
        sys.stdout.flush()
    except BrokenPipeError:
        return _quiet()
    except KeyboardInterrupt:
        print(texts("interrupted"), file=sys.stderr)
        return INTERRUPTED
    return code


def _run(given: list[str], texts: Texts) -> int:
    try:
        code: object = build(texts)(given, prog_name="xinqiao", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except SystemExit as ending:
        # typer's answer to a closed pipe; no command ends this way itself.
        if ending.code == 1:
            raise BrokenPipeError from None
        return ending.code if isinstance(ending.code, int) else INTERNAL
    except BrokenPipeError:
        raise
    except typer.Abort:
        return INTERRUPTED
    except typer.TyperException as error:
        _print_usage(error, texts)
        return USAGE
    except Refusal as refusal:
        _print(texts("error", text=refusal.message))
        for violation in refusal.violations:
            _print(f"  {violation.field}: {violation.description}")
        return exit_code(refusal)
    except Exception as error:
        return _unexpected(error, texts)


def exit_code(refusal: Refusal) -> int:
    """The sysexits code for a refusal, of this process or of the gateway."""
    return _BY_REASON.get(refusal.reason, _BY_STATUS.get(refusal.status, INTERNAL))


def _unexpected(error: Exception, texts: Texts) -> int:
    if os.environ.get("XINQIAO_DEBUG"):
        traceback.print_exc()
    # By name, so that no heavy module is imported to say that something else failed.
    if any(kind.__name__ in _CONFIG_ERRORS for kind in type(error).__mro__):
        for line in str(error).splitlines():
            _print(line)
        return CONFIGURATION
    if isinstance(error, OSError) and error.filename is not None:
        _print(texts("error", text=f"{error.filename}: {error.strerror}"))
        return NOT_PERMITTED if isinstance(error, PermissionError) else DATA
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    _print(texts("internal", kind=type(error).__name__, place=place))
    return INTERNAL


def _print_usage(error: typer.TyperException, texts: Texts) -> None:
    command = getattr(getattr(error, "ctx", None), "command_path", "xinqiao").partition(" ")[2]
    _print(texts("usage", text=error.format_message(), command=f"{command} " if command else ""))


def _print(text: str) -> None:
    for line in text.splitlines():
        print("".join(ch if ch.isprintable() else ascii(ch)[1:-1] for ch in line), file=sys.stderr)


def _quiet() -> int:
    """The reader of our output has left: say nothing, not even at interpreter exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    return BROKEN_PIPE


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"xinqiao {__version__}")
        raise typer.Exit


def build(texts: Texts) -> typer.Typer:
    """The command tree in one language."""
    app = _group(texts, "app")

    @app.callback()
    def options(
        _lang: Annotated[str, typer.Option("--lang", help=texts("opt.lang"), show_default=False)] = "",
        _version: Annotated[
            bool, typer.Option("--version", help=texts("opt.version"), callback=_say_version, is_eager=True)
        ] = False,
    ) -> None:
        # --lang is read before the tree is built; it stands here for --help. Libraries' notes are not for this reader.
        logging.getLogger("xinqiao").setLevel(logging.CRITICAL)

    _running(app, texts)
    _files(app, texts)
    _remote(app, texts)
    _early(app, texts)
    _documents(app, texts)
    _upkeep(app, texts)
    _instruments(app, texts)
    return app


def _group(texts: Texts, key: str) -> typer.Typer:
    return typer.Typer(
        name=key, help=texts(key), no_args_is_help=True, add_completion=False, rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )  # fmt: skip


def _below(app: typer.Typer, texts: Texts, key: str) -> typer.Typer:
    group = _group(texts, key)
    app.add_typer(group, name=key)
    return group


def _command(group: typer.Typer, texts: Texts, key: str) -> Callable[[F], F]:
    def add(function: F) -> F:
        group.command(key.rpartition(".")[2], help=texts(key))(function)
        return function

    return add


def _config(texts: Texts) -> Any:
    return typer.Option("--config", help=texts("opt.config"), envvar="XINQIAO_CONFIG")


_DEFAULT = Path("config/gateway.yaml")


def _running(app: typer.Typer, texts: Texts) -> None:
    @_command(app, texts, "demo")
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

    @_command(app, texts, "serve")
    def serve(
        config: Annotated[Path, _config(texts)] = _DEFAULT,
        log_level: Annotated[str, typer.Option(help=texts("opt.log"))] = "info",
    ) -> int:
        from xinqiao.cli import serving

        return serving.serve(texts, config, log_level)


def _files(app: typer.Typer, texts: Texts) -> None:
    group = _below(app, texts, "config")
    as_json = typer.Option("--json", help=texts("opt.json"))

    @_command(group, texts, "config.check")
    def check(
        file: Annotated[Path, typer.Argument(help=texts("arg.file"), envvar="XINQIAO_CONFIG")],
        no_files: Annotated[bool, typer.Option("--no-files", help=texts("opt.no_files"))] = False,
        in_repository: Annotated[bool, typer.Option("--in-repository", help=texts("opt.in_repository"))] = False,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import checks

        return checks.check_config(texts, file, files=not no_files, in_repository=in_repository, json=json)

    @_command(group, texts, "config.schema")
    def schema(district: Annotated[bool, typer.Option("--district", help=texts("opt.district"))] = False) -> int:
        from xinqiao.cli import checks

        return checks.print_schema(district=district)


def _remote(app: typer.Typer, texts: Texts) -> None:
    config = _config(texts)
    partner = typer.Option("--as", help=texts("opt.as"), metavar="PARTNER", show_default=False)
    address = typer.Option(help=texts("opt.address"), metavar="HOST:PORT", show_default=False)
    as_json = typer.Option("--json", help=texts("opt.json"))
    limit = typer.Option(help=texts("opt.limit"), min=1, max=100_000)
    exchange_id = typer.Argument(help=texts("arg.exchange"), metavar="NAME")

    adapters = _below(app, texts, "adapters")

    @_command(adapters, texts, "adapters.list")
    def list_adapters(
        config: Annotated[Path, config] = _DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import watching

        return watching.list_adapters(texts, config, as_, address, json=json)

    @_command(adapters, texts, "adapters.check")
    def check_adapters(
        config: Annotated[Path, config] = _DEFAULT, json: Annotated[bool, as_json] = False
    ) -> int:  # fmt: skip
        from xinqiao.cli import checks

        return checks.check_adapters(texts, config, json=json)

    @_command(adapters, texts, "adapters.read")
    def read_files(
        kind: Annotated[str, typer.Argument(help=texts("arg.kind"), metavar="KIND")],
        files: Annotated[list[Path], typer.Argument(help=texts("arg.files"), metavar="FILE...")],
        settings: Annotated[Path | None, typer.Option(help=texts("opt.settings"), metavar="FILE.yaml")] = None,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import reading

        return reading.read(texts, kind, files, settings, json=json)

    exchange = _below(app, texts, "exchange")

    @_command(exchange, texts, "exchange.list")
    def list_runs(
        config: Annotated[Path, config] = _DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        limit: Annotated[int, limit] = 100,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import settling

        return settling.list_runs(texts, config, as_, address, limit=limit, json=json)

    @_command(exchange, texts, "exchange.run")
    def run(
        name: Annotated[str, exchange_id],
        period: Annotated[str, typer.Option(help=texts("opt.period"), metavar="PERIOD")],
        revise: Annotated[int | None, typer.Option(help=texts("opt.revise"), metavar="REV", min=0)] = None,
        reason: Annotated[str, typer.Option(help=texts("opt.reason"), metavar="WORD")] = "",
        config: Annotated[Path, config] = _DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import settling

        return settling.run(
            texts, config, as_, address, name=name, period=period, revise=revise, reason=reason, json=json
        )  # fmt: skip

    @_command(exchange, texts, "exchange.show")
    def show(
        name: Annotated[str, exchange_id],
        period: Annotated[str, typer.Option(help=texts("opt.only_period"), metavar="PERIOD")] = "",
        config: Annotated[Path, config] = _DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import settling

        return settling.show(texts, config, as_, address, name=name, period=period, json=json)

    deliveries = _below(app, texts, "deliveries")

    @_command(deliveries, texts, "deliveries.list")
    def list_deliveries(
        dead: Annotated[bool, typer.Option("--dead", help=texts("opt.dead"))] = False,
        config: Annotated[Path, config] = _DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        limit: Annotated[int, limit] = 100,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import watching

        return watching.list_deliveries(texts, config, as_, address, dead=dead, limit=limit, json=json)

    @_command(deliveries, texts, "deliveries.retry")
    def retry(
        names: Annotated[list[str], typer.Argument(help=texts("arg.deliveries"))],
        config: Annotated[Path, config] = _DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import watching

        return watching.retry(texts, config, as_, address, names=names, json=json)

    held = typer.Typer(name="holdings", help=texts("holdings"), rich_markup_mode=None)
    app.add_typer(held, name="holdings")

    @held.callback(invoke_without_command=True)
    def holdings(
        context: typer.Context,
        config: Annotated[Path, config] = _DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        limit: Annotated[int, limit] = 100,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        if context.invoked_subcommand:
            return 0
        from xinqiao.cli import holding

        return holding.holdings(texts, config, as_, address, limit=limit, json=json)

    drill = _below(app, texts, "drill")

    @_command(drill, texts, "drill.run")
    def run_drill(
        school: Annotated[str, typer.Option(help=texts("opt.school"), metavar="CODE", show_default=False)] = "",
        hospital: Annotated[str, typer.Option(help=texts("opt.hospital"), metavar="PARTNER", show_default=False)] = "",
        people: Annotated[bool, typer.Option("--people", help=texts("opt.people"))] = False,
        config: Annotated[Path, config] = _DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import drilling

        return drilling.run(
            texts, config, as_, address, school=school, hospital=hospital, people=people, json=json
        )  # fmt: skip

    @_command(drill, texts, "drill.list")
    def list_drills(
        config: Annotated[Path, config] = _DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        limit: Annotated[int, limit] = 100,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import drilling

        return drilling.list_drills(texts, config, as_, address, limit=limit, json=json)

    @_command(drill, texts, "drill.show")
    def show_drill(
        name: Annotated[str, typer.Argument(help=texts("arg.drill"), metavar="NAME")],
        config: Annotated[Path, config] = _DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import drilling

        return drilling.show(texts, config, as_, address, name=name, json=json)

    @_command(held, texts, "holdings.close")
    def close(
        item: Annotated[str, typer.Argument(help=texts("arg.item"))],
        reason: Annotated[str, typer.Option(help=texts("opt.reason"), metavar="WORD")],
        config: Annotated[Path, config] = _DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import holding

        return holding.close(texts, config, as_, address, item=item, reason=reason, json=json)


def _early(app: typer.Typer, texts: Texts) -> None:
    config = _config(texts)
    partner = typer.Option("--as", help=texts("opt.as"), metavar="PARTNER", show_default=False)
    address = typer.Option(help=texts("opt.address"), metavar="HOST:PORT", show_default=False)
    as_json = typer.Option("--json", help=texts("opt.json"))
    limit = typer.Option(help=texts("opt.limit"), min=1, max=100_000)

    @_command(_below(app, texts, "signals"), texts, "signals.list")
    def list_signals(
        config: Annotated[Path, config] = _DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        limit: Annotated[int, limit] = 100,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import early

        return early.list_signals(texts, config, as_, address, limit=limit, json=json)

    cadence = _below(app, texts, "cadence")

    @_command(cadence, texts, "cadence.list")
    def list_cadences(config: Annotated[Path, config] = _DEFAULT, json: Annotated[bool, as_json] = False) -> int:
        from xinqiao.cli import early

        return early.list_cadences(texts, config, json=json)

    @_command(cadence, texts, "cadence.due")
    def list_due(
        every: Annotated[bool, typer.Option("--all", help=texts("opt.all_reports"))] = False,
        config: Annotated[Path, config] = _DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        limit: Annotated[int, limit] = 100,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import early

        return early.list_due(texts, config, as_, address, every=every, limit=limit, json=json)

    triage = _below(app, texts, "triage")
    pack = typer.Argument(help=texts("arg.pack"), metavar="FILE")

    @_command(triage, texts, "triage.check")
    def check_pack(
        file: Annotated[Path, pack],
        config: Annotated[Path, config] = _DEFAULT,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import packs

        return packs.check(texts, config, file, json=json)

    @_command(triage, texts, "triage.shadow")
    def run_shadow(
        file: Annotated[Path, pack],
        since: Annotated[str, typer.Option(help=texts("opt.since"), metavar="YYYY-MM-DD", show_default=False)] = "",
        config: Annotated[Path, config] = _DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import packs

        return packs.run_shadow(texts, config, as_, address, file=file, since=since, json=json)


def _documents(app: typer.Typer, texts: Texts) -> None:
    config = _config(texts)
    partner = typer.Option("--as", help=texts("opt.as"), metavar="PARTNER", show_default=False)
    address = typer.Option(help=texts("opt.address"), metavar="HOST:PORT", show_default=False)
    as_json = typer.Option("--json", help=texts("opt.json"))
    group = _below(app, texts, "documents")

    @_command(group, texts, "documents.list")
    def list_forms(
        config: Annotated[Path, config] = _DEFAULT, json: Annotated[bool, as_json] = False
    ) -> int:  # fmt: skip
        from xinqiao.cli import documents

        return documents.list_forms(texts, config, json=json)

    @_command(group, texts, "documents.render")
    def render(
        kind: Annotated[str, typer.Argument(help=texts("arg.form"), metavar="KIND")],
        subject: Annotated[str, typer.Argument(help=texts("arg.subject"), metavar="NAME")],
        out: Annotated[Path, typer.Option(help=texts("opt.out"))],
        language: Annotated[str, typer.Option(help=texts("opt.form_language"))] = "zh",
        recipient: Annotated[str, typer.Option(help=texts("opt.recipient"), show_default=False)] = "",
        purpose: Annotated[str, typer.Option(help=texts("opt.purpose"))] = "treatment",
        classes: Annotated[str, typer.Option(help=texts("opt.classes"))] = "case_ref,identity,contact,school,tier",
        days: Annotated[int, typer.Option(help=texts("opt.days"), min=1, max=366)] = 365,
        config: Annotated[Path, config] = _DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import documents

        return documents.render(
            texts, config, as_, address, kind=kind, subject=subject, out=out, language=language, recipient=recipient,
            purpose=purpose, classes=classes, days=days, json=json,
        )  # fmt: skip

    @_command(group, texts, "documents.verify")
    def verify_code(
        code: Annotated[str, typer.Argument(help=texts("arg.code"), metavar="CODE")],
        key: Annotated[Path | None, typer.Option(help=texts("opt.document_key"), show_default=False)] = None,
        online: Annotated[bool, typer.Option("--online", help=texts("opt.online"))] = False,
        config: Annotated[Path, config] = _DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import documents

        return documents.verify(texts, config, as_, address, code=code, key=key, online=online, json=json)


def _upkeep(app: typer.Typer, texts: Texts) -> None:
    as_json = typer.Option("--json", help=texts("opt.json"))

    @_command(_below(app, texts, "journal"), texts, "journal.verify")
    def verify(
        config: Annotated[Path, _config(texts)] = _DEFAULT,
        database: Annotated[str, typer.Option(help=texts("opt.database"), show_default=False)] = "",
        keys: Annotated[Path | None, typer.Option(help=texts("opt.keys"))] = None,
        receipts: Annotated[Path | None, typer.Option(help=texts("opt.receipts"))] = None,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import upkeep

        return upkeep.verify(texts, config, database, keys, receipts, json=json)

    @_command(_below(app, texts, "keys"), texts, "keys.init")
    def init(config: Annotated[Path, _config(texts)] = _DEFAULT, json: Annotated[bool, as_json] = False) -> int:
        from xinqiao.cli import upkeep

        return upkeep.make_keys(texts, config, json=json)

    @_command(_below(app, texts, "db"), texts, "db.upgrade")
    def upgrade(config: Annotated[Path, _config(texts)] = _DEFAULT) -> int:
        from xinqiao.cli import upkeep

        return upkeep.upgrade_databases(texts, config)


def _instruments(app: typer.Typer, texts: Texts) -> None:
    group = _below(app, texts, "instruments")
    config = typer.Option("--config", help=texts("opt.instrument_config"), envvar="XINQIAO_CONFIG", show_default=False)
    folder = typer.Option("--folder", help=texts("opt.instrument_folder"))
    name = typer.Argument(help=texts("arg.instrument"), metavar="ID")
    as_json = typer.Option("--json", help=texts("opt.json"))

    @_command(group, texts, "instruments.list")
    def list_instruments(
        config: Annotated[Path | None, config] = None,
        folder: Annotated[Path | None, folder] = None,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import instruments

        return instruments.list_instruments(texts, config, folder, json=json)

    @_command(group, texts, "instruments.show")
    def show(
        name: Annotated[str, name],
        config: Annotated[Path | None, config] = None,
        folder: Annotated[Path | None, folder] = None,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import instruments

        return instruments.show(texts, config, folder, name, json=json)

    @_command(group, texts, "instruments.check")
    def check(
        place: Annotated[Path | None, typer.Argument(help=texts("arg.instrument_place"), metavar="FILE|DIR")] = None,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import instruments

        return instruments.check(texts, place, json=json)

    @_command(group, texts, "instruments.schema")
    def schema() -> int:
        from xinqiao.cli import instruments

        return instruments.print_schema()

    @_command(group, texts, "instruments.score")
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
