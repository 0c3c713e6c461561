"""`xinqiao instruments ...`: what this gateway can score, what a file gets wrong, and scoring without storing anything."""

import json as codec
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from xinqiao.cli.exits import CONFIGURATION, DATA
from xinqiao.cli.files import load_settings
from xinqiao.cli.output import as_json, say, warn
from xinqiao.cli.sheets import Sheet, parse_cells, read_sheet
from xinqiao.cli.tables import table
from xinqiao.cli.texts import Texts
from xinqiao.contract.errors import Refusal
from xinqiao.screening.batch import BatchScores, lacks_lowest, score_batch
from xinqiao.screening.instruments import Instrument, InstrumentLibrary, instrument_schema, load_instruments
from xinqiao.screening.plan import bands_of, item_highs
from xinqiao.screening.proofread import proofread
from xinqiao.screening.refusals import item_refusal
from xinqiao.screening.scoring import Score, score
from xinqiao.screening.suitability import check_suited

_CONFIG, _FOLDER = Path("config/gateway.yaml"), Path("config/instruments")


def list_instruments(texts: Texts, config: Path | None, folder: Path | None, *, json: bool) -> int:
    """Print every instrument, whether it is in use, and if not why not."""
    library = _library(texts, config, folder)
    if json:
        as_json([_summary(each) for each in library.values()])
        return 0
    headings = [texts(f"col.{name}") for name in ("instrument", "version", "items", "informants", "ages", "licence",
                                                  "record", "state", "why")]  # fmt: skip
    rows = [
        (each.id, _version(each), each.items, _informants(texts, each), _ages(each),
         texts(f"instr.{each.licence.status}"), each.licence.record or "",
         texts("instr.on" if each.enabled else "instr.off"), _why(texts, each))
        for each in library.values()
    ]  # fmt: skip
    table(headings, rows, numbers=(2,))
    return 0


def show(texts: Texts, config: Path | None, folder: Path | None, name: str, *, json: bool) -> int:
    """Print one instrument."""
    one = _one(texts, _library(texts, config, folder), name)
    if json:
        as_json(one.model_dump(mode="json", exclude_none=True))
        return 0
    say(f"{one.id}  {_label(texts, one.names.zh, one.names.en)}")
    table([texts("col.what"), ""], [(texts(f"col.{name}"), value) for name, value in _facts(texts, one) if value])
    if scores := _score_rows(one):
        table([texts(f"col.{name}") for name in ("score", "method", "of", "range", "norm", "bands")], scores)
    if rules := _rule_rows(texts, one):
        table([texts(f"col.{name}") for name in ("rules", "items", "when", "severity", "message")], rules)
    return 0


def _facts(texts: Texts, one: Instrument) -> list[tuple[str, object]]:
    missing = (one.missing.rule, one.missing.max_missing, one.missing.per)
    return [
        ("version", _version(one)),
        ("items", one.items),
        ("scale", f"{one.scale.min}-{one.scale.max}"),
        ("codings", ", ".join(coding.id for coding in one.codings)),
        ("informants", _informants(texts, one)),
        ("ages", _ages(one)),
        ("grades", f"{one.grades.min}-{one.grades.max or 12}" if one.grades else ""),
        ("reverse", _runs(one.reverse)),
        ("missing", " ".join(str(part) for part in missing if part)),
        ("licence", f"{texts(f'instr.{one.licence.status}')}: {one.licence.text}"),
        ("record", one.licence.record),
        ("state", _why(texts, one) or texts("instr.on")),
        ("from_memory", "; ".join(f"{entry.fact}: {entry.note}" for entry in one.from_memory)),
        ("confirmed", "; ".join(f"{fact}: {by}" for fact, by in one.confirmed.items())),
        ("sources", one.source),
    ]


def _score_rows(one: Instrument) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for spec in one.scores:
        low, high = one.extents[spec.id]
        norm = bands_of(one, spec.id)
        cuts = "; ".join(f"{band.min}-{band.max} {band.category}" for band in norm.ranges) if norm else ""
        of = _runs(spec.items) or ", ".join(spec.of)
        rows.append((spec.id, spec.method, of, f"{low}-{high}", norm.norm if norm else "", cuts))
    return rows


def _rule_rows(texts: Texts, one: Instrument) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for rule in one.category_rules:
        named = _label(texts, *_texts(one, rule.category))
        rows.append((rule.category, _runs(rule.items), f">= {rule.at_least}", "", named))
    for void in one.validity:
        rows.append((void.category, void.score, f">= {void.at_least}", "", _label(texts, void.label.zh, void.label.en)))
    for item in one.critical:
        named = _label(texts, item.label.zh, item.label.en)
        rows.append((item.id, _runs(item.items), f">= {item.at_least}", item.severity, named))
    return rows


