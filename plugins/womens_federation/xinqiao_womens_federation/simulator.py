"""A stand-in for a women's federation: its folders, by SFTP where wanted, a clerk, and a tool that signs receipts."""

import hashlib
import io
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

import paramiko
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from google.protobuf.message import DecodeError
from google.protobuf.proto import parse_length_prefixed
from python_calamine import CalamineWorkbook

from xinqiao.adapters.errors import PartnerUnavailable
from xinqiao.api.casefile.v1.consent_pb2 import RECALL_ACTION_DELETED, RecallReceipt
from xinqiao.api.exchange.v1.exchange_pb2 import Manifest, PackageItem, Receipt, RefusedItem
from xinqiao.config.secret import Secret
from xinqiao.contract.clock import Clock, SystemClock, local_date
from xinqiao.testing.simulators import Faults
from xinqiao_womens_federation import package, wire
from xinqiao_womens_federation.clerk import BookFault, Desk, Fault
from xinqiao_womens_federation.server import SftpServer
from xinqiao_womens_federation.shelf import INBOX, MANIFEST, OUTBOX, FolderShelf, json_bytes

USER: Final = "xinqiao"
_TIME_S: Final = 5.0
_TICK_S: Final = 0.1
_WORK: Final = "month.xlsx"


class FederationSimulator:
    """One made-up federation in ``folder``. With ``sftp`` its folders are reached only through its own server;
    with ``signs`` its tool signs by itself while it is started, else at each ``tick``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        sftp: bool = False,
        gateway_key_pem: bytes | None = None,
        clock: Clock | None = None,
        refuse_items: frozenset[int] = frozenset(),
        signs: bool = False,
    ) -> None:
        self._folder = folder
        self._clock = clock or SystemClock()
        self._refuse = refuse_items
        self.inbox, self.outbox = folder / "server" / INBOX, folder / "server" / OUTBOX
        for path in (self.inbox, self.outbox, self.inbox / "receipts"):
            path.mkdir(parents=True, exist_ok=True)
        self._shelf = FolderShelf(self.inbox, self.outbox)
        self._key = _own_key(folder / "receipt-key.pem")
        self._gateway = _public_key(gateway_key_pem)
        self.password_file = folder / "password"
        self.login_key = paramiko.ECDSAKey.generate()
        self._sftp = sftp
        self._signs = signs
        self._faults = Faults()
        self._away = folder / "away"
        self._brought = 0
        self._written = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.server: SftpServer | None = None

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self) -> dict[str, Any]:
        """Serve; returns settings for an adapter (``password`` as `!file`'s path, see ``password_file``)."""
        if self._signs and self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="federation-simulator", daemon=True)
            self._thread.start()
        if not self._sftp:
            return {"folder": {"inbox": str(self.inbox), "outbox": str(self.outbox)}, "settle_s": 0}
        if self.server is None:
            self.password_file.touch(mode=0o600)
            self.password_file.write_text("only-for-the-simulator")
            password = self.password_file.read_text()
            self.server = SftpServer(self._folder / "server", USER, password, self.login_key, self._faults)
        about = {"endpoint": self.server.endpoint, "user": USER, "host_keys": [self.server.host_key]}
        return {"sftp": {**about, "inbox": f"/{INBOX}", "outbox": f"/{OUTBOX}"}, "settle_s": 0}

    def stop(self) -> None:
        """Stop serving and signing."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self.server is not None:
            self.server.stop()
            self.server = None

    def _run(self) -> None:
        while not self._stop.wait(_TICK_S):
            with suppress(OSError, PartnerUnavailable):  # the gateway replaced a file meanwhile
                self.tick()

    def receipt_public_key_pem(self) -> bytes:
        """The key that verifies what the federation signs."""
        return self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    # -- for the conformance suite ----------------------------------------------------------------------------------

    @property
    def plays(self) -> frozenset[str]:
        """What can go wrong with two folders and a clerk."""
        return frozenset({"down", "duplicate", "out_of_order", "wrong_code"})

    def play(self, fault: str, *, times: int = 1, seconds: float = 0.0) -> None:
        """See ``Faulty``. The folders are away until ``calm``. Raises ValueError for what it cannot play."""
        if fault not in self.plays:
            raise ValueError(f"not a fault that the federation can play; there is: {', '.join(sorted(self.plays))}")
        if fault != "down":
            self._faults.play(fault, times=times, seconds=seconds)
        elif not self._away.exists():
            self.inbox.parent.rename(self._away)

    def calm(self) -> None:
        """End every fault."""
        self._faults.calm()
        if self._away.exists():
            self._away.rename(self.inbox.parent)

    def effects(self) -> Sequence[str]:
        """The rows of the workbook that lies there, and the items of each package."""
        found: list[str] = []
        if any(self.outbox.glob("xinqiao-*.xlsx")):
            desk = self.desk()
            for sheet in (wire.REFERRALS, wire.TASKS, wire.ENDED, wire.RECALLS):
                found += [f"{sheet.name} {row}" for row in desk.rows(sheet)]
        for path in sorted(self.outbox.glob("*/items.bin")):
            found += [f"{path.parent.name} {item}" for item in _items(path.read_bytes())]
        return found

    def bring(self, count: int) -> None:
        """The clerk adds ``count`` activities to the workbook and sends it back; each fault is of the files."""
        names = [f"no-{self._brought + number:04}" for number in range(1, count + 1)]
        self._brought += count
        if self._faults.take("out_of_order") is not None:
            names.reverse()
        desk = self.desk()
        for name in names:
            self._hold(desk, name)
        if self._faults.take("wrong_code") is not None:
            self._hold(desk, f"no-{self._brought:04}-wrong", kind="Z99")
        doubled = self._faults.take("duplicate") is not None
        self.send(desk, f"sent-{self._brought:04}.xlsx", "duplicate" if doubled else None)

    def _hold(self, desk: Desk, name: str, *, kind: str = next(iter(wire.ACTIVITIES_BY_WORD))) -> None:
        day, audience = local_date(self._clock.now_us()), next(iter(wire.AUDIENCES_BY_WORD))
        desk.add(wire.ACTIVITIES, 活动编号=name, 日期=day, 类别=kind, 对象=audience, 场次=1, 人次=20)

    # -- the clerk --------------------------------------------------------------------------------------------------

    def desk(self) -> Desk:
        """The newest workbook of the outbox, opened."""
        return Desk(max(self.outbox.glob("xinqiao-*.xlsx")).read_bytes())

    def drop(self, name: str, data: bytes, *, manifest: bool = False) -> Path:
        """Put a file into the inbox: ``.part`` first, then its name; with ``manifest`` its SHA-256 beside it."""
        with self._shelf.open(_TIME_S) as files:
            if manifest:
                files.put(INBOX, name + MANIFEST, json_bytes({"sha256": hashlib.sha256(data).hexdigest()}))
            files.put(INBOX, name, data)
        path = self.inbox / name
        at = path.stat().st_mtime
        self._written = max(at, self._written + 1)  # a clerk is slower than a machine: no two files of one second
        if self._written > at:
            os.utime(path, (at, self._written))
        return path

    def send(self, desk: Desk, name: str, fault: Fault | None = None) -> None:
        """Save the workbook and put it into the inbox, with one thing done wrong."""
        self.drop(name, desk.saved(fault))
        if fault == "duplicate":
            self.drop(f"again-{name}", desk.saved())

    def work(self, activity: Mapping[str, Any]) -> int:
        """The clerk accepts every referral of the month's workbook, writes an activity down and sends it, once; how many
        referrals there were."""
        desk = self.desk()
        referrals = desk.rows(wire.REFERRALS)
        for row in referrals:
            desk.answer(wire.REFERRALS, row["转介编号"], {"办理": wire.ACCEPT})
        desk.add(wire.ACTIVITIES, **activity)
        if not (self.inbox / _WORK).exists():
            self.send(desk, _WORK)
        return len(referrals)

    def keep_books(self, fault: BookFault | None = None) -> None:
        """The clerk copies the books of last month from what that month's workbook said, into this month's."""
        desk = self.desk()
        desk.copy_books(Desk((self.inbox / _WORK).read_bytes()), fault)
        self.send(desk, f"books-{fault or 'whole'}.xlsx")

    def errors(self) -> dict[str, list[dict[str, Any]]]:
        """What came back to be mended, by file."""
        found = sorted((self.outbox / "errors").glob("*.xlsx"))
        fields = ("sheet", "row", "column", "mend", "typed", "reason", "english")
        return {each.name: [dict(zip(fields, row, strict=True)) for row in _first_sheet(each)] for each in found}

    # -- the signing tool -------------------------------------------------------------------------------------------

    def tick(self) -> list[str]:
        """Sign one receipt for each whole package, and for each recall of the workbook; returns what it complains about."""
        problems: list[str] = []
        with self._shelf.open(_TIME_S) as files:
            for folder in sorted(path.parent for path in self.outbox.glob("*/manifest.sig")):
                if (self.inbox / "receipts" / f"{folder.name}.receipt.json").exists():
                    continue
                problem, receipt = self._judge(folder)
                if problem:
                    problems.append(f"{folder.name}: {problem}")
                    continue
                files.put(package.RECEIPTS, f"{folder.name}.receipt.json", self._signed(receipt))
            for row in self.desk().rows(wire.RECALLS) if any(self.outbox.glob("xinqiao-*.xlsx")) else []:
                done = RecallReceipt(recall=row["撤回编号"], action=RECALL_ACTION_DELETED, done_us=self._clock.now_us())
                name = row["撤回编号"].replace("/", "-") + package.RECALL_ENDING
                if not (self.inbox / "receipts" / name).exists():
                    files.put(package.RECEIPTS, name, self._signed(done.SerializeToString(deterministic=True)))
        return problems

    def _signed(self, receipt: bytes) -> bytes:
        return package.signed_json(receipt, self._key.sign(receipt))

    def _judge(self, folder: Path) -> tuple[str, bytes]:
        manifest_bytes, items = (folder / "manifest.bin").read_bytes(), (folder / "items.bin").read_bytes()
        if self._gateway is not None:
            try:
                self._gateway.verify((folder / "manifest.sig").read_bytes(), manifest_bytes)
            except InvalidSignature:
                return "the gateway's signature is wrong", b""
        try:
            manifest, count = Manifest.FromString(manifest_bytes), len(_items(items))
        except DecodeError:
            return "it cannot be decoded", b""
        if hashlib.sha256(items).digest() != manifest.items_sha256 or count != manifest.items:
            return "the items are not those of the manifest", b""
        refused = sorted(each for each in self._refuse if each < count)
        receipt = Receipt(
            manifest_sha256=hashlib.sha256(manifest_bytes).digest(),
            accepted=count - len(refused),
            refused=[RefusedItem(ordinal=each, reason="UNKNOWN_STUDENT") for each in refused],
            receive_time_us=self._clock.now_us(),
            checkpoint=manifest.checkpoint,
            checkpoints=manifest.checkpoints,
        )
        return "", receipt.SerializeToString(deterministic=True)


class SftpFederation(FederationSimulator):
    """The federation behind its SFTP server, which plays what can go wrong on a connection."""

    delivered_by = "sftp"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, sftp=True, signs=True)

    def start(self) -> dict[str, Any]:
        """Serve; the password is named by its file."""
        settings = super().start()
        settings["sftp"]["password"] = Secret("file", str(self.password_file))
        return settings

    @property
    def plays(self) -> frozenset[str]:
        """Also what a server can do."""
        return super().plays | {"slow", "drop_before", "drop_after", "unauthorized"}


def _first_sheet(path: Path) -> list[list[Any]]:
    with CalamineWorkbook.from_filelike(io.BytesIO(path.read_bytes())) as book:
        return book.get_sheet_by_index(0).to_python()[1:]


def _own_key(path: Path) -> Ed25519PrivateKey:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return cast("Ed25519PrivateKey", serialization.load_pem_private_key(path.read_bytes(), None))
    key = Ed25519PrivateKey.generate()
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return key


def _public_key(pem: bytes | None) -> Ed25519PublicKey | None:
    key = serialization.load_pem_public_key(pem) if pem is not None else None
    if key is not None and not isinstance(key, Ed25519PublicKey):
        raise TypeError("the gateway's key is not an Ed25519 public key")
    return key


def _items(data: bytes) -> list[PackageItem]:
    stream, found = io.BytesIO(data), list[PackageItem]()
    while stream.tell() < len(data):
        found.append(parse_length_prefixed(PackageItem, stream))
    return found
