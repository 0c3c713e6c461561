"""A template filled in: plain lines of text, before any thought of paper."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import zip_longest
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from xinqiao.api.common.v1.types_pb2 import Withheld
from xinqiao.api.referral.v1.notice_pb2 import DocumentContent
from xinqiao.contract.clock import BEIJING, from_us
from xinqiao.documents.template import PLACEHOLDER, Row, Template


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table: its label, its value, and for a blank how many lines to leave."""

    label: str
    value: str
    blank_lines: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """A section as it will be printed."""

    heading: str
    text: str
    lines: tuple[Line, ...]
    signatures: tuple[str, ...]
    qr: str
    qr_note: str


@dataclass(frozen=True, slots=True)
class Filled:
    """A whole form as text."""

    title: str
    number: str
    banner: str
    blocks: tuple[Block, ...]
    footer: str
    language: str

    def texts(self) -> Iterator[str]:
        """Every text that is printed, in order, without page numbers."""
        yield from (text for text in (self.banner, self.title, self.number) if text)
        for block in self.blocks:
            yield from (text for text in (block.heading, block.text) if text)
            for line in block.lines:
                yield from (text for text in (line.label, line.value) if text)
            yield from block.signatures
            if block.qr_note:
                yield block.qr_note
        if self.footer:
            yield self.footer


def fill(template: Template, content: DocumentContent, language: str, withheld: list[Withheld]) -> Filled:
    """Fill ``template`` in ``language`` (zh or en) from ``content``, which the door has cut already."""
    lost = {item.field for item in withheld}

    def words(text: str) -> str:
        return PLACEHOLDER.sub(lambda found: _text(content, found[1], language), text)

    def line(row: Row) -> Line:
        label = row.label(language)
        if row.blank:
            return Line(label, "", row.lines)
        if lost.intersection(row.fields):
            return Line(label, template.withheld(language))
        return Line(label, _value(content, row, language))

    blocks = tuple(
        Block(
            words(section.heading(language)) if section.heading else "",
            words(section.text(language)) if section.text else "",
            tuple(line(row) for row in section.rows),
            tuple(label(language) for label in section.signatures),
            _text(content, section.qr, language) if section.qr else "",
            section.qr_note(language) if section.qr and section.qr_note else "",
        )
        for section in template.sections
    )
    return Filled(
        template.title(language),
        _text(content, template.number, language) if template.number else "",
        template.banner(language) if template.banner else "",
        blocks,
        template.footer(language) if template.footer else "",
        language,
    )


def _value(content: DocumentContent, row: Row, language: str) -> str:
    found = [_written(value, leaf, row, language) for value, leaf in (_find(content, path) for path in row.fields)]
    texts = [text for text in found if text]
    # A Chinese name has no space between its parts, in whatever language the form is; other fields read better with one.
    if all(path.endswith("_name") for path in row.fields) and not any(map(str.isascii, texts)):
        return "".join(texts)
    # Rosters often say the grade again in the title of the class.
    return " ".join(text for text, after in zip_longest(texts, texts[1:], fillvalue="") if not after.startswith(text))


def _written(value: Any, leaf: FieldDescriptor, row: Row, language: str) -> str:
    if row.kind == "time":
        return from_us(value).astimezone(BEIJING).strftime("%Y-%m-%d %H:%M") if value else ""
    if row.kind == "day":
        return _day(value, language)
    if row.kind == "choice":
        return _separator(language).join(_choice(item, leaf, row, language) for item in _items(value))
    if row.kind == "list":
        return "\n".join(str(item) for item in _items(value))
    return str(value) if value else ""


def _items(value: Any) -> list[Any]:
    return [value] if isinstance(value, str | int | bool) else list(value)


def _choice(value: Any, leaf: FieldDescriptor, row: Row, language: str) -> str:
    name = str(value)
    if leaf.enum_type is not None:
        name = leaf.enum_type.values_by_number[int(value)].name
    for key, words in row.words.items():
        if name == key or name.endswith(f"_{key}"):
            return words(language)
    return "" if name.endswith("_UNSPECIFIED") else name


def _day(value: Any, language: str) -> str:
    if not value:
        return ""
    day = date.fromisoformat(value) if isinstance(value, str) else from_us(value).astimezone(BEIJING).date()
    return f"{day.year}年{day.month}月{day.day}日" if language == "zh" else day.isoformat()


def _separator(language: str) -> str:
    return "、" if language == "zh" else ", "


def _text(content: DocumentContent, path: str, language: str) -> str:
    value, leaf = _find(content, path)
    if leaf.name.endswith("day"):
        return _day(value, language)
    return str(value) if value else ""


def _find(content: DocumentContent, path: str) -> tuple[Any, FieldDescriptor]:
    message: Message = content
    leaf: Any
    *parents, last = path.split(".")
    for name in parents:
        message = getattr(message, name)
    leaf = message.DESCRIPTOR.fields_by_name[last]
    return getattr(message, last), leaf
