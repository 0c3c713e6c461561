"""Calls to an agency: gate, breaker, bulkhead, deadline and types, whatever the plugin does."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from xinqiao.adapters.agency import AgencyHandle, AgencySpec
from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.adapters.host import AdapterHost
from xinqiao.adapters.manifest import Manifest, load_manifest
from xinqiao.adapters.protocols import AdapterKind
from xinqiao.api.adapter.v1 import adapter_service_pb2 as adapter
from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.common.v1.types_pb2 import Student
from xinqiao.api.exchange.v1.exchange_pb2 import Package
from xinqiao.api.gateway.v1 import gateway_service_pb2 as gateway
from xinqiao.api.referral.v1.referral_pb2 import Referral, ReferralPackage
from xinqiao.contract.clock import ManualClock

ITEM = adapter.ReadResponse(cursor="1", referral=adapter.ReferralUpdate(source="s"))


class Settings(BaseModel):
    pass


class Partner:
    """An adapter that does what the test puts into it."""

    def __init__(self) -> None:
        self.on_deliver: Callable[[adapter.DeliverRequest], Any] = lambda _: adapter.DeliverResponse(receipt="r")
        self.on_read: Callable[[str], Any] = lambda _: iter([ITEM])
        self.on_check: Callable[[], Any] = lambda: "demo 1"
        self.on_exchange: Callable[[], Any] = lambda: None
        self.calls = 0
        self.told_s = 0.0
        self.closed = False

    def check(self) -> Any:
        return self.on_check()

    def deliver(self, request: adapter.DeliverRequest, timeout_s: float) -> Any:
        self.calls += 1
        self.told_s = timeout_s
        return self.on_deliver(request)

    def read(self, cursor: str) -> Any:
        return self.on_read(cursor)

    def exchange(self, package: Package, request_id: str, timeout_s: float) -> Any:
        return self.on_exchange()

    def close(self) -> None:
        self.closed = True


class World:
    """A host with as many agencies as the test wants, and a clock moved by hand for the breakers."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.clock = ManualClock(datetime(2026, 10, 1, tzinfo=UTC))
        self.partners: dict[str, Partner] = {}
        self.release = threading.Event()
        self._folder = folder
        kind = AdapterKind("demo", Settings, self._create, lambda _: [], self._none)
        self.host = AdapterHost({"demo": kind}, {"demo": manifest}, {})

    def start(self, *agencies: str, deadline_s: float = 5.0, **more: Any) -> list[AgencyHandle]:
        specs = {a: AgencySpec(a, {}, "demo", {}, deadline_s=deadline_s, **more) for a in agencies}
        handles = self.host.start(specs, deployment="test", folder=self._folder, clock=self.clock)
        return [handles[a] for a in agencies]

    def hang(self, *_: object) -> Any:
        self.release.wait(20)
        return adapter.DeliverResponse(receipt="late")

    def _none(self, folder: Path) -> Any:
        return None

    def _create(self, settings: Any, context: Any) -> Partner:
        return self.partners.setdefault(context.agency, Partner())


@pytest.fixture
def world(tmp_path: Path, manifest_text: Callable[[str], str]) -> Iterator[World]:
    (tmp_path / "manifest.yaml").write_text(manifest_text("demo").replace("settings:", "#"), "utf-8")
    world = World(tmp_path / "data", load_manifest(tmp_path / "manifest.yaml"))
    yield world
    world.release.set()
    world.host.close()


def referral(lane: Any = options.LANE_ROUTINE) -> adapter.DeliverRequest:
    return adapter.DeliverRequest(request_id="request-1", lane=lane, attempt=1, referral=ReferralPackage())


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def in_background(work: Callable[[], object]) -> threading.Thread:
    def run() -> None:
        try:
            work()
        except (PartnerUnavailable, PartnerRefused):
            return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_a_delivery_reaches_the_partner_with_less_than_the_deadline(world: World) -> None:
    [handle] = world.start("a")
    assert handle.deliver(referral()).receipt == "r"
    assert 0 < world.partners["a"].told_s < 5.0


def test_a_plugin_cannot_change_the_request_of_the_next_try(world: World) -> None:
    [handle] = world.start("a")

    def change(request: adapter.DeliverRequest) -> adapter.DeliverResponse:
        request.request_id = "changed-1"
        return adapter.DeliverResponse()

    world.partners["a"].on_deliver = change
    request = referral()
    handle.deliver(request)
    assert request.request_id == "request-1"


