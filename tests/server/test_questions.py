"""What hospitals are asked before a transaction: a slow one delays its own senders and nobody else."""

import threading
import time
from typing import Any

from xinqiao.api.adapter.v1 import adapter_service_pb2 as adapter
from xinqiao.api.referral.v1 import referral_pb2 as ref

_ROOM = "xinqiao.api.referral.v1.ReferralService"


def test_many_questions_that_hang_do_not_keep_a_red_case_waiting(wire, monkeypatch):
    gate = threading.Event()
    asked: list[str] = []

    def ask(agency: str, request: Any) -> adapter.CapacityResponse | None:
        if request.urgency == ref.URGENCY_ROUTINE:
            asked.append(agency)
            gate.wait(5)
        return None

    monkeypatch.setattr(wire.gate.gateway.pipeline.rooms[_ROOM]._capacity, "_ask", ask)
    local = wire.student()
    wire.consent(local)
    red = wire.refer_request(local)
    slow = [wire.refer_request(local, urgency=ref.URGENCY_ROUTINE) for _ in range(12)]
    for request in [red, *slow]:
        request.request_id = wire.key()
    threads = [threading.Thread(target=wire.gate.call, args=(wire.PSYCH, each)) for each in slow]
    for each in threads:
        each.start()
    while len(asked) < 4:
        time.sleep(0.01)
    began = time.monotonic()
    made = wire.gate.call(wire.PSYCH, red)
    took = time.monotonic() - began
    gate.set()
    for each in threads:
        each.join()
    assert made.referral.name
    assert took < 2
