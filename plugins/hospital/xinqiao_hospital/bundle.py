"""From a released referral to one FHIR R4 transaction Bundle.

The Bundle is a function of the package and the request id alone, so a retry has the same bytes; and every entry is
created only if its identifier is new, so a retry has one effect. A field that the door withheld is absent.
"""

from urllib.parse import quote
from uuid import NAMESPACE_URL, UUID, uuid5

from xinqiao.adapters.errors import RecordRejected
from xinqiao.api.common.v1.types_pb2 import Guardian, Sex, Student, Tier
from xinqiao.api.referral.v1.referral_pb2 import ReferralPackage, Urgency
from xinqiao.contract.clock import BEIJING, from_us
from xinqiao_hospital import codes
from xinqiao_hospital.forms import form_entries
from xinqiao_hospital.wire import Json

_GENDER = {Sex.SEX_MALE: "male", Sex.SEX_FEMALE: "female"}
_PRIORITY = {Urgency.URGENCY_URGENT: "urgent", Urgency.URGENCY_EMERGENCY: "stat"}
_TIER = {
    Tier.TIER_GREEN: ("green", "一般预防 universal prevention"),
    Tier.TIER_YELLOW: ("yellow", "关注 attention"),
    Tier.TIER_ORANGE: ("orange", "重点支持 key support"),
    Tier.TIER_RED: ("red", "危机 crisis"),
}
_RELATION_CODE = {"mother": "MTH", "father": "FTH", "grandmother": "GRMTH", "grandfather": "GRFTH"}
_ROLE_CODE = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
_SIGNERS: dict[str, list[str]] = {
    "guardian": ["监护人 guardian"],
    "student": ["学生 student"],
    "both": ["监护人 guardian", "学生 student"],
}


class Draft:
    """The entries of a Bundle in the making, with ids that depend on the request id only."""

    def __init__(self, request_id: str) -> None:
        self._space: UUID = uuid5(NAMESPACE_URL, f"urn:xinqiao:delivery:{request_id}")
        self.entries: list[Json] = []

    def add(self, role: str, resource: Json, system: str, value: str) -> str:
        """Append a conditional create; ``role`` is unique in the Bundle. Returns the reference others may use."""
        url = f"urn:uuid:{uuid5(self._space, role)}"
        kind = str(resource["resourceType"])
        once = f"identifier={quote(system, safe=':')}|{quote(value, safe='/:')}"
        request = {"method": "POST", "url": kind, "ifNoneExist": once}
        self.entries.append({"fullUrl": url, "resource": resource, "request": request})
        return url

    def value(self, name: str, role: str) -> str:
        """The record's own name, or one derived from the request where the door withheld it."""
        return name or f"urn:uuid:{uuid5(self._space, f'name/{role}')}"


def build(package: ReferralPackage, request_id: str) -> Json:
    """The transaction Bundle. Raises RecordRejected where the package cannot be said in FHIR."""
    referral = package.referral
    if not referral.name or not package.student.name:
        raise RecordRejected(
            "DATA/REQUIRED", "a referral needs its name and the student's pseudonym", "ReferralPackage.referral"
        )
    draft = Draft(request_id)
    patient = draft.add("patient", _patient(package.student), codes.PSEUDONYM, package.student.name)
    supporting: list[Json] = []
    if package.consent.consent or package.consent.given_us:
        consent = draft.value(package.consent.consent, "consent")
        supporting.append(_ref(draft.add("consent", _consent(package, consent, patient), codes.CONSENT, consent)))
    forms: list[str] = []
    for ordinal, assessment in enumerate(package.assessments):
        made = form_entries(assessment, ordinal, patient, draft)
        forms += made.responses
        supporting += [_ref(url) for url in (*made.responses, *made.observations)]
    if referral.tier in _TIER:
        supporting.append(_ref(_risk(draft, package, patient, forms)))
    if (basis := _basis(package)) is not None:
        supporting.append(basis)
    order = draft.add("order", _order(package, patient, supporting), codes.REFERRAL, referral.name)
    draft.add("task", _task(package, patient, order), codes.REFERRAL, referral.name)
    return {"resourceType": "Bundle", "type": "transaction", "entry": draft.entries}


def day(us: int) -> str:
    """FHIR dateTime with the offset of Beijing, to the second."""
    return from_us(us).astimezone(BEIJING).isoformat(timespec="seconds")


def _ref(url: str) -> Json:
    return {"reference": url}


def _identifier(system: str, value: str) -> Json:
    return {"system": system, "value": value}


def _patient(student: Student) -> Json:
    patient: Json = {"resourceType": "Patient", "identifier": [_identifier(codes.PSEUDONYM, student.name)]}
    name = _name(student.family_name, student.given_name)
    if name:
        patient["name"] = [name]
    if student.phone:
        patient["telecom"] = [{"system": "phone", "value": student.phone}]
    if student.sex in _GENDER:
        patient["gender"] = _GENDER[student.sex]
    if student.birth_date:
        patient["birthDate"] = student.birth_date
    # A guardian in conflict must never be called: the number does not travel, the warning does (see _notes).
    contacts = [contact for guardian in student.guardians if (contact := _contact(guardian))]
    if contacts:
        patient["contact"] = contacts
    return patient


def _name(family: str, given: str) -> Json:
    name: Json = {"use": "official", "text": f"{family}{given}"} if family or given else {}
    if family:
        name["family"] = family
    if given:
        name["given"] = [given]
    return name


