"""What became of the open tickets: the agency's answers in their order, refusals, supplements asked for, days missed."""

import hashlib
from collections.abc import Iterator

from xinqiao.adapters.errors import PartnerRefused, RecordRejected
from xinqiao.api.adapter.v1.adapter_service_pb2 import Origin, ReadResponse, ReferralUpdate, Rejected
from xinqiao.api.referral.v1.referral_pb2 import REFERRAL_EVENT_DECLINE
from xinqiao.contract.clock import Clock
from xinqiao_gov_share import codes
from xinqiao_gov_share.client import PlatformClient
from xinqiao_gov_share.clocks import after_workdays, end_of
from xinqiao_gov_share.content import from_json
from xinqiao_gov_share.register import Register, Ticket
from xinqiao_gov_share.settings import GovShareSettings
from xinqiao_gov_share.tickets import Answer, Record, Refusal, Supplement
from xinqiao_gov_share.wire import WireRefused

_TIMEOUT_S = 10.0
_GAP_S = 24 * 3600.0
_WAITING = ("SUBMITTED", "PROCESSING")
_NAMED_BY = {"referral": "referral", "recall_receipt": "recall", "task_report": "name"}
_FOR = {"referral": ("referral", "referral_update"), "recall_receipt": ("recall",), "task_report": ("task",)}
News = Iterator[tuple[str, ReadResponse]]


class TicketFeed:
    """Asks after each open ticket; the register says what was brought, the gateway's cursor how much of that counts."""

    def __init__(self, settings: GovShareSettings, client: PlatformClient, register: Register, clock: Clock) -> None:
        self._settings = settings
        self._client = client
        self._register = register
        self._clock = clock
        self._asked: dict[str, float] = {}
        self._again: set[str] = set()
        self._gaps: dict[str, float] = {}

    def read(self, cursor: str) -> Iterator[ReadResponse]:
        """As ``Source.read``. Those not asked for longest come first, so one that always fails holds up nobody."""
        self._register.rewind(int(cursor) if cursor.isascii() and cursor.isdigit() else 0)
        tickets = [ticket for ticket in self._register.open() if ticket.contract != "package"]
        for ticket in sorted(tickets, key=lambda each: self._asked.get(each.ticket, 0.0)):
            if not self._is_time(ticket):
                continue
            self._asked[ticket.ticket] = self._clock.monotonic()
            self._again.add(ticket.ticket)
            for item, response in self._news(ticket):
                if self._register.has(ticket.ticket, item):
                    continue
                response.cursor = str(self._register.bring(ticket.ticket, item))
                yield response
            self._again.discard(ticket.ticket)
            yield ReadResponse()

    def _is_time(self, ticket: Ticket) -> bool:
        asked = self._asked.get(ticket.ticket)
        # What was not asked to its end does not wait: the platform failed, or the gateway could not store an item.
        return (
            asked is None
            or ticket.urgent
            or ticket.ticket in self._again
            or self._clock.monotonic() - asked >= self._settings.poll_seconds
        )

    def _news(self, ticket: Ticket) -> News:
        try:
            record = Record.of(self._client.ticket(ticket.ticket, _TIMEOUT_S))
            if (record.ticket, record.request_no) != (ticket.ticket, ticket.request_no):
                raise WireRefused("DATA/SUBJECT_MISMATCH", "another ticket than the one asked for", "data.ticket")
        except WireRefused as e:
            yield f"fault/{e.reason}@{e.place}", _rejected(ticket, e.place, e.reason, f"{e.message}; ask the operator")
            return
        except RecordRejected as e:
            yield f"fault/{e.reason}", _rejected(ticket, "ticket", e.reason, e.message)
            return
        except PartnerRefused as e:
            if not e.reason.startswith("DATA/"):
                raise  # It concerns every ticket: the admin is told once.
            yield f"fault/{e.reason}", _rejected(ticket, "ticket", e.reason, e.message)
            return
        yield from self._answered(ticket, record)
        if record.supplement is not None and record.state == "SUPPLEMENT":
            yield _supplement(ticket, record.supplement)
        if record.refusal is not None:
            yield from _refused(ticket, record.refusal)
        yield from self._late(ticket, record)
        # Only reached when the gateway came back for more: all that was yielded is durable.
        if (record.final or record.refusal) and not self._waits(ticket, record):
            self._register.close(ticket.ticket)

    def _answered(self, ticket: Ticket, record: Record) -> News:
        for answer in record.following(self._register.count(ticket.ticket, "answer")):
            yield f"answer/{answer.number}", _answer(ticket, answer)
        if not self._waits(ticket, record):
            self._gaps.pop(ticket.ticket, None)
            return
        since = self._gaps.setdefault(ticket.ticket, self._clock.monotonic())
        if self._clock.monotonic() - since >= _GAP_S:
            missing = self._register.count(ticket.ticket, "answer") + 1
            message = f"answer {missing} is missing while later ones are there; ask the platform's operator for it"
            yield f"gap/{missing}", _rejected(ticket, f"answers[{missing}]", "GOV_SHARE/OUT_OF_ORDER", message)

    def _waits(self, ticket: Ticket, record: Record) -> bool:
        """Whether an answer stands behind a gap."""
        taken = self._register.count(ticket.ticket, "answer")
        return any(answer.number > taken for answer in record.answers) and not record.following(taken)

    def _late(self, ticket: Ticket, record: Record) -> News:
        now = self._clock.now_us()
        if ticket.urgent and record.state == "SUBMITTED":
            if now > ticket.submitted_us + self._settings.crisis_minutes * 60_000_000:
                message = (
                    f"urgent, and nobody took it up within {self._settings.crisis_minutes} min; telephone the agency"
                )
                yield "overdue/urgent", _rejected(ticket, "state", "GOV_SHARE/OVERDUE", message)
            return
        if record.state not in _WAITING:
            return
        days = self._settings.check_days + (self._settings.answer_days if record.state == "PROCESSING" else 0)
        due = record.due or after_workdays(ticket.submitted_us, days)
        if now >= end_of(due):
            what = "checked" if record.state == "SUBMITTED" else "answered"
            message = (
                f"was to be {what} by {due} ({codes.STATES[record.state]}); remind the agency, or take another road"
            )
            yield f"overdue/{record.state}/{due}", _rejected(ticket, "dueOn", "GOV_SHARE/OVERDUE", message)


