"""Recording a partner's traffic: on an operator's word, for a reason, on record before the first byte, and ended."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from xinqiao.api.gateway.v1 import gateway_service_pb2 as rpc


@pytest.fixture
def town(make_town: Callable[..., Any]) -> Iterator[Any]:
    with make_town(listen=False) as made:
        yield made


def asked(town: Any, **words: Any) -> rpc.RecordTrafficRequest:
    return rpc.RecordTrafficRequest(**({"agency": town.HOSPITAL, "minutes": 1, "reason": "REPAIR:ticket-1"} | words))


def rows(town: Any) -> list[tuple[str, str, str, str]]:
    found = [row for row in town.journal() if str(row["kind"]).startswith("adapter.record")]
    return [(row["kind"], row["actor"], row["resource"], row["reason"]) for row in found]


def test_it_begins_on_record_and_ends_on_record(town: Any) -> None:
    tape = town.gate.gateway.host.agencies[town.HOSPITAL].workers.tape
    answer = town.call(town.OPERATOR, asked(town))
    path = town.gate.folder / "recordings" / answer.file
    assert tape.running and json.loads(path.read_text())["recording"] == 1
    assert path.stat().st_mode & 0o077 == path.parent.stat().st_mode & 0o077 == 0
    where = f"agencies/{town.HOSPITAL}"
    assert rows(town) == [("adapter.recording", town.OPERATOR, where, "REPAIR:ticket-1 minutes:1 kB:1024")]
    town.call(town.OPERATOR, asked(town, minutes=0))
    assert not tape.running and rows(town)[1][3] == "REPAIR:ticket-1 ended"


def test_it_does_not_run_where_it_could_not_be_put_on_record(town: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tape = town.gate.gateway.host.agencies[town.HOSPITAL].workers.tape

    def full(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(town.gate.gateway.store, "run", full)
    with pytest.raises(OSError):
        town.call(town.OPERATOR, asked(town))
    assert not tape.running and not (town.gate.folder / "recordings").exists()


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        ({"agency": "nobody"}, "NOT_FOUND/AGENCY"),
        ({"minutes": 121}, "INVALID_ARGUMENT/"),
        ({"kilobytes": 16385}, "INVALID_ARGUMENT/"),
        ({"reason": "because"}, "INVALID_ARGUMENT/"),
    ],
)
def test_what_it_refuses(town: Any, words: dict[str, Any], refusal: str) -> None:
    assert town.refusal(town.OPERATOR, asked(town, **words)).startswith(refusal)


def test_only_an_operator_and_not_for_an_adapter_in_a_process_of_its_own(town: Any) -> None:
    assert town.refusal(town.HOSPITAL, asked(town)).startswith("PERMISSION_DENIED")
    object.__setattr__(town.gate.gateway.host.agencies[town.HOSPITAL], "isolation", "process")
    assert town.refusal(town.OPERATOR, asked(town)) == "FAILED_PRECONDITION/ISOLATED"


def test_a_repeat_records_nothing_more(town: Any) -> None:
    town.call(town.OPERATOR, asked(town, request_id="record-0001"))
    assert town.refusal(town.OPERATOR, asked(town, request_id="record-0001")) == "ALREADY_EXISTS/RECORDING"
