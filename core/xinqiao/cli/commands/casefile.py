"""One student's case: shown, shared, taken back, explained, accounted for."""

from pathlib import Path
from typing import Annotated

import typer

from xinqiao.cli.commands.tree import DEFAULT, Options, below, command
from xinqiao.cli.texts import Texts


def add_case(app: typer.Typer, texts: Texts) -> None:
    """`xinqiao case ...`."""
    shared = Options(texts)
    config, partner, address, as_json, limit = shared.config, shared.partner, shared.address, shared.json, shared.limit
    case = below(app, texts, "case")
    student = typer.Argument(help=texts("arg.student"), metavar="STUDENT")
    recipient = typer.Option("--to", help=texts("opt.to"), metavar="PARTNER")
    purpose = typer.Option(help=texts("opt.purpose"), metavar="WORD")

    @command(case, texts, "case.show")
    def show(
        student: Annotated[str, student],
        share: Annotated[str, typer.Option(help=texts("opt.share"), metavar="NAME", show_default=False)] = "",
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import casing

        return casing.show(texts, config, as_, address, student=student, share=share, json=json)

    @command(case, texts, "case.share")
    def share_case(
        student: Annotated[str, student],
        recipient: Annotated[str, recipient],
        classes: Annotated[str, typer.Option(help=texts("opt.share_classes"), metavar="A,B")],
        days: Annotated[int, typer.Option(help=texts("opt.days"), min=1, max=366)],
        reason: Annotated[str, typer.Option(help=texts("opt.reason"), metavar="WORD")],
        purpose: Annotated[str, purpose] = "CARE",
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import casing

        terms = casing.Terms(recipient, purpose, classes, days, reason)
        return casing.share(texts, config, as_, address, student=student, terms=terms, json=json)

    @command(case, texts, "case.revoke")
    def revoke(
        name: Annotated[str, typer.Argument(help=texts("arg.share"), metavar="NAME")],
        reason: Annotated[str, typer.Option(help=texts("opt.reason"), metavar="WORD")],
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import casing

        return casing.revoke(texts, config, as_, address, name=name, reason=reason, json=json)

    @command(case, texts, "case.shares")
    def list_shares(
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        limit: Annotated[int, limit] = 100,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import casing

        return casing.list_shares(texts, config, as_, address, limit=limit, json=json)

    @command(case, texts, "case.events")
    def list_events(
        student: Annotated[str, student],
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        limit: Annotated[int, limit] = 100,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import casing

        return casing.list_events(texts, config, as_, address, student=student, limit=limit, json=json)

    @command(case, texts, "case.disclosures")
    def list_disclosures(
        student: Annotated[str, student],
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        limit: Annotated[int, limit] = 100_000,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import casing

        return casing.list_disclosures(texts, config, as_, address, student=student, limit=limit, json=json)

    @command(case, texts, "case.explain")
    def explain(
        student: Annotated[str, student],
        recipient: Annotated[str, recipient],
        purpose: Annotated[str, purpose] = "CARE",
        against: Annotated[str, typer.Option(help=texts("opt.against"), metavar="VERSION", show_default=False)] = "",
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import casing

        return casing.explain(
            texts, config, as_, address, student=student, recipient=recipient, purpose=purpose, against=against, json=json
        )  # fmt: skip
