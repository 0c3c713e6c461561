"""Scenes of the partners' own books: a month's work, copied by a clerk, compared, and mended where one was forgotten."""

import time
from datetime import date
from typing import Any, Final

from xinqiao.api.gateway.v1 import gateway_service_pb2
from xinqiao.cli.demo.agencies import WOMEN, YOUTH
from xinqiao.cli.demo.district_scenes import PERIOD
from xinqiao.cli.demo.stage import DEADLINE_S, Stage
from xinqiao.store import tables

_LECTURE: Final[dict[str, Any]] = {
    "活动编号": "A-1", "日期": date(2026, 10, 20), "类别": "讲座 Lecture", "对象": "家长 Parents", "场次": 1,
    "人次": 46, "人数": 40,
}  # fmt: skip
_GROUP = ("blue-2026-10", PERIOD, 4, 57)


def october(stage: Stage) -> None:
    """The federation's clerk answers what was asked and writes down a lecture; the league lists what a group did."""
    women, youth = (stage.deployment.others.get(agency) for agency in (WOMEN, YOUTH))
    if women is not None:
        count = women.work(_LECTURE)
        stage.tell(
            f"妇联在工作簿里受理 {count} 件转介，记下一场家长讲座 46 人次",
            f"the federation accepts {count} referral(s) in its workbook and writes down a lecture for 46 parents",
        )
    if youth is not None:
        youth.month(*_GROUP)
    stage.gateway.read_all()


def compare(stage: Stage) -> None:
    """Each brings its books of October. The clerk has forgotten one line: both sides hear which, and it is mended."""
    women, youth = (stage.deployment.others.get(agency) for agency in (WOMEN, YOUTH))
    if youth is not None:
        youth.keep_books(PERIOD)
    if women is not None:
        if not any(row["partner"] == WOMEN for row in _arrived(stage)):  # else the story was interrupted after that
            women.keep_books("missing")
            _until(stage, differs=True)
        for repair in _differing(stage):
            stage.say(repair.text_zh, repair.text_en)
        women.keep_books()
    _until(stage, differs=False)
    whole = [str(row["partner"]) for row in _arrived(stage) if row["complete"]]
    named = "、".join(stage.name(agency) for agency in sorted(whole))
    stage.tell(
        f"{named} 的十月台账与本方一致" if not _differing(stage) else f"{named} 的台账仍有不符",
        f"the books of {named} agree with ours" if not _differing(stage) else f"the books of {named} still differ",
    )


def _differing(stage: Stage) -> "list[gateway_service_pb2.Repair]":
    asked = gateway_service_pb2.ListRepairsRequest()
    found = stage.clients.gateway.ListRepairs(asked, timeout=DEADLINE_S).repairs
    return [each for each in found if each.code == "BOOKS_DIFFER"]


def _arrived(stage: Stage) -> "list[Any]":
    with stage.gateway.store.read() as reading:
        return list(reading.all(tables.exchange_arrivals.select()))


def _until(stage: Stage, *, differs: bool) -> None:
    """Wait until the books that were sent have come."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        stage.gateway.read_all()
        if bool(_differing(stage)) == differs and _arrived(stage):
            return
        time.sleep(0.1)
