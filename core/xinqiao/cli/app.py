"""One command line from its arguments to its exit code."""

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Final

import typer

from xinqiao import __version__
from xinqiao.cli.commands import (
    access,
    agencies,
    alerts,
    audit,
    casefile,
    cases,
    documents,
    instruments,
    node,
    policy,
    reports,
)
from xinqiao.cli.commands.tree import group
from xinqiao.cli.exits import (
    BROKEN_PIPE,
    CONFIGURATION,
    DATA,
    INTERNAL,
    INTERRUPTED,
    NOT_PERMITTED,
    TRY_AGAIN,
    UNAVAILABLE,
    USAGE,
)
from xinqiao.cli.texts import Texts, choose
from xinqiao.contract.errors import Refusal

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; never shows a traceback unless XINQIAO_DEBUG is set."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    texts = Texts(choose(given, os.environ))
    log = logging.getLogger("xinqiao")
    level = log.level
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
    finally:
        log.setLevel(level)  # whoever calls a command within a process keeps their own log
    return code


def _run(given: list[str], texts: Texts) -> int:
    try:
        code: object = build(texts, given)(given, prog_name="xinqiao", standalone_mode=False)
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


def build(texts: Texts, given: Sequence[str]) -> typer.Typer:
    """The command tree in one language, with the commands of those groups only that ``given`` names: typer reads the
    signature of every command it knows, and the help of the program shows the names of the groups."""
    app = group(texts, "app")

    @app.callback()
    def options(
        _lang: Annotated[str, typer.Option("--lang", help=texts("opt.lang"), show_default=False)] = "",
        _version: Annotated[
            bool, typer.Option("--version", help=texts("opt.version"), callback=_say_version, is_eager=True)
        ] = False,
    ) -> None:
        # --lang is read before the tree is built; it stands here for --help. Libraries' notes are not for this reader.
        logging.getLogger("xinqiao").setLevel(logging.CRITICAL)

    for add in (
        node.add_running,
        node.add_files,
        agencies.add_agencies,
        access.add_access,
        cases.add_cases,
        casefile.add_case,
        casefile.add_consents,
        casefile.add_teams,
        cases.add_early,
        alerts.add_alerts,
        documents.add_documents,
        policy.add_policy,
        audit.add_audit,
        reports.add_reports,
        node.add_upkeep,
        instruments.add_instruments,
    ):
        add(app, texts)
    for each in app.registered_groups:
        if each.name not in given and each.typer_instance is not None:
            each.typer_instance.registered_commands.clear()
    return app