def test_a_hanging_call_ends_at_the_deadline(world: World) -> None:
    [handle] = world.start("a", deadline_s=0.1)
    world.partners["a"].on_deliver = world.hang
    begin = time.monotonic()
    with pytest.raises(PartnerUnavailable, match="deadline"):
        handle.deliver(referral())
    assert (time.monotonic() - begin < 2, handle.workers.hung) == (True, 1)


def test_hung_threads_fail_their_agency_until_they_return_and_leave_others_alone(world: World) -> None:
    a, b = world.start("a", "b", deadline_s=0.1)
    world.partners["a"].on_deliver = world.hang
    for _ in range(2):
        with pytest.raises(PartnerUnavailable, match="deadline"):
            a.deliver(referral())
    assert a.state == gateway.AGENCY_STATE_FAILED
    assert "2 calls hang" in a.message
    with pytest.raises(PartnerUnavailable, match="hang"):
        a.deliver(referral())
    assert b.state == gateway.AGENCY_STATE_READY
    assert b.deliver(referral()).receipt == "r"
    world.release.set()
    until(lambda: a.workers.hung == 0)
    assert a.state == gateway.AGENCY_STATE_RETRYING
    assert a.check() == "demo 1"
    assert a.state == gateway.AGENCY_STATE_READY


def test_a_crisis_call_still_gets_its_reserved_slot_when_all_others_hang(world: World) -> None:
    [handle] = world.start("a", deadline_s=0.1)
    world.partners["a"].on_deliver = world.hang
    for _ in range(2):
        with pytest.raises(PartnerUnavailable):
            handle.deliver(referral())
    world.partners["a"].on_deliver = lambda _: adapter.DeliverResponse(receipt="saved")
    assert handle.deliver(referral(options.LANE_CRISIS)).receipt == "saved"


def test_the_bulkhead_refuses_what_exceeds_it_without_asking_the_partner(world: World) -> None:
    [handle] = world.start("a", concurrency=1)
    partner = world.partners["a"]
    partner.on_deliver = world.hang
    first = in_background(lambda: handle.deliver(referral()))
    until(lambda: partner.calls == 1)
    with pytest.raises(PartnerUnavailable, match="busy") as busy:
        handle.deliver(referral())
    assert busy.value.retry_after_s == 1.0
    crisis = in_background(lambda: handle.deliver(referral(options.LANE_CRISIS)))
    until(lambda: partner.calls == 2)
    with pytest.raises(PartnerUnavailable, match="busy"):
        handle.deliver(referral(options.LANE_CRISIS))
    assert handle.state == gateway.AGENCY_STATE_READY
    world.release.set()
    first.join(5)
    crisis.join(5)
    partner.on_deliver = lambda _: adapter.DeliverResponse(receipt="free again")
    assert handle.deliver(referral()).receipt == "free again"


def test_the_breaker_spares_a_partner_that_is_down_and_finds_out_when_it_is_back(world: World) -> None:
    [handle] = world.start("a", breaker_failures=2, breaker_reset_s=60)
    partner = world.partners["a"]

    def down(_: adapter.DeliverRequest) -> adapter.DeliverResponse:
        raise PartnerUnavailable("no route", 7)

    partner.on_deliver = down
    for _ in range(2):
        with pytest.raises(PartnerUnavailable, match="no route"):
            handle.deliver(referral())
    assert handle.state == gateway.AGENCY_STATE_RETRYING
    with pytest.raises(PartnerUnavailable, match="left alone") as spared:
        handle.deliver(referral())
    assert partner.calls == 2
    assert spared.value.retry_after_s == 60.0
    world.clock.advance(timedelta(seconds=6))
    with pytest.raises(PartnerUnavailable, match="no route"):
        handle.deliver(referral(options.LANE_CRISIS))
    partner.on_deliver = lambda _: adapter.DeliverResponse(receipt="back")
    world.clock.advance(timedelta(seconds=60))
    assert handle.deliver(referral()).receipt == "back"
    assert handle.state == gateway.AGENCY_STATE_READY


