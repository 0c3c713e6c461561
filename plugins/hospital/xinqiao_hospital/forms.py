"""Scored forms as QuestionnaireResponse and Observation: answers as they were given, nothing filled in."""

from dataclasses import dataclass
from typing import Protocol

from xinqiao.adapters.errors import RecordRejected
from xinqiao.api.screening.v1.screening_pb2 import Assessment
from xinqiao_hospital import codes
from xinqiao_hospital.wire import Json

_SURVEY = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/observation-category",
            "code": "survey",
            "display": "Survey",
        }
    ]
}
_ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"


class Drafting(Protocol):
    """Where entries go; ``bundle.Draft`` is one."""

    def add(self, role: str, resource: Json, system: str, value: str) -> str: ...
    def value(self, name: str, role: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Made:
    """References of what one form became."""

    responses: list[str]
    observations: list[str]


def form_entries(assessment: Assessment, ordinal: int, patient: str, draft: Drafting) -> Made:
    """Add one form's entries to ``draft``; none at all where the door withheld what form it is.

    Raises RecordRejected where answers do not fit the instrument.
    """
    if not assessment.instrument:
        return Made([], [])
    made = Made([], [])
    role = f"form/{ordinal}"
    name = draft.value(assessment.name, role)
    panel = codes.PANELS.get(assessment.instrument)
    if assessment.answers:
        items = _loinc_items(assessment, panel, ordinal) if panel else _own_items(assessment)
        response = _response(assessment, name, patient, panel, items)
        made.responses.append(draft.add(role, response, codes.ASSESSMENT, name))
    derived = made.responses
    totals = [score for score in assessment.scores if score.id == "total"]
    if totals:
        value: Json = {"valueInteger": totals[0].value} if totals[0].HasField("value") else _not_scored()
        code = (
            _coded(codes.LOINC, panel.total, panel.total_display)
            if panel
            else _coded(codes.INSTRUMENT, assessment.instrument, f"{assessment.instrument} total score")
        )
        key = f"{name}#total"
        observation = _observation(assessment, key, patient, code, value, derived)
        made.observations.append(draft.add(f"{role}/total", observation, codes.ASSESSMENT, key))
    if panel and panel.watched and assessment.answers:
        answer = assessment.answers[panel.items.index(panel.watched)]
        if answer != codes.NOT_ANSWERED:
            code = _coded(codes.LOINC, panel.watched, panel.watched_display)
            key = f"{name}#{panel.watched}"
            concept: Json = {"valueCodeableConcept": {"coding": [_answer(answer)], "text": codes.ANSWERS[answer][1]}}
            observation = _observation(assessment, key, patient, code, concept, derived)
            made.observations.append(draft.add(f"{role}/watched", observation, codes.ASSESSMENT, key))
    return made


def _response(assessment: Assessment, name: str, patient: str, panel: codes.Panel | None, items: list[Json]) -> Json:
    form = f"http://loinc.org/q/{panel.panel}" if panel else f"urn:xinqiao:questionnaire:{assessment.instrument}"
    response: Json = {
        "resourceType": "QuestionnaireResponse",
        "identifier": {"system": codes.ASSESSMENT, "value": name},
        "questionnaire": form,
        # "stopped": partly filled in and handed in like that, nothing more is expected.
        "status": "completed" if codes.NOT_ANSWERED not in assessment.answers else "stopped",
        "subject": {"reference": patient},
    }
    if assessment.taken_on:
        response["authored"] = assessment.taken_on
    if items:
        response["item"] = items
    return response


def _loinc_items(assessment: Assessment, panel: codes.Panel, ordinal: int) -> list[Json]:
    place = f"ReferralPackage.assessments[{ordinal}].answers"
    if len(assessment.answers) != len(panel.items):
        raise RecordRejected("DATA/ANSWERS", f"the form needs {len(panel.items)} answers", place)
    items: list[Json] = []
    for index, (item, answer) in enumerate(zip(panel.items, assessment.answers, strict=True)):
        if answer == codes.NOT_ANSWERED:
            continue
        if answer >= len(codes.ANSWERS):
            raise RecordRejected("DATA/ANSWERS", "an answer is outside the form's scale 0 to 3", f"{place}[{index}]")
        items.append({"linkId": f"/{item}", "answer": [{"valueCoding": _answer(answer)}]})
    return items


def _own_items(assessment: Assessment) -> list[Json]:
    return [
        {"linkId": str(number), "answer": [{"valueInteger": answer}]}
        for number, answer in enumerate(assessment.answers, start=1)
        if answer != codes.NOT_ANSWERED
    ]


def _answer(points: int) -> Json:
    code, display = codes.ANSWERS[points]
    return {"system": codes.LOINC, "code": code, "display": display}


def _not_scored() -> Json:
    return {"dataAbsentReason": {"coding": [{"system": _ABSENT, "code": "not-performed", "display": "Not Performed"}]}}


def _coded(system: str, code: str, display: str) -> Json:
    return {"coding": [{"system": system, "code": code, "display": display}], "text": display}


def _observation(assessment: Assessment, key: str, patient: str, code: Json, value: Json, derived: list[str]) -> Json:
    observation: Json = {
        "resourceType": "Observation",
        "identifier": [{"system": codes.ASSESSMENT, "value": key}],
        "status": "final",
        "category": [_SURVEY],
        "code": code,
        "subject": {"reference": patient},
    }
    if assessment.taken_on:
        observation["effectiveDateTime"] = assessment.taken_on
    observation.update(value)
    if derived:
        observation["derivedFrom"] = [{"reference": url} for url in derived]
    return observation
