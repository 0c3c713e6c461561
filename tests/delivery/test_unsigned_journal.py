"""A journal that gets no signature for four hours stops what leaves by the routine lane; red goes on; all can see it."""

from datetime import timedelta
from typing import Any

import pytest

from xinqiao.api.gateway.v1 import gateway_service_pb2 as gateway_rpc
from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao.api.referral.v1 import referral_service_pb2 as rpc
from xinqiao.store import tables


@pytest.fixture
def unsigned(fresh_town: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A town whose signer stands idle, as with a key file on a disk that is gone."""
    monkeypatch.setattr(fresh_town.gate.gateway.checkpointer, "_page", _gone)
    return fresh_town


def _gone(*_: object) -> list[object]:
    raise OSError("the key's disk is gone")


def deliver(town: Any, lane: int) -> bool:
    """A step of a worker, and no tick of the signer."""
    return bool(town.gate.gateway.delivery.deliver_one(lane, "worker"))


def problems(town: Any) -> list[Any]:
    return list(town.call(town.OPERATOR, gateway_rpc.GetStatusRequest()).problems)


def refer(town: Any, **words: Any) -> str:
    local = town.student()
    town.consent(local)
    return str(town.refer(local, **words).referral.name)


def red(town: Any) -> str:
    return refer(town, basis="life-safety", urgency=ref.URGENCY_EMERGENCY, crisis_facts="facts")


def test_the_routine_lane_stops_after_four_hours_and_the_crisis_lane_does_not(unsigned: Any) -> None:
    town = unsigned
    routine = refer(town)
    town.clock.advance(timedelta(hours=3, minutes=59))
    assert deliver(town, 1), "just in time"
    later = refer(town)
    town.clock.advance(timedelta(minutes=2))
    assert not deliver(town, 1)
    urgent = red(town)
    assert deliver(town, 2)
    arrived = [request.referral.referral.name for _, request in town.recorder.seen]
    assert arrived == [routine, urgent]
    (waiting,) = town.rows(tables.deliveries, item=later)
    assert (waiting["state"], waiting["attempt"]) == (1, 0), "it waits, it is not lost and not counted as tried"


def test_an_agency_reads_nothing_either_and_the_school_and_the_operator_go_on(unsigned: Any) -> None:
    town = unsigned
    name = refer(town)
    assert deliver(town, 1)
    mine = rpc.GetReferralRequest(name=name)
    assert town.call(town.HOSPITAL, mine).referral.name == name
    town.clock.advance(timedelta(hours=5))
    assert town.refusal(town.HOSPITAL, mine) == "UNAVAILABLE/JOURNAL_UNSIGNED"
    assert town.call(town.PSYCH, mine).referral.name == name
    assert town.call(town.OPERATOR, rpc.ListHoldingsRequest()).holdings
    town.call(town.HOSPITAL, rpc.AdvanceReferralRequest(name=name, event=ref.REFERRAL_EVENT_ACCEPT))


def test_it_goes_on_with_the_next_signature(unsigned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    town = unsigned
    refer(town)
    town.clock.advance(timedelta(hours=5))
    assert not deliver(town, 1)
    monkeypatch.undo()
    town.gate.gateway.checkpointer.tick()
    assert deliver(town, 1)
    assert problems(town) == []


def test_the_status_says_so_in_both_languages_first_as_a_warning(unsigned: Any) -> None:
    town = unsigned
    refer(town)
    assert problems(town) == []
    with pytest.raises(OSError, match="gone"):
        town.gate.gateway.checkpointer.tick()
    town.clock.advance(timedelta(minutes=30))
    (warning,) = problems(town)
    assert warning.code == "JOURNAL_UNSIGNED"
    assert warning.since_us < town.clock.now_us() - 29 * 60_000_000
    town.clock.advance(timedelta(hours=4))
    (stopped,) = problems(town)
    assert stopped.code == "ROUTINE_STOPPED"
    assert "常规外发已停止" in stopped.text_zh
    assert "危机通道照常" in stopped.text_zh
    assert "routine sending is stopped" in stopped.text_en
    assert "the crisis lane goes on" in stopped.text_en
    assert "OSError" in stopped.text_zh
    assert "OSError" in stopped.text_en


def test_a_gateway_whose_journal_cannot_be_signed_still_stops_in_order(
    make_town: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_town() as town:
        refer(town)
        gateway = town.gate.gateway
        monkeypatch.setattr(gateway.checkpointer, "_page", _gone)
        with pytest.raises(OSError, match="gone"):
            town.gate.stop()
        monkeypatch.undo()
        town.gate._gateway = None
        town.gate.start(listen=False, work=False)  # the store was closed: its locks are free again


def test_checkpoints_ride_along_and_what_comes_back_makes_the_partner_a_witness(
    fresh_town: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = fresh_town
    refer(town)
    town.gate.gateway.checkpointer.run_once()
    handle = town.gate.gateway.host.agencies[town.HOSPITAL]
    deliver_whole = handle.deliver

    def echo(request: Any) -> Any:
        answer = deliver_whole(request)
        answer.checkpoints.extend([*request.checkpoints, "a note that nobody sent"])
        return answer

    monkeypatch.setattr(handle, "deliver", echo)
    assert deliver(town, 1)
    ((_, request),) = town.recorder.seen
    sent = list(request.checkpoints)
    assert sent == list(town.gate.gateway.checkpointer.notes)
    assert sent[0].startswith("xinqiao/")
    assert [row["note"] for row in town.rows(tables.witnesses, partner=town.HOSPITAL)] == sent


def test_a_partner_that_gives_nothing_back_is_no_witness(fresh_town: Any) -> None:
    refer(fresh_town)
    fresh_town.gate.gateway.checkpointer.run_once()
    assert deliver(fresh_town, 1)
    assert fresh_town.rows(tables.witnesses) == []
