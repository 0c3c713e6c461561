"""Strict YAML to pydantic: every problem of a file at once, each with file, line, column and key."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast, get_args

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError
from pydantic_core import ErrorDetails

from xinqiao.config.document import Document, read_document
from xinqiao.config.problems import ConfigError, Finding, Loc, Problem, Reason
from xinqiao.config.secret import SECRET_TOKEN, Secret, SecretScope

FOLDER = "xinqiao.config.folder"
"""Key in the validation context under which the folder of the file is found."""

_REASONS = frozenset(get_args(Reason))
_RANGE = ("greater_than", "less_than", "too_short", "too_long", "multiple_of", "finite_number")
_OWN_WORDS = ("value_error", "assertion_error")


class Strict(BaseModel):
    """Base of every settings model, also of a plugin's: unknown keys are refused and nothing changes after loading."""

    # Deferred: most models are only parts of another, and no start needs them all.
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True, defer_build=True
    )


class FileModel(Strict):
    """Base of a model that is a whole file; remembers where each key stands, for checks made after parsing."""

    _document: Document | None = PrivateAttr(default=None)
    _secrets: list[tuple[Loc, Secret]] = PrivateAttr(default_factory=list[tuple[Loc, Secret]])

    @classmethod
    def findings(cls, raw: Mapping[str, Any]) -> Iterable[Finding]:
        """What is wrong between keys. ``raw`` is the file before validation: any part may be missing or of any type,
        so that these problems are told together with those of single keys."""
        del raw
        return ()

    def problem(self, finding: Finding) -> Problem:
        """``finding`` with file, line and column; line 0 when the settings did not come from a file."""
        if self._document is None:
            return Problem("settings", 0, 0, "", finding.reason, finding.message, finding.hint)
        return self._document.problem(finding)

    @property
    def secrets(self) -> tuple[tuple[Loc, Secret], ...]:
        """Every secret in the file with its place."""
        return tuple(self._secrets)

    def bind(self, document: Document, secrets: list[tuple[Loc, Secret]]) -> None:
        """Remember where the settings came from; called by ``load`` only."""
        self._document = document
        self._secrets = secrets


ModelT = TypeVar("ModelT", bound=BaseModel)


def load(path: Path, model: type[ModelT], *, context: Mapping[str, object] | None = None) -> ModelT:
    """Read ``path`` as ``model``; see :func:`judge`."""
    return judge(read_document(path), model, context=context)


def judge(document: Document, model: type[ModelT], *, context: Mapping[str, object] | None = None) -> ModelT:
    """``document`` as ``model``.

    Values are judged strictly (the text "5" is not a number, 1 is not true) and ``extra`` keys are refused whatever the
    model says. ``context`` is passed on to the model's validators. Raises ConfigError with all problems.
    """
    if document.problems and not document.raw:
        raise ConfigError(document.problems)
    scope = SecretScope(document.folder, document.secrets)
    full = {**(context or {}), FOLDER: document.folder, SECRET_TOKEN: scope}
    findings: list[Finding] = []
    result: ModelT | None = None
    try:
        result = model.model_validate_json(json.dumps(document.raw), strict=True, extra="forbid", context=full)
    except ValidationError as error:
        explain = _Explainer(document, model)
        details = error.errors(include_url=False, include_input=False)
        findings += [explain.finding(detail) for detail in details if not explain.is_echo(detail)]
    else:
        findings += scope.unused()
    if issubclass(model, FileModel):
        findings += model.findings(document.raw)
    problems = _ordered(document, findings)
    if problems or result is None:
        raise ConfigError(problems)
    if isinstance(result, FileModel):
        result.bind(document, scope.taken())
    return result


def _ordered(document: Document, findings: Iterable[Finding]) -> list[Problem]:
    """All problems in the order of the file, each place and reason once."""
    fresh = [document.problem(finding) for finding in findings if not document.is_broken(finding.loc)]
    unique: dict[tuple[int, int, str, str], Problem] = {}
    for problem in (*document.problems, *fresh):
        unique.setdefault((problem.line, problem.column, problem.key, problem.reason), problem)
    return [unique[place] for place in sorted(unique)]