def _contact(guardian: Guardian) -> Json:
    if guardian.in_conflict or not (guardian.full_name or guardian.phone):
        return {}
    contact: Json = {}
    if guardian.relation:
        concept: Json = {"text": guardian.relation}
        if guardian.relation in _RELATION_CODE:
            concept["coding"] = [{"system": _ROLE_CODE, "code": _RELATION_CODE[guardian.relation]}]
        contact["relationship"] = [concept]
    if guardian.full_name:
        contact["name"] = {"text": guardian.full_name}
    if guardian.phone:
        contact["telecom"] = [{"system": "phone", "value": guardian.phone}]
    return contact


def _consent(package: ReferralPackage, name: str, patient: str) -> Json:
    evidence = package.consent
    consent: Json = {
        "resourceType": "Consent",
        "identifier": [_identifier(codes.CONSENT, name)],
        "status": "active",
        "scope": _concept("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy", "Privacy Consent"),
        "category": [_concept(codes.LOINC, "59284-0", "Consent Document")],
        "patient": _ref(patient),
    }
    if evidence.given_us:
        consent["dateTime"] = day(evidence.given_us)
    if evidence.signed_by in _SIGNERS:
        consent["performer"] = [{"display": signer} for signer in _SIGNERS[evidence.signed_by]]
    consent["policyRule"] = _concept("http://terminology.hl7.org/CodeSystem/v3-ActCode", "OPTIN", "opt-in")
    period: Json = {}
    if evidence.given_us:
        period["start"] = day(evidence.given_us)
    if evidence.expires_us:
        period["end"] = day(evidence.expires_us)
    consent["provision"] = {"type": "permit", **({"period": period} if period else {})}
    return consent


def _risk(draft: Draft, package: ReferralPackage, patient: str, forms: list[str]) -> str:
    code, shown = _TIER[package.referral.tier]
    value = f"{package.referral.name}#tier"
    risk: Json = {
        "resourceType": "RiskAssessment",
        "identifier": [_identifier(codes.TIER, value)],
        "status": "final",
        "subject": _ref(patient),
    }
    if forms:
        risk["basis"] = [_ref(url) for url in forms]
    risk["prediction"] = [{"qualitativeRisk": _concept(codes.TIER, code, shown)}]
    return draft.add("tier", risk, codes.TIER, value)


def _basis(package: ReferralPackage) -> Json | None:
    id_ = package.basis.id or package.referral.basis
    if not id_:
        return None
    shown = " ".join(part for part in (package.basis.citation, package.basis.version) if part)
    cited: Json = {"identifier": _identifier(codes.BASIS, id_)}
    return {**cited, "display": shown} if shown else cited


def _order(package: ReferralPackage, patient: str, supporting: list[Json]) -> Json:
    referral = package.referral
    order: Json = {
        "resourceType": "ServiceRequest",
        "identifier": [_identifier(codes.REFERRAL, referral.name)],
        "status": "active",
        "intent": "order",
        "priority": _PRIORITY.get(referral.urgency, "routine"),
        "code": _concept("http://snomed.info/sct", "3457005", "Patient referral"),
        "subject": _ref(patient),
        **_parties(package, "performer"),
    }
    if referral.reason:
        order["reasonCode"] = [{"text": referral.reason}]
    if supporting:
        order["supportingInfo"] = supporting
    notes = _notes(package)
    if notes:
        order["note"] = [{"text": note} for note in notes]
    return order


def _notes(package: ReferralPackage) -> list[str]:
    referral = package.referral
    notes: list[str] = []
    if referral.crisis_facts:
        notes.append(f"危机情况 Crisis facts: {referral.crisis_facts}")
    if referral.location:
        notes.append(f"所在位置 Location: {referral.location}")
    for guardian in package.student.guardians:
        if guardian.in_conflict:
            who = guardian.relation or "guardian"
            notes.append(f"不得通知该监护人 This guardian must not be notified: {who}")
    return notes


def _task(package: ReferralPackage, patient: str, order: str) -> Json:
    referral = package.referral
    return {
        "resourceType": "Task",
        "identifier": [_identifier(codes.REFERRAL, referral.name)],
        "status": "requested",
        "businessStatus": codes.business_status("2.0"),
        "intent": "order",
        "priority": _PRIORITY.get(referral.urgency, "routine"),
        "code": _concept("http://hl7.org/fhir/CodeSystem/task-code", "fulfill", "Fulfill the focal request"),
        "focus": _ref(order),
        "for": _ref(patient),
        **_parties(package, "owner"),
    }


def _parties(package: ReferralPackage, recipient: str) -> Json:
    """``authoredOn``, the sender as requester and the recipient under the element name of the resource."""
    referral = package.referral
    parties: Json = {}
    if referral.create_time_us:
        parties["authoredOn"] = day(referral.create_time_us)
    if referral.sender or package.sender_title:
        requester: Json = {}
        if referral.sender:
            requester["identifier"] = _identifier(codes.PARTNER, referral.sender)
        if package.sender_title:
            requester["display"] = package.sender_title
        parties["requester"] = requester
    if referral.recipient:
        owner: Json = {"identifier": _identifier(codes.PARTNER, referral.recipient)}
        parties[recipient] = [owner] if recipient == "performer" else owner
    return parties


def _concept(system: str, code: str, display: str) -> Json:
    return {"coding": [{"system": system, "code": code, "display": display}]}
