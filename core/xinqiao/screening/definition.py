"""The words of an instrument file: what each key may hold, checked key by key; how keys must agree is in ``findings``.

A file holds numbers, rules and labels; never the wording of a questionnaire item. Items are numbered from 1 in the
order of the form, and a list of items may hold ranges: ``[1-15, 20]``. The words, in the order they act:

* ``codings``: the form exists in more than one coding, so each submission must say which one it is in;
* ``skip``: low answers to ``items`` make ``unanswered`` unnecessary; blanks there count as the lowest answer;
* ``reverse`` and ``recode`` change what an answer counts in scores; rules always look at the answer as given;
* ``missing``: what an unanswered item does to a score;
* ``scores``: a ``sum``, ``mean`` or ``count`` of items, or the sum of other scores (``of``), times ``multiplier``;
* ``validity``: a score that high voids the form: no other score is given and the category is ``void`` or so;
* ``bands`` (of scores) and ``category_rules`` (of answers) give a category; the most severe one is the form's;
* ``critical`` rules look at single answers, so they fire on any total, on incomplete and on voided forms.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from xinqiao.screening.datafile import Label, Strict, Text

NOT_ANSWERED = 255
"""The byte which stands for "not answered" in a columnar batch; no scale may reach it."""

MAX_ITEMS = 500
_RANGE = r"^[1-9][0-9]{0,2}-[1-9][0-9]{0,2}$"

Fact = Literal[
    "items", "scale", "codings", "skip", "reverse", "recode", "missing", "scores", "validity", "bands",
    "category_rules", "critical", "licence", "informants", "ages", "grades",
]  # fmt: skip
"""A part of a file that may rest on memory instead of a source."""

ADVICE: frozenset[Fact] = frozenset({"informants", "ages", "grades"})
"""Facts on which no result rests: an instrument may be in use while they are unconfirmed."""


def fault(en: str, zh: str, loc: tuple[str | int, ...] = ()) -> PydanticCustomError:
    """A validation error that speaks both languages; ``loc`` is where, when the error stands on the whole file."""
    # The text goes through the context because pydantic would read a brace in it as a placeholder.
    return PydanticCustomError("instrument", "{en}", {"en": en, "zh": zh, "loc": loc})


def _items(value: object) -> tuple[int, ...]:
    wrong = fault("must be a list of item numbers and ranges, such as [1, 4, 7-9]",
                  "应为题号或题号范围的列表，例如 [1, 4, 7-9]")  # fmt: skip
    if not isinstance(value, list | tuple):
        raise wrong
    found: list[int] = []
    for part in value:  # pyright: ignore[reportUnknownVariableType] -- judged here
        if isinstance(part, int) and not isinstance(part, bool):
            found.append(part)
            continue
        first, dash, last = str(part).partition("-")  # pyright: ignore[reportUnknownArgumentType]
        if not (dash and first.isdecimal() and last.isdecimal() and int(first) < int(last) <= MAX_ITEMS):
            raise wrong
        found.extend(range(int(first), int(last) + 1))
    if any(not 1 <= item <= MAX_ITEMS for item in found):
        raise fault(f"item numbers go from 1 to {MAX_ITEMS}", f"题号应为 1 至 {MAX_ITEMS}")
    if len(set(found)) != len(found):
        raise fault("an item is listed twice", "有题号重复")
    return tuple(found)


def _listed(items: tuple[int, ...]) -> list[int]:
    return list(items)  # pydantic would parse the text of `list`'s own signature, at every use and every start


_ITEMS_SCHEMA = {
    "type": "array",
    "items": {
        "anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_ITEMS}, {"type": "string", "pattern": _RANGE}]
    },
}

Items = Annotated[tuple[int, ...], PlainValidator(_items), PlainSerializer(_listed), WithJsonSchema(_ITEMS_SCHEMA)]
SomeItems = Annotated[Items, Field(min_length=1)]
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Answer = Annotated[int, Field(ge=0, lt=NOT_ANSWERED)]


class Scale(Strict):
    """The range of one raw answer, both ends allowed."""

    min: Answer
    max: Annotated[int, Field(ge=1, lt=NOT_ANSWERED)]


class ItemScale(Strict):
    """``items`` whose highest answer is another than that of ``scale``."""

    items: SomeItems
    max: Annotated[int, Field(ge=1, lt=NOT_ANSWERED)]


class Coding(Strict):
    """One way to number the answers: the lowest is ``min``, and the scale is as long as ``scale``."""

    id: Annotated[str, Field(pattern=r"^[0-9]{1,3}-[0-9]{1,3}$")]
    min: Answer


class Years(Strict):
    """Ages in whole years, or school grades (1 to 12), for which the instrument may be used, both ends allowed."""

    min: Annotated[int, Field(ge=0, le=120)]
    max: Annotated[int, Field(ge=0, le=120)] | None = None
    outside: Literal["warn", "refuse"] = "warn"


class Skip(Strict):
    """When every one of ``items`` was answered ``below``, ``unanswered`` need no answer."""

    items: SomeItems
    below: Annotated[int, Field(ge=1, lt=NOT_ANSWERED)]
    unanswered: SomeItems


class Recode(Strict):
    """What the answers of ``items`` count in scores: one number per value of the scale, lowest first."""

    items: SomeItems
    to: Annotated[tuple[Annotated[int, Field(ge=0, le=100)], ...], Field(min_length=2)]


class Missing(Strict):
    """What an unanswered item does to a score.

    ``refuse``: no score; ``prorate``: the mean of the answered items stands for the blanks, rounded half up; ``zero``:
    a blank counts nothing. The last two up to ``max_missing`` blanks, counted ``per`` score or form.
    """

    rule: Literal["refuse", "prorate", "zero"]
    max_missing: Annotated[int, Field(ge=0, lt=MAX_ITEMS)] = 0
    per: Literal["score", "form"] = "score"

    @model_validator(mode="after")
    def _allowance_fits_rule(self) -> Self:
        if (self.rule == "refuse") != (self.max_missing == 0):
            raise fault("give max_missing (1 or more) with prorate and zero, and leave it out with refuse",
                        "prorate 和 zero 须给出 max_missing（至少为 1），refuse 则不写")  # fmt: skip
        return self


class ScoreSpec(Strict):
    """One score. ``at_least`` keeps only answers that high, for a ``mean`` of or a ``count`` of positive items.

    A mean is rounded half up after the ``multiplier``, so 100 gives hundredths.
    """

    id: Word
    method: Literal["sum", "mean", "count"] = "sum"
    items: Items = ()
    of: tuple[Word, ...] = ()
    at_least: Annotated[int, Field(ge=1, lt=NOT_ANSWERED)] | None = None
    multiplier: Annotated[int, Field(ge=1, le=100)] = 1
    label: Label | None = None

    @model_validator(mode="after")
    def _operands_fit_method(self) -> Self:
        if bool(self.items) == bool(self.of):
            raise fault("give either items or of, not both and not neither", "items 与 of 须且只能写一个")
        if len(set(self.of)) != len(self.of):
            raise fault("an operand is listed twice", "of 中有重复")
        if self.of and self.method != "sum":
            raise fault("only a sum has of", "只有 method: sum 才能写 of")
        if (self.method == "count") != (self.at_least is not None) and self.method != "mean":
            raise fault("a count needs at_least, a sum has none", "count 须写 at_least，sum 不写")
        return self


class Category(Strict):
    """A category a form can fall into; the order in the file is the order of severity, least first."""

    id: Word
    label: Label


class Validity(Strict):
    """A form whose ``score`` is ``at_least`` that high is void: it falls into ``category`` and must be repeated."""

    score: Word
    at_least: Annotated[int, Field(ge=1)]
    category: Word
    label: Label


class Band(Strict):
    """Values ``min`` to ``max`` (both included) of a score belong to ``category``; ``label`` overrides its name."""

    min: int
    max: int
    category: Word
    label: Label | None = None


class Bands(Strict):
    """The bands of scores under one norm (``norm`` names the table, since norms differ by country and informant)."""

    score: Word | Annotated[tuple[Word, ...], Field(min_length=1)]
    norm: Annotated[str, Field(min_length=1, max_length=64)]
    ranges: Annotated[tuple[Band, ...], Field(min_length=1)]

    @property
    def scores(self) -> tuple[str, ...]:
        """The scores these bands are for."""
        return (self.score,) if isinstance(self.score, str) else self.score


class CategoryRule(Strict):
    """A form is at least ``category`` when any of ``items`` was answered with ``at_least`` or more."""

    category: Word
    items: SomeItems
    at_least: Annotated[int, Field(ge=1, lt=NOT_ANSWERED)]


class CriticalRule(Strict):
    """Fires when any of ``items`` was answered with ``at_least`` or more (raw answer, before reversing)."""

    id: Word
    items: SomeItems
    at_least: int
    severity: Literal["crisis", "concern"]
    label: Label


class Loinc(Strict):
    """LOINC codes: ``items`` in item order, ``answers`` in order from ``scale.min``, ``scores`` by score id."""

    panel: str
    items: tuple[str, ...]
    scores: dict[str, str] = Field(default_factory=dict[str, str])
    category: str | None = None
    answers: tuple[Annotated[str, Field(pattern=r"^LA\d{1,6}-\d$")], ...] = ()

    @model_validator(mode="after")
    def _check_digits(self) -> Self:
        for code in (self.panel, *self.items, *self.scores.values(), *filter(None, (self.category,))):
            if not _loinc_valid(code):
                raise fault(f"{code} is not a LOINC code: its check digit is wrong, look for a typing mistake",
                            f"{code} 不是 LOINC 代码：校验位不对，请检查是否输错")  # fmt: skip
        return self


class Licence(Strict):
    """Who allows the use. ``record`` is the operator's own licence number or letter, needed when ``status`` asks it."""

    status: Literal["free", "public_domain", "licence_required"]
    text: Text
    record: Text | None = None


