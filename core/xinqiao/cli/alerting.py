"""`xinqiao alerts`: reports about a child who is only described, until a person says who it is."""

from pathlib import Path

from xinqiao.api.screening.v1 import screening_service_pb2 as rpc
from xinqiao.api.screening.v1.screening_pb2 import Alert, AlertState, SignalKind, SignalSource
from xinqiao.api.screening.v1.screening_service_pb2_grpc import ScreeningServiceStub
from xinqiao.cli.output import as_json, plain, say, when
from xinqiao.cli.remote import connect, request_id
from xinqiao.cli.tables import coloured, table
from xinqiao.cli.texts import Texts

_COLUMNS = ("alert", "state", "since", "reporter", "kind", "described", "facts", "candidates")


def list_alerts(texts: Texts, config: Path, partner: str, address: str, *, limit: int, json: bool) -> int:
    """Print the newest alerts as the caller may see them."""
    with connect(texts, config, partner, address) as remote:
        stub = ScreeningServiceStub(remote.channel)

        def page(size: int, token: str) -> tuple[list[Alert], str]:
            answer = remote.call(stub.ListAlerts, rpc.ListAlertsRequest(page_size=size, page_token=token))
            return list(answer.alerts), answer.next_page_token

        found = remote.pages(page, limit)
    if json:
        as_json([plain(each) for each in found])
        return 0
    table([texts(f"col.{name}") for name in _COLUMNS], [_row(each) for each in found])
    return 0


def identify(
    texts: Texts, config: Path, partner: str, address: str, *, name: str, student: str, json: bool
) -> int:  # fmt: skip
    """Say which student an alert is about."""
    with connect(texts, config, partner, address) as remote:
        request = rpc.IdentifyAlertRequest(request_id=request_id(), name=name)
        if student.startswith("students/"):
            request.student.name = student
        else:
            request.student.local_id = student
        answer = remote.call(ScreeningServiceStub(remote.channel).IdentifyAlert, request)
    if json:
        as_json(plain(answer))
    else:
        say(texts("alerts.identified", alert=name, signal=answer.signal.name))
    return 0


def pass_on(
    texts: Texts, config: Path, partner: str, address: str, *, name: str, school: str, reason: str, json: bool
) -> int:  # fmt: skip
    """Hand an alert to another school, or without one close it."""
    with connect(texts, config, partner, address) as remote:
        request = rpc.PassAlertRequest(request_id=request_id(), name=name, school=school, reason=reason)
        answer = remote.call(ScreeningServiceStub(remote.channel).PassAlert, request)
    if json:
        as_json(plain(answer))
    else:
        say(texts("alerts.passed" if school else "alerts.closed", alert=name, school=school))
    return 0


def _row(alert: Alert) -> tuple[object, ...]:
    state = AlertState.Name(alert.state).removeprefix("ALERT_STATE_")
    described = alert.described
    who = (described.full_name, described.birth_date, described.school, described.class_title, described.other)
    kind = SignalKind.Name(alert.kind).removeprefix("SIGNAL_KIND_") if alert.kind else ""
    source = SignalSource.Name(alert.source).removeprefix("SIGNAL_SOURCE_") if alert.source else ""
    return (
        alert.name, coloured(state, "red") if state == "OPEN" else state, when(alert.create_time_us), alert.reporter,
        f"{source} {kind}".strip(), " ".join(part for part in who if part), alert.facts, "\n".join(alert.candidates),
    )  # fmt: skip
