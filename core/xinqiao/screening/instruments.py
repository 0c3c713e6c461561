"""Screening instruments as data: one strict YAML file per instrument, checked whole before anything is scored.

A file holds numbers, rules and labels; never the wording of a questionnaire item. The declarative set is small:

* a score is the sum of ``items`` (after reversing) or of other scores (``of``), times a ``multiplier``;
* ``missing`` says what an unanswered item does: ``refuse`` (no score), ``prorate`` (mean of the answered items, rounded
  half up) or ``zero`` (a blank counts nothing), the last two up to ``max_missing`` blanks per ``score`` or per ``form``;
* ``bands`` turn a score into one of the ``categories`` (ordered from least to most severe) under a named norm, and the
  form's category is the most severe one over ``category_from``;
* ``critical`` rules look at raw answers only, so they fire on any total and on incomplete forms.

Sources of the shipped numbers: the ``source`` text in each file.
"""

from collections.abc import Hashable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from xinqiao.screening.datafile import DataFileError, Label, Strict, Text, parse, read_yaml

NOT_ANSWERED = 255
"""The byte which stands for "not answered" in a columnar batch; no scale may reach it."""

_MAX_TOTAL = 32_767
_OVERLAY_FREE = frozenset({"id", "version", "enabled", "licence"})

ItemNumber = Annotated[int, Field(ge=1, le=500)]
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class InstrumentError(DataFileError):
    """An instrument file, or a district's overlay of one, is wrong."""


class Scale(Strict):
    """The range of one raw answer, both ends allowed."""

    min: Annotated[int, Field(ge=0, lt=NOT_ANSWERED)]
    max: Annotated[int, Field(ge=1, lt=NOT_ANSWERED)]


class Ages(Strict):
    """Ages in whole years for which the instrument may be used; ``max`` absent means no upper end."""

    min: Annotated[int, Field(ge=0, le=120)]
    max: Annotated[int, Field(ge=0, le=120)] | None = None


class Missing(Strict):
    """What an unanswered item does to a score; see the module docstring."""

    rule: Literal["refuse", "prorate", "zero"]
    max_missing: Annotated[int, Field(ge=0, le=499)] = 0
    per: Literal["score", "form"] = "score"

    @model_validator(mode="after")
    def _allowance_fits_rule(self) -> Self:
        if (self.rule == "refuse") != (self.max_missing == 0):
            raise ValueError("give max_missing (1 or more) with prorate and zero, and leave it out with refuse")
        return self


class ScoreSpec(Strict):
    """One score: the sum of ``items`` or of earlier scores (``of``), times ``multiplier``."""

    id: Word
    method: Literal["sum"] = "sum"
    items: tuple[ItemNumber, ...] = ()
    of: tuple[Word, ...] = ()
    multiplier: Annotated[int, Field(ge=1, le=100)] = 1

    @model_validator(mode="after")
    def _one_operand_kind(self) -> Self:
        if bool(self.items) == bool(self.of):
            raise ValueError("give either items or of, not both and not neither")
        if len(set(self.items)) != len(self.items) or len(set(self.of)) != len(self.of):
            raise ValueError("an operand is listed twice")
        return self


class Category(Strict):
    """A category a form can fall into; the order in the file is the order of severity, least first."""

    id: Word
    label: Label


class Band(Strict):
    """Values ``min`` to ``max`` (both included) of a score belong to ``category``; ``label`` overrides its name."""

    min: int
    max: int
    category: Word
    label: Label | None = None


class Bands(Strict):
    """The bands of one score under one norm (``norm`` names the table, since norms differ by country and informant)."""

    score: Word
    norm: Annotated[str, Field(min_length=1, max_length=64)]
    ranges: Annotated[tuple[Band, ...], Field(min_length=1)]


class CriticalRule(Strict):
    """Fires when any of ``items`` was answered with ``at_least`` or more (raw answer, before reversing)."""

    id: Word
    items: Annotated[tuple[ItemNumber, ...], Field(min_length=1)]
    at_least: int
    severity: Literal["crisis", "concern"]
    label: Label


