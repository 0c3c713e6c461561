"""No row, no bytes: a witness on the wire looks, with a connection of its own, whether the row is there before the byte."""

import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from xinqiao.adapters.host import AdapterHost
from xinqiao_hospital.simulator import HospitalSimulator


@dataclass
class Witness:
    """Stands between the gateway and the hospital, and passes everything on. Of each record that is sent it notes how
    many released rows were committed by then, as another process would see it."""

    hospital: int
    database: Path | None = None
    released: list[int] = field(default_factory=list[int])

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            there = socket.create_connection(("127.0.0.1", self.hospital))
            threading.Thread(target=self._pass, args=(peer, there, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(there, peer, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, outward: bool) -> None:
        try:
            while data := source.recv(65536):
                if outward and data.startswith(b"POST "):
                    self.released.append(self._rows())
                target.sendall(data)
        except OSError:
            pass
        finally:
            source.close()
            target.close()

    def _rows(self) -> int:
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as reading:
            found = reading.execute("SELECT count(*) FROM journal WHERE kind = 'released' AND decision = 'permit'")
            return int(found.fetchone()[0])


@pytest.fixture
def witnessed(make_town: Callable[..., Any], tmp_path: Path) -> Iterator[tuple[Any, Witness]]:
    hospital = HospitalSimulator(tmp_path / "hospital")
    started = hospital.start()
    witness = Witness(int(urlsplit(started["base_url"]).port or 0))
    settings = {**started, "base_url": started["base_url"].replace(f":{witness.hospital}", f":{witness.port}")}

    def only_the_hospital(config: dict[str, Any]) -> None:
        config["adapters"] = {"kunshan-mental-health": {"adapter": "hospital", "settings": settings}}

    try:
        with make_town(listen=False, change=only_the_hospital, host=AdapterHost.load(["hospital"])) as town:
            witness.database = town.gate.folder / "records.db"
            yield town, witness
    finally:
        witness.close()
        hospital.stop()


def test_the_row_of_each_record_is_on_disk_before_its_first_byte_is_on_the_wire(witnessed: Any) -> None:
    town, witness = witnessed
    for number in range(1, 4):
        local = town.student()
        town.consent(local)
        town.refer(local)
        assert town.deliver_all() == 1
        assert witness.released == list(range(1, number + 1))


def test_what_is_refused_sends_nothing(witnessed: Any) -> None:
    town, witness = witnessed
    assert town.refusal(town.PSYCH, town.refer_request(town.student())) == "FAILED_PRECONDITION/NO_CONSENT"
    town.deliver_all()
    assert witness.released == []
