"""Reads one YAML file strictly: a small, predictable subset of YAML, every value with its line and column."""

import re
import stat
import unicodedata
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import yaml

from xinqiao.config.problems import Finding, Loc, Place, Problem, Reason, render_key
from xinqiao.config.secret import SECRET_TOKEN, TaggedScalar
from xinqiao.contract import plainyaml

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_NODES = 20_000
MAX_LINE = 8192

_UNPRINTABLE = re.compile("[^\x09\x0a\x0d\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LEADING_TAB = re.compile(r"^ *\t", re.MULTILINE)
_LONG_LINE = re.compile(rf"^.{{{MAX_LINE + 1}}}", re.MULTILINE)
_INT = re.compile(r"-?(0|[1-9][0-9]{0,17})\Z")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,18}\Z")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_QUOTE_IT = "quote it if text is meant"


@dataclass(frozen=True, slots=True)
class Document:
    """A file as read: ``raw`` holds only what JSON can hold, ``places`` says where each key stands.

    ``broken`` are the places already in ``problems``; their values in ``raw`` are None and must not be judged again.
    """

    file: str
    folder: Path
    raw: dict[str, Any]
    places: dict[Loc, Place]
    broken: frozenset[Loc]
    secrets: tuple[TaggedScalar, ...]
    problems: tuple[Problem, ...]

    def problem(self, finding: Finding) -> Problem:
        """``finding`` with its line: that of the key, or of the nearest enclosing key when the key is absent."""
        loc = finding.loc
        while loc and loc not in self.places:
            loc = loc[:-1]
        place = self.places.get(loc, Place(1, 1))
        return Problem(
            self.file, place.line, place.column, render_key(finding.loc), finding.reason, finding.message, finding.hint
        )

    def is_broken(self, loc: Loc) -> bool:
        """Whether ``loc`` or anything around it has a problem already."""
        return any(loc[:size] in self.broken for size in range(len(loc) + 1))

    def value(self, loc: Loc) -> object:
        """What stands at ``loc`` in ``raw``, or None."""
        node: Any = self.raw
        for part in loc:
            try:
                node = node[part]
            except (KeyError, IndexError, TypeError):
                return None
        return node


def read_document(path: Path) -> Document:
    """Read ``path``. Never raises for what the file holds or lacks: see ``Document.problems``."""
    reader = _Reader(str(path), plainyaml.Loader)
    raw = reader.read(path)
    if reader.problems:
        # libyaml words its faults otherwise: what an admin is told must not depend on whether it is there.
        reader = _Reader(str(path), yaml.SafeLoader)
        raw = reader.read(path)
    return Document(
        file=str(path),
        folder=path.absolute().parent,
        raw=cast("dict[str, Any]", raw) if isinstance(raw, dict) else {},
        places=reader.places,
        broken=frozenset(reader.broken),
        secrets=tuple(reader.secrets),
        problems=tuple(reader.problems),
    )


class _Fatal(Exception):
    """A fault after which the rest of the file cannot be understood."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class _Events(Protocol):
    """The part of PyYAML's loader used here (its own stubs are untyped)."""

    def get_event(self) -> yaml.Event: ...
    def resolve(self, kind: type[yaml.Node], value: str, implicit: tuple[bool, bool]) -> str: ...