def check(texts: Texts, place: Path | None, *, json: bool) -> int:
    """Print every problem of one file or of a folder; 78 when there is one."""
    found = proofread(place or _FOLDER, _FOLDER)
    if json:
        as_json([{"file": each.file, "line": each.line, "key": each.key, "en": each.en, "zh": each.zh}
                 for each in found])  # fmt: skip
    else:
        for each in found:
            warn(each.text(texts.language))
        if found:
            warn(texts("problems", count=len(found)))
        else:
            say(texts("config.ok", file=place or _FOLDER))
    return CONFIGURATION if found else 0


def print_schema() -> int:
    """Print the JSON Schema of an instrument file."""
    as_json(instrument_schema())
    return 0


def score_answers(
    texts: Texts,
    config: Path | None,
    folder: Path | None,
    name: str,
    *,
    answers: str | None,
    sheet: Path | None,
    coding: str,
    missing: str,
    encoding: str,
    age: int | None,
    grade: int | None,
    informant: str,
    json: bool,
) -> int:
    """Score one form, or every row of a sheet; 65 for answers that are refused, with item and mend, never the answer."""
    one = _one(texts, _library(texts, config, folder), name)
    if (answers is None) == (sheet is None):
        raise Refusal("INVALID_ARGUMENT", "USAGE", texts("instr.one_source"))
    if not one.enabled:
        warn(texts("instr.is_off", name=one.id, why=_why(texts, one)))
    codes = {code.strip() for code in missing.split(",")} - {""}
    try:
        for each in check_suited(one, age=age, grade=grade, informant=informant):
            warn(texts("instr.unsuited", name=one.id, fact=texts(f"col.{each.fact}"), allowed=each.allowed))
        if sheet is not None:
            return _score_sheet(texts, one, read_sheet(sheet, one, codes, encoding), coding, json=json)
        cells = str(answers).replace(";", ",").split(",")
        form = parse_cells(one, cells, codes)
        result = score(one, form, coding=coding)
    except Refusal as refusal:
        warn(texts("error", text=f"{refusal.reason}: {_said(texts, one, refusal)}"))
        return DATA
    if one.codings and lacks_lowest(one, Sheet.of(one, [form]).answers, coding):
        warn(texts("instr.no_lowest", coding=coding))
    if json:
        as_json(_line(texts, one, result))
    else:
        _print_result(texts, one, result)
    return 0


def _score_sheet(texts: Texts, one: Instrument, sheet: Sheet, coding: str, *, json: bool) -> int:
    try:
        batch = score_batch(one, sheet.answers, coding=coding)
    except Refusal as refusal:
        # A row of the batch is a row of the sheet once the rows that could not be read are put back.
        if (row := refusal.metadata.get("row")) is not None:
            refusal.metadata["row"] = str(sheet.rows[int(row) - 1])
        raise
    results: dict[int, Score | Refusal] = dict(sheet.refused)
    results |= {row: _row(one, batch, index, coding) for index, row in enumerate(sheet.rows)}
    ordered = sorted(results.items(), key=lambda pair: pair[0])
    bad = sum(isinstance(result, Refusal) for _, result in ordered)
    if json:
        for number, result in ordered:
            print(codec.dumps({"row": number} | _line(texts, one, result), ensure_ascii=False))
    else:
        names = ("category", "critical", "complete", "reason")
        headings = [texts("col.row"), *(spec.id for spec in one.scores), *(texts(f"col.{name}") for name in names)]
        table(headings, ([row, *_cells(texts, one, result)] for row, result in ordered))
    warn(texts("instr.sheet", scored=len(ordered) - bad, refused=bad))
    return DATA if bad else 0


def _row(one: Instrument, batch: BatchScores, index: int, coding: str) -> Score | Refusal:
    if batch.verdict[index]:
        item = int(batch.bad_item[index]) - 1
        low = one.plan.codings.get(coding, one.scale.min)
        return item_refusal(one, "ANSWER_RANGE", item, low, item_highs(one)[item] + low - one.scale.min)
    totals = {name: int(total[index]) for name, total in batch.totals.items()}
    category = int(batch.category[index])
    return Score(
        {name: value if value >= 0 else None for name, value in totals.items()},
        one.category_ids[category] if category >= 0 else None,
        tuple(rule.id for rule, hit in zip(one.critical, batch.critical[index], strict=True) if hit),
        bool(batch.complete[index]),
        int(batch.answered[index]),
    )


def _line(texts: Texts, one: Instrument, result: Score | Refusal) -> dict[str, object]:
    if isinstance(result, Refusal):
        item = int(result.metadata["item"]) if "item" in result.metadata else None
        return {"refused": result.reason, "item": item, "message": _said(texts, one, result)}
    return {"instrument": one.id, "version": one.edition or one.version, "scores": result.scores,
            "category": result.category or ("incomplete" if one.categories else None),
            "critical": list(result.critical), "complete": result.complete}  # fmt: skip


