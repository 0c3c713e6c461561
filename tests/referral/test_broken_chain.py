"""An emergency that was passed on from a record nobody can read any more still goes on, and holds nobody up."""

from datetime import timedelta

from xinqiao.api.referral.v1 import referral_pb2 as pb
from xinqiao.store import tables

SECOND = "other-hospital"


def spoil(town, table, identifier, **changes):
    town.gate.gateway.store.run(lambda tx: tx.update(table, (identifier,), **changes))


def emergency(town):
    return town.refer(town.student(), urgency=pb.URGENCY_EMERGENCY, crisis_facts="on the roof").referral.name


def test_a_broken_predecessor_blocks_neither_its_successor_nor_the_crisis_lane(two_hospitals):
    town = two_hospitals
    first = emergency(town)
    town.clock.advance(timedelta(minutes=3))
    town.gate.gateway.ladder.climb()  # nobody confirmed it: on to the second hospital
    (second,) = town.rows(tables.referrals, recipient=SECOND)
    spoil(town, tables.referrals, first.partition("/")[2], sealed=b"altered")
    (delivery,) = town.rows(tables.deliveries, item=f"referrals/{second['id']}")
    spoil(town, tables.deliveries, delivery["id"], payload=b"altered")
    other = emergency(town)
    town.deliver_all()
    (held,) = town.rows(tables.holdings, item=f"referrals/{second['id']}")
    assert held["step"] == "phone"
    assert town.rows(tables.deliveries, item=other)[0]["state"] == 3, "the red case of somebody else was delivered"


def test_a_broken_predecessor_does_not_keep_a_person_from_passing_it_on(two_hospitals):
    town = two_hospitals
    first = emergency(town)
    town.deliver_all()
    town.advance(town.HOSPITAL, first, pb.REFERRAL_EVENT_DECLINE, reason_code="already-in-care")
    passed = town.advance(town.PSYCH, first, pb.REFERRAL_EVENT_REDIRECT, recipient=SECOND).redirected_to
    spoil(town, tables.referrals, first.partition("/")[2], sealed=b"altered")
    town.deliver_all()
    town.advance(SECOND, passed, pb.REFERRAL_EVENT_DECLINE, reason_code="already-in-care")
    again = town.advance(town.PSYCH, passed, pb.REFERRAL_EVENT_REDIRECT, recipient=town.HOSPITAL)
    assert again.redirected_to
    assert len(town.rows(tables.holdings, item=again.redirected_to)) == 1
