"""Reads one partner file outside of any agency, as the adapter would: for ``xinqiao adapters read``, nothing is stored."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from xinqiao.adapters.protocols import Accepted, FileItem, Refused
from xinqiao.api.referral.v1.referral_pb2 import ReferralEvent
from xinqiao.contract.clock import SystemClock, from_us
from xinqiao_hospital.answers import count, form_of, score_of
from xinqiao_hospital.consent import ConsentRefused, understand
from xinqiao_hospital.hl7.files import Hl7Reader
from xinqiao_hospital.r4 import Fault, faults, references, without_narrative
from xinqiao_hospital.settings import HospitalSettings
from xinqiao_hospital.states import TaskRefused, check_task, referral_name, update_of
from xinqiao_hospital.wire import Json, JsonRefused, as_list, as_object, as_text, is_object, parse

MAX_FILE: Final = 16 * 2**20
_HL7 = (b"MSH", b"FHS", b"BHS", b"\x0b")
_BOM = b"\xef\xbb\xbf"
_KINDS: Mapping[str, str] = {"Patient": "student", "RiskAssessment": "risk", "OperationOutcome": "answer to a request"}
"""Resources understood as a whole, beside those with a function of their own."""


class ReadingSettings(HospitalSettings):
    """The adapter's settings where there is no deployment: the address does not matter for reading a file."""

    base_url: str = "http://127.0.0.1"


class HospitalReader:
    """FHIR R4 in JSON, and HL7 v2; what a file is, its first bytes say, not its name."""

    @property
    def settings(self) -> type[BaseModel]:
        """What it reads by."""
        return ReadingSettings

    def read_file(self, path: Path, settings: Any) -> Iterator[FileItem]:
        """One item a resource or message. Raises OSError."""
        with path.open("rb") as file:
            start = file.read(64).removeprefix(_BOM).lstrip()
            if start.startswith(_HL7):
                yield from Hl7Reader().read_file(path, settings)
                return
            file.seek(0)
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            yield Refused("DATA/TOO_LARGE", "", f"longer than {MAX_FILE} bytes; send attachments by reference")
        elif (wrong := _no_json(data, start)) is not None:
            yield wrong
        else:
            yield from read_json(data)


def read_json(data: bytes, now: datetime | None = None) -> Iterator[FileItem]:
    """What a FHIR JSON text is understood as: a resource, or a Bundle entry by entry."""
    try:
        found: object = parse(data).clean()
    except JsonRefused as e:
        yield Refused(e.reason, e.place, e.message)
        return
    if not is_object(found):
        yield Refused("DATA/PROFILE", "$", "not a FHIR resource: it must be a JSON object")
        return
    at = now or from_us(SystemClock().now_us())
    if found.get("resourceType") == "Bundle":
        yield from _bundle(found, at)
    else:
        wrong = faults(found)
        yield from map(_refused, wrong)
        if not wrong:
            yield _understood(found, "", frozenset(), at)


def _no_json(data: bytes, start: bytes) -> Refused | None:
    if not data.strip():
        return Refused("DATA/EMPTY", "", "the file is empty")
    if start.startswith((b"{", b"[")):
        if data.startswith(_BOM):
            return Refused("DATA/ENCODING", "byte 0", "JSON has no byte order mark; save it as UTF-8 without")
        return None
    if start.startswith(b"<"):
        what = "an HTML page" if b"<html" in data[:1024].lower() else "XML"
        return Refused("DATA/FILE_TYPE", "", f"it is {what}; FHIR is read as JSON (application/fhir+json)")
    if start.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"%PDF")):
        return Refused("DATA/FILE_TYPE", "", "it is a workbook, archive or document, not FHIR JSON nor HL7 v2")
    if b"InstanceOf:" in data[:4096] or b"CodeSystem:" in data[:4096]:
        return Refused(
            "DATA/FILE_TYPE", "", "it is FHIR Shorthand, the source of a resource; compile it to JSON (SUSHI)"
        )
    return Refused("DATA/FILE_TYPE", "", "neither FHIR JSON nor HL7 v2")


