"""Whatever bytes come: no crash, no hang, no partial effect; every refusal has reason and place and quotes nothing."""

import json
import random
import re
import time
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xinqiao.adapters.protocols import Refused
from xinqiao.adapters.spool import Spool
from xinqiao_hospital import codes
from xinqiao_hospital.desk import Desk
from xinqiao_hospital.files import read_json
from xinqiao_hospital.register import Register, Sent

SECRET = "欧阳小雨-13800000001"
_REASON = re.compile(r"[A-Z]+/[A-Z0-9_]+")
_SHORT = settings(max_examples=150, deadline=2000, suppress_health_check=list(HealthCheck))
_LONG_EXAMPLES = 30_000

TASK: dict[str, Any] = {
    "resourceType": "Task",
    "id": "1",
    "meta": {"versionId": "2"},
    "identifier": [{"system": codes.REFERRAL, "value": "referrals/r1"}],
    "status": "completed",
    "businessStatus": codes.business_status("7.0"),
    "intent": "order",
    "for": {"identifier": {"system": codes.PSEUDONYM, "value": "students/" + "a" * 26}},
    "output": [
        {"type": {"coding": [{"system": codes.OUTPUT, "code": "diagnosis"}]}, "valueString": SECRET},
        {"type": {"coding": [{"system": codes.OUTPUT, "code": "next-visit"}]}, "valueDate": "2026-10-20"},
    ],
}
BUNDLE = json.loads((Path(__file__).parent / "golden_bundle.json").read_text("utf-8"))
_ODD: list[Any] = [
    None, True, 0, -1, 10**18, 1.5, "", SECRET, "2026-02-30", [], {}, [[]], [None], {"a": SECRET}, "\u202e", "#x",
    {"reference": "https://x/" + SECRET}, [{"url": SECRET}], {"div": f"<script>{SECRET}</script>"},
]  # fmt: skip
_KEYS = [
    "modifierExtension",
    "implicitRules",
    "contained",
    "resourceType",
    "extension",
    "_status",
    "entry",
    "text",
    "id",
]


def mutated(resource: Any, random_: random.Random) -> bytes:
    """A resource with a few of its parts replaced, doubled, moved or lost, and perhaps its bytes broken."""
    value = json.loads(json.dumps(resource))
    for _ in range(random_.randint(1, 4)):
        node = value
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = random_.choice(keys)
            if isinstance(node[key], (dict, list)) and node[key] and random_.random() < 0.7:
                node = node[key]
                continue
            change = random_.random()
            if change < 0.25:
                del node[key]
            elif change < 0.8:
                node[key] = deepcopy(random_.choice(_ODD))
            elif isinstance(node, dict):
                node[random_.choice(_KEYS)] = deepcopy(random_.choice([*_ODD, node[key]]))
            break
    text = json.dumps(value, ensure_ascii=random_.random() < 0.5)
    if random_.random() < 0.3:
        at = random_.randrange(len(text))
        junk = ['"', "{", "]", "NaN", "1e999", "\\ud800", "[" * 80, "9" * 40, ",", "\x00", '"id":1,']
        text = text[:at] + random_.choice(junk) + text[at + random_.randint(0, 3) :]
    data = text.encode("utf-8", "surrogatepass")
    return data[: random_.randrange(len(data))] if random_.random() < 0.1 else data


def check_read(data: bytes) -> None:
    started = time.monotonic()
    items = list(read_json(data))
    assert time.monotonic() - started < 2
    assert items
    for item in items:
        assert SECRET not in repr(item)
        if isinstance(item, Refused):
            assert _REASON.fullmatch(item.reason)
            assert item.place
            assert item.message


def check_desk(data: bytes) -> None:
    with TemporaryDirectory(prefix="xinqiao-fuzz-") as folder:
        spool, register = Spool(Path(folder) / "inbox", sync=lambda descriptor: None), Register(Path(folder))
        register.note_sent(Sent("referrals/r1", "students/" + "a" * 26))
        reply = Desk(spool, register).put("1", data)
        if reply.status in (200, 201):
            assert len(spool.pending()) == 1
            return
        assert reply.status in (400, 409, 412, 413, 422)
        assert (spool.pending(), register.head("1")) == ([], None)
        for issue in reply.body["issue"]:
            assert _REASON.fullmatch(issue["details"]["coding"][0]["code"])
            assert issue["expression"][0]
        assert SECRET not in json.dumps(reply.body, ensure_ascii=False)


@_SHORT
@given(st.binary(max_size=300))
def test_any_bytes_get_an_answer(data: bytes) -> None:
    check_read(data)
    check_desk(data)


@_SHORT
@given(st.randoms(use_true_random=False))
def test_a_spoilt_task_is_taken_whole_or_refused_with_a_place(random_: random.Random) -> None:
    data = mutated(TASK, random_)
    check_read(data)
    check_desk(data)


@_SHORT
@given(st.randoms(use_true_random=False))
def test_a_spoilt_bundle_gets_an_answer_for_every_entry(random_: random.Random) -> None:
    check_read(mutated(BUNDLE, random_))


@pytest.mark.soak
def test_for_minutes_no_spoilt_resource_crashes_hangs_or_is_half_taken() -> None:
    for seed in range(_LONG_EXAMPLES):
        data = mutated(BUNDLE if seed % 5 == 0 else TASK, random.Random(seed))
        check_read(data)
        check_desk(data)
