"""Deliveries that cannot be read, do not arrive, or are finished twice: none blocks a lane, none lies with nobody."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.api.casefile.v1 import casefile_service_pb2 as case_rpc
from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao.api.referral.v1 import referral_service_pb2 as ref_rpc
from xinqiao.store import tables
from xinqiao.store.claims import DeliveryState, claim

LEASE = timedelta(seconds=61)


def referred(town: Any, **words: Any) -> tuple[str, str]:
    """A student and a referral of theirs that waits in its lane."""
    local = town.student()
    town.consent(local)
    return local, town.refer(local, **words).referral.name


def red(town: Any) -> tuple[str, str]:
    return referred(town, basis="life-safety", urgency=ref.URGENCY_EMERGENCY, crisis_facts="facts")


def delivery(town: Any, item: str, kind: str = "referral") -> Any:
    """The newest delivery of a referral."""
    return max(town.rows(tables.deliveries, item=item, kind=kind), key=lambda row: row["created_us"])


def holders(town: Any, item: str) -> list[str]:
    return [str(row["holder"]) for row in town.rows(tables.holdings, item=item)]


def open_of_case(town: Any, local: str) -> list[str]:
    """What is still held of a case. Its signals close with their triage, and whom to tell is a duty, not the case."""
    items = [str(row["item"]) for row in town.rows(tables.holdings, student=town.inside_id(local))]
    return [item for item in items if not item.startswith(("signals/", "duties/"))]


def state(town: Any, name: str) -> int:
    return int(town.rows(tables.referrals, id=name.removeprefix("referrals/"))[0]["state"])


def write(town: Any, table: Any, identifier: str, **values: object) -> None:
    town.gate.gateway.store.run(lambda tx: tx.update(table, (identifier,), **values))


def shred(town: Any, local: str) -> None:
    town.gate.gateway.door.keys.shred(town.inside_id(local))


# -- unreadable -------------------------------------------------------------------------------------------------------


def test_a_payload_whose_seal_is_broken_is_a_dead_letter_with_a_holder_and_the_next_one_goes_out(fresh_town):
    town = fresh_town
    _, broken = referred(town)
    _, sound = referred(town)
    write(town, tables.deliveries, delivery(town, broken)["id"], payload=b"altered")
    town.deliver_all()
    row = delivery(town, broken)
    assert (DeliveryState(row["state"]), row["last_reason"]) == (DeliveryState.DEAD, "SEAL_BROKEN")
    assert holders(town, f"deliveries/{row['id']}") == [town.OPERATOR]
    assert DeliveryState(delivery(town, sound)["state"]) == DeliveryState.DELIVERED
    assert (state(town, broken), holders(town, broken)) == (ref.REFERRAL_STATE_TIMED_OUT, [town.PSYCH])


def test_a_delivery_whose_referral_is_broken_as_well_is_buried_all_the_same(fresh_town):
    town = fresh_town
    _, broken = referred(town)
    _, sound = referred(town)
    write(town, tables.deliveries, delivery(town, broken)["id"], payload=b"altered")
    write(town, tables.referrals, broken.removeprefix("referrals/"), sealed=b"altered")
    town.deliver_all()
    assert DeliveryState(delivery(town, broken)["state"]) == DeliveryState.DEAD
    assert DeliveryState(delivery(town, sound)["state"]) == DeliveryState.DELIVERED
    assert (state(town, broken), holders(town, broken)) == (ref.REFERRAL_STATE_TIMED_OUT, [town.PSYCH])


@pytest.mark.parametrize("kind", ["a_kind_of_tomorrow", "referral"])
def test_a_payload_of_another_version_is_a_dead_letter_and_the_next_one_goes_out(fresh_town, kind):
    town = fresh_town
    local, strange = referred(town)
    _, sound = referred(town)
    identifier = str(delivery(town, strange)["id"])
    sealer = town.gate.gateway.door.keys.sealer(town.inside_id(local))
    payload = sealer.seal(b"\xff\xff", table="deliveries", key=identifier)
    write(town, tables.deliveries, identifier, kind=kind, payload=payload)
    town.deliver_all()
    row = town.rows(tables.deliveries, id=identifier)[0]
    assert (DeliveryState(row["state"]), row["last_reason"]) == (DeliveryState.DEAD, "UNREADABLE")
    assert holders(town, f"deliveries/{identifier}") == [town.OPERATOR]
    assert DeliveryState(delivery(town, sound)["state"]) == DeliveryState.DELIVERED


def test_what_belongs_to_an_erased_student_is_cancelled_and_the_next_one_goes_out(fresh_town):
    town = fresh_town
    local, erased = referred(town)
    _, sound = referred(town)
    shred(town, local)
    town.deliver_all()
    row = delivery(town, erased)
    assert (DeliveryState(row["state"]), row["last_reason"]) == (DeliveryState.CANCELLED, "SHREDDED")
    assert DeliveryState(delivery(town, sound)["state"]) == DeliveryState.DELIVERED
    assert holders(town, erased) == [town.PSYCH]


def test_a_referral_that_broke_under_way_does_not_keep_its_receipt_from_being_written(fresh_town):
    town = fresh_town
    _, name = referred(town)
    write(town, tables.referrals, name.removeprefix("referrals/"), sealed=b"altered")
    town.deliver_all()
    assert DeliveryState(delivery(town, name)["state"]) == DeliveryState.DELIVERED
    assert len(town.recorder.seen) == 1
    assert holders(town, name) == [town.HOSPITAL]


def test_only_the_delivery_that_failed_is_set_aside_although_two_workers_met_it(fresh_town, monkeypatch):
    town = fresh_town
    _, broken = red(town)
    _, sound = red(town)
    desk, met = town.gate.gateway.delivery, threading.Barrier(2)
    run, opened = desk._store.run, desk._open

    def fail(tx: Any, row: Any, owner: str) -> Any:
        if row["item"] == broken:
            raise KeyError("a bug")
        return opened(tx, row, owner)

    def together(command: Callable[[Any], Any], *, crisis: bool = False) -> Any:
        try:
            return run(command, crisis=crisis)
        except KeyError:
            met.wait(10)
            raise

    monkeypatch.setattr(desk, "_open", fail)
    monkeypatch.setattr(desk._store, "run", together)
    workers = [threading.Thread(target=desk.deliver_one, args=(2, f"worker-{n}")) for n in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(10)
    assert delivery(town, broken)["last_reason"] == "BROKEN"
    assert (delivery(town, sound)["attempt"], delivery(town, sound)["last_reason"]) == (0, "")
    assert town.deliver(2)
    assert DeliveryState(delivery(town, sound)["state"]) == DeliveryState.DELIVERED


# -- red --------------------------------------------------------------------------------------------------------------


def test_a_red_delivery_is_tried_for_as_long_as_it_takes_and_a_person_is_told_after_three_tries(fresh_town):
    town = fresh_town
    _, name = red(town)
    town.recorder.down = True
    told: list[int] = []
    for _ in range(25):
        assert town.deliver(2) is True
        town.clock.advance(timedelta(minutes=1))
        row = delivery(town, name)
        assert DeliveryState(row["state"]) == DeliveryState.PENDING
        told.append(len(holders(town, f"deliveries/{row['id']}")))
    assert told == [0, 0] + [1] * 23
    assert holders(town, f"deliveries/{delivery(town, name)['id']}") == [town.OPERATOR]
    assert delivery(town, name)["attempt"] == 25 > town.gate.gateway.settings.delivery.max_attempts
    town.recorder.down = False
    assert town.deliver(2) is True
    assert DeliveryState(delivery(town, name)["state"]) == DeliveryState.DELIVERED
    assert holders(town, f"deliveries/{delivery(town, name)['id']}") == []


def test_a_red_delivery_that_a_person_was_told_of_is_off_their_desk_once_it_may_no_longer_go(fresh_town):
    town = fresh_town
    local = town.student()
    consent = town.consent(local)
    name = town.refer(local, urgency=ref.URGENCY_EMERGENCY, crisis_facts="facts").referral.name
    town.recorder.down = True
    for _ in range(3):
        town.deliver(2)
        town.clock.advance(timedelta(minutes=1))
    item = f"deliveries/{delivery(town, name)['id']}"
    assert holders(town, item) == [town.OPERATOR]
    town.consent(local, state=5)
    town.deliver(2)
    assert DeliveryState(delivery(town, name)["state"]) == DeliveryState.CANCELLED
    assert holders(town, item) == []
    assert (consent.state, holders(town, name)) == (1, [town.PSYCH])


# -- updates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["broken", "refused", "erased"])
def test_a_lost_update_says_nothing_about_whether_its_referral_arrived(fresh_town, how):
    town = fresh_town
    local, name = referred(town)
    town.advance(town.PSYCH, name, ref.REFERRAL_EVENT_HOLD)
    town.advance(town.PSYCH, name, ref.REFERRAL_EVENT_RESUME)
    before, held = state(town, name), holders(town, name)
    assert (before, held) == (ref.REFERRAL_STATE_SENT, [town.HOSPITAL])
    if how == "broken":
        for row in town.rows(tables.deliveries, item=name, kind="referral_update"):
            write(town, tables.deliveries, row["id"], payload=b"altered")
    write(town, tables.deliveries, delivery(town, name)["id"], state=int(DeliveryState.DELIVERED), payload=None)
    if how == "erased":
        shred(town, local)
    if how == "refused":
        town.recorder.before = raiser(PartnerRefused("NO", "no"))
    town.deliver_all()
    assert delivery(town, name, "referral_update")["state"] in (DeliveryState.DEAD, DeliveryState.CANCELLED)
    assert (state(town, name), holders(town, name)) == (before, held)


def raiser(error: Exception) -> Callable[[DeliverRequest], None]:
    def act(request: DeliverRequest) -> None:
        raise error

    return act


# -- sent again -------------------------------------------------------------------------------------------------------


def declined(town: Any) -> str:
    _, name = referred(town)
    town.deliver_all()
    town.advance(town.HOSPITAL, name, ref.REFERRAL_EVENT_DECLINE, reason_code="duplicate")
    return name


def timed_out(town: Any) -> str:
    _, name = referred(town)
    town.recorder.before = raiser(PartnerRefused("NO", "no"))
    town.deliver_all()
    town.recorder.before = None
    return name


@pytest.mark.parametrize("before", [declined, timed_out])
def test_a_referral_sent_again_goes_out_again_under_its_own_key(fresh_town, before):
    town = fresh_town
    name = before(town)
    first = delivery(town, name)
    town.recorder.seen.clear()
    town.advance(town.PSYCH, name, ref.REFERRAL_EVENT_SEND)
    town.deliver_all()
    again = delivery(town, name)
    assert DeliveryState(again["state"]) == DeliveryState.DELIVERED
    assert again["id"] != first["id"]
    assert again["idempotency_key"] != first["idempotency_key"]
    sent = [(agency, request.request_id) for agency, request in town.recorder.seen if request.HasField("referral")]
    assert sent == [(town.HOSPITAL, again["idempotency_key"])]
    assert (state(town, name), holders(town, name)) == (ref.REFERRAL_STATE_RECEIVED, [town.HOSPITAL])


# -- withdrawn without an outcome -------------------------------------------------------------------------------------


def test_a_case_whose_referral_is_cancelled_without_an_outcome_is_held_by_its_school(fresh_town):
    town = fresh_town
    local = town.student()
    town.consent(local)
    triage = town.confirmed(local)
    name = town.refer(local, triage=triage).referral.name
    assert holders(town, triage) == []
    town.advance(town.HOSPITAL, name, ref.REFERRAL_EVENT_DECLINE, reason_code="duplicate")
    town.advance(town.PSYCH, name, ref.REFERRAL_EVENT_CANCEL)
    assert (holders(town, name), holders(town, triage)) == ([], [town.PSYCH])
    held = town.rows(tables.holdings, item=triage)[0]
    assert held["tier"] == 4
    assert held["deadline_us"] > town.clock.now_us()


def test_a_case_that_is_closed_with_its_outcome_is_held_by_nobody(fresh_town):
    town = fresh_town
    local, name = referred(town)
    town.advance(town.HOSPITAL, name, ref.REFERRAL_EVENT_ACCEPT)
    town.call(town.HOSPITAL, ref_rpc.ReportOutcomeRequest(name=name, outcome={"school_advice": "rest"}))
    town.advance(town.PSYCH, name, ref.REFERRAL_EVENT_CLOSE)
    assert open_of_case(town, local) == []


def test_telling_a_guardian_is_still_owed_when_the_case_is_closed_and_held_until_it_is_done(fresh_town):
    town = fresh_town
    local, name = referred(town)
    town.advance(town.HOSPITAL, name, ref.REFERRAL_EVENT_ACCEPT)
    town.call(town.HOSPITAL, ref_rpc.ReportOutcomeRequest(name=name, outcome={"school_advice": "rest"}))
    town.advance(town.PSYCH, name, ref.REFERRAL_EVENT_CLOSE)
    (duty,) = town.rows(tables.duties, student=town.inside_id(local), kind="tell-guardian")
    assert holders(town, f"duties/{duty['id']}") == [town.PSYCH]
    town.call(town.PSYCH, case_rpc.DischargeDutyRequest(name=f"duties/{duty['id']}", how="by telephone"))
    assert holders(town, f"duties/{duty['id']}") == []


# -- a lost lease -----------------------------------------------------------------------------------------------------


def overtaken(town: Any, lane: int, ending: Exception | None) -> Callable[[DeliverRequest], None]:
    """The partner takes so long that the lease runs out and another worker delivers meanwhile; then it ends so."""

    def act(request: DeliverRequest) -> None:
        town.recorder.before = None
        town.clock.advance(LEASE)
        assert town.deliver(lane) is True
        if ending is not None:
            raise ending

    return act


@pytest.mark.parametrize(
    "ending", [None, PartnerRefused("NO", "no"), PartnerUnavailable("down")], ids=["receipt", "no", "down"]
)
def test_a_worker_that_lost_its_lease_changes_nothing_any_more(fresh_town, ending):
    town = fresh_town
    _, name = referred(town)
    town.recorder.before = overtaken(town, 1, ending)
    assert town.deliver(1) is True
    row = delivery(town, name)
    assert (DeliveryState(row["state"]), row["attempt"], row["receipt"]) == (DeliveryState.DELIVERED, 2, "r-1")
    assert holders(town, f"deliveries/{row['id']}") == []
    assert state(town, name) == ref.REFERRAL_STATE_RECEIVED
    kinds = [r["kind"] for r in town.journal(resource=f"deliveries/{row['id']}")]
    assert sorted(kinds) == ["delivery.delivered", "released"]


@pytest.mark.parametrize(
    "ending", [None, PartnerRefused("NO", "no"), PartnerUnavailable("down")], ids=["receipt", "no", "down"]
)
def test_a_worker_that_slept_through_its_lease_leaves_the_delivery_to_whom_it_went_to(fresh_town, ending):
    town = fresh_town
    _, name = referred(town)

    def act(request: DeliverRequest) -> None:
        town.clock.advance(LEASE)
        take = lambda tx: claim(tx, lanes=[1], recipients=None, owner="heir", limit=1, lease_us=60_000_000)  # noqa: E731
        assert len(town.gate.gateway.store.run(take)) == 1
        if ending is not None:
            raise ending

    town.recorder.before = act
    town.deliver(1)
    row = delivery(town, name)
    assert (DeliveryState(row["state"]), row["owner"], row["attempt"]) == (DeliveryState.RUNNING, "heir", 2)
    assert holders(town, f"deliveries/{row['id']}") == []
    assert (state(town, name), holders(town, name)) == (ref.REFERRAL_STATE_SENT, [town.HOSPITAL])


@pytest.mark.parametrize("ending", [PartnerRefused("NO", "no"), PartnerUnavailable("down")], ids=["no", "down"])
def test_a_worker_of_red_that_lost_its_lease_opens_nothing_that_nobody_closes(fresh_town, ending):
    town = fresh_town
    _, name = red(town)
    town.recorder.down = True
    for _ in range(2):
        town.deliver(2)
        town.clock.advance(timedelta(minutes=1))
    town.recorder.down = False
    town.recorder.before = overtaken(town, 2, ending)  # the third try, after which a person would be told
    town.deliver(2)
    row = delivery(town, name)
    assert (DeliveryState(row["state"]), row["attempt"]) == (DeliveryState.DELIVERED, 4)
    assert holders(town, f"deliveries/{row['id']}") == []
