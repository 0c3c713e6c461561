"""A page a grid and week that a grid member opens on a phone without a network; what it gives back bears its ticket."""

import base64
import hashlib
import hmac
import json
import re
import secrets
import threading
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Final

from xinqiao.adapters import durable
from xinqiao.adapters.files import folders
from xinqiao.contract.clock import BEIJING, Clock, from_us, local_date
from xinqiao_community_grid.records import FORM
from xinqiao_community_grid.tasks import Tasks, digest, form_task

DAYS_AFTER: Final = 3
"""Days after its week that a form still shows its tasks."""
DAYS_TAKEN: Final = 14
"""Days after its week that a form is still taken from a phone over a network."""
_KEPT_WEEKS = 2
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_NAME = re.compile(r"(?P<grid>.+)-(?P<week>20[0-9]{2}-W[0-9]{2})\.html")


class Forms:
    """Makes the forms of one station and knows the tickets of all it ever made."""

    def __init__(self, agency: str, folder: Path, outbox: Path | None, clock: Clock, post: str = "") -> None:
        """``post`` is where phones hand forms in over a network; empty for nowhere."""
        self._agency = agency
        self._made = folder / "made"
        self._made.mkdir(parents=True, exist_ok=True)
        self._outbox = outbox
        self._clock = clock
        self._post = post
        self._lock = threading.Lock()
        self._secret = _secret(folder / "form.key")

    def ticket(self, grid: str, week: str) -> str:
        """What a form of ``grid`` and ``week`` bears; nobody without this folder's secret can make one."""
        said = f"{self._agency}\n{grid}\n{week}".encode()
        return hmac.new(self._secret, said, "sha256").hexdigest()[:32]

    def knows(self, form: dict[str, Any]) -> bool:
        """Whether a form that came back bears the ticket of its own grid and week, and is not of long ago."""
        grid, week, ticket = (str(form.get(key, "")) for key in ("grid", "week", "ticket"))
        if not hmac.compare_digest(ticket.encode(), self.ticket(grid, week).encode()):
            return False
        return local_date(self._clock.now_us()) <= _first(week) + timedelta(days=6 + DAYS_TAKEN)

    def week(self) -> str:
        """The running ISO week, by Beijing's day."""
        year, week, _ = local_date(self._clock.now_us()).isocalendar()
        return f"{year:04}-W{week:02}"

    def write(self, grids: Sequence[str], tasks: Tasks) -> None:
        """Put this week's form of every grid into ``forms/`` where it changed; take old ones away.

        Raises PartnerUnavailable.
        """
        if self._outbox is None:
            return
        with self._lock:  # a delivery and a look may both find that the form of a grid must change
            week, opened = self.week(), list(tasks.open())
            for grid in grids:
                shown = [form_task(each.package) for each in opened if each.grid == grid]
                self._put(
                    f"forms/{grid}-{week}.html", digest([shown, self._post]), partial(self.page, grid, week, shown)
                )
            self._sweep(self._outbox / "forms")

    def tell(self, grids: Sequence[str], silent: Sequence[str]) -> None:
        """Put into ``weeks/`` which grids have spoken this week, so that the station can ask the others in time.

        Raises PartnerUnavailable.
        """
        rows = [[grid, "未报 missing" if grid in silent else "已报 reported"] for grid in grids]
        if rows and self._outbox is not None:
            table = folders.table(("网格编码 grid", "周报 report"), rows)
            with self._lock:
                self._put(f"weeks/{self.week()}.csv", digest(rows), lambda: table)

    def _put(self, name: str, said: str, data: Callable[[], bytes]) -> None:
        """Write a file of the outbox where what it says has changed."""
        assert self._outbox is not None
        mark = self._made / name.replace("/", "-")
        if not mark.exists() or mark.read_text("ascii") != said:
            folders.put(self._outbox / name, data())
            durable.replace(mark, said.encode())

    def page(self, grid: str, week: str, tasks: Sequence[dict[str, str]]) -> bytes:
        """One self-contained page: no address in it, and none it could ask."""
        year, number = int(week[:4]), int(week[-2:])
        last = date.fromisocalendar(year, number, 7)
        data: dict[str, Any] = {
            "form": FORM, "grid": grid, "week": week, "ticket": self.ticket(grid, week), "tasks": tasks,
            "first": date.fromisocalendar(year, number, 1).isoformat(), "last": last.isoformat(),
            "until": (last + timedelta(days=DAYS_AFTER)).isoformat(),
            "post": self._post, "made": from_us(self._clock.now_us()).astimezone(BEIJING).strftime("%Y-%m-%d %H:%M"),
        }  # fmt: skip
        text = resources.files("xinqiao_community_grid").joinpath("form.html").read_text("utf-8")
        # A script block ends at the first "</script" whatever is inside of it: no "<" may come from data.
        safe = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c").replace("\u2028", "\\u2028")
        style, script = (pattern.search(text) for pattern in (_STYLE, _SCRIPT))
        assert style is not None
        assert script is not None
        reachable = self._post or "'none'"
        policy = (
            f"default-src 'none'; style-src '{_source(style[1])}'; script-src '{_source(script[1])}'; "
            f"connect-src {reachable}; base-uri 'none'; form-action 'none'"
        )
        return text.replace("@POLICY@", policy).replace("@DATA@", safe).encode()

    def _sweep(self, folder: Path) -> None:
        """A form holds family names: it does not stay longer than its week is of use."""
        oldest = local_date(self._clock.now_us()) - timedelta(weeks=_KEPT_WEEKS)
        for path in [*folder.glob("*.html"), *self._made.iterdir()]:
            found = _NAME.fullmatch(path.name)
            if found is not None and _first(found["week"]) < oldest:
                path.unlink(missing_ok=True)


def _first(week: str) -> date:
    return datetime.strptime(f"{week}-1", "%G-W%V-%u").replace(tzinfo=BEIJING).date()


def _source(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _secret(path: Path) -> bytes:
    if not path.exists():
        durable.replace(path, secrets.token_bytes(32))
    return path.read_bytes()
