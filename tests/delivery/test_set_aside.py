"""A delivery that breaks the program before it leaves is set aside: nothing behind it waits, and a person is told."""

from xinqiao.api.referral.v1 import referral_pb2 as pb
from xinqiao.store import tables


def test_a_red_delivery_that_cannot_even_be_opened_does_not_stop_the_crisis_lane(fresh_town, monkeypatch):
    town = fresh_town
    first, second = (
        town.refer(town.student(), urgency=pb.URGENCY_EMERGENCY, crisis_facts="on the roof").referral.name
        for _ in range(2)
    )
    delivery = town.gate.gateway.delivery
    whole = delivery._open

    def breaking(tx, row, owner):
        if row["item"] == first:
            raise RuntimeError("nobody thought of this")
        return whole(tx, row, owner)

    monkeypatch.setattr(delivery, "_open", breaking)
    assert [town.deliver(2) for _ in range(3)] == [True, True, False]
    assert town.rows(tables.deliveries, item=second)[0]["state"] == 3
    (stuck,) = town.rows(tables.deliveries, item=first)
    assert (stuck["state"], stuck["last_reason"]) == (1, "BROKEN")
    (held,) = town.rows(tables.holdings, item=f"deliveries/{stuck['id']}")
    assert held["holder"] == town.OPERATOR
    assert town.rows(tables.holdings, item=first)[0]["step"] == "receive"
