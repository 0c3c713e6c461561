"""From a released referral to REF^I12, and from a change of it to REF^I13 or REF^I14.

A message is a function of the record and the request id alone: a retry has the same bytes and the same MSH-10, which is
what a hospital knows a repeat by. A field that the door withheld is absent.
"""

import base64
import hashlib
from typing import Final

from xinqiao.adapters.errors import RecordRejected
from xinqiao.api.common.v1.types_pb2 import Guardian, Sex, Student, Tier
from xinqiao.api.referral.v1.referral_pb2 import Referral, ReferralPackage, Urgency
from xinqiao.contract.clock import from_us
from xinqiao.contract.referral_codes import EQUIVALENTS, RF1_PRIORITY
from xinqiao_hospital import drill as drills
from xinqiao_hospital.hl7.ack import LOCAL, header
from xinqiao_hospital.hl7.charset import declaration
from xinqiao_hospital.hl7.message import composite, escape, segment, stamp, written
from xinqiao_hospital.hl7.observations import Observations, assessments
from xinqiao_hospital.hl7.settings import Hl7Settings
from xinqiao_hospital.hl7.tables import tables

AUTHORITY: Final = "XINQIAO"
REFERRALS: Final = "referrals/"
STUDENTS: Final = "students/"
_SEX: Final = {Sex.SEX_MALE: "M", Sex.SEX_FEMALE: "F"}
_MARK: Final = "【演练 DRILL】"


def control_id(request_id: str) -> str:
    """MSH-10, at most 20 characters, the same for every try of a request."""
    return base64.b32encode(hashlib.sha256(request_id.encode()).digest()[:12]).decode().rstrip("=")


def referral_message(package: ReferralPackage, request_id: str, settings: Hl7Settings, *, drill: bool = False) -> bytes:
    """A new referral as REF^I12. Raises RecordRejected where the package cannot be said in HL7 v2."""
    referral, student = package.referral, package.student
    if not referral.name or not student.name:
        why = "a referral needs its name and the student's pseudonym"
        raise RecordRejected("DATA/REQUIRED", why, "ReferralPackage.referral")
    lines = [
        _header("I12", request_id, _created(referral), settings),
        _rf1(referral, "P"),
        *_providers(referral, package.sender_title),
        _pid(student, drill=drill),
        *[_nk1(n, guardian) for n, guardian in enumerate(_told_guardians(student), start=1)],
    ]
    facts = Observations(referral.name.removeprefix(REFERRALS), AUTHORITY)
    _facts(facts, package, drill=drill)
    lines += facts.lines
    lines += assessments(package.assessments, facts)
    lines += _notes([drills.TEXT] if drill else [], referral, student)
    if drill:
        lines.append(segment("ZXQ", {1: "DRILL", 2: "演练"}))
    return written(lines, settings.encoding)


def update_message(referral: Referral, request_id: str, settings: Hl7Settings, *, drill: bool = False) -> bytes | None:
    """A change of a referral as REF^I13 or REF^I14; None where it is nothing to tell the hospital."""
    told = tables().told.get(referral.state)
    if told is None:
        resumed = bool(referral.history) and referral.history[-1].event == tables().status["resumed"].event
        if not resumed:
            return None
        trigger, status = "I13", tables().status["resumed"]
    else:
        trigger, status = told.trigger, told.status
    us = referral.history[-1].time_us if referral.history and referral.history[-1].time_us else _created(referral)
    rf1 = EQUIVALENTS[referral.state].rf1 or status.rf1
    notes = [*([drills.TEXT] if drill else []), *([referral.state_reason] if referral.state_reason else [])]
    lines = [
        _header(trigger, request_id, us, settings),
        _rf1(referral, rf1, composite(rf1, tables().rf1_text[rf1], "HL70283", status.word, status.text, LOCAL)),
        *_providers(referral, ""),
        _pid(Student(name=referral.student), drill=drill),
        *[segment("NTE", {1: str(n), 3: escape(note)}) for n, note in enumerate(notes, start=1)],
    ]
    if drill:
        lines.append(segment("ZXQ", {1: "DRILL", 2: "演练"}))
    return written(lines, settings.encoding)


def _created(referral: Referral) -> int:
    if not referral.create_time_us:
        raise RecordRejected("DATA/REQUIRED", "a referral needs the time of its creation", "Referral.create_time_us")
    return referral.create_time_us


def _header(trigger: str, request_id: str, us: int, settings: Hl7Settings) -> str:
    return header(
        ("REF", trigger, "REF_I12"),
        control_id(request_id),
        us,
        sender=settings.here,
        receiver=settings.there,
        processing_id=settings.processing_id,
        charset=declaration(settings.encoding),
    )


