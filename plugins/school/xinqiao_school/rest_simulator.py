"""A stand-in for a school platform that serves OneRoster 1.2 over REST: real HTTP on loopback, with fault scripts."""

import base64
import json
import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

BASE = "/ims/oneroster/rostering/v1p2"
CLIENT, SECRET = "synthetic-client", "synthetic-secret"

Json = dict[str, Any]


@dataclass(slots=True)
class RestFaults:
    """What the platform does wrong, until it is set back; the numbers count down with each page asked for.

    ``slow_s``: seconds before each page. ``too_many``: pages answered 429 with ``retry_after``. ``expire``: pages after
    which every token is taken back. ``truncate``: pages cut off in the middle. ``duplicate``: pages that repeat the
    page before. ``move``: pages before which the first user is deleted, so that every later one moves up. ``backwards``:
    each page with its last item first.
    """

    slow_s: float = 0.0
    too_many: int = 0
    retry_after: int = 0
    expire: int = -1
    truncate: int = 0
    duplicate: int = 0
    move: int = 0
    backwards: bool = False
    without: frozenset[str] = frozenset()


@dataclass(slots=True)
class RestPlatform:
    """The platform's data and what it was asked; ``collections`` may be changed at any time."""

    collections: dict[str, list[Json]]
    faults: RestFaults = field(default_factory=RestFaults)
    requests: list[str] = field(default_factory=list[str])
    tokens_given: int = 0
    port: int = 0
    _tokens: set[str] = field(default_factory=set[str])
    _server: ThreadingHTTPServer | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> Json:
        """Serve; returns the ``rest`` settings, with the secret by the name of an environment variable."""
        platform = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                platform.answer(self)

            def do_POST(self) -> None:
                platform.give_token(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), name="oneroster-rest", daemon=True).start()
        here = f"http://127.0.0.1:{self.port}"
        return {"base_url": here + BASE, "token_url": here + "/token", "client_id": CLIENT}

    def stop(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def give_token(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0))).decode()
        expected = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        known = handler.headers.get("Authorization") == expected
        if not known or parse_qs(body).get("grant_type") != ["client_credentials"]:
            _send(handler, 401, {"error": "invalid_client"})
            return
        with self._lock:
            self.tokens_given += 1
            token = secrets.token_urlsafe(24)
            self._tokens.add(token)
        _send(handler, 200, {"access_token": token, "token_type": "bearer", "expires_in": 3600})

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        name, query = url.path.removeprefix(BASE + "/"), {k: v[0] for k, v in parse_qs(url.query).items()}
        with self._lock:
            self.requests.append(handler.path)
            faults = self.faults
            if faults.expire == 0:
                self._tokens.clear()
            faults.expire -= 1
            if handler.headers.get("Authorization", "").removeprefix("Bearer ") not in self._tokens:
                _send(handler, 401, {"imsx_codeMajor": "failure"})
                return
            if faults.too_many > 0:
                faults.too_many -= 1
                _send(handler, 429, {}, {"Retry-After": str(faults.retry_after)})
                return
            if name in faults.without or name not in self.collections:
                _send(handler, 403 if name in faults.without else 404, {})
                return
            if name == "users" and faults.move > 0 and int(query["offset"]) > 0:
                faults.move -= 1
                self.collections["users"] = self.collections["users"][1:]
            items = _filtered(self.collections[name], query.get("filter", ""))
            offset, limit = int(query.get("offset", 0)), int(query.get("limit", 100))
            if faults.duplicate > 0 and offset > 0:
                faults.duplicate -= 1
                page = items[max(0, offset - limit) : offset]
            else:
                page = items[offset : offset + limit]
            page = page[::-1] if faults.backwards else page
            cut = faults.truncate > 0
            faults.truncate -= cut
        time.sleep(faults.slow_s)
        headers = {"X-Total-Count": str(len(items))}
        if offset + limit < len(items):
            headers["Link"] = f'<{BASE}/{name}?offset={offset + limit}&limit={limit}>; rel="next"'
        _send(handler, 200, {name: page}, headers, cut=cut)


def _filtered(items: list[Json], text: str) -> list[Json]:
    items = sorted(items, key=lambda item: str(item["sourcedId"]))
    since = re.fullmatch(r"dateLastModified>='([^']*)'", text)
    return [item for item in items if since is None or str(item["dateLastModified"]) >= since[1]]


def _send(
    handler: BaseHTTPRequestHandler,
    status: int,
    body: Json,
    headers: dict[str, str] | None = None,
    *,
    cut: bool = False,
) -> None:
    data = json.dumps(body, ensure_ascii=False).encode()
    data = data[: len(data) // 2] if cut else data
    handler.send_response(status)
    for key, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}.items():
        handler.send_header(key, value)
    handler.end_headers()
    handler.wfile.write(data)


def synthetic_collections(students: int, stamp: str = "2026-09-01T00:00:00.000Z") -> dict[str, list[Json]]:
    """A made-up school as REST objects; user 0 is a guardian of student 1. Passwords are filled, as real ones are."""

    def base(key: str, /, **more: Any) -> Json:
        return {"sourcedId": key, "status": "active", "dateLastModified": stamp, **more}

    users = [
        base(
            f"SYN-{n:05}", enabledUser="true", givenName=f"同学{n}", familyName="欧阳", grades=["七年级"],
            password="synthetic-password",  # noqa: S106 - of nobody
            primaryOrg={"sourcedId": "SYN-ORG", "type": "org"},
            roles=[{"roleType": "primary", "role": "student", "org": {"sourcedId": "SYN-ORG"}}],
            agents=[{"sourcedId": "SYN-00000", "type": "user"}] if n == 1 else [],
        )
        for n in range(1, students + 1)
    ]  # fmt: skip
    carer = base("SYN-00000", givenName="家长", familyName="合成", phone="13800000000",
                 roles=[{"roleType": "primary", "role": "guardian", "org": {"sourcedId": "SYN-ORG"}}])  # fmt: skip
    return {
        "orgs": [base("SYN-ORG", name="合成示范学校（虚构）", type="school", identifier="")],
        "classes": [base("SYN-C1", title="七年级1班", grades=["七年级"], classType="homeroom", school={"sourcedId": "SYN-ORG"})],
        "users": [carer, *users],
        "enrollments": [
            base(f"SYN-E{n}", role="student", primary="true", user={"sourcedId": f"SYN-{n:05}"},
                 **{"class": {"sourcedId": "SYN-C1"}, "school": {"sourcedId": "SYN-ORG"}})
            for n in range(1, students + 1)
        ],
        "demographics": [base(f"SYN-{n:05}", birthDate="2013-05-06", sex="female") for n in range(1, students + 1)],
    }  # fmt: skip
