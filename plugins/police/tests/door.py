"""A gateway's side of one 110 centre, its receiver open: what the tests share."""

import shutil
from pathlib import Path
from typing import Any

from xinqiao.adapters.listening import Listening
from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.transport import HttpTransport
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse
from xinqiao_police.adapter import PoliceAdapter
from xinqiao_police.receiver import WEBHOOKS
from xinqiao_police.settings import PoliceSettings, hosts, listens
from xinqiao_police.signature import key_of, sign
from xinqiao_police.simulator import Answer, Centre110, post
from xinqiao_police.wire import CAP, JSON


class Door:
    """Adapter and centre, connected; and what was read so far."""

    def __init__(self, centre: Centre110, folder: Path, *, clock: Any = None, **more: Any) -> None:
        self.centre, self.folder, self._clock = centre, folder, clock
        self.settings = PoliceSettings.model_validate({**centre.start(), **more})
        self.cursor = ""
        folder.mkdir(exist_ok=True)
        self.open()

    def open(self) -> None:
        http, listening = HttpTransport(hosts(self.settings)), Listening(listens(self.settings))
        context = AgencyContext("kunshan-110", {}, "test", http, self.folder, listening)
        self.adapter = PoliceAdapter(self.settings, context, self._clock)
        self.adapter.listen()
        assert self.adapter.address is not None
        self.centre.connect(self.adapter.address)

    def reopen(self) -> None:
        """As after a crash: nothing is told to the old one beyond giving its port back."""
        self.adapter.close()
        self.open()

    def send(self, body: bytes, webhook_id: str = "msg_1", *, seconds: int | None = None, **headers: str) -> Answer:
        """A body signed by the centre as it stands."""
        at = self.centre.clock.now_us() // 1_000_000 if seconds is None else seconds
        keys = [key_of(secret.reveal()) for secret in self.centre.own_secrets]
        kind = CAP if self.settings.wire == "cap" else JSON
        given = {"Content-Type": kind, **sign(keys, webhook_id, at, body)}
        given |= {name.replace("_", "-").title(): value for name, value in headers.items()}
        assert self.adapter.address is not None
        return post(self.adapter.address, WEBHOOKS, body, given)

    def read(self) -> list[ReadResponse]:
        """One look, every item stored."""
        found = list(self.adapter.read(self.cursor))
        self.cursor = found[-1].cursor if found else self.cursor
        return found

    def waiting(self) -> int:
        return len(list((self.folder / "inbox").glob("*.item")))

    def forget(self) -> None:
        shutil.rmtree(self.folder / "inbox")


ALERT = {"kind": "SUICIDAL", "facts": "在大桥上", "occurred": "2026-10-12T09:00:00+08:00", "location": "人民桥"}
CHILD = {"school_code": "3205830001", "full_name": "欧阳小雨", "birth_date": "2011-03-09", "phone": "138 0000 0001"}
