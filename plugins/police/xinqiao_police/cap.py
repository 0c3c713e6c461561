"""CAP 1.2 (OASIS, 2010-07-01) as the other spelling of an envelope: what CAP has an element for goes there, the rest
into ``parameter`` under ``urn:xinqiao:``. Read with defusedxml: no DTD, no entity, nothing fetched.
"""

import re
import xml.etree.ElementTree as ET  # writes only; what comes is read by defusedxml
from collections.abc import Iterator, Mapping
from typing import Any, Final

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from xinqiao_police.wire import MAX_DEPTH, Envelope, Json, NotUnderstood, is_list, is_object

NAMESPACE: Final = "urn:oasis:names:tc:emergency:cap:1.2"
RESTRICTION: Final = "公安机关与学校危机处置人员 police and school crisis responders only"

_PREFIX = "urn:xinqiao:"
_TYPE, _KIND = f"{_PREFIX}type", f"{_PREFIX}kind"
_OLD = re.compile(r"\{urn:oasis:names:tc:emergency:cap:1\.[01]\}alert|\{http://www\.incident\.com/cap/1\.0\}alert")
_SENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[-+][0-9]{2}:[0-9]{2}", re.ASCII)
_NOT_IN_ID = re.compile(r"[\s,<&]")
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STEP = re.compile(r"[a-z_]{1,40}|[0-9]{1,2}", re.ASCII)
_MAX_PARAMETERS = 200

_MESSAGE_TYPE: Mapping[str, str] = {"updated": "Update", "cancelled": "Cancel", "received": "Ack", "taken": "Ack"}
_READ_AS: Mapping[str, str] = {
    "Alert": "alert.created", "Update": "alert.updated", "Cancel": "alert.cancelled",
    "Ack": "request.received", "Error": "request.declined",
}  # fmt: skip
_URGENCY: Mapping[str, str] = {"emergency": "Immediate", "urgent": "Expected", "routine": "Future"}
_EVENT: Mapping[str, str] = {
    "alert": "学生危机警情 student in crisis",
    "call": "三方通话移交 three-way call",
    "rescue": "学生救助请求 rescue of a student",
    "escort": "护送就诊请求 escort to a diagnosis",
    "request": "处置反馈 answer to a request",
}
_PLACES = (("description", "facts"), ("onset", "occurred"), ("senderName", "from"))
"""Elements of ``info`` and what they are in an envelope's data; ``areaDesc`` is the location."""


