"""One configured agency: its state, and every call to its adapter behind gate, breaker, bulkhead and deadline."""

import logging
import re
import secrets
import threading
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal, TypeVar, cast

from pydantic import BaseModel

from xinqiao.adapters.breaker import Breaker
from xinqiao.adapters.errors import (
    AdapterConfigError,
    AdapterError,
    PartnerRefused,
    PartnerUnavailable,
    RecordRejected,
)
from xinqiao.adapters.manifest import PACKAGE, Manifest
from xinqiao.adapters.protocols import (
    Adapter,
    CapacityAware,
    Exchanger,
    Inbox,
    Listener,
    Recipient,
    Reporter,
    Source,
    SpoolOnly,
    Supervised,
)
from xinqiao.adapters.workers import Busy, Job, Stream, Workers
from xinqiao.api.adapter.v1.adapter_service_pb2 import (
    CapacityRequest,
    CapacityResponse,
    DeliverRequest,
    DeliverResponse,
    ReadResponse,
    Rejected,
)
from xinqiao.api.common.v1.options_pb2 import LANE_CRISIS
from xinqiao.api.exchange.v1.exchange_pb2 import Package, SignedReceipt
from xinqiao.api.gateway.v1.gateway_service_pb2 import (
    AGENCY_STATE_DISABLED,
    AGENCY_STATE_FAILED,
    AGENCY_STATE_MAINTENANCE,
    AGENCY_STATE_READY,
    AGENCY_STATE_RETRYING,
    AgencyState,
)
from xinqiao.contract.clock import Clock

_LOG = logging.getLogger("xinqiao.adapters")

_ADAPTER_SHARE: Final = 0.9
"""Part of the deadline told to the adapter, so that its own time-out fires before its thread is given up."""

_OWN_REASONS: Final = ("ADAPTER/", "EGRESS/")
"""Refusals of this side: they say nothing about the partner."""

_NO_TICKET: Final = -1
"""Says nothing to the breaker: what is read was pushed, the partner is not asked."""

_STOP_WAIT_S: Final = 1.0
_BLOCK_S: Final = 5.0
_BUSY_RETRY_S: Final = 1.0
_AGENCY = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
_REASON = re.compile(r"[A-Z][A-Z0-9_]*(/[A-Z0-9_]+)?", re.ASCII)

T = TypeVar("T")
Isolation = Literal["in-process", "process"]
Action = Literal["check", "deliver", "read", "exchange", "report"]


@dataclass(frozen=True, slots=True)
class AgencySpec:
    """One agency as configured. ``kind`` is the plugin's name; times are seconds, ``memory_mb`` is for its own process.

    ``settings`` is what stands in the configuration, or already the plugin's own settings model.
    Raises AdapterConfigError for numbers or names that make no sense.
    """

    agency: str
    names: Mapping[str, str]
    kind: str
    settings: Mapping[str, Any] | BaseModel = field(repr=False)
    enabled: bool = True
    deadline_s: float = 30.0
    concurrency: int = 2
    breaker_failures: int = 5
    breaker_reset_s: float = 60.0
    isolation: Isolation = "in-process"
    memory_mb: int = 1024

    def __post_init__(self) -> None:
        if _AGENCY.fullmatch(self.agency) is None:
            raise AdapterConfigError("an agency's id must be 1 to 64 of a-z 0-9 _ - and start with a letter or digit")
        if not 0 < self.deadline_s <= 3600 or not 0 < self.breaker_reset_s <= 86400:
            raise AdapterConfigError(f"agency {self.agency}: deadline_s is above 0 to 3600, breaker_reset_s to 86400")
        if not 256 <= self.memory_mb <= 65536:
            raise AdapterConfigError(f"agency {self.agency}: memory_mb is 256 to 65536")
        if not 1 <= self.concurrency <= 64 or not 1 <= self.breaker_failures <= 1000:
            raise AdapterConfigError(f"agency {self.agency}: concurrency is 1 to 64, breaker_failures 1 to 1000")


