"""One adapter under test: started through the real host, beside its simulator, with everything it says written down."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn

from xinqiao.adapters.errors import AdapterError, PartnerRefused, PartnerUnavailable
from xinqiao.adapters.host import AdapterHost, AgencyHandle, AgencySpec, installed_entry_points
from xinqiao.adapters.manifest import PACKAGE, Manifest
from xinqiao.adapters.protocols import AdapterKind, Answered, Faulty, Rehearsed, Simulator, Spoken
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, DeliverResponse, ReadResponse, Rejected
from xinqiao.contract.clock import ManualClock
from xinqiao.testing.conformance import samples

AGENCY: Final = "under-test"
OTHER: Final = "another-partner"
DEADLINE_S: Final = 20.0
RESET_S: Final = 60.0
_LOGGERS: Final = (logging.getLogger(), logging.getLogger("xinqiao"))
_BREATH_S: Final = 0.1

_NAMES: Final = {"zh": "受测机构", "en": "Agency under test"}
_BREAKS: Final = ("ADAPTER/BROKEN", "ADAPTER/WRONG_TYPE", "ADAPTER/NOT_DECLARED", "ADAPTER/REASON")


class Failed(Exception):
    """The adapter does not do what the case asks; the text says what was seen, in the suite's own words."""


class NotShown(Exception):
    """The case asks something that nothing here can show, such as a fault that the simulator cannot play."""


class NotApplicable(Exception):
    """The plugin does not do what the case is about."""


def expect(condition: object, text: str) -> None:
    """Raises Failed with ``text`` unless ``condition`` holds."""
    if not condition:
        raise Failed(text)


class NotDeclared(NotApplicable):
    """The plugin does not do what the case is about, and its manifest could have declared it."""


EntryPoints = Callable[[], Iterable[metadata.EntryPoint]]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is judged: an installed plugin beside its own simulator, or what ``partner`` stands for.

    ``variant`` is one of ``AdapterKind.variants``; empty, it is the kind's first simulator.
    """

    name: str
    entry_points: EntryPoints = installed_entry_points
    partner: Callable[[Path], Simulator] | None = None
    variant: str = ""

    def load(self) -> AdapterHost:
        """A host with this plugin alone. Raises Failed where it cannot be loaded."""
        host = AdapterHost.load([self.name], entry_points=self.entry_points)
        for why in host.failures.values():
            raise Failed(why)
        if self.name not in host.kinds:
            raise Failed(f"no plugin {self.name} is installed: pip install -e its folder")
        return host


class _Written(logging.Handler):
    """Everything that anybody logs while a case runs."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@dataclass(slots=True)
class _Said:
    """What came out of the adapter, for the search for personal values."""

    texts: list[str] = field(default_factory=list[str])


