"""The tables of a pack. Each is a list of rows with the same columns: one CSV file, one table of the page."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from xinqiao.api.casefile.v1 import casefile_pb2, consent_pb2, mailbox_pb2, plan_pb2, sharing_pb2, team_pb2
from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.common.v1 import types_pb2
from xinqiao.api.referral.v1 import notice_pb2, referral_pb2, return_pb2
from xinqiao.api.referral.v1.referral_service_pb2 import DrillState
from xinqiao.api.screening.v1 import screening_pb2
from xinqiao.config.settings import Gateway
from xinqiao.contract.clock import local_date
from xinqiao.contract.fields import plan
from xinqiao.disclosure.bases import Basis
from xinqiao.journal.scope import class_names, disclosed, purpose_name
from xinqiao.server.audit.rules import AuditFile
from xinqiao.server.audit.tally import DELETIONS, INCIDENTS, Tally, Year
from xinqiao.store import tables
from xinqiao.store.readonly import JournalReader
from xinqiao.store.sql import func, select

Row = dict[str, object]
OUTSIDE: Final = "(not registered)"

_SEALED: Final[Mapping[str, Any]] = {
    "students": types_pb2.Student, "assessments": screening_pb2.Assessment, "signals": screening_pb2.Signal,
    "triages": screening_pb2.Triage, "referrals": referral_pb2.Referral, "notices": notice_pb2.Notice,
    "returns": return_pb2.Return, "consents": casefile_pb2.Consent, "recalls": consent_pb2.Recall,
    "overrides": consent_pb2.Override, "duties": casefile_pb2.Duty, "plans": plan_pb2.Plan,
    "entries": plan_pb2.Entry, "shares": sharing_pb2.Share, "teams": team_pb2.CareTeam, "tasks": team_pb2.CareTask,
    "mailboxes": mailbox_pb2.Mailbox, "letters": mailbox_pb2.Letter,
}  # fmt: skip
"""What each table of a contract noun seals; the classes are read from the descriptor, so a new field shows by itself."""

_UNTYPED: Final = (tables.deliveries, tables.exchange_items, tables.local_ids, tables.journal)
"""Tables that name students and hold no one kind of record."""


@dataclass(frozen=True, slots=True)
class Section:
    """One table: ``name`` is its file and its key among the texts of the page; ``exact`` where no small count can point
    to a child, for what is counted there are acts of agencies and of the gateway."""

    name: str
    columns: tuple[str, ...]
    rows: list[Row] = field(default_factory=list[Row])
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Sources:
    """What the sections are made of: the counted journal, the same snapshot of the records, the keys, and the law."""

    year: Year
    tally: Tally
    journal: JournalReader
    keys: Mapping[str, int]
    settings: Gateway
    bases: Mapping[str, Basis]
    signer: str
    rules: AuditFile


def sections(sources: Sources) -> list[Section]:
    """All of them, in the order of the page."""
    return [
        make(sources)
        for make in (
            _inventory, _keys, _bases, _cited, _consents, _consent_events, _overrides, _approvers, _incidents,
            _disclosures, _recipients, _denials, _deletions, _agreements, _drills, _policies,
        )
    ]  # fmt: skip


def months(sources: Sources) -> list[Row]:
    """Disclosure rows by month, for the chart."""
    return [
        {"month": f"{sources.year.number}-{month:02d}", "disclosures": sources.rules.shown(sources.tally.months[month])}
        for month in range(1, 13)
    ]


def _inventory(of: Sources) -> Section:
    found = Section("inventory", ("table", "records", "students", "classes"))
    for table in (*(tables.metadata.tables[name] for name in _SEALED), *_UNTYPED):
        student = table.c.id if table.name == "students" else table.c.student
        records, students = next(
            of.journal.ask(select(func.count(), func.count(student.distinct())).select_from(table))
        )
        kind = _SEALED.get(table.name)
        classes = class_names(plan(kind.DESCRIPTOR).mask) if kind is not None else ()
        found.rows.append(
            {"table": table.name, "records": of.rules.shown(records), "students": of.rules.shown(students),
             "classes": " ".join(classes)}
        )  # fmt: skip
    return found


def _keys(of: Sources) -> Section:
    rows: list[Row] = [{"what": what, "count": of.rules.shown(count)} for what, count in of.keys.items()]
    return Section("keys", ("what", "count"), rows)


def _bases(of: Sources) -> Section:
    found = Section("bases", ("basis", "version", "from", "to", "purposes", "recipients", "classes", "approver",
                              "notice_hours", "citation_zh", "citation_en", "signer"), exact=True)  # fmt: skip
    first, last = local_date(of.year.start_us), local_date(of.year.end_us - 1)
    for basis in of.bases.values():
        if basis.start <= last and (basis.end is None or basis.end >= first):
            found.rows.append(
                {"basis": basis.id, "version": basis.version, "from": str(basis.start), "to": str(basis.end or ""),
                 "purposes": " ".join(sorted(map(purpose_name, basis.purposes))),
                 "recipients": " ".join(sorted(map(_role, basis.recipients))),
                 "classes": " ".join(class_names(basis.classes)), "approver": "yes" if basis.needs_approver else "no",
                 "notice_hours": basis.notice_hours, "citation_zh": basis.citation.get("zh", ""),
                 "citation_en": basis.citation.get("en", ""), "signer": of.signer}
            )  # fmt: skip
    return found


def _cited(of: Sources) -> Section:
    rows: list[Row] = [
        {"basis": name, "disclosures": of.rules.shown(count),
         "in_file": "yes" if name in of.bases or name in ("share", "consent-or-policy") else "no"}
        for name, count in sorted(of.tally.bases.items())
    ]  # fmt: skip
    return Section("bases_cited", ("basis", "disclosures", "in_file"), rows)


def _consents(of: Sources) -> Section:
    c, now_us = tables.consents.c, of.year.end_us
    counts = Counter[tuple[str, str, str]]()
    ran_out = (c.not_after_us < now_us) & (c.not_after_us >= of.year.start_us)
    in_year = (c.created_us >= of.year.start_us) & (c.created_us < now_us)
    made = (
        select(c.recipient, c.purpose, c.state, func.count()).where(in_year).group_by(c.recipient, c.purpose, c.state)
    )
    given = c.state == int(casefile_pb2.CONSENT_STATE_GIVEN)
    ended = select(c.recipient, c.purpose, func.count()).where(given & ran_out).group_by(c.recipient, c.purpose)
    for recipient, purpose, state, count in of.journal.ask(made):
        word = casefile_pb2.ConsentState.Name(state).removeprefix("CONSENT_STATE_")
        counts[_kind(of, recipient), purpose_name(purpose), f"{word}_NOW"] += count
    for recipient, purpose, count in of.journal.ask(ended):
        counts[_kind(of, recipient), purpose_name(purpose), "EXPIRED_IN_YEAR"] += count
    return Section("consents", ("recipient_kind", "purpose", "state", "consents"), [
        {"recipient_kind": kind, "purpose": purpose, "state": state, "consents": of.rules.shown(count)}
        for (kind, purpose, state), count in sorted(counts.items())
    ])  # fmt: skip


def _consent_events(of: Sources) -> Section:
    rows: list[Row] = [
        {"event": event, "count": of.rules.shown(of.tally.consents[event])}
        for event in sorted({"GIVEN", "REFUSED", "DISPUTED", "WITHDRAWN", *of.tally.consents})
    ]
    return Section("consent_events", ("event", "count"), rows)


def _overrides(of: Sources) -> Section:
    uses = Counter((use.recipient, use.basis) for use in of.tally.uses)
    return Section("overrides", ("recipient", "basis", "uses"), [
        {"recipient": recipient, "basis": basis, "uses": of.rules.shown(count)}
        for (recipient, basis), count in sorted(uses.items())
    ])  # fmt: skip


def _approvers(of: Sources) -> Section:
    found = Section("approvals", ("decided_by", "decided", "in_24h", "late", "approved", "rejected"), exact=True)
    for person in sorted({use.decided_by for use in of.tally.uses}):
        uses = [use for use in of.tally.uses if use.decided_by == person]
        outcomes = Counter(use.outcome for use in uses)
        in_time = sum(use.in_time for use in uses)
        found.rows.append(
            {"decided_by": person or "(nobody yet)", "decided": len(uses), "in_24h": in_time,
             "late": len(uses) - in_time, "approved": outcomes["APPROVED"], "rejected": outcomes["REJECTED"]}
        )  # fmt: skip
    return found


def _incidents(of: Sources) -> Section:
    rows: list[Row] = [{"what": kind, "count": of.tally.kinds[kind]} for kind in INCIDENTS]
    rows.append({"what": "checkpoint.interrupted", "count": of.tally.interrupted})
    rows.append({"what": "checkpoint.longest_wait_s", "count": of.tally.longest_open_us // 1_000_000})
    return Section("incidents", ("what", "count"), rows, exact=True)


def _disclosures(of: Sources) -> Section:
    return Section("disclosures", ("partner", "partner_kind", "purpose", "class", "basis", "disclosures"), [
        {"partner": partner, "partner_kind": _kind(of, partner), "purpose": purpose, "class": name, "basis": basis,
         "disclosures": of.rules.shown(count)}
        for (partner, purpose, name, basis), count in sorted(of.tally.disclosures.items())
    ])  # fmt: skip


def _recipients(of: Sources) -> Section:
    j = tables.journal.c
    year = disclosed() & (j.at_us >= of.year.start_us) & (j.at_us < of.year.end_us)
    asked = select(j.partner, func.count(), func.count(j.student.distinct())).where(year)
    return Section("recipients", ("partner", "partner_kind", "disclosures", "students"), [
        {"partner": partner, "partner_kind": _kind(of, partner), "disclosures": of.rules.shown(count),
         "students": of.rules.shown(students)}
        for partner, count, students in of.journal.ask(asked.group_by(j.partner).order_by(j.partner))
    ])  # fmt: skip


def _denials(of: Sources) -> Section:
    # A refusal may name whomever its caller wrote down as the recipient; only who is registered is repeated.
    counts = Counter[tuple[str, str, str]]()
    for (partner, purpose, reason), count in of.tally.denials.items():
        counts[partner if not partner or partner in of.settings.partners else OUTSIDE, purpose, reason] += count
    return Section("denials", ("partner", "purpose", "reason", "denials"), [
        {"partner": partner, "purpose": purpose, "reason": reason, "denials": of.rules.shown(count)}
        for (partner, purpose, reason), count in sorted(counts.items())
    ])  # fmt: skip


def _deletions(of: Sources) -> Section:
    rows: list[Row] = [
        {"what": f"retention:{name}", "count": of.rules.shown(count)} for name, count in sorted(of.tally.erased.items())
    ]
    for kind in DELETIONS:
        rows.append({"what": kind, "count": of.rules.shown(of.tally.kinds[kind])})
    e = tables.erasures.c
    year = (e.at_us >= of.year.start_us) & (e.at_us < of.year.end_us)
    for done in (True, False):
        asked = select(func.count()).select_from(tables.erasures).where(year & e.done.is_(done))
        word = "erasure.finished" if done else "erasure.under_way"
        rows.append({"what": word, "count": of.rules.shown(next(of.journal.ask(asked))[0])})
    return Section("deletions", ("what", "count"), rows)


def _agreements(of: Sources) -> Section:
    rows: list[Row] = [
        {"partner": name, "partner_kind": partner.kind,
         "controller": partner.controller_type, "number": partner.agreement.number,
         "from": str(partner.agreement.valid_from), "to": str(partner.agreement.valid_to)}
        for name, partner in of.settings.partners.items()
    ]  # fmt: skip
    return Section("agreements", ("partner", "partner_kind", "controller", "number", "from", "to"), rows, exact=True)


def _drills(of: Sources) -> Section:
    d = tables.drills.c
    year = (d.created_us >= of.year.start_us) & (d.created_us < of.year.end_us)
    asked = select(d.recipient, d.state, d.people, func.count()).where(year).group_by(d.recipient, d.state, d.people)
    return Section("drills", ("recipient", "outcome", "with_people", "drills"), [
        {"recipient": recipient, "outcome": DrillState.Name(state).removeprefix("DRILL_STATE_"),
         "with_people": "yes" if people else "no", "drills": count}
        for recipient, state, people, count in sorted(of.journal.ask(asked))
    ], exact=True)  # fmt: skip


def _policies(of: Sources) -> Section:
    rows: list[Row] = [
        {"policy_version": version or "(none)", "rows": of.rules.shown(count)}
        for version, count in sorted(of.tally.policies.items())
    ]
    return Section("policies", ("policy_version", "rows"), rows)


def _kind(of: Sources, partner: str) -> str:
    found = of.settings.partners.get(partner)
    return str(found.kind) if found is not None else OUTSIDE


def _role(number: int) -> str:
    return options.Role.Name(options.Role.ValueType(number)).removeprefix("ROLE_")
