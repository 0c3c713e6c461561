"""A report on paper and on the screen: the same figures, tables and charts as PDF and as one HTML file that loads nothing."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from html import escape

from fpdf import FPDF
from fpdf.fonts import FontFace

from xinqiao.api.exchange.v1.report_service_pb2 import Figure, Report, Statistic
from xinqiao.contract.clock import BEIJING, from_us
from xinqiao.documents.fonts import fonts

for _name in ("fpdf", "fontTools"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)
_INK, _BAR, _PALE = (26, 26, 26), (47, 111, 158), (238, 243, 247)
BLANK = -1
DASH = "–"


@dataclass(frozen=True, slots=True)
class Paper:
    """A report with what it takes to write it out in one language.

    ``words`` are the fixed words of the page by key; ``labels`` what rows and columns are called, by their code;
    ``reported`` the figures that a printed report gave, by id, to be compared.
    """

    report: Report
    language: str
    words: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    reported: Mapping[str, str] = field(default_factory=dict[str, str])

    def own(self, zh: str, en: str) -> str:
        """The text of the paper's language."""
        return zh if self.language == "zh" else en

    @property
    def title(self) -> str:
        """Title and period."""
        return f"{self.own(self.report.title_zh, self.report.title_en)} · {self.report.period}"

    @property
    def made(self) -> str:
        """Who made it and when, and under which rule small figures are blank."""
        at = from_us(self.report.create_time_us).astimezone(BEIJING).strftime("%Y-%m-%d %H:%M")
        revision = self.words["revision"].format(number=self.report.revision) if self.report.revision else ""
        whose = self.labels.get(self.report.agency, self.report.agency)
        parts = (self.report.deployment, whose, at, revision, self.words["least"].format(least=self.report.least))
        return " · ".join(part for part in parts if part)

    def label(self, code: str) -> str:
        """What a row or column is called."""
        return self.labels.get(code, code)

    def headings(self) -> list[str]:
        """Of the table of figures."""
        columns = ["figure", "value", "unit"] + (["reported", "difference"] if self.reported else [])
        return [self.words[column] for column in columns]

    def line(self, figure: Figure) -> list[str]:
        """One figure as a row of that table."""
        value = DASH if figure.blank else f"{figure.value:,}"
        cells = [self.name(figure), value, self.own(figure.unit_zh, figure.unit_en)]
        if self.reported:
            said = self.reported.get(figure.id, "")
            cells += [said, difference(figure, said)]
        return cells

    def name(self, figure: Figure) -> str:
        """A figure's name, with a mark where somebody may have been counted twice."""
        return self.own(figure.name_zh, figure.name_en) + (" *" if figure.may_count_twice else "")

    def only_reported(self) -> list[list[str]]:
        """Figures that the printed report gives and this one does not compute, in their order."""
        known = {figure.id for figure in self.report.figures}
        return [
            [key, "", "", said, self.words["not_computed"]] for key, said in self.reported.items() if key not in known
        ]

    def heading(self, table: Statistic) -> str:
        """A table's name with what it counts."""
        unit = self.words["persons"] if table.persons else self.words["records"]
        return f"{self.own(table.name_zh, table.name_en)} ({unit})"

    def grid(self, table: Statistic) -> list[list[str]]:
        """A table's cells with its headings and totals."""
        columns = [*(self.label(code) for code in table.columns), self.words["total"]]
        rows = [*(self.label(code) for code in table.rows), self.words["total"]]
        shown = [DASH if cell == BLANK else f"{cell:,}" for cell in table.cells]
        width = len(columns)
        return [["", *columns]] + [[row, *shown[at * width : (at + 1) * width]] for at, row in enumerate(rows)]


def difference(figure: Figure, said: str) -> str:
    """Computed less reported; empty where one of them is missing or the report gives no plain number."""
    if not said or figure.blank:
        return ""
    try:
        return f"{figure.value - int(said):+,}" if figure.value != int(said) else "0"
    except ValueError:
        return ""


# -- HTML -----------------------------------------------------------------------------------------------------------------

_STYLE = (
    "body{font:16px/1.5 system-ui,'Noto Sans SC',sans-serif;color:#1a1a1a;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2rem}.made,.note{color:#666;font-size:.85rem}"
    "table{border-collapse:collapse;width:100%}th,td{padding:.3rem .6rem;border-bottom:1px solid #ddd;text-align:right}"
    "th:first-child,td:first-child{text-align:left}thead th{background:#eef3f7}tr:last-child td{border-bottom:2px solid #999}"
    ".off{color:#b3261e;font-weight:600}figure{margin:1rem 0}svg{width:100%;height:auto}.bars{display:grid;gap:1rem;"
    "grid-template-columns:repeat(auto-fill,minmax(17rem,1fr))}figcaption{font-size:.85rem;color:#444}"
)


