"""One message in either spelling: its envelope, and JSON read strictly and written the same every time."""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

from xinqiao.contract.clock import BEIJING, from_us

Json = dict[str, Any]
JSON: Final = "application/json"
CAP: Final = "application/cap+xml"
MAX_BODY: Final = 256 * 1024
MAX_DEPTH: Final = 16

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)


class NotUnderstood(Exception):
    """A message that cannot be taken: why, where and how to mend it; never what it says."""

    def __init__(self, reason: str, place: str, message: str) -> None:
        super().__init__(f"{reason} at {place}: {message}")
        self.reason = reason
        self.place = place
        self.message = message


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is said (``type``), when (ISO 8601 with offset), and whether it is a drill."""

    type: str
    timestamp: str
    data: Json = field(default_factory=dict[str, Any])
    drill: bool = False


def dump(value: Any) -> bytes:
    """Compact UTF-8, keys in order: the same value has the same bytes."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True).encode()


def write_json(envelope: Envelope) -> bytes:
    """The envelope as a Standard Webhooks payload."""
    found: Json = {"type": envelope.type, "timestamp": envelope.timestamp, "data": envelope.data}
    return dump({**found, "drill": True} if envelope.drill else found)


def read_json(body: bytes) -> Envelope:
    """The envelope in a JSON body. Raises NotUnderstood."""
    found = parse(body)
    words = {name: found.get(name, "") for name in ("type", "timestamp")}
    for name, word in words.items():
        if not isinstance(word, str) or not word:
            raise NotUnderstood("DATA/REQUIRED", name, "must be text")
    data, drill = found.get("data", {}), found.get("drill", False)
    if not is_object(data) or not isinstance(drill, bool):
        raise NotUnderstood("DATA/TYPE", "data, drill", "data is an object, drill is true or false")
    return Envelope(words["type"], words["timestamp"], data, drill)


def parse(body: bytes) -> Json:
    """A JSON object. Raises NotUnderstood: encoding, syntax, depth, a key twice, a number that is none."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as e:
        raise NotUnderstood("DATA/ENCODING", f"byte {e.start}", "JSON must be UTF-8") from None
    _check_depth(text)
    try:
        found: object = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as e:
        raise NotUnderstood("DATA/JSON_SYNTAX", f"line {e.lineno} column {e.colno}", "not one JSON text") from None
    except ValueError:  # an integer of thousands of digits
        raise NotUnderstood("DATA/NUMBER", "body", "a number is too long") from None
    if not is_object(found):
        raise NotUnderstood("DATA/TYPE", "body", "must be a JSON object")
    # Lone surrogates cannot be stored as UTF-8; they are rarely anything but a cut emoji.
    if "\\u" in text and any("\ud800" <= character <= "\udfff" for character in json.dumps(found, ensure_ascii=False)):
        raise NotUnderstood("DATA/ENCODING", "body", "half of a surrogate pair; send whole characters")
    return found


def is_object(value: object) -> TypeGuard[Json]:
    """Whether ``value`` is a JSON object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether ``value`` is a JSON array."""
    return isinstance(value, list)


def path_text(path: tuple[int | str, ...]) -> str:
    """``data.student.phone``; a key that is no plain name is shown as ``?``: it may hold a value."""
    words = [str(step) if isinstance(step, int) or _PLAIN.fullmatch(step) else "?" for step in path]
    return ".".join(words)


def beijing(us: int) -> str:
    """ISO 8601 in whole seconds with offset, as CAP 1.2 writes times."""
    return from_us(us).astimezone(BEIJING).isoformat(timespec="seconds")


def _check_depth(text: str) -> None:
    depth = 0
    for token in _TOKEN.finditer(text):
        if token.group() in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise NotUnderstood("DATA/DEPTH", "body", f"nested deeper than {MAX_DEPTH}")
        elif token.group() in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotUnderstood("DATA/JSON_DUP_KEY", "body", "an object names a key twice")
    return found


def _constant(word: str) -> None:
    raise NotUnderstood("DATA/NUMBER", "body", "NaN and Infinity are no JSON numbers")
