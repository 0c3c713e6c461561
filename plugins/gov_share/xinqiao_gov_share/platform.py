"""The simulated platform's records, and the simulated agency behind it: takes requests, answers them, signs receipts."""

import base64
import hashlib
import json
import os
import threading
from datetime import date
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from google.protobuf.message import Message

from xinqiao.adapters import durable
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReferralUpdate
from xinqiao.api.exchange.v1.exchange_pb2 import Manifest, Package, Receipt, SignedReceipt
from xinqiao.api.referral.v1.referral_pb2 import (
    REFERRAL_EVENT_ACCEPT,
    REFERRAL_EVENT_ATTEND,
    REFERRAL_EVENT_SCHEDULE,
)
from xinqiao.contract.clock import Clock, local_date
from xinqiao_gov_share.clocks import after_workdays
from xinqiao_gov_share.content import to_json, unseal
from xinqiao_gov_share.wire import Fields, Json, dump, parse

_STEPS = (REFERRAL_EVENT_ACCEPT, REFERRAL_EVENT_SCHEDULE, REFERRAL_EVENT_ATTEND)
_CONTRACTS = ("referral", "referral_update", "task", "police_report", "recall", "package")


class Refused(Exception):
    """An answer with a code other than 0, and the ``data`` beside it."""

    def __init__(self, code: int, data: Any = None) -> None:
        super().__init__(str(code))
        self.code = code
        self.data = data