def _bundle(bundle: Json, now: datetime) -> Iterator[FileItem]:
    wrong = faults(bundle)
    entries = [as_object(entry) for entry in as_list(bundle.get("entry"))]
    whole = as_text(bundle.get("type")) in ("transaction", "message", "document")
    beside = frozenset(as_text(entry.get("fullUrl")) for entry in entries) - {""}
    yield from map(_refused, wrong)
    if any(not fault.place.startswith("entry[") or fault.code == "too-long" for fault in wrong):
        return
    faulty = {fault.place.partition("]")[0] + "]" for fault in wrong}
    items = [
        _entry(entry, f"entry[{index}]", beside, now)
        for index, entry in enumerate(entries)
        if f"entry[{index}]" not in faulty
    ]
    bad = bool(wrong) or any(isinstance(item, Refused) and item.reason != "DATA/NOT_TAKEN" for item in items)
    if not entries:
        yield Refused("DATA/EMPTY", "entry", "the Bundle holds no entry")
    for item in items:
        if whole and bad and isinstance(item, Accepted):
            yield Refused(
                "DATA/BUNDLE", item.place, "an entry beside it is refused: all of the Bundle is taken or none"
            )
        else:
            yield item


def _entry(entry: Json, place: str, beside: frozenset[str], now: datetime) -> FileItem:
    resource = entry.get("resource")
    if is_object(resource):
        return _understood(resource, f"{place}.resource", beside, now)
    method = as_text(as_object(entry.get("request")).get("method"))
    what = f"a {method} without a resource" if method.isalpha() and len(method) < 8 else "an entry without a resource"
    return Refused("DATA/NOT_TAKEN", place, f"{what} asks the gateway for something it does not offer")


def _understood(resource: Json, place: str, beside: frozenset[str], now: datetime) -> FileItem:
    foreign = [path for path, reference in references(resource) if _leads_out(reference, beside)]
    if foreign:
        why = "the reference leads out of the file; it is never fetched: name the resource, or contain it"
        return Refused("DATA/REFERENCE", f"{place}.{foreign[0]}" if place else foreign[0], why)
    try:
        kind, note = _kind(resource, now)
    except TaskRefused as e:
        return Refused(e.reason, f"{place}.{e.place}" if place else e.place, e.message)
    except ConsentRefused as e:
        return Refused("DATA/DATE", f"{place}.{e.place}" if place else e.place, "not a date or time of FHIR R4")
    if not kind:
        why = f"a valid {resource['resourceType']} of FHIR R4, of which a referral has no use"
        return Refused("DATA/NOT_TAKEN", place or "resourceType", why)
    _, active = without_narrative(resource)
    if active:
        dropped = f"{active} narrative with active content, dropped unread"
        return Accepted(kind, place, "DATA/NARRATIVE", f"{note}; {dropped}" if note else dropped)
    return Accepted(kind, place, "", note)


def _kind(resource: Json, now: datetime) -> tuple[str, str]:
    """What a sound resource is understood as, with a remark; empty where there is no use for it."""
    name = as_text(resource.get("resourceType"))
    if name == "ServiceRequest":
        return "referral order", ""
    if name == "Task":
        check_task(resource)
        referral_name(resource)
        update = update_of(resource)
        word = ReferralEvent.Name(update.event).removeprefix("REFERRAL_EVENT_") if update else "nothing new"
        return f"status update: {word}", ""
    if name == "QuestionnaireResponse":
        form = form_of(resource)
        return "answers", f"{form.instrument}: {form.summary}" if form else f"{count(resource)} answers of another form"
    if name == "Observation":
        score = score_of(resource)
        return (f"score: {score}" if score else ""), ""
    if name == "Consent":
        said = understand(resource, now)
        denied = f"; kept out: {', '.join(said.denied)}" if said.denied else ""
        word = "deny" if said.overrides else said.decision
        return f"consent: {word}", f"{said.why}{denied}"
    return _KINDS.get(name, ""), ""


def _leads_out(reference: str, beside: frozenset[str]) -> bool:
    scheme, colon, _ = reference.partition(":")
    if not colon or "/" in scheme or scheme.startswith("#"):
        return False
    return reference.partition("/_history/")[0] not in beside and scheme != "urn"


def _refused(fault: Fault) -> Refused:
    return Refused(fault.reason, fault.place, fault.message)
