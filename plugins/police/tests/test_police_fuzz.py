"""Any bytes get an answer: understood, or refused with reason and place; never a crash, never an echo, never slow."""

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plugins.police.tests.test_cap import NOW, alert

from xinqiao_police.cap import read as read_cap
from xinqiao_police.desk import brought
from xinqiao_police.files import ReadingSettings, understood
from xinqiao_police.handoff import open_token
from xinqiao_police.messages import Call, understand
from xinqiao_police.wire import NotUnderstood, read_json

SETTINGS = ReadingSettings()
MARK = "QZX7731"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(MARK),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8,
)  # fmt: skip
FIELDS = st.sampled_from(
    [
        "alert",
        "facts",
        "kind",
        "student",
        "occurred",
        "location",
        "token",
        "request",
        "reason",
        "sequence",
        "parties",
        MARK,
    ]
)
TYPES = st.sampled_from(
    ["alert.created", "alert.cancelled", "call.handoff", "request.closed", "request.accepted", "ping", MARK]
)


def judged(read: Any, body: bytes) -> str:
    started = time.monotonic()
    try:
        envelope = read(body)
        said = understand(envelope, NOW)
        if said is not None and not isinstance(said, Call):
            brought(envelope, said, SETTINGS, None, source="x").SerializeToString()
    except NotUnderstood as e:
        assert e.reason and e.place and e.message
        assert MARK not in str(e)
        return e.reason
    finally:
        assert time.monotonic() - started < 2
    return ""


@given(st.binary(max_size=400))
def test_any_bytes_get_an_answer(body: bytes) -> None:
    assert judged(read_json, body)
    assert judged(read_cap, body)
    with pytest.raises(NotUnderstood):
        understood(body, SETTINGS)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    TYPES,
    st.dictionaries(FIELDS, JSON, max_size=6),
    st.sampled_from(["2026-10-12T09:00:00+08:00", MARK, "9999-12-31T23:59:59-23:59"]),
)
def test_any_json_message_gets_an_answer(kind: str, data: dict[str, Any], at: str) -> None:
    import json

    judged(read_json, json.dumps({"type": kind, "timestamp": at, "data": data}).encode())


@given(st.integers(0, 500), st.binary(max_size=6))
def test_a_cap_message_with_any_bytes_changed_gets_an_answer(place: int, noise: bytes) -> None:
    whole = alert(
        info=f"<info><description>x</description><parameter><valueName>urn:xinqiao:kind</valueName><value>{MARK * 20}</value></parameter></info>"
    )
    judged(read_cap, whole[:place] + noise + whole[place + len(noise) :])


@given(st.text(max_size=300) | st.lists(st.text("abcXYZ019-_=", max_size=40), min_size=5, max_size=5).map(".".join))
def test_no_text_is_a_token(text: str) -> None:
    with pytest.raises(NotUnderstood) as caught:
        open_token([b"k" * 32], text, audience="a", call="c", now_s=0)
    assert caught.value.reason.startswith("TOKEN/")


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"type":' + b"9" * 200_000 + b"}",
        b'{"a":"' + b"\\" * 200_000,
        b'{"a":"\\ud800"}',
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b"\xff\xfe{",
        b"\xef\xbb\xbf{}",
    ],
)
def test_json_that_would_be_a_trap_is_refused_quickly(body: bytes) -> None:
    assert judged(read_json, body).startswith("DATA/")


@pytest.mark.soak
@settings(max_examples=200_000, deadline=None)
@given(st.binary(max_size=2000))
def test_any_bytes_get_an_answer_for_hours(body: bytes) -> None:
    judged(read_json, body)
    judged(read_cap, body)
