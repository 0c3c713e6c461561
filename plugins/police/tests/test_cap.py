"""CAP 1.2 as it comes: what is read past, what is refused by name, and what an XML parser must never do."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plugins.police.tests.door import ALERT, CHILD

from xinqiao_police import cap
from xinqiao_police.messages import understand
from xinqiao_police.wire import Envelope, NotUnderstood, read_json, write_json

NOW = 1_791_766_800_000_000
SENT = "2026-10-12T09:00:00+08:00"
SECRET = "王小明310"
SHARED = Path(__file__).resolve().parents[4] / "shared"
TEXT = (
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1, max_size=40)
    .map(str.strip)
    .filter(bool)
)


def alert(*, head: str = "", info: str = "", **change: str) -> bytes:
    words = {
        "identifier": "J-1",
        "sender": "110@police.example",
        "sent": SENT,
        "status": "Actual",
        "msgType": "Alert",
        "scope": "Restricted",
    }
    words |= change
    elements = "".join(f"<{name}>{text}</{name}>" for name, text in words.items() if text)
    inner = info or f"<info><event>警情</event><description>{SECRET}</description></info>"
    return f'<alert xmlns="{cap.NAMESPACE}">{elements}{head}{inner}</alert>'.encode()


def reason(body: bytes) -> str:
    with pytest.raises(NotUnderstood) as caught:
        understand(cap.read(body), NOW)
    assert SECRET not in str(caught.value)
    return caught.value.reason


@given(
    st.sampled_from(["alert.created", "alert.updated", "alert.cancelled"]), TEXT, TEXT, TEXT, TEXT, st.booleans(),
)  # fmt: skip
def test_either_spelling_says_the_same(kind: str, facts: str, place: str, name: str, number: str, drill: bool) -> None:
    number = "".join(number.split()).translate({ord(c): "_" for c in ",<&"}) or "x"
    data: dict[str, Any] = {
        "alert": number,
        "facts": facts,
        "location": place,
        "kind": "SUICIDAL",
        "student": {"full_name": name},
    }
    said = Envelope(kind, SENT, data, drill)
    as_cap = cap.read(cap.write(Envelope(kind, SENT, {**data, "message": number}, drill), sender="110"))
    assert (as_cap.type, as_cap.drill, as_cap.data) == (kind, drill, data)
    assert understand(as_cap, NOW) == understand(read_json(write_json(said)), NOW)


def test_an_alert_of_another_makers_software_with_nothing_of_ours_is_understood() -> None:
    info = (
        "<info><language>en-US</language><event>x</event><description>en</description></info>"
        "<info><language>zh-CN</language><event>轻生警情</event><description>在桥上</description>"
        "<parameter><valueName>VENDOR</valueName><value>1</value></parameter>"
        "<area><areaDesc>人民桥</areaDesc></area><area><areaDesc>二</areaDesc></area></info>"
    )
    said = understand(cap.read(alert(info=info)), NOW)
    assert said is not None
    assert said.model_dump(include={"alert", "facts", "location", "kind"}) == {
        "alert": "J-1", "facts": "在桥上", "location": "人民桥", "kind": "",
    }  # fmt: skip


@pytest.mark.parametrize(("word", "kind"), [("Ack", "request.received"), ("Error", "request.declined")])
def test_an_ack_and_an_error_answer_the_request_they_refer_to(word: str, kind: str) -> None:
    head = f"<note>无警力</note><references>xinqiao,referrals.r1~x,{SENT}</references>"
    envelope = cap.read(alert(msgType=word, head=head, info=" "))
    assert (envelope.type, envelope.data["request"], envelope.data["reason"]) == (kind, "referrals/r1", "无警力")
    assert understand(envelope, NOW) is not None


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b"", "DATA/XML_SYNTAX"), (b"<alert>", "DATA/XML_SYNTAX"), (b"<alert/>", "DATA/FILE_TYPE"),
        (b"<html/>", "DATA/FILE_TYPE"), (alert() + b"junk", "DATA/XML_SYNTAX"),
        (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + alert(), "DATA/XML_DTD"),
        (b'<!DOCTYPE a [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><a>&b;</a>', "DATA/XML_DTD"),
        (b'<!DOCTYPE alert SYSTEM "http://127.0.0.1/x.dtd">' + alert(), "DATA/XML_DTD"),
        (b'<?xml version="1.0" encoding="EBCDIC-X"?>' + alert(), "DATA/ENCODING"),
        (alert().replace(b"1.2", b"1.1"), "DATA/VERSION"), (b"<a>" * 40 + b"</a>" * 40, "DATA/FILE_TYPE"),
        (alert(info="<info>" * 40 + "</info>" * 40), "DATA/DEPTH"),
        (b"<a>" * 36_000 + b"</a>" * 36_000, "DATA/FILE_TYPE"), (alert(info="<x/>" * 60_000), "DATA/REQUIRED"),
        (alert(identifier=""), "DATA/REQUIRED"), (alert(identifier="a b"), "DATA/IDENTIFIER"),
        (alert(sent="2026-10-12T01:00:00Z"), "DATA/DATE"), (alert(sent="2099-10-12T01:00:00+08:00"), "DATA/DATE"),
        (alert(scope="Public"), "DATA/SCOPE"), (alert(scope=""), "DATA/REQUIRED"), (alert(status="Draft"), "DATA/CODE"),
        (alert(msgType="Bell"), "DATA/CODE"), (alert(info=" "), "DATA/REQUIRED"),
        (alert(info=f"<info><parameter><valueName>urn:xinqiao:student.{SECRET}</valueName><value>x</value></parameter></info>"), "DATA/CODE"),
        (alert(info="<info>" + "<parameter><valueName>urn:xinqiao:kind</valueName><value>x</value></parameter>" * 2 + "</info>"), "DATA/DUPLICATE"),
        (alert(info="".join(f"<info><parameter><valueName>urn:xinqiao:{n}</valueName><value>x</value></parameter></info>" for n in ("a",))), "DATA/REQUIRED"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_refused_by_its_name(body: bytes, wanted: str) -> None:
    assert reason(body) == wanted


def test_a_drill_is_one_and_a_test_says_nothing() -> None:
    assert cap.read(alert(status="Exercise")).drill
    assert understand(cap.read(alert(status="Test")), NOW) is None


@pytest.mark.skipif(not SHARED.exists(), reason="the third-party example files are not beside this tree")
def test_a_real_weather_alert_of_cap_1_1_is_refused_with_the_version_to_send() -> None:
    assert reason((SHARED / "data" / "cap" / "weather.cap").read_bytes()) == "DATA/VERSION"


def test_the_same_envelope_has_the_same_bytes() -> None:
    said = Envelope("alert.created", SENT, {"message": "J-1", "alert": "J-1", "student": CHILD, **ALERT})
    assert cap.write(said, sender="a") == cap.write(said, sender="a")
