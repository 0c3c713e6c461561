"""An instrument file compiled for the two scorers: 0-based items and lookup tables, so that neither interprets a file."""

from collections.abc import Iterable, Mapping

from xinqiao.screening.definition import NOT_ANSWERED, Bands, Definition, ScoreSpec

SUM, MEAN, COUNT = 0, 1, 2
_METHODS = {"sum": SUM, "mean": MEAN, "count": COUNT}

PlannedScore = tuple[str, tuple[int, ...] | None, tuple[str, ...], int, int, int, int]
"""(id, items or None for all of them, parts, number of items or 0 for a sum of parts, multiplier, method, at_least)."""


class Plan:
    """Every sequence is 0-based and immutable; tables are indexed by the answer."""

    __slots__ = ("categories", "codings", "crisis", "critical", "graded", "high", "item_high", "items", "low", "max_missing",
                 "needed", "per_form", "prorate", "recode", "required", "rule_items", "rules", "scores", "severity",
                 "skip", "special", "validity", "validity_scores")  # fmt: skip

    def __init__(self, of: Definition) -> None:
        self.items = of.items
        self.low = of.scale.min
        self.high = max(item_highs(of))
        highs = tuple(item_highs(of))
        self.item_high = None if len(set(highs)) == 1 else highs
        self.codings = {coding.id: coding.min for coding in of.codings}
        self.recode = tuple(sorted(_counted(of).items()))
        self.skip = tuple((zero_based(rule.items), rule.below, zero_based(rule.unanswered)) for rule in of.skip)
        optional = set(zero_based(of.optional))
        self.needed = tuple(item for item in range(of.items) if item not in optional) if optional else None
        """Items without which a form is incomplete; None for all of them."""
        self.required = next((size for size in range(of.items, 0, -1) if size - 1 not in optional), of.items)
        """How many answers a form has at least: optional items at its end may be left out."""
        self.special = bool(self.item_high or self.recode or self.skip or optional)
        self.prorate = of.missing.rule == "prorate"
        self.max_missing = of.missing.max_missing
        self.per_form = of.missing.per == "form"
        self.scores: tuple[PlannedScore, ...] = tuple(_planned(spec, of.items) for spec in of.scores)
        self.graded = bool(of.categories)
        """Whether a form of this instrument has a category at all."""
        self.categories = category_ids(of)
        self.severity = tuple((score, _severity_table(of, score)) for score in of.category_from)
        self.rules = tuple(
            (self.categories.index(rule.category), zero_based(rule.items), rule.at_least) for rule in of.category_rules
        )
        self.rule_items = tuple(sorted({item for _, items, _ in self.rules for item in items}))
        self.validity = tuple((rule.score, rule.at_least, self.categories.index(rule.category)) for rule in of.validity)
        self.validity_scores = frozenset(rule.score for rule in of.validity)
        self.critical = tuple((rule.id, zero_based(rule.items), rule.at_least) for rule in of.critical)
        self.crisis = [index for index, rule in enumerate(of.critical) if rule.severity == "crisis"]
        """Which of ``critical`` raise a crisis signal, whatever the triage pack says of the others."""


def category_ids(of: Definition) -> tuple[str, ...]:
    """Category ids from least to most severe, then those of void forms, which are no degree of severity."""
    return tuple(dict.fromkeys([each.id for each in of.categories] + [each.category for each in of.validity]))


def item_highs(of: Definition) -> list[int]:
    """The highest raw answer of each item."""
    highs = [of.scale.max] * of.items
    for exception in of.item_scales:
        for item in exception.items:
            highs[item - 1] = exception.max
    return highs


def extents(of: Definition) -> Mapping[str, tuple[int, int]]:
    """Lowest and highest attainable value of every score, by score id."""
    counted, highs = _counted(of), item_highs(of)
    ranges: list[tuple[int, int]] = []
    for item, high in enumerate(highs):
        reachable = counted[item][of.scale.min : high + 1] if item in counted else (of.scale.min, high)
        ranges.append((min(reachable), max(reachable)))
    found: dict[str, tuple[int, int]] = {}
    for spec in of.scores:
        found[spec.id] = _extent(spec, [ranges[item - 1] for item in spec.items], found, of.missing.rule == "prorate")
    return found


def zero_based(items: Iterable[int]) -> tuple[int, ...]:
    """Item numbers as indices."""
    return tuple(item - 1 for item in items)


def _extent(
    spec: ScoreSpec, ranges: list[tuple[int, int]], found: Mapping[str, tuple[int, int]], prorate: bool
) -> tuple[int, int]:
    if spec.of:
        low, high = sum(found[part][0] for part in spec.of), sum(found[part][1] for part in spec.of)
    elif spec.method == "count":
        low, high = 0, len(ranges)
    else:
        lowest, highest = min(low for low, _ in ranges), max(high for _, high in ranges)
        if spec.method == "mean":
            low, high = max(lowest, spec.at_least or 0), highest
        elif prorate:
            # The answered items may be just the ones with the widest range.
            low, high = lowest * len(ranges), highest * len(ranges)
        else:
            low, high = sum(low for low, _ in ranges), sum(high for _, high in ranges)
    return low * spec.multiplier, high * spec.multiplier


def _counted(of: Definition) -> dict[int, tuple[int, ...]]:
    """What an answer counts, by item index, for the items where that is not the answer itself."""
    low, high = of.scale.min, of.scale.max
    found = {item - 1: tuple(max(0, low + high - answer) for answer in range(high + 1)) for item in of.reverse}
    for rule in of.recode:
        found |= {item - 1: (0,) * low + rule.to for item in rule.items}
    return found


def _planned(spec: ScoreSpec, items: int) -> PlannedScore:
    chosen = zero_based(spec.items)
    everything = chosen == tuple(range(items))
    return (spec.id, None if everything else chosen, spec.of, len(chosen), spec.multiplier, _METHODS[spec.method],
            spec.at_least or 0)  # fmt: skip


def bands_of(of: Definition, score_id: str) -> Bands | None:
    """The bands of a score, or None when it has none."""
    return next((bands for bands in of.bands if score_id in bands.scores), None)


def _severity_table(of: Definition, score_id: str) -> tuple[int, ...]:
    """Category index of every value 0 to the highest of a banded score."""
    table = [NOT_ANSWERED] * (extents(of)[score_id][1] + 1)
    bands = bands_of(of, score_id)
    if bands is None:
        raise ValueError(f"{score_id} has no bands")
    ids = category_ids(of)
    for band in bands.ranges:
        table[band.min : band.max + 1] = [ids.index(band.category)] * (band.max + 1 - band.min)
    return tuple(table)
