"""What hospitals are asked before a transaction: a slow one delays its own senders and nobody else."""

import gc
import threading
import time
from typing import Any

from xinqiao.api.adapter.v1 import adapter_service_pb2 as adapter
from xinqiao.api.casefile.v1 import casefile_service_pb2 as case_rpc
from xinqiao.api.gateway.v1 import gateway_service_pb2 as gateway_rpc
from xinqiao.api.referral.v1 import referral_pb2 as ref

_ROOM = "xinqiao.api.referral.v1.ReferralService"
_REGISTER = "/xinqiao.api.casefile.v1.CaseFileService/RegisterStudents"


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


def test_what_a_question_raises_after_its_caller_left_is_not_written_to_the_log(wire, monkeypatch, caplog):
    told = "what no log may hold"
    began, over = threading.Event(), threading.Event()

    def prepare(*_arguments: Any) -> None:
        began.set()
        time.sleep(0.5)
        over.set()
        raise ValueError(told)

    monkeypatch.setattr(wire.gate.gateway.door.students, "prepare", prepare)
    roster = case_rpc.RegisterStudentsRequest(request_id=wire.key())
    for number in range(40):
        roster.students.add(local_id=f"gone-{number}", birth_date="2011-05-04", school="3205830001", family_name="a")
    ask = wire.gate.channel(wire.SCHOOL).unary_unary(_REGISTER, case_rpc.RegisterStudentsRequest.SerializeToString)
    call = ask.future(roster, timeout=30)
    assert began.wait(5)
    call.cancel()
    assert over.wait(5)
    for _ in range(3):  # the loop goes round, and what it has dropped is collected
        wire.gate.call(wire.OPERATOR, gateway_rpc.GetStatusRequest())
        gc.collect()
    assert told not in caplog.text