def to_html(paper: Paper) -> str:
    """One file, UTF-8, without scripts and without anything to load."""
    report, words = paper.report, paper.words
    body = [f"<h1>{escape(paper.title)}</h1>", f'<p class="made">{escape(paper.made)}</p>']
    if report.figures:
        rows = [paper.line(figure) for figure in report.figures] + paper.only_reported()
        body += [f"<h2>{escape(words['figures'])}</h2>", _table(paper.headings(), rows, mark=4)]
    if any(figure.may_count_twice for figure in report.figures):
        body.append(f'<p class="note">* {escape(words["twice"])}</p>')
    charts = [_bars(paper, figure) for figure in report.figures if any(figure.by_month)]
    if charts:
        body += [f"<h2>{escape(words['months'])}</h2>", f'<div class="bars">{"".join(charts)}</div>']
    for table in report.statistics:
        grid = paper.grid(table)
        body += [f"<h2>{escape(paper.heading(table))}</h2>", _table(grid[0], grid[1:])]
    if report.statistics:
        body.append(f'<p class="note">{escape(words["suppressed"].format(least=report.least))}</p>')
    language = "zh-CN" if paper.language == "zh" else "en"
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(paper.title)}</title><style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], mark: int = -1) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in headings)
    lines: list[str] = []
    for row in rows:
        cells = [
            f'<td class="off">{escape(cell)}</td>'
            if index == mark and cell[:1] in ("+", "-")
            else f"<td>{escape(cell)}</td>"
            for index, cell in enumerate(row)
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _bars(paper: Paper, figure: Figure) -> str:
    most = max(figure.by_month)
    name = paper.own(figure.name_zh, figure.name_en)
    parts: list[str] = []
    for month, value in enumerate(figure.by_month):
        height = round(70 * value / most) if most else 0
        left = 8 + month * 24
        parts.append(
            f'<rect x="{left}" y="{88 - height}" width="18" height="{height}" fill="#2f6f9e"><title>{month + 1}: {value}'
            f'</title></rect><text x="{left + 9}" y="99" font-size="9" text-anchor="middle" fill="#666">{month + 1}</text>'
            + (
                f'<text x="{left + 9}" y="{85 - height}" font-size="8" text-anchor="middle">{value}</text>'
                if value
                else ""
            )
        )
    return (
        f'<figure><svg viewBox="0 0 300 104" role="img" aria-label="{escape(name)}">{"".join(parts)}</svg>'
        f"<figcaption>{escape(name)} ({escape(paper.own(figure.unit_zh, figure.unit_en))})</figcaption></figure>"
    )


# -- PDF ------------------------------------------------------------------------------------------------------------------


def to_pdf(paper: Paper) -> bytes:
    """A4, fonts embedded as subsets."""
    faces = fonts()
    page = FPDF(format="A4")
    page.set_margins(18, 16, 18)
    page.set_auto_page_break(True, margin=16)
    page.add_font("sans", fname=faces.sans)
    page.set_title(paper.title)
    page.set_creator("XinQiao")
    page.set_lang("zh-CN" if paper.language == "zh" else "en")
    page.set_creation_date(from_us(paper.report.create_time_us).astimezone(UTC))
    page.add_page()
    page.set_font("sans", size=18)
    page.set_text_color(*_INK)
    page.multi_cell(0, 9, paper.title, align="L", new_x="LMARGIN", new_y="NEXT")
    _note(page, paper.made)
    if paper.report.figures:
        _heading(page, paper.words["figures"])
        rows = [paper.line(figure) for figure in paper.report.figures] + paper.only_reported()
        _grid(page, [paper.headings(), *rows])
    if any(figure.may_count_twice for figure in paper.report.figures):
        _note(page, f"* {paper.words['twice']}")
    charted = [figure for figure in paper.report.figures if any(figure.by_month)]
    if charted:
        _heading(page, paper.words["months"])
        for figure in charted:
            _chart(page, paper, figure)
    for table in paper.report.statistics:
        _heading(page, paper.heading(table))
        _grid(page, paper.grid(table))
    if paper.report.statistics:
        _note(page, paper.words["suppressed"].format(least=paper.report.least))
    return bytes(page.output())


def _heading(page: FPDF, text: str) -> None:
    if page.will_page_break(30):
        page.add_page()
    page.ln(4)
    page.set_font("sans", size=13)
    page.multi_cell(0, 8, text, align="L", new_x="LMARGIN", new_y="NEXT")


def _note(page: FPDF, text: str) -> None:
    page.set_font("sans", size=8.5)
    page.set_text_color(110)
    page.multi_cell(0, 5, text, align="L", new_x="LMARGIN", new_y="NEXT")
    page.set_text_color(*_INK)


def _grid(page: FPDF, rows: Sequence[Sequence[str]]) -> None:
    page.set_font("sans", size=9)
    page.set_draw_color(205)
    widths = [2.4] + [1.0] * (len(rows[0]) - 1)
    with page.table(
        col_widths=tuple(widths), text_align=("LEFT", *["RIGHT"] * (len(rows[0]) - 1)), line_height=6,
        borders_layout="HORIZONTAL_LINES", headings_style=FontFace(emphasis="", fill_color=_PALE),
    ) as table:  # fmt: skip
        for row in rows:
            line = table.row()
            for cell in row:
                line.cell(cell)


def _chart(page: FPDF, paper: Paper, figure: Figure) -> None:
    height, width, most = 22.0, page.epw / 12, max(figure.by_month)
    if page.will_page_break(height + 14):
        page.add_page()
    page.set_font("sans", size=9)
    unit = paper.own(figure.unit_zh, figure.unit_en)
    page.multi_cell(
        0, 6, f"{paper.own(figure.name_zh, figure.name_en)} ({unit})", align="L", new_x="LMARGIN", new_y="NEXT"
    )
    foot = page.get_y() + height + 3
    page.set_fill_color(*_BAR)
    page.set_font("sans", size=7)
    for month, value in enumerate(figure.by_month):
        tall, left = height * value / most, page.l_margin + month * width
        if value:
            page.rect(left + 1, foot - tall, width - 2, tall, style="F")
            page.set_xy(left, foot - tall - 3.4)
            page.cell(width, 3, f"{value:,}", align="C")
        page.set_xy(left, foot + 0.4)
        page.cell(width, 3.4, str(month + 1), align="C")
    page.set_xy(page.l_margin, foot + 6)
