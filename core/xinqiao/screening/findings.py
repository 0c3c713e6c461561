"""How the keys of an instrument file must agree: every fault at once, with its place and how to mend it."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from xinqiao.screening.definition import Bands, Definition
from xinqiao.screening.plan import extents, item_highs

MAX_TOTAL = 32_767
Loc = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: the key it stands at and what is wrong, in both languages."""

    loc: Loc
    en: str
    zh: str


def findings(of: Definition) -> Iterator[Finding]:
    """All faults of a file whose keys are right one by one."""
    if of.scale.min >= of.scale.max:
        yield Finding(("scale",), "min must be below max", "min 须小于 max")
        return
    numbering = list(_items(of))
    yield from _ranges(of)
    yield from numbering
    if numbering:
        return  # every further check would speak of items that do not exist
    references = list(_scores(of))
    yield from references
    yield from _coding(of)
    if not references:
        attainable = extents(of)
        yield from _totals(of, attainable)
        yield from _bands(of, attainable)
    yield from _category_rules(of)
    yield from _critical(of)
    yield from _loinc(of)
    yield from _use(of)


def _ranges(of: Definition) -> Iterator[Finding]:
    for key, years in (("ages", of.ages), ("grades", of.grades)):
        if years is not None and years.max is not None and years.max < years.min:
            yield Finding((key,), "max must not be below min", "max 不得小于 min")
    if of.grades is not None and not 1 <= of.grades.min <= (of.grades.max or 12) <= 12:
        yield Finding(("grades",), "grades go from 1 to 12", "年级应为 1 至 12")
    yield from _unique(of.informants, ("informants",))


def _items(of: Definition) -> Iterator[Finding]:
    used: list[tuple[Loc, Sequence[int]]] = [(("reverse",), of.reverse), (("optional",), of.optional)]
    used += [(("scores", at, "items"), spec.items) for at, spec in enumerate(of.scores)]
    used += [(("critical", at, "items"), rule.items) for at, rule in enumerate(of.critical)]
    used += [(("category_rules", at, "items"), rule.items) for at, rule in enumerate(of.category_rules)]
    read = {item for _, items in used for item in items}
    others: list[tuple[Loc, Sequence[int]]] = [
        (("recode", at, "items"), rule.items) for at, rule in enumerate(of.recode)
    ]
    others += [(("item_scales", at, "items"), rule.items) for at, rule in enumerate(of.item_scales)]
    for at, rule in enumerate(of.skip):
        others += [(("skip", at, "items"), rule.items), (("skip", at, "unanswered"), rule.unanswered)]
        read.update(rule.items)
    for loc, items in used + others:
        if any(item > of.items for item in items):
            yield Finding(loc, f"an item number is above items ({of.items})", f"有题号大于 items（{of.items}）")
    if unread := sorted(set(range(1, of.items + 1)) - read):
        yield Finding(("scores",), f"items {unread} enter no score and no rule", f"第 {unread} 题未用于任何分数或规则")
    recoded = [item for rule in of.recode for item in rule.items] + list(of.reverse)
    if len(set(recoded)) != len(recoded):
        yield Finding(("recode",), "an item is reversed or recoded twice", "有题目被重复反向或重编码")
    for at, exception in enumerate(of.item_scales):
        if not of.scale.min < exception.max <= of.scale.max or set(exception.items) & set(recoded):
            yield Finding(("item_scales", at), "max must lie inside scale, of items that are neither reversed nor recoded",
                          "max 须在 scale 之内，且不得用于反向或重编码的题目")  # fmt: skip
    for at, recode in enumerate(of.recode):
        if len(recode.to) != of.scale.max - of.scale.min + 1:
            yield Finding(
                ("recode", at, "to"), "must hold one number per value of the scale", "须为量表每个值各给一个数"
            )