class AgencyHandle:
    """What the rooms hold of an agency. Every call may be made from any thread.

    Calls raise only PartnerUnavailable (try again later), PartnerRefused (stop, tell the admin) and RecordRejected.
    """

    def __init__(self, spec: AgencySpec, manifest: Manifest | None, clock: Clock) -> None:
        self.agency: Final = spec.agency
        self.names: Final = dict(spec.names)
        self.kind: Final = spec.kind
        self.isolation: Final = spec.isolation
        self.manifest: Final = manifest
        self.workers: Final = Workers(spec.agency, spec.concurrency)
        self._deadline_s = spec.deadline_s
        self._enabled = spec.enabled
        self._breaker = Breaker(spec.agency, spec.breaker_failures, spec.breaker_reset_s, clock)
        self._adapter: Adapter | None = None
        self._failure = "not started"
        self._refused = ""
        self._paused = False
        self._closed = False
        self._deaf = ""
        self._blocked = ""
        self._clock = clock
        self._since_us = clock.now_us()

    # -- state ------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> AgencyState.ValueType:
        """How the agency is now, as ``xinqiao.api.gateway.v1.AgencyState``."""
        if not self._enabled or self._blocked:
            return AGENCY_STATE_DISABLED
        if self._adapter is None or self.workers.stuck:
            return AGENCY_STATE_FAILED
        if self._paused:
            return AGENCY_STATE_MAINTENANCE
        ailing = self._breaker.in_a_row or self._deaf or self._ailment
        return AGENCY_STATE_RETRYING if ailing else AGENCY_STATE_READY

    @property
    def ailing_since_us(self) -> int:
        """Since when it does not work as it should, as far as this process knows; microseconds since 1970 UTC."""
        return self._breaker.since_us or self._since_us

    @property
    def _ailment(self) -> str:
        adapter: object = self._adapter
        return adapter.ailment if isinstance(adapter, Supervised) else ""

    @property
    def message(self) -> str:
        """Why it is so, for an operator; made of the gateway's own words only."""
        match self.state:
            case state if state == AGENCY_STATE_DISABLED:
                return self._blocked or "switched off in the configuration"
            case state if state == AGENCY_STATE_FAILED:
                return self._failure if self._adapter is None else f"{self.workers.hung} calls hang in the adapter"
            case state if state == AGENCY_STATE_MAINTENANCE:
                return "paused by an administrator"
            case state if state == AGENCY_STATE_RETRYING and (ailment := self._ailment):
                return f"{ailment}; it is started again"
            case state if state == AGENCY_STATE_RETRYING and not self._breaker.in_a_row:
                return f"does not listen, tried again at the next look: {self._deaf}"
            case state if state == AGENCY_STATE_RETRYING:
                wait = f"; next probe in {self._breaker.wait_s():.0f} s" if self._breaker.position == "open" else ""
                return f"no answer to {self._breaker.in_a_row} calls in a row{wait}"
            case _:
                if not self._refused:
                    return "what passes is recorded, with nobody in it" if self.workers.tape.running else ""
                return f"the last call was refused: {self._refused}"

    def declared_classes(self, contract: str) -> frozenset[int]:
        """``FieldClass`` numbers the plugin declared it can be given of ``contract``; release no others to it."""
        return self.manifest.written_classes(contract) if self.manifest is not None else frozenset()

    @property
    def blocked(self) -> bool:
        """Whether its plugin's version is blocked in the configuration."""
        return bool(self._blocked)

    def block(self, why: str) -> None:
        """DISABLED with that reason: its adapter is closed, and nothing is asked of it until it is made again."""
        self._blocked = why
        self._since_us = self._clock.now_us()
        adapter, self._adapter = self._adapter, None
        if adapter is not None:
            self._close_within(adapter, _BLOCK_S)

    def unblock(self) -> None:
        """The version may be used again; ``started`` or ``failed`` follows."""
        self._blocked, self._failure = "", "not started"

    def pause(self) -> None:
        """Maintenance: calls answer PartnerUnavailable until ``resume``."""
        self._paused = True

    def resume(self) -> None:
        """End of maintenance."""
        self._paused = False

    # -- calls ------------------------------------------------------------------------------------------------------

    def check(self) -> str:
        """What the partner answers to, such as ``FHIR 4.0.1``."""
        adapter = self._gate("check", crisis=False)
        return self._call("check", adapter.check, str)

    def deliver(self, request: DeliverRequest) -> DeliverResponse:
        """Hand one released record over. A request of the crisis lane may use the reserved slot and probe early."""
        crisis = request.lane == LANE_CRISIS
        adapter = self._gate("deliver", crisis=crisis)
        self._must_take(request.WhichOneof("body") or "")
        if not isinstance(adapter, Recipient):
            raise _cannot(self.agency, "deliver")
        # A copy: an abandoned thread must not be able to change what the next try sends.
        own = DeliverRequest()
        own.CopyFrom(request)
        timeout_s = self._deadline_s * _ADAPTER_SHARE
        return self._call("deliver", lambda: adapter.deliver(own, timeout_s), DeliverResponse, crisis=crisis)

    def capacity(self, request: CapacityRequest, wait_s: float) -> CapacityResponse | None:
        """Ask for capacity, for at most ``wait_s`` seconds; None is "not known", whatever the reason.

        What becomes of the question says nothing about deliveries, so the breaker is looked at and not moved.
        """
        adapter = self._adapter
        if self.state != AGENCY_STATE_READY or self._closed or not isinstance(adapter, CapacityAware):
            return None
        if self.manifest is None or "capacity" not in self.manifest.capabilities:
            return None
        own = CapacityRequest()
        own.CopyFrom(request)
        try:
            job = self.workers.submit(lambda: adapter.capacity(own, wait_s * _ADAPTER_SHARE), crisis=False)
            if not job.wait(wait_s) and self.workers.abandon(job):
                return None
            answer = cast(object, job.result())
        except (Busy, AdapterError):
            return None
        except (Exception, SystemExit) as error:
            broken(self.agency, "capacity", error)
            return None
        if isinstance(answer, CapacityResponse):
            return answer
        _LOG.error("agency %s: capacity returned %s", self.agency, type(answer).__name__)
        return None

    def exchange(self, package: Package, request_id: str) -> SignedReceipt | None:
        """Hand a monthly package over; None while the partner has not counter-signed."""
        adapter = self._gate("exchange", crisis=False)
        self._must_take(PACKAGE)
        if not isinstance(adapter, Exchanger):
            raise _cannot(self.agency, "exchange")
        own = Package()
        own.CopyFrom(package)
        timeout_s = self._deadline_s * _ADAPTER_SHARE
        return self._call("exchange", lambda: adapter.exchange(own, request_id, timeout_s), (SignedReceipt, type(None)))

    def read(self, cursor: str) -> Generator[ReadResponse, None, None]:
        """Yield what the partner has after ``cursor``; the deadline holds for each item, not for the whole.

        Nothing is asked of the partner before the first ``next``. Stopping early is fine: close the generator.
        """
        adapter = self._gate("read", crisis=False)
        if not isinstance(adapter, Source):
            raise _cannot(self.agency, "read")
        if self._deaf:
            self.listen()
        if isinstance(adapter, Inbox):
            with closing(self._look(partial(adapter.pushed, cursor), _NO_TICKET)) as inbox:
                for item in inbox:
                    cursor = item.cursor or cursor
                    yield item
        ticket = _NO_TICKET if isinstance(adapter, SpoolOnly) else self._admit(crisis=False)
        yield from self._look(partial(adapter.read, cursor), ticket)

    def _look(self, source: Callable[[], Iterator[ReadResponse]], ticket: int) -> Generator[ReadResponse, None, None]:
        stream = Stream(source)
        job = self._start(stream.run, ticket, crisis=False)
        failure: AdapterError | None = None
        try:
            while (item := stream.take(self._deadline_s)) is not None:
                checked = self._checked("read", item.item, ReadResponse)
                body = checked.WhichOneof("body") or ""
                # Without a body it says only that a long look goes on.
                if self.manifest is None or (body and not self.manifest.brings(body)):
                    raise _refused(self.agency, "NOT_DECLARED", "the adapter brought a contract it does not declare")
                self._breaker.answered(ticket)
                yield checked
            self._outcome(job)
            self._succeeded(ticket)
        except GeneratorExit:
            raise
        except BaseException as e:  # As in _call.
            failure = self._judged("read", e, ticket)
        finally:
            self._breaker.cancelled(ticket)
            stream.stop()
            if not job.wait(_STOP_WAIT_S):
                self.workers.abandon(job)
        if failure is not None:
            raise failure

    def report(self, rejected: Sequence[Rejected]) -> None:
        """Tell the partner what was not taken of what it sent; nothing happens with an adapter that cannot."""
        adapter = self._gate("read", crisis=False)  # telling belongs to reading; it needs no word in the manifest
        if isinstance(adapter, Reporter):
            self._call("report", lambda: adapter.report(rejected), type(None))

    # -- life -------------------------------------------------------------------------------------------------------

    def run_with_deadline(self, work: Callable[[], T], *, at_least_s: float = 0.0) -> T:
        """Run ``work`` in one of the agency's threads. Raises what it raises, or PartnerUnavailable when too slow."""
        try:
            job = self.workers.submit(work, crisis=True)
        except Busy:
            raise self._busy() from None
        return self._outcome(job, max(self._deadline_s, at_least_s))

    def started(self, adapter: Adapter) -> None:
        """The adapter was made: the agency works."""
        self._adapter = adapter
        self._failure = ""
        self._since_us = self._clock.now_us()

    def listen(self) -> None:
        """Open the adapter's listener, if it has one. Never raises: without it the adapter still delivers and polls."""
        adapter = self._adapter
        if self.manifest is None or "listen" not in self.manifest.capabilities or not isinstance(adapter, Listener):
            return
        before = self._deaf
        try:
            self.run_with_deadline(adapter.listen)
            self._deaf = ""
        except AdapterError as e:
            self._deaf = e.message
        except (Exception, SystemExit) as e:
            self._deaf = f"look for {broken(self.agency, 'listen', e)} in the log"
        if self._deaf and not before:
            self._since_us = self._clock.now_us()
        if self._deaf and self._deaf != before:
            _LOG.error("agency %s does not listen: %s", self.agency, self._deaf)

    def failed(self, why: str) -> None:
        """The adapter could not be made; ``why`` is shown to the operator."""
        self._failure, self._since_us = why, self._clock.now_us()

    def close(self, timeout_s: float) -> None:
        """Close the adapter, waiting at most ``timeout_s`` seconds; later calls are refused."""
        if self._closed:
            return
        self._closed = True
        if self._adapter is not None:
            self._close_within(self._adapter, timeout_s)
        self.workers.close()

    def _close_within(self, adapter: Adapter, timeout_s: float) -> None:
        # Its own thread: the slots may all hang.
        thread = threading.Thread(target=lambda: self._close(adapter), name=f"close-{self.agency}", daemon=True)
        thread.start()
        thread.join(timeout_s)

    def _close(self, adapter: Adapter) -> None:
        try:
            adapter.close()
        except BaseException as e:  # One plugin's fault must not keep the others from closing
            broken(self.agency, "close", e)

    # -- the way of a call ------------------------------------------------------------------------------------------

    def _gate(self, action: Action, *, crisis: bool) -> Adapter:
        if self._closed:
            raise PartnerUnavailable(f"{self.agency}: the gateway is stopping")
        if self._blocked:
            raise _refused(self.agency, "BLOCKED", self._blocked)
        if not self._enabled:
            raise _refused(self.agency, "DISABLED", "switched off in the configuration")
        if self._adapter is None:
            raise _refused(self.agency, "FAILED", "its adapter did not start; see the agency's status")
        if self._paused:
            raise PartnerUnavailable(f"{self.agency}: paused by an administrator")
        if self.workers.stuck and not crisis:
            raise PartnerUnavailable(f"{self.agency}: {self.workers.hung} calls hang in the adapter")
        if self.manifest is None or action not in self.manifest.capabilities:
            raise _refused(self.agency, "NOT_DECLARED", f"its plugin does not declare {action}")
        return self._adapter

    def _must_take(self, contract: str) -> None:
        if self.manifest is None or not self.manifest.takes(contract):
            raise _refused(self.agency, "NOT_DECLARED", "its plugin does not declare this contract")

    def _admit(self, *, crisis: bool) -> int:
        ticket = self._breaker.admit(crisis=crisis)
        if ticket is None:
            raise PartnerUnavailable(f"{self.agency}: does not answer, left alone for now", self._breaker.wait_s())
        return ticket

    def _start(self, work: Callable[[], T], ticket: int, *, crisis: bool) -> Job[T]:
        try:
            return self.workers.submit(work, crisis=crisis)
        except Busy:
            self._breaker.cancelled(ticket)
            raise self._busy() from None

    def _busy(self) -> PartnerUnavailable:
        return PartnerUnavailable(f"{self.agency}: all its workers are busy", _BUSY_RETRY_S)

    def _call(
        self, action: Action, work: Callable[[], T], wanted: type[T] | tuple[type, ...], *, crisis: bool = False
    ) -> T:
        ticket = self._admit(crisis=crisis)
        job = self._start(work, ticket, crisis=crisis)
        try:
            value = self._checked(action, self._outcome(job), wanted)
        except BaseException as e:  # Whatever the plugin raised is judged in one place.
            failure = self._judged(action, e, ticket)
        else:
            self._succeeded(ticket)
            return value
        # Outside of the handler, so that the plugin's exception does not become the context of this one.
        raise failure

    def _outcome(self, job: Job[T], wait_s: float | None = None) -> T:
        wait_s = self._deadline_s if wait_s is None else wait_s
        if not job.wait(wait_s) and self.workers.abandon(job):
            raise PartnerUnavailable(f"{self.agency}: deadline of {wait_s:g} s passed")
        return job.result()

    def _checked(self, action: Action, value: T, wanted: type[T] | tuple[type, ...]) -> T:
        if isinstance(value, wanted):
            return value
        _LOG.error("agency %s: %s returned %s", self.agency, action, type(value).__name__)
        raise _refused(self.agency, "WRONG_TYPE", f"{action} returned something else than the interface says")

    def _succeeded(self, ticket: int) -> None:
        if ticket != _NO_TICKET:  # what was pushed does not take back what the partner refused
            self._refused = ""
        self._breaker.answered(ticket)

    def _judged(self, action: Action, error: BaseException, ticket: int) -> AdapterError:
        """What the caller gets for ``error``, and what it says about the partner."""
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            self._breaker.cancelled(ticket)
            raise error
        if isinstance(error, PartnerUnavailable):
            self._breaker.unanswered(ticket)
            return _bare(error)
        if isinstance(error, RecordRejected):
            self._breaker.answered(ticket)
            return _bare(error)
        if isinstance(error, PartnerRefused):
            if _REASON.fullmatch(str(error.reason)) is None:
                error.reason = "ADAPTER/REASON"
            if error.reason.startswith(_OWN_REASONS):
                self._breaker.cancelled(ticket)
            else:
                self._breaker.answered(ticket)
        else:
            self._breaker.cancelled(ticket)
            reference = broken(self.agency, action, error)
            error = _refused(self.agency, "BROKEN", f"its adapter broke in {action}; look for {reference} in the log")
        self._refused = error.reason
        return _bare(error)


def broken(agency: str, action: str, error: BaseException) -> str:
    """Log that a plugin broke, by class name and code line only (its text may hold a person); return a reference."""
    reference = secrets.token_hex(4)
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "?"
    _LOG.error("agency %s: %s raised %s at %s [%s]", agency, action, type(error).__name__[:80], where, reference)
    return reference


def _refused(agency: str, word: str, message: str) -> PartnerRefused:
    return PartnerRefused(f"ADAPTER/{word}", f"{agency}: {message}")


def _cannot(agency: str, action: Action) -> PartnerRefused:
    return _refused(agency, "WRONG_TYPE", f"its adapter has no {action}, though its manifest declares it")


def _bare(error: AdapterError) -> AdapterError:
    """The same error without the plugin's causes and frames, which can hold what the partner sent."""
    error.__cause__ = None
    error.__context__ = None
    return error.with_traceback(None)