class Loinc(Strict):
    """LOINC codes: ``items`` in item order, ``answers`` in order from ``scale.min``, ``scores`` by score id."""

    panel: str
    items: tuple[str, ...]
    scores: dict[str, str]
    answers: tuple[Annotated[str, Field(pattern=r"^LA\d{1,6}-\d$")], ...] = ()

    @model_validator(mode="after")
    def _check_digits(self) -> Self:
        for code in (self.panel, *self.items, *self.scores.values()):
            if not _loinc_valid(code):
                raise ValueError(f"{code} is not a LOINC code: its check digit is wrong, look for a typing mistake")
        return self


class Licence(Strict):
    """Who allows the use. ``record`` is the operator's own licence number or letter, needed when ``status`` asks it."""

    status: Literal["free", "public_domain", "licence_required"]
    text: Text
    record: Text | None = None


class Instrument(Strict):
    """One screening instrument. Immutable; ``version`` changes whenever a result could change."""

    id: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9-]{1,31}$")]
    version: Annotated[int, Field(ge=1)]
    names: Label
    items: Annotated[int, Field(ge=1, le=500)]
    scale: Scale
    informants: Annotated[tuple[Literal["self", "parent", "teacher"], ...], Field(min_length=1)]
    ages: Ages
    reverse: tuple[ItemNumber, ...] = ()
    missing: Missing
    scores: Annotated[tuple[ScoreSpec, ...], Field(min_length=1)]
    categories: Annotated[tuple[Category, ...], Field(min_length=1, max_length=100)]
    bands: Annotated[tuple[Bands, ...], Field(min_length=1)]
    category_from: Annotated[tuple[Word, ...], Field(min_length=1)]
    critical: tuple[CriticalRule, ...] = ()
    loinc: Loinc | None = None
    source: Text
    licence: Licence
    enabled: bool

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.scale.min >= self.scale.max:
            raise ValueError("scale: min must be below max")
        if self.ages.max is not None and self.ages.max < self.ages.min:
            raise ValueError("ages: max must not be below min")
        _unique(self.informants, "informants")
        self._check_items()
        self._check_scores()
        self._check_bands()
        self._check_critical()
        self._check_loinc()
        if self.enabled and self.licence.status == "licence_required" and self.licence.record is None:
            raise ValueError("enabled: this instrument needs a licence; put its number or letter into licence.record")
        return self

    @cached_property
    def extents(self) -> Mapping[str, tuple[int, int]]:
        """Lowest and highest attainable value of every score, by score id."""
        found: dict[str, tuple[int, int]] = {}
        for spec in self.scores:
            if spec.items:
                low, high = len(spec.items) * self.scale.min, len(spec.items) * self.scale.max
            else:
                low, high = sum(found[part][0] for part in spec.of), sum(found[part][1] for part in spec.of)
            found[spec.id] = (low * spec.multiplier, high * spec.multiplier)
        return found

    @cached_property
    def category_ids(self) -> tuple[str, ...]:
        """Category ids from least to most severe; a batch's category index points into this tuple."""
        return tuple(category.id for category in self.categories)

    @cached_property
    def plan(self) -> "Plan":
        """The instrument compiled for scoring (0-based items, lookup tables)."""
        return Plan(self)

    def band(self, score_id: str, value: int) -> Band | None:
        """The band ``value`` of score ``score_id`` falls into, or None when that score has no bands."""
        for bands in self.bands:
            if bands.score == score_id:
                return next((band for band in bands.ranges if band.min <= value <= band.max), None)
        return None

    def category_label(self, category_id: str) -> Label:
        """The name of a category of this instrument; KeyError for another instrument's."""
        for category in self.categories:
            if category.id == category_id:
                return category.label
        raise KeyError(category_id)

    def _check_items(self) -> None:
        _unique(self.reverse, "reverse")
        used = [("reverse", self.reverse)]
        used += [(f"scores {spec.id}", spec.items) for spec in self.scores]
        used += [(f"critical {rule.id}", rule.items) for rule in self.critical]
        for where, items in used:
            if any(item > self.items for item in items):
                raise ValueError(f"{where}: an item number is above items ({self.items})")
        unread = set(range(1, self.items + 1)).difference(*(spec.items for spec in self.scores))
        if unread:
            raise ValueError(f"scores: items {sorted(unread)} enter no score")

    def _check_scores(self) -> None:
        known: set[str] = set()
        for spec in self.scores:
            if not known.issuperset(spec.of):
                raise ValueError(f"scores {spec.id}: of names a score that is not defined above it")
            if spec.items and self.missing.max_missing >= len(spec.items) and self.missing.per == "score":
                raise ValueError(f"missing: max_missing would let score {spec.id} exist with no answer at all")
            known.add(spec.id)
        _unique(tuple(spec.id for spec in self.scores), "scores")
        if max(high for _, high in self.extents.values()) > _MAX_TOTAL:
            raise ValueError(f"scores: a total above {_MAX_TOTAL} cannot be stored")
        if self.missing.rule == "zero" and (self.scale.min > 0 or self.reverse):
            raise ValueError("missing: zero needs a scale from 0 without reverse items (a blank would not mean 0)")

    def _check_bands(self) -> None:
        _unique(self.category_ids, "categories")
        _unique(tuple(bands.score for bands in self.bands), "bands")
        for bands in self.bands:
            where = f"bands {bands.score}"
            if bands.score not in self.extents:
                raise ValueError(f"{where}: no score has this id")
            low, high = self.extents[bands.score]
            ranges = sorted(bands.ranges, key=lambda band: band.min)
            expected = low
            for band in ranges:
                if band.category not in self.category_ids:
                    raise ValueError(f"{where}: category {band.category} is not in categories")
                if band.min != expected or band.max < band.min:
                    raise ValueError(f"{where}: gap or overlap at {expected}; the ranges must cover {low} to {high}")
                expected = band.max + 1
            if expected != high + 1:
                raise ValueError(f"{where}: the ranges end at {expected - 1}; they must cover {low} to {high}")
        banded = {bands.score for bands in self.bands}
        if not banded.issuperset(self.category_from):
            raise ValueError("category_from: names a score without bands")

    def _check_critical(self) -> None:
        _unique(tuple(rule.id for rule in self.critical), "critical")
        for rule in self.critical:
            if not self.scale.min < rule.at_least <= self.scale.max:
                raise ValueError(f"critical {rule.id}: at_least must lie above scale.min and not above scale.max")

    def _check_loinc(self) -> None:
        if self.loinc is None:
            return
        if len(self.loinc.items) != self.items:
            raise ValueError(f"loinc: items must hold {self.items} codes, one per item")
        if self.loinc.answers and len(self.loinc.answers) != self.scale.max - self.scale.min + 1:
            raise ValueError("loinc: answers must hold one code per value of the scale")
        if not set(self.extents).issuperset(self.loinc.scores):
            raise ValueError("loinc: scores names a score that is not defined")