class Platform:
    """Takes sharing requests, one ticket per request number for ever; what it has survives a new object on the folder."""

    def __init__(self, folder: Path, clock: Clock, catalogue: dict[str, str], agency_code: str) -> None:
        self.catalogue = catalogue
        self.withdrawn: set[str] = set()
        """Catalogue ids the application has no right to any more."""
        self._agency_code = agency_code
        self._clock = clock
        self.path = folder / "requests.json"
        self._lock = threading.RLock()
        self._tickets: dict[str, Json] = json.loads(self.path.read_bytes()) if self.path.exists() else {}
        self.receipt_key = _ed25519(folder / "receipt.key")
        self.opening_key = _x25519(folder / "opening.key")

    # -- what the gateway asks --------------------------------------------------------------------------------------

    def submit(self, body: bytes, *, due: date | None = None) -> tuple[str, bool]:
        """``(ticket, new)``. Raises Refused, or WireRefused where the body is no request."""
        fields = Fields(parse(body), "request")
        number = fields.text("requestNo", r"[A-Za-z0-9._:-]{8,64}")
        catalogue, contract = fields.text("catalogue", r".{3,64}"), fields.text("contract", r"[a-z_]{1,32}")
        agency, digest = fields.text("agency", r".{1,32}"), fields.text("sha256", r"[0-9a-f]{64}")
        about = {name: fields.words(name, 200) for name in ("basis", "scene", "contentType")}
        flags = {name: fields.flag(name) for name in ("urgent", "drill", "sealed")}
        content = fields.data("content")
        fields.end()
        if contract not in _CONTRACTS or self.catalogue.get(contract) != catalogue:
            raise Refused(2001)
        if catalogue in self.withdrawn:
            raise Refused(2002)
        if agency != self._agency_code:
            raise Refused(2003)
        if not about["basis"]:
            raise Refused(2101)
        if hashlib.sha256(content).hexdigest() != digest:
            raise Refused(2104)
        with self._lock:
            known = next((each for each in self._tickets.values() if each["requestNo"] == number), None)
            if known is not None:
                if known["body"] != hashlib.sha256(body).hexdigest():
                    raise Refused(2103)
                return known["ticket"], False
            ticket = f"GS-{len(self._tickets) + 1:06d}"
            self._tickets[ticket] = {
                "ticket": ticket, "requestNo": number, "state": "SUBMITTED", "final": False, "answers": [],
                "dueOn": due.isoformat() if due else None, "refusal": None, "supplement": None, "contract": contract,
                "catalogue": catalogue, "content": base64.b64encode(content).decode(), **about, **flags,
                "body": hashlib.sha256(body).hexdigest(), "submitted_us": self._clock.now_us(),
            }  # fmt: skip
            self._save()
            return ticket, True

    def shown(self, ticket: str) -> Json:
        """A ticket as the gateway sees it. Raises Refused."""
        found = self._tickets.get(ticket)
        if found is None:
            raise Refused(2404)
        names = ("ticket", "requestNo", "state", "final", "dueOn", "answers", "refusal", "supplement")
        return {name: found[name] for name in names}

    # -- what its people do -----------------------------------------------------------------------------------------

    @property
    def tickets(self) -> list[Json]:
        """Every request, in the order they came."""
        return list(self._tickets.values())

    def opened(self, ticket: str) -> bytes:
        """The content as the agency reads it. Raises ValueError where its seal does not open."""
        found = self._tickets[ticket]
        content = base64.b64decode(found["content"])
        if not found["sealed"]:
            return content
        try:
            return unseal(content, self.opening_key, catalogue=found["catalogue"], request_no=found["requestNo"])
        except InvalidTag:
            raise ValueError("the seal does not open") from None

    def process(self, ticket: str, due: date | None = None) -> None:
        """Accept a request for processing (受理); the agency then has five working days unless ``due`` says else."""
        day = due or after_workdays(self._clock.now_us(), 5)
        self.change(ticket, state="PROCESSING", dueOn=day.isoformat(), supplement=None)

    def ask_supplement(self, ticket: str, items: list[str], until: date | None = None) -> None:
        """Ask for more (补正)."""
        asked = {"items": items, "until": until.isoformat() if until else None}
        self.change(ticket, state="SUPPLEMENT", supplement=asked)

    def refuse(
        self, ticket: str, code: str, *, by: str = "AGENCY", law: str = "SC-809", article: int = 22, text: str = ""
    ) -> None:
        """Refuse (不予共享) with a reason and the article it rests on."""
        refusal = {"by": by, "code": code, "law": law, "article": article, "text": text}
        self.change(ticket, state="REFUSED", final=True, refusal=refusal)

    def answer(self, ticket: str, kind: str, message: Message, *, final: bool = False) -> None:
        """Answer with a message of the contract."""
        self.answer_raw(ticket, kind, to_json(message), final=final)

    def answer_raw(self, ticket: str, kind: str, content: bytes, *, final: bool = False) -> None:
        """Answer with anything, also what is no message of the contract."""
        answers = self._tickets[ticket]["answers"]
        made = {
            "number": len(answers) + 1, "kind": kind, "content": base64.b64encode(content).decode(),
            "sha256": hashlib.sha256(content).hexdigest(),
        }  # fmt: skip
        self.change(ticket, state="ANSWERED", final=final, answers=[*answers, made])

    def sign_receipts(self) -> int:
        """Check every package that has no receipt yet and sign one, or refuse it; how many were dealt with."""
        waiting = [each for each in self.tickets if each["contract"] == "package" and not each["final"]]
        for each in waiting:
            try:
                package = Package.FromString(self.opened(each["ticket"]))
                manifest = Manifest.FromString(package.manifest)
                if hashlib.sha256(package.items).digest() != manifest.items_sha256:
                    raise ValueError("items")
            except ValueError:
                self.refuse(each["ticket"], "OTHER")
                continue
            receipt = Receipt(
                manifest_sha256=hashlib.sha256(package.manifest).digest(), accepted=manifest.items,
                receive_time_us=self._clock.now_us(), checkpoint=manifest.checkpoint, checkpoints=manifest.checkpoints,
            ).SerializeToString(deterministic=True)  # fmt: skip
            signed = SignedReceipt(receipt=receipt, signature=self.receipt_key.sign(receipt))
            self.answer(each["ticket"], "package_receipt", signed, final=True)
        return len(waiting)

    def bring(self, count: int, *, wrong: bool = False) -> None:
        """Take the referrals further until there are ``count`` more answers, and one with an unknown event."""
        given = [each["ticket"] for each in self.tickets if each["contract"] == "referral" and not each["final"]]
        names = {ticket: json.loads(self.opened(ticket))["referral"].get("name", "") for ticket in given}
        if wrong and given:
            content = dump({"referral": names[given[0]], "event": "REFERRAL_EVENT_OF_ANOTHER_TABLE"})
            self.answer_raw(given[0], "referral", content)
        for number in range(count if given else 0):
            ticket = given[number % len(given)]
            event = _STEPS[number // len(given) % len(_STEPS)]
            update = ReferralUpdate(referral=names[ticket], event=event)
            if event == REFERRAL_EVENT_SCHEDULE:
                update.appointment_us = self._clock.now_us() + 86_400_000_000
            self.answer(ticket, "referral", update)

    def effects(self) -> list[str]:
        """Every request as its people see it, opened."""
        shown = ("ticket", "requestNo", "contract", "catalogue", "scene", "urgent", "drill")
        return [
            " ".join(str(each[name]) for name in shown) + " " + self.opened(each["ticket"]).decode("utf-8", "replace")
            for each in self.tickets
        ]

    def late_day(self) -> date:
        """A day that has passed."""
        return local_date(self._clock.now_us() - 2 * 86_400_000_000)

    def change(self, ticket: str, **words: Any) -> None:
        """Write anything into a ticket, also what no platform should."""
        with self._lock:
            self._tickets[ticket].update(words)
            self._save()

    def _save(self) -> None:
        durable.replace(self.path, dump(self._tickets))


def _ed25519(path: Path) -> Ed25519PrivateKey:
    key = _key(path, Ed25519PrivateKey.generate)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError(f"{path.name} is not an Ed25519 key")
    return key


def _x25519(path: Path) -> X25519PrivateKey:
    key = _key(path, X25519PrivateKey.generate)
    if not isinstance(key, X25519PrivateKey):
        raise TypeError(f"{path.name} is not an X25519 key")
    (path.parent / "opening.pub").write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return key


def _key(path: Path, generate: Any) -> Any:
    if path.exists():
        return load_pem_private_key(path.read_bytes(), None)
    key = generate()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key