class Rig:
    """A context manager; ``folder`` must be empty. Raises Failed on entering when the plugin cannot be used."""

    def __init__(self, subject: Subject, folder: Path, unspoken: Mapping[str, Sequence[str]] | None = None) -> None:
        """``unspoken`` are the faults that a protocol has no words for, by ``Spoken.delivered_by``."""
        self.subject = subject
        self._unspoken = unspoken or {}
        self.folder = folder
        self.clock = ManualClock(datetime(2026, 10, 12, 1, 0, tzinfo=UTC))
        self.settings: dict[str, Any] = {}
        self._said = _Said()
        self._log = _Written()
        self._host: AdapterHost | None = None
        self._simulator: Simulator | None = None
        self._handle: AgencyHandle | None = None
        self._levels: list[int] = []
        self._handlers: list[logging.Handler] = []

    def __enter__(self) -> "Rig":
        root = _LOGGERS[0]
        # On both: a command line keeps the gateway's own logger quiet.
        for logger in _LOGGERS:
            self._levels.append(logger.level)
            logger.setLevel(logging.DEBUG)
        self._handlers, root.handlers = root.handlers, [self._log]
        try:
            self.start_partner()
            self.open()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        _LOGGERS[0].handlers = self._handlers
        for logger, level in zip(_LOGGERS, self._levels, strict=True):
            logger.setLevel(level)

    def start_partner(self) -> None:
        """The simulator alone, without an adapter. Raises Failed when the plugin cannot be loaded."""
        kind = self.subject.load().kinds[self.subject.name]
        made = self.subject.partner or (kind.variants[self.subject.variant] if self.subject.variant else kind.simulator)
        self._simulator = made(self.folder / "partner")
        self.settings = self._simulator.start()

    def close(self) -> None:
        """Stop what runs; harmless when nothing does."""
        if isinstance(self._simulator, Faulty):
            with suppress(Exception):
                self._simulator.calm()
        if self._host is not None:
            self._host.close()
        if self._simulator is not None:
            self._simulator.stop()

    # -- the adapter --------------------------------------------------------------------------------------------------

    @property
    def handle(self) -> AgencyHandle:
        """The agency as the rooms hold it."""
        assert self._handle is not None
        return self._handle

    @property
    def manifest(self) -> Manifest:
        """What is declared."""
        assert self.handle.manifest is not None
        return self.handle.manifest

    @property
    def kind(self) -> AdapterKind:
        """The plugin's kind."""
        assert self._host is not None
        return self._host.kinds[self.subject.name]

    @property
    def simulator(self) -> Simulator:
        """The partner's stand-in."""
        assert self._simulator is not None
        return self._simulator

    @property
    def state_folder(self) -> Path:
        """Where the gateway keeps the agencies' folders."""
        return self.folder / "data"

    def open(self, *, deadline_s: float = DEADLINE_S) -> None:
        """Start the adapter, anew where it runs, on the same folder: as after the gateway was restarted."""
        if self._host is not None:
            self._host.close()
        self._host = self.subject.load()
        spec = AgencySpec(
            AGENCY, _NAMES, self.subject.name, self.settings, deadline_s=deadline_s, breaker_reset_s=RESET_S
        )
        agencies = {AGENCY: spec}
        self._host.start(agencies, deployment="conformance", folder=self.state_folder, clock=self.clock, listen=True)
        self._handle = self._host.agencies[AGENCY]
        if self._handle.message:
            raise Failed(f"with the settings of its simulator the agency does not start: {self._handle.message}")

    def deliver(self, request: DeliverRequest) -> DeliverResponse:
        """Through the real host; an answer that breaks the contract is Failed. Raises AdapterError."""
        try:
            answer = self.handle.deliver(request)
        except AdapterError as error:
            self._judge(error)
            raise
        self._said.texts.append(answer.receipt)
        return answer

    def attempt(self, work: Callable[[], object]) -> AdapterError | None:
        """Do it; the error it ended with, if it did."""
        try:
            work()
        except AdapterError as error:
            self._judge(error)
            return error
        return None

    def read(self, cursor: str = "", *, limit: int = 0) -> list[ReadResponse]:
        """One look from ``cursor``, or its first ``limit`` items; without empty signs of life."""
        found: list[ReadResponse] = []
        stream = self.handle.read(cursor)
        try:
            for item in stream:
                if item.WhichOneof("body"):
                    found.append(item)
                if limit and len(found) >= limit:
                    break
        except AdapterError as error:
            self._judge(error)
            raise
        finally:
            stream.close()
        self._said.texts += [f"{item.rejected}" for item in found if item.HasField("rejected")]
        return found

    def _judge(self, error: AdapterError) -> None:
        self._said.texts += [str(error), error.message]
        if isinstance(error, PartnerRefused) and error.reason in _BREAKS:
            where = next((line for line in reversed(self._log.lines) if " raised " in line or "returned" in line), "")
            raise Failed(f"{error.reason}: {error.message}" + (f" ({where})" if where else ""))

    # -- what is declared ---------------------------------------------------------------------------------------------

    def needs(self, capability: str) -> None:
        """Raises NotDeclared where the plugin does not declare ``capability``."""
        if capability not in self.manifest.capabilities:
            raise NotDeclared(f"does not declare {capability}")

    def contracts(self) -> tuple[str, ...]:
        """The contracts that ``deliver`` is given. Raises NotApplicable where there is none."""
        self.needs("deliver")
        return tuple(use.contract for use in self.manifest.contracts.written if use.contract != PACKAGE)

    def sample(self, contract: str, number: int = 1, *, drill: bool = False) -> DeliverRequest:
        """A record as the door would release it to this plugin. Raises Failed where it could release none."""
        whole = samples.request(contract, number, drill=drill)
        made = samples.released(whole, self.manifest.written_classes(contract))
        if made is None:
            raise Failed(f"the classes declared for {contract} are too few: nothing could ever be released")
        return made

    def ready(self, contract: str, number: int = 1, *, drill: bool = False) -> DeliverRequest:
        """A record whose forerunner the partner has: a change of a referral follows the referral."""
        if contract != "referral" and self.manifest.takes("referral"):
            self.deliver(self.sample("referral", number, drill=drill))
        return self.sample(contract, number, drill=drill)

    # -- the partner --------------------------------------------------------------------------------------------------

    def over_network(self) -> None:
        """Raises NotApplicable where it delivers without calling anybody: there is no connection that could fail."""
        if not self.kind.hosts(self._typed_settings()) or self._way == "folder":
            raise NotApplicable("it delivers without calling a host, so no connection can fail")

    def can_play(self, fault: str) -> Faulty:
        """The partner, for ``fault``. Raises NotShown where it cannot play that, NotApplicable where no such one could."""
        if not self.can_say(fault):
            raise NotApplicable(f"a partner that is delivered to by {self._way} has no {fault}")
        if not isinstance(self._simulator, Faulty) or fault not in self._simulator.plays:
            raise NotShown(f"the simulator cannot play {fault}")
        return self._simulator

    def can_say(self, fault: str) -> bool:
        """Whether the partner's protocol has a word for ``fault``."""
        return fault not in self._unspoken.get(self._way, ())

    @property
    def _way(self) -> str:
        partner: object = self._simulator
        return partner.delivered_by if isinstance(partner, Spoken) else "http"

    @contextmanager
    def playing(self, fault: str, *, times: int = 0, seconds: float = 0.0) -> Generator[None, None, None]:
        """The partner with a fault. Raises NotShown where it cannot play that."""
        partner = self.can_play(fault)
        partner.play(fault, times=times, seconds=seconds)
        try:
            yield
        finally:
            partner.calm()

    @property
    def sees(self) -> bool:
        """Whether it can be seen what the partner holds."""
        partner: object = self._simulator
        return isinstance(partner, Rehearsed)

    def effects(self) -> "Counter[str]":
        """What the partner holds; empty where it cannot be seen, so that nothing is compared."""
        partner: object = self._simulator
        return Counter(partner.effects()) if isinstance(partner, Rehearsed) else Counter()

    def seen(self, before: "Counter[str]") -> list[str]:
        """What came to the partner since. Raises NotShown where it cannot be seen."""
        if not isinstance(self._simulator, Rehearsed):
            raise NotShown("what the partner holds cannot be seen")
        return list((self.effects() - before).elements())

    def bring(self, count: int) -> None:
        """News at the partner, after records were given to it. Raises NotApplicable or NotShown."""
        self.needs("read")
        for number in range(1, 4):
            if self.manifest.takes("referral"):
                until_answered(self, partial(self.deliver, self.sample("referral", number)))
        if isinstance(self._simulator, Rehearsed):
            self._simulator.bring(count)
        elif not self.read(limit=1):
            raise NotShown("the partner has no news and cannot be told to have some")

    def refusals(self) -> list[Rejected]:
        """What a partner that pushes was told at the door; none where it is not told there."""
        partner: object = self._simulator
        return list(partner.refusals()) if isinstance(partner, Answered) else []

    def three_days(self) -> Iterator[timedelta]:
        """The back-off of three days: seconds at first, then once an hour; the gateway's clock goes along."""
        passed, wait = timedelta(), timedelta(seconds=RESET_S)
        while passed < timedelta(days=3):
            yield passed
            self.clock.advance(wait)
            passed += wait
            wait = min(wait * 2, timedelta(hours=1))

    # -- what was said ------------------------------------------------------------------------------------------------

    def said(self) -> Sequence[str]:
        """Every receipt, error text, rejection and log line so far."""
        return [*self._said.texts, *self._log.lines, *(f"{each}" for each in self.refusals())]

    def _typed_settings(self) -> Any:
        return self.kind.settings.model_validate(self.settings)


def until_answered(rig: Rig, work: Callable[[], DeliverResponse]) -> DeliverResponse:
    """Try again as the gateway would, until the partner answers; at most a few times. Raises the last error."""
    for _ in range(8):
        try:
            return work()
        except PartnerUnavailable:
            time.sleep(_BREATH_S)
            rig.clock.advance(timedelta(seconds=RESET_S))
    return work()


def fail(text: str) -> NoReturn:
    """Raises Failed."""
    raise Failed(text)
