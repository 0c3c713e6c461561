"""A stand-in for a school platform: drops files, fetches advice, verifies packages and signs receipts."""

import hashlib
import io
import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from google.protobuf.message import DecodeError
from google.protobuf.proto import parse_length_prefixed

from xinqiao.api.exchange.v1.exchange_pb2 import Manifest, PackageItem, Receipt, RefusedItem, SignedReceipt
from xinqiao.config.secret import Secret
from xinqiao.contract.clock import Clock, SystemClock
from xinqiao_school import reports, synthetic, wire
from xinqiao_school.rest_simulator import SECRET, RestFaults, RestPlatform, synthetic_collections

_DAY_US = 24 * 3600 * 1_000_000
_TICK_S = 0.1


@dataclass(slots=True)
class Faults:
    """What the platform does wrong, until it is set back.

    ``drop_late``: ticks that a dropped file stays ``.part``. ``duplicate``: every file is dropped again under another
    name. ``truncate``: share of a file's bytes that is lost at its end. ``receipt_after_days``: receipts come so late.
    ``refuse_items``: ordinals of package items it refuses. ``down``: the share with its folders is away. ``sheets_first``:
    score sheets come before their roster. ``wrong_code``: sheets still to come with answers that no item has.
    """

    drop_late: int = 0
    duplicate: bool = False
    truncate: float = 0.0
    receipt_after_days: float = 0.0
    refuse_items: frozenset[int] = frozenset()
    down: bool = False
    sheets_first: bool = False
    wrong_code: int = 0


@dataclass(slots=True)
class _Late:
    part: Path
    target: Path
    ticks: int


@dataclass(slots=True)
class _State:
    received: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    problems: list[str] = field(default_factory=list[str])
    late: list[_Late] = field(default_factory=list[_Late])
    first_seen_us: dict[str, int] = field(default_factory=dict[str, int])


