"""`xinqiao report`: the monthly and the yearly report as HTML, PDF and CSV, beside the figures of a printed one."""

import csv
from collections.abc import Mapping
from pathlib import Path

from xinqiao.api.exchange.v1 import report_service_pb2 as rpc
from xinqiao.api.exchange.v1.report_service_pb2_grpc import ReportServiceStub
from xinqiao.cli.files import load_settings
from xinqiao.cli.output import as_json, plain, say
from xinqiao.cli.remote import connect, request_id
from xinqiao.cli.tables import coloured, table
from xinqiao.cli.texts import Texts
from xinqiao.config.settings import Gateway
from xinqiao.contract.errors import Refusal
from xinqiao.documents.report import BLANK, Paper, difference, to_html, to_pdf

_WORDS = (
    "figure", "value", "unit", "reported", "difference", "total", "persons", "records", "figures", "months",
    "suppressed", "least", "revision", "twice", "not_computed",
)  # fmt: skip
_TIERS = {"GREEN": 1, "YELLOW": 2, "ORANGE": 3, "RED": 4}


def make(
    texts: Texts, config: Path, partner: str, address: str, *, report: str, period: str, agency: str, release: bool,
    reported: Path | None, out: Path | None, json: bool,
) -> int:  # fmt: skip
    """Make a report, print it, and with ``out`` write it down in both languages."""
    said = _reported(texts, reported) if reported is not None else {}
    settings = load_settings(texts, config)
    with connect(texts, config, partner, address) as remote:
        request = rpc.MakeReportRequest(
            request_id=request_id(), report=report, period=period, agency=agency, release=release
        )
        made = remote.call(ReportServiceStub(remote.channel).MakeReport, request).report
    if out is not None:
        _write(out, made, settings, said)
    if json:
        as_json(plain(made))
        return 0
    _show(texts, paper(texts, made, settings, said))
    if out is not None:
        say(texts("report.written", folder=out))
    return 0


def paper(texts: Texts, made: rpc.Report, settings: Gateway, said: Mapping[str, str]) -> Paper:
    """The report with its words in the language of ``texts``."""
    words = {word: texts(f"report.{word}") for word in _WORDS}
    return Paper(made, texts.language, words, _labels(texts, settings), said)


def _labels(texts: Texts, settings: Gateway) -> dict[str, str]:
    labels = {name: texts(f"tier.{number}") for name, number in _TIERS.items()}
    for name, each in settings.partners.items():
        title = each.names.zh if texts.language == "zh" else each.names.en
        labels[name] = title
        if "SCHOOL_PLATFORM" in each.roles:
            labels |= dict.fromkeys(each.schools, title)
    return labels


def _show(texts: Texts, shown: Paper) -> None:
    say(shown.title)
    if shown.report.figures:
        rows: list[list[object]] = []
        for figure in shown.report.figures:
            cells: list[object] = list(shown.line(figure))
            if shown.reported and str(cells[4])[:1] in ("+", "-"):
                cells[4] = coloured(str(cells[4]), "red")
            rows.append(cells)
        table(shown.headings(), [*rows, *shown.only_reported()], numbers=(1, 3, 4))
    for statistic in shown.report.statistics:
        say(shown.heading(statistic))
        grid = shown.grid(statistic)
        table(grid[0], grid[1:], numbers=range(1, len(grid[0])))
    say(shown.made)


def _write(out: Path, made: rpc.Report, settings: Gateway, said: Mapping[str, str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    name = f"{made.report}-{made.period}" + (f"-{made.agency}" if made.agency else "")
    for language in ("zh", "en"):
        page = paper(Texts(language), made, settings, said)
        (out / f"{name}.{language}.html").write_text(to_html(page), "utf-8")
        (out / f"{name}.{language}.pdf").write_bytes(to_pdf(page))
    with (out / f"{name}.csv").open("w", encoding="utf-8-sig", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("id", "name_zh", "name_en", "unit_zh", "value", "reported", "difference"))
        for each in made.figures:
            value = "" if each.blank else each.value
            told = said.get(each.id, "")
            rows.writerow((each.id, each.name_zh, each.name_en, each.unit_zh, value, told, difference(each, told)))
    for grid in made.statistics:
        with (out / f"{name}-{grid.id}.csv").open("w", encoding="utf-8-sig", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(("", *grid.columns, "total"))
            width = len(grid.columns) + 1
            for at, row in enumerate([*grid.rows, "total"]):
                cells = grid.cells[at * width : (at + 1) * width]
                rows.writerow((row, *("" if cell == BLANK else cell for cell in cells)))


def _reported(texts: Texts, file: Path) -> dict[str, str]:
    """A printed report's figures: columns `metric` and `value`. Raises Refusal INVALID_ARGUMENT/DATA."""
    found: dict[str, str] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream, strict=True)
            if not {"metric", "value"} <= set(rows.fieldnames or ()):
                raise Refusal("INVALID_ARGUMENT", "DATA", texts("report.columns", file=file))
            for row in rows:
                if row["metric"] in found:
                    place = f"{file}:{rows.line_num}"
                    raise Refusal("INVALID_ARGUMENT", "DATA", texts("report.twice_given", place=place))
                found[row["metric"]] = row["value"] or ""
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Refusal("INVALID_ARGUMENT", "DATA", f"{file}: {type(error).__name__}") from None
    return found
