"""Printed forms."""

from pathlib import Path
from typing import Annotated

import typer

from xinqiao.cli.commands.tree import DEFAULT, Options, below, command
from xinqiao.cli.texts import Texts


def add_documents(app: typer.Typer, texts: Texts) -> None:
    """Print and verify."""
    shared = Options(texts)
    config, partner, address, as_json = shared.config, shared.partner, shared.address, shared.json
    group = below(app, texts, "documents")

    @command(group, texts, "documents.list")
    def list_forms(
        config: Annotated[Path, config] = DEFAULT, json: Annotated[bool, as_json] = False
    ) -> int:  # fmt: skip
        from xinqiao.cli import documents

        return documents.list_forms(texts, config, json=json)

    @command(group, texts, "documents.render")
    def render(
        kind: Annotated[str, typer.Argument(help=texts("arg.form"), metavar="KIND")],
        subject: Annotated[str, typer.Argument(help=texts("arg.subject"), metavar="NAME")],
        out: Annotated[Path, typer.Option(help=texts("opt.out"))],
        language: Annotated[str, typer.Option(help=texts("opt.form_language"))] = "zh",
        recipient: Annotated[str, typer.Option(help=texts("opt.recipient"), show_default=False)] = "",
        purpose: Annotated[str, typer.Option(help=texts("opt.purpose"))] = "treatment",
        classes: Annotated[str, typer.Option(help=texts("opt.classes"))] = "case_ref,identity,contact,school,tier",
        days: Annotated[int, typer.Option(help=texts("opt.days"), min=1, max=366)] = 365,
        at_family_request: Annotated[
            bool, typer.Option("--at-family-request", help=texts("opt.at_family_request"))
        ] = False,
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import documents

        return documents.render(
            texts, config, as_, address, kind=kind, subject=subject, out=out, language=language, recipient=recipient,
            purpose=purpose, classes=classes, days=days, at_family_request=at_family_request, json=json,
        )  # fmt: skip

    @command(group, texts, "documents.verify")
    def verify_code(
        code: Annotated[str, typer.Argument(help=texts("arg.code"), metavar="CODE")],
        key: Annotated[Path | None, typer.Option(help=texts("opt.document_key"), show_default=False)] = None,
        online: Annotated[bool, typer.Option("--online", help=texts("opt.online"))] = False,
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import documents

        return documents.verify(texts, config, as_, address, code=code, key=key, online=online, json=json)
