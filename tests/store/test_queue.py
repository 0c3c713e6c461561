"""The two lines before the writers."""

from typing import Any

import pytest

from xinqiao.store.errors import StoreClosed
from xinqiao.store.writer import CommandQueue, Job


def _ignore(*_arguments: Any) -> None:
    return None


def _job(*, crisis: bool) -> Job:
    return Job(_ignore, _ignore, crisis)


def test_a_writer_that_asks_for_work_gets_the_crisis_command_first() -> None:
    for take in (CommandQueue.take, lambda queue: CommandQueue.take_waiting(queue, crisis_only=False)):
        queue = CommandQueue()
        routine, crisis = _job(crisis=False), _job(crisis=True)
        queue.put(routine)
        queue.put(crisis)
        assert take(queue) is crisis
        assert take(queue) is routine


def test_a_closed_queue_gives_out_what_waits_and_takes_no_more() -> None:
    queue = CommandQueue()
    waiting = _job(crisis=False)
    queue.put(waiting)
    queue.close()
    assert queue.take() is waiting
    assert queue.take() is None
    with pytest.raises(StoreClosed):
        queue.put(_job(crisis=True))
