from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from xinqiao.adapters.listening import Listening
from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.transport import HttpTransport
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, ReadResponse
from xinqiao.contract.clock import ManualClock
from xinqiao_community_grid.adapter import CommunityGridAdapter
from xinqiao_community_grid.settings import CommunityGridSettings, hosts, listens
from xinqiao_community_grid.simulator import CommunityGridSimulator

CHILD = "students/" + "a" * 26
OTHER = "students/" + "b" * 26
NOW = datetime(2026, 10, 14, 1, 0, tzinfo=UTC)  # Wednesday of 2026-W42


class Station:
    """An adapter with its simulated station, and the part of the gateway that keeps the cursor."""

    def __init__(self, simulator: CommunityGridSimulator, folder: Path, **more: Any) -> None:
        self.simulator = simulator
        self.folder = folder
        self.clock = ManualClock(NOW)
        self.settings = CommunityGridSettings.model_validate({**simulator.start(), **more})
        self.cursor = ""
        self.adapter = self.restarted()

    def restarted(self) -> CommunityGridAdapter:
        """A new process on the same folder."""
        listening = Listening(listens(self.settings))
        context = AgencyContext(
            "grid", {"zh": "网格中心"}, "test", HttpTransport(hosts(self.settings)), self.folder, listening
        )
        self.adapter = CommunityGridAdapter(self.settings, context, self.clock)
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
        """Hand over a task; the receipt."""
        body = {"task": task, "student": {"name": CHILD, "family_name": "欧阳", "given_name": "小雨", **student}}
        return self.adapter.deliver(DeliverRequest(request_id=request_id, attempt=1, task=body), 5.0).receipt


def kinds(items: list[ReadResponse]) -> list[str]:
    return [str(item.WhichOneof("body")) for item in items]


def wrong(items: list[ReadResponse]) -> list[tuple[str, str]]:
    """Reason and place of what was not taken."""
    return [(item.rejected.reason, item.rejected.place) for item in items if item.HasField("rejected")]


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Callable[..., Station]]:
    made: list[Station] = []

    def make(source: Any = "folder", *, token: str | None = None, **more: Any) -> Station:
        simulator = CommunityGridSimulator(tmp_path / "station", source=source, token=token)
        made.append(Station(simulator, tmp_path / "agency", **more))
        return made[-1]

    yield make
    for each in made:
        each.adapter.close()
        each.simulator.stop()