class FromMemory(Strict):
    """A fact that no source at hand confirms. The instrument stays off until ``confirmed`` says who checked it where."""

    fact: Fact
    note: Text


class Definition(Strict):
    """An instrument file whose keys are right one by one; ``Instrument`` is one whose keys also agree."""

    id: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9-]{1,31}$")]
    version: Annotated[int, Field(ge=1)]
    edition: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,31}$")] | None = None
    names: Label
    items: Annotated[int, Field(ge=1, le=MAX_ITEMS)]
    scale: Scale
    item_scales: tuple[ItemScale, ...] = ()
    codings: tuple[Coding, ...] = ()
    informants: Annotated[tuple[Literal["self", "parent", "teacher", "interviewer"], ...], Field(min_length=1)]
    ages: Years
    grades: Years | None = None
    skip: tuple[Skip, ...] = ()
    optional: Items = ()
    reverse: Items = ()
    recode: tuple[Recode, ...] = ()
    missing: Missing
    scores: tuple[ScoreSpec, ...] = ()
    validity: tuple[Validity, ...] = ()
    categories: Annotated[tuple[Category, ...], Field(max_length=100)] = ()
    bands: tuple[Bands, ...] = ()
    category_from: tuple[Word, ...] = ()
    category_rules: tuple[CategoryRule, ...] = ()
    critical: tuple[CriticalRule, ...] = ()
    loinc: Loinc | None = None
    source: Text
    from_memory: tuple[FromMemory, ...] = ()
    confirmed: dict[Fact, Text] = Field(default_factory=dict[Fact, Text])
    licence: Licence
    enabled: bool

    @property
    def unconfirmed(self) -> tuple[Fact, ...]:
        """Facts from memory that no operator has confirmed and that results or the right to use it rest on."""
        settled = ADVICE | set(self.confirmed)
        if self.licence.record is not None:
            settled |= {"licence"}
        facts: dict[Fact, None] = dict.fromkeys(entry.fact for entry in self.from_memory)
        return tuple(fact for fact in facts if fact not in settled)


def _loinc_valid(code: str) -> bool:
    """Mod-10 (Luhn) check of a LOINC code such as ``44261-6`` (LOINC Users' Guide, check digit appendix)."""
    body, dash, check = code.partition("-")
    if not dash or not body.isdecimal() or not check.isdecimal() or len(check) != 1:
        return False
    doubled = (int(digit) * (2 - place % 2) for place, digit in enumerate(reversed(body)))
    return (sum(value // 10 + value % 10 for value in doubled) + int(check)) % 10 == 0