class _Reader:
    def __init__(self, file: str, loader: type[yaml.SafeLoader]) -> None:
        self.file = file
        self._loader = loader
        self.problems: list[Problem] = []
        self.places: dict[Loc, Place] = {}
        self.broken: set[Loc] = set()
        self.secrets: list[TaggedScalar] = []
        self._nodes = 0
        self._events: _Events

    def read(self, path: Path) -> object:
        try:
            return self._read(path)
        except _Fatal as fatal:
            self.problems.append(fatal.problem)
            return None

    def _read(self, path: Path) -> object:
        text = self._decode(self._bytes(path))
        self._check_text(text)
        try:
            self._events = cast("_Events", self._loader(text))
            return self._document()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
            raise self._fatal(place, "CONFIG/SYNTAX", f"not YAML: {_without_quotes(error.problem or '')}") from None
        except yaml.YAMLError:
            raise self._fatal(Place(1, 1), "CONFIG/SYNTAX", "not YAML") from None

    # -- bytes and characters ---------------------------------------------------------------------------------------

    def _bytes(self, path: Path) -> bytes:
        try:
            # A pipe would block the open for ever.
            if not stat.S_ISREG(path.stat().st_mode):
                raise self._fatal(Place(1, 1), "CONFIG/FILE", "not a file")
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise self._fatal(Place(1, 1), "CONFIG/FILE", f"cannot be read: {error.strerror}") from None
        except ValueError:
            raise self._fatal(Place(1, 1), "CONFIG/FILE", "not a path") from None
        if len(data) > MAX_BYTES:
            raise self._fatal(Place(1, 1), "CONFIG/TOO_LARGE", f"larger than {MAX_BYTES} bytes")
        return data

    def _decode(self, data: bytes) -> str:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise self._fatal(Place(1, 1), "CONFIG/ENCODING", "saved as UTF-16", "save it as UTF-8")
        if data.startswith(b"\xef\xbb\xbf"):
            raise self._fatal(
                Place(1, 1), "CONFIG/ENCODING", "starts with a byte order mark", "save it as UTF-8 without BOM"
            )
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            before = data[: error.start].decode("utf-8")
            raise self._fatal(
                _place_at(before, len(before)), "CONFIG/ENCODING", "not UTF-8 from here on", "save it as UTF-8"
            ) from None

    def _check_text(self, text: str) -> None:
        if "\r" in text:
            raise self._fatal(
                _place_at(text, text.index("\r")),
                "CONFIG/LINE_ENDING",
                "the line ends with a carriage return (Windows line end)",
                "save it with LF line ends",
            )
        if match := _UNPRINTABLE.search(text):
            code = f"U+{ord(match[0]):04X}"
            raise self._fatal(
                _place_at(text, match.start()), "CONFIG/CHARSET", f"control character {code}", "remove it"
            )
        # PyYAML walks a long line character by character; refusing it first keeps every file under two seconds.
        if match := _LONG_LINE.search(text):
            raise self._fatal(_place_at(text, match.start()), "CONFIG/TOO_LARGE", f"longer than {MAX_LINE} characters")
        if match := _LEADING_TAB.search(text):
            raise self._fatal(
                _place_at(text, match.end() - 1), "CONFIG/TAB", "indented with a tab", "indent with spaces"
            )

    # -- structure --------------------------------------------------------------------------------------------------

    def _document(self) -> object:
        while not isinstance(event := self._next(), (yaml.DocumentStartEvent, yaml.StreamEndEvent)):
            pass
        if isinstance(event, yaml.StreamEndEvent):
            raise self._fatal(Place(1, 1), "CONFIG/EMPTY", "the file is empty")
        first = self._next()
        place = _place(first)
        raw = self._node(first, ())
        while not isinstance(event := self._next(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                raise self._fatal(
                    _place(event), "CONFIG/DOCUMENTS", "a second document starts here", "keep one per file"
                )
        if raw is None and not self.broken:
            raise self._fatal(place, "CONFIG/EMPTY", "the file holds nothing")
        if not self.broken and not _is_mapping(raw):
            raise self._fatal(place, "CONFIG/TYPE", "the file must be a mapping of keys")
        return raw

    def _next(self) -> yaml.Event:
        event = self._events.get_event()
        if isinstance(event, yaml.NodeEvent):
            self._nodes += 1
            if self._nodes > MAX_NODES:
                raise self._fatal(_place(event), "CONFIG/TOO_LARGE", f"more than {MAX_NODES} values")
        return event

    def _node(self, event: yaml.Event, loc: Loc) -> object:
        if isinstance(event, yaml.AliasEvent):
            return self._reject(event, loc, "CONFIG/ALIAS", "aliases (*) are not allowed", "write the value out")
        if getattr(event, "anchor", None):
            self._reject(event, loc, "CONFIG/ALIAS", "anchors (&) are not allowed", "write each value out")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, loc)
        if len(loc) >= MAX_DEPTH:
            raise self._fatal(_place(event), "CONFIG/DEPTH", f"nested deeper than {MAX_DEPTH} levels")
        if getattr(event, "tag", None):
            self._reject(event, loc, "CONFIG/TAG", "tags (!) are not allowed here", "remove it")
        return self._mapping(loc) if isinstance(event, yaml.MappingStartEvent) else self._sequence(loc)

    def _sequence(self, loc: Loc) -> list[object]:
        items: list[object] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            place = (*loc, len(items))
            self.places.setdefault(place, _place(event))
            items.append(self._node(event, place))
        return items

    def _mapping(self, loc: Loc) -> dict[str, object]:
        items: dict[str, object] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._key(event, loc)
            inner = (*loc, key)
            duplicate = key in items
            if duplicate:
                first = self.places[inner].line
                self._reject(
                    event, inner, "CONFIG/DUPLICATE", f"given twice, first on line {first}", "keep one", spoils=False
                )
            self.places.setdefault(inner, _place(event))
            known = len(self.secrets)
            value = self._node(self._next(), inner)
            # A forged token is refused above; it must not reach the validators either.
            if duplicate or key == SECRET_TOKEN:
                del self.secrets[known:]
            else:
                items[key] = value
        return items

    def _key(self, event: yaml.Event, loc: Loc) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise self._problem_at(event, loc, "CONFIG/TYPE", "a key must be plain text")
        if event.tag or event.anchor:
            self._reject(event, loc, "CONFIG/TAG", "tags and anchors are not allowed on a key", spoils=False)
        inner = (*loc, event.value)
        if not event.style and self._plain_kind(event.value) == "merge":
            self._reject(event, inner, "CONFIG/ALIAS", "merge keys (<<) are not allowed", "write the keys out")
        elif not event.style and self._plain_kind(event.value) != "str":
            self._reject(event, inner, "CONFIG/TYPE", "YAML does not read this key as text", "quote it", spoils=False)
        else:
            self._check_characters(event, inner)
        return event.value

    # -- scalars ----------------------------------------------------------------------------------------------------

    def _scalar(self, event: yaml.ScalarEvent, loc: Loc) -> object:
        if event.tag in ("!env", "!file"):
            kind: Literal["env", "file"] = "env" if event.tag == "!env" else "file"
            self._check_characters(event, loc)
            self.secrets.append(TaggedScalar(loc, kind, event.value))
            return {SECRET_TOKEN: len(self.secrets) - 1}
        if event.tag:
            return self._reject(
                event, loc, "CONFIG/TAG", "this tag is not allowed", "only `!env` and `!file`, on secret fields"
            )
        if event.style:
            return self._check_characters(event, loc)
        return self._plain(event, loc)

    def _plain(self, event: yaml.ScalarEvent, loc: Loc) -> object:
        text, kind = event.value, self._plain_kind(event.value)
        if kind == "str":
            return self._check_characters(event, loc)
        if kind == "null":
            return None
        if kind == "bool" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if kind == "int" and _INT.match(text):
            return int(text)
        if kind == "float" and _FLOAT.match(text):
            return float(text)
        if kind == "timestamp":
            if _DAY.match(text) and not _is_day(text):
                return self._reject(event, loc, "CONFIG/DATE", "there is no such day", _QUOTE_IT)
            return text
        meant = {"bool": "a yes/no word", "int": "a number", "float": "a number"}.get(kind, "something special")
        hint = "write true or false; " + _QUOTE_IT if kind == "bool" else _QUOTE_IT
        return self._reject(event, loc, "CONFIG/TYPE", f"YAML reads this as {meant}, perhaps not the one you see", hint)

    def _plain_kind(self, text: str) -> str:
        return self._events.resolve(yaml.ScalarNode, text, (True, False)).rpartition(":")[2]

    def _check_characters(self, event: yaml.ScalarEvent, loc: Loc) -> object:
        for ch in event.value:
            if ch != "\n" and unicodedata.category(ch) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
                return self._reject(event, loc, "CONFIG/CHARSET", f"invisible character U+{ord(ch):04X}", "remove it")
        return event.value

    # -- problems ---------------------------------------------------------------------------------------------------

    def _reject(
        self, event: yaml.Event, loc: Loc, reason: Reason, message: str, hint: str = "", *, spoils: bool = True
    ) -> object:
        """Note a problem and go on with None; ``spoils``: the value there is not to be judged again."""
        self.problems.append(self._problem_at(event, loc, reason, message, hint).problem)
        if spoils:
            self.broken.add(loc)
        return None

    def _problem_at(self, event: yaml.Event, loc: Loc, reason: Reason, message: str, hint: str = "") -> _Fatal:
        # A value's problem is shown at its key, so that the column is the same for every kind of problem.
        place = _place(event) if reason == "CONFIG/DUPLICATE" else self.places.get(loc, _place(event))
        return self._fatal(place, reason, message, hint, loc)

    def _fatal(self, place: Place, reason: Reason, message: str, hint: str = "", loc: Loc = ()) -> _Fatal:
        return _Fatal(Problem(self.file, place.line, place.column, render_key(loc), reason, message, hint))


def _place(event: yaml.Event) -> Place:
    mark = event.start_mark
    return Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)


def _place_at(text: str, index: int) -> Place:
    return Place(text.count("\n", 0, index) + 1, index - (text.rfind("\n", 0, index) + 1) + 1)


def _without_quotes(text: str) -> str:
    """PyYAML quotes pieces of the file; keep only its names for tokens and punctuation."""
    return _QUOTED.sub(lambda match: match[0] if not re.search(r"\w", match[0].split("<")[0]) else "a character", text)


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict)


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