def _answer(ticket: Ticket, answer: Answer) -> ReadResponse:
    place = f"answers[{answer.number}]"
    if ticket.contract not in _FOR.get(answer.kind, ()):
        return _rejected(ticket, place, "DATA/KIND", f"not an answer to a {ticket.contract}; it was not taken")
    try:
        found = from_json(answer.kind, answer.content)
    except WireRefused as e:
        return _rejected(ticket, f"{place}.{e.place}", e.reason, f"{e.message}; the agency must answer again")
    if getattr(found, _NAMED_BY[answer.kind]) != ticket.name:
        message = "is about another item than its ticket; the agency must answer under the right one"
        return _rejected(ticket, place, "DATA/SUBJECT_MISMATCH", message)
    if answer.kind != "task_report":
        found.source = f"{ticket.ticket}#{answer.number}"
    origin = Origin(source=ticket.ticket, places=[f"{ticket.contract}, {place}"])
    return ReadResponse(**{answer.kind: found}, origin=origin)


def _supplement(ticket: Ticket, asked: Supplement) -> tuple[str, ReadResponse]:
    wanted = ", ".join(codes.SUPPLEMENTS[item] for item in asked.items)
    until = f" until {asked.until}" if asked.until else ""
    digest = hashlib.sha256(f"{asked.items}{asked.until}".encode()).hexdigest()[:12]
    message = f"more is asked for (需补正){until}: {wanted}; supply it on the platform under this ticket"
    return f"supplement/{digest}", _rejected(ticket, "supplement.items", "GOV_SHARE/SUPPLEMENT", message)


def _refused(ticket: Ticket, refusal: Refusal) -> News:
    if refusal.by_agency and ticket.contract == "referral":
        reason = refusal.words or codes.REFUSALS[refusal.code]
        update = ReferralUpdate(
            referral=ticket.name, event=REFERRAL_EVENT_DECLINE, reason=f"{reason}; {refusal.citation}"[:1000],
            source=f"{ticket.ticket}#refusal",
        )  # fmt: skip
        yield "refusal/decline", ReadResponse(referral=update)
    who = "the agency" if refusal.by_agency else "the platform"
    message = f"{who} refused (不予共享): {codes.REFUSALS[refusal.code]}; {refusal.citation}"
    yield "refusal/told", _rejected(ticket, "refusal", f"GOV_SHARE/REFUSED_{refusal.code}", message)


def _rejected(ticket: Ticket, place: str, reason: str, message: str) -> ReadResponse:
    where = f"{ticket.contract}, {place}"
    return ReadResponse(rejected=Rejected(source=ticket.ticket, place=where, reason=reason, message=message))