def write(envelope: Envelope, *, sender: str) -> bytes:
    """The envelope as CAP; the same envelope has the same bytes.

    Severity and certainty are Unknown: they would say how ill a child is. ``data.message`` is the identifier, and
    ``data.references`` names the message that an Update, Cancel or Ack follows.
    """
    data = dict(envelope.data)
    alert = ET.Element("alert", xmlns=NAMESPACE)
    status = "Test" if envelope.type == "ping" else "Exercise" if envelope.drill else "Actual"
    head = (
        ("identifier", _NOT_IN_ID.sub("_", str(data.pop("message", "")))), ("sender", sender),
        ("sent", envelope.timestamp), ("status", status),
        ("msgType", _MESSAGE_TYPE.get(envelope.type.rpartition(".")[2], "Alert")),
        ("scope", "Restricted"), ("restriction", RESTRICTION),
        ("note", str(data.get("reason", "")) or ("演练 DRILL" if envelope.drill else "")),
        ("references", str(data.pop("references", ""))),
    )  # fmt: skip
    for name, text in head:
        _add(alert, name, text)
    if envelope.type != "ping":
        _info(alert, envelope, data)
    text = ET.tostring(alert, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()


def read(body: bytes) -> Envelope:
    """The envelope in a CAP message. Raises NotUnderstood."""
    alert = _root(body)
    head = {name: _text(alert, name) for name in ("identifier", "sender", "sent", "status", "msgType", "scope")}
    for name, text in head.items():
        if not text:
            raise NotUnderstood("DATA/REQUIRED", f"alert.{name}", "CAP 1.2 demands it")
    if _NOT_IN_ID.search(head["identifier"]) or len(head["identifier"]) > 200:
        raise NotUnderstood("DATA/IDENTIFIER", "alert.identifier", "no blanks, commas, < or &; at most 200 characters")
    if _SENT.fullmatch(head["sent"]) is None:
        raise NotUnderstood("DATA/DATE", "alert.sent", "as CAP writes it: 2026-10-12T09:00:00+08:00")
    if head["scope"] not in ("Restricted", "Private"):
        raise NotUnderstood("DATA/SCOPE", "alert.scope", "a child is named: Restricted or Private")
    if head["status"] not in ("Actual", "Exercise", "Test"):
        raise NotUnderstood("DATA/CODE", "alert.status", "Actual, Exercise or Test")
    if head["msgType"] not in _READ_AS:
        raise NotUnderstood("DATA/CODE", "alert.msgType", "Alert, Update, Cancel, Ack or Error")
    info = _chosen(alert)
    data = _parameters(info) if info is not None else {}
    said = str(data.pop("type", ""))
    kind = "ping" if head["status"] == "Test" else said or _READ_AS[head["msgType"]]
    _fill(data, alert, info, head["identifier"], kind)
    return Envelope(kind, head["sent"], data, drill=head["status"] == "Exercise")


def _info(alert: ET.Element, envelope: Envelope, data: Json) -> None:
    family = envelope.type.partition(".")[0]
    info = ET.SubElement(alert, "info")
    _add(info, "language", "zh-CN")
    _add(info, "category", "Rescue" if family in ("rescue", "escort") else "Safety")
    _add(info, "event", ("【演练 DRILL】" if envelope.drill else "") + _EVENT.get(family, envelope.type))
    _add(info, "urgency", _URGENCY.get(str(data.get("urgency", "")), "Unknown"))
    _add(info, "severity", "Unknown")
    _add(info, "certainty", "Unknown")
    places = {element: str(data.pop(name, "")) for element, name in _PLACES}
    if kind := str(data.pop("kind", "")):
        _pair(info, "eventCode", _KIND, kind)
    _add(info, "onset", places["onset"])
    _add(info, "senderName", places["senderName"])
    _add(info, "description", places["description"])
    location = str(data.pop("location", ""))
    _pair(info, "parameter", _TYPE, envelope.type)
    for path, value in _flat(data):
        _pair(info, "parameter", _PREFIX + path, value)
    if location:
        _add(ET.SubElement(info, "area"), "areaDesc", location)


def _root(body: bytes) -> ET.Element:
    try:
        root: ET.Element = fromstring(body, forbid_dtd=True)
    except DefusedXmlException:
        raise NotUnderstood("DATA/XML_DTD", "document", "a DTD or an entity is never read; send without") from None
    except ET.ParseError as e:
        line, column = e.position
        raise NotUnderstood("DATA/XML_SYNTAX", f"line {line} column {column + 1}", "not well-formed XML") from None
    except (ValueError, LookupError):  # an encoding that Python's parser does not know
        raise NotUnderstood("DATA/ENCODING", "document", "send UTF-8") from None
    if _OLD.fullmatch(root.tag):
        raise NotUnderstood("DATA/VERSION", "alert", f"CAP 1.2 is read: xmlns must be {NAMESPACE}")
    if root.tag != f"{{{NAMESPACE}}}alert":
        raise NotUnderstood("DATA/FILE_TYPE", "document", f"the root must be alert of {NAMESPACE}")
    _check_depth(root)
    return root


def _check_depth(root: ET.Element) -> None:
    level: list[ET.Element] = [root]
    for _ in range(MAX_DEPTH):
        level = [child for element in level for child in element]
        if not level:
            return
    raise NotUnderstood("DATA/DEPTH", "document", f"nested deeper than {MAX_DEPTH}")


def _chosen(alert: ET.Element) -> ET.Element | None:
    """One language of several: Chinese before the first."""
    infos = alert.findall(f"{{{NAMESPACE}}}info")
    chinese = [info for info in infos if _text(info, "language").lower().startswith("zh")]
    return next(iter(chinese + infos), None)


def _fill(data: Json, alert: ET.Element, info: ET.Element | None, identifier: str, kind: str) -> None:
    if info is not None:
        for element, name in _PLACES:
            if text := _text(info, element):
                data[name] = text
        codes = dict(_pairs(info, "eventCode"))
        if code := codes.get(_KIND, ""):
            data["kind"] = code
        area = info.find(f"{{{NAMESPACE}}}area")
        if area is not None and (text := _text(area, "areaDesc")):
            data["location"] = text
    first = _text(alert, "references").split()
    parts = first[0].split(",") if first else []
    if kind.startswith("request."):
        if "request" not in data and len(parts) == 3:
            data["request"] = parts[1].partition("~")[0].replace(".", "/", 1)
        if "reason" not in data and (note := _text(alert, "note")):
            data["reason"] = note
        return
    if kind != "ping":
        data.setdefault("alert", identifier)
        if len(parts) == 3:
            data.setdefault("follows", parts[1])


def _parameters(info: ET.Element) -> Json:
    """``urn:xinqiao:student.full_name`` and the like as nested data; parameters of others are not ours to read."""
    found: Json = {}
    for count, (name, value) in enumerate(_pairs(info, "parameter")):
        if not name.startswith(_PREFIX):
            continue
        steps = name.removeprefix(_PREFIX).split(".")
        if count >= _MAX_PARAMETERS or len(steps) > 4 or not all(_STEP.fullmatch(step) for step in steps):
            raise NotUnderstood("DATA/CODE", f"info.parameter[{count}]", f"not one of the names below {_PREFIX}")
        place = found
        for step in steps[:-1]:
            inner: Any = place.setdefault(step, {})
            if not is_object(inner):
                raise NotUnderstood("DATA/DUPLICATE", f"info.parameter[{count}]", "named twice")
            place = inner
        if steps[-1] in place:
            raise NotUnderstood("DATA/DUPLICATE", f"info.parameter[{count}]", "named twice")
        place[steps[-1]] = value
    return found


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if is_object(value):
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}" if path else name)
    elif is_list(value):
        for number, inner in enumerate(value):
            yield from _flat(inner, f"{path}.{number}")
    elif value != "":
        yield path, str(value)


def _pairs(info: ET.Element, element: str) -> Iterator[tuple[str, str]]:
    for found in info.findall(f"{{{NAMESPACE}}}{element}"):
        yield _text(found, "valueName"), _text(found, "value")


def _pair(info: ET.Element, element: str, name: str, value: str) -> None:
    pair = ET.SubElement(info, element)
    _add(pair, "valueName", name)
    _add(pair, "value", value)


def _add(parent: ET.Element, name: str, text: str) -> None:
    if text:
        ET.SubElement(parent, name).text = _NOT_XML.sub("\ufffd", text)


def _text(parent: ET.Element, name: str) -> str:
    return (parent.findtext(f"{{{NAMESPACE}}}{name}") or "").strip()
