"""Scenes of the district: reports that come and that do not, a drill, and the settling of the month."""

import secrets
import time
from typing import Final

from xinqiao.api.exchange.v1 import exchange_pb2, exchange_service_pb2
from xinqiao.api.referral.v1 import referral_service_pb2
from xinqiao.api.screening.v1 import screening_pb2, screening_service_pb2
from xinqiao.cli.demo import tables as show
from xinqiao.cli.demo.clients import everything
from xinqiao.cli.demo.stage import DEADLINE_S, Stage, key
from xinqiao.contract.clock import BEIJING, from_us

PERIOD: Final = "2026-10"
_CADENCE: Final = "class-teacher-weekly"


def report(stage: Stage) -> None:
    """On Friday the class teachers' weekly report comes in time; it holds counts and nobody's name."""
    for owed in _weekly(stage)[:1]:
        stage.clients.platform.SubmitReport(
            screening_service_pb2.SubmitReportRequest(
                request_id=key("report", owed.period), cadence=owed.cadence, period=owed.period, school=owed.subject,
                students_seen=120, concerns=1,
            ),
            timeout=DEADLINE_S,
        )  # fmt: skip
        stage.tell(
            f"{owed.title_zh} {owed.period} 按时送到 (只有人数，没有姓名)",
            f"{owed.title_en}, {owed.period}: in time (counts, nobody's name)",
        )


def missed(stage: Stage) -> None:
    """The next Friday none comes. That is a sign of its own: somebody holds it and asks why."""
    for owed in _weekly(stage):
        if owed.state == screening_pb2.REPORT_STATE_MISSED:
            due = from_us(owed.due_us).astimezone(BEIJING)
            stage.tell(
                f"{owed.title_zh} {owed.period} 到 {due:%m-%d %H:%M} 没有来; 由 {owed.holder} 追问原因",
                f"{owed.title_en}, {owed.period}: not there by {due:%m-%d %H:%M}; {owed.holder} holds it and asks why",
            )


def drill(stage: Stage) -> None:
    """The operator has the crisis lane practised: an invented student, the real plugin, a time for each step."""
    request = referral_service_pb2.StartDrillRequest(request_id="demo.drill.october")
    found = stage.clients.watch.StartDrill(request, timeout=DEADLINE_S).drill
    deadline = time.monotonic() + DEADLINE_S
    while found.state == referral_service_pb2.DRILL_STATE_RUNNING and time.monotonic() < deadline:
        stage.gateway.read_all()
        time.sleep(0.05)
        asked = referral_service_pb2.GetDrillRequest(name=found.name)
        found = stage.clients.watch.GetDrill(asked, timeout=DEADLINE_S).drill
    passed = found.state == referral_service_pb2.DRILL_STATE_PASSED
    stage.console.print(show.drill(found, stage.texts))
    stage.tell(
        f"演练{'通过' if passed else '未通过'}; 没有留下个案",
        f"drill {'passed' if passed else 'not passed'}; no case is left of it",
    )


def _weekly(stage: Stage) -> list[screening_pb2.ExpectedReport]:
    """The school's weekly reports, the earliest due first."""
    asked = screening_service_pb2.ListExpectedReportsRequest
    found = everything(stage.clients.platform.ListExpectedReports, asked, "reports")
    return [each for each in found if each.cadence == _CADENCE]


def settle(stage: Stage) -> None:
    """First working day of November, 02:00: the tick finds the exchanges due; asked for again, it changes nothing."""
    stage.quiet()
    stage.gateway.run_due()
    for attempt in (1, 2):
        stage.clients.exchange.RunExchange(
            exchange_service_pb2.RunExchangeRequest(
                request_id=f"demo.exchange.{attempt}.{secrets.token_hex(4)}", exchange="school-hospital-monthly",
                period=PERIOD,
            ),
            timeout=25,
        )  # fmt: skip
    runs = _runs(stage)
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and any(r.state != exchange_pb2.RUN_STATE_RECONCILED for r in runs):
        time.sleep(0.3)
        stage.gateway.run_due()
        runs = _runs(stage)
    stage.console.print(show.runs(runs, stage.zh))


def _runs(stage: Stage) -> list[exchange_pb2.ExchangeRun]:
    """The month's runs of every exchange, by exchange and partner."""
    asked = exchange_service_pb2.ListExchangeRunsRequest()
    listed = stage.clients.exchange.ListExchangeRuns(asked, timeout=DEADLINE_S).runs
    return sorted((run for run in listed if run.period == PERIOD), key=lambda run: (run.exchange, run.partner))
