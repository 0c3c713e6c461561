"""JSON as it comes from a partner: read strictly, with every fault placed, and written back without loss."""

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeGuard

MAX_DEPTH = 64
_MAX_DIGITS = 19
# The closing quote is optional on purpose: an unterminated string is swallowed whole, so the scan stays linear.
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)

_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

Json = dict[str, Any]


class JsonRefused(Exception):
    """The text is not JSON that can be trusted. ``reason`` is like ``DATA/JSON_DUP_KEY``, ``place`` a path, no value."""

    def __init__(self, reason: str, message: str, place: str) -> None:
        super().__init__(f"{reason} at {place}: {message}")
        self.reason = reason
        self.message = message
        self.place = place


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault inside well-formed JSON: where it is, so that its neighbours can still be used."""

    reason: str
    message: str
    path: tuple[str | int, ...]

    @property
    def place(self) -> str:
        return path_text(self.path)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A JSON text; ``value`` may be used where no problem lies in its path."""

    value: Any
    problems: tuple[Problem, ...]

    def clean(self) -> Any:
        """The value, all of it. Raises JsonRefused when anything in it is faulty."""
        for problem in self.problems:
            raise JsonRefused(problem.reason, problem.message, problem.place)
        return self.value


class _Bad:
    """Stands for a number that cannot be trusted until the walk finds its path."""


class _Doubled(dict[str, Any]):
    """An object that named a key twice."""


def parse(data: bytes) -> Parsed:
    """Read a JSON text. Raises JsonRefused where the text as a whole is unusable: encoding, depth, syntax."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as e:
        raise JsonRefused("DATA/ENCODING", "JSON must be UTF-8", f"byte {e.start}") from None
    _check_depth(text)
    try:
        value: Any = json.loads(
            text, object_pairs_hook=_object, parse_float=_decimal, parse_int=_integer, parse_constant=_constant
        )
    except json.JSONDecodeError as e:
        raise JsonRefused("DATA/JSON_SYNTAX", "not JSON", f"line {e.lineno} column {e.colno}") from None
    return Parsed(value, tuple(_problems(value)))


def dump(value: Any) -> bytes:
    """Write JSON as compact UTF-8; decimals keep the digits they came with, so 0.10 stays 0.10."""
    try:
        # The quick road, for what holds no decimal.
        return _ENCODE(value).encode("utf-8")
    except TypeError:
        return _text(value).encode("utf-8")


def path_text(path: tuple[str | int, ...]) -> str:
    """``entry[3].resource``; a key that is not a plain name is shown as ``?`` because it may hold a value."""
    out = ""
    for step in path:
        if isinstance(step, int):
            out += f"[{step}]"
        else:
            out += f"{'.' if out else ''}{step if _PLAIN_KEY.fullmatch(step) else '?'}"
    return out or "$"


def is_object(value: object) -> TypeGuard[Json]:
    """Whether ``value`` is a JSON object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether ``value`` is a JSON array."""
    return isinstance(value, list)


def as_object(value: object) -> Json:
    """``value`` if it is an object, else an empty one: an absent and a misshapen part are equally unusable."""
    return value if is_object(value) else {}


def as_list(value: object) -> list[Any]:
    """``value`` if it is an array, else an empty one."""
    return value if is_list(value) else []


def as_text(value: object) -> str:
    """``value`` if it is a string, else empty."""
    return value if isinstance(value, str) else ""


def _check_depth(text: str) -> None:
    depth = 0
    for token in _TOKEN.finditer(text):
        mark = token.group()
        if mark in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise JsonRefused("DATA/DEPTH", f"nested deeper than {MAX_DEPTH}", f"character {token.start()}")
        elif mark in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Doubled(found)


def _decimal(text: str) -> object:
    # float() only to see whether a double can hold it; the digits themselves are kept.
    return Decimal(text) if len(text) <= 64 and abs(float(text)) < float("inf") else _Bad()


def _integer(text: str) -> object:
    return int(text) if len(text) <= _MAX_DIGITS else _Bad()


def _constant(_: str) -> object:
    return _Bad()


def _problems(root: Any) -> list[Problem]:
    found: list[Problem] = []
    open_: list[tuple[tuple[str | int, ...], Any]] = [((), root)]
    while open_:
        path, value = open_.pop()
        if isinstance(value, _Bad):
            found.append(Problem("DATA/JSON_NUMBER", "a number is not finite or too long", path))
        elif isinstance(value, str):
            if _SURROGATE.search(value):
                found.append(Problem("DATA/CHARSET", "a string holds half a character (lone surrogate)", path))
        elif is_list(value):
            open_ += [((*path, i), item) for i, item in enumerate(value)]
        elif is_object(value):
            if isinstance(value, _Doubled):
                found.append(Problem("DATA/JSON_DUP_KEY", "an object names a key twice", path))
            for key, item in value.items():
                if _SURROGATE.search(key):
                    found.append(Problem("DATA/CHARSET", "a key holds half a character (lone surrogate)", path))
                open_.append(((*path, key), item))
    return found


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return str(value)
    if is_object(value):
        inner = ",".join(f"{_text(key)}:{_text(item)}" for key, item in value.items())
        return "{" + inner + "}"
    if is_list(value):
        return "[" + ",".join(_text(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
