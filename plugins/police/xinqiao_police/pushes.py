"""What was pushed and spooled, as the items that ``read`` brings; a cursor that comes back takes them off the spool.

The events of one request may overtake each other. One that came too early waits, for a day at most, without holding up
what came after it: so a cursor is a mark (all up to it are stored) and the single numbers stored beyond it, ``+``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from xinqiao.adapters.spool import Item, Spool
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse, Rejected
from xinqiao.contract.clock import Clock
from xinqiao_police.desk import Keys, brought, opened, read
from xinqiao_police.messages import Call, Progress, Said, moment, understand
from xinqiao_police.notebook import Notebook, Steps
from xinqiao_police.settings import PoliceSettings
from xinqiao_police.wire import Envelope, NotUnderstood

HOLD_US: Final = 86_400_000_000
WINDOW_BYTES: Final = 16 * 2**20
_MARKS = 8
"""Spools a cursor remembers: each replica of the gateway has its own."""

_FAR_US = 2**62 // 1000  # what was judged when it came is not judged by the clock again


@dataclass(frozen=True, slots=True)
class _Entry:
    item: Item
    envelope: Envelope | None = None
    said: Said | None = None


class Inbox:
    """Hands on what one spool holds."""

    def __init__(self, settings: PoliceSettings, spool: Spool, steps: Steps, taken: Notebook, clock: Clock) -> None:
        self._settings = settings
        self._spool = spool
        self._steps = steps
        self._taken = taken
        self._clock = clock

    def pushed(self, cursor: str, keys: Keys) -> Iterator[ReadResponse]:
        """Each item that ``cursor`` does not cover, with the cursor to keep once it is stored."""
        entries = list(self._window())
        marks = [mark for mark in cursor.split(",") if mark]
        mine = next((mark for mark in marks if mark.startswith(f"{self._spool.name}:")), "")
        others = [mark for mark in marks if mark != mine][-_MARKS + 1 :]
        left = self._settle(entries, mine)
        waiting = {entry.item.number for entry in left}
        newest, stored = max(waiting, default=0), set[int]()
        for entry in self._in_order(left):
            if self._no_news(entry):
                self._done(entry)
                waiting.discard(entry.item.number)
                continue
            response = self._response(entry, keys)
            waiting.discard(entry.item.number)
            stored.add(entry.item.number)
            base = min(waiting, default=newest + 1) - 1
            singles = "".join(f"+{number}" for number in sorted(stored) if number > base)
            response.cursor = ",".join([*others, self._spool.mark(base) + singles])
            yield response

    def _window(self) -> Iterator[_Entry]:
        """The oldest items, as many as fit into memory; steps that wait are small, and must not keep out the others."""
        size = 0
        for item in self._spool.each():
            entry = self._entry(item)
            size += 0 if isinstance(entry.said, Progress) else len(item.data)
            yield entry
            if size > WINDOW_BYTES:
                return

    def _settle(self, entries: list[_Entry], mark: str) -> list[_Entry]:
        """Take off the spool what a cursor that came back says is stored; the rest."""
        if not mark:
            return entries
        base, *singles = mark.partition(":")[2].split("+")
        if not all(number.isascii() and number.isdigit() for number in (base, *singles)):
            return entries
        beyond = {int(number) for number in singles}
        covered = [entry for entry in entries if entry.item.number <= int(base) or entry.item.number in beyond]
        for entry in covered:
            self._done(entry)
        return [entry for entry in entries if entry not in covered]

    def _done(self, entry: _Entry) -> None:
        if isinstance(entry.said, Progress):  # before the item goes: a crash between must not forget it
            self._steps.note(entry.said.request, entry.said.sequence)
        self._spool.done(entry.item.key)

    def _no_news(self, entry: _Entry) -> bool:
        """That the centre has a request which it acknowledged when it was sent. Where its answer was lost, it is news."""
        envelope, said = entry.envelope, entry.said
        return (
            envelope is not None
            and envelope.type == "request.received"
            and isinstance(said, Progress)
            and self._taken.of(said.request) is not None
        )

    def _in_order(self, entries: list[_Entry]) -> list[_Entry]:
        ready: list[_Entry] = []
        early: dict[str, dict[int, _Entry]] = {}
        last: dict[str, int] = {}
        for entry in entries:
            said = entry.said
            if not isinstance(said, Progress) or not said.sequence:
                ready.append(entry)
                continue
            last.setdefault(said.request, self._steps.last(said.request))
            if said.sequence <= last[said.request] or said.sequence in early.get(said.request, {}):
                ready.append(entry)  # twice, or late after all: the gateway says what it makes of it
                continue
            steps = early.setdefault(said.request, {})
            steps[said.sequence] = entry
            while (step := steps.pop(last[said.request] + 1, None)) is not None:
                ready.append(step)
                last[said.request] += 1
        for steps in early.values():
            ready += [entry for _, entry in sorted(steps.items()) if self._waited(entry)]
        return ready

    def _waited(self, entry: _Entry) -> bool:
        return entry.envelope is None or self._clock.now_us() - _sent_us(entry.envelope) >= HOLD_US

    def _entry(self, item: Item) -> _Entry:
        wire, _, body = item.data.partition(b"\n")
        try:
            envelope = read("cap" if wire == b"cap" else "json", body)
            return _Entry(item, envelope, understand(envelope, _FAR_US))
        except NotUnderstood:
            return _Entry(item)

    def _response(self, entry: _Entry, keys: Keys) -> ReadResponse:
        source = entry.item.key[:16]
        if entry.envelope is None or entry.said is None:  # It was sound when it was spooled: the file was changed.
            why = "the spooled file was changed or is damaged; ask the 110 centre to send it again"
            rejected = Rejected(source=f"spool/{source}", place="file", reason="DATA/SPOOL", message=why)
            return ReadResponse(rejected=rejected)
        try:
            call = opened(entry.said, self._settings, keys, None) if isinstance(entry.said, Call) else None
            return brought(entry.envelope, entry.said, self._settings, call, source=source)
        except NotUnderstood as e:  # the key of a token or a setting was changed since it was spooled
            why = f"{e.message}; ask the 110 centre by telephone"
            rejected = Rejected(source=f"alert/{source}", place=e.place, reason=e.reason, message=why)
            return ReadResponse(rejected=rejected)


def _sent_us(envelope: Envelope) -> int:
    return moment(envelope.timestamp, "timestamp", _FAR_US)
