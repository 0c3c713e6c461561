"""What a FHIR R4 Consent says: a permit, a deny, or nothing that may be acted on. In doubt, a deny."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

from xinqiao.contract.clock import BEIJING
from xinqiao_hospital.wire import Json, as_list, as_object, as_text

Decision = Literal["permit", "permit-emergency", "deny", "none"]
_ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_POLICIES: dict[str, Decision] = {
    "OPTIN": "permit",
    "OPTINR": "permit",
    "OPTOUT": "deny",
    "OPTOUTE": "deny",
    "NOPP": "none",
    "EMRGONLY": "permit-emergency",
}
_EMERGENCY = frozenset({"ETREAT", "BTG"})
# What narrows a rule to some records, people, acts or purposes; a period only says when it holds.
_NARROWS = ("actor", "action", "class", "code", "data", "dataPeriod", "purpose", "securityLabel")


class ConsentRefused(Exception):
    """A date in the Consent cannot be read. ``place`` is its path."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place = place


@dataclass(frozen=True, slots=True)
class Understood:
    """A Consent as it may be acted on; ``why`` says what made it so, ``denied`` what its exceptions deny."""

    decision: Decision
    why: str
    denied: tuple[str, ...] = ()

    @property
    def overrides(self) -> bool:
        """Whether it stands against any permit: exceptions cannot be kept apart once a record has left."""
        return self.decision == "deny" or bool(self.denied)


def understand(consent: Json, now: datetime) -> Understood:
    """Read a Consent that ``r4.faults`` found nothing wrong with. Raises ConsentRefused."""
    _moment(consent.get("dateTime"), "dateTime", end=False)
    provision = as_object(consent.get("provision"))
    period = as_object(provision.get("period"))
    start = _moment(period.get("start"), "provision.period.start", end=False)
    end = _moment(period.get("end"), "provision.period.end", end=True)
    status = as_text(consent.get("status"))
    if status != "active":
        return Understood("none", f"its status is {status}")
    if (end is not None and now > end) or (start is not None and now < start):
        return Understood("none", "it is expired" if end is not None and now > end else "it is not yet in force")
    base = _base(consent, provision)
    if base is None:
        return Understood("none", "it has no provision and no policy that says permit or deny")
    nested = [as_object(rule) for rule in as_list(provision.get("provision"))]
    narrowed = tuple(key for key in _NARROWS if key in provision)
    if base == "deny":
        return Understood("deny", "its policy is opt-out", narrowed)
    denied = [key for rule in nested if rule.get("type") == "deny" for key in _NARROWS if key in rule] or (
        ["all"] if any(rule.get("type") == "deny" for rule in nested) else []
    )
    # The root provision of an opt-in, when it has no type of its own, lists what is kept out of it.
    if narrowed and "type" not in provision and not _only_emergency(provision):
        denied += narrowed
    if denied:
        return Understood("permit", "opt-in with exceptions", tuple(dict.fromkeys(denied)))
    if base == "permit-emergency" or _only_emergency(provision) or any(_only_emergency(rule) for rule in nested):
        return Understood("permit-emergency", "for an emergency only")
    if any(rule.get("type") == "permit" and any(key in rule for key in _NARROWS) for rule in nested):
        return Understood("permit", "for what its provisions name only", ("all else",))
    return Understood("permit", "its policy is opt-in")


def _base(consent: Json, provision: Json) -> Decision | None:
    codings = [as_object(coding) for coding in as_list(as_object(consent.get("policyRule")).get("coding"))]
    policies = {
        _POLICIES[code]
        for c in codings
        if c.get("system") == _ACT_CODE and (code := as_text(c.get("code"))) in _POLICIES
    }
    said = as_text(provision.get("type"))
    if "deny" in policies or said == "deny":
        return "deny"
    if "permit" in policies or said == "permit":
        return "permit"
    return "permit-emergency" if "permit-emergency" in policies else None


def _only_emergency(rule: Json) -> bool:
    purposes = [as_text(as_object(purpose).get("code")) for purpose in as_list(rule.get("purpose"))]
    return bool(purposes) and set(purposes) <= _EMERGENCY


def _moment(value: object, place: str, *, end: bool) -> datetime | None:
    """The first or last moment of a FHIR dateTime of any precision; days are those of Beijing."""
    if value is None:
        return None
    text = as_text(value)
    try:
        if "T" in text:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                raise ConsentRefused(place)
            return moment
        year, month, day_ = (int(part) if part else 0 for part in (text.split("-") + ["", ""])[:3])
        first = date(year, month or 1, day_ or 1)
        if not end:
            return datetime.combine(first, time.min, BEIJING)
        if day_:
            after = first + timedelta(days=1)
        else:
            after = date(year + (month in (0, 12)), month % 12 + 1 if month else 1, 1)
        return datetime.combine(after, time.min, BEIJING).astimezone(UTC) - timedelta(microseconds=1)
    except (ValueError, OverflowError):
        raise ConsentRefused(place) from None
