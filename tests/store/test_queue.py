"""The two lines before the writers."""

import threading
from typing import Any

import pytest

from xinqiao.store.errors import StoreClosed
from xinqiao.store.queue import CommandQueue, Job


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


def test_a_gathering_writer_is_woken_by_the_count_it_waits_for_and_not_before() -> None:
    queue, woken = CommandQueue(), threading.Event()

    def gather() -> None:
        queue.gather(3, 30, 30)
        woken.set()

    thread = threading.Thread(target=gather)
    thread.start()
    queue.put(_job(crisis=False) for _ in range(2))
    assert not woken.wait(0.1)
    queue.put((_job(crisis=False),))
    assert woken.wait(10)
    thread.join()


def test_a_crisis_command_ends_the_gathering_at_once() -> None:
    queue, woken = CommandQueue(), threading.Event()

    def gather() -> None:
        queue.gather(1000, 30, 30)
        woken.set()

    thread = threading.Thread(target=gather)
    thread.start()
    queue.put((_job(crisis=True),))
    assert woken.wait(10)
    thread.join()


def test_gathering_goes_on_while_they_come_and_ends_when_nobody_came_for_a_pause() -> None:
    queue = CommandQueue()

    def come() -> None:
        for _ in range(5):
            threading.Event().wait(0.3)
            queue.put((_job(crisis=False),))

    coming = threading.Thread(target=come)
    coming.start()
    queue.gather(1000, 1, 60)
    assert queue.waiting == 5
    coming.join()


def test_gathering_ends_when_its_time_is_up_although_they_come() -> None:
    queue, woken = CommandQueue(), threading.Event()

    def come() -> None:
        while not woken.wait(0.001):
            queue.put((_job(crisis=False),))

    coming = threading.Thread(target=come)
    coming.start()
    gathering = threading.Thread(target=queue.gather, args=(1_000_000, 0.1, 0.2), daemon=True)
    gathering.start()
    gathering.join(30)
    woken.set()
    coming.join()
    assert not gathering.is_alive()
