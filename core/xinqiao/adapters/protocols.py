"""What a plugin gives the gateway: a kind of adapter, and objects that do the work, typed by these Protocols."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel

from xinqiao.adapters.listening import Listening
from xinqiao.adapters.manifest import Manifest
from xinqiao.adapters.sockets import SocketTransport
from xinqiao.adapters.spool import Seal, Spool
from xinqiao.adapters.transport import HttpTransport
from xinqiao.api.adapter.v1.adapter_service_pb2 import (
    CapacityRequest,
    CapacityResponse,
    DeliverRequest,
    DeliverResponse,
    ReadResponse,
    Rejected,
)
from xinqiao.api.exchange.v1.exchange_pb2 import Package, SignedReceipt
from xinqiao.contract.clock import Clock, SystemClock


@dataclass(frozen=True, slots=True)
class AgencyContext:
    """What one configured agency's adapter gets from the gateway: names, and the transports it may use.

    ``http`` and ``sockets`` reach only the hosts of the agency's settings (``AdapterKind.hosts``); ``folder`` is a
    private folder for the adapter's own state. ``listening`` opens the addresses of ``AdapterKind.listens``. There is
    no store, no other agency and no key in here, on purpose. ``clock`` is the gateway's: which month it is must not
    depend on who asks.
    """

    agency: str
    names: dict[str, str]
    deployment: str
    http: HttpTransport
    folder: Path
    listening: Listening = field(default_factory=lambda: Listening(()))
    sockets: SocketTransport = field(default_factory=SocketTransport)
    seal: Seal | None = field(default=None, repr=False)
    clock: Clock = field(default_factory=SystemClock)

    def spool(self, name: str) -> Spool:
        """The inbox ``name`` in this agency's folder, sealed."""
        return Spool(self.folder / name, seal=self.seal)


class Adapter(Protocol):
    """One configured agency. Every adapter can say whether its partner is reachable."""

    def check(self) -> str:
        """Reach the partner and say what answered, such as ``FHIR 4.0.1``.

        Raises PartnerUnavailable or PartnerRefused.
        """
        ...

    def close(self) -> None:
        """Give back what the adapter holds; called once."""
        ...


@runtime_checkable
class Recipient(Protocol):
    """An adapter that can be given released records."""

    def deliver(self, request: DeliverRequest, timeout_s: float) -> DeliverResponse:
        """Hand one record to the partner within ``timeout_s`` seconds and return the partner's own id for it.

        A repeat carries the same ``request_id`` and bytes: the partner must see one effect.
        Raises PartnerUnavailable (tried again later), PartnerRefused (stop, tell the admin) or RecordRejected.
        """
        ...


@runtime_checkable
class CapacityAware(Protocol):
    """An adapter whose partner can say whether it has a place; optional, declared as capability ``capacity``."""

    def capacity(self, request: CapacityRequest, timeout_s: float) -> CapacityResponse:
        """Ask the partner within ``timeout_s`` seconds; CAPACITY_UNSPECIFIED where it does not say.

        Nothing about a student is in the question and nothing is kept for it. Raises PartnerUnavailable or
        PartnerRefused; the gateway then goes on as if the partner had not been asked. A red case never asks.
        """
        ...


@runtime_checkable
class Source(Protocol):
    """An adapter that brings what its partner has for the gateway."""

    def read(self, cursor: str) -> Iterator[ReadResponse]:
        """Yield what is newer than ``cursor`` (empty: everything), oldest first, each item with its own cursor.

        The gateway stores an item before it asks for the next with that item's cursor, so a crash repeats at most
        one item. A look that takes longer than the agency's deadline yields an empty item now and then, which says
        only that it goes on. Raises PartnerUnavailable or PartnerRefused; a bad item is yielded as ``rejected``.
        """
        ...


@runtime_checkable
class Listener(Protocol):
    """An adapter that its partner can push to; what comes is spooled and brought by ``read``."""

    def listen(self) -> None:
        """Open the listener, or see that it is open. Only the gateway process calls it, before each look again.

        Acknowledge nothing that is not on disk (``xinqiao.adapters.spool``). ``close`` ends it.
        Raises AdapterConfigError when the address cannot be had; the rest of the adapter goes on without.
        """
        ...


@runtime_checkable
class SpoolOnly(Protocol):
    """A Source whose ``read`` brings what was pushed and asks nobody: it goes on while the partner cannot be reached,
    and its success says nothing about that.
    """

    reads_spool_only: bool


@runtime_checkable
class Supervised(Protocol):
    """An adapter that runs elsewhere and is watched there."""

    @property
    def ailment(self) -> str:
        """Why it does not work now, for an operator; empty while it does."""
        ...


@runtime_checkable
class Inbox(Protocol):
    """A Source that also has what was pushed to it; a look takes that first, then asks the partner with ``read``."""

    def pushed(self, cursor: str) -> Iterator[ReadResponse]:
        """As ``Source.read``, of what was pushed; asks nobody, as ``SpoolOnly``."""
        ...


