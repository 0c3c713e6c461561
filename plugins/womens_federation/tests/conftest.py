from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.sockets import SocketTransport
from xinqiao.adapters.transport import HttpTransport
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, ReadResponse
from xinqiao.api.casefile.v1.consent_pb2 import Recall
from xinqiao.api.casefile.v1.team_pb2 import CareTask, TaskPackage
from xinqiao.api.common.v1.types_pb2 import Guardian, Student
from xinqiao.api.referral.v1.referral_pb2 import Referral, ReferralPackage
from xinqiao.config import Secret
from xinqiao_womens_federation.adapter import FederationAdapter
from xinqiao_womens_federation.settings import FederationSettings, hosts
from xinqiao_womens_federation.simulator import FederationSimulator

DAY_US = 86_400_000_000
NOVEMBER = 1_793_500_000_000_000  # 2026-11-01 in Beijing


class Clock:
    """Stands where a test puts it; files of the test are older, so they have settled."""

    def __init__(self, now_us: int) -> None:
        self.us = now_us

    def now_us(self) -> int:
        return self.us


class Desk:
    """An adapter with its federation, and a gateway that keeps the cursor as the real one does."""

    def __init__(self, folder: Path, *, sftp: bool = False, **more: Any) -> None:
        self.folder = folder
        self.sim = FederationSimulator(folder / "federation", sftp=sftp)
        told = self.sim.start()
        if sftp:
            told["sftp"]["password"] = Secret("file", str(self.sim.password_file))
        self.settings = FederationSettings.model_validate({**told, **more})
        self.clock = Clock(NOVEMBER)
        self.cursor = ""
        self.adapter = self.restart()

    def restart(self, seal: Any = None) -> FederationAdapter:
        sockets = SocketTransport(hosts(self.settings))
        context = AgencyContext(
            "wf",
            {"zh": "妇联", "en": "WF"},
            "test",
            HttpTransport([]),
            self.folder / "state",
            sockets=sockets,
            seal=seal,
        )
        self.adapter = FederationAdapter(self.settings, context, self.clock)
        return self.adapter

    def deliver(self, *requests: DeliverRequest) -> None:
        for request in requests:
            self.adapter.deliver(request, 10)

    def read(self) -> list[ReadResponse]:
        items = []
        for item in self.adapter.read(self.cursor):
            items.append(item)
            self.cursor = item.cursor or self.cursor
        rejected = [item.rejected for item in items if item.HasField("rejected")]
        if rejected:
            self.adapter.report(rejected)
        return items


@pytest.fixture
def desk_for(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    made: list[Desk] = []

    def make(**more: Any) -> Desk:
        made.append(Desk(tmp_path / f"desk{len(made)}", **more))
        return made[-1]

    yield make
    for desk in made:
        desk.sim.stop()


@pytest.fixture
def desk(desk_for: Callable[..., Desk]) -> Desk:
    return desk_for(settle_s=0)


def student(letter: str = "a") -> Student:
    return Student(
        name="students/" + letter * 26,
        family_name="欧阳",
        given_name="小雨",
        birth_date="2011-03-09",
        phone="13800000001",
        guardians=[
            Guardian(full_name="李梅", relation="mother", phone="13800000002"),
            Guardian(full_name="欧阳刚", relation="father", phone="13800000003", in_conflict=True),
        ],
    )


def referral(number: int = 1, letter: str = "a", **more: Any) -> DeliverRequest:
    about = Referral(name=f"referrals/r{number}", student="students/" + letter * 26, support="每周入户一次")
    about.MergeFrom(Referral(**more))
    package = ReferralPackage(referral=about, student=student(letter))
    return DeliverRequest(request_id=f"delivery-{number:04}", attempt=1, referral=package)


def task(number: int = 1, state: int = 1, letter: str = "b") -> DeliverRequest:
    about = CareTask(name=f"tasks/t{number}", what="每周上门", state=state, due_us=NOVEMBER)
    return DeliverRequest(request_id=f"task-{number:04}-{state}", task=TaskPackage(task=about, student=student(letter)))


def recall(letter: str = "a") -> DeliverRequest:
    about = Recall(name="recalls/c1", student="students/" + letter * 26, items=["referrals/r1"], due_us=NOVEMBER)
    return DeliverRequest(request_id="recall-0001", recall=about)


def kinds(items: list[ReadResponse]) -> list[str]:
    return [str(item.WhichOneof("body")) for item in items]


def reasons(items: list[ReadResponse]) -> list[tuple[str, str]]:
    return [(item.rejected.reason, item.rejected.place) for item in items if item.HasField("rejected")]
