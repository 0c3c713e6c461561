import asyncio
import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import pytest
from plugins.womens_federation.tests.conftest import Desk, kinds, referral

from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable
from xinqiao.adapters.sockets import SocketTransport
from xinqiao.config import Secret
from xinqiao_womens_federation import wire
from xinqiao_womens_federation.settings import FederationSettings, SftpSettings
from xinqiao_womens_federation.sftp import SftpShelf
from xinqiao_womens_federation.shelf import INBOX, OUTBOX

ROUND = ["referral", "activities"]


def play(desk: Desk) -> list[str]:
    desk.deliver(referral(1))
    clerk = desk.sim.desk()
    clerk.answer(wire.REFERRALS, "referrals/r1", {"办理": wire.ACCEPT})
    clerk.add(wire.ACTIVITIES, 活动编号="A-1", 日期="2026-11-03", 类别="讲座 Lecture", 对象="家长 Parents")
    desk.sim.send(clerk, "11月工作簿.xlsx")
    return kinds(desk.read())


@pytest.fixture
def there(desk_for: Callable[..., Desk]) -> Desk:
    return desk_for(sftp=True)


def changed(desk: Desk, **more: Any) -> None:
    """The same desk with other SFTP settings."""
    assert desk.settings.sftp is not None
    about = {**desk.settings.sftp.model_dump(), "password": desk.settings.sftp.password, **more}
    desk.settings = FederationSettings.model_validate({"sftp": about, "settle_s": 0})
    desk.restart()


def test_the_month_goes_by_sftp_as_it_does_by_folder(there: Desk) -> None:
    assert play(there) == ROUND
    assert sorted(path.name for path in there.sim.outbox.rglob("*") if path.is_file()) == [
        "11月工作簿.xlsx.receipt.json", "xinqiao-2026-11.xlsx", "xinqiao-2026-11.xlsx.manifest.json",
    ]  # fmt: skip


def test_a_changed_host_key_is_refused_before_any_login(there: Desk) -> None:
    server = there.sim.server
    assert server is not None
    assert there.adapter.check() == "SFTP"
    before = server.logins
    server.key = paramiko.ECDSAKey.generate()
    with pytest.raises(PartnerRefused, match="EGRESS/HOST_KEY") as caught:
        there.deliver(referral(1))
    assert server.logins == before
    assert "欧阳" not in str(caught.value) and list(there.sim.outbox.iterdir()) == []


def test_a_host_key_of_another_type_than_the_pinned_one_is_refused(there: Desk) -> None:
    server = there.sim.server
    assert server is not None
    changed(there, host_keys=["ssh-ed25519 " + "A" * 68])
    with pytest.raises(PartnerRefused, match="EGRESS/HOST_KEY"):
        there.adapter.check()
    assert server.logins == 0


def test_two_pinned_keys_let_a_host_change_its_key(there: Desk) -> None:
    server = there.sim.server
    assert server is not None
    coming = paramiko.ECDSAKey.generate()
    changed(there, host_keys=[server.host_key, f"{coming.get_name()} {coming.get_base64()}"])
    assert there.adapter.check() == "SFTP"
    server.key = coming
    assert there.adapter.check() == "SFTP"


