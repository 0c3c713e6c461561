import json
from collections.abc import Callable
from pathlib import Path

import pytest
from plugins.community_grid.tests.conftest import CHILD, Station, kinds, wrong

from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse
from xinqiao.config import Secret
from xinqiao.testing.simulators import Reply
from xinqiao_community_grid.simulator import GRIDS

Make = Callable[..., Station]


def many(at: Station, count: int) -> None:
    for number in range(count):
        at.simulator.visit(f"v-{number}", CHILD, day="2026-10-13")


@pytest.mark.parametrize("kind", ["small_pages", "doubled", "backwards"])
def test_no_record_is_lost_or_taken_twice_however_the_pages_come(station: Make, kind: str) -> None:
    at = station("rest")
    many(at, 7)
    setattr(at.simulator, kind, True)
    assert kinds(at.read()) == ["entry"] * 7
    many(at, 0)
    assert at.read() == []


def test_pages_of_the_size_the_settings_say(station: Make) -> None:
    at = station("rest")
    at.settings = at.settings.model_copy(update={"rest": at.settings.rest.model_copy(update={"page_size": 2})})  # type: ignore[union-attr]
    at.restarted()
    many(at, 5)
    assert kinds(at.read()) == ["entry"] * 5
    assert (at.folder / "visits.next").read_text() == "5"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("down", PartnerUnavailable), ("unavailable", PartnerUnavailable), ("throttled", PartnerUnavailable),
        ("drop_after", PartnerUnavailable), ("unauthorized", PartnerRefused), ("html", PartnerRefused), ("cut", PartnerRefused),
    ],
)  # fmt: skip
def test_a_look_that_fails_is_made_up_for(station: Make, fault: str, error: type[Exception]) -> None:
    at = station("rest")
    many(at, 3)
    at.simulator.partner.play(fault)
    with pytest.raises(error):
        at.read()
    assert kinds(at.read()) == ["entry"] * 3


def test_one_bad_record_does_not_hold_up_its_neighbours(station: Make) -> None:
    at = station("rest")
    at.simulator.visit("v-1", CHILD, day="2026-10-13")
    at.simulator.visit("v-2", CHILD, day="2026-10-13", grid="0")
    at.simulator.visit("v-3", CHILD, day="2026-10-13", extra=1)
    at.simulator.visit("v-4", CHILD, day="2026-10-13")
    items = at.read()
    assert kinds(items) == ["entry", "entry", "rejected", "rejected"]
    assert wrong(items) == [("DATA/GRID", "row 2, column grid"), ("DATA/UNKNOWN_FIELD", "row 3")]


def test_a_station_down_for_days_is_read_in_full_when_it_is_back(station: Make) -> None:
    at = station("rest")
    many(at, 2)
    at.simulator.partner.play("down", times=30)
    for _ in range(30):
        with pytest.raises(PartnerUnavailable):
            at.read()
    assert kinds(at.read()) == ["entry", "entry"]


@pytest.mark.parametrize("after", range(5))
def test_a_crash_between_items_or_pages_loses_none(station: Make, after: int) -> None:
    at = station("rest")
    at.simulator.small_pages = True
    many(at, 4)
    first: list[ReadResponse] = at.read(after) if after else []
    at.restarted()
    assert kinds([*first, *at.read()]) == ["entry"] * 4


def test_a_crash_before_the_place_was_kept_repeats_a_page_and_no_record(station: Make) -> None:
    at = station("rest")
    many(at, 2)
    assert len(at.read()) == 2
    (at.folder / "visits.next").unlink()
    assert at.read() == []


def test_a_full_inbox_takes_the_rest_later(station: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    at = station("rest")
    many(at, 2)
    with monkeypatch.context() as patch:
        patch.setattr("xinqiao.adapters.spool.MAX_PENDING", 0)
        assert at.read() == []
    assert kinds(at.read()) == ["entry", "entry"]


def test_a_page_that_never_ends_is_told_to_the_admin(station: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    at = station("rest")
    page = {"records": [], "next": "", "more": True}
    monkeypatch.setattr(at.simulator.partner, "answer", lambda *asked: Reply(200, json.dumps(page).encode()))
    with pytest.raises(PartnerRefused, match="PARTNER/PAGING"):
        at.read()


def test_a_token_is_shown_and_a_wrong_one_is_told_to_the_admin(station: Make, tmp_path: Path) -> None:
    (tmp_path / "token").touch(mode=0o600)
    (tmp_path / "token").write_text("agreed")
    at = station("rest", token="agreed")
    with pytest.raises(PartnerRefused, match="PARTNER/UNAUTHORIZED"):
        at.adapter.check()
    rest = at.settings.rest
    assert rest is not None
    at.settings = at.settings.model_copy(
        update={"rest": rest.model_copy(update={"token": Secret("file", str(tmp_path / "token"))})}
    )
    assert at.restarted().check() == "grid REST"


def test_phones_are_heard_while_the_system_is_down(station: Make, tmp_path: Path) -> None:
    folders = {name: str(tmp_path / "station" / name) for name in ("inbox", "outbox")}
    at = station("rest", **folders)
    at.read()
    form = at.simulator.forms()[f"{GRIDS[0]}-2026-W42.html"]
    visit = {"record": "f-1", "student": CHILD, "day": "2026-10-13", "met": "yes", "observed": "一切如常"}
    at.simulator.drop("back.json", at.simulator.fill(form, [visit], None))
    at.simulator.partner.play("down", times=5)
    assert kinds(list(at.adapter.pushed(at.cursor))) == ["entry"]
