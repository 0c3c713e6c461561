"""Whatever a room forgets, no answer exceeds what policy could ever grant its caller."""

import logging

from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao.api.referral.v1 import referral_service_pb2 as rpc


def test_the_edge_cuts_what_a_room_let_pass_and_says_so(fresh_town, monkeypatch, caplog):
    town = fresh_town
    pipeline = town.gate.gateway.pipeline
    (path,) = [path for path in pipeline.methods if path.endswith("ReferralService/ListReferrals")]

    def careless(_request, _call):
        return rpc.ListReferralsResponse(
            referrals=[ref.Referral(name="referrals/x", note="a counselling note", crisis_facts="on the roof")]
        )

    monkeypatch.setitem(pipeline._functions, path, careless)
    with caplog.at_level(logging.ERROR, "xinqiao.security"):
        (shown,) = town.call(town.HOSPITAL, rpc.ListReferralsRequest()).referrals
    assert shown.name == "referrals/x"
    assert not shown.note
    assert "ListReferrals" in caplog.text
    assert "counselling" not in caplog.text
