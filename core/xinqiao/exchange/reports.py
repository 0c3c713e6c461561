"""The report contract: figures and tables of fixed shape, with nothing left in them by which anybody could be counted."""

from collections.abc import Mapping
from typing import Final

from xinqiao.api.exchange.v1 import report_service_pb2 as pb
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.exchange.figures import Counted, figure, statistic
from xinqiao.exchange.periods import Span, finished
from xinqiao.exchange.report_rules import FigureRule, ReportFile, StatisticRule
from xinqiao.exchange.suppression import blanks, with_totals
from xinqiao.store import tables
from xinqiao.store.sql import select
from xinqiao.store.tx import ReadTx

BLANK: Final = -1


class PublishedReports:
    """The function behind ``ReportService``."""

    def __init__(self, door: Door, rules: Mapping[str, ReportFile], deployment: str) -> None:
        self._door = door
        self._rules = rules
        self._deployment = deployment

    def make_report(self, request: pb.MakeReportRequest, call: Call) -> pb.MakeReportResponse:
        """Compute, blank what is small, and with ``release`` keep it as what was published."""
        rules = self._rules.get(request.report)
        if rules is None:
            raise Refusal("NOT_FOUND", "REPORT", "no such report: `reports` in gateway.yaml names their folder")
        period = _period(rules, request.period, call.tx.now_us)
        report = self._report(call.tx, rules, request, period)
        report.create_time_us = call.tx.now_us
        if request.release:
            before = self._newest(call.tx, report)
            if before is not None and (close := _too_close(before, report)):
                raise Refusal(
                    "FAILED_PRECONDITION", "DIFFERENCING",
                    f"{close} differs from what was released by fewer than {rules.least}: the two together would tell"
                    " of whom; release when more has changed, or with the next period",
                )  # fmt: skip
            report.revision = before.revision + 1 if before is not None else 1
            content = report.SerializeToString(deterministic=True)
            call.tx.insert(
                tables.releases, report.report, report.agency, report.period, report.revision, call.tx.now_us,
                call.caller.id, content,
            )  # fmt: skip
        call.journal_batch(
            "report.released" if request.release else "report.made", resource=f"reports/{report.report}",
            reason=f"{report.period}:r{report.revision}" + (f":{report.agency}" if report.agency else ""),
            payload=report.SerializeToString(deterministic=True),
        )  # fmt: skip
        return pb.MakeReportResponse(report=report)

    def _report(self, tx: ReadTx, rules: ReportFile, request: pb.MakeReportRequest, period: Span) -> pb.Report:
        report = pb.Report(
            report=rules.id, version=rules.version, title_zh=rules.titles.zh, title_en=rules.titles.en,
            period=request.period, agency=request.agency, least=rules.least, deployment=self._deployment,
        )  # fmt: skip
        first, last = _days(request.period)
        for each in rules.figures:
            report.figures.append(_figure(tx, each, first, last, request.agency, rules.least))
        for table in rules.statistics:
            report.statistics.append(_statistic(table, statistic(tx, table, period), rules.least))
        return report

    @staticmethod
    def _newest(tx: ReadTx, report: pb.Report) -> pb.Report | None:
        c = tables.releases.c
        row = tx.one(
            select(c.content)
            .where((c.report == report.report) & (c.agency == report.agency) & (c.period == report.period))
            .order_by(c.revision.desc())
            .limit(1)
        )
        return pb.Report.FromString(bytes(row["content"])) if row is not None else None


def _figure(tx: ReadTx, rule: FigureRule, first: str, last: str, agency: str, least: int) -> pb.Figure:
    computed = figure(tx, rule, first, last, agency)
    shown = pb.Figure(
        id=rule.id, name_zh=rule.names.zh, name_en=rule.names.en, unit_zh=rule.unit.zh, unit_en=rule.unit.en,
        may_count_twice=computed.loose,
    )  # fmt: skip
    shown.blank = rule.of_persons and 0 < computed.value < least
    if not shown.blank:
        shown.value = computed.value
    if rule.measure in ("times", "attendances", "minutes") and first[5:] == "01-01":
        shown.by_month.extend(computed.by_month)
    return shown


def _statistic(rule: StatisticRule, counted: Counted, least: int) -> pb.Statistic:
    rows, columns = len(counted.rows), len(counted.columns)
    table = with_totals(counted.cells, rows, columns)
    blank = blanks(table, least)
    return pb.Statistic(
        id=rule.id, name_zh=rule.names.zh, name_en=rule.names.en, persons=rule.measure == "persons",
        rows=counted.rows, columns=counted.columns,
        cells=[
            BLANK if (row, column) in blank else table[row, column]
            for row in range(rows + 1)
            for column in range(columns + 1)
        ],
    )  # fmt: skip


def _too_close(before: pb.Report, now: pb.Report) -> str:
    """The first table or figure about persons that two releases show with a small difference; empty for none."""
    if [each.id for each in before.statistics] != [each.id for each in now.statistics]:
        return "the list of tables"
    for old, new in zip(before.statistics, now.statistics, strict=True):
        shown = _named(old)
        for place, value in _named(new).items():
            earlier = shown.get(place, 0)
            if BLANK not in (value, earlier) and 0 < abs(value - earlier) < now.least:
                return new.id
    kept = {each.id: each for each in before.figures}
    for each in now.figures:
        earlier_figure = kept.get(each.id)
        if earlier_figure is None or each.by_month or each.blank or earlier_figure.blank:
            continue
        if 0 < abs(each.value - earlier_figure.value) < now.least:
            return each.id
    return ""


def _named(table: pb.Statistic) -> dict[tuple[str, str], int]:
    rows, columns = [*table.rows, ""], [*table.columns, ""]
    return {
        (row, column): table.cells[at * len(columns) + index]
        for at, row in enumerate(rows)
        for index, column in enumerate(columns)
    }


def _period(rules: ReportFile, period: str, now_us: int) -> Span:
    if (len(period) == 4) != (rules.period == "year"):
        raise Refusal("INVALID_ARGUMENT", "PERIOD", f"this report is of a {rules.period}: shapes of release are fixed")
    if rules.period == "month":
        return finished(period, now_us)
    return Span(finished(f"{period}-01", now_us).from_us, finished(f"{period}-12", now_us).to_us)


def _days(period: str) -> tuple[str, str]:
    """The first day of a period, and a text that no day of it comes after."""
    return (f"{period}-01-01", f"{period}-12-31") if len(period) == 4 else (f"{period}-01", f"{period}-31")
