"""A gateway whose clock was set back (guarantee C8): nothing may be dated before what is written already."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from xinqiao.contract.errors import Refusal
from xinqiao.journal.append import append


def test_a_clock_behind_the_journal_is_refused_at_the_start(make_town: Callable[..., Any], database: str) -> None:
    with make_town(database, listen=False) as town:
        town.gate.gateway.store.run(lambda tx: append(tx, kind="test", decision="permit", actor="a"))
        town.gate.stop()
        town.clock.advance(timedelta(minutes=-61))
        with pytest.raises(Refusal, match="clock is 6[01] minutes behind") as refused:
            town.gate.start(listen=False)
        assert (refused.value.status, refused.value.reason) == ("FAILED_PRECONDITION", "CLOCK")
        town.gate.stop()
        town.clock.advance(timedelta(minutes=57))  # within what two machines may differ
        town.gate.start(listen=False)
