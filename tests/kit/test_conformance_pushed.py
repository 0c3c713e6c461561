"""The suite and a partner that pushes: what it is told at the door counts, is judged as strictly, and a signal is no update."""

from collections.abc import Callable
from typing import Any

import pytest

from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse
from xinqiao.testing.conformance import Outcome, Subject, run_case
from xinqiao_police import desk, pushes
from xinqiao_police.simulator import Centre110

POLICE = Subject("police")
NAME = "欧阳小雨"


def outcome(case: str) -> Outcome:
    return run_case(POLICE, case)


def answers(**changed: str) -> Callable[..., desk.Reply]:
    """The door's refusal with other words in it."""

    def refused(status: int, reason: str, place: str, message: str, **more: Any) -> desk.Reply:
        return desk.Reply(status, {"error": {"reason": reason, "place": place, "message": message, **changed}})

    return refused


@pytest.mark.parametrize("case", ["reads", "wrong_code", "partner_repeats", "silence"])
def test_a_partner_that_pushes_signals_can_pass(case: str):
    assert outcome(case).result == "passed", outcome(case)


def test_it_sees_that_a_partner_is_told_nothing_of_its_wrong_code(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Centre110, "refusals", lambda self: [])
    assert "silently left out" in outcome("wrong_code").text


@pytest.mark.parametrize("word", ["reason", "place", "message"])
def test_it_sees_a_refusal_at_the_door_that_helps_nobody(monkeypatch: pytest.MonkeyPatch, word: str):
    monkeypatch.setattr(desk, "refused", answers(**{word: ""}))
    assert "needs reason, place and how to mend it" in outcome("wrong_code").text


def test_it_sees_a_door_that_takes_nothing_more_after_a_wrong_code(monkeypatch: pytest.MonkeyPatch):
    def only_the_wrong_one(centre: Centre110, count: int) -> None:
        centre.alert("J-0", facts="x", source="CODE_OF_ANOTHER_TABLE")

    monkeypatch.setattr(Centre110, "bring", only_the_wrong_one)
    assert "held up all others" in outcome("wrong_code").text


def test_it_sees_a_name_in_what_the_partner_is_told_at_the_door(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(desk, "refused", answers(message=f"{NAME} was not expected here"))
    assert outcome("silence").result == "failed"


def test_it_sees_one_source_for_two_steps_beside_signals(monkeypatch: pytest.MonkeyPatch):
    brought = pushes.brought
    monkeypatch.setattr(pushes, "brought", lambda *given, source: brought(*given, source="same"))
    assert "one source id stands for two contents" in outcome("partner_repeats").text


def test_it_sees_a_signal_that_the_gateway_would_not_take(monkeypatch: pytest.MonkeyPatch):
    brought = pushes.brought

    def without_facts(*given: Any, source: str) -> ReadResponse:
        made = brought(*given, source=source)
        made.signal.ClearField("facts") if made.HasField("signal") else None
        return made

    monkeypatch.setattr(pushes, "brought", without_facts)
    assert "signal.facts" in outcome("reads").text
