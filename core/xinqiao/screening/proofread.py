"""Every problem of instrument files at once, with file, line and key, for those who write them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from xinqiao.config.document import Document, read_document
from xinqiao.config.problems import Finding as ConfigFinding
from xinqiao.config.problems import Problem
from xinqiao.screening.definition import Definition
from xinqiao.screening.findings import findings
from xinqiao.screening.instruments import overlaid

_ZH: Mapping[str, str] = {
    "missing": "缺少此项",
    "extra_forbidden": "没有这个键，请检查拼写",
    "int_type": "应为整数",
    "string_type": "应为文字，请加引号",
    "bool_type": "应为 true 或 false",
    "literal_error": "应为以下之一：{expected}",
    "string_pattern_mismatch": "格式不对，应符合 {pattern}",
    "string_too_short": "至少 {min_length} 个字符",
    "string_too_long": "至多 {max_length} 个字符",
    "too_short": "至少 {min_length} 项",
    "too_long": "至多 {max_length} 项",
    "greater_than_equal": "不得小于 {ge}",
    "less_than_equal": "不得大于 {le}",
    "less_than": "须小于 {lt}",
    "tuple_type": "应为列表",
    "dict_type": "应为键值映射",
    "model_type": "应为键值映射",
}
_MISSPELT = "no such key, check the spelling"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to mend, in both languages; ``str`` gives the English line."""

    file: str
    line: int
    key: str
    en: str
    zh: str

    def text(self, language: str) -> str:
        """``file:line: key: what is wrong``."""
        where = f"{self.file}:{self.line}: " + (f"{self.key}: " if self.key else "")
        return where + (self.zh if language == "zh" else self.en)


def proofread(place: Path, base: Path | None = None) -> tuple[Fault, ...]:
    """All problems of one file, or of every ``*.yaml`` of a folder in name order.

    ``base`` is the folder that ships: a file whose id it knows is read as an overlay of that instrument.
    """
    files = sorted(place.glob("*.yaml")) if place.is_dir() else [place]
    if not files:
        return (Fault(str(place), 1, "", "holds no instrument file (*.yaml)", "没有量表文件（*.yaml）"),)
    shipped = {str(raw.get("id")): raw for raw in _shipped(base, place)}
    faults: list[Fault] = []
    first: dict[object, str] = {}
    for file in files:
        document = read_document(file)
        faults += _file(document, shipped)
        name = document.raw.get("id")
        if isinstance(name, str) and name in first:
            line = document.places[("id",)].line
            faults.append(
                Fault(str(file), line, "id", f"{first[name]} has this id too", f"{first[name]} 也用了这个 id")
            )
        first.setdefault(name, str(file))
    return tuple(faults)


def _shipped(base: Path | None, place: Path) -> Iterator[dict[str, Any]]:
    if base is None or not base.is_dir() or base.resolve() in (place.resolve(), place.resolve().parent):
        return
    for file in sorted(base.glob("*.yaml")):
        yield read_document(file).raw


def _file(document: Document, shipped: Mapping[str, dict[str, Any]]) -> Iterator[Fault]:
    for problem in document.problems:
        yield _fault(problem, problem.message + (f"; {problem.hint}" if problem.hint else ""), "")
    if not document.raw:
        return
    raw = overlaid(shipped.get(str(document.raw.get("id")), {}), document.raw)
    try:
        # JSON mode is what lets a strict model take a YAML list for a tuple.
        definition = Definition.model_validate_json(json.dumps(raw))
    except ValidationError as failure:
        for error in failure.errors(include_url=False, include_input=False):
            loc, kind = error["loc"], error["type"]
            context = cast("dict[str, object]", error.get("ctx", {}))
            en = _MISSPELT if kind == "extra_forbidden" else error["msg"].removeprefix("Value error, ")
            zh = str(context.get("zh") or _ZH.get(kind, "").format_map(context))
            if not document.is_broken(loc):
                yield _at(document, loc, en, zh)
        return
    if document.problems:
        return
    for finding in findings(definition):
        yield _at(document, finding.loc, finding.en, finding.zh)


def _at(document: Document, loc: Sequence[str | int], en: str, zh: str) -> Fault:
    return _fault(document.problem(ConfigFinding(tuple(loc), "CONFIG/VALUE", en)), en, zh)


def _fault(problem: Problem, en: str, zh: str) -> Fault:
    return Fault(problem.file, problem.line, problem.key, en, zh or en)
