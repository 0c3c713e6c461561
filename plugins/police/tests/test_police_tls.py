"""The receiver beyond a tunnel of one's own: TLS, and a client certificate where one is demanded."""

import http.client
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plugins.police.tests.door import Door

from xinqiao.adapters.errors import AdapterConfigError
from xinqiao.contract.clock import SystemClock
from xinqiao.server.pki import Authority, write_private
from xinqiao_police.receiver import WEBHOOKS
from xinqiao_police.signature import key_of, sign
from xinqiao_police.wire import JSON, Envelope, beijing, write_json

OpenDoor = Callable[..., Door]


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    folder = tmp_path / "pki"
    folder.mkdir()
    authority = Authority(folder, SystemClock())
    for name in ("gateway", "centre"):
        certificate, key = authority.issue(name, dns=["localhost"])
        (folder / f"{name}.pem").write_bytes(certificate)
        write_private(folder / f"{name}.key", key)
    return folder


def said(door: Door, pki: Path, *, certificate: bool) -> int:
    context = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    if certificate:
        context.load_cert_chain(pki / "centre.pem", pki / "centre.key")
    now_us = SystemClock().now_us()
    body = write_json(Envelope("alert.created", beijing(now_us), {"alert": "J-1", "facts": "x"}))
    keys = [key_of(secret.reveal()) for secret in door.centre.own_secrets]
    assert door.adapter.address is not None
    connection = http.client.HTTPSConnection("localhost", door.adapter.address[1], timeout=5, context=context)
    try:
        connection.request(
            "POST", WEBHOOKS, body, {"Content-Type": JSON, **sign(keys, "msg_1", now_us // 1_000_000, body)}
        )
        return connection.getresponse().status
    finally:
        connection.close()


def receiver(pki: Path, **more: Any) -> dict[str, Any]:
    return {"listen": "127.0.0.1:0", "certificate": pki / "gateway.pem", "key": pki / "gateway.key", **more}


def test_an_alert_over_tls(open_door: OpenDoor, pki: Path) -> None:
    assert said(open_door(receiver=receiver(pki)), pki, certificate=False) == 202


def test_where_a_certificate_is_demanded_nothing_is_heard_without_one(open_door: OpenDoor, pki: Path) -> None:
    door = open_door(receiver=receiver(pki, client_authority=pki / "ca.pem"))
    with pytest.raises(OSError):
        said(door, pki, certificate=False)
    assert door.waiting() == 0
    assert said(door, pki, certificate=True) == 202


def test_one_that_speaks_no_tls_disturbs_nobody(open_door: OpenDoor, pki: Path) -> None:
    door = open_door(receiver=receiver(pki))
    assert door.adapter.address is not None
    plain = http.client.HTTPConnection(*door.adapter.address, timeout=5)
    with pytest.raises((http.client.HTTPException, OSError)):
        plain.request("POST", WEBHOOKS, b"{}")
        plain.getresponse()
    plain.close()
    assert said(door, pki, certificate=False) == 202


def test_beyond_loopback_it_does_not_listen_in_the_clear(open_door: OpenDoor) -> None:
    with pytest.raises(AdapterConfigError, match="TLS"):
        open_door(receiver={"listen": "0.0.0.0:0"})