class _Explainer:
    """Turns pydantic's errors into findings in our words, without any value."""

    _by_type: ClassVar[dict[str, Reason]] = {
        "missing": "CONFIG/MISSING",
        "union_tag_not_found": "CONFIG/MISSING",
        "extra_forbidden": "CONFIG/UNKNOWN_KEY",
        "union_tag_invalid": "CONFIG/NOT_INSTALLED",
        "literal_error": "CONFIG/VALUE",
        "enum": "CONFIG/VALUE",
        "string_pattern_mismatch": "CONFIG/FORMAT",
    }

    def __init__(self, document: Document, model: type[BaseModel]) -> None:
        self._document = document
        self._model = model
        self._schema: dict[str, Any] | None = None

    def is_echo(self, error: ErrorDetails) -> bool:
        """Whether pydantic finds a list too short only because items in it are wrong and told on their own."""
        items = self._document.value(self._clean(error["loc"], error["type"]))
        shortest = error.get("ctx", {}).get("min_length", 0)
        return error["type"] == "too_short" and isinstance(items, (list, dict)) and len(cast("Any", items)) >= shortest

    def finding(self, error: ErrorDetails) -> Finding:
        loc = self._clean(error["loc"], error["type"])
        context = error.get("ctx", {})
        kind = error["type"]
        if kind in _REASONS:
            hint = str(context.get("hint", ""))
            return Finding(loc, cast("Reason", kind), str(context.get("message", "not accepted")), hint)
        tagged = next((loc[:size] for size in range(len(loc) + 1) if self._is_tagged(loc[:size])), None)
        if tagged is not None:
            return Finding(tagged, "CONFIG/TAG", "`!env` and `!file` stand only on secret fields", "write the value")
        if kind == "extra_forbidden":
            return Finding(loc, "CONFIG/UNKNOWN_KEY", "unknown key", self._suggestion(loc))
        if kind == "union_tag_invalid":
            return self._not_installed(loc, context)
        if kind == "union_tag_not_found":
            name = str(context.get("discriminator", "")).strip("'")
            return Finding((*loc, name), "CONFIG/MISSING", "required")
        if kind == "missing":
            return Finding(loc, "CONFIG/MISSING", "required")
        if kind == "literal_error":
            words = [word.strip(" '") for word in re.split(", | or ", str(context.get("expected", "")))]
            close = difflib.get_close_matches(str(self._document.value(loc)), words, n=1)
            hint = f"did you mean `{close[0]}`?" if close else ""
            return Finding(loc, "CONFIG/VALUE", self._message(error, loc), hint)
        return Finding(loc, self._reason(kind), self._message(error, loc), self._hint(kind, loc))

    def _reason(self, kind: str) -> Reason:
        if kind in self._by_type:
            return self._by_type[kind]
        if kind.startswith("url_"):
            return "CONFIG/URL"
        if kind.startswith("date_") and kind != "date_type":
            return "CONFIG/DATE"
        if any(word in kind for word in _RANGE):
            return "CONFIG/RANGE"
        return "CONFIG/TYPE" if kind.endswith(("_type", "_parsing", "_of")) else "CONFIG/VALUE"

    def _message(self, error: ErrorDetails, loc: Loc) -> str:
        text = error["msg"]
        for prefix in ("Value error, ", "Assertion failed, "):
            text = text.removeprefix(prefix)
        # A plugin's own validator, or a plugin's own error type, may quote what it was given.
        foreign = error["type"] in _OWN_WORDS or (
            bool(error.get("ctx")) and self._reason(error["type"]) == "CONFIG/VALUE"
        )
        if foreign and error["type"] not in ("literal_error", "enum"):
            return text if not self._quotes_file(text, loc) else "this value is not accepted"
        return text[:1].lower() + text[1:]

    def _quotes_file(self, text: str, loc: Loc) -> bool:
        folded = text.casefold()
        return any(scalar.casefold() in folded for scalar in _scalars(self._document.value(loc)))

    def _hint(self, kind: str, loc: Loc) -> str:
        value = self._document.value(loc)
        if kind == "string_type" and isinstance(value, (bool, int, float)):
            return "quote it"
        if kind.endswith("_type"):
            return f"the file has {_as_json(value)} here"
        if kind.startswith("date_"):
            return "write a day as 2026-09-01"
        return ""

    def _is_tagged(self, loc: Loc) -> bool:
        value = self._document.value(loc)
        return isinstance(value, dict) and SECRET_TOKEN in value

    def _not_installed(self, loc: Loc, context: Mapping[str, Any]) -> Finding:
        name = str(context.get("discriminator", "")).strip("'")
        tags = [tag.strip(" '") for tag in str(context.get("expected_tags", "")).split(",")]
        installed = ", ".join(sorted(tag for tag in tags if tag.isprintable() and tag and "\\" not in tag))
        given = cast("dict[str, object]", self._document.value(loc)).get(name)
        close = difflib.get_close_matches(str(given), tags, n=1)
        hint = f"did you mean `{close[0]}`? " if close else ""
        return Finding((*loc, name), "CONFIG/NOT_INSTALLED", "not installed", f"{hint}installed: {installed or 'none'}")

    def _clean(self, loc: tuple[int | str, ...], kind: str) -> Loc:
        """``loc`` without what pydantic adds: the tags of unions and the ``[key]`` of mapping keys."""
        clean: list[int | str] = []
        node: Any = self._document.raw
        for position, part in enumerate(loc):
            last = position == len(loc) - 1
            if isinstance(node, dict) and part in node:
                node = cast("dict[str | int, Any]", node)[part]
                if part != SECRET_TOKEN:
                    clean.append(part)
            elif isinstance(node, list) and isinstance(part, int):
                items = cast("list[object]", node)
                node = items[part] if part < len(items) else None
                clean.append(part)
            elif last and kind == "missing":
                clean.append(part)
        return tuple(clean)

    # -- suggestions ------------------------------------------------------------------------------------------------

    def _suggestion(self, loc: Loc) -> str:
        if self._schema is None:
            self._schema = self._model.model_json_schema()
        known = sorted(self._keys(loc[:-1]))
        close = difflib.get_close_matches(str(loc[-1]), known, n=1) if loc else []
        if close:
            return f"did you mean `{close[0]}`?"
        return f"known here: {', '.join(known)}" if known else "remove it"

    def _keys(self, loc: Loc) -> set[str]:
        schema = self._schema or {}
        nodes = list(_branches(schema, schema, self._document.raw))
        value: Any = self._document.raw
        for part in loc:
            value = value[part]
            nodes = [
                branch for node in nodes for inner in _inner(node, part) for branch in _branches(schema, inner, value)
            ]
        return {key for node in nodes for key in node.get("properties", {})}


