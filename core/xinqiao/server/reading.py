"""Looking at what partners bring, each agency by itself: one that hangs keeps nobody else's news waiting."""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from xinqiao.adapters.agency import AgencyHandle
from xinqiao.config.clocks import Deadline
from xinqiao.disclosure.registry import Partner, Registry
from xinqiao.server.intake import Intake
from xinqiao.server.not_taken import Tally
from xinqiao.server.pipeline import Pipeline

_AT_ONCE: Final = 64
"""Looks under way; each is over by its agency's deadline when the partner says nothing."""

_log = logging.getLogger("xinqiao.intake")


class Reading:
    """Reads every agency that brings something; no agency is ever read by two looks, which would mix up its events."""

    def __init__(
        self, pipeline: Pipeline, agencies: Mapping[str, AgencyHandle], registry: Registry, deadline: Deadline
    ) -> None:
        self._pipeline = pipeline
        self._agencies = agencies
        self._registry = registry
        self._deadline = deadline
        self._looks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._pool = ThreadPoolExecutor(_AT_ONCE, "intake")

    def tick(self) -> None:
        """Begin a look at every agency at which none is under way."""
        for agency, look in self._sources():
            lock = self._looks[agency]
            if lock.acquire(blocking=False):
                self._pool.submit(_ending, lock, look)

    def read_all(self, progress: Callable[[Tally], None] = lambda tally: None) -> dict[str, Tally]:
        """Look once at every agency, one after the other, and say what each brought."""
        tallies: dict[str, Tally] = {}
        for agency, look in self._sources():
            with self._looks[agency]:
                tallies[agency] = look(progress)
        return tallies

    def stop(self) -> None:
        """Wait for the looks under way."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _sources(self) -> Iterator[tuple[str, Callable[..., Tally]]]:
        for agency, handle in self._agencies.items():
            partner: Partner | None = self._registry.find(agency)
            if partner is not None and handle.manifest is not None and "read" in handle.manifest.capabilities:
                yield agency, Intake(self._pipeline, handle, partner, self._deadline).run_once


def _ending(lock: threading.Lock, look: Callable[[], Tally]) -> None:
    try:
        look()
    except Exception as error:  # one bad look must not end the others
        _log.error("a look at a partner met %s", type(error).__name__)
    finally:
        lock.release()
