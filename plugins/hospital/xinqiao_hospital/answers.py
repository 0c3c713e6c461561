"""What a FHIR QuestionnaireResponse or survey Observation says, as forms in use really write it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from xinqiao_hospital import codes
from xinqiao_hospital.wire import Json, as_list, as_object, as_text

_POINTS = {code: points for points, (code, _) in enumerate(codes.ANSWERS)}
_PANELS = {panel.panel: name for name, panel in codes.PANELS.items()}
_TOTALS = {panel.total: name for name, panel in codes.PANELS.items()}
_WHOLE = re.compile(r"\s*([0-9]{1,4})(?:\.0*)?\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Form:
    """The answers of one form: points in item order (``NOT_ANSWERED`` where there is none) and the total it gives."""

    instrument: str
    answers: tuple[int, ...]
    total: int | None

    @property
    def summary(self) -> str:
        """How much of it was read, in our own words."""
        given = sum(answer != codes.NOT_ANSWERED for answer in self.answers)
        return f"{given} of {len(self.answers)} answers, total {'given' if self.total is not None else 'absent'}"


def form_of(response: Json) -> Form | None:
    """The form, None where it is none of those with a LOINC table.

    A ``linkId`` may be ``/44250-9``, ``44250-9`` or a path that ends so; a total may be an integer, a decimal or a text.
    """
    found = dict(_answers(response))
    for name, panel in codes.PANELS.items():
        points = tuple(_points(found[item]) if item in found else codes.NOT_ANSWERED for item in panel.items)
        if any(item in found for item in panel.items):
            return Form(name, points, _total(found[panel.total]) if panel.total in found else None)
    return None


def count(response: Json) -> int:
    """How many answers a form of any kind holds."""
    return sum(1 for _ in _answers(response))


def score_of(observation: Json) -> str:
    """``PHQ-9 total`` and the like: what a survey Observation tells, empty where it is another."""
    for coding in as_list(as_object(observation.get("code")).get("coding")):
        code = as_text(as_object(coding).get("code"))
        if as_object(coding).get("system") != codes.LOINC:
            continue
        if code in _TOTALS:
            return f"{_TOTALS[code]} total"
        if code in _PANELS:
            return f"{_PANELS[code]} panel"
        for name, panel in codes.PANELS.items():
            if code in panel.items:
                return f"{name} item {panel.items.index(code) + 1}"
    return ""


def _answers(response: Json) -> Iterator[tuple[str, Json]]:
    """``(last part of linkId, answer)`` of every answer at any depth."""
    open_ = [as_object(item) for item in reversed(as_list(response.get("item")))]
    while open_:
        item = open_.pop()
        answers = [as_object(answer) for answer in as_list(item.get("answer"))]
        for answer in answers:
            yield as_text(item.get("linkId")).rstrip("/").rpartition("/")[2], answer
        nested = [*as_list(item.get("item")), *(inner for answer in answers for inner in as_list(answer.get("item")))]
        open_ += [as_object(inner) for inner in reversed(nested)]


def _points(answer: Json) -> int:
    coding = as_object(answer.get("valueCoding"))
    if coding:
        return _POINTS.get(as_text(coding.get("code")), codes.NOT_ANSWERED)
    value = _total(answer)
    return value if value is not None and 0 <= value < len(codes.ANSWERS) else codes.NOT_ANSWERED


def _total(answer: Json) -> int | None:
    value = next((item for key, item in answer.items() if key in ("valueInteger", "valueDecimal", "valueString")), None)
    if isinstance(value, str):
        found = _WHOLE.fullmatch(value)
        return int(found.group(1)) if found else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
