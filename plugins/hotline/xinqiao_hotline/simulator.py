"""A helpline centre that stands in for the real one: a system over REST, or two folders; and the people at its seats."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from xinqiao.adapters.files.folders import put, table
from xinqiao.contract.clock import BEIJING, SystemClock, from_us
from xinqiao.testing.partner import PLAYS, Answered, JsonPartner
from xinqiao_hotline.wire import CALLS


class HotlineSimulator:
    """``source`` says whether it is a system (``rest``) or works in folders. What it holds is in memory and folder.

    Faults of the system: see ``play`` of ``partner``. ``doubled``, ``backwards`` and ``small_pages`` are of
    its pages: each record twice, the newest first, one a page. ``wrong_code`` sends topics of another table.
    """

    def __init__(self, folder: Path, *, source: Literal["folder", "rest"] = "rest", token: str | None = None) -> None:
        self.inbox, self.outbox = folder / "inbox", folder / "outbox"
        for each in (self.inbox, self.outbox):
            each.mkdir(parents=True, exist_ok=True)
        self.partner = JsonPartner(self._answer, token)
        self.callbacks: dict[str, dict[str, Any]] = {}
        self.recalls: list[str] = []
        self._recalled: list[str] = []
        self.doubled = self.backwards = self.small_pages = self.wrong_code = False
        self._source = source
        self._records: list[dict[str, Any]] = []
        self._files = self._news = 0

    def start(self) -> dict[str, Any]:
        """The settings that make an adapter talk to it."""
        found: dict[str, Any] = {
            "lines": {"12355": {"seats": 2, "hours": ["08:00-24:00"]}, "12356": {"seats": 2, "national": True}}
        }
        if self._source == "rest":
            return found | {"rest": {"base_url": self.partner.serve()}}
        return found | {"inbox": str(self.inbox), "outbox": str(self.outbox)}

    def stop(self) -> None:
        """Stop serving."""
        self.partner.stop()

    def receipt_public_key_pem(self) -> bytes:
        """A centre takes no packages and signs nothing."""
        return b""

    # -- for the conformance suite --------------------------------------------------------------------------------------

    @property
    def plays(self) -> frozenset[str]:
        """What it can play."""
        listed = frozenset({"duplicate", "out_of_order", "wrong_code"})
        return PLAYS | listed if self._source == "rest" else frozenset({"wrong_code"})

    def play(self, fault: str, *, times: int = 1, seconds: float = 0.0) -> None:
        """See ``Faulty``."""
        if fault == "duplicate":
            self.doubled = True
        elif fault == "out_of_order":
            self.backwards = True
        elif fault == "wrong_code":
            self._wrong()
        else:
            self.partner.play(fault, times=times, seconds=seconds)

    def calm(self) -> None:
        """End every fault."""
        self.doubled = self.backwards = False
        self.partner.calm()

    def effects(self) -> Sequence[str]:
        """Tasks and recalls that it holds."""
        if self._source == "rest":
            return [
                *(json.dumps(task, ensure_ascii=False, sort_keys=True) for task in self.callbacks.values()),
                *self._recalled,
            ]
        files = (path for folder in ("callbacks", "recalls") for path in sorted((self.outbox / folder).glob("*.csv")))
        return [path.read_text("utf-8-sig") for path in files]

    def bring(self, count: int) -> None:
        """Calls about somebody whom the caller described."""
        for _ in range(count):
            self._news += 1
            self.call(f"news-{self._news}", _lately(), minutes=1, topic="concern", name="某同学", school="320583")

    def _wrong(self) -> None:
        self._news += 1
        self.call(f"news-{self._news}", _lately(), minutes=1, topic="Z99")

    # -- what its people do -----------------------------------------------------------------------------------------

    def call(
        self, number: str, at: datetime, *, minutes: int = 10, line: str = "12356", topic: str = "none", **more: str
    ) -> None:
        """A call was held; over REST at the next look, in a folder as a file of its own."""
        row = {
            "call": number, "line": line, "started": at.strftime("%Y-%m-%d %H:%M"),
            "ended": (at + timedelta(minutes=minutes)).strftime("%Y-%m-%d %H:%M"), "topic": topic, **more,
        }  # fmt: skip
        if self._source == "rest":
            self._records.append(row)
        else:
            self._files += 1
            self.drop(f"calls-{self._files:04}.csv", sheet([row]))

    def drop(self, name: str, data: bytes) -> Path:
        """Put any file into the inbox."""
        put(self.inbox / name, data)
        return self.inbox / name

    def _answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> Answered:
        if (method, path) == ("GET", "/status"):
            return 200, {"ok": True}
        if (method, path) == ("GET", "/calls"):
            return 200, self._page(int(query.get("after") or 0), int(query.get("limit") or 200))
        if (method, path) == ("POST", "/callbacks"):
            self.callbacks[str(body["task"])] = body
            return 201, {"id": f"C{len(self.callbacks)}"}
        if (method, path) == ("POST", "/recalls"):
            self.recalls.append(str(body["recall"]))
            self._recalled.append(json.dumps(body, ensure_ascii=False))
            return 201, {}
        return 404, {}

    def _page(self, after: int, limit: int) -> dict[str, Any]:
        following = min(after + (1 if self.small_pages else limit), len(self._records))
        shown = self._records[after:following]
        if self.backwards:
            shown.reverse()
        if self.doubled:
            shown = [each for each in shown for _ in range(2)]
        if self.wrong_code:
            shown = [{**each, "topic": "Z99"} for each in shown]
        return {"records": shown, "next": str(following), "more": following < len(self._records)}


def _lately() -> datetime:
    return from_us(SystemClock().now_us()).astimezone(BEIJING) - timedelta(hours=2)


def sheet(rows: Sequence[dict[str, str]]) -> bytes:
    """Call records as a centre exports them; a column that no row has is left out."""
    header = [column.name for column in CALLS if any(column.name in row for row in rows)]
    return table(header, [[row.get(name, "") for name in header] for row in rows])