def test_a_login_that_is_not_accepted_stops(there: Desk, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("not-the-password")
    changed(there, password=Secret("file", str(wrong)))
    with pytest.raises(PartnerRefused, match="EGRESS/LOGIN") as caught:
        there.adapter.check()
    assert "not-the-password" not in str(caught.value)
    wrong.unlink()
    with pytest.raises(PartnerRefused, match="EGRESS/LOGIN"):
        there.adapter.check()


def test_a_private_key_logs_in(there: Desk, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    text = io.StringIO()
    there.sim.login_key.write_private_key(text)
    path.write_text(text.getvalue())
    changed(there, password=None, private_key=Secret("file", str(path)))
    assert there.adapter.check() == "SFTP"


def test_a_server_that_is_down_or_silent_is_tried_again(there: Desk) -> None:
    there.deliver(referral(1))
    there.sim.stop()
    with pytest.raises(PartnerUnavailable):
        there.deliver(referral(2, "c"))
    with pytest.raises(PartnerUnavailable):
        there.read()


def test_a_host_that_is_not_the_agencys_own_is_never_reached(there: Desk) -> None:
    assert there.settings.sftp is not None
    shelf = SftpShelf(there.settings.sftp, SocketTransport(["127.0.0.1:1"]))
    with pytest.raises(PartnerRefused, match="EGRESS/NOT_ALLOWED"), shelf.open(5):
        pass


def test_beyond_loopback_only_an_adapter_that_says_it_speaks_ssh_gets_a_plain_socket() -> None:
    sockets = SocketTransport(["192.0.2.1:22"])
    with pytest.raises(PartnerRefused, match="EGRESS/PLAINTEXT"):
        sockets.connect("192.0.2.1:22", 0.05)
    with pytest.raises(PartnerUnavailable):
        sockets.connect("192.0.2.1:22", 0.05, secured_by_ssh=True)


def test_the_simulators_server_shows_nothing_outside_of_its_folder(there: Desk) -> None:
    (there.folder / "secret").write_bytes(b"secret")
    (there.sim.inbox / "link").symlink_to(there.folder / "secret")
    assert there.settings.sftp is not None
    shelf = SftpShelf(there.settings.sftp, SocketTransport([there.settings.sftp.endpoint]))
    for name in ("../../../secret", "link"):
        with pytest.raises((PartnerUnavailable, FileNotFoundError)), shelf.open(5) as files:
            files.get(INBOX, name)


def test_a_name_that_is_a_path_is_refused_and_nothing_is_written_there(
    there: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.deliver(referral(1))
    honest = paramiko.SFTPClient.listdir_attr

    def hostile(self: Any, path: str = ".") -> Any:
        found = honest(self, path)
        if path.endswith(INBOX):
            one = paramiko.SFTPAttributes.from_stat(there.sim.inbox.stat(), "../evil.xlsx")
            one.st_mode = 0o100600
            found.append(one)
        return found

    monkeypatch.setattr(paramiko.SFTPClient, "listdir_attr", hostile)
    (item,) = there.read()
    assert item.rejected.reason == "DATA/FILE_NAME"
    assert "evil" not in str(item)
    assert not list(there.folder.rglob("*evil*"))


class Peer(asyncssh.SSHServer):
    def __init__(self, sessions: list[Any]) -> None:
        self._sessions = sessions

    def connection_made(self, conn: Any) -> None:
        self._sessions.append(conn)

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == ("xinqiao", "only-for-the-simulator")


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """An SFTP server by other hands, with a chroot."""
    root = tmp_path / "peer"
    for name in (INBOX, OUTBOX):
        (root / name).mkdir(parents=True)
    key = asyncssh.generate_private_key("ssh-ed25519")
    sessions: list[Any] = []
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(
        asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[key], server_factory=lambda: Peer(sessions),
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(root).encode()),
        )
    )  # fmt: skip
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    public = " ".join(key.export_public_key().decode().split()[:2])
    yield root, {"endpoint": f"127.0.0.1:{server.get_port()}", "user": "xinqiao", "host_keys": [public]}
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    server.close()
    for each in sessions:
        each.close()
        loop.run_until_complete(each.wait_closed())
    loop.run_until_complete(server.wait_closed())
    loop.run_until_complete(asyncio.sleep(0.1))  # the transports close in the next turns of the loop
    loop.close()


def test_a_server_by_other_hands_is_spoken_to_as_well(
    peer: tuple[Path, dict[str, Any]], desk_for: Callable[..., Desk]
) -> None:
    root, told = peer
    desk = desk_for(sftp=True)
    desk.sim.inbox, desk.sim.outbox = root / INBOX, root / OUTBOX
    desk.sim._shelf._roots = {INBOX: root / INBOX, OUTBOX: root / OUTBOX}  # type: ignore[attr-defined]
    changed(desk, **told)
    assert play(desk) == ROUND
    assert not list(root.rglob("*.part"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"host_keys": []}, {"host_keys": ["example ssh-ed25519 AAAA"]}, {"inbox": "/"}, {"inbox": "/a/../b"},
        {"inbox": "/outbox"}, {"password": None}, {"endpoint": "sftp.example"}, {"more": 1},
    ],
)  # fmt: skip
def test_settings_that_cannot_be_right_are_refused(wrong: dict[str, Any]) -> None:
    good = {
        "endpoint": "sftp.example:22", "user": "x", "host_keys": ["ssh-ed25519 " + "A" * 68], "password": Secret("env", "P"),
    }  # fmt: skip
    SftpSettings.model_validate(good)
    with pytest.raises(Exception, match="validation error|host:port|endpoint"):
        SftpSettings.model_validate({**good, **wrong})
