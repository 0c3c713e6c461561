"""A grid station that stands in for the real one: a system over REST, or two folders and a clerk; and grid members."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from xinqiao.adapters.files.folders import put, table
from xinqiao.contract.clock import SystemClock, local_date
from xinqiao.testing.partner import PLAYS, Answered, JsonPartner
from xinqiao_community_grid.wire import BOOKS, VISITS, WEEKS

GRIDS = ("320583001001001", "320583001001002")
_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


class CommunityGridSimulator:
    """``source`` says whether it is a system (``rest``) or a clerk with folders. What it holds is in memory and folder.

    Faults of the system: see ``play`` of ``partner``. ``doubled``, ``backwards`` and ``small_pages`` are of
    its pages: each record twice, the newest first, one a page. A clerk with folders drops files twice, or the newest first.
    """

    def __init__(
        self, folder: Path, *, source: Literal["folder", "rest"] = "rest", grids: Sequence[str] = GRIDS,
        token: str | None = None,
    ) -> None:  # fmt: skip
        self.inbox, self.outbox = folder / "inbox", folder / "outbox"
        for each in (self.inbox, self.outbox):
            each.mkdir(parents=True, exist_ok=True)
        self.partner = JsonPartner(self._answer, token)
        self.tasks: dict[str, dict[str, Any]] = {}
        self.recalls: list[str] = []
        self._recalled: list[str] = []
        self.doubled = self.backwards = self.small_pages = False
        self._source = source
        self._grids = grids
        self._records: list[tuple[str, tuple[dict[str, Any], ...]]] = []
        self._visited: list[dict[str, Any]] = []
        self._files = self._news = 0

    def start(self) -> dict[str, Any]:
        """The settings that make an adapter talk to it."""
        found: dict[str, Any] = {"grids": list(self._grids)}
        if self._source == "rest":
            return found | {"rest": {"base_url": self.partner.serve()}}
        return found | {"inbox": str(self.inbox), "outbox": str(self.outbox)}

    def stop(self) -> None:
        """Stop serving."""
        self.partner.stop()

    def receipt_public_key_pem(self) -> bytes:
        """A station takes no packages and signs nothing."""
        return b""

    # -- for the conformance suite --------------------------------------------------------------------------------------

    @property
    def plays(self) -> frozenset[str]:
        """What it can play."""
        listed = frozenset({"duplicate", "out_of_order", "wrong_code"})
        return PLAYS | listed if self._source == "rest" else listed | {"down"}

    def play(self, fault: str, *, times: int = 1, seconds: float = 0.0) -> None:
        """See ``Faulty``."""
        if fault == "duplicate":
            self.doubled = True
        elif fault == "out_of_order":
            self.backwards = True
        elif fault == "wrong_code":
            self._wrong()
        elif self._source == "folder":
            self._share(away=True)
        else:
            self.partner.play(fault, times=times, seconds=seconds)

    def calm(self) -> None:
        """End every fault."""
        self.doubled = self.backwards = False
        self._share(away=False)
        self.partner.calm()

    def effects(self) -> Sequence[str]:
        """Tasks and recalls that it holds."""
        if self._source == "rest":
            return [
                *(json.dumps(task, ensure_ascii=False, sort_keys=True) for task in self.tasks.values()),
                *self._recalled,
            ]
        files = (path for folder in ("tasks", "recalls") for path in sorted((self.outbox / folder).glob("*.csv")))
        return [path.read_text("utf-8-sig") for path in files]

    def bring(self, count: int) -> None:
        """Visits to the children it has tasks for, or to somebody."""
        given = [str(task["student"]) for task in self.tasks.values() if "student" in task]
        before = self._news
        self._news += count
        numbers = range(before + 1, self._news + 1)
        for number in reversed(numbers) if self.backwards and self._source == "folder" else numbers:
            student = given[number % len(given)] if given else "students/" + "a" * 26
            self.visit(f"news-{number}", student, day=local_date(SystemClock().now_us()).isoformat())

    def _wrong(self) -> None:
        self._news += 1
        self.visit(
            f"news-{self._news}",
            "students/" + "a" * 26,
            day=local_date(SystemClock().now_us()).isoformat(),
            concern="Z99",
        )

    # -- what its people do -----------------------------------------------------------------------------------------

    def visit(self, record: str, student: str, *, grid: str = GRIDS[0], **more: Any) -> None:
        """A grid member made a visit; over REST at the next look, in a folder as a file of its own."""
        row: dict[str, Any] = {
            "record": record,
            "grid": grid,
            "student": student,
            "met": "是",
            "observed": "一切如常",
            **more,
        }
        self._visited.append(row)
        self._give("records", VISITS, row)

    def keep_books(self, month: str, fault: Literal["", "differing", "missing"] = "") -> None:
        """The station's own books of a month: the visits made in it; or one on another day, or one left out."""
        made = [row for row in self._visited if str(row["day"]).startswith(month)]
        lines = [{"month": month, **{name: row[name] for name in ("record", "student", "day")}} for row in made]
        if fault == "differing":
            lines[0]["day"] = f"{month}-{28 if not str(lines[0]['day']).endswith('28') else 27}"
        elif fault == "missing":
            lines.pop()
        self._give("books", BOOKS, *(lines or [{"month": month, "nil": "是"}]))

    def week(self, grid: str, week: str, *, nil: str = "是", seen: int = 0, concerns: int | None = None) -> None:
        """A grid reports its week."""
        row: dict[str, Any] = {"grid": grid, "week": week, "nil": nil, "seen": seen}
        self._give("reports", WEEKS, row if concerns is None else {**row, "concerns": concerns})

    def drop(self, name: str, data: bytes) -> Path:
        """Put any file into the inbox."""
        put(self.inbox / name, data)
        return self.inbox / name

    def forms(self) -> dict[str, dict[str, Any]]:
        """The phone forms that lie ready: what each was made with, by file name."""
        found: dict[str, dict[str, Any]] = {}
        for path in sorted((self.outbox / "forms").glob("*.html")):
            data = _DATA.search(path.read_text("utf-8"))
            assert data is not None
            found[path.name] = json.loads(data[1])
        return found

    def fill(
        self, form: Mapping[str, Any], visits: Sequence[Mapping[str, Any]], report: Mapping[str, Any] | None
    ) -> bytes:
        """What the phone gives back after somebody filled in ``form``."""
        head = {key: form[key] for key in ("form", "ticket", "grid", "week")}
        said: dict[str, Any] = {
            **head,
            "loaded": form["made"],
            "records": [{"grid": form["grid"], **each} for each in visits],
        }
        return json.dumps(said | ({"report": report} if report is not None else {}), ensure_ascii=False).encode()

    # -- its system -------------------------------------------------------------------------------------------------

    def _give(self, kind: str, columns: Sequence[Any], *rows: dict[str, Any]) -> None:
        """Rows that belong together: in one page, in one file."""
        if self._source == "rest":
            self._records.append((kind, rows))
            return
        self._files += 1
        header = [column.name for column in columns if column.name in rows[0]]
        data = table(header, [[cast("str", row[name]) for name in header] for row in rows])
        self.drop(f"{kind}-{self._files:04}.csv", data)
        if self.doubled:
            self.drop(f"again-{kind}-{self._files:04}.csv", data)

    def _share(self, *, away: bool) -> None:
        """The folders are away, or there again."""
        for path in (self.inbox, self.outbox):
            gone = path.with_name(f"{path.name}.away")
            if (path if away else gone).exists():
                (path if away else gone).rename(gone if away else path)

    def _answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> Answered:
        if (method, path) == ("GET", "/status"):
            return 200, {"ok": True}
        if (method, path) == ("GET", "/visits"):
            return 200, self._page(int(query.get("after") or 0), int(query.get("limit") or 200))
        if (method, path) == ("POST", "/visit-tasks"):
            self.tasks[str(body["task"])] = body
            return 201, {"id": f"T{len(self.tasks)}"}
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
        return {
            **{
                kind: [row for of, rows in shown if of == kind for row in rows]
                for kind in ("records", "reports", "books")
            },
            "next": str(following),
            "more": following < len(self._records),
        }
