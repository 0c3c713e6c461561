import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from plugins.community_grid.tests.conftest import CHILD, Station, kinds, wrong

from xinqiao.api.casefile.v1.team_pb2 import TASK_STATE_OPEN
from xinqiao.contract.clock import SystemClock
from xinqiao_community_grid.forms import Forms
from xinqiao_community_grid.simulator import GRIDS

Make = Callable[..., Station]
CHROMIUM = shutil.which("chromium")
TASK = {"name": "tasks/t1", "what": "每周上门", "due_us": 1_792_000_000_000_000, "state": TASK_STATE_OPEN}
VISIT = {
    "record": "f-1",
    "student": CHILD,
    "task": "tasks/t1",
    "day": "2026-10-13",
    "met": "yes",
    "observed": "一切如常",
}
NIL = {"nil": "yes", "seen": 1, "concerns": 0}


def form_of(at: Station, grid: str = GRIDS[0]) -> dict[str, Any]:
    at.read()
    return at.simulator.forms()[f"{grid}-2026-W42.html"]


def page_of(at: Station) -> str:
    return (at.simulator.outbox / "forms" / f"{GRIDS[0]}-2026-W42.html").read_text("utf-8")


def test_it_holds_the_family_name_and_the_task_and_nothing_else_about_the_child(station: Make) -> None:
    at = station(grids=[GRIDS[0]])
    at.deliver(
        TASK,
        phone="13800000001",
        national_id="11010519491231002X",
        guardians=[{"full_name": "李梅", "phone": "13800000002"}],
    )
    page = page_of(at)
    assert "欧阳" in page
    for word in ("小雨", "李梅", "13800000001", "13800000002", "11010519491231002X"):
        assert word not in page
    assert set(form_of(at)["tasks"][0]) == {"task", "student", "family", "what", "due"}


def test_it_asks_nobody_for_anything(station: Make) -> None:
    at = station(grids=[GRIDS[0]])
    at.read()
    page = page_of(at)
    assert re.findall(r"https?:|//[a-z]|src=|url\(|@import|XMLHttp|sendBeacon|<link|<iframe|<img", page) == []
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none';")
    assert "connect-src 'none';" in policy[1]
    for tag in ("style", "script"):
        inside = re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert inside is not None
        digest = base64.b64encode(hashlib.sha256(inside[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy[1]
    assert len(page.encode()) < 64 * 1024


def test_a_task_cannot_become_a_script(station: Make) -> None:
    at = station(grids=[GRIDS[0]])
    at.deliver({**TASK, "what": "</script><script>alert(1)</script>\u2028"})
    assert page_of(at).count("</script>") == 2
    assert form_of(at)["tasks"][0]["what"].startswith("</script>")


def test_what_it_gives_back_becomes_visits_and_the_weekly_report(station: Make) -> None:
    at = station(grids=[GRIDS[0]])
    at.deliver(TASK)
    at.simulator.drop(
        "back.json",
        at.simulator.fill(form_of(at), [{**VISIT, "concern": "concern"}], {**NIL, "nil": "no", "concerns": 1}),
    )
    items = at.read()
    assert kinds(items) == ["signal", "entry", "task_report", "report"]
    assert (items[3].report.period, items[3].report.concerns) == ("2026-W42", 1)


def test_a_visit_that_was_made_is_on_no_form_any_more_and_one_that_failed_still_is(station: Make) -> None:
    at = station(grids=[GRIDS[0]])
    at.deliver(TASK)
    at.simulator.drop("a.json", at.simulator.fill(form_of(at), [{**VISIT, "met": "no"}], None))
    assert len(form_of(at)["tasks"]) == 1
    at.simulator.drop("b.json", at.simulator.fill(form_of(at), [{**VISIT, "record": "f-2"}], None))
    assert form_of(at)["tasks"] == []


def test_the_station_sees_which_grids_have_not_spoken_yet(station: Make) -> None:
    at = station()
    at.simulator.week(GRIDS[1], "2026-W42", seen=3)
    at.read()
    rows = (at.simulator.outbox / "weeks" / "2026-W42.csv").read_text("utf-8-sig").splitlines()
    assert [GRIDS[0] in rows[1], "未报" in rows[1], "已报" in rows[2]] == [True, True, True]


def test_handed_in_twice_with_more_each_visit_counts_once(station: Make) -> None:
    at = station(grids=[GRIDS[0]])
    form = form_of(at)
    at.simulator.drop("mon.json", at.simulator.fill(form, [VISIT], None))
    at.simulator.drop("fri.json", at.simulator.fill(form, [VISIT, {**VISIT, "record": "f-2"}], NIL))
    assert kinds(at.read()) == ["entry", "task_report", "entry", "task_report", "report"]


@pytest.mark.parametrize("change", [{"grid": GRIDS[1]}, {"week": "2026-W43"}, {"ticket": "0" * 32}, {"ticket": ""}])
def test_what_no_form_of_ours_gave_back_is_refused(station: Make, change: dict[str, str]) -> None:
    at = station()
    form = {**form_of(at), **change}
    at.simulator.drop("back.json", at.simulator.fill(form, [VISIT], NIL))
    assert wrong(at.read()) == [("DATA/TICKET", "")]


def test_a_record_of_another_grid_does_not_come_in_on_a_forms_ticket(station: Make) -> None:
    at = station()
    data = at.simulator.fill(form_of(at), [{**VISIT, "grid": GRIDS[1]}], NIL)
    at.simulator.drop("back.json", data)
    assert wrong(at.read()) == [("DATA/TICKET", "")]


def test_another_stations_form_has_another_ticket(tmp_path: Path) -> None:
    tickets = {Forms(name, tmp_path / name, None, SystemClock()).ticket(GRIDS[0], "2026-W42") for name in ("a", "b")}
    assert len(tickets) == 2


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "DATA/JSON_SYNTAX"),
        (b"[]", "DATA/PROFILE"),
        (b'{"form": "other"}', "DATA/PROFILE"),
        (b'{"form": 1, "form": 2}', "DATA/JSON_DUP_KEY"),
        (b'{"form": NaN}', "DATA/JSON_NUMBER"),
        (b'{"form": 1e999}', "DATA/JSON_NUMBER"),
        (b'{"form": ' + b"9" * 5000 + b"}", "DATA/JSON_NUMBER"),
        (b"[" * 100_000, "DATA/DEPTH"),
        (b"\xff\xfe{}", "DATA/ENCODING"),
    ],
)
def test_json_that_cannot_be_trusted_is_refused(station: Make, data: bytes, reason: str) -> None:
    at = station()
    at.simulator.drop("back.json", data)
    assert [each[0] for each in wrong(at.read())] == [reason]