def test_what_was_pushed_is_read_while_the_partner_is_down_and_says_nothing_about_it(world: World) -> None:
    [handle] = world.start("a", breaker_failures=2, breaker_reset_s=60)
    partner = world.partners["a"]
    partner.reads_spool_only = True  # type: ignore[attr-defined]

    def down(_: adapter.DeliverRequest) -> adapter.DeliverResponse:
        raise PartnerUnavailable("no route")

    partner.on_deliver = down
    for _ in range(2):
        with pytest.raises(PartnerUnavailable):
            handle.deliver(referral())
        assert len(list(handle.read(""))) == 1
    assert handle.state == gateway.AGENCY_STATE_RETRYING
    with pytest.raises(PartnerUnavailable, match="left alone"):
        handle.deliver(referral())


def test_a_refusal_or_a_rejected_record_is_an_answer_and_keeps_the_breaker_closed(world: World) -> None:
    [handle] = world.start("a", breaker_failures=1)

    def reject(_: adapter.DeliverRequest) -> adapter.DeliverResponse:
        raise RecordRejected("DATA/NUMBER", "not a number", "PID-3")

    def refuse(_: adapter.DeliverRequest) -> adapter.DeliverResponse:
        raise PartnerRefused("PARTNER/FORBIDDEN", "403")

    world.partners["a"].on_deliver = reject
    with pytest.raises(RecordRejected):
        handle.deliver(referral())
    world.partners["a"].on_deliver = refuse
    with pytest.raises(PartnerRefused):
        handle.deliver(referral())
    assert handle.state == gateway.AGENCY_STATE_READY
    assert handle.message == "the last call was refused: PARTNER/FORBIDDEN"


@pytest.mark.parametrize("value", [None, "receipt", {"receipt": "r"}, adapter.ReadResponse()])
def test_a_wrong_type_is_refused(world: World, value: object) -> None:
    [handle] = world.start("a")
    world.partners["a"].on_deliver = lambda _: value
    with pytest.raises(PartnerRefused, match="ADAPTER/WRONG_TYPE"):
        handle.deliver(referral())


def test_wrong_types_of_check_and_exchange_are_refused_and_none_is_a_fine_exchange(world: World) -> None:
    [handle] = world.start("a")
    assert handle.exchange(Package(), "request-1") is None
    world.partners["a"].on_exchange = lambda: "receipt"
    world.partners["a"].on_check = lambda: 7
    with pytest.raises(PartnerRefused, match="exchange returned"):
        handle.exchange(Package(), "request-1")
    with pytest.raises(PartnerRefused, match="check returned"):
        handle.check()


