"""The simulated hospital's outgoing side: its Tasks pushed to a gateway's receiver, and the notices of subscriptions."""

import http.client
import queue
import ssl
import threading
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from xinqiao_hospital.faults import Faults
from xinqiao_hospital.wire import Json, JsonRefused, as_list, as_object, as_text, dump, parse

FHIR_JSON: Final = "application/fhir+json"
_TIMEOUT_S = 10.0
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway said to a push; ``outcome`` is its OperationOutcome or Bundle."""

    status: int
    outcome: Json
    etag: str = ""

    @property
    def reasons(self) -> list[str]:
        """The gateway's own reasons, such as ``DATA/CODE``."""
        details = [as_object(as_object(issue).get("details")) for issue in as_list(self.outcome.get("issue"))]
        return [as_text(as_object(c).get("code")) for detail in details for c in as_list(detail.get("coding"))]

    @property
    def places(self) -> list[str]:
        """Where each issue is."""
        issues = [as_object(issue) for issue in as_list(self.outcome.get("issue"))]
        return [as_text(place) for issue in issues for place in as_list(issue.get("expression"))]


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where the gateway listens, and what it wants to be shown."""

    base_url: str
    token: str | None = None
    tls: ssl.SSLContext | None = None

    def send(
        self, method: str, path: str, body: bytes, *, kind: str = FHIR_JSON, headers: dict[str, str] | None = None
    ) -> Answer:
        """One request. Raises OSError where the gateway cannot be reached."""
        shown = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        given = {"Content-Type": kind, **shown, **(headers or {})}
        return request(method, f"{self.base_url}{path}", body, given, self.tls)


def request(method: str, url: str, body: bytes, headers: dict[str, str], tls: ssl.SSLContext | None = None) -> Answer:
    """One HTTP request. Raises OSError."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    connection = (
        http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=tls)
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    )
    try:
        connection.request(method, parts.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        try:
            found = as_object(parse(content).clean()) if content else {}
        except JsonRefused:
            found = {}
        return Answer(answer.status, found, answer.headers.get("ETag", ""))
    except http.client.HTTPException as e:
        raise ConnectionError(type(e).__name__) from None
    finally:
        connection.close()


class Pusher:
    """Pushes what changes, in order, from a thread of its own; a push that fails is tried a few times and given up."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._work: queue.SimpleQueue[tuple[str, Json] | None] = queue.SimpleQueue()
        self._lock = threading.Condition()
        self._waiting = 0
        self._late: list[Json] = []
        self._thread: threading.Thread | None = None
        self.gateway: Gateway | None = None
        self.subscriptions: list[Json] = []
        self.answers: list[Answer] = []
        self.given_up = 0

    def changed(self, task: Json) -> None:
        """A Task changed: push it where a gateway is set, and give notice to whom subscribed."""
        for subscription in self.subscriptions:
            if subscription.get("status") == "active":
                self._add("notice", subscription)
        if self.gateway is None or self._faults.take("push_lost"):
            return
        if self._faults.take("push_late"):
            self._late.append(task)
            return
        for _ in range(2 if self._faults.take("push_twice") else 1):
            self._add("push", task)
        while self._late:
            self._add("push", self._late.pop())

    def push(self, task: Json, *, if_match: str = "") -> Answer:
        """Push one version of a Task now. Raises OSError."""
        assert self.gateway is not None
        headers = {"If-Match": if_match} if if_match else {}
        return self.gateway.send("PUT", f"/Task/{task['id']}", dump(task), headers=headers)

    def wait(self, seconds: float = 10.0) -> bool:
        """Whether everything to push was pushed or given up within ``seconds``."""
        with self._lock:
            return self._lock.wait_for(lambda: self._waiting == 0, seconds)

    def stop(self) -> None:
        """End the thread; what was not pushed is forgotten."""
        if self._thread is not None:
            self._work.put(None)
            self._thread.join(_TIMEOUT_S)
            self._thread = None

    def _add(self, what: str, resource: Json) -> None:
        with self._lock:
            self._waiting += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="hospital-pusher", daemon=True)
            self._thread.start()
        self._work.put((what, resource))

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            self._try(*item)
            with self._lock:
                self._waiting -= 1
                self._lock.notify_all()

    def _try(self, what: str, resource: Json) -> None:
        for _ in range(_TRIES):
            try:
                answer = self._notice(resource) if what == "notice" else self.push(resource)
            except OSError:
                continue
            self.answers.append(answer)
            if answer.status < 500 and answer.status != 429:
                return
        self.given_up += 1

    def _notice(self, subscription: Json) -> Answer:
        channel = as_object(subscription.get("channel"))
        pairs = [as_text(header).partition(":") for header in as_list(channel.get("header"))]
        return request("POST", as_text(channel.get("endpoint")), b"", {name: value.strip() for name, _, value in pairs})
