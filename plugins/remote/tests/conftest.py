from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from xinqiao.adapters.agency import AgencyHandle
from xinqiao.adapters.host import AdapterHost, AgencySpec
from xinqiao_remote import RemoteSimulator

Start = Callable[..., AgencyHandle]


@pytest.fixture
def partner(tmp_path: Path) -> Iterator[RemoteSimulator]:
    simulator = RemoteSimulator(tmp_path / "partner")
    yield simulator
    simulator.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    hosts: list[AdapterHost] = []

    def make(settings: dict[str, Any]) -> AgencyHandle:
        hosts.append(AdapterHost.load(["remote"]))
        spec = AgencySpec("city", {"zh": "市", "en": "City"}, "remote", settings, deadline_s=5)
        return hosts[-1].start({"city": spec}, deployment="test", folder=tmp_path / f"data-{len(hosts)}")["city"]

    yield make
    for host in hosts:
        host.close()