@pytest.mark.parametrize("error", [KeyError("王小明"), SystemExit("王小明"), RecursionError("王小明")])
def test_an_unexpected_exception_says_nothing_of_its_text(
    world: World, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    [handle] = world.start("a")

    def break_(_: adapter.DeliverRequest) -> adapter.DeliverResponse:
        raise error

    world.partners["a"].on_deliver = break_
    with caplog.at_level(logging.DEBUG), pytest.raises(PartnerRefused) as refused:
        handle.deliver(referral())
    assert refused.value.reason == "ADAPTER/BROKEN"
    assert type(error).__name__ in caplog.text
    assert refused.value.message.split("look for ")[1].split()[0] in caplog.text
    assert "王小明" not in caplog.text + str(refused.value) + handle.message
    assert refused.value.__context__ is None


def test_a_partners_error_loses_the_causes_that_could_hold_values(world: World) -> None:
    [handle] = world.start("a")

    def down(_: adapter.DeliverRequest) -> adapter.DeliverResponse:
        raise PartnerUnavailable("later") from ValueError("王小明")

    world.partners["a"].on_deliver = down
    with pytest.raises(PartnerUnavailable) as error:
        handle.deliver(referral())
    assert (error.value.__cause__, error.value.__context__) == (None, None)


def test_an_undeclared_contract_is_neither_given_nor_taken(world: World) -> None:
    [handle] = world.start("a")
    with pytest.raises(PartnerRefused, match="ADAPTER/NOT_DECLARED"):
        handle.deliver(adapter.DeliverRequest(request_id="request-1", referral_update=Referral()))
    assert world.partners["a"].calls == 0
    world.partners["a"].on_read = lambda _: iter([adapter.ReadResponse(student=Student())])
    with pytest.raises(PartnerRefused, match="ADAPTER/NOT_DECLARED"):
        list(handle.read(""))


def test_the_declared_classes_are_those_of_the_manifest(world: World) -> None:
    [handle] = world.start("a")
    declared = {options.FIELD_CLASS_CASE_REF, options.FIELD_CLASS_IDENTITY, options.FIELD_CLASS_CONTACT}
    assert handle.declared_classes("referral") == declared
    assert handle.declared_classes("referral_update") == frozenset()


def test_a_paused_agency_is_in_maintenance_and_its_calls_wait(world: World) -> None:
    [handle] = world.start("a")
    handle.pause()
    assert handle.state == gateway.AGENCY_STATE_MAINTENANCE
    with pytest.raises(PartnerUnavailable, match="paused"):
        handle.check()
    handle.resume()
    assert handle.check() == "demo 1"


def test_reading_yields_all_in_order(world: World) -> None:
    [handle] = world.start("a")
    world.partners["a"].on_read = lambda _: (
        adapter.ReadResponse(cursor=str(i), rejected=adapter.Rejected(source="f")) for i in range(300)
    )
    assert [item.cursor for item in handle.read("")] == [str(i) for i in range(300)]


def test_a_source_is_never_more_than_the_queue_ahead_and_stops_with_its_reader(world: World) -> None:
    [handle] = world.start("a", concurrency=1)
    made: list[int] = []
    ended = threading.Event()

    def endless(_: str) -> Iterator[adapter.ReadResponse]:
        try:
            while True:
                made.append(1)
                yield ITEM
        finally:
            ended.set()

    world.partners["a"].on_read = endless
    reading = handle.read("")
    next(reading)
    time.sleep(0.1)
    assert len(made) <= 1 + 64 + 1
    reading.close()
    assert ended.is_set()
    assert handle.check() == "demo 1"


def test_items_before_a_failure_arrive_and_then_the_failure(world: World) -> None:
    [handle] = world.start("a")

    def broken_off(_: str) -> Iterator[adapter.ReadResponse]:
        yield ITEM
        raise PartnerUnavailable("gone")

    world.partners["a"].on_read = broken_off
    reading = handle.read("")
    assert next(reading).cursor == "1"
    with pytest.raises(PartnerUnavailable, match="gone"):
        next(reading)


@pytest.mark.parametrize("item", [None, "x", adapter.DeliverResponse()])
def test_a_source_that_yields_a_wrong_type_is_refused(world: World, item: object) -> None:
    [handle] = world.start("a")
    world.partners["a"].on_read = lambda _: iter([item])
    with pytest.raises(PartnerRefused, match="ADAPTER/WRONG_TYPE"):
        list(handle.read(""))


def test_a_source_that_hangs_ends_at_the_deadline_and_is_counted_until_it_returns(world: World) -> None:
    [handle] = world.start("a", deadline_s=0.1, concurrency=1)

    def hanging(_: str) -> Iterator[adapter.ReadResponse]:
        yield ITEM
        world.release.wait(20)

    world.partners["a"].on_read = hanging
    reading = handle.read("")
    next(reading)
    with pytest.raises(PartnerUnavailable, match="deadline"):
        next(reading)
    assert handle.state == gateway.AGENCY_STATE_FAILED
    world.release.set()
    until(lambda: handle.workers.hung == 0)


def test_closing_the_host_closes_every_adapter_even_when_its_slots_hang(world: World) -> None:
    a, b = world.start("a", "b", deadline_s=0.1, concurrency=1)
    world.partners["a"].on_deliver = world.hang
    with pytest.raises(PartnerUnavailable):
        a.deliver(referral())
    world.host.close()
    assert world.partners["a"].closed
    assert world.partners["b"].closed
    with pytest.raises(PartnerUnavailable, match="stopping"):
        b.check()


def test_what_was_pushed_is_handed_on_while_the_breaker_is_open_and_does_not_close_it(world: World) -> None:
    [handle] = world.start("a", breaker_failures=1, breaker_reset_s=600.0)
    partner: Any = world.partners["a"]
    partner.on_read = partner.fail = _down
    with pytest.raises(PartnerUnavailable):
        list(handle.read(""))
    asked: list[str] = []
    partner.pushed = lambda cursor: iter([adapter.ReadResponse(cursor="p1", referral=adapter.ReferralUpdate())])
    partner.on_read = asked.append
    items = handle.read("")
    assert next(items).cursor == "p1"
    with pytest.raises(PartnerUnavailable):
        next(items)
    assert asked == []


def _down(*_: object) -> Any:
    raise PartnerUnavailable("down")
