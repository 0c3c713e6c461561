"""Alerts: reports about somebody who is only described, held on the clock of a crisis until a person says who it is."""

import secrets
from collections.abc import Callable
from typing import Protocol, cast

from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.common.v1 import types_pb2 as types
from xinqiao.api.common.v1.types_pb2 import StudentDescription
from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao.api.screening.v1 import screening_service_pb2 as rpc
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.policy import Relation
from xinqiao.disclosure.records import check_version, newest
from xinqiao.disclosure.registry import Partner
from xinqiao.disclosure.students import Known, Read
from xinqiao.screening.described import Found, find
from xinqiao.screening.handoff import HandOffs
from xinqiao.screening.post import SignalPost
from xinqiao.store import tables
from xinqiao.store.errors import KeyGone, SealBroken
from xinqiao.store.holdings import drop, hold
from xinqiao.store.sql import RowMapping
from xinqiao.store.tx import Tx

_OPEN = int(pb.ALERT_STATE_OPEN)


class Raise(Protocol):
    """Opens a signal about a known student, as `ReportSignal` does; without answering its caller."""

    def __call__(
        self,
        request: rpc.ReportSignalRequest,
        known: Known,
        call: Call,
        reporter: Partner,
        handed_to: str | None = None,
    ) -> rpc.ReportSignalResponse: ...


