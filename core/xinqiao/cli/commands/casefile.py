"""One student's case, the emergency accesses and recalls that consents lead to, and care teams."""

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


def add_consents(app: typer.Typer, texts: Texts) -> None:
    """`xinqiao overrides ...` and `xinqiao recalls ...`."""
    shared = Options(texts)
    config, partner, address, as_json, limit = shared.config, shared.partner, shared.address, shared.json, shared.limit
    overrides, recalls = below(app, texts, "overrides"), below(app, texts, "recalls")

    @command(overrides, texts, "overrides.list")
    def list_overrides(
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        limit: Annotated[int, limit] = 100,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import consenting

        return consenting.list_overrides(texts, config, as_, address, limit=limit, json=json)

    @command(overrides, texts, "overrides.decide")
    def decide(
        name: Annotated[str, typer.Argument(help=texts("arg.override"), metavar="NAME")],
        approve: Annotated[bool, typer.Option("--approve/--reject", help=texts("opt.approve"), show_default=False)],
        note: Annotated[str, typer.Option(help=texts("opt.note"), metavar="TEXT")],
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import consenting

        return consenting.decide(texts, config, as_, address, name=name, approve=approve, note=note, json=json)

    @command(recalls, texts, "recalls.list")
    def list_recalls(
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        limit: Annotated[int, limit] = 100,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import consenting

        return consenting.list_recalls(texts, config, as_, address, limit=limit, json=json)

    @command(recalls, texts, "recalls.show")
    def show_withdrawal(
        consent: Annotated[str, typer.Argument(help=texts("arg.withdrawn"), metavar="NAME")],
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import consenting

        return consenting.show_withdrawal(texts, config, as_, address, consent=consent, json=json)

    @command(recalls, texts, "recalls.close")
    def close_recall(
        name: Annotated[str, typer.Argument(help=texts("arg.recall"), metavar="NAME")],
        did: Annotated[str, typer.Option(help=texts("opt.did"), metavar="WORD")],
        how: Annotated[str, typer.Option(help=texts("opt.how"), metavar="TEXT")],
        citation: Annotated[str, typer.Option(help=texts("opt.citation"), metavar="TEXT", show_default=False)] = "",
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import consenting

        return consenting.close_recall(
            texts, config, as_, address, name=name, did=did, how=how, citation=citation, json=json
        )


def add_teams(app: typer.Typer, texts: Texts) -> None:
    """`xinqiao teams ...`."""
    shared = Options(texts)
    config, partner, address, as_json, limit = shared.config, shared.partner, shared.address, shared.json, shared.limit
    teams = below(app, texts, "teams")

    @command(teams, texts, "teams.list")
    def list_teams(
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        limit: Annotated[int, limit] = 100,
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import teaming

        return teaming.list_teams(texts, config, as_, address, limit=limit, json=json)

    @command(teams, texts, "teams.show")
    def show_team(
        name: Annotated[str, typer.Argument(help=texts("arg.team"), metavar="NAME")],
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import teaming

        return teaming.show(texts, config, as_, address, name=name, json=json)
