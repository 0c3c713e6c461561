"""The pack as one page for people, in both languages: no script, nothing from elsewhere, safe to open anywhere."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from xinqiao.contract.clock import BEIJING, from_us
from xinqiao.server.audit.sections import Row, Section
from xinqiao.server.audit.wording import COLUMNS, NOTES, TEXTS, TITLES

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE: Final = """
body{font:15px/1.55 system-ui,"Noto Sans SC","Microsoft YaHei",sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem;
color:#1c2530}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .3rem}small,.note{color:#56616e}
table{border-collapse:collapse;font-size:.88rem;width:100%}th,td{border-bottom:1px solid #d7dde3;padding:.25rem .5rem;
text-align:left;vertical-align:top;overflow-wrap:break-word}th{overflow-wrap:normal}td.n{text-align:right;font-variant-numeric:tabular-nums}
.good{color:#14622e}.bad{color:#a01818;font-weight:600}pre{white-space:pre-wrap;font-size:.8rem;background:#f3f5f7;
padding:.5rem}svg text{font:11px system-ui,sans-serif;fill:#56616e}svg rect{fill:#2f6f9f}
@media print{body{margin:0}h2{break-after:avoid}tr{break-inside:avoid}}
"""
_WIDTH, _HEIGHT, _STEP = 720, 150, 60


def page(about: Mapping[str, Any], sections: Sequence[Section], months: Sequence[Row]) -> bytes:
    """The page as UTF-8."""
    title = f"{TEXTS['title'][0]} {about['year']} / {TEXTS['title'][1]} {about['year']}"
    body = "".join((_head(about), _chart(months), *map(_section, sections), _journal(about)))
    return (
        f'<!doctype html>\n<html lang="zh-CN"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{body}</body></html>\n"
    ).encode("utf-8", "backslashreplace")


def _both(key: str, **values: object) -> str:
    return "<br>".join(escape(text.format(**values)) for text in TEXTS[key])


def _head(about: Mapping[str, Any]) -> str:
    made = from_us(about["made_us"]).astimezone(BEIJING).strftime("%Y-%m-%d %H:%M")
    sound = about["journal"]["sound"]
    parts = [
        _paragraph(_both("made", deployment=about["deployment"], by=about["made_by"], at=made)),
        "" if about["whole_year"] else _paragraph(_both("part_year", at=made), "bad"),
        _paragraph(_both("sound" if sound else "unsound", **_counts(about)), "good" if sound else "bad"),
        _paragraph(
            _both("journalled", row=about["journal_row"]) if about["journal_row"]
            else _both("not_journalled", why=about["not_journalled"]),
            "" if about["journal_row"] else "bad",
        ),
        _paragraph(_both("small", least=about["small_counts"]["least"]), "note"),
    ]  # fmt: skip
    return "".join(parts)


def _counts(about: Mapping[str, Any]) -> dict[str, object]:
    report = about["journal"]["verification"]
    return {name: report[name] for name in ("rows", "checkpoints", "uncheckpointed", "code", "findings_total")}


def _paragraph(html: str, kind: str = "") -> str:
    return f'<p class="{kind}">{html}</p>' if kind else f"<p>{html}</p>"


def _section(section: Section) -> str:
    zh, en = TITLES[section.name]
    note = NOTES.get(section.name)
    out = [f'<h2 id="{section.name}">{escape(zh)} / {escape(en)} <small>{section.name}.csv</small></h2>']
    if note is not None:
        out.append(_paragraph("<br>".join(map(escape, note)), "note"))
    if not section.rows:
        return "".join((*out, _paragraph(_both("none"), "note")))
    out.append("<table><tr>")
    out += [
        f"<th>{escape(COLUMNS[name][0])}<br><small>{escape(COLUMNS[name][1])}</small></th>" for name in section.columns
    ]
    out.append("</tr>")
    for row in section.rows:
        out.append(f"<tr>{''.join(_cell(row[name]) for name in section.columns)}</tr>")
    return "".join((*out, "</table>"))


def _cell(value: object) -> str:
    text = str(value)
    number = isinstance(value, int) or text.startswith("<")
    return f'<td class="n">{escape(text)}</td>' if number else f"<td>{escape(text)}</td>"


def _chart(months: Sequence[Row]) -> str:
    """Bars by month; a count too small to show is the thinnest bar with its own words over it."""
    counts = [each["disclosures"] for each in months]
    top = max((count for count in counts if isinstance(count, int)), default=0) or 1
    bars: list[str] = []
    for place, count in enumerate(counts):
        height = round(_HEIGHT * count / top) if isinstance(count, int) else 1
        x, y = place * _STEP + 8, 20 + _HEIGHT - height
        bars.append(
            f'<rect x="{x}" y="{y}" width="{_STEP - 16}" height="{height}"/>'
            f'<text x="{x + 22}" y="{y - 4}" text-anchor="middle">{escape(str(count))}</text>'
            f'<text x="{x + 22}" y="{_HEIGHT + 36}" text-anchor="middle">{place + 1:02d}</text>'
        )
    zh, en = TITLES["months"]
    return (
        f"<h2>{escape(zh)} / {escape(en)} <small>months.csv</small></h2>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 44}" width="{_WIDTH}" role="img" aria-label="{escape(f"{zh} / {en}")}">'
        f"{''.join(bars)}</svg>"
    )


def _journal(about: Mapping[str, Any]) -> str:
    notes = about["journal"]["checkpoints"]
    listed = "".join(f"<h3>{escape(writer)}</h3><pre>{escape(note)}</pre>" for writer, note in notes.items())
    zh, en = TITLES["checkpoints"]
    return f"<h2>{escape(zh)} / {escape(en)}</h2>{_paragraph(_both('checkpoints'), 'note')}{listed}"
