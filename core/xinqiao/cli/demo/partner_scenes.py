"""Scenes with the other agencies: what they notice, what they are asked to do, and what they did."""

import time
from collections.abc import Callable

from xinqiao.api.common.v1.types_pb2 import Student
from xinqiao.api.screening.v1 import screening_pb2, screening_service_pb2
from xinqiao.cli.demo.agencies import POLICE
from xinqiao.cli.demo.clients import everything
from xinqiao.cli.demo.deployment import SCHOOL
from xinqiao.cli.demo.stage import DEADLINE_S, Stage, key
from xinqiao.store import tables
from xinqiao.store.sql import select


def police(stage: Stage) -> None:
    """The 110 centre names a child on a bridge as it was told; a person takes it, and the centre hears that."""
    centre = stage.deployment.others.get(POLICE)
    student = _somebody(stage, 0)
    if centre is None or student is None:
        return
    centre.connect(stage.deployment.others.receivers[POLICE])
    described = {
        "school_code": student.school, "full_name": student.family_name + student.given_name,
        "birth_date": student.birth_date,
    }  # fmt: skip
    begin = time.monotonic()
    centre.alert(
        "J-2026-1013", kind="SUICIDAL", facts="群众报警：河边有学生独自徘徊", location="玉山大桥", student=described
    )
    found = _until(stage, lambda: _signal(stage))
    took = time.monotonic() - begin
    stage.clients.screening.AcknowledgeSignal(
        screening_service_pb2.AcknowledgeSignalRequest(request_id=key("taken", found.name), name=found.name),
        timeout=DEADLINE_S,
    )
    stage.quiet()
    told = any(each.type == "alert.taken" for each in centre.received)
    stage.tell(
        f"110 推送警情 {took:.2f} 秒后成为红色信号；校方接手，110 收到回执: {'是' if told else '否'}",
        f"an alert of the 110 centre was a red signal after {took:.2f} s; taken by the school, and the centre told: {told}",
    )


def _signal(stage: Stage) -> screening_pb2.Signal | None:
    found = everything(stage.clients.screening.ListSignals, screening_service_pb2.ListSignalsRequest, "signals")
    return next((each for each in found if each.source == screening_pb2.SIGNAL_SOURCE_POLICE), None)


def _somebody(stage: Stage, number: int) -> Student | None:
    """A student of the roster, the same after a restart: the last but ``number``, so that no red case is theirs."""
    s = tables.students.c
    with stage.gateway.store.read() as reading:
        rows = reading.all(
            select(s.id).where(s.id.not_in(select(tables.triages.c.student))).order_by(s.id.desc()).limit(number + 40)
        )
        for row in rows[number:]:
            student = stage.gateway.door.students.load(reading, str(row["id"]), SCHOOL)
            if student.family_name and student.birth_date:
                return student
    return None


def _until(stage: Stage, look: Callable[[], screening_pb2.Signal | None]) -> screening_pb2.Signal:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        stage.gateway.read_all()
        time.sleep(0.05)
    raise RuntimeError("what a partner sent did not arrive")
