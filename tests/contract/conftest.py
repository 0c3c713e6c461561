"""pytest-grpc's own fixtures over the real edge: its asynchronous server, on a loopback TLS port, with certificates."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from xinqiao.api.screening.v1 import screening_service_pb2_grpc as stubs


def _exchanges(settings: dict[str, Any]) -> None:
    settings["exchanges"] = {
        "monthly": {
            "names": {"zh": "对账", "en": "Books"}, "parties": ["kunshan-no1-middle", "kunshan-mental-health"],
            "datasets": [{"contract": "referrals", "to": "kunshan-mental-health", "purpose": "treatment"}],
            "period": "month", "schedule": {"run": {"day": 1, "working": True, "at": "02:00"}, "close_after_days": 10},
        }
    }  # fmt: skip


class RunningEdge:
    """Looks like the synchronous server that pytest-grpc expects; behind it the edge's own loop runs in its thread."""

    def __init__(self, town: Any) -> None:
        self.town = town

    def add_insecure_port(self, address: str) -> None:
        """The edge has no insecure port."""

    def start(self) -> None:
        assert self.town.gate.gateway.port

    def stop(self, grace: float | None = None) -> None:
        """The town stops it."""


@pytest.fixture(scope="module")
def wire(make_town: Callable[..., Any], database: str) -> Iterator[Any]:
    with make_town(database, change=_exchanges, reports=True) as town:
        yield town


@pytest.fixture(scope="module")
def grpc_addr(wire: Any) -> str:
    return f"127.0.0.1:{wire.gate.gateway.port}"


@pytest.fixture(scope="module")
def _grpc_server(wire: Any) -> RunningEdge:
    return RunningEdge(wire)


@pytest.fixture(scope="module")
def grpc_servicer(wire: Any) -> Any:
    return wire.gate.gateway.edge


@pytest.fixture(scope="module")
def grpc_add_to_server() -> Callable[[Any, Any], None]:
    return lambda edge, server: None  # the gateway has added its one generic handler


@pytest.fixture(scope="module")
def grpc_channel(wire: Any, grpc_create_channel: Any) -> Iterator[grpc.Channel]:
    credentials = wire.gate.credentials(wire.PSYCH)
    with grpc_create_channel(credentials, [("grpc.ssl_target_name_override", "localhost")]) as channel:
        yield channel


@pytest.fixture(scope="module")
def grpc_stub_cls() -> Any:
    return stubs.ScreeningServiceStub
