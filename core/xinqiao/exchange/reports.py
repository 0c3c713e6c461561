"""The report contract: figures and tables of fixed shape, with nothing left in them by which anybody could be counted."""

import difflib
from collections.abc import Container, Mapping, Sequence
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
        self._check_agency(request.agency)
        report = self._report(call.tx, rules, request, period)
        report.create_time_us = call.tx.now_us
        if request.release:
            kept = self._kept(call.tx, report)
            before = [each for each in kept if each.agency == report.agency]
            close = next((found for each in before if (found := _too_close(each, report))), "")
            if close := close or _subtracted([*kept, report], {each.id for each in rules.figures if each.of_persons}):
                raise Refusal(
                    "FAILED_PRECONDITION", "DIFFERENCING",
                    f"{close} differs from what was released by fewer than {rules.least}: the two together would tell"
                    " of whom; release when more has changed, or with the next period",
                )  # fmt: skip
            report.revision = max((each.revision for each in before), default=0) + 1
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

    def _check_agency(self, agency: str) -> None:
        """A report of nobody would be a page of noughts, released as if it were true."""
        known = sorted({partner.agency for partner in self._door.registry.all()})
        if agency and agency not in known:
            close = difflib.get_close_matches(agency, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise Refusal("NOT_FOUND", "AGENCY", f"there is no such agency{hint}")

    def _report(self, tx: ReadTx, rules: ReportFile, request: pb.MakeReportRequest, period: Span) -> pb.Report:
        report = pb.Report(
            report=rules.id, version=rules.version, title_zh=rules.titles.zh, title_en=rules.titles.en,
            period=request.period, agency=request.agency, least=rules.least, deployment=self._deployment,
        )  # fmt: skip
        first, last = _days(request.period)
        for each in rules.figures:
            report.figures.append(_figure(tx, self._door, each, first, last, request.agency, rules.least))
        schools = {school for partner in self._door.registry.all() for school in partner.schools}
        # The tables are of the district's students, and an agency's own report is of its work.
        for table in rules.statistics if not request.agency else ():
            counted = statistic(tx, table, period, schools)
            report.statistics.append(_statistic(table, counted, rules.least))
        return report

    @staticmethod
    def _kept(tx: ReadTx, report: pb.Report) -> list[pb.Report]:
        """What was released of this report and period, of the district and of any agency: readers have them all."""
        c = tables.releases.c
        rows = tx.all(
            select(c.content).where((c.report == report.report) & (c.period == report.period)).order_by(c.revision)
        )
        return [pb.Report.FromString(bytes(row["content"])) for row in rows]


def _figure(tx: ReadTx, door: Door, rule: FigureRule, first: str, last: str, agency: str, least: int) -> pb.Figure:
    computed = figure(tx, door, rule, first, last, agency)
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
    table = with_totals(counted.cells, rows, columns) | counted.totals
    blank = blanks(table, least, sums=rule.measure == "records")
    return pb.Statistic(
        id=rule.id, name_zh=rule.names.zh, name_en=rule.names.en, persons=rule.measure == "persons",
        rows=counted.rows, columns=counted.columns,
        cells=[
            BLANK if (row, column) in blank else table[row, column]
            for row in range(rows + 1)
            for column in range(columns + 1)
        ],
    )  # fmt: skip


def _subtracted(released: Sequence[pb.Report], persons: Container[str]) -> str:
    """The first figure about persons of which the district's less what agencies' own reports show leaves a few: those
    are the agency's whose figure is blank, or that has released none. Empty for none."""
    latest = {each.agency: each for each in released}
    own = {agency: {f.id: f for f in report.figures} for agency, report in latest.items() if agency}
    for whole in (each for each in released if not each.agency):
        for each in whole.figures:
            shown = [found[each.id].value for found in own.values() if each.id in found and not found[each.id].blank]
            if each.id in persons and not each.blank and shown and 0 < each.value - sum(shown) < whole.least:
                return each.id
    return ""


def _too_close(before: pb.Report, now: pb.Report) -> str:
    """The first table or figure about persons that two releases show with a small difference; empty for none."""
    tables_before = {each.id: _named(each) for each in before.statistics}
    for new in now.statistics:
        shown = tables_before.get(new.id, {})
        for place, value in _named(new).items() if shown else ():
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
