"""A recall in FHIR R4: the Consent becomes inactive, a Task asks for deletion, its output brings the signed answer.

R4 has no resource for "delete what I gave you". A Task may carry any output, so the receipt and its signature come back
in the two data types that fit: base64Binary and Signature.
"""

import base64
import binascii
from uuid import NAMESPACE_URL, uuid5

from xinqiao.adapters.errors import RecordRejected
from xinqiao.api.adapter.v1.adapter_service_pb2 import RecallAnswer
from xinqiao.api.casefile.v1.consent_pb2 import Recall, SignedRecallReceipt
from xinqiao.contract.clock import BEIJING, from_us
from xinqiao.contract.fields import class_name
from xinqiao_hospital import codes
from xinqiao_hospital.states import TaskRefused
from xinqiao_hospital.wire import Json, as_list, as_object, as_text

_TEXT = "请删除下列记录并签名答复。Delete what is listed here, and answer with a signed receipt."
_ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def build(recall: Recall, request_id: str) -> Json:
    """The transaction Bundle; the same for every try. Raises RecordRejected without the recall's name."""
    if not recall.name or not recall.student:
        raise RecordRejected("DATA/REQUIRED", "a recall needs its name and the student's pseudonym", "Recall")
    entries = [_entry(request_id, "task", _task(recall), f"{codes.RECALL}|{recall.name}", create=True)]
    if recall.cause.startswith("consents/"):
        entries.insert(0, _entry(request_id, "consent", _consent(recall), f"{codes.CONSENT}|{recall.cause}"))
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def is_recall(task: Json) -> bool:
    """Whether a Task is a recall of ours."""
    return _name(task) != ""


def answer_of(task: Json) -> RecallAnswer | None:
    """The signed answer of a completed recall Task, without ``source``; None while there is none. Raises TaskRefused."""
    if task.get("status") != "completed":
        return None
    signed = SignedRecallReceipt()
    for index, found in enumerate(as_list(task.get("output"))):
        output, place = as_object(found), f"output[{index}]"
        for coding in as_list(as_object(output.get("type")).get("coding")):
            if as_object(coding).get("system") != codes.OUTPUT:
                continue
            if as_object(coding).get("code") == "recall-receipt":
                signed.receipt = _decoded(output.get("valueBase64Binary"), place)
            elif as_object(coding).get("code") == "recall-signature":
                signed.signature = _decoded(as_object(output.get("valueSignature")).get("data"), place)
    if not signed.receipt or not signed.signature:
        message = f"a completed recall needs the outputs recall-receipt and recall-signature of {codes.OUTPUT}"
        raise TaskRefused("DATA/OUTCOME", message, "output")
    return RecallAnswer(recall=_name(task), receipt=signed)


def outputs(answer: SignedRecallReceipt, signer: str, when_us: int) -> list[Json]:
    """What a hospital adds to the Task to answer."""
    signed: Json = {
        "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.14", "display": "Source"}],
        "when": from_us(when_us).astimezone(BEIJING).isoformat(),
        "who": {"identifier": {"system": codes.PARTNER, "value": signer}},
        "sigFormat": "application/octet-stream",
        "data": base64.b64encode(answer.signature).decode(),
    }
    return [
        _output("recall-receipt", {"valueBase64Binary": base64.b64encode(answer.receipt).decode()}),
        _output("recall-signature", {"valueSignature": signed}),
    ]


def _output(code: str, value: Json) -> Json:
    return {"type": {"coding": [{"system": codes.OUTPUT, "code": code}]}, **value}


def _name(task: Json) -> str:
    found = [as_object(item) for item in as_list(task.get("identifier"))]
    return next((as_text(item.get("value")) for item in found if item.get("system") == codes.RECALL), "")


def _decoded(value: object, place: str) -> bytes:
    try:
        return base64.b64decode(as_text(value), validate=True)
    except binascii.Error:
        raise TaskRefused("DATA/BASE64", "the output is not base64", place) from None


def _entry(request_id: str, role: str, resource: Json, identifier: str, *, create: bool = False) -> Json:
    kind = str(resource["resourceType"])
    request: Json = (
        {"method": "POST", "url": kind, "ifNoneExist": f"identifier={identifier}"}
        if create
        else {"method": "PUT", "url": f"{kind}?identifier={identifier}"}
    )
    url = f"urn:uuid:{uuid5(NAMESPACE_URL, f'urn:xinqiao:delivery:{request_id}/{role}')}"
    return {"fullUrl": url, "resource": resource, "request": request}


def _patient(recall: Recall) -> Json:
    return {"type": "Patient", "identifier": {"system": codes.PSEUDONYM, "value": recall.student}}


def _consent(recall: Recall) -> Json:
    return {
        "resourceType": "Consent",
        "identifier": [{"system": codes.CONSENT, "value": recall.cause}],
        "status": "inactive",
        "scope": _concept("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy", "Privacy Consent"),
        "category": [_concept(codes.LOINC, "59284-0", "Consent Document")],
        "patient": _patient(recall),
        "policyRule": _concept(_ACT_CODE, "OPTOUT", "opt-out"),
    }


def _task(recall: Recall) -> Json:
    task: Json = {
        "resourceType": "Task",
        "identifier": [{"system": codes.RECALL, "value": recall.name}],
        "status": "requested",
        "intent": "order",
        "code": _concept(codes.TASK, "recall", "撤回同意后的删除 deletion after a withdrawal"),
        "description": _TEXT,
        "for": _patient(recall),
    }
    if recall.recipient:
        task["owner"] = {"identifier": {"system": codes.PARTNER, "value": recall.recipient}}
    if recall.create_time_us:
        task["authoredOn"] = _moment(recall.create_time_us)
    if recall.due_us:
        task["restriction"] = {"period": {"end": _moment(recall.due_us)}}
    inputs = [*recall.items, *(class_name(each) for each in recall.classes)]
    if inputs:
        task["input"] = [
            {"type": {"text": "收回的记录 recalled"}, "valueString": each} for each in inputs
        ]  # fmt: skip
    return task


def _moment(us: int) -> str:
    return from_us(us).astimezone(BEIJING).isoformat(timespec="seconds")


def _concept(system: str, code: str, display: str) -> Json:
    return {"coding": [{"system": system, "code": code, "display": display}]}
