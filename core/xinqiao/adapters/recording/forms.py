"""The forms of a partner's content, each read into its names and values and written again with what a visitor puts there."""

import csv
import html
import io
import json
import math
import re
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol, cast
from urllib.parse import parse_qsl, quote, unquote, urlencode

Form = Literal["json", "hl7", "xml", "query", "csv", "text"]
Charset = Literal["utf-8", "utf-8-sig", "gb18030"]

_TAG: Final = re.compile(r"<(/?)([^\s<>/\"'=]+)((?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*?)(/?)>")
_ATTRIBUTE: Final = re.compile(r"([^\s=\"'<>/]+)\s*=\s*(?:\"([^\"<]*)\"|'([^'<]*)')")
_SEGMENT_END: Final = re.compile(r"\r\n|\r|\n")
_ESCAPED: Final = re.compile(r"\\[^\\\r\n]{0,64}\\")
_SEPARATORS: Final = frozenset("!#$%&*+,-./:;<=>?@^_`|~\\")
_DELIMITERS: Final = ",\t;"


class Visitor(Protocol):
    """What becomes of each name and each value."""

    def word(self, text: str) -> str:
        """A name: of a field, column, element, segment, or a step of a path."""
        ...

    def value(self, name: str, text: str) -> str:
        """What stands in the field ``name``."""
        ...


class NoForm(ValueError):
    """The content is not of this form."""


def decoded(data: bytes) -> tuple[Charset, str]:
    """The text of ``data``. Raises NoForm where it is none."""
    charset: Charset
    for charset in ("utf-8", "gb18030"):
        try:
            text = data.decode(charset)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return ("utf-8-sig", text[1:]) if text.startswith("\ufeff") and charset == "utf-8" else (charset, text)
    raise NoForm("neither UTF-8 nor GB 18030")


def form_of(kind: str, text: str) -> Form:
    """The form of ``text``; ``kind`` is a media type or a file's suffix, as far as the sender told."""
    begins, kind = text.lstrip()[:4], kind.lower()
    if begins[:1] in ("{", "["):
        return "json"
    if begins[:3] == "MSH":
        return "hl7"
    if begins[:1] == "<":
        return "xml"
    if "urlencoded" in kind:
        return "query"
    return "csv" if "csv" in kind else "text"


def rewrite(form: Form, text: str, visit: Visitor) -> str:
    """``text`` with every name and value as ``visit`` gives it. Raises NoForm."""
    try:
        return _WRITERS[form](text, visit)
    except NoForm:
        raise
    except (ValueError, RecursionError, csv.Error) as error:
        raise NoForm(f"not {form}") from error


def target(text: str, visit: Visitor) -> str:
    """The path and query of a request."""
    path, _, asked = text.partition("?")
    steps = "/".join(quote(visit.word(unquote(step)), safe="$*+,;=:@!'()") if step else "" for step in path.split("/"))
    return f"{steps}?{_query(asked, visit)}" if asked else steps


def _json(text: str, visit: Visitor) -> str:
    def walk(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            pairs = cast("dict[str, Any]", value).items()
            return {visit.word(key): walk(key, each) for key, each in pairs}
        if isinstance(value, list):
            return [walk(name, each) for each in cast("list[object]", value)]
        if isinstance(value, _Number):
            return _number(visit.value(name, value))
        return visit.value(name, value) if isinstance(value, str) else value  # true, false and null tell nobody

    found = json.loads(text, parse_int=_Number, parse_float=_Number, parse_constant=_no_constant)
    return json.dumps(walk("", found), ensure_ascii=False)


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        found = float(text)
        return found if math.isfinite(found) else 0


def _no_constant(name: str) -> float:
    raise NoForm(name)


def _hl7(text: str, visit: Visitor) -> str:
    if len(text) < 8:
        raise NoForm("no MSH")
    mark, inner = text[3], text[4:].split(text[3], 1)[0]
    if not {mark, *inner} <= _SEPARATORS or not 1 <= len(inner) <= 5:
        raise NoForm("no separators")
    cut = re.compile(f"([{re.escape(inner.replace(inner[2:3], ''))}])")
    lines: list[str] = []
    for line in _SEGMENT_END.split(text.rstrip("\r\n")):
        name, *fields = _ESCAPED.sub(" ", line).split(mark) if not line.startswith("MSH") else line.split(mark)
        first = 1
        if name == "MSH":
            fields, first = fields[1:], 3
        shown = ["".join(
            part if cut.fullmatch(part) or not part else visit.value(f"{name}-{number}", part)
            for part in cut.split(field)
        ) for number, field in enumerate(fields, first)]  # fmt: skip
        lines.append(mark.join([visit.word(name), *([inner] if name == "MSH" else []), *shown]))
    return "\r".join(lines) + "\r"


def _xml(text: str, visit: Visitor) -> str:
    written: list[str] = []
    names, at = [""], 0

    def said(content: str) -> None:
        if "<" in content or ">" in content:
            raise NoForm("a comment, a declaration or no XML")
        written.append(html.escape(visit.value(names[-1], html.unescape(content))) if content.strip() else content)

    body = re.sub(r"^\s*<\?xml[^<>]*\?>\s*", "", text)
    for tag in _TAG.finditer(body):
        said(body[at : tag.start()])
        at = tag.end()
        closes, name, rest, empty = tag.groups()
        if closes:
            names = names[:-1] or [""]
        elif not empty:
            names.append(name)
        if _ATTRIBUTE.sub("", rest).strip():
            raise NoForm("an attribute")
        given = "".join(f' {visit.word(key)}="{html.escape(visit.value(key, html.unescape(one or two)))}"'
                        for key, one, two in _ATTRIBUTE.findall(rest))  # fmt: skip
        written.append(f"<{closes}{visit.word(name)}{given}{empty}>")
    said(body[at:])
    return "".join(written)


def _query(text: str, visit: Visitor) -> str:
    pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=1000)
    return urlencode([(visit.word(name), visit.value(name, value)) for name, value in pairs])


def _csv(text: str, visit: Visitor) -> str:
    head = text.partition("\n")[0]
    mark = max(_DELIMITERS, key=head.count)
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True))
    sink = io.StringIO(newline="")
    writer, header = csv.writer(sink, delimiter=mark), rows[0] if rows else []
    for number, row in enumerate(rows):
        shown = zip([*header, *("" for _ in row)], row, strict=False)
        writer.writerow([visit.value(name, cell) if number else visit.word(cell) for name, cell in shown])
    return sink.getvalue()


def _text(text: str, visit: Visitor) -> str:
    return visit.value("", text)


_WRITERS: Final[dict[Form, Callable[[str, Visitor], str]]] = {
    "json": _json, "hl7": _hl7, "xml": _xml, "query": _query, "csv": _csv, "text": _text,
}  # fmt: skip
