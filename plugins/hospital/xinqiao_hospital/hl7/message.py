"""An HL7 v2 message in ER7: read with every fault placed, and written with every delimiter escaped."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Final

from xinqiao.contract.clock import BEIJING
from xinqiao_hospital.hl7.charset import decode
from xinqiao_hospital.hl7.refused import Hl7Refused

MAX_SEGMENTS: Final = 2000
MAX_FIELDS: Final = 200
MAX_REPETITIONS: Final = 200
MAX_COMPONENTS: Final = 100

_ENCODING: Final = ("^~\\&", "^~\\&#")
_SEGMENT_ID = re.compile(r"[A-Z][A-Z0-9]{2}", re.ASCII)
_ESCAPE = re.compile(r"\\([^\\]*)(\\?)")
_HEX = re.compile(r"X((?:[0-9A-Fa-f]{2})+)", re.ASCII)
_LAYOUT = re.compile(r"\.(?:(br)|sp|in|ti|fi|nf|sk|ce)[+-]?[0-9]{0,3}", re.ASCII)
_LETTERS: Final = {"F": "|", "S": "^", "T": "&", "R": "~", "E": "\\", "P": "#", "H": "", "N": ""}
_OUT: Final = str.maketrans(
    {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "~": "\\R\\", "&": "\\T\\", "\r": "\\.br\\", "\n": "\\.br\\"}
)
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_TS = re.compile(
    r"([0-9]{4})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:\.([0-9]{1,6}))?)?)?)?)?)?"
    r"([+-][0-9]{4})?",
    re.ASCII,
)
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Instant:
    """A time stamp as found: ``assumed`` says that it had no zone and Beijing time was taken."""

    at: datetime
    digits: int
    assumed: bool


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment; fields by their HL7 number. ``ordinal`` counts segments of the same name, from 1."""

    name: str
    ordinal: int
    fields: tuple[str, ...]
    charset: str

    def place(self, number: int, component: int = 0) -> str:
        """``PID[1]-3`` or ``OBX[2]-5.1``; MSH, MSA and RF1 stand once, so without an ordinal."""
        once = self.name in ("MSH", "MSA", "RF1", "PID")
        return f"{self.name}{'' if once else f'[{self.ordinal}]'}-{number}{f'.{component}' if component else ''}"

    def raw(self, number: int) -> str:
        """The field as it stands in the message, still escaped; empty where it is absent."""
        return self.fields[number] if number < len(self.fields) else ""

    def repetitions(self, number: int) -> list[list[str]]:
        """The components of each repetition, unescaped; subcomponents stay together. Raises Hl7Refused."""
        found = self.raw(number)
        if found.count("~") >= MAX_REPETITIONS:
            raise _too_many(f"at most {MAX_REPETITIONS} repetitions are read", self.place(number))
        if found.count("^") >= MAX_COMPONENTS * (found.count("~") + 1):
            raise _too_many(f"at most {MAX_COMPONENTS} components are read", self.place(number))
        return [
            [unescape(part, self.charset, self.place(number)) for part in repetition.split("^")]
            for repetition in found.split("~")
        ]

    def component(self, number: int, component: int = 1) -> str:
        """A component of the first repetition, unescaped and stripped. Raises Hl7Refused."""
        parts = self.repetitions(number)[0]
        return parts[component - 1].strip() if component <= len(parts) else ""

    def text(self, number: int) -> str:
        """The whole field as text: repetitions are lines, ``\\.br\\`` is a line break. Raises Hl7Refused."""
        return "\n".join("^".join(parts) for parts in self.repetitions(number)).strip()

    def needed(self, number: int, component: int = 1) -> str:
        """As ``component``. Raises Hl7Refused (AE/REQUIRED) where it is empty."""
        value = self.component(number, component)
        if value in ("", '""'):
            raise Hl7Refused("AE", "REQUIRED", "a value is needed here", self.place(number))
        return value

    def instant(self, number: int) -> Instant | None:
        """A time stamp, None where there is none. Raises Hl7Refused (AE/DATE)."""
        value = self.component(number)
        return None if value in ("", '""') else instant(value, self.place(number))

    def number(self, number: int) -> str:
        """An NM value. Raises Hl7Refused (AE/TYPE) where it holds something else."""
        value = self.component(number)
        if value and not _NUMBER.fullmatch(value):
            raise Hl7Refused("AE", "TYPE", "the type is NM, the value is not a number", self.place(number))
        return value