def _rf1(referral: Referral, rf1: str, status: str = "") -> str:
    priority = RF1_PRIORITY[referral.urgency]
    emergency = referral.urgency == Urgency.URGENCY_EMERGENCY
    when = stamp(from_us(referral.create_time_us)) if referral.create_time_us else ""
    return segment(
        "RF1",
        {
            1: status or composite(rf1, tables().rf1_text[rf1], "HL70283"),
            2: composite(priority, tables().priority_text[priority], "HL70280"),
            3: composite("PSY", "Psychiatric", "HL70281"),
            5: composite("E", "Emergency", "HL70284") if emergency else composite("O", "Outpatient", "HL70284"),
            6: composite(referral.name.removeprefix(REFERRALS), AUTHORITY),
            7: when,
            9: when,
        },
    )


def _providers(referral: Referral, title: str) -> list[str]:
    return [
        segment(
            "PRD",
            {
                1: composite("RP", "Referring Provider", "HL70286"),
                2: composite(title),
                7: composite(referral.sender, AUTHORITY) if referral.sender else "",
            },
        ),
        segment(
            "PRD",
            {
                1: composite("RT", "Referred to Provider", "HL70286"),
                7: composite(referral.recipient, AUTHORITY) if referral.recipient else "",
            },
        ),
    ]


def _pid(student: Student, *, drill: bool) -> str:
    named = bool(student.family_name or student.given_name)
    family = f"{_MARK}{student.family_name}" if drill else student.family_name
    return segment(
        "PID",
        {
            1: "1",
            3: composite(student.name.removeprefix(STUDENTS), "", "", AUTHORITY, "PI"),
            # PID-5 may not be empty; type U says that the name is not told.
            5: composite(family, student.given_name, "", "", "", "", "L" if named else "U"),
            7: student.birth_date.replace("-", ""),
            8: _SEX.get(student.sex, ""),
            13: _phone(student.phone),
        },
    )


def _phone(number: str) -> str:
    return composite("", "PRN", "PH", *[""] * 8, number) if number else ""


def _told_guardians(student: Student) -> list[Guardian]:
    """A guardian in conflict must never be called: the number does not travel, the warning does (see _notes)."""
    return [g for g in student.guardians if not g.in_conflict and (g.full_name or g.phone)]


def _nk1(number: int, guardian: Guardian) -> str:
    code = tables().relations.get(guardian.relation, "")
    relation = composite(code, guardian.relation, "HL70063") if code else composite("", guardian.relation)
    name = composite(guardian.full_name, "", "", "", "", "", "L") if guardian.full_name else ""
    return segment("NK1", {1: str(number), 2: name, 3: relation, 5: _phone(guardian.phone)})


def _facts(facts: Observations, package: ReferralPackage, *, drill: bool) -> None:
    """What FHIR says in Consent, RiskAssessment and notes: one OBR of our own code, one OBX each."""
    referral, consent, basis = package.referral, package.consent, package.basis
    facts.panel("referral", "转介信息", LOCAL, "")
    if drill:
        facts.text("drill", "演练 DRILL", LOCAL, drills.TEXT)
    name = Tier.Name(referral.tier).removeprefix("TIER_")
    if name in tables().tiers:
        facts.coded("tier", "预警等级", LOCAL, composite(name.lower(), tables().tiers[name], LOCAL))
    for code, title, text in (
        ("crisis-facts", "危机情况", referral.crisis_facts),
        ("location", "所在位置", referral.location),
        ("consent", "知情同意", consent.consent),
        ("consent-signed-by", "同意签署人", consent.signed_by),
        ("basis", "法律依据", " ".join(p for p in (basis.id or referral.basis, basis.citation, basis.version) if p)),
    ):
        if text:
            facts.text(code, title, LOCAL, text)
    for code, title, us in (
        ("consent-given", "同意时间", consent.given_us),
        ("consent-expires", "同意有效期至", consent.expires_us),
    ):
        if us:
            facts.time(code, title, LOCAL, stamp(from_us(us)))


def _notes(first: list[str], referral: Referral, student: Student) -> list[str]:
    notes = [*first]
    if referral.reason:
        notes.append(f"转介原因 Reason: {referral.reason}")
    for guardian in student.guardians:
        if guardian.in_conflict:
            who = guardian.relation or "guardian"
            notes.append(f"不得通知该监护人 This guardian must not be notified: {who}")
    return [segment("NTE", {1: str(n), 3: escape(note)}) for n, note in enumerate(notes, start=1)]
