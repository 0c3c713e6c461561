"""What the centre says, as models: each checked before it is acknowledged, and turned into what the gateway is brought.

In a crisis little is demanded and nothing is thrown away: a code that no table knows is still a crisis, and what does not
fit its field (half a phone number) goes to a person among "anything else that may help to find the student".
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from xinqiao.api.common.v1.types_pb2 import StudentDescription, StudentRef
from xinqiao.api.referral.v1.referral_pb2 import ReferralEvent
from xinqiao.api.screening.v1.screening_pb2 import SignalKind, SignalSource
from xinqiao.api.screening.v1.screening_service_pb2 import ReportSignalRequest
from xinqiao.contract.clock import from_us, to_us
from xinqiao_police.settings import PoliceSettings
from xinqiao_police.wire import Envelope, NotUnderstood, path_text

_FIELDS: Mapping[str, str] = {
    "birth_date": r"(199[0-9]|20[0-9]{2})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])",
    "phone": r"\+?[0-9]{5,15}",
    "national_id": r"[0-9A-Za-z]{1,20}",
}
"""What the gateway can compare, and how it must be written."""

EVENTS: Mapping[str, "ReferralEvent.ValueType"] = {
    "request.received": ReferralEvent.REFERRAL_EVENT_RECEIVE,
    "request.accepted": ReferralEvent.REFERRAL_EVENT_ACCEPT,
    "request.declined": ReferralEvent.REFERRAL_EVENT_DECLINE,
    "request.arrived": ReferralEvent.REFERRAL_EVENT_ATTEND,
    "request.held": ReferralEvent.REFERRAL_EVENT_HOLD,
    "request.resumed": ReferralEvent.REFERRAL_EVENT_RESUME,
    "request.closed": ReferralEvent.REFERRAL_EVENT_REPORT_OUTCOME,
}
_NEEDS_REASON = ("request.declined", "request.held", "request.closed")
BASES: Mapping[str, str] = {
    "GNSS": "卫星定位 satellite", "CELL": "基站定位 cell site", "FIXED_LINE": "固话装机地址 address of the line",
    "REGISTERED": "登记地址 registered address", "CALLER": "来电人自述 the caller's word", "UNKNOWN": "不详 unknown",
}  # fmt: skip
"""On what a location rests (定位依据): how far a rescuer may trust it."""

_WORDS: Mapping[str, str] = {"alert.updated": "续报 update of", "alert.cancelled": "撤回 withdrawn:"}
_FUTURE = timedelta(days=1)
MAX_OTHER: Final = 400
MAX_FACTS: Final = 4000

Word = Annotated[str, Field(max_length=200)]
Identifier = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\s\x00-\x1f]+$")]


class _Message(BaseModel):
    # A centre may send more than we read; what we read must be what it says it is.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Child(_Message):
    """The student, by the gateway's own pseudonym (from a request of ours) or as anybody would describe one."""

    name: Annotated[str, Field(pattern=r"^(students/[a-z2-7]{26})?$")] = ""
    school_code: Annotated[str, Field(max_length=64)] = ""
    school: Word = ""
    district: Annotated[str, Field(pattern=r"^([1-9][0-9]{5})?$")] = ""
    full_name: Annotated[str, Field(max_length=120)] = ""
    birth_date: Word = ""
    national_id: Word = ""
    phone: Word = ""
    class_title: Annotated[str, Field(max_length=120)] = ""
    other: Annotated[str, Field(max_length=MAX_OTHER)] = ""

    def reference(self, schools: Mapping[str, str], more: str = "") -> StudentRef:
        """How the gateway is told who it is. ``more`` is what else may help. Raises NotUnderstood: too long."""
        if self.name:
            return StudentRef(name=self.name)
        code = self.school_code or schools.get(self.school, "")
        found = StudentDescription(school=code, full_name=self.full_name, class_title=self.class_title)
        left = [self.other, more, self.school if not code else "", f"区划 {self.district}" if self.district else ""]
        for field, pattern in _FIELDS.items():
            said = re.sub(r"[\s-]", "", getattr(self, field)) if field != "birth_date" else getattr(self, field).strip()
            if re.fullmatch(pattern, said, re.ASCII):
                setattr(found, field, said)
            elif said:
                left.append(f"{field}: {getattr(self, field)}")
        found.other = "; ".join(word for word in left if word)
        if len(found.other) > MAX_OTHER:
            raise NotUnderstood("DATA/TOO_LONG", "data.student", f"what fits no field: at most {MAX_OTHER} characters")
        return StudentRef(described=found)


