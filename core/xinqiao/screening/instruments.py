"""Screening instruments as data: one strict YAML file per instrument, checked whole before anything is scored.

What a file may hold is in ``definition``, how its keys must agree in ``findings``, how to write one in
``config/instruments/README.md``. Sources of the shipped numbers: the ``source`` text in each file.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self, cast

from pydantic import model_validator

from xinqiao.screening.datafile import DataFileError, Label, parse, read_yaml
from xinqiao.screening.definition import NOT_ANSWERED, Band, Definition, Word, fault
from xinqiao.screening.findings import findings
from xinqiao.screening.plan import Plan, bands_of, category_ids, extents

__all__ = [
    "NOT_ANSWERED", "Instrument", "InstrumentError", "InstrumentLibrary", "Word", "instrument_schema",
    "load_instruments", "overlaid", "yaml_files",
]  # fmt: skip

_OVERLAY_FREE = frozenset({"id", "version", "enabled", "licence", "confirmed"})
"""What an operator may say without changing any result, and so without another version."""


class InstrumentError(DataFileError):
    """An instrument file, or a district's overlay of one, is wrong."""


class Instrument(Definition):
    """One screening instrument. Immutable; ``version`` changes whenever a result could change."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for finding in findings(self):
            raise fault(finding.en, finding.zh, finding.loc)
        return self

    @cached_property
    def extents(self) -> Mapping[str, tuple[int, int]]:
        """Lowest and highest attainable value of every score, by score id."""
        return extents(self)

    @cached_property
    def category_ids(self) -> tuple[str, ...]:
        """Category ids from least to most severe, void ones last; a batch's category index points into this tuple."""
        return category_ids(self)

    @cached_property
    def void_ids(self) -> frozenset[str]:
        """The categories of void forms."""
        return frozenset(rule.category for rule in self.validity)

    @property
    def own_coding(self) -> str:
        """The coding of ``scale``, for answers already in it; empty where there is one coding only."""
        return self.codings[0].id if self.codings else ""

    @cached_property
    def plan(self) -> Plan:
        """The instrument compiled for scoring (0-based items, lookup tables)."""
        return Plan(self)

    def band(self, score_id: str, value: int) -> Band | None:
        """The band ``value`` of score ``score_id`` falls into, or None when that score has no bands."""
        bands = bands_of(self, score_id)
        return next((band for band in bands.ranges if band.min <= value <= band.max), None) if bands else None

    def category_label(self, category_id: str) -> Label:
        """The name of a category of this instrument; KeyError for another instrument's."""
        labels = {each.id: each.label for each in self.categories} | {
            each.category: each.label for each in self.validity
        }
        return labels[category_id]


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

    An overlay file with a new id is a whole instrument. With a shipped id its top-level keys replace the shipped ones,
    and what it says of ``licence`` and ``confirmed`` is added to them; if it touches anything but these and ``enabled``
    it must give another ``version`` (a stored result must stay explainable), and it may never weaken a critical rule
    or the rule that voids a form. Raises ``InstrumentError`` naming the file and the key.
    """
    raw: dict[str, dict[str, object]] = {}
    loaded: dict[str, Instrument] = {}
    for path in yaml_files(directory):
        data = read_yaml(path, InstrumentError)
        instrument = parse(path, data, Instrument, InstrumentError)
        if instrument.id in loaded:
            raise InstrumentError(path, "id", f"{instrument.id} is defined by another file of {directory} too")
        raw[instrument.id], loaded[instrument.id] = data, instrument
    for path in yaml_files(overlay) if overlay is not None else ():
        data = read_yaml(path, InstrumentError)
        merged = overlaid(raw.get(str(data.get("id")), {}), data)
        instrument = parse(path, merged, Instrument, InstrumentError)
        if instrument.id in loaded:
            _check_overlay(path, frozenset(data), loaded[instrument.id], instrument)
        raw[instrument.id], loaded[instrument.id] = merged, instrument
    if not loaded:
        raise InstrumentError(directory, "", "holds no instrument file (*.yaml)")
    return InstrumentLibrary(loaded)


def instrument_schema() -> dict[str, Any]:
    """JSON Schema of an instrument file, for editors; ``findings`` says what no schema can."""
    schema = Definition.model_json_schema()
    schema["title"] = "XinQiao screening instrument"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def yaml_files(directory: Path) -> list[Path]:
    """The instrument files of a folder. Raises ``InstrumentError`` when it is none."""
    if not directory.is_dir():
        raise InstrumentError(directory, "", "is not a directory; give the folder that holds the instrument files")
    return sorted(directory.glob("*.yaml"))


def overlaid(base: Mapping[str, object], data: Mapping[str, object]) -> dict[str, object]:
    """``data`` over ``base``, key by key; the operator's records are added to what ships."""
    merged = {**base, **data}
    for key in ("licence", "confirmed"):
        old, new = base.get(key), data.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            merged[key] = cast("dict[str, object]", old) | cast("dict[str, object]", new)
    return merged


def _check_overlay(path: Path, keys: frozenset[str], base: Instrument, new: Instrument) -> None:
    if not keys <= _OVERLAY_FREE and new.version == base.version:
        raise InstrumentError(path, "version", "an overlay that changes the instrument must give it another version")
    if new.licence.status != base.licence.status:
        raise InstrumentError(path, "licence.status", "is a fact about the instrument: record your licence in record")
    if {entry.fact for entry in base.from_memory} - {entry.fact for entry in new.from_memory}:
        raise InstrumentError(path, "from_memory", "an overlay confirms a fact in confirmed, it does not take it out")
    kept = {rule.id: rule for rule in new.critical}
    for rule in base.critical:
        other = kept.get(rule.id)
        weaker = other is None or other.at_least > rule.at_least or not set(other.items).issuperset(rule.items)
        if weaker or (rule.severity == "crisis" and other is not None and other.severity != "crisis"):
            raise InstrumentError(path, "critical", f"rule {rule.id} may be widened by an overlay, never weakened")
    voids = {rule.score: rule for rule in new.validity}
    for void in base.validity:
        if void.score not in voids or voids[void.score].at_least > void.at_least:
            raise InstrumentError(path, "validity", f"rule {void.score} may be widened by an overlay, never weakened")
