"""Code systems and the LOINC tables of the forms that have them."""

from dataclasses import dataclass

LOINC = "http://loinc.org"
REFERRAL = "urn:xinqiao:referral"
PSEUDONYM = "urn:xinqiao:pseudonym"
PARTNER = "urn:xinqiao:partner"
CONSENT = "urn:xinqiao:consent"
BASIS = "urn:xinqiao:basis"
RECALL = "urn:xinqiao:recall"
TASK = "urn:xinqiao:task"
ASSESSMENT = "urn:xinqiao:assessment"
INSTRUMENT = "urn:xinqiao:instrument"
TIER = "urn:xinqiao:tier"
OUTPUT = "urn:xinqiao:task-output"
FITNESS = "urn:xinqiao:fitness"
WAITLIST = "urn:xinqiao:business-status"
WRITTEN = "urn:xinqiao:written-after"
REASON = "urn:xinqiao:reason"
DRILL = "urn:xinqiao:drill"
CAPACITY = "urn:xinqiao:capacity"
DECLINE_REASON = "urn:xinqiao:decline-reason"
BUSINESS_STATUS = "http://hl7.org/fhir/us/bser/CodeSystem/TaskBusinessStatusCS"
BUSINESS_STATUS_DISPLAY = {
    "2.0": "Service Request Created",
    "3.0": "Service Request Accepted",
    "4.0": "Service Request Declined",
    "5.1.1": "Service Request Event Scheduled",
    "5.1.2": "Scheduled Service Request Event Unattended",
    "5.1.3": "Scheduled Service Request Event Cancelled",
    "5.1.4": "Service Request Event Completed",
    "5.2": "Service Request Cancellation Requested",
    "6.0": "Service Request Fulfillment Cancelled",
    "7.0": "Service Request Fulfillment Completed",
}
NOT_ANSWERED = 255


@dataclass(frozen=True, slots=True)
class Panel:
    """A form in LOINC: its panel, items in item order, and total; ``watched`` is an item reported on its own."""

    panel: str
    items: tuple[str, ...]
    total: str
    total_display: str
    watched: str = ""
    watched_display: str = ""


ANSWERS = (
    ("LA6568-5", "Not at all"),
    ("LA6569-3", "Several days"),
    ("LA6570-1", "More than half the days"),
    ("LA6571-9", "Nearly every day"),
)

PANELS = {
    "PHQ-9": Panel(
        "44249-1",
        ("44250-9", "44255-8", "44259-0", "44254-1", "44251-7", "44258-2", "44252-5", "44253-3", "44260-8"),
        "44261-6",
        "Patient Health Questionnaire 9 item (PHQ-9) total score [Reported]",
        "44260-8",
        "Thoughts that you would be better off dead, or of hurting yourself in some way in last 2 weeks [Reported.PHQ]",
    ),
    "GAD-7": Panel(
        "69737-5",
        ("69725-0", "68509-9", "69733-4", "69734-2", "69735-9", "69689-8", "69736-7"),
        "70274-6",
        "Generalized anxiety disorder 7 item (GAD-7) total score [Reported.PHQ]",
    ),
}


def business_status(code: str, display: str = "") -> dict[str, object]:
    """The CodeableConcept of a BSeR business status."""
    shown = display or BUSINESS_STATUS_DISPLAY[code]
    return {"coding": [{"system": BUSINESS_STATUS, "code": code, "display": shown}]}
