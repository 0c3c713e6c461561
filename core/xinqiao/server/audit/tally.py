"""What the journal says of one year, counted while it is verified: what is counted is what was checked."""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from xinqiao.contract.clock import BEIJING, from_us, to_us
from xinqiao.journal.entry import Entry
from xinqiao.journal.scope import basis_name, class_names, purpose_name

DAY_US: Final = 86_400_000_000
INCIDENTS: Final = (
    "delivery.dead", "delivery.stuck", "escalated", "intake.rejected", "config.refused", "mailbox.unmasked",
    "keys.destroyed", "recall.opened", "agreement.ending",
)  # fmt: skip
"""Kinds of rows of which a year should have few; a year without one shows 0, for that is an answer too."""

DELETIONS: Final = ("student.shredded", "legal_hold.placed", "legal_hold.released")
_BY_CORE: Final = ("refused", "read", "replayed")
"""Kinds of denials whose reason is one of the core's own words; elsewhere a person or a partner may have written it."""

_ERASED: Final = re.compile(r"rows:(\d+) ")
_WORD: Final = re.compile(r"[A-Z][A-Z0-9_]{0,39}")


@dataclass(frozen=True, slots=True)
class Year:
    """A calendar year in Beijing."""

    number: int

    @property
    def start_us(self) -> int:
        """Its first microsecond."""
        return to_us(datetime(self.number, 1, 1, tzinfo=BEIJING))

    @property
    def end_us(self) -> int:
        """The first microsecond of the next one."""
        return to_us(datetime(self.number + 1, 1, 1, tzinfo=BEIJING))


@dataclass(frozen=True, slots=True)
class Use:
    """One disclosure that a second person must approve. ``decided_by`` is empty while nobody did."""

    recipient: str
    basis: str
    opened_us: int
    decided_by: str
    decided_us: int
    outcome: str

    @property
    def in_time(self) -> bool:
        """Decided within 24 hours."""
        return bool(self.decided_us) and self.decided_us - self.opened_us <= DAY_US


@dataclass(slots=True)
class Tally:
    """Counts of a year's rows. ``rows`` are those of the year, ``longest_open_us`` the longest that a row waited for the
    signature that covers it, ``interrupted`` how many checkpoints came after more than ``stop_us``. ``checkpoints`` are
    ``(size, time)`` in order, by writer."""

    year: Year
    checkpoints: Mapping[str, list[tuple[int, int]]]
    stop_us: int
    rows: int = 0
    kinds: Counter[str] = field(default_factory=Counter[str])
    months: Counter[int] = field(default_factory=Counter[int])
    disclosures: Counter[tuple[str, str, str, str]] = field(default_factory=Counter[tuple[str, str, str, str]])
    denials: Counter[tuple[str, str, str]] = field(default_factory=Counter[tuple[str, str, str]])
    consents: Counter[str] = field(default_factory=Counter[str])
    erased: Counter[str] = field(default_factory=Counter[str])
    policies: Counter[str] = field(default_factory=Counter[str])
    bases: Counter[str] = field(default_factory=Counter[str])
    longest_open_us: int = 0
    interrupted: int = 0
    _covered: dict[str, int] = field(default_factory=dict[str, int])
    _opened: dict[str, Entry] = field(default_factory=dict[str, Entry])
    _decided: dict[str, Entry] = field(default_factory=dict[str, Entry])

    @property
    def uses(self) -> list[Use]:
        """The year's uses, with the decision whenever it came: rows of several chains come in no common order."""
        return [_use(entry, self._decided.get(name)) for name, entry in self._opened.items()]

    def watch(self, rows: Iterable[Entry]) -> Iterator[Entry]:
        """The rows unchanged, each counted on its way to whoever verifies them."""
        start, end = self.year.start_us, self.year.end_us
        for entry in rows:
            if start <= entry.at_us < end:
                self._add(entry)
            if entry.kind == "override.decided":  # on New Year's Day too, on what was opened on New Year's Eve
                self._decided[entry.resource] = entry
            yield entry

    def _add(self, entry: Entry) -> None:
        self.rows += 1
        self.kinds[entry.kind] += 1
        self.policies[entry.policy_version] += 1
        self._signed(entry)
        if entry.decision == "deny":
            word = entry.reason if entry.kind in _BY_CORE and _WORD.fullmatch(entry.reason) else ""
            self.denials[entry.partner, purpose_name(entry.purpose), word or entry.kind] += 1
        elif entry.classes:
            self.months[from_us(entry.at_us).astimezone(BEIJING).month] += 1
            self.bases[basis_name(entry.basis)] += 1
            purpose, basis = purpose_name(entry.purpose), basis_name(entry.basis)
            for name in class_names(entry.classes):
                self.disclosures[entry.partner, purpose, name, basis] += 1
        if entry.kind == "consent.recorded":
            self.consents[entry.reason.removeprefix("CONSENT_STATE_")] += 1
        elif entry.kind == "consent.withdrawn":
            self.consents["WITHDRAWN"] += 1
        elif entry.kind == "retention.erased" and (count := _ERASED.match(entry.reason)):
            self.erased[entry.resource.removeprefix("retention/")] += int(count[1])
        elif entry.kind == "override.opened":
            self._opened[entry.resource] = entry

    def _signed(self, entry: Entry) -> None:
        """The first row after a checkpoint waits longest for the next one."""
        if entry.seq <= self._covered.get(entry.writer, 0):
            return
        marks = self.checkpoints.get(entry.writer, [])
        place = bisect_left(marks, (entry.seq, 0))
        size, at_us = marks[place] if place < len(marks) else (entry.seq, 0)
        self._covered[entry.writer] = size
        if at_us:
            self.longest_open_us = max(self.longest_open_us, at_us - entry.at_us)
            self.interrupted += at_us - entry.at_us > self.stop_us


def _use(opened: Entry, decided: Entry | None) -> Use:
    if decided is None:
        return Use(opened.partner, opened.basis, opened.at_us, "", 0, "")
    outcome = decided.reason.removeprefix("OVERRIDE_STATE_")
    return Use(opened.partner, opened.basis, opened.at_us, decided.actor, decided.at_us, outcome)
