"""A gateway's side of one hospital, its receiver open: what the tests of pushes share."""

import json
from pathlib import Path
from typing import Any

from xinqiao.adapters.listening import Listening
from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.transport import HttpTransport
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse
from xinqiao.api.referral.v1.referral_pb2 import ReferralEvent
from xinqiao.config import Secret
from xinqiao_hospital import codes
from xinqiao_hospital.adapter import HospitalAdapter
from xinqiao_hospital.pushing import Answer, Gateway
from xinqiao_hospital.settings import HospitalSettings, hosts, listens
from xinqiao_hospital.simulator import HospitalSimulator

TOKEN = "a-token-agreed-with-the-hospital"


class Door:
    """A gateway's side of one hospital with its receiver open, and what it has read so far."""

    def __init__(self, simulator: HospitalSimulator, folder: Path, **more: Any) -> None:
        secret = folder / "token"
        folder.mkdir(exist_ok=True)
        secret.touch(mode=0o600)
        secret.write_text(TOKEN)
        door = {"listen": "127.0.0.1:0", "token": Secret("file", str(secret)), **more}
        self.settings = HospitalSettings.model_validate({**simulator.start(), "receiver": door})
        self.simulator, self.folder = simulator, folder
        self.cursor = ""
        self.open()

    def open(self) -> None:
        http, listening = HttpTransport(hosts(self.settings)), Listening(listens(self.settings))
        context = AgencyContext("city-hospital", {}, "test", http, self.folder, listening)
        self.adapter = HospitalAdapter(self.settings, context)
        self.adapter.listen()
        assert self.adapter.address is not None
        self.gateway = Gateway(f"http://127.0.0.1:{self.adapter.address[1]}/fhir", TOKEN)

    def reopen(self) -> None:
        """As after a crash: nothing is told to the old one beyond giving its port back."""
        self.adapter.close()
        self.open()

    def put(self, task: dict[str, Any], **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.gateway.send("PUT", f"/Task/{task['id']}", json.dumps(task).encode(), headers=sent)

    def read(self) -> list[ReadResponse]:
        """One look, every item stored."""
        found: list[ReadResponse] = []
        for look in (self.adapter.pushed, self.adapter.read):
            found += look(self.cursor)
            self.cursor = found[-1].cursor if found else self.cursor
        return found

    def pushed(self) -> list[str]:
        """Events of one look at the spool only."""
        found: list[str] = []
        for item in self.adapter.pushed(self.cursor):
            self.cursor = item.cursor
            found.append(ReferralEvent.Name(item.referral.event).removeprefix("REFERRAL_EVENT_"))
        return found

    def waiting(self) -> int:
        return len([p for p in (self.folder / "inbox").iterdir() if p.suffix == ".item"])


def task(**more: Any) -> dict[str, Any]:
    """The hospital's Task, accepted, as it would push it."""
    return {
        "resourceType": "Task",
        "id": "1",
        "meta": {"versionId": "2", "lastUpdated": "2026-10-06T01:00:00Z"},
        "identifier": [{"system": codes.REFERRAL, "value": "referrals/r1"}],
        "status": "accepted",
        "businessStatus": codes.business_status("3.0"),
        "intent": "order",
        **more,
    }