class Plan:
    """An instrument compiled for the two scorers; every sequence is 0-based and immutable."""

    __slots__ = ("categories", "critical", "high", "items", "low", "max_missing", "per_form", "prorate", "reverse",
                 "scores", "severity")  # fmt: skip

    def __init__(self, instrument: Instrument) -> None:
        self.items = instrument.items
        self.low = instrument.scale.min
        self.high = instrument.scale.max
        self.reverse = tuple(item - 1 for item in instrument.reverse)
        self.prorate = instrument.missing.rule == "prorate"
        self.max_missing = instrument.missing.max_missing
        self.per_form = instrument.missing.per == "form"
        everything = tuple(range(instrument.items))
        self.scores: tuple[tuple[str, tuple[int, ...] | None, tuple[str, ...], int, int], ...] = tuple(
            (spec.id, None if _zero_based(spec.items) == everything else _zero_based(spec.items), spec.of,
             len(spec.items), spec.multiplier)
            for spec in instrument.scores
        )  # fmt: skip
        """(id, item indices or None for all of them, parts, number of items or 0 for a sum of parts, multiplier)."""
        self.categories = instrument.category_ids
        self.severity = tuple((score, _severity_table(instrument, score)) for score in instrument.category_from)
        self.critical = tuple((rule.id, _zero_based(rule.items), rule.at_least) for rule in instrument.critical)