@pytest.mark.parametrize(
    ("change", "reason", "column"),
    [
        ({"observed": "\\ud800"}, "DATA/CHARSET", "observed"),
        ({"observed": ["x"]}, "DATA/TYPE", "observed"),
        ({"secret": "x"}, "DATA/UNKNOWN_FIELD", None),
        ({"met": None}, "DATA/MISSING", "met"),
    ],
)
def test_a_bad_record_is_named_by_number_and_field(
    station: Make, change: dict[str, Any], reason: str, column: str | None
) -> None:
    at = station()
    data = at.simulator.fill(form_of(at), [VISIT, {**VISIT, "record": "f-2", **change}], NIL).replace(b"\\\\u", b"\\u")
    at.simulator.drop("back.json", data)
    items = at.read()
    assert wrong(items) == [(reason, f"row 2, column {column}" if column else "row 2")]
    assert kinds(items) == ["rejected"]


def test_a_new_week_has_a_new_form_and_old_ones_do_not_lie_about(station: Make) -> None:
    at = station(grids=[GRIDS[0]])
    at.read()
    first = page_of(at)
    at.clock.advance(timedelta(hours=1))
    at.read()
    assert page_of(at) == first  # nothing changed: the file does not
    at.clock.advance(timedelta(days=7))
    at.read()
    assert list(at.simulator.forms()) == [f"{GRIDS[0]}-2026-W42.html", f"{GRIDS[0]}-2026-W43.html"]
    at.clock.advance(timedelta(days=14))
    at.read()
    assert list(at.simulator.forms()) == [f"{GRIDS[0]}-2026-W45.html"]


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize(("week", "shown"), [("now", True), ("2026-W02", False)])
def test_a_browser_shows_the_tasks_of_a_form_in_force_and_nobody_on_an_old_one(
    tmp_path: Path, week: str, shown: bool
) -> None:
    made = Forms("grid", tmp_path, None, SystemClock())
    tasks = [{"task": "tasks/t1", "student": CHILD, "family": "欧阳", "what": "<b>每周上门</b>", "due": "2026-10-16"}]
    path = tmp_path / "form.html"
    path.write_bytes(made.page(GRIDS[0], made.week() if week == "now" else week, tasks))
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path}/profile",
        "--dump-dom",
    ]
    done = subprocess.run([*command, path.as_uri()], capture_output=True, timeout=60, check=True)
    page = done.stdout.decode()
    body = page[page.index("<main>") : page.index("<script type")]
    assert ("欧阳姓学生" in body) is shown
    assert ("&lt;b&gt;每周上门&lt;/b&gt;" in body) is shown
    assert "资料生成于" in body
    assert ('id="over" hidden' not in body) is not shown
    assert datetime.now(UTC).strftime("%Y-") in body
    assert json.dumps("零报告", ensure_ascii=False)[1:-1] in body
