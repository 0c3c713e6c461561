"""Reports about a child who is only described."""

from pathlib import Path
from typing import Annotated

import typer

from xinqiao.cli.commands.tree import DEFAULT, Options, below, command
from xinqiao.cli.texts import Texts


def add_alerts(app: typer.Typer, texts: Texts) -> None:
    """`xinqiao alerts ...`."""
    shared = Options(texts)
    config, partner, address, as_json, limit = shared.config, shared.partner, shared.address, shared.json, shared.limit
    alerts = below(app, texts, "alerts")
    name = typer.Argument(help=texts("arg.alert"), metavar="ALERT")

    @command(alerts, texts, "alerts.list")
    def list_alerts(
        limit: Annotated[int, limit] = 100,
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import alerting

        return alerting.list_alerts(texts, config, as_, address, limit=limit, json=json)

    @command(alerts, texts, "alerts.identify")
    def identify(
        alert: Annotated[str, name],
        student: Annotated[str, typer.Argument(help=texts("arg.alert_student"), metavar="STUDENT")],
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import alerting

        return alerting.identify(texts, config, as_, address, name=alert, student=student, json=json)

    @command(alerts, texts, "alerts.pass")
    def pass_on(
        alert: Annotated[str, name],
        reason: Annotated[str, typer.Option(help=texts("opt.reason"), metavar="WORD")],
        school: Annotated[str, typer.Option(help=texts("opt.alert_school"), show_default=False)] = "",
        config: Annotated[Path, config] = DEFAULT,
        as_: Annotated[str, partner] = "",
        address: Annotated[str, address] = "",
        json: Annotated[bool, as_json] = False,
    ) -> int:
        from xinqiao.cli import alerting

        return alerting.pass_on(texts, config, as_, address, name=alert, school=school, reason=reason, json=json)
