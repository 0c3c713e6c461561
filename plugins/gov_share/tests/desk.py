"""An adapter and the platform it talks to, on one clock, read as the gateway reads."""

from pathlib import Path
from typing import Any

from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.transport import HttpTransport
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse, Rejected
from xinqiao.contract.clock import ManualClock
from xinqiao_gov_share.adapter import GovShareAdapter
from xinqiao_gov_share.settings import GovShareSettings, hosts
from xinqiao_gov_share.simulator import GovShareSimulator

START = 1_791_777_600
"""Monday, 2026-10-12 12:00 in Beijing."""


class Desk:
    """What the tests of this plugin work with."""

    def __init__(
        self, folder: Path, clock: ManualClock, *, algorithm: str = "hmac-sha256", sealed: bool = True, **more: Any
    ) -> None:
        self.folder = folder / "agency"
        self.folder.mkdir(exist_ok=True)
        self.clock = clock
        self.simulator = GovShareSimulator(folder / "platform", clock=clock, algorithm=algorithm, sealed=sealed)
        self.simulator.signs = False
        self.platform = self.simulator.platform
        self.settings = GovShareSettings.model_validate({**self.simulator.start(), **more})
        self.cursor = ""
        self.restart()

    def restart(self) -> None:
        """As after a crash of the gateway's process."""
        names = {"zh": "妇联", "en": "Women's federation"}
        context = AgencyContext("wf", names, "test", HttpTransport(hosts(self.settings)), self.folder)
        self.adapter = GovShareAdapter(self.settings, context, self.clock)

    def read(self, most: int = 1000) -> list[ReadResponse]:
        """What is new, kept one by one; the gateway stops after ``most``."""
        found: list[ReadResponse] = []
        stream = self.adapter.read(self.cursor)
        for item in stream:
            if item.WhichOneof("body"):
                found.append(item)
                self.cursor = item.cursor
                if len(found) == most:
                    break
        return found

    def rejected(self) -> list[Rejected]:
        return [item.rejected for item in self.read() if item.WhichOneof("body") == "rejected"]

    def later(self, **words: Any) -> None:
        """Time passes for both."""
        from datetime import timedelta

        self.clock.advance(timedelta(**words))

    def close(self) -> None:
        self.adapter.close()
        self.simulator.stop()