class Alerts:
    """The alert functions of ``ScreeningService``. An alert is a subject with a key of its own, like a mailbox."""

    def __init__(
        self, door: Door, read: Read, first_deadline: Callable[[int, int, int, int], int], post: SignalPost,
        hand_offs: HandOffs,
    ) -> None:  # fmt: skip
        """``first_deadline`` is of (tier, kind, source, now_us)."""
        self._door = door
        self._read = read
        self._first_deadline = first_deadline
        self._post = post
        self._hand_offs = hand_offs

    def look(self, request: rpc.ReportSignalRequest, caller: Partner) -> Callable[[], Found] | None:
        """What to look for before the transaction, if anything."""
        del caller
        if request.student.WhichOneof("ref") != "described":
            return None
        described = StudentDescription()
        described.CopyFrom(request.student.described)
        return lambda: find(self._read, self._door.keys, described)

    def report(
        self, request: rpc.ReportSignalRequest, call: Call, tier: int, signal: Raise
    ) -> rpc.ReportSignalResponse:
        """Keep the report. Its sender learns that there is an alert, never whether the description fits anybody."""
        found = cast("Found", call.answers or Found())
        identifier = call.student = secrets.token_hex(16)
        school = self._served(request.student.described.school)
        alert = pb.Alert(
            name=f"alerts/{identifier}", state=pb.ALERT_STATE_OPEN, reporter=call.caller.id, source=request.source,
            kind=request.kind, facts=request.facts, opinion=request.opinion, occurred_us=request.occurred_us,
            location=request.location, described=request.student.described, tier=types.Tier.ValueType(tier),
            candidates=found.candidates, create_time_us=call.tx.now_us, reference=request.reference,
        )  # fmt: skip
        self._door.keys.ensure([identifier])
        alert.handed_to = self._hand_offs.send(request, call, identifier, alert.name)
        record = self._seal(identifier, alert)
        call.tx.insert(
            tables.alerts, identifier, school, call.caller.id, tier, _OPEN, call.tx.now_us, call.tx.now_us, 1, record
        )
        if found.certain:
            row = call.tx.get(tables.alerts, identifier)
            assert row is not None
            known = Known(found.certain, school)
            self._identified(
                call.tx, row, alert, signal(request, known, call, call.caller, alert.handed_to).signal.name
            )
        else:
            self._hold(call.tx, alert, school, self._deadline(alert, call.tx.now_us))
        response = rpc.ReportSignalResponse(alert=alert.name, handed_to=alert.handed_to)
        call.view(response, student=identifier, relation="PARTY")
        call.journal("alert.reported", resource=alert.name, student=identifier, payload=record)
        return response

    def list_alerts(self, request: rpc.ListAlertsRequest, call: Call) -> rpc.ListAlertsResponse:
        """Alerts of the caller's schools; an operator's are of every school and of none."""
        operator = options.ROLE_OPERATOR in call.caller.roles
        c = tables.alerts.c
        rows, following = newest(
            call, tables.alerts, request, c.state > 0 if operator else c.school.in_(call.caller.schools)
        )
        response = rpc.ListAlertsResponse(next_page_token=following)
        for row in rows:
            alert = self._shown(call, row)
            self._view(call, alert, row)
            response.alerts.append(alert)
        return response

    def identify_alert(self, request: rpc.IdentifyAlertRequest, call: Call, signal: Raise) -> rpc.IdentifyAlertResponse:
        """Say who it is: a signal like any other from here on."""
        row = self._find(call, request.name, request.etag)
        known = self._door.students.resolve(call.tx, call.caller, request.student)
        alert = self._load(row)
        reporter = self._door.registry.find(alert.reporter)
        raised = signal(
            rpc.ReportSignalRequest(
                source=alert.source, kind=alert.kind, facts=alert.facts, opinion=alert.opinion,
                occurred_us=alert.occurred_us, location=alert.location, reference=alert.reference,
            ), known, call, reporter or call.caller, alert.handed_to,
        )  # fmt: skip
        self._taken(call, alert)
        self._identified(call.tx, row, alert, raised.signal.name)
        call.student = known.id
        response = rpc.IdentifyAlertResponse(alert=alert, signal=raised.signal, triage=raised.triage)
        record = response.SerializeToString()
        call.view(response, student=known.id)
        call.journal(
            "alert.identified", resource=request.name, student=known.id, reason=raised.signal.name, payload=record
        )
        return response

    def pass_alert(self, request: rpc.PassAlertRequest, call: Call) -> rpc.PassAlertResponse:
        """Hand an alert to another school, or close it. Passing on wins no time."""
        row = self._find(call, request.name, request.etag)
        if request.school and not self._served(request.school):
            raise Refusal("NOT_FOUND", "SCHOOL", "no partner serves this school")
        alert, identifier = self._load(row), str(row["id"])
        call.student = identifier
        if not request.school:
            self._taken(call, alert)
            self._close(call.tx, row, alert, pb.ALERT_STATE_CLOSED)
        else:
            held = call.tx.get(tables.holdings, request.name)
            drop(call.tx, request.name)
            call.tx.update(
                tables.alerts, (identifier,), school=request.school, updated_us=call.tx.now_us,
                version=int(row["version"]) + 1,
            )  # fmt: skip
            left_us = int(held["deadline_us"]) if held is not None else 0
            fresh_us = self._deadline(alert, call.tx.now_us)
            self._hold(call.tx, alert, request.school, min(left_us, fresh_us) if left_us > call.tx.now_us else fresh_us)
        changed = call.tx.get(tables.alerts, identifier)
        assert changed is not None
        response = rpc.PassAlertResponse(alert=self._shown(call, changed))
        self._view(call, response, changed)
        word = f"{request.school}:{request.reason}" if request.school else request.reason
        kind = "alert.passed" if request.school else "alert.closed"
        call.journal(kind, resource=request.name, student=identifier, reason=word)
        return response

    def _taken(self, call: Call, alert: pb.Alert) -> None:
        """Its reporter learns that a person has seen to it, and nothing of whom it was about."""
        reporter = self._door.registry.find(alert.reporter)
        agency, identifier = reporter.agency if reporter is not None else "", alert.name.removeprefix("alerts/")
        self._post.taken(call.tx, agency, alert.reference, identifier, alert.name, call.caller.id)

    # -- stored -------------------------------------------------------------------------------------------------------

    def _served(self, school: str) -> str:
        """The school, if somebody serves it: what belongs to no school is the operator's."""
        return school if school and any(school in partner.schools for partner in self._door.registry.all()) else ""

    def _find(self, call: Call, name: str, etag: str) -> RowMapping:
        """An open alert of the caller. Raises Refusal NOT_FOUND/ALERT, ABORTED/VERSION, FAILED_PRECONDITION/STATE."""
        row = call.tx.get(tables.alerts, name.removeprefix("alerts/"))
        operator = options.ROLE_OPERATOR in call.caller.roles
        if row is None or not (row["school"] in call.caller.schools or (operator and not row["school"])):
            raise Refusal("NOT_FOUND", "ALERT", "no such alert for this caller")
        check_version(row, etag)
        if row["state"] != _OPEN:
            raise Refusal("FAILED_PRECONDITION", "STATE", "the alert is not open any more")
        return row

    def _identified(self, tx: Tx, row: RowMapping, alert: pb.Alert, signal: str) -> None:
        """What was said lies in the signal from here on, under the student's own key."""
        alert.signal = signal
        self._close(tx, row, alert, pb.ALERT_STATE_IDENTIFIED)

    def _close(self, tx: Tx, row: RowMapping, alert: pb.Alert, state: "pb.AlertState.ValueType") -> None:
        identifier, version = str(row["id"]), int(row["version"]) + 1
        alert.state, alert.etag = state, str(version)
        kept = pb.Alert(source=alert.source, kind=alert.kind, reporter=alert.reporter, signal=alert.signal)
        if state == pb.ALERT_STATE_CLOSED:  # somebody may yet have to answer for it
            kept.CopyFrom(alert)
        tx.update(
            tables.alerts, (identifier,), state=int(state), updated_us=tx.now_us, version=version,
            sealed=self._seal(identifier, kept),
        )  # fmt: skip
        drop(tx, f"alerts/{identifier}")

    def _hold(self, tx: Tx, alert: pb.Alert, school: str, deadline_us: int) -> None:
        hold(
            tx, alert.name, kind="alert", school=school, student=alert.name.removeprefix("alerts/"), step="identify",
            holder=self._door.registry.holder(school), deadline_us=deadline_us, tier=int(alert.tier),
        )  # fmt: skip

    def _deadline(self, alert: pb.Alert, now_us: int) -> int:
        return self._first_deadline(int(alert.tier), int(alert.kind), int(alert.source), now_us)

    def _seal(self, identifier: str, alert: pb.Alert) -> bytes:
        kept = pb.Alert()
        kept.CopyFrom(alert)
        kept.name = kept.etag = ""
        return self._door.keys.sealer(identifier).seal(kept.SerializeToString(), table="alerts", key=identifier)

    def _load(self, row: RowMapping) -> pb.Alert:
        identifier = str(row["id"])
        try:
            sealer = self._door.keys.sealer(identifier)
            alert = sealer.record(pb.Alert, bytes(row["sealed"]), table="alerts", key=identifier)
        except (KeyGone, SealBroken):  # it still has its holder, and says from whom it came: ask there
            alert = pb.Alert(reporter=row["reporter"])
        alert.name, alert.etag, alert.state = f"alerts/{row['id']}", str(row["version"]), row["state"]
        alert.create_time_us, alert.tier = int(row["created_us"]), types.Tier.ValueType(int(row["tier"]))
        return alert

    def _shown(self, call: Call, row: RowMapping) -> pb.Alert:
        """The alert with its candidates under the caller's names; they are students of the school, and only for it."""
        alert = self._load(row)
        found = list(alert.candidates) if row["school"] in call.caller.schools else []
        del alert.candidates[:]
        alert.candidates.extend(self._door.students.names(call.caller.agency, found) if found else [])
        return alert

    def _view(self, call: Call, message: pb.Alert | rpc.PassAlertResponse, row: RowMapping) -> None:
        own = row["school"] in call.caller.schools
        relation: Relation = "OWN" if own else "NONE"
        purpose = None if own else int(options.PURPOSE_OPERATION)
        call.view(message, student=str(row["id"]), relation=relation, purpose=purpose)
