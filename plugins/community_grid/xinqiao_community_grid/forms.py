"""A page a grid and week that a grid member opens on a phone without a network; what it gives back bears its ticket."""

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Sequence
from datetime import date, datetime, timedelta
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
_KEPT_WEEKS = 2
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_NAME = re.compile(r"(?P<grid>.+)-(?P<week>20[0-9]{2}-W[0-9]{2})\.html")


class Forms:
    """Makes the forms of one station and knows the tickets of all it ever made."""

    def __init__(self, agency: str, folder: Path, outbox: Path | None, clock: Clock) -> None:
        self._agency = agency
        self._made = folder / "made"
        self._made.mkdir(parents=True, exist_ok=True)
        self._outbox = outbox
        self._clock = clock
        self._secret = _secret(folder / "form.key")

    def ticket(self, grid: str, week: str) -> str:
        """What a form of ``grid`` and ``week`` bears; nobody without this folder's secret can make one."""
        said = f"{self._agency}\n{grid}\n{week}".encode()
        return hmac.new(self._secret, said, "sha256").hexdigest()[:32]

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
        week, opened = self.week(), list(tasks.open())
        for grid in grids:
            shown = [form_task(each.package) for each in opened if each.grid == grid]
            mark, said = self._made / f"{grid}-{week}", digest(shown).encode()
            if mark.exists() and mark.read_bytes() == said:
                continue
            folders.put(self._outbox / "forms" / f"{grid}-{week}.html", self.page(grid, week, shown))
            durable.replace(mark, said)
        self._sweep(self._outbox / "forms")

    def page(self, grid: str, week: str, tasks: Sequence[dict[str, str]]) -> bytes:
        """One self-contained page: no address in it, and none it could ask."""
        year, number = int(week[:4]), int(week[-2:])
        last = date.fromisocalendar(year, number, 7)
        data: dict[str, Any] = {
            "form": FORM, "grid": grid, "week": week, "ticket": self.ticket(grid, week), "tasks": tasks,
            "first": date.fromisocalendar(year, number, 1).isoformat(), "last": last.isoformat(),
            "until": (last + timedelta(days=DAYS_AFTER)).isoformat(),
            "made": from_us(self._clock.now_us()).astimezone(BEIJING).strftime("%Y-%m-%d %H:%M"),
        }  # fmt: skip
        text = resources.files("xinqiao_community_grid").joinpath("form.html").read_text("utf-8")
        # A script block ends at the first "</script" whatever is inside of it: no "<" may come from data.
        safe = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c").replace("\u2028", "\\u2028")
        style, script = (pattern.search(text) for pattern in (_STYLE, _SCRIPT))
        assert style is not None
        assert script is not None
        policy = (
            f"default-src 'none'; style-src '{_source(style[1])}'; script-src '{_source(script[1])}'; "
            "base-uri 'none'; form-action 'none'"
        )
        return text.replace("@POLICY@", policy).replace("@DATA@", safe).encode()

    def _sweep(self, folder: Path) -> None:
        """A form holds family names: it does not stay longer than its week is of use."""
        oldest = local_date(self._clock.now_us()) - timedelta(weeks=_KEPT_WEEKS)
        for path in folder.glob("*.html") if folder.is_dir() else ():
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
