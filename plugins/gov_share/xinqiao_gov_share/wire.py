"""JSON as the platform sends it, read strictly: nothing doubled, nothing unknown, nothing that is not what it seems."""

import base64
import binascii
import json
import re
from datetime import date
from typing import Any, TypeGuard

MAX_DEPTH = 32
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_MAX_DIGITS = 15

Json = dict[str, Any]


class WireRefused(Exception):
    """The text cannot be trusted: a reason such as ``DATA/JSON_DUP_KEY`` and a place; never a value."""

    def __init__(self, reason: str, message: str, place: str) -> None:
        super().__init__(f"{reason} at {place}: {message}")
        self.reason = reason
        self.message = message
        self.place = place


def dump(value: Any) -> bytes:
    """Compact UTF-8, keys in their order."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")


def parse(data: bytes) -> Json:
    """The JSON object that ``data`` is. Raises WireRefused."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as e:
        raise WireRefused("DATA/ENCODING", "JSON must be UTF-8", f"byte {e.start}") from None
    _check_depth(text)
    try:
        found: object = json.loads(
            text, object_pairs_hook=_object, parse_float=_number, parse_int=_integer, parse_constant=_number
        )
    except json.JSONDecodeError as e:
        raise WireRefused("DATA/JSON_SYNTAX", "not JSON", f"line {e.lineno} column {e.colno}") from None
    if not is_object(found):
        raise WireRefused("DATA/PROFILE", "not a JSON object", "$")
    try:
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise WireRefused("DATA/CHARSET", "a string holds half a character (lone surrogate)", "$") from None
    return found


def is_object(value: object) -> TypeGuard[Json]:
    """Whether ``value`` is a JSON object."""
    return isinstance(value, dict)


class Fields:
    """An object of which every key is asked for by name and type; what nobody asked for is refused by ``end``."""

    def __init__(self, value: object, place: str) -> None:
        if not is_object(value):
            raise WireRefused("DATA/PROFILE", "must be an object", place)
        self._left = dict(value)
        self._place = place

    def text(self, name: str, pattern: str, *, absent: str | None = None) -> str:
        """A text that fully matches ``pattern``; ``absent`` stands for null and for none."""
        value = self._left.pop(name, None)
        if value is None and absent is not None:
            return absent
        if not isinstance(value, str) or re.fullmatch(pattern, value, re.ASCII) is None:
            raise self._refused(name, "is missing or not in its form")
        return value

    def words(self, name: str, most: int) -> str:
        """A text for people, empty where there is none."""
        value = self._left.pop(name, None)
        if value is None:
            return ""
        if not isinstance(value, str) or len(value) > most or "\0" in value:
            raise self._refused(name, f"must be a text of at most {most} characters")
        return value

    def integer(self, name: str, low: int, high: int) -> int:
        value = self._left.pop(name, None)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._refused(name, f"must be a whole number from {low} to {high}")
        return value

    def flag(self, name: str) -> bool:
        """True or false; false where it is absent."""
        value = self._left.pop(name, False)
        if not isinstance(value, bool):
            raise self._refused(name, "must be true or false")
        return value

    def day(self, name: str) -> date | None:
        """An ISO 8601 day, None where there is none."""
        value = self._left.pop(name, None)
        if value is None:
            return None
        try:
            if isinstance(value, str) and _DAY.fullmatch(value):
                return date.fromisoformat(value)
        except ValueError:
            pass
        raise self._refused(name, "must be a day as YYYY-MM-DD")

    def data(self, name: str) -> bytes:
        """Bytes in base64."""
        value = self._left.pop(name, None)
        try:
            if isinstance(value, str):
                return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            pass
        raise self._refused(name, "must be base64")

    def part(self, name: str) -> "Fields | None":
        """An object within, None where there is none."""
        value = self._left.pop(name, None)
        return None if value is None else Fields(value, f"{self._place}.{name}")

    def parts(self, name: str, most: int) -> list["Fields"]:
        """Objects within, none where the list is absent."""
        return [Fields(item, f"{self._place}.{name}[{at}]") for at, item in enumerate(self._list(name, most))]

    def texts(self, name: str, pattern: str, most: int) -> list[str]:
        """Texts within, each of which fully matches ``pattern``."""
        found = self._list(name, most)
        if not all(isinstance(item, str) and re.fullmatch(pattern, item, re.ASCII) for item in found):
            raise self._refused(name, "holds a text not in its form")
        return found

    def end(self) -> None:
        """Raises WireRefused where something is left that nobody asked for. Its name may be a value, so it is not told."""
        if self._left:
            raise WireRefused("DATA/UNKNOWN_FIELD", f"{len(self._left)} field(s) that are not agreed", self._place)

    def _list(self, name: str, most: int) -> list[Any]:
        value = self._left.pop(name, None)
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > most:  # pyright: ignore[reportUnknownArgumentType]
            raise self._refused(name, f"must be a list of at most {most}")
        return value  # pyright: ignore[reportUnknownVariableType]

    def _refused(self, name: str, message: str) -> WireRefused:
        return WireRefused("DATA/PROFILE", message, f"{self._place}.{name}")


def _check_depth(text: str) -> None:
    depth = 0
    for token in _TOKEN.finditer(text):
        mark = token.group()
        if mark in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise WireRefused("DATA/DEPTH", f"nested deeper than {MAX_DEPTH}", f"character {token.start()}")
        elif mark in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise WireRefused("DATA/JSON_DUP_KEY", "an object names a key twice", "$")
    return found


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise WireRefused("DATA/JSON_NUMBER", "a number is too long", "$")
    return int(text)


def _number(_: str) -> Any:
    raise WireRefused("DATA/JSON_NUMBER", "the interface has whole numbers only", "$")
