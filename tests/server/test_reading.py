"""One agency whose look hangs keeps no other's news waiting, and no agency is read by two looks at once."""

import threading
import time
from collections.abc import Iterator
from typing import Any

from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse, Rejected
from xinqiao.disclosure.registry import Registry
from xinqiao.server.reading import Reading
from xinqiao.store import tables


class Handle:
    """An agency whose look waits for a word."""

    manifest: Any = type("Manifest", (), {"capabilities": ("check", "read")})()

    def __init__(self, agency: str, go: threading.Event) -> None:
        self.agency = agency
        self.go = go
        self.looks = 0
        self.at_once = 0
        self.most = 0

    def read(self, cursor: str) -> Iterator[ReadResponse]:
        self.looks += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.go.wait(20)
        self.at_once -= 1
        yield ReadResponse(cursor=f"{self.agency}-{self.looks}", rejected=Rejected(source="feed", reason="DATA/ROW"))

    def report(self, kept: object) -> None:
        del kept


def until(condition: Any) -> bool:
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_an_agency_that_hangs_harms_itself_alone(fresh_town: Any) -> None:
    gateway = fresh_town.gate.gateway
    stuck, free = threading.Event(), threading.Event()
    free.set()
    hanging, others = Handle("grid", stuck), [Handle("police", free), Handle("hotline", free)]
    agencies: Any = {handle.agency: handle for handle in (hanging, *others)}
    registry: Registry = gateway.registry
    reading = Reading(gateway.pipeline, agencies, registry, gateway.clocks.deadline)
    try:
        reading.tick()
        assert until(lambda: len(fresh_town.rows(tables.cursors)) == 2)

        def looked_again() -> bool:
            reading.tick()
            return all(other.looks >= 4 for other in others)

        assert until(looked_again)
        assert all(other.most == 1 for other in others)
        assert hanging.looks == 1
        assert hanging.most == 1
    finally:
        stuck.set()
        reading.stop()
    assert {row["agency"] for row in fresh_town.rows(tables.cursors)} == {"grid", "police", "hotline"}


def test_a_look_that_is_asked_for_waits_for_the_one_under_way(fresh_town: Any) -> None:
    gateway = fresh_town.gate.gateway
    go = threading.Event()
    handle = Handle("grid", go)
    agencies: Any = {"grid": handle}
    reading = Reading(gateway.pipeline, agencies, gateway.registry, gateway.clocks.deadline)
    reading.tick()
    assert until(lambda: handle.looks == 1)
    asked = threading.Thread(target=reading.read_all)
    asked.start()
    time.sleep(0.1)
    assert handle.looks == 1
    go.set()
    asked.join(10)
    reading.stop()
    assert (handle.looks, handle.most) == (2, 1)