def _scores(of: Definition) -> Iterator[Finding]:
    known: set[str] = set()
    for at, spec in enumerate(of.scores):
        loc: Loc = ("scores", at)
        if not known.issuperset(spec.of):
            yield Finding((*loc, "of"), "names a score that is not defined above it", "引用了未在其上方定义的分数")
        if spec.items and of.missing.max_missing >= len(spec.items) and of.missing.per == "score":
            yield Finding(("missing",), f"max_missing would let score {spec.id} exist with no answer at all",
                          f"max_missing 会使分数 {spec.id} 在毫无作答时也能得出")  # fmt: skip
        partial = spec.method == "count" or spec.at_least is not None
        unsound = {"refuse": False, "prorate": partial, "zero": partial or spec.method == "mean"}
        if unsound[of.missing.rule]:
            yield Finding((*loc, "method"), "would change with each blank: use missing refuse (a plain mean may prorate)",
                          "会随缺答而变：请用 missing refuse（普通均值可用 prorate）")  # fmt: skip
        if spec.id in known:
            yield Finding((*loc, "id"), "an id is listed twice", "id 重复")
        known.add(spec.id)
    zero_shifts = of.scale.min > 0 or bool(of.reverse or of.recode)
    if of.missing.rule == "zero" and zero_shifts:
        yield Finding(("missing",), "zero needs a scale from 0 without reverse items (a blank would not mean 0)",
                      "zero 只适用于从 0 开始且无反向题的量表（否则缺答不等于 0）")  # fmt: skip
    for at, rule in enumerate(of.validity):
        if rule.score not in known:
            yield Finding(("validity", at, "score"), "no score has this id", "没有这个分数")
        if rule.category in {each.id for each in of.categories}:
            yield Finding(("validity", at, "category"), "a void form needs a category of its own, not one of categories",
                          "作废须另立类别，不得与 categories 重名")  # fmt: skip


def _coding(of: Definition) -> Iterator[Finding]:
    width = of.scale.max - of.scale.min
    for at, coding in enumerate(of.codings):
        if coding.id != f"{coding.min}-{coding.min + width}":
            yield Finding(("codings", at, "id"), "must be min, a dash and the highest answer, as long as scale",
                          "须写成“最小值-最大值”，长度与 scale 相同")  # fmt: skip
    if of.codings and (of.codings[0].min != of.scale.min or len(of.codings) < 2):
        yield Finding(("codings",), "give at least two, that of scale first", "至少两种，且 scale 所用的放在第一")
    yield from _unique(tuple(coding.id for coding in of.codings), ("codings",))


def _totals(of: Definition, attainable: Mapping[str, tuple[int, int]]) -> Iterator[Finding]:
    for at, (_, high) in enumerate(attainable.values()):
        if high > MAX_TOTAL:
            yield Finding(
                ("scores", at), f"a total above {MAX_TOTAL} cannot be stored", f"总分超过 {MAX_TOTAL} 无法存储"
            )
    for at, rule in enumerate(of.validity):
        low, high = attainable.get(rule.score, (0, 0))
        if not low < rule.at_least <= high:
            yield Finding(
                ("validity", at, "at_least"), "no form, or every form, would be void", "会使无一份或每一份作废"
            )


def _bands(of: Definition, attainable: Mapping[str, tuple[int, int]]) -> Iterator[Finding]:
    ids = tuple(category.id for category in of.categories)
    yield from _unique(ids, ("categories",))
    yield from _unique(tuple(score for bands in of.bands for score in bands.scores), ("bands",))
    banded: set[str] = set()
    for at, bands in enumerate(of.bands):
        for score in bands.scores:
            if score not in attainable:
                yield Finding(("bands", at, "score"), f"no score has the id {score}", f"没有分数 {score}")
                continue
            banded.add(score)
            yield from _cover(bands, at, attainable[score], ids)
    if not banded.issuperset(of.category_from):
        yield Finding(("category_from",), "names a score without bands", "引用了没有分段的分数")
    if bool(of.categories) != bool(of.category_from or of.category_rules):
        yield Finding(("categories",), "need category_from or category_rules, and they need categories",
                      "categories 与 category_from 或 category_rules 须同时出现")  # fmt: skip


