"""A call at 12356 reaches 110 through both plugins: the number and the place travel sealed, the child's name not at all."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.server.test_police_round_trip import settings_of

from xinqiao.adapters.host import AdapterHost
from xinqiao.api.screening.v1 import screening_service_pb2 as rpc
from xinqiao.contract.clock import BEIJING, from_us
from xinqiao_hotline.simulator import HotlineSimulator
from xinqiao_police.simulator import Centre110

LINE, POLICE = "hotline", "police"


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre110]:
    made = Centre110(tmp_path / "110")
    yield made
    made.stop()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[HotlineSimulator]:
    made = HotlineSimulator(tmp_path / "line", source="rest")
    yield made
    made.stop()


@pytest.fixture
def town(make_town: Any, centre: Centre110, line: HotlineSimulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    started = settings_of(centre, monkeypatch)

    def adapters(settings: dict[str, Any]) -> None:
        settings["adapters"] = {
            LINE: {"adapter": "hotline", "settings": line.start()},
            POLICE: {"adapter": "police", "settings": started},
        }

    with make_town(listen=False, change=adapters, host=AdapterHost.load(["hotline", "police"])) as made:
        yield made


def test_a_call_at_the_line_reaches_110_and_the_school(town: Any, centre: Centre110, line: HotlineSimulator) -> None:
    local = town.student(family_name="欧阳", class_title="七1")
    at: datetime = from_us(town.clock.now_us() - 600_000_000).astimezone(BEIJING)
    line.call(
        "c-17", at, minutes=5, topic="suicidal", school="3205830001", name="欧阳𠮷明", birth_date="2011-05-04",
        location="人民桥", hand_off="yes", origin_number="13900000001", location_basis="cell", agreed="yes",
    )  # fmt: skip
    assert town.intake(LINE).run_once().rejected == []
    town.deliver_all()
    (said,) = centre.received
    assert (said.type, said.data["line"], said.data["consent"]) == ("call.handoff", "12356", "GIVEN")
    (raw,) = centre.raw()
    assert not [word for word in ("13900000001", "人民桥", "欧阳", local) if word.encode() in raw]
    opened = centre.call("c-17")
    assert (opened.origin_number, opened.location, opened.basis) == ("13900000001", "人民桥", "CELL")
    (signal,) = town.call(town.PSYCH, rpc.ListSignalsRequest()).signals
    assert signal.handed_to == POLICE
