"""The league's platform, for all tests of the plugin."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from xinqiao_youth_league.simulator import YouthLeagueSimulator


@pytest.fixture
def league(tmp_path: Path) -> Iterator[YouthLeagueSimulator]:
    made = YouthLeagueSimulator(tmp_path / "league")
    made.start()
    yield made
    made.stop()