class Alert(_Message):
    """A student in danger (警情), or an online-risk notice (``source`` ONLINE_MONITORING)."""

    alert: Identifier
    kind: Annotated[str, Field(max_length=64)] = ""
    source: Literal["POLICE", "ONLINE_MONITORING"] = "POLICE"
    facts: Annotated[str, Field(min_length=1, max_length=3000)]
    occurred: str = ""
    location: Annotated[str, Field(max_length=400)] = ""
    follows: Annotated[str, Field(max_length=200)] = ""
    student: Child = Child()

    @field_validator("facts")
    @classmethod
    def _said(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("blank")
        return value


class Call(Alert):
    """A three-way call handed on: who is on the line, whether the caller agreed, and a token for what is personal."""

    parties: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=40)], ...], Field(max_length=6)] = ()
    consent: Literal["GIVEN", "REFUSED", "NOT_ASKED"] = "NOT_ASKED"
    token: Annotated[str, Field(min_length=1, max_length=4000)]

    @field_validator("parties", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return list(value.values()) if isinstance(value, dict) else value  # type: ignore[unused-ignore]


class Progress(_Message):
    """How far the centre is with a request of ours. ``sequence`` counts its events of one request from 1."""

    request: Annotated[str, Field(pattern=r"^referrals/[A-Za-z0-9_-]{1,64}$")]
    reason: Annotated[str, Field(max_length=2000)] = ""
    sequence: Annotated[int, Field(ge=0, le=10_000)] = 0


Said = Alert | Call | Progress
_MODELS: Mapping[str, type[Said]] = {
    "alert.created": Alert, "alert.updated": Alert, "alert.cancelled": Alert, "call.handoff": Call,
    **dict.fromkeys(EVENTS, Progress),
}  # fmt: skip


def understand(envelope: Envelope, now_us: int) -> Said | None:
    """What is said; None for a ``ping``. Raises NotUnderstood with the field, never its value."""
    moment(envelope.timestamp, "timestamp", now_us)
    if envelope.type == "ping":
        return None
    model = _MODELS.get(envelope.type)
    if model is None:
        raise NotUnderstood("DATA/CODE", "type", f"one of ping, {', '.join(_MODELS)}")
    try:
        said = model.model_validate(envelope.data)
    except ValidationError as e:
        first = e.errors(include_input=False, include_url=False, include_context=False)[0]
        place = path_text(("data", *first["loc"]))
        if first["type"] == "missing":
            raise NotUnderstood("DATA/REQUIRED", place, "must be given") from None
        raise NotUnderstood("DATA/VALUE", place, f"not as agreed ({first['type']})") from None
    if isinstance(said, Alert) and said.occurred:
        moment(said.occurred, "data.occurred", now_us)
    if isinstance(said, Progress) and envelope.type in _NEEDS_REASON and not said.reason.strip():
        raise NotUnderstood("DATA/REQUIRED", "data.reason", "this step must say why, or what came of it")
    return said


def moment(text: str, place: str, now_us: int) -> int:
    """A time with an offset, as microseconds. Raises NotUnderstood: none, without offset, or more than a day ahead."""
    try:
        found = to_us(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise NotUnderstood("DATA/DATE", place, "ISO 8601 with an offset: 2026-10-12T09:00:00+08:00") from None
    if not 0 <= found <= to_us(from_us(now_us) + _FUTURE):
        raise NotUnderstood("DATA/DATE", place, "before 1970 or more than a day ahead; check the clock")
    return found


def signal(
    said: Alert, envelope: Envelope, settings: PoliceSettings, *, location: str = "", more: str = "", extra: str = ""
) -> ReportSignalRequest:
    """The report that the gateway is brought. ``location`` beats the alert's own. Raises NotUnderstood: too long."""
    word = settings.kinds.get(said.kind, said.kind)
    # A code that no table knows is a crisis all the same: a person reads it and decides.
    kind = SignalKind.Value(f"SIGNAL_KIND_{word}") if word in _KINDS else SignalKind.SIGNAL_KIND_OTHER
    unknown = f"类别代码 code {word}" if word and word not in _KINDS else ""
    follows = f"{_WORDS.get(envelope.type, '')} {said.follows or said.alert}" if envelope.type in _WORDS else ""
    lines = [f"[110 {said.alert}] {follows}".strip(), said.facts.strip(), unknown, extra]
    facts = "\n".join(line for line in lines if line)
    if len(facts) > MAX_FACTS:
        raise NotUnderstood("DATA/TOO_LONG", "data.facts", f"with what belongs to it at most {MAX_FACTS} characters")
    return ReportSignalRequest(
        student=said.student.reference(settings.schools, more),
        source=SignalSource.Value(f"SIGNAL_SOURCE_{said.source}"), kind=kind, facts=facts,
        occurred_us=to_us(datetime.fromisoformat(said.occurred)) if said.occurred else 0,
        location=(location or said.location)[:400],
        # By this number the centre is told that a person has taken it.
        reference=said.alert if said.alert.isascii() else "",
    )  # fmt: skip


_KINDS: Final = ("SUICIDAL", "SELF_HARM", "VIOLENCE", "ABUSE", "OTHER", "CONCERN")