def _cover(bands: Bands, at: int, extent: tuple[int, int], ids: Sequence[str]) -> Iterator[Finding]:
    low, high = extent
    expected = low
    for number, band in sorted(enumerate(bands.ranges), key=lambda pair: pair[1].min):
        loc: Loc = ("bands", at, "ranges", number)
        if band.category not in ids:
            yield Finding((*loc, "category"), f"category {band.category} is not in categories",
                          f"类别 {band.category} 不在 categories 中")  # fmt: skip
        if band.min != expected or band.max < band.min:
            yield Finding(loc, f"gap or overlap at {expected}; the ranges must cover {low} to {high}",
                          f"在 {expected} 处有空缺或重叠；分段须覆盖 {low} 至 {high}")  # fmt: skip
            return
        expected = band.max + 1
    if expected != high + 1:
        yield Finding(("bands", at, "ranges"), f"the ranges end at {expected - 1}; they must cover {low} to {high}",
                      f"分段止于 {expected - 1}；须覆盖 {low} 至 {high}")  # fmt: skip


def _category_rules(of: Definition) -> Iterator[Finding]:
    for at, rule in enumerate(of.category_rules):
        if rule.category not in {each.id for each in of.categories}:
            yield Finding(("category_rules", at, "category"), f"category {rule.category} is not in categories",
                          f"类别 {rule.category} 不在 categories 中")  # fmt: skip
        yield from _threshold(of, rule.items, rule.at_least, ("category_rules", at, "at_least"))


def _critical(of: Definition) -> Iterator[Finding]:
    yield from _unique(tuple(rule.id for rule in of.critical), ("critical",))
    for at, rule in enumerate(of.critical):
        yield from _threshold(of, rule.items, rule.at_least, ("critical", at, "at_least"))
    for at, skip in enumerate(of.skip):
        yield from _threshold(of, skip.items, skip.below, ("skip", at, "below"))


def _threshold(of: Definition, items: Iterable[int], value: int, loc: Loc) -> Iterator[Finding]:
    highest = min(item_highs(of)[item - 1] for item in items)
    if not of.scale.min < value <= highest:
        yield Finding(loc, f"{loc[-1]} must lie above scale.min and not above the highest answer of its items",
                      f"{loc[-1]} 须大于 scale.min，且不大于所列题目的最高答案")  # fmt: skip


def _loinc(of: Definition) -> Iterator[Finding]:
    if of.loinc is None:
        return
    if len(of.loinc.items) != of.items:
        yield Finding(
            ("loinc", "items"), f"must hold {of.items} codes, one per item", f"须有 {of.items} 个代码，每题一个"
        )
    if of.loinc.answers and len(of.loinc.answers) != of.scale.max - of.scale.min + 1:
        yield Finding(("loinc", "answers"), "must hold one code per value of the scale", "须为量表每个值各给一个代码")
    if not {spec.id for spec in of.scores}.issuperset(of.loinc.scores):
        yield Finding(("loinc", "scores"), "names a score that is not defined", "引用了未定义的分数")


def _use(of: Definition) -> Iterator[Finding]:
    if not of.enabled:
        return
    if of.licence.status == "licence_required" and of.licence.record is None:
        yield Finding(("enabled",), "this instrument needs a licence; put its number or letter into licence.record",
                      "此量表须有授权；请将授权编号或函件写入 licence.record")  # fmt: skip
    if facts := ", ".join(of.unconfirmed):
        yield Finding(("enabled",), f"rests on memory ({facts}): say in confirmed who checked each in which source",
                      f"依据未经核实（{facts}）：请在 confirmed 中写明由谁、依据何来源核实")  # fmt: skip


def _unique(values: Sequence[Hashable], loc: Loc) -> Iterator[Finding]:
    if len(set(values)) != len(values):
        yield Finding(loc, "a value is listed twice", "有值重复")