class SchoolSimulator:
    """The platform of one made-up school, in ``folder``; ``tick`` does one round of its work, ``start`` keeps ticking.

    With ``gateway_key_pem`` it verifies the gateway's signature of each package, as a real platform must.
    """

    def __init__(self, folder: Path, *, gateway_key_pem: bytes | None = None, clock: Clock | None = None) -> None:
        self.inbox = folder / "inbox"
        self.outbox = folder / "outbox"
        self.faults = Faults()
        self._folder = folder
        self._clock = clock or SystemClock()
        self._gateway = _public_key(gateway_key_pem) if gateway_key_pem is not None else None
        self._state = _State()
        self._brought = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        for path in (self.inbox, self.outbox, self.inbox / wire.RECEIPTS):
            path.mkdir(parents=True, exist_ok=True)
        self._key = self._load_key()

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self) -> dict[str, Any]:
        """Begin to tick in a thread; returns settings for an adapter."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="school-simulator", daemon=True)
            self._thread.start()
        return {
            "inbox": str(self.inbox),
            "outbox": str(self.outbox),
            "school": "SYN-SCHOOL",
            "school_title": synthetic.SCHOOL_TITLE,
            "sheets": [{"match": synthetic.GB18030_NAME, "encoding": "gb18030"}],
        }

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def tick(self) -> None:
        """Finish late drops, fetch advice, answer packages."""
        with self._lock:
            if self.faults.down:
                return
            self._finish_late()
            self._fetch_advice()
            for folder in sorted(self.outbox.iterdir()):
                if folder.is_dir() and folder.suffix != ".part" and folder.name != reports.FOLDER:
                    self._answer(folder)

    def _run(self) -> None:
        while not self._stop.wait(_TICK_S):
            self.tick()

    # -- towards the gateway ----------------------------------------------------------------------------------------

    def drop(self, path: Path, *, name: str | None = None, manifest: bool = False) -> Path:
        """Put a copy of ``path`` into the inbox as ``name``: written as ``.part``, then renamed.

        With ``manifest`` its SHA-256 and, for CSV, its rows go beside it. Returns the place it has or will have.
        """
        data = path.read_bytes()
        target = self.inbox / (name or path.name)
        if manifest:
            about: dict[str, object] = {"sha256": hashlib.sha256(data).hexdigest()}
            if target.suffix == ".csv":
                about["rows"] = sum(bool(line.strip()) for line in data.splitlines()) - 1
            wire.write_whole(target.with_name(target.name + ".manifest.json"), json.dumps(about).encode())
        data = data[: len(data) - int(len(data) * self.faults.truncate)]
        with self._lock:
            part = target.with_name(target.name + ".part")
            part.write_bytes(data)
            if self.faults.drop_late:
                self._state.late.append(_Late(part, target, self.faults.drop_late))
            else:
                part.replace(target)
            if self.faults.duplicate:
                wire.write_whole(target.with_name(f"again-{target.name}"), data)
        return target

    def drop_school(self, *, students: int = 120, seed: int = 1) -> synthetic.SchoolFiles:
        """Make a school and drop its roster, then its sheets."""
        files = synthetic.make_school(self._folder / "school", students=students, seed=seed)
        for path in reversed(files) if self.faults.sheets_first else files:
            self.drop(path)
        return files

    # -- the Rehearsed protocol ---------------------------------------------------------------------------------------

    @property
    def plays(self) -> frozenset[str]:
        """What can go wrong between folders."""
        return frozenset({"down", "duplicate", "out_of_order", "wrong_code"})

    def play(self, fault: str, *, times: int = 1, seconds: float = 0.0) -> None:
        """Play a fault until ``calm``. Raises ValueError for one that no folder has."""
        match fault:
            case "down":
                self._share(away=True)
            case "duplicate":
                self.faults.duplicate = True
            case "out_of_order":
                self.faults.sheets_first = True
            case "wrong_code":
                self.faults.wrong_code += max(times, 1)
            case _:
                raise ValueError(f"this platform plays {', '.join(sorted(self.plays))}")

    def calm(self) -> None:
        """End every fault."""
        self._share(away=False)
        self.faults = Faults()

    def effects(self) -> list[str]:
        """The advice fetched, and the manifest of each package that came."""
        self.tick()
        packages = sorted(self.outbox.glob("*/manifest.json"))
        texts = [json.dumps(advice, ensure_ascii=False, sort_keys=True) for advice in self.received()]
        return [*texts, *(f"{path.parent.name} {path.read_text('utf-8')}" for path in packages)]

    def bring(self, count: int) -> None:
        """Drop a school of ``count`` students with its score sheets: many items."""
        self._brought += 1
        files = self.drop_school(students=max(count, 12), seed=self._brought)
        while self.faults.wrong_code:
            self.faults.wrong_code -= 1
            sheet = files.utf8.with_name(f"wrong-code-{self._brought}-{self.faults.wrong_code}.csv")
            header, _, rows = files.utf8.read_bytes().partition(b"\r\n")
            cells = rows.partition(b"\r\n")[0].split(b",")
            sheet.write_bytes(b"\r\n".join([header, b",".join([*cells[:-1], b"9"]), b""]))
            self.drop(sheet)

    def _share(self, *, away: bool) -> None:
        with self._lock:
            if away != self.faults.down:
                for path in (self.inbox, self.outbox):
                    gone = path.with_name(f"{path.name}.away")
                    (path if away else gone).rename(gone if away else path)
                self.faults.down = away

    # -- from the gateway -------------------------------------------------------------------------------------------

    def received(self) -> list[dict[str, Any]]:
        """The advice fetched so far, in the order it came; one entry a request id, however often it was sent."""
        with self._lock:
            return list(self._state.received.values())

    def problems(self) -> list[str]:
        """What the platform had to complain about: packages it refused."""
        with self._lock:
            return list(self._state.problems)

    def receipt_public_key_pem(self) -> bytes:
        """The key that verifies this platform's receipts."""
        return self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def _finish_late(self) -> None:
        for late in self._state.late:
            late.ticks -= 1
            if late.ticks <= 0:
                late.part.replace(late.target)
        self._state.late = [late for late in self._state.late if late.ticks > 0]

    def _fetch_advice(self) -> None:
        for path in sorted(self.outbox.glob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name)):
            if path.name not in self._state.received:
                self._state.received[path.name] = cast("dict[str, Any]", json.loads(path.read_bytes()))

    def _answer(self, folder: Path) -> None:
        target = self.inbox / wire.RECEIPTS / f"{folder.name}.receipt.json"
        if target.exists():
            return
        now_us = self._clock.now_us()
        seen_us = self._state.first_seen_us.setdefault(folder.name, now_us)
        if now_us - seen_us < self.faults.receipt_after_days * _DAY_US:
            return
        manifest_bytes = (folder / "manifest.bin").read_bytes()
        items = (folder / "items.bin").read_bytes()
        problem, count, manifest = self._judge(manifest_bytes, (folder / "manifest.sig").read_bytes(), items)
        if problem:
            note = f"{folder.name}: {problem}"
            if note not in self._state.problems:
                self._state.problems.append(note)
            return
        refused = sorted(ordinal for ordinal in self.faults.refuse_items if ordinal < count)
        receipt = Receipt(
            manifest_sha256=hashlib.sha256(manifest_bytes).digest(),
            accepted=count - len(refused),
            refused=[RefusedItem(ordinal=ordinal, reason="UNKNOWN_STUDENT") for ordinal in refused],
            receive_time_us=now_us,
            checkpoint=manifest.checkpoint,
            checkpoints=manifest.checkpoints,
        ).SerializeToString(deterministic=True)
        signed = SignedReceipt(receipt=receipt, signature=self._key.sign(receipt))
        wire.write_whole(target, wire.receipt_json(signed))

    def _judge(self, manifest_bytes: bytes, signature: bytes, items: bytes) -> tuple[str, int, Manifest]:
        """What is wrong with a package (or nothing), its items, its manifest."""
        manifest = Manifest()
        if self._gateway is not None:
            try:
                self._gateway.verify(signature, manifest_bytes)
            except InvalidSignature:
                return "the gateway's signature is wrong", 0, manifest
        try:
            manifest.ParseFromString(manifest_bytes)
            count = _count_items(items)
        except DecodeError:
            return "it cannot be decoded", 0, manifest
        if hashlib.sha256(items).digest() != manifest.items_sha256:
            return "the items are not those of the manifest", 0, manifest
        if count != manifest.items:
            return "the number of items is not the manifest's", 0, manifest
        return "", count, manifest

    def _load_key(self) -> Ed25519PrivateKey:
        path = self._folder / "receipt-key.pem"
        if path.exists():
            return cast("Ed25519PrivateKey", serialization.load_pem_private_key(path.read_bytes(), None))
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.touch(mode=0o600)
        path.write_bytes(pem)
        return key