@dataclass(frozen=True, slots=True)
class Message:
    """A message whose header is sound; ``ignored`` counts Z-segments and other segments nobody here reads."""

    segments: tuple[Segment, ...]
    charset: str
    ignored: Counter[str] = field(default_factory=Counter[str])

    @property
    def header(self) -> Segment:
        return self.segments[0]

    @property
    def kind(self) -> str:
        """``RRI`` of ``RRI^I12^RRI_I12``."""
        return self.header.component(9, 1)

    @property
    def trigger(self) -> str:
        """``I12`` of ``RRI^I12^RRI_I12``; MSH-9.3 is often absent or wrong, so nothing hangs on it."""
        return self.header.component(9, 2)

    @property
    def control_id(self) -> str:
        return self.header.component(10)

    def all(self, name: str) -> list[Segment]:
        """Every segment of a name, in order."""
        return [segment for segment in self.segments if segment.name == name]

    def first(self, name: str) -> Segment | None:
        """The first segment of a name."""
        return next(iter(self.all(name)), None)

    def one(self, name: str) -> Segment:
        """The only segment of a name. Raises Hl7Refused (AE/REQUIRED, AE/TOO_MANY)."""
        found = self.all(name)
        if not found:
            raise Hl7Refused("AE", "REQUIRED", f"a {name} segment is needed", name)
        if len(found) > 1:
            raise _too_many(f"one {name} segment is read", f"{name}[2]")
        return found[0]


_READ: Final = frozenset({"MSH", "MSA", "ERR", "RF1", "PRD", "PID", "NK1", "DG1", "ORC", "OBR", "OBX", "NTE"})


def parse(raw: bytes, agreed: str) -> Message:
    """Read one message. Raises Hl7Refused."""
    text, charset = decode(raw, agreed)
    if "\x00" in text:
        raise Hl7Refused("AR", "ENCODING", "the message holds NUL characters", "MSH")
    lines = list(_lines(text))
    if not lines or not lines[0].startswith("MSH"):
        raise Hl7Refused("AR", "DELIMITER", "a message begins with MSH", "MSH")
    _check_delimiters(lines[0])
    seen: Counter[str] = Counter()
    ignored: Counter[str] = Counter()
    segments: list[Segment] = []
    for number, line in enumerate(lines, start=1):
        name = line[:3]
        if not _SEGMENT_ID.fullmatch(name) or line[3:4] not in ("|", ""):
            raise Hl7Refused("AR", "DELIMITER", "a segment begins with its name and |", f"line {number}")
        if name == "MSH" and number > 1:
            raise Hl7Refused("AR", "FRAME", "a frame holds one message", f"line {number}")
        seen[name] += 1
        if name not in _READ:
            ignored[name] += 1
            continue
        if line.count("|") > MAX_FIELDS:
            raise _too_many(f"at most {MAX_FIELDS} fields are read", f"{name}[{seen[name]}]")
        fields = line.split("|")
        # MSH-1 is the separator itself, so that MSH-2 is the second as HL7 counts.
        fields = [name, "|", *fields[1:]] if name == "MSH" else fields
        segments.append(Segment(name, seen[name], tuple(fields), charset))
    message = Message(tuple(segments), charset, ignored)
    for number in (9, 10, 11, 12):
        message.header.repetitions(number)  # whoever answers must be able to say what was answered
    return message


