"""Many records judged together are judged as each by itself would be."""

from contextlib import suppress
from typing import Any

import protovalidate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xinqiao.api.casefile.v1 import casefile_service_pb2 as rpc
from xinqiao.api.common.v1.types_pb2 import Guardian, Student
from xinqiao.contract.decode import validate
from xinqiao.contract.errors import Refusal
from xinqiao.contract.many import shortened

GOOD: dict[str, Any] = {"local_id": "S1", "school": "3205830001"}
ODD: dict[str, list[Any]] = {
    "local_id": ["", "x" * 128, "x" * 129, "学" * 128, "a\u202eb"],
    "family_name": ["欧" * 60, "欧" * 61, "\ufeff"],
    "birth_date": ["2011-05-04", "2011-05-04\n", "1989-01-01", "2011-13-01", "٢٠١١-05-04"],
    "sex": [0, 2, 77, -1],
    "phone": ["+8613800000000", "138 0000", "123456\n", "１２３４５"],
    "school": ["", "9" * 65],
    "guardians": [
        [Guardian(full_name="甲")], [Guardian()], [Guardian(full_name="甲")] * 9, [Guardian(full_name="甲", phone="x")],
        [Guardian(full_name="\x00")],
    ],
}  # fmt: skip
KNOWN = [(name, value) for name, values in ODD.items() for value in values]


def _request(*changes: tuple[str, Any], count: int = 40) -> rpc.RegisterStudentsRequest:
    made = rpc.RegisterStudentsRequest(request_id="request-1", students=[Student(**GOOD)] * count)
    for place, (name, value) in enumerate(changes):
        made.students[place].MergeFrom(Student(**{name: value}))
        if not value:
            made.students[place].ClearField(name)
    return made


def _verdict(request: rpc.RegisterStudentsRequest) -> str:
    try:
        validate(request)
    except Refusal as refusal:
        return f"{refusal.reason} {[each.field for each in refusal.violations]}"
    return ""


@pytest.mark.parametrize(("name", "value"), KNOWN)
def test_one_odd_record_among_many_is_named_as_it_is_among_few(name: str, value: Any) -> None:
    assert _verdict(_request((name, value), count=40)) == _verdict(_request((name, value), count=3))


@settings(max_examples=60)
@given(st.lists(st.sampled_from(KNOWN), max_size=6))
def test_nothing_is_left_out_that_protovalidate_would_refuse(changes: list[tuple[str, Any]]) -> None:
    request = _request(*changes)
    if len(shortened(request).students) == 1:
        protovalidate.validate(request)


def test_what_stands_beside_the_many_is_still_judged() -> None:
    request = _request()
    assert len(shortened(request).students) == 1
    request.request_id = "?"
    assert _verdict(request) == "KEY_FORMAT ['request_id']"


def test_a_list_that_is_too_long_is_refused_as_such() -> None:
    with suppress(Refusal):
        validate(_request(count=2001))
        raise AssertionError("taken")
    assert _verdict(_request(count=2000)) == ""