class RestSchoolSimulator(SchoolSimulator):
    """The platform with its roster over OneRoster REST; sheets, advice and packages go through the folders as ever."""

    delivered_by = "folder"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.platform = RestPlatform(synthetic_collections(0))
        self._secret = folder / "client-secret"

    def start(self) -> dict[str, Any]:
        """Also serve the roster."""
        settings = super().start()
        self._secret.touch(mode=0o600)
        self._secret.write_text(SECRET, "ascii")
        rest = {**self.platform.start(), "client_secret": Secret("file", str(self._secret)), "every_s": 0}
        return {**settings, "source": "rest", "rest": rest}

    def stop(self) -> None:
        """Stop serving too."""
        super().stop()
        self.platform.stop()

    def play(self, fault: str, *, times: int = 1, seconds: float = 0.0) -> None:
        """Of the roster: pages that repeat the one before, and each page backwards."""
        super().play(fault, times=times, seconds=seconds)
        self.platform.faults.duplicate = 3 if fault == "duplicate" else self.platform.faults.duplicate
        self.platform.faults.backwards |= fault == "out_of_order"

    def calm(self) -> None:
        """End every fault."""
        super().calm()
        self.platform.faults = RestFaults()

    def drop_school(self, *, students: int = 120, seed: int = 1) -> synthetic.SchoolFiles:
        """The sheets into the inbox, the roster to the platform."""
        files = synthetic.make_school(self._folder / "school", students=students, seed=seed)
        self.platform.collections = synthetic_collections(students)
        for path in reversed(files[1:]) if self.faults.sheets_first else files[1:]:
            self.drop(path)
        return files


def _public_key(pem: bytes) -> Ed25519PublicKey:
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, Ed25519PublicKey):
        raise TypeError("the gateway's key is not an Ed25519 public key")
    return key


def _count_items(items: bytes) -> int:
    stream = io.BytesIO(items)
    count = 0
    while stream.tell() < len(items):
        parse_length_prefixed(PackageItem, stream)
        count += 1
    return count
