"""Where an adapter may listen: at declared addresses, in clear text on loopback only, and never from a command."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from xinqiao.adapters.errors import AdapterConfigError
from xinqiao.adapters.host import AdapterHost, AgencySpec
from xinqiao.adapters.listening import Listening, server_context
from xinqiao.adapters.manifest import Manifest, load_manifest
from xinqiao.api.gateway.v1.gateway_service_pb2 import AGENCY_STATE_READY, AGENCY_STATE_RETRYING
from xinqiao.config.problems import ConfigError


def test_a_declared_loopback_address_is_opened() -> None:
    server = Listening(["127.0.0.1:0"]).open("127.0.0.1:0", None)
    with server, socket.create_connection(server.getsockname(), timeout=5):
        pass


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:0", "0.0.0.0:0"])
def test_an_address_that_is_not_declared_is_refused(address: str) -> None:
    with pytest.raises(AdapterConfigError, match="not one the agency's settings name"):
        Listening(["127.0.0.1:0"]).open(address, None)


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:8443"])
def test_clear_text_beyond_loopback_is_refused(address: str) -> None:
    with pytest.raises(AdapterConfigError, match="needs TLS"):
        Listening([address]).open(address, None)


@pytest.mark.parametrize("address", ["", "hospital:80", "127.0.0.1", "127.0.0.1:65536", "1.2.3:5", "127.0.0.1:١"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(AdapterConfigError, match="ip:port"):
        Listening([address])


def test_a_taken_port_says_so() -> None:
    with Listening(["127.0.0.1:0"]).open("127.0.0.1:0", None) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(AdapterConfigError, match="cannot listen"):
            Listening([address]).open(address, None)


def test_an_unusable_certificate_is_a_configuration_fault(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("not a certificate")
    with pytest.raises(AdapterConfigError, match="cannot be used"):
        server_context(tmp_path / "cert.pem", tmp_path / "none.pem", None)


@pytest.mark.parametrize(
    "old_new",
    [
        ("capabilities: [check, deliver, read, exchange]", "capabilities: [check, deliver, read, exchange, listen]"),
        ("hosts: the", "listens: the address of listen\nhosts: the"),
    ],
)
def test_the_manifest_declares_both_or_neither(
    tmp_path: Path, manifest_text: Callable[[str], str], old_new: tuple[str, str]
) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_text(manifest_text("demo").replace(*old_new), "utf-8")
    with pytest.raises(ConfigError, match="listen and listens disagree"):
        load_manifest(path)


class _Pushed:
    """A plugin that only listens, at the address of its settings."""

    def __init__(self, settings, context) -> None:
        self._context = context
        self.server: socket.socket | None = None

    def check(self) -> str:
        return "pushed 1"

    def read(self, cursor: str):
        yield from ()

    def listen(self) -> None:
        if self.server is None:
            self.server = self._context.listening.open(next(iter(ADDRESSES)), None)

    def close(self) -> None:
        if self.server is not None:
            self.server.close()


ADDRESSES: list[str] = []


@pytest.fixture
def host(tmp_path: Path, manifest_text: Callable[[str], str]):
    from pydantic import BaseModel

    from xinqiao.adapters.protocols import AdapterKind

    class Settings(BaseModel):
        pass

    text = manifest_text("demo").replace("check, deliver, read, exchange", "check, read, listen")
    written = text[text.index("  written:") : text.index("  read:")]
    text = text.replace(written, "").replace("hosts: the", "listens: the address of listen\nhosts: the")
    path = tmp_path / "manifest.yaml"
    path.write_text(text, "utf-8")
    manifest: Manifest = load_manifest(path)
    kind = AdapterKind("demo", Settings, _Pushed, lambda s: [], lambda f: None, lambda s: ADDRESSES)  # type: ignore[arg-type,return-value]
    host = AdapterHost({"demo": kind}, {"demo": manifest}, {})
    yield host
    host.close()


def _start(host: AdapterHost, folder: Path, *, listen: bool):
    spec = AgencySpec("a", {"en": "A"}, "demo", {})
    return host.start({"a": spec}, deployment="test", folder=folder, listen=listen)["a"]


def _free() -> socket.socket:
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    return server


def test_only_the_gateway_opens_listeners_a_command_beside_it_does_not(host: AdapterHost, tmp_path: Path) -> None:
    with _free() as taken:
        ADDRESSES[:] = [f"127.0.0.1:{taken.getsockname()[1]}"]
        handle = _start(host, tmp_path, listen=False)
        assert handle.state == AGENCY_STATE_READY
        assert handle.check() == "pushed 1"


def test_a_taken_port_is_told_and_tried_again_while_the_rest_goes_on(host: AdapterHost, tmp_path: Path) -> None:
    with _free() as taken:
        ADDRESSES[:] = [f"127.0.0.1:{taken.getsockname()[1]}"]
        handle = _start(host, tmp_path, listen=True)
        assert handle.state == AGENCY_STATE_RETRYING
        assert "cannot listen" in handle.message
        assert list(handle.read("")) == []
        assert handle.state == AGENCY_STATE_RETRYING
    assert list(handle.read("")) == []
    assert handle.state == AGENCY_STATE_READY
    with socket.create_connection(("127.0.0.1", int(ADDRESSES[0].rpartition(":")[2])), timeout=5):
        pass
