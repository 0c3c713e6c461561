"""A partner that speaks JSON: the HTTP simulator with one effect per key, a token, and a few more faults of such a system."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files.jsonrows import parse_object
from xinqiao.testing.simulators import HttpSimulator, Reply

PLAYS: Final = HttpSimulator.plays
"""What it can play, in the words of ``xinqiao.testing.simulators.FAULTS``."""

Answered = tuple[int, Any]
Answer = Callable[[str, str, dict[str, str], dict[str, Any]], Answered]
"""Method, path, query and body in; status and JSON out."""


class JsonPartner(HttpSimulator):
    """Serves ``answer`` on 127.0.0.1 until ``stop``; ``token`` is demanded as Bearer token where given.

    One effect per ``Idempotency-Key``: the same key and bytes get the same answer, other bytes 409.
    """

    def __init__(self, answer: Answer, token: str | None = None) -> None:
        super().__init__()
        self._answered = answer
        self._token = token
        self._seen: dict[str, tuple[bytes, Answered]] = {}

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """See ``HttpSimulator``."""
        if self._token and headers.get("authorization") != f"Bearer {self._token}":
            return Reply(401, b"{}")
        key = headers.get("idempotency-key", "")
        with self.lock:
            before = self._seen.get(key) if key else None
            if before is not None:
                return _reply(before[1] if before[0] == body else (409, {}))
            try:
                found = parse_object(body, "body") if body else {}
            except RecordRejected:
                return Reply(400, b"{}")
            parts = urlsplit(path)
            answered = self._answered(method, parts.path, dict(parse_qsl(parts.query)), found)
            if key:
                self._seen[key] = (body, answered)
        return _reply(answered)


def _reply(answered: Answered) -> Reply:
    return Reply(answered[0], json.dumps(answered[1], ensure_ascii=False).encode())
