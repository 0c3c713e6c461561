"""A hospital that stands in for the real one: FHIR R4 over a real socket, its records in a folder.

It writes no log of requests: the only place that holds what it was given is its folder.
"""

import ssl
import threading
from collections.abc import Iterable, Mapping
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast, get_args
from urllib.parse import parse_qsl, urlencode, urlsplit

from xinqiao.api.casefile.v1.consent_pb2 import RecallAction
from xinqiao.contract.clock import Clock, SystemClock
from xinqiao.testing.simulators import FAULTS
from xinqiao_hospital.answering import bundle_of, capabilities, entry_faults, outcome_of, search, subscribe
from xinqiao_hospital.client import FHIR_JSON
from xinqiao_hospital.exchange_desk import ExchangeDesk, PackageRefused
from xinqiao_hospital.faults import Faults, FaultScript, Kind
from xinqiao_hospital.hospital import Staff
from xinqiao_hospital.pushing import Gateway, Pusher
from xinqiao_hospital.records import FhirRefused, Records
from xinqiao_hospital.shapes import Issue
from xinqiao_hospital.wire import Json, JsonRefused, as_list, as_object, as_text, dump, parse
from xinqiao_hospital.witness import HEADER, pack, unpack

_MAX_BODY = 64 * 2**20
_BASE = "/fhir"
_REFUSALS: tuple[tuple[Kind, int, str], ...] = (
    ("conflict", 409, "conflict"),
    ("precondition", 412, "conflict"),
    ("throttled", 429, "throttled"),
    ("unauthorized", 401, "login"),
    ("forbidden", 403, "forbidden"),
    ("unprocessable", 422, "invalid"),
)
_PLAYS = frozenset(FAULTS) & frozenset(get_args(Kind))
_NEWS = ("accept", "schedule", "attend", "outcome")
_ENTRY_REFUSALS: tuple[tuple[Kind, str], ...] = (
    ("entry_errors", "422 Unprocessable Entity"),
    ("entry_busy", "503 Service Unavailable"),
)
_Reply = tuple[int, Any, dict[str, str]]