def _cells(texts: Texts, one: Instrument, result: Score | Refusal) -> list[object]:
    if isinstance(result, Refusal):
        return [*("" for _ in one.scores), "", "", "", f"{result.reason}: {_said(texts, one, result)}"]
    values = ["-" if value is None else value for value in result.scores.values()]
    category = result.category or (texts("instr.incomplete") if one.categories else "")
    return [*values, category, ", ".join(result.critical), texts("yes") if result.complete else "", ""]


def _print_result(texts: Texts, one: Instrument, result: Score) -> None:
    labels = {spec.id: spec.label for spec in one.scores}
    rows: list[tuple[object, object]] = [(texts("col.instrument"), f"{one.id} {_version(one)}")]
    for name, value in result.scores.items():
        label = labels[name]
        shown = f"{name} ({_label(texts, label.zh, label.en)})" if label else name
        rows.append((shown, "-" if value is None else value))
    if one.categories:
        named = _label(texts, *_texts(one, result.category)) if result.category else texts("instr.incomplete")
        rows.append((texts("col.category"), named))
    for rule in one.critical:
        if rule.id in result.critical:
            rows.append((texts("col.critical"), f"{rule.id}: {_label(texts, rule.label.zh, rule.label.en)}"))
    rows.append((texts("col.complete"), texts("yes") if result.complete else texts("instr.incomplete")))
    table([texts("col.what"), texts("col.value")], rows)


def _said(texts: Texts, one: Instrument, refusal: Refusal) -> str:
    """The refusal in the reader's language; only its place and its mend, never an answer."""
    key = f"instr.{refusal.reason}"
    if refusal.reason == "CODING_MISMATCH" and "row" not in refusal.metadata and "item" not in refusal.metadata:
        key = "instr.NO_LOWEST"
    codings = ", ".join(one.plan.codings)
    known = {"row": "1", "item": "?", "codings": codings, "name": one.id} | refusal.metadata
    return texts(key, **known)


def _library(texts: Texts, config: Path | None, folder: Path | None) -> InstrumentLibrary:
    """Those of ``folder``, else those the gateway's configuration names, else those that ship."""
    if folder is not None:
        return load_instruments(folder)
    if config is not None or _CONFIG.exists():
        settings = load_settings(texts, config or _CONFIG)
        return load_instruments(settings.instruments, settings.instruments_overlay)
    return load_instruments(_FOLDER)


def _one(texts: Texts, library: InstrumentLibrary, name: str) -> Instrument:
    found = library.get(name.upper())
    if found is None:
        raise Refusal("NOT_FOUND", "INSTRUMENT", texts("instr.unknown", known=", ".join(library)))
    return found


def _summary(one: Instrument) -> dict[str, object]:
    return {"id": one.id, "version": one.edition or one.version, "names": one.names.model_dump(), "items": one.items,
            "informants": list(one.informants), "ages": _ages(one), "licence": one.licence.status,
            "licence_record": one.licence.record, "enabled": one.enabled, "unconfirmed": list(one.unconfirmed),
            "confirmed": dict(one.confirmed)}  # fmt: skip


def _why(texts: Texts, one: Instrument) -> str:
    if one.enabled:
        return ""
    reasons: list[str] = []
    if one.licence.status == "licence_required" and one.licence.record is None:
        reasons.append(texts("instr.why_licence"))
    if one.unconfirmed:
        reasons.append(texts("instr.why_memory", facts=", ".join(one.unconfirmed)))
    return "; ".join(reasons) or texts("instr.why_switch")


def _informants(texts: Texts, one: Instrument) -> str:
    return ", ".join(texts(f"instr.{who}") for who in one.informants)


def _version(one: Instrument) -> str:
    return one.edition or str(one.version)


def _ages(one: Instrument) -> str:
    return f"{one.ages.min}-{one.ages.max}" if one.ages.max is not None else f"{one.ages.min}+"


def _texts(one: Instrument, category: str) -> tuple[str, str]:
    label = one.category_label(category)
    return label.zh, label.en


def _label(texts: Texts, zh: str, en: str) -> str:
    return zh if texts.language == "zh" else en


def _runs(items: Sequence[int]) -> str:
    """Item numbers as a file may write them: runs of three and more as a range."""
    parts: list[str] = []
    for _, run in groupby(enumerate(items), key=lambda pair: pair[1] - pair[0]):
        numbers = [item for _, item in run]
        parts += [f"{numbers[0]}-{numbers[-1]}"] if len(numbers) > 2 else map(str, numbers)
    return ", ".join(parts)