class InstrumentLibrary(Mapping[str, Instrument]):
    """Every loaded instrument by id, disabled ones too; ``enabled()`` gives those in use."""

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        self._by_id = dict(sorted(instruments.items()))

    def __getitem__(self, key: str) -> Instrument:
        return self._by_id[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)

    def enabled(self) -> tuple[Instrument, ...]:
        """The instruments a school may use now, in id order."""
        return tuple(instrument for instrument in self._by_id.values() if instrument.enabled)


def load_instruments(directory: Path, overlay: Path | None = None) -> InstrumentLibrary:
    """Load every ``*.yaml`` of ``directory``, then a district's ``overlay`` directory over it.

    An overlay file with a new id is a whole instrument. With a shipped id its top-level keys replace the shipped ones;
    if it touches anything but ``enabled`` and ``licence`` it must give another ``version`` (a stored result must stay
    explainable), and it may never weaken a critical rule. Raises ``InstrumentError`` naming the file and the key.
    """
    raw: dict[str, dict[str, object]] = {}
    loaded: dict[str, Instrument] = {}
    for path in _yaml_files(directory):
        data = read_yaml(path, InstrumentError)
        instrument = parse(path, data, Instrument, InstrumentError)
        if instrument.id in loaded:
            raise InstrumentError(path, "id", f"{instrument.id} is defined by another file of {directory} too")
        raw[instrument.id], loaded[instrument.id] = data, instrument
    for path in _yaml_files(overlay) if overlay is not None else ():
        data = read_yaml(path, InstrumentError)
        merged = {**raw.get(str(data.get("id")), {}), **data}
        instrument = parse(path, merged, Instrument, InstrumentError)
        if instrument.id in loaded:
            _check_overlay(path, frozenset(data), loaded[instrument.id], instrument)
        raw[instrument.id], loaded[instrument.id] = merged, instrument
    if not loaded:
        raise InstrumentError(directory, "", "holds no instrument file (*.yaml)")
    return InstrumentLibrary(loaded)


def _yaml_files(directory: Path) -> list[Path]:
    if not directory.is_dir():
        raise InstrumentError(directory, "", "is not a directory; give the folder that holds the instrument files")
    return sorted(directory.glob("*.yaml"))


def _check_overlay(path: Path, keys: frozenset[str], base: Instrument, new: Instrument) -> None:
    if not keys <= _OVERLAY_FREE and new.version == base.version:
        raise InstrumentError(path, "version", "an overlay that changes the instrument must give it another version")
    kept = {rule.id: rule for rule in new.critical}
    for rule in base.critical:
        other = kept.get(rule.id)
        weaker = other is None or other.at_least > rule.at_least or not set(other.items).issuperset(rule.items)
        if weaker or (rule.severity == "crisis" and other is not None and other.severity != "crisis"):
            raise InstrumentError(path, "critical", f"rule {rule.id} may be widened by an overlay, never weakened")


def _unique(values: tuple[Hashable, ...], where: str) -> None:
    if len(set(values)) != len(values):
        raise ValueError(f"{where}: a value is listed twice")


def _zero_based(items: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(item - 1 for item in items)


def _severity_table(instrument: Instrument, score_id: str) -> tuple[int, ...]:
    """Category index of every value 0 to the highest of a banded score."""
    table = [-1] * (instrument.extents[score_id][1] + 1)
    bands = next(bands for bands in instrument.bands if bands.score == score_id)
    for band in bands.ranges:
        index = instrument.category_ids.index(band.category)
        table[band.min : band.max + 1] = [index] * (band.max + 1 - band.min)
    return tuple(table)


def _loinc_valid(code: str) -> bool:
    """Mod-10 (Luhn) check of a LOINC code such as ``44261-6`` (LOINC Users' Guide, check digit appendix)."""
    body, dash, check = code.partition("-")
    if not dash or not body.isdecimal() or not check.isdecimal() or len(check) != 1:
        return False
    doubled = (int(digit) * (2 - place % 2) for place, digit in enumerate(reversed(body)))
    return (sum(value // 10 + value % 10 for value in doubled) + int(check)) % 10 == 0
