"""A simulated 110 centre on a real socket: takes signed requests, sends signed alerts and answers, breaks on command."""

import base64
import hashlib
import http.client
import json
import secrets
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_args

from xinqiao.adapters import durable
from xinqiao.api.adapter.v1.adapter_service_pb2 import Rejected
from xinqiao.config import Secret
from xinqiao.contract.clock import Clock, SystemClock
from xinqiao.testing.simulators import FAULTS
from xinqiao_police import cap
from xinqiao_police.faults import Faults, FaultScript, Kind
from xinqiao_police.handoff import CallFacts, handoff_key, issue, open_token
from xinqiao_police.notebook import Steps
from xinqiao_police.receiver import STATUS, WEBHOOKS
from xinqiao_police.settings import Wire
from xinqiao_police.signature import NotSigned, key_of, sign, verify
from xinqiao_police.wire import CAP, JSON, Envelope, Json, NotUnderstood, beijing, dump, read_json, write_json

SENDER = "110@police.example"
_TIMEOUT_S = 10.0
_REFUSALS: tuple[tuple[Kind, int], ...] = (
    ("unavailable", 503), ("throttled", 429), ("unauthorized", 401), ("forbidden", 403), ("unprocessable", 422),
)  # fmt: skip
_NEWS = ("accepted", "arrived", "closed")
_CHILD: Json = {"school": "示范中学", "full_name": "欧阳小雨", "birth_date": "2011-03-09", "phone": "13800000001"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway said to a webhook."""

    status: int
    body: Json

    @property
    def reason(self) -> str:
        """The gateway's reason, such as ``STALE``; empty where it took the message."""
        return str(self.body.get("error", {}).get("reason", ""))

    @property
    def word(self) -> str:
        """``spooled`` or ``stored``."""
        return str(self.body.get("status", ""))


class Centre110:
    """State in the folder, survives a restart. ``clock`` is what it signs by."""

    def __init__(self, folder: Path, *, port: int = 0, wire: Wire = "json", clock: Clock | None = None) -> None:
        self.wire = wire
        self.clock = clock or SystemClock()
        self.faults = Faults()
        self.refused: list[str] = []
        self._folder = folder
        (folder / "received").mkdir(mode=0o700, parents=True, exist_ok=True)
        self.stopping = threading.Event()
        self._late: list[tuple[str, bytes, str]] = []
        self._told: list[Rejected] = []
        self._counts = Steps(folder / "counts")
        self._lock = threading.Lock()
        self._gateway: tuple[str, int] | None = None
        self.own_secrets = [self._secret("centre.secret")]
        self.gateway_secret = self._secret("gateway.secret")
        self.handoff_secret = self._secret("handoff.key")
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self._thread: threading.Thread | None = None

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> dict[str, Any]:
        """Serve; the settings of an adapter that talks to it, its receiver where it will send to."""
        if self._gateway is None:
            with socket.create_server(("127.0.0.1", 0)) as probe:
                self._gateway = ("127.0.0.1", int(probe.getsockname()[1]))
        host, door = self._gateway
        if self._thread is None:
            self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
            self._thread.start()
        return {
            "url": f"http://127.0.0.1:{self._server.server_port}/webhooks", "wire": self.wire,
            "sign_with": (self.gateway_secret,), "verify_with": tuple(self.own_secrets),
            "handoff_keys": (self.handoff_secret,), "receiver": {"listen": f"{host}:{door}"},
        }  # fmt: skip

    def stop(self) -> None:
        """Stop serving."""
        self.stopping.set()
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join(2)
            self._thread = None
        self._server.server_close()

    def receipt_public_key_pem(self) -> bytes:
        """None: the police take no monthly packages."""
        return b""

    def connect(self, address: tuple[str, int]) -> None:
        """Where the gateway's receiver is, if not where ``start`` said."""
        self._gateway = address

    def rotate(self) -> Secret:
        """Sign with a new secret beside the old one."""
        self.own_secrets.append(self._secret(f"centre-{len(self.own_secrets) + 1}.secret"))
        return self.own_secrets[-1]

    def inject(self, *scripts: FaultScript) -> None:
        """Break as the scripts say."""
        self.faults.add(*scripts)

    # -- the Rehearsed and Answered protocols -------------------------------------------------------------------------

    @property
    def plays(self) -> frozenset[str]:
        """The common faults that it knows; ``FaultScript`` has more."""
        return frozenset(FAULTS) & frozenset(get_args(Kind))

    def play(self, fault: str, *, times: int = 1, seconds: float = 0.0) -> None:
        """Play a common fault. Raises ValueError for another."""
        self.inject(FaultScript.from_json({"kind": fault, "times": times, "seconds": seconds}))

    def calm(self) -> None:
        """End every fault."""
        self.faults.clear()

    def effects(self) -> list[str]:
        """Every message taken, as it came."""
        return [body.decode() for body in self.raw()]

    def bring(self, count: int) -> None:
        """Go on with its requests a step at a time, and send alerts. Raises RuntimeError when a good one is not taken."""
        news = [*self._steps(count // 2)]
        while len(news) < count:
            number = self._counts.last("alerts") + 1
            self._counts.note("alerts", number)
            news.append(("alert.created", _alert(f"J-{number}")))
        if self.faults.take("wrong_code") is not None:
            news.insert(0, ("alert.created", {**_alert("J-0"), "source": "CODE_OF_ANOTHER_TABLE"}))
        if self.faults.take("out_of_order") is not None:
            news.reverse()
        for kind, data in news:
            answer = self.say(kind, data)
            if answer.status >= 400 and data.get("alert") != "J-0":
                raise RuntimeError(f"a message was answered {answer.status}")

    def refusals(self) -> list[Rejected]:
        """What the gateway's answers said of messages it did not take."""
        return list(self._told)

    def _steps(self, count: int) -> list[tuple[str, Json]]:
        asked = [str(said.data["request"]) for said in self.received if said.type == "rescue.requested"]
        open_steps = [
            (request, sequence, word)
            for request in asked
            for sequence, word in enumerate(_NEWS, start=1)
            if sequence > self._counts.last(request)
        ]
        found: list[tuple[str, Json]] = []
        for request, sequence, word in open_steps[:count]:
            self._counts.note(request, sequence)
            found.append((f"request.{word}", self._progress(request, word, "已送医 taken to hospital", sequence)))
        return found

    # -- what it sends ------------------------------------------------------------------------------------------------

    def alert(self, number: str, said: str = "alert.created", /, **data: Any) -> Answer:
        """An alert, an update or a withdrawal of one, or an online-risk notice (``source="ONLINE_MONITORING"``)."""
        drill = bool(data.pop("drill", False))
        return self.say(said, {"alert": number, "message": number, **data}, drill=drill)

    def hand_off(
        self, number: str, call: CallFacts, *, audience: str = "xinqiao", life_s: int = 120, **data: Any
    ) -> Answer:
        """A three-way call, with a token."""
        key = handoff_key(self.handoff_secret.reveal())
        token = issue(key, call, audience=audience, now_s=self.clock.now_us() / 1e6, life_s=life_s)
        return self.say("call.handoff", {"alert": number, "message": number, "token": token, **data})

    def call(self, number: str) -> CallFacts:
        """What the token of a call that was handed to it carries. Raises NotUnderstood."""
        said = next(each for each in self.received if each.type == "call.handoff" and each.data["alert"] == number)
        keys, token = [handoff_key(self.handoff_secret.reveal())], str(said.data["token"])
        return open_token(keys, token, audience="110", call=number, now_s=self.clock.now_us() / 1e6)

    def answer(self, request: str, word: str, reason: str = "", sequence: int = 0) -> Answer:
        """How far it is with a request of the gateway's: received, accepted, declined, arrived, held, resumed, closed."""
        return self.say(f"request.{word}", self._progress(request, word, reason, sequence))

    def _progress(self, request: str, word: str, reason: str, sequence: int) -> Json:
        identifier = request.replace("/", ".", 1)
        data: Json = {"request": request, "message": f"{identifier}.{word}.{sequence}"}
        if self.wire == "cap":
            data["references"] = f"xinqiao,{identifier},{beijing(self.clock.now_us())}"
        more = {"reason": reason} if reason else {}
        return {**data, **more, **({"sequence": sequence} if sequence else {})}

    def say(self, kind: str, data: Json, *, drill: bool = False, webhook_id: str = "") -> Answer:
        """Any message, in the wire that was agreed."""
        envelope = Envelope(kind, beijing(self.clock.now_us()), data, drill)
        body = cap.write(envelope, sender=SENDER) if self.wire == "cap" else write_json(envelope)
        return self.send(WEBHOOKS, body, webhook_id or f"msg_{secrets.token_hex(16)}")

    def status(self, webhook_id: str) -> Answer:
        """Ask how far a webhook is at the gateway."""
        return self._once(STATUS, dump({"webhook": webhook_id}), f"msg_{secrets.token_hex(16)}", JSON)

    def send(self, path: str, body: bytes, webhook_id: str) -> Answer:
        """One message with the faults that are due; a later one may take an earlier one along."""
        if self.faults.take("reordered") is not None:
            self._late.append((path, body, webhook_id))
            return Answer(0, {})
        kind = CAP if self.wire == "cap" else JSON
        twice = self.faults.take("duplicate") is not None
        answer = self._once(path, body, webhook_id, kind)
        if twice:
            answer = self._once(path, body, webhook_id, kind)
        while self._late:
            self._once(*self._late.pop(0), kind)
        return answer

    def _once(self, path: str, body: bytes, webhook_id: str, kind: str) -> Answer:
        assert self._gateway is not None, "connect it to a gateway first"
        keys = [key_of(secret.reveal()) for secret in self.own_secrets]
        if self.faults.take("bad_signature") is not None:
            keys = [secrets.token_bytes(32)]
        skew = self.faults.take("clock_skew")
        seconds = self.clock.now_us() // 1_000_000 + int(skew.seconds if skew else 0)
        headers = {"Content-Type": kind, **sign(keys, webhook_id, seconds, body)}
        if self.faults.take("rewritten") is not None:
            body += b" "
        answer = post(self._gateway, path, body, headers)
        if error := answer.body.get("error"):
            self._told.append(Rejected(reason=error["reason"], place=error["place"], message=error["message"]))
        return answer

    # -- what it is sent ----------------------------------------------------------------------------------------------

    @property
    def received(self) -> list[Envelope]:
        """Every message taken, each once, in order."""
        paths = sorted((self._folder / "received").glob("*.body"))
        return [cap.read(body) if body.startswith(b"<") else read_json(body) for body in map(Path.read_bytes, paths)]

    def raw(self) -> list[bytes]:
        """The same as bytes."""
        return [path.read_bytes() for path in sorted((self._folder / "received").glob("*.body"))]

    def take(self, headers: Mapping[str, str], body: bytes) -> tuple[int, Json]:
        """Judge and keep one message; a repeat of an id gets the same receipt and leaves no second trace."""
        try:
            key = key_of(self.gateway_secret.reveal())
            message_id = verify([key], headers, body, self.clock.now_us() / 1e6)
            envelope = cap.read(body) if self.wire == "cap" else read_json(body)
        except NotSigned as e:
            self.refused.append(e.reason)
            return 401, {"error": e.reason}
        except NotUnderstood as e:
            self.refused.append(e.reason)
            return 400, {"error": e.reason}
        if headers.get("idempotency-key") != message_id:
            self.refused.append("IDEMPOTENCY_KEY")
            return 400, {"error": "Idempotency-Key"}
        if envelope.type == "ping":
            return 200, {}
        with self._lock:
            known = sorted((self._folder / "received").glob("*.body"))
            name = hashlib.sha256(message_id.encode()).hexdigest()[:16]
            same = next((path for path in known if path.stem.endswith(name)), None)
            if same is None:
                same = self._folder / "received" / f"{len(known) + 1:06d}-{name}.body"
                durable.replace(same, body)
            elif same.read_bytes() != body:
                self.refused.append("OTHER_BYTES")
                return 409, {"error": "other content under a known id"}
        return 200, {"receipt": f"110/{int(same.stem[:6])}"}

    def _secret(self, name: str) -> Secret:
        path = self._folder / name
        if not path.exists():
            path.touch(mode=0o600)
            key = base64.b64encode(secrets.token_bytes(32)).decode()
            path.write_text(key if name.endswith(".key") else f"whsec_{key}", "ascii")
        return Secret("file", str(path))


def post(gateway: tuple[str, int], path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """One POST. Raises OSError where the gateway cannot be reached."""
    connection = http.client.HTTPConnection(*gateway, timeout=_TIMEOUT_S)
    try:
        connection.request("POST", path, body, dict(headers))
        found = connection.getresponse()
        content = found.read()
        return Answer(found.status, json.loads(content) if content else {})
    except http.client.HTTPException as e:
        raise ConnectionError(type(e).__name__) from None
    finally:
        connection.close()


def _alert(number: str) -> Json:
    facts = f"警情{number}：有人看见学生独自上桥"
    more = {"kind": "SUICIDAL", "facts": facts, "location": "人民桥", "student": _CHILD}
    return {"alert": number, "message": number, **more}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of the play, and a traceback could show a record: say nothing."""


def _handler(centre: Centre110) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.close_connection = True
            if centre.faults.take("down", "drop_before") is not None:
                return
            if (slow := centre.faults.take("slow")) is not None and centre.stopping.wait(slow.seconds):
                return
            for fault, refusal in _REFUSALS:
                if (script := centre.faults.take(fault)) is not None:
                    later = {"Retry-After": str(int(script.seconds))} if script.seconds else {}
                    self._answer(refusal, dump({"error": fault}), later)
                    return
            if centre.faults.take("html") is not None:
                self._answer(200, b"<html>sign in</html>", {})
                return
            status, found = centre.take({name.lower(): value for name, value in self.headers.items()}, body)
            if centre.faults.take("drop_after") is None:
                self._answer(status, dump(found), {})

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

        def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    return Handler
