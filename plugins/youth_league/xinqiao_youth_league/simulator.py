"""A made-up league on a real socket: takes requests, answers them, and lists what its groups did."""

import base64
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from xinqiao.api.casefile.v1.consent_pb2 import RECALL_ACTION_DELETED, RecallReceipt
from xinqiao.contract.recall import sign_receipt

Fault = Literal[
    "slow", "unavailable", "down", "drop_after", "duplicate", "out_of_order", "html", "wrong_code", "endless", "refuse"
]
"""``slow`` waits two seconds; ``unavailable`` answers 503 with Retry-After; ``down`` breaks the connection before and
``drop_after`` after the effect; ``duplicate`` lists each item twice, ``out_of_order`` a page backwards; ``html``
answers a web page; ``wrong_code`` lists a result nobody knows; ``endless`` says that there are more for ever;
``refuse`` answers 422.
"""


@dataclass(slots=True)
class _Faults:
    left: dict[Fault, int] = field(default_factory=dict["Fault", int])

    def take(self, fault: Fault) -> bool:
        times = self.left.get(fault, 0)
        if times:
            self.left[fault] = times - 1
        return times != 0


class YouthLeagueSimulator:
    """The league's platform. ``folder`` keeps nothing: what it knows ends with it."""

    def __init__(self, folder: Path) -> None:
        self.requests: dict[str, dict[str, Any]] = {}
        self.recalls: dict[str, dict[str, Any]] = {}
        self.bodies: list[bytes] = []
        self._keys: dict[str, tuple[bytes, str]] = {}
        self._lists: dict[str, list[dict[str, Any]]] = {"answers": [], "receipts": [], "activities": []}
        self._faults = _Faults()
        self._lock = threading.Lock()
        self._key = Ed25519PrivateKey.generate()
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> dict[str, Any]:
        """Serve on loopback; returns settings for an adapter."""
        if self._server is None:
            self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._play))
            threading.Thread(target=self._server.serve_forever, args=(0.02,), name="youth-league", daemon=True).start()
        return {"base_url": f"http://127.0.0.1:{self._server.server_port}", "timeout_s": 1.0}

    def stop(self) -> None:
        """End the socket."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def receipt_public_key_pem(self) -> bytes:
        """The key that checks its answers to recalls."""
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def inject(self, fault: Fault, times: int = 1) -> None:
        """Play a fault at the next ``times`` requests it fits; -1 for all, 0 to end it."""
        with self._lock:
            self._faults.left[fault] = times

    def answer(self, request: str, result: str, **more: object) -> None:
        """Say what became of a request."""
        self._add("answers", {"request": request, "result": result, **more})

    def month(self, identifier: str, month: str, activities: int, attendances: int, **more: object) -> None:
        """Say what a group did in a month; the same id again replaces it."""
        item = {"id": identifier, "month": month, "group": "blue-team", "activities": activities}
        self._add("activities", {**item, "attendances": attendances, **more})

    def delete(self, recall: str) -> None:
        """Say, signed, that everything a recall names was deleted."""
        signed = sign_receipt(RecallReceipt(recall=recall, action=RECALL_ACTION_DELETED), self._key)
        self._add(
            "receipts",
            {
                "recall": recall,
                "receipt": base64.b64encode(signed.receipt).decode(),
                "signature": base64.b64encode(signed.signature).decode(),
            },
        )

    def _add(self, name: str, item: dict[str, Any]) -> None:
        with self._lock:
            self._lists[name].append({"seq": len(self._lists[name]) + 1, **item})

    # -- one request ------------------------------------------------------------------------------------------------

    def _play(self, method: str, target: str, key: str, body: bytes) -> tuple[int, bytes] | None:
        """The status and body of the answer; None breaks the connection."""
        with self._lock:
            if self._faults.take("down"):
                return None
            if self._faults.take("unavailable"):
                return 503, b"{}"
            if self._faults.take("html"):
                return 200, b"<html>welcome</html>"
            slow, drop = self._faults.take("slow"), method == "POST" and self._faults.take("drop_after")
            status, answer = self._post(target, key, body) if method == "POST" else self._list(target)
        if slow:
            time.sleep(2.0)
        return None if drop else (status, json.dumps(answer, ensure_ascii=False).encode())

    def _post(self, target: str, key: str, body: bytes) -> tuple[int, dict[str, Any]]:
        self.bodies.append(body)
        if self._faults.take("refuse"):
            return 422, {}
        known = self._keys.get(key)
        if known is not None:
            return (200, {"id": known[1]}) if known[0] == body else (409, {})
        identifier = f"need-{len(self._keys) + 1}"
        self._keys[key] = (body, identifier)
        found = json.loads(body)
        if target == "/recalls":
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
        if self._faults.take("duplicate"):
            page = [item for item in page for _ in range(2)]
        if self._faults.take("out_of_order"):
            page = page[::-1]
        if name == "answers" and self._faults.take("wrong_code"):
            page = [{**item, "result": "maybe"} for item in page]
        return 200, {name: page, "more": len(fresh) > limit or self._faults.take("endless")}


def _handler(play: Callable[[str, str, str, bytes], tuple[int, bytes] | None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("GET", b"")

        def do_POST(self) -> None:
            self._answer("POST", self.rfile.read(int(self.headers["Content-Length"])))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of http.server
            return

        def _answer(self, method: str, body: bytes) -> None:
            answer = play(method, self.path, self.headers.get("Idempotency-Key", ""), body)
            if answer is None:
                self.close_connection = True
                return
            self.send_response(answer[0])
            if answer[0] == 503:
                self.send_header("Retry-After", "7")
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(answer[1])))
            self.end_headers()
            self.wfile.write(answer[1])

    return Handler
