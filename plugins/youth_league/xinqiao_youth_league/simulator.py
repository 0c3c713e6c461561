"""A made-up league on a real socket: takes requests, answers them, and lists what its groups did."""

import base64
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from xinqiao.api.casefile.v1.consent_pb2 import RECALL_ACTION_DELETED, RecallReceipt
from xinqiao.contract.recall import sign_receipt
from xinqiao.testing.simulators import HttpSimulator, Reply


class YouthLeagueSimulator(HttpSimulator):
    """The league's platform. ``folder`` keeps nothing: what it knows ends with it.

    Beside the faults of ``HttpSimulator`` it plays ``duplicate`` (each item of a page twice), ``out_of_order`` (a page
    backwards) and ``wrong_code`` (one more answer with a result nobody knows); ``endless`` says for ever that there is more.
    """

    plays = HttpSimulator.plays | {"duplicate", "out_of_order", "wrong_code"}

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.requests: dict[str, dict[str, Any]] = {}
        self.recalls: dict[str, dict[str, Any]] = {}
        self.bodies: list[bytes] = []
        self.endless = False
        self._keys: dict[str, tuple[bytes, str]] = {}
        self._lists: dict[str, list[dict[str, Any]]] = {"answers": [], "receipts": [], "activities": [], "books": []}
        self.findings: list[dict[str, str]] = []
        self._lock = threading.Lock()
        self._key = Ed25519PrivateKey.generate()

    def start(self) -> dict[str, Any]:
        """Serve on loopback; returns settings for an adapter."""
        return {"base_url": self._origin or self._serving(), "timeout_s": 1.0, "books": True}

    def stop(self) -> None:
        """Stop serving."""
        super().stop()
        self._origin = ""

    def receipt_public_key_pem(self) -> bytes:
        """The key that checks its answers to recalls."""
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def play(self, fault: str, *, times: int = 1, seconds: float = 0.0) -> None:
        """Play a fault, as ``xinqiao.adapters.protocols.Rehearsed`` says."""
        if fault == "wrong_code":
            self.tell("tasks/any", "maybe")
        else:
            super().play(fault, times=times, seconds=seconds)

    def effects(self) -> Sequence[str]:
        """The requests and recalls it holds, one a key."""
        with self._lock:
            return [body.decode() for body, _ in self._keys.values()]

    def bring(self, count: int) -> None:
        """Answers to what it was asked, or to something."""
        known = [*self.requests] or ["tasks/any"]
        for number in range(count):
            self.tell(known[number % len(known)], "done", group="blue-team")

    # -- what its people do -----------------------------------------------------------------------------------------

    def tell(self, request: str, result: str, **more: object) -> None:
        """Say what became of a request."""
        self._add("answers", {"request": request, "result": result, **more})

    def month(self, identifier: str, month: str, activities: int, attendances: int, **more: object) -> None:
        """Say what a group did in a month; the same id again replaces it."""
        item = {"id": identifier, "month": month, "group": "blue-team", "activities": activities}
        self._add("activities", {**item, "attendances": attendances, **more})

    def keep_books(self, month: str, fault: Literal["", "differing", "missing"] = "") -> None:
        """List its own books of a month: what its groups did by then; or with one figure otherwise, or one left out."""
        done = {each["id"]: each for each in self._lists["activities"] if each["month"] == month}
        kept = [each for each in done.values() if each["activities"] and not each.get("withdrawn")]
        lines = [{name: each[name] for name in ("id", "activities", "attendances")} for each in kept]
        if fault == "differing":
            lines[0]["attendances"] += 100
        elif fault == "missing":
            lines.pop()
        self._add("books", {"month": month, "nil": not lines, "lines": lines})

    def delete(self, recall: str) -> None:
        """Say, signed, that everything a recall names was deleted."""
        signed = sign_receipt(RecallReceipt(recall=recall, action=RECALL_ACTION_DELETED), self._key)
        receipt, signature = (base64.b64encode(each).decode() for each in (signed.receipt, signed.signature))
        self._add("receipts", {"recall": recall, "receipt": receipt, "signature": signature})

    def _add(self, name: str, item: dict[str, Any]) -> None:
        with self._lock:
            self._lists[name].append({"seq": len(self._lists[name]) + 1, **item})

    # -- its platform -----------------------------------------------------------------------------------------------

    _origin = ""

    def _serving(self) -> str:
        self._origin = self.serve()
        return self._origin

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """See ``HttpSimulator``."""
        with self._lock:
            key = headers.get("idempotency-key", "")
            status, found = self._post(path, key, body) if method == "POST" else self._list(path)
        return Reply(status, json.dumps(found, ensure_ascii=False).encode())

    def _post(self, path: str, key: str, body: bytes) -> tuple[int, dict[str, Any]]:
        self.bodies.append(body)
        known = self._keys.get(key)
        if known is not None:
            return (200, {"id": known[1]}) if known[0] == body else (409, {})
        identifier = f"need-{len(self._keys) + 1}"
        self._keys[key] = (body, identifier)
        found = json.loads(body)
        if path == "/findings":
            self.findings += found["findings"]
        elif path == "/recalls":
            self.recalls[found["recall"]] = found
            for request in found["requests"]:
                self.requests.pop(request, None)
        else:
            self.requests[found["request"]] = found
        return 201, {"id": identifier}

    def _list(self, target: str) -> tuple[int, dict[str, Any]]:
        parts = urlsplit(target)
        name, query = parts.path.strip("/"), parse_qs(parts.query)
        if name not in self._lists:
            return 404, {}
        after, limit = int(query["after"][0]), int(query["limit"][0])
        fresh = [item for item in self._lists[name] if item["seq"] > after]
        page = fresh[:limit]
        if page and self.faults.take("duplicate") is not None:
            page = [item for item in page for _ in range(2)]
        if page and self.faults.take("out_of_order") is not None:
            page = page[::-1]
        return 200, {name: page, "more": len(fresh) > limit or self.endless}
