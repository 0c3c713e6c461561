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
    queue = CommandQueue()
    routine, crisis = _job(crisis=False), _job(crisis=True)
    queue.put((routine, crisis))
    assert queue.take() is crisis
    assert queue.take() is routine


def test_crisis_commands_are_taken_without_the_routine_ones_that_came_before_them() -> None:
    queue = CommandQueue()
    routine, crisis = [_job(crisis=False) for _ in range(3)], [_job(crisis=True) for _ in range(2)]
    queue.put((*routine, *crisis))
    assert queue.take_waiting(10, crisis_only=False) == crisis
    assert queue.take_waiting(10, crisis_only=True) == []
    assert queue.take_waiting(2, crisis_only=False) == routine[:2]
    assert queue.take_waiting(2, crisis_only=False) == routine[2:]


def test_a_closed_queue_gives_out_what_waits_and_takes_no_more() -> None:
    queue = CommandQueue()
    waiting = _job(crisis=False)
    queue.put((waiting,))
    queue.close()
    assert queue.take() is waiting
    assert queue.take() is None
    with pytest.raises(StoreClosed):
        queue.put((_job(crisis=True),))