def _as_json(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return "nothing"


def _branches(root: Mapping[str, Any], node: Mapping[str, Any], value: object) -> Iterable[Mapping[str, Any]]:
    """``node`` and every alternative in it that ``value`` could be meant for."""
    if "$ref" in node:
        name = str(node["$ref"]).rpartition("/")[2]
        yield from _branches(root, root["$defs"][name], value)
        return
    constants = {key: rule["const"] for key, rule in node.get("properties", {}).items() if "const" in rule}
    if any(value_at not in (constants[key], None) for key, value_at in _given(value, constants)):
        return
    yield node
    for word in ("anyOf", "oneOf", "allOf"):
        for option in node.get(word, ()):
            yield from _branches(root, option, value)


def _given(value: object, keys: Iterable[str]) -> list[tuple[str, object]]:
    table = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    return [(key, table.get(key)) for key in keys]


def _inner(node: Mapping[str, Any], part: str | int) -> Iterable[Mapping[str, Any]]:
    if isinstance(part, int):
        candidate: object = node.get("items")
    else:
        candidate = node.get("properties", {}).get(part) or node.get("additionalProperties")
    return [cast("dict[str, Any]", candidate)] if isinstance(candidate, dict) else []


def _scalars(value: object) -> Iterable[str]:
    """Every key-less piece of text under ``value``, as text of at least one character."""
    if isinstance(value, dict):
        for item in cast("dict[str, object]", value).values():
            yield from _scalars(item)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _scalars(item)
    elif value is not None and str(value).strip():
        yield str(value).strip()
