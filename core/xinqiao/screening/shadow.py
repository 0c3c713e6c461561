"""A rule pack in shadow over what is stored: which tier each form would have been proposed as, counted, never changed."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao.contract.errors import Refusal
from xinqiao.screening.instruments import NOT_ANSWERED, InstrumentLibrary
from xinqiao.screening.scoring import Score
from xinqiao.screening.triage import RulePack, Tier, propose
from xinqiao.store import tables
from xinqiao.store.errors import SealBroken
from xinqiao.store.history import Snapshots
from xinqiao.store.keys import KeyStore
from xinqiao.store.sql import RowMapping

_PAGE = 2000


@dataclass(slots=True)
class Shadow:
    """What a pack would have proposed. Counts of forms only: no student, no school, no form.

    ``moves`` by (tier proposed then, tier proposed now), ``rules`` by (rule, then, now), ``unread`` by reason.
    """

    pack: str
    forms: int = 0
    moves: Counter[tuple[int, int]] = field(default_factory=Counter[tuple[int, int]])
    rules: Counter[tuple[str, int, int]] = field(default_factory=Counter[tuple[str, int, int]])
    unread: Counter[str] = field(default_factory=Counter[str])

    @property
    def changed(self) -> int:
        """Forms whose tier would have been another."""
        return sum(count for (then, now), count in self.moves.items() if then != now)

    @property
    def newly_red(self) -> int:
        """Forms that would have been red and were not."""
        return sum(count for (then, now), count in self.moves.items() if now == Tier.RED != then)

    @property
    def no_longer_red(self) -> int:
        """Forms that were red and would not have been."""
        return sum(count for (then, now), count in self.moves.items() if then == Tier.RED != now)

    def as_dict(self) -> dict[str, object]:
        """For scripts."""
        return {
            "pack": self.pack,
            "forms": self.forms,
            "changed": self.changed,
            "newly_red": self.newly_red,
            "no_longer_red": self.no_longer_red,
            "moves": [
                {"then": _word(then), "now": _word(now), "forms": count}
                for (then, now), count in sorted(self.moves.items())
            ],
            "rules": [
                {"rule": rule, "then": _word(then), "now": _word(now), "forms": count}
                for (rule, then, now), count in sorted(self.rules.items())
            ],
            "unread": dict(sorted(self.unread.items())),
        }


def shadow(
    records: Snapshots,
    keys: KeyStore,
    library: InstrumentLibrary,
    pack: RulePack,
    *,
    since_us: int,
    until_us: int,
    progress: Callable[[int], None] = lambda forms: None,
) -> Shadow:
    """Run ``pack`` over the forms stored from ``since_us`` to ``until_us``, both included.

    Reads the scores as they were given then, so that only the pack differs. ``progress`` gets the forms looked at.
    """
    found = Shadow(f"{pack.id}@{pack.version}")
    known: dict[tuple[object, ...], tuple[int, str]] = {}
    for page in _pages(records, since_us, until_us):
        sealers = keys.sealers([str(row["student"]) for row in page], keep=False)
        for row in page:
            found.forms += 1
            sealer = sealers.get(str(row["student"]))
            if sealer is None:
                found.unread["erased"] += 1
                continue
            try:
                form = sealer.record(pb.Assessment, bytes(row["sealed"]), table="assessments", key=str(row["id"]))
            except SealBroken:
                found.unread["broken"] += 1
                continue
            now = _proposed(known, library, pack, form)
            if now is None:
                found.unread[f"no rule for {form.instrument}"] += 1
                continue
            found.moves[int(row["tier"]), now[0]] += 1
            found.rules[now[1], int(row["tier"]), now[0]] += 1
        progress(found.forms)
    return found


def _pages(records: Snapshots, since_us: int, until_us: int) -> Iterator[list[RowMapping]]:
    """Forms by id, each page in a snapshot of its own."""
    c = tables.assessments.c
    after = ""
    while True:
        statement = (
            tables.assessments.select()
            .with_only_columns(c.id, c.student, c.tier, c.sealed)
            .where((c.id > after) & (c.created_us >= since_us) & (c.created_us <= until_us))
            .order_by(c.id)
            .limit(_PAGE)
        )
        with records.read() as reading:
            page = list(reading.all(statement))
        if page:
            yield page
        if len(page) < _PAGE:
            return
        after = str(page[-1]["id"])


def _proposed(
    known: dict[tuple[object, ...], tuple[int, str]], library: InstrumentLibrary, pack: RulePack, form: pb.Assessment
) -> tuple[int, str] | None:
    """(tier, rule) of the pack; few different results exist, so each is worked out once."""
    instrument = library.get(form.instrument)
    if instrument is None:
        return None
    scores = {score.id: score.value if score.HasField("value") else None for score in form.scores}
    answered = len(form.answers) - form.answers.count(NOT_ANSWERED)
    key = (form.instrument, tuple(scores.items()), form.category, tuple(form.critical), form.complete, answered)
    if key not in known:
        try:
            given = Score(scores, form.category or None, tuple(form.critical), form.complete, answered)
            proposal = propose(pack, instrument, given)
        except Refusal:
            return None
        known[key] = proposal.tier, proposal.rule
    return known[key]


def _word(tier: int) -> str:
    return Tier(tier).name if tier in list(Tier) else str(tier)
