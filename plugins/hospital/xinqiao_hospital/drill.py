"""Marks what is sent for a drill (演练), so that neither a person nor a machine can take it for a student in danger."""

from collections.abc import Iterator

from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao_hospital import codes
from xinqiao_hospital.wire import Json, as_list, as_object

TEXT = "【演练 DRILL】这是演习，没有学生处于危险中；请按真实流程处理并立即答复。This is a drill: nobody is in danger."
_HTEST: Json = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
    "code": "HTEST",
    "display": "test health data",
}
_TAG: Json = {"system": codes.DRILL, "code": "drill", "display": "演练 DRILL"}
_MARK = "【演练 DRILL】"


def is_drill(request: DeliverRequest) -> bool:
    """Whether the gateway says so anywhere: one word is enough."""
    package = request.referral
    return (
        request.drill
        or package.drill
        or package.referral.drill
        or request.referral_update.drill
        or request.recall.drill
    )


def mark(resource: Json) -> Json:
    """``resource`` with the security label HTEST, our tag, and the word where a person reads."""
    meta = as_object(resource.get("meta"))
    security = _with(as_list(meta.get("security")), _HTEST)
    marked: Json = {**resource, "meta": {**meta, "security": security, "tag": _with(as_list(meta.get("tag")), _TAG)}}
    kind = resource["resourceType"]
    if kind == "ServiceRequest":
        marked["note"] = [{"text": TEXT}, *_others(as_list(resource.get("note")))]
        marked["reasonCode"] = [{"text": text} for text in _reasons(resource)] or [{"text": _MARK}]
    elif kind == "Task":
        marked["description"] = TEXT
    elif kind == "Patient":
        names = [as_object(name) for name in as_list(resource.get("name"))] or [{"use": "official"}]
        marked["name"] = [{**name, "text": _marked(str(name.get("text", "")))} for name in names]
    return marked


def mark_bundle(bundle: Json) -> Json:
    """A Bundle with each of its resources marked."""
    entries = [as_object(entry) for entry in as_list(bundle.get("entry"))]
    return {**bundle, "entry": [{**entry, "resource": mark(as_object(entry["resource"]))} for entry in entries]}


def _reasons(resource: Json) -> Iterator[str]:
    for reason in as_list(resource.get("reasonCode")):
        yield _marked(str(as_object(reason).get("text", "")))


def _marked(text: str) -> str:
    return text if text.startswith(_MARK) else f"{_MARK}{text}"


def _others(notes: list[Json]) -> list[Json]:
    return [note for note in notes if note != {"text": TEXT}]


def _with(codings: list[Json], coding: Json) -> list[Json]:
    return codings if coding in codings else [*codings, coding]