@runtime_checkable
class Exchanger(Protocol):
    """An adapter that takes monthly packages."""

    def exchange(self, package: Package, request_id: str, timeout_s: float) -> SignedReceipt | None:
        """Hand a package over; return the counter-signed receipt, or None while there is none yet.

        Raises PartnerUnavailable or PartnerRefused.
        """
        ...


@runtime_checkable
class Reporter(Protocol):
    """An adapter that can tell its partner what was not taken of what it sent."""

    def report(self, rejected: Sequence[Rejected]) -> None:
        """Tell the source of each, where and why; a repeat must leave no second trace. Raises PartnerUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Accepted:
    """One item of a file that the gateway would be given: what it is and where it stands, never what it says.

    ``reason`` and ``note`` name a harmless defect that was read past, such as a misspelt header; empty for none.
    """

    kind: str
    place: str
    reason: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """One item of a file, or all of it, that the gateway would not be given: why, where and how to mend it."""

    reason: str
    place: str
    message: str


FileItem = Accepted | Refused


class FileReader(Protocol):
    """Reads a partner's file outside of any agency, exactly as the kind's adapter would, and stores nothing."""

    @property
    def settings(self) -> type[BaseModel]:
        """Accepts what ``AdapterKind.settings`` accepts, with a default for everything."""
        ...

    def read_file(self, path: Path, settings: Any) -> Iterator[FileItem]:
        """Judge the whole file, then yield its items in its order; no place, note or message holds a person's value.

        Raises OSError when the file cannot be read. A RecordRejected that is raised counts as one more ``Refused``.
        """
        ...


class Simulator(Protocol):
    """A stand-in for the partner that speaks its real protocol over a real socket or folder."""

    def start(self) -> dict[str, Any]:
        """Start serving on loopback or in the folder; return the settings that make an adapter talk to it."""
        ...

    def stop(self) -> None:
        """Stop serving; nothing of it stays behind."""
        ...

    def receipt_public_key_pem(self) -> bytes:
        """The Ed25519 public key that checks the counter-signatures of its receipts."""
        ...


@runtime_checkable
class Faulty(Protocol):
    """A Simulator that plays faults on command. Optional; but what a simulator cannot play is shown by nothing, and the
    conformance suite (``xinqiao.testing.conformance``) counts it as not passed.
    """

    @property
    def plays(self) -> frozenset[str]:
        """The faults it can play, words of ``xinqiao.testing.simulators.FAULTS``."""
        ...

    def play(self, fault: str, *, times: int = 1, seconds: float = 0.0) -> None:
        """Play ``fault`` for the next ``times`` requests, or files, or looks; 0 is until ``calm``."""
        ...

    def calm(self) -> None:
        """End every fault."""
        ...


@runtime_checkable
class Rehearsed(Faulty, Protocol):
    """A Simulator that also shows what it holds and has news for the gateway, so that effects can be counted."""

    def effects(self) -> Sequence[str]:
        """What it was given and has kept, in texts with all that a person there can see; what stays is repeated."""
        ...

    def bring(self, count: int) -> None:
        """Have at least ``count`` more items for the gateway, about what it was given where items are about that."""
        ...


@runtime_checkable
class Answered(Protocol):
    """A Simulator of a partner that pushes and is told in the answer, at once, what is not taken of it."""

    def refusals(self) -> Sequence[Rejected]:
        """What the gateway did not take of what it pushed: why, where and how to mend it, as the partner was told."""
        ...


@runtime_checkable
class Spoken(Protocol):
    """A Simulator of a partner that is not given its records over HTTP. What its protocol has no words for is not asked
    of it (``unspoken`` in the suite's ``rules.yaml``): an SFTP server answers no 422.
    """

    delivered_by: str


@dataclass(frozen=True, slots=True)
class AdapterKind:
    """One kind of adapter that a plugin offers; many agencies can be configured of one kind.

    ``name`` equals the folder, entry point and configuration key. ``settings`` validates the agency's settings.
    ``hosts`` names the ``host:port`` pairs the adapter may reach with given settings; anything else is refused.
    ``listens`` names the ``ip:port`` pairs it may listen at. ``simulator`` makes the partner's stand-in in a folder.
    ``reader`` serves ``xinqiao adapters read``, for a kind whose partner sends files or messages. ``manifest`` is for a
    kind that declares each agency apart: what an agency of these settings declares, within the kind's own manifest.
    ``variants`` are the other ways in which its partners come (``sftp`` beside a folder), each with a simulator of its own:
    the conformance suite judges each apart, and the plugin's tier is the lowest of them.
    """

    name: str
    settings: type[BaseModel]
    create: Callable[[Any, AgencyContext], Adapter]
    hosts: Callable[[Any], Sequence[str]]
    simulator: Callable[[Path], Simulator]
    listens: Callable[[Any], Sequence[str]] = lambda settings: ()
    reader: FileReader | None = None
    manifest: Callable[[Any], Manifest] | None = None
    variants: Mapping[str, Callable[[Path], Simulator]] = field(default_factory=dict[str, Callable[[Path], Simulator]])