def _lines(text: str) -> Iterator[str]:
    """Segments end with CR; files are found with LF or both. A message of CR segments may hold LF in its text."""
    ends = re.compile("\r\n?") if "\r" in text else re.compile("\n")
    if len(ends.findall(text)) > MAX_SEGMENTS:
        raise Hl7Refused("AE", "TOO_MANY", f"at most {MAX_SEGMENTS} segments are read", f"segment {MAX_SEGMENTS + 1}")
    for line in ends.split(text):
        if stripped := line.strip("\n\ufeff "):
            yield stripped


def _check_delimiters(line: str) -> None:
    if line[3:4] != "|":
        raise Hl7Refused("AR", "DELIMITER", "MSH-1 must be |", "MSH-1")
    if line[4:].partition("|")[0] not in _ENCODING:
        raise Hl7Refused("AR", "DELIMITER", "MSH-2 must be ^~\\&", "MSH-2")


def unescape(text: str, charset: str, place: str) -> str:
    """The text of a component. Raises Hl7Refused (AE/ESCAPE) for a sequence that cannot be read without loss."""
    if "\\" not in text:
        return text

    def one(match: re.Match[str]) -> str:
        body, end = match.groups()
        if end:
            if body in _LETTERS:
                return _LETTERS[body]
            if found := _HEX.fullmatch(body):
                return _from_hex(found.group(1), charset, place)
            if layout := _LAYOUT.fullmatch(body):
                return "\n" if layout.group(1) or body.startswith((".sp", ".ce")) else ""
        raise Hl7Refused("AE", "ESCAPE", "this escape sequence is not known; a lone backslash is \\E\\", place)

    return _ESCAPE.sub(one, text)


def _from_hex(digits: str, charset: str, place: str) -> str:
    try:
        text = bytes.fromhex(digits).decode(charset)
    except UnicodeDecodeError:
        text = "\x00"
    if _CONTROLS.search(text.replace("\r", "\n")):
        raise Hl7Refused("AE", "ESCAPE", "a \\X..\\ sequence must give text of the message's character set", place)
    return text.replace("\r", "\n")


def instant(value: str, place: str) -> Instant:
    """Read an HL7 time stamp of any precision. Raises Hl7Refused (AE/DATE)."""
    found = _TS.fullmatch(value)
    if found is None:
        raise Hl7Refused("AE", "DATE", "a time is YYYYMMDD[HHMM[SS]][+ZZZZ]", place)
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        offset = _zone(zone) if zone else None
        at = datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0),
            int((fraction or "0").ljust(6, "0")), tzinfo=offset or BEIJING,
        )  # fmt: skip
    except ValueError:
        raise Hl7Refused("AE", "DATE", "there is no such date or time", place) from None
    digits = sum(len(part) for part in (year, month, day, hour, minute, second) if part)
    return Instant(at, digits, assumed=zone is None)


def _zone(text: str) -> timezone:
    hours, minutes = int(text[1:3]), int(text[3:5])
    if hours > 14 or minutes > 59:
        raise ValueError
    return timezone((-1 if text[0] == "-" else 1) * timedelta(hours=hours, minutes=minutes))


def escape(text: str) -> str:
    """Text for a component: delimiters escaped, line breaks as ``\\.br\\``, other control characters dropped."""
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\t", " ")).translate(_OUT)


def composite(*parts: str) -> str:
    """Components, each escaped, without empty ones at the end."""
    return "^".join(escape(part) for part in parts).rstrip("^")


def segment(name: str, values: dict[int, str]) -> str:
    """A segment from ready fields by HL7 number; what is absent is empty."""
    last = max((number for number, value in values.items() if value), default=0)
    return "|".join([name, *(values.get(number, "") for number in range(1, last + 1))])


def stamp(at: datetime) -> str:
    """A time stamp to the second, in Beijing time with its offset."""
    return at.astimezone(BEIJING).strftime("%Y%m%d%H%M%S%z")


def written(segments: Sequence[str], charset: str) -> bytes:
    """The message's bytes: each segment ends with CR."""
    return "".join(f"{line}\r" for line in segments).encode(charset)


def _too_many(message: str, place: str) -> Hl7Refused:
    return Hl7Refused("AE", "TOO_MANY", message, place)