class HospitalSimulator:
    """Serves on 127.0.0.1. What it holds survives ``stop`` and a new object on the same folder.

    ``token`` is demanded as Bearer token if given; ``gateway_key_pem`` makes it verify the signature of packages.
    Faults come from ``faults.json`` in the folder, or from ``inject``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        token: str | None = None,
        clock: Clock | None = None,
        gateway_key_pem: bytes | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        own_clock = clock or SystemClock()
        self.clock = own_clock
        scripts = folder / "faults.json"
        self.faults = Faults(FaultScript.load(scripts) if scripts.exists() else (), own_clock)
        self.records = Records(folder, own_clock)
        self.staff = Staff(self.records, own_clock)
        self.desk = ExchangeDesk(folder, self.records, own_clock, gateway_key_pem)
        self.pusher = Pusher(self.faults)
        self.records.watchers.append(self.pusher.changed)
        self.pusher.subscriptions = self.records.all("Subscription")
        self.free_slots: list[datetime] = []
        """When its free appointments start."""
        self.capacity_words: list[str] = []
        """What its HealthcareServices say: available, none, waitlist or assessment-required."""
        self.checkpoints: list[str] = []
        """The gateway's journal checkpoints it was handed: what a witness keeps."""
        self.token = token
        self.stopping = threading.Event()
        self._port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """Where it serves; the one given until it has started."""
        return self._port

    def start(self) -> dict[str, Any]:
        """Serve; the settings that make the adapter talk to it."""
        self.stopping.clear()
        self._server = _Server(("127.0.0.1", self._port), self)
        self._port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="hospital-simulator")
        self._thread.start()
        origin = f"http://127.0.0.1:{self._port}"
        return {"base_url": f"{origin}{_BASE}", "exchange_url": f"{origin}/exchange"}

    def stop(self) -> None:
        """Stop serving and give the port back; harmless when not started."""
        self.stopping.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
        self._server = self._thread = None
        self.pusher.stop()

    def push_to(self, base_url: str, token: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        """From now on push every change of a Task to a gateway's receiver at ``base_url``."""
        self.pusher.gateway = Gateway(base_url, token, tls)

    def inject(self, *faults: FaultScript) -> None:
        """Add faults."""
        for fault in faults:
            self.faults.add(fault)

    def clear_faults(self) -> None:
        """End every fault, such as ``down``."""
        self.faults.clear()

    # -- the Rehearsed protocol ---------------------------------------------------------------------------------------

    @property
    def plays(self) -> frozenset[str]:
        """The common faults that it knows; ``FaultScript`` has more."""
        return _PLAYS

    def play(self, fault: str, *, times: int = 1, seconds: float = 0.0) -> None:
        """Play a common fault. Raises ValueError for another."""
        self.inject(FaultScript.from_json({"kind": fault, "times": times, "seconds": seconds}))

    def calm(self) -> None:
        """End every fault."""
        self.clear_faults()

    def effects(self) -> list[str]:
        """Every version of every resource, and every package's receipt."""
        return self.records.everything()

    def bring(self, count: int) -> None:
        """Take the Tasks further, a step at a time, until ``count`` steps were done."""
        done = 0
        for step in _NEWS:
            done += self.staff.act_on_all(step) if done < count else 0

    def receipt_public_key_pem(self) -> bytes:
        """The Ed25519 key with which receipts verify, as PEM."""
        return self.desk.public_key_pem()

    def act(
        self,
        task: str,
        step: str,
        *,
        reason: str = "",
        appointment_us: int = 0,
        outcome: Mapping[str, str] | None = None,
    ) -> bool:
        """One step of the hospital on ``Task/{id}`` or ``referrals/{id}``; see ``Staff.act``."""
        return self.staff.act(task, step, reason=reason, appointment_us=appointment_us, outcome=outcome)

    def autopilot(self, steps: Iterable[str] = ("accept", "schedule")) -> None:
        """Do these steps on every Task as it comes in; none switches it off."""
        self.staff.autopilot = tuple(steps)

    def accept_all(self) -> int:
        return self.staff.act_on_all("accept")

    def schedule_all(self) -> int:
        return self.staff.act_on_all("schedule")

    def attend_all(self) -> int:
        return self.staff.act_on_all("attend")

    def answer_recalls(self, action: RecallAction.ValueType = RecallAction.RECALL_ACTION_DELETED) -> int:
        """Answer every open recall with a signed receipt; how many."""
        return self.staff.answer_recalls(self.desk.key, action)

    def report_outcomes(self) -> int:
        """Report the outcome of every Task that has been accepted; how many."""
        return self.staff.act_on_all("outcome")


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self, address: tuple[str, int], hospital: HospitalSimulator) -> None:
        self.hospital = hospital
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of the play, and a traceback could show a record: say nothing."""


class _Drop(Exception):
    """The connection is to break here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10.0

    @property
    def hospital(self) -> HospitalSimulator:
        return cast(_Server, self.server).hospital

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a request line holds identifiers."""

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def _handle(self) -> None:
        self.close_connection = True
        try:
            self._answer(*self._outcome())
        except _Drop:
            return

    def _outcome(self) -> _Reply:
        size = self.headers.get("Content-Length", "0")
        if not size.isdigit() or int(size) > _MAX_BODY:
            return 413, outcome_of(Issue("too-long", "Bundle")), {}
        body = self.rfile.read(int(size))
        parts = urlsplit(self.path)
        result: _Reply
        try:
            if parts.path.startswith("/simulator/"):
                return self._control(parts.path.removeprefix("/simulator/"), body)
            early = self._fault()
            if early is not None:
                return early
            if self.hospital.token and self.headers.get("Authorization") != f"Bearer {self.hospital.token}":
                return 401, outcome_of(Issue("login", "unknown")), {}
            result = self._route(parts.path, parts.query, body)
            if self.command != "GET" and self.hospital.faults.take("duplicate"):
                result = self._route(parts.path, parts.query, body)
        except FhirRefused as e:
            result = (e.status, outcome_of(*e.issues), {})
        except PackageRefused as e:
            result = (e.status, {"reason": e.reason}, {})
        except JsonRefused:
            result = (400, outcome_of(Issue("structure", "Bundle")), {})
        if self.hospital.faults.take("drop_after"):
            raise _Drop
        return result

    def _fault(self) -> _Reply | None:
        faults = self.hospital.faults
        if faults.take("down", "drop_before"):
            raise _Drop
        slow = faults.take("slow")
        if slow is not None and self.hospital.stopping.wait(slow.seconds):
            raise _Drop
        for kind, status, code in _REFUSALS:
            refusal = faults.take(kind)
            if refusal is not None:
                later = {"Retry-After": str(int(refusal.seconds))} if refusal.seconds else {}
                return status, outcome_of(Issue(code, "unknown")), later
        busy = faults.take("unavailable")
        if busy is not None:
            return 503, outcome_of(Issue("transient", "unknown")), {"Retry-After": str(int(busy.seconds))}
        if faults.take("html"):
            return 200, "<!doctype html><title>login</title>", {}
        return None

    def _route(self, path: str, query: str, body: bytes) -> _Reply:
        if path == "/exchange" and self.command == "POST":
            refuse = self.hospital.faults.take("refuse_items")
            document = as_object(parse(body).clean())
            request_id = self.headers.get("Idempotency-Key", "")
            return 200, self.hospital.desk.take(document, request_id, refuse.items if refuse else ()), {}
        if path.rstrip("/") == _BASE and self.command == "POST":
            return self._transaction(body)
        steps = path.removeprefix(f"{_BASE}/").split("/") if path.startswith(f"{_BASE}/") else []
        if self.command == "GET" and steps == ["metadata"]:
            return 200, capabilities(), {}
        if self.command == "GET" and steps == ["Task"]:
            return 200, self._search(dict(parse_qsl(query, keep_blank_values=True))), {}
        if self.command == "GET" and len(steps) == 1 and steps[0] in ("Slot", "HealthcareService", "Subscription"):
            return 200, search(self.hospital, steps[0], parse_qsl(query)), {}
        if steps and steps[0] == "Subscription" and self.command in ("POST", "PUT"):
            made, once = as_object(parse(body).clean()), "If-None-Exist" in self.headers
            return subscribe(self.hospital, made, steps[1] if len(steps) == 2 else "", once)
        if self.command == "GET" and len(steps) == 3 and steps[2] == "_history":
            return 200, bundle_of("history", list(reversed(self.hospital.records.history(steps[0], steps[1])))), {}
        if self.command == "GET" and len(steps) == 2:
            return _versioned(200, self.hospital.records.read(*steps))
        if self.command == "PUT" and len(steps) == 2 and steps[0] == "Task":
            resource = as_object(parse(body).clean())
            match = self.headers.get("If-Match", "")
            return _versioned(200, self.hospital.records.update("Task", steps[1], match, resource))
        raise FhirRefused(404, Issue("not-supported", "unknown"))

    def _transaction(self, body: bytes) -> _Reply:
        if self.headers.get_content_type() != FHIR_JSON:
            raise FhirRefused(415, Issue("not-supported", "Bundle"))
        bundle = as_object(parse(body).clean())
        for kind, status in _ENTRY_REFUSALS:
            script = self.hospital.faults.take(kind)
            if script is not None:
                return 200, entry_faults(bundle, status, script.items), {}
        entries = self.hospital.records.transaction(bundle)
        made = [as_object(entry["response"]) for entry in entries]
        locations = [as_text(r["location"]) for r in made if as_text(r["status"]).startswith("201")]
        self.hospital.staff.fly([at.partition("/_history")[0] for at in locations if at.startswith("Task/")])
        return 200, {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}, {}

    def _search(self, query: Mapping[str, str]) -> Json:
        sought = [token.partition("|")[::2] for token in query.get("identifier", "").split(",")]
        since = query.get("_lastUpdated", "ge").removeprefix("ge")
        found = [
            task
            for task in self.hospital.records.all("Task")
            if str(task["meta"]["lastUpdated"]) >= since
            and any(
                _identified(as_object(item), system, value)
                for item in as_list(task.get("identifier"))
                for system, value in sought
            )
        ]
        start, count = int(query.get("_offset", "0")), int(query.get("_count", "50"))
        if self.hospital.faults.take("small_pages"):
            count = 1
        page: list[Json] = found[start : start + count]
        if self.hospital.faults.take("stale"):
            page = [self.hospital.records.history("Task", str(task["id"]))[-2:][0] for task in page]
        if self.hospital.faults.take("wrong_code"):
            wrong = {"coding": [{"system": "urn:another:table", "code": "9.9"}]}
            page = [{**task, "businessStatus": wrong} for task in page]
        if self.hospital.faults.take("duplicate"):
            page = [task for task in page for _ in range(2)]
        if self.hospital.faults.take("out_of_order"):
            page = list(reversed(page))
        bundle = bundle_of("searchset", page)
        if start + count < len(found):
            following = urlencode({**query, "_offset": str(start + count)})
            port = cast(_Server, self.server).server_port
            bundle["link"] = [{"relation": "next", "url": f"http://127.0.0.1:{port}{_BASE}/Task?{following}"}]
        return bundle

    def _control(self, step: str, body: bytes) -> _Reply:
        asked = as_object(parse(body).clean()) if body else {}
        if step == "capacity":
            self.hospital.free_slots = [datetime.fromisoformat(as_text(at)) for at in as_list(asked.get("slots"))]
            self.hospital.capacity_words = [as_text(word) for word in as_list(asked.get("services"))]
            return 200, {"changed": len(self.hospital.free_slots) + len(self.hospital.capacity_words)}, {}
        if step == "faults":
            self.hospital.clear_faults()
            try:
                self.hospital.inject(*[FaultScript.from_json(as_object(item)) for item in as_list(asked.get("faults"))])
            except (ValueError, TypeError):
                return 400, {"reason": "FAULT"}, {}
            return 200, {"changed": len(as_list(asked.get("faults")))}, {}
        if step == "recalls":
            return 200, {"changed": self.hospital.answer_recalls()}, {}
        task = as_text(asked.get("task")) or as_text(asked.get("referral"))
        if not task:
            return 200, {"changed": self.hospital.staff.act_on_all(step)}, {}
        return 200, {"changed": int(self.hospital.act(task, step, reason=as_text(asked.get("reason"))))}, {}

    def _answer(self, status: int, content: Any, headers: Mapping[str, str]) -> None:
        data = content.encode() if isinstance(content, str) else dump(content)
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(content, str) else f"{FHIR_JSON}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name, value)
        if status < 300 and (notes := unpack(self.headers.get(HEADER, ""))):
            self.hospital.checkpoints.extend(note for note in notes if note not in self.hospital.checkpoints)
            self.send_header(HEADER, pack(notes))
        self.end_headers()
        self.wfile.write(data)


def _identified(identifier: Json, system: str, value: str) -> bool:
    return identifier.get("system") == system and value in ("", identifier.get("value"))


def _versioned(status: int, resource: Json) -> tuple[int, Json, dict[str, str]]:
    return status, resource, {"ETag": f'W/"{resource["meta"]["versionId"]}"'}
