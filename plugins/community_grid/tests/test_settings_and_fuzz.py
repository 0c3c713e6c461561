import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plugins.community_grid.tests.conftest import CHILD, Station
from pydantic import ValidationError

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.intray import Letter
from xinqiao.adapters.protocols import Accepted, Refused
from xinqiao_community_grid.reading import ReadingSettings, VisitReader
from xinqiao_community_grid.records import Visits
from xinqiao_community_grid.settings import CommunityGridSettings
from xinqiao_community_grid.simulator import GRIDS

Make = Callable[..., Station]
CANARY = "欧阳小雨13800000001"


class NoTickets:
    def ticket(self, grid: str, week: str) -> str:
        return "t"

    def allot(self, task: str, grid: str) -> None:
        return

    def done(self, task: str) -> None:
        return


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"outbox": None}, "inbox and outbox, or neither"),
        ({"outbox": "in", "inbox": "in"}, "two folders"),
        ({"inbox": None, "outbox": None}, "no way to this station"),
        ({"grid_pattern": "("}, "not a regular expression"),
        ({"grids": ["320583001001001", "12"]}, "grid 2 of the list"),
        ({"grids": ["../x"], "grid_pattern": ".*"}, "grid 1 of the list"),
        ({"grids": ["320583001001001"] * 2}, "listed twice"),
        ({"concerns": {"三级": "grave"}}, "is not one of none, concern"),
        ({"rest": {"base_url": "http://grid.example.cn"}}, "https"),
        ({"rest": {"base_url": "https://a@127.0.0.1/"}}, ""),
        ({"grid_patern": "x"}, "Extra inputs"),
        ({"door": {"listen": "127.0.0.1:0", "public_url": "https://a.cn/x;y"}}, "host and port alone"),
        ({"door": {"listen": "127.0.0.1:0", "public_url": "https://a.cn", "key": "k"}}, "certificate and key"),
        ({"forms": False, "door": {"listen": "127.0.0.1:0", "public_url": "https://a.cn"}}, "door is for phone forms"),
    ],
)
def test_settings_that_contradict_say_so(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        CommunityGridSettings.model_validate({"inbox": "in", "outbox": "out", **change})
    assert said in str(caught.value)


@pytest.fixture(scope="module")
def visits(tmp_path_factory: pytest.TempPathFactory) -> Visits:
    chosen = CommunityGridSettings.model_validate({"inbox": "in", "outbox": "out"})
    return Visits(chosen, tmp_path_factory.mktemp("state"), NoTickets())


HEADS = [
    "记录编号,网格编码,学生编号,走访日期,是否见到,所见情况",
    "网格编码,周次,零报告,走访人数,关注人数",
    "任务编号,网格编码",
]
CELLS = st.sampled_from(
    [CHILD, GRIDS[0], "2026-10-13", "2026-W42", "是", "否", "tasks/t1", "3", CANARY, '"', "\x00", "=1+1", ""]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(head=st.sampled_from(HEADS), rows=st.lists(st.lists(CELLS | st.text(max_size=8), max_size=7), max_size=4))
def test_no_table_crashes_it_and_no_fault_repeats_a_value(visits: Visits, head: str, rows: list[list[str]]) -> None:
    data = "\n".join([head, *(",".join(row) for row in rows)]).encode("utf-8", "surrogatepass")
    _judged(visits, Letter(1, "csv", "f.csv", data))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.just(CANARY) | st.just(CHILD),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["record", "grid", "student", CANARY]), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.sampled_from(["page", "json"]), records=VALUES, report=VALUES, tail=st.binary(max_size=3))
def test_no_document_crashes_it_and_no_fault_repeats_a_value(
    visits: Visits, form: str, records: Any, report: Any, tail: bytes
) -> None:
    whole = {
        "form": "xinqiao-grid-form/1",
        "ticket": "t",
        "grid": GRIDS[0],
        "week": "2026-W42",
        "records": records,
        "report": report,
    }
    _judged(visits, Letter(1, form, "f.json", json.dumps(whole).encode() + tail))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.sampled_from(["csv", "page", "json", "exe"]), data=st.binary(max_size=200))
def test_no_bytes_crash_it(visits: Visits, form: str, data: bytes) -> None:
    _judged(visits, Letter(1, form, "f", data))


def _judged(visits: Visits, letter: Letter) -> None:
    try:
        told = [str(item.rejected) for item in visits.judge(letter).items if item.HasField("rejected")]
    except RecordRejected as error:
        told = [str(error)]
    assert CANARY not in "".join(told)


def test_a_file_is_read_outside_of_any_agency(tmp_path: Path) -> None:
    path = tmp_path / "visits.csv"
    path.write_text(f"record,grid,student,day,met,observed\nv-1,{GRIDS[0]},{CHILD},2026-10-13,是,好\n", "utf-8")
    assert list(VisitReader().read_file(path, ReadingSettings())) == [Accepted("entry", "")]
    path.write_text(f"record,grid,student,day,met,observed\nv-1,{GRIDS[0]},{CHILD},2026-10-13,?,好\n", "utf-8")
    assert list(VisitReader().read_file(path, ReadingSettings())) == [
        Refused("DATA/YES_NO", "row 2, column met", "must be 是 or 否 (yes or no)")
    ]
