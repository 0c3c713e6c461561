from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.transport import HttpTransport
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, ReadResponse
from xinqiao.contract.clock import ManualClock
from xinqiao_hotline.adapter import HotlineAdapter
from xinqiao_hotline.settings import HotlineSettings, hosts
from xinqiao_hotline.simulator import HotlineSimulator

CHILD = "students/" + "a" * 26
NOW = datetime(2026, 10, 14, 12, 0, tzinfo=UTC)
AT = datetime(2026, 10, 14, 14, 0, tzinfo=ZoneInfo("Asia/Shanghai"))


class Centre:
    """An adapter with its simulated centre, and the part of the gateway that keeps the cursor."""

    def __init__(self, simulator: HotlineSimulator, folder: Path, **more: Any) -> None:
        self.simulator = simulator
        self.folder = folder
        self.clock = ManualClock(NOW)
        self.settings = HotlineSettings.model_validate({**simulator.start(), **more})
        self.cursor = ""
        self.adapter = self.restarted()

    def restarted(self) -> HotlineAdapter:
        """A new process on the same folder."""
        context = AgencyContext("hotline", {"zh": "热线"}, "test", HttpTransport(hosts(self.settings)), self.folder)
        self.adapter = HotlineAdapter(self.settings, context, self.clock)
        return self.adapter

    def read(self, most: int = 10_000) -> list[ReadResponse]:
        """Take at most so many items, each with its cursor."""
        found: list[ReadResponse] = []
        for item in self.adapter.read(self.cursor):
            if item.WhichOneof("body") is None:
                continue  # a sign of life
            found.append(item)
            self.cursor = item.cursor or self.cursor
            if len(found) == most:
                break
        return found

    def deliver(self, task: dict[str, Any], request_id: str = "delivery-0001", **student: Any) -> str:
        """Hand over a call-back; the receipt."""
        body = {"task": task, "student": {"name": CHILD, "family_name": "欧阳", "given_name": "小雨", **student}}
        return self.adapter.deliver(DeliverRequest(request_id=request_id, attempt=1, task=body), 5.0).receipt


def kinds(items: list[ReadResponse]) -> list[str]:
    return [str(item.WhichOneof("body")) for item in items]


def wrong(items: list[ReadResponse]) -> list[tuple[str, str]]:
    """Reason and place of what was not taken or is odd."""
    return [(item.rejected.reason, item.rejected.place) for item in items if item.HasField("rejected")]


def counts(items: list[ReadResponse]) -> dict[str, int]:
    """The newest figure of each activity."""
    return {each.source: each.times for item in items for each in item.activities.activities if not each.withdrawn}


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Callable[..., Centre]]:
    made: list[Centre] = []

    def make(source: Any = "folder", **more: Any) -> Centre:
        made.append(Centre(HotlineSimulator(tmp_path / "centre", source=source), tmp_path / "agency", **more))
        return made[-1]

    yield make
    for each in made:
        each.simulator.stop()
