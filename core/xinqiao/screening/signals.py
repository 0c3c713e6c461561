"""Signals: what people noticed, each report kept, each with its holder, one triage and one clock for the case."""

from collections.abc import Mapping, Sequence

from xinqiao.api.casefile.v1.casefile_pb2 import DUTY_STATE_OPEN
from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.common.v1 import types_pb2 as types
from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao.api.screening.v1 import screening_service_pb2 as rpc
from xinqiao.config.clocks import Deadline
from xinqiao.contract.errors import Refusal, Violation
from xinqiao.disclosure.call import Call, asks_partners
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.duties import open_duty
from xinqiao.disclosure.records import newest, own_row
from xinqiao.disclosure.registry import Partner, Reader
from xinqiao.disclosure.students import Known, Read
from xinqiao.screening.alerts import Alerts
from xinqiao.screening.handoff import HandOffs
from xinqiao.screening.post import SignalPost
from xinqiao.screening.reported import get_signal_state
from xinqiao.screening.trust import SignalPolicy
from xinqiao.store import tables
from xinqiao.store.holdings import hold
from xinqiao.store.ids import new_id
from xinqiao.store.sql import RowMapping, bindparam
from xinqiao.store.tx import ReadTx, Tx

_S = tables.signals.c
_EARLIER = (
    tables.signals.select()
    .where(
        (_S.student == bindparam("student")) & (_S.kind == bindparam("kind")) & (_S.created_us >= bindparam("since"))
    )
    .order_by(_S.created_us, _S.id)
)
_DAY_US = 86_400_000_000
_DUTY_OPEN = int(DUTY_STATE_OPEN)
_CHUNK = 900  # values in one IN (...)


class Signals:
    """The signal functions of ``ScreeningService``."""

    def __init__(self, door: Door, policy: SignalPolicy, deadline: Deadline, read: Read, reads: Reader) -> None:
        self._door = door
        self.policy = policy
        self._deadline = deadline
        self._post = SignalPost(door, reads)
        self._hand_offs = HandOffs(door, reads, lambda: self.policy)
        self._alerts = Alerts(door, read, self._first_deadline, self._post, self._hand_offs)
        self.look = self._alerts.look
        self.list_alerts = self._alerts.list_alerts
        self.pass_alert = self._alerts.pass_alert

    @asks_partners("look")
    def report_signal(self, request: rpc.ReportSignalRequest, call: Call) -> rpc.ReportSignalResponse:
        """Keep a report, give it to its holder, and let a person decide about the case it belongs to."""
        owner = self.policy.owner(int(request.source))
        if owner is not None and owner not in call.caller.roles:
            raise Refusal("PERMISSION_DENIED", "PARTNER_MISMATCH", "source names an agency that is not the caller's")
        _check_occurred(request.occurred_us, call.tx.now_us)
        self._hand_offs.check(request, call.caller)
        if request.student.WhichOneof("ref") == "described":
            tier = self.policy.tier(int(request.kind), {int(request.source)})
            return self._alerts.report(request, call, tier, self._raise)
        known = self._door.students.resolve(call.tx, call.caller, request.student)
        call.student = known.id
        response = self._raise(request, known, call, call.caller)
        record, signal = response.SerializeToString(), response.signal
        reason, own = signal.duplicate_of, known.school in call.caller.schools
        if not own:
            _hide_the_others(response)
        call.view(response, student=known.id, relation="OWN" if own else "PARTY")
        call.journal("signal.reported", resource=signal.name, student=known.id, reason=reason, payload=record)
        return response

    def identify_alert(self, request: rpc.IdentifyAlertRequest, call: Call) -> rpc.IdentifyAlertResponse:
        """Say which student an alert is about."""
        return self._alerts.identify_alert(request, call, self._raise)

    def _raise(
        self,
        request: rpc.ReportSignalRequest,
        known: Known,
        call: Call,
        reporter: Partner,
        handed_to: str | None = None,
    ) -> rpc.ReportSignalResponse:
        """Store a report and all that follows from it; ``reporter`` is who noticed. ``handed_to`` are the police that
        were asked to join the call already, when it was an alert."""
        kind, source = int(request.kind), int(request.source)
        earlier = self._earlier(call.tx, known.id, kind)
        tier = self.policy.tier(kind, {source, *(int(row["source"]) for row in earlier)})
        signal = pb.Signal(
            source=request.source, kind=request.kind, facts=request.facts, opinion=request.opinion,
            occurred_us=request.occurred_us, location=request.location, trust=self.policy.trust(source).id,
            tier=types.Tier.ValueType(tier), duplicate_of=f"signals/{earlier[0]['id']}" if earlier else "",
            name=f"signals/{new_id(call.tx.now_us)}", state=pb.SIGNAL_STATE_OPEN, reporter=reporter.agency,
            reference=request.reference,
        )  # fmt: skip
        if handed_to is None:
            handed_to = self._hand_offs.send(request, call, known.id, signal.name)
        signal.handed_to = handed_to
        pending = [row for row in earlier if row["state"] != pb.SIGNAL_STATE_RESOLVED]
        triage = self._triage(call.tx, known, signal, pending, len(earlier) + 1)
        signal.triage = triage.name
        self._insert(call.tx, known, signal, pending)
        signal.related.extend(f"signals/{row['id']}" for row in earlier)
        signal.student = triage.student = self._door.students.name(call.caller.agency, known.id)
        duties = self._duties(call, known, signal, reporter.roles)
        duties += filter(None, [self._hand_offs.owe(call, known, signal)])
        return rpc.ReportSignalResponse(signal=signal, triage=triage, duties=duties, handed_to=signal.handed_to)

    def get_signal_state(self, request: rpc.GetSignalStateRequest, call: Call) -> rpc.GetSignalStateResponse:
        """How far a report of the caller's has come."""
        return get_signal_state(request, call, self._door)

    def acknowledge_signal(self, request: rpc.AcknowledgeSignalRequest, call: Call) -> rpc.AcknowledgeSignalResponse:
        """Make the caller the holder; the tier is still to be confirmed."""
        identifier = request.name.removeprefix("signals/")
        row = own_row(call, tables.signals, identifier, "SIGNAL", request.etag)
        if row["state"] != pb.SIGNAL_STATE_OPEN:
            raise Refusal("FAILED_PRECONDITION", "STATE", "the signal is taken already")
        student, version, tier = str(row["student"]), int(row["version"]) + 1, int(row["tier"])
        # A broken one needs its person all the more.
        signal = self._door.keys.readable(pb.Signal, row, table="signals") or pb.Signal()
        signal.source = pb.SignalSource.ValueType(int(row["source"]))
        signal.kind = pb.SignalKind.ValueType(int(row["kind"]))
        signal.state = pb.SIGNAL_STATE_ACKNOWLEDGED
        record = signal.SerializeToString()
        call.tx.update(
            tables.signals, (identifier,), state=int(signal.state), updated_us=call.tx.now_us, version=version,
            sealed=self._door.keys.sealer(student).seal(record, table="signals", key=identifier),
        )  # fmt: skip
        hold(
            call.tx, request.name, kind="signal", school=str(row["school"]), holder=call.caller.id,
            deadline_us=self._deadline(tier, "confirm", call.tx.now_us), step="resolve", tier=tier, student=student,
        )  # fmt: skip
        self._post.taken(call.tx, signal.reporter, signal.reference, student, request.name, call.caller.id)
        self._name(call, signal, row, version)
        signal.related.extend(self._related(call.tx, [row])[identifier])
        response = rpc.AcknowledgeSignalResponse(signal=signal)
        call.student = student
        call.view(response, student=student)
        call.journal("signal.acknowledged", resource=request.name, student=student, payload=record)
        return response

    def list_signals(self, request: rpc.ListSignalsRequest, call: Call) -> rpc.ListSignalsResponse:
        """The signals of the caller's schools, newest first; an operator's are of every school and tell nothing clinical."""
        operator = options.ROLE_OPERATOR in call.caller.roles
        c = tables.signals.c
        wanted = c.state > 0 if operator else c.school.in_(call.caller.schools)
        rows, following = newest(call, tables.signals, request, wanted)
        related = self._related(call.reading, rows)
        signals: list[pb.Signal] = []
        for row in rows:
            signal = self._door.keys.readable(pb.Signal, row, table="signals") or pb.Signal()
            signal.state = row["state"]
            self._name(call, signal, row, int(row["version"]))
            signal.related.extend(related[str(row["id"])])
            if operator:
                signal.reporter = signal.reference = ""  # who noticed says what kind of sign it is
                call.view(signal, student=str(row["student"]), relation="NONE", purpose=options.PURPOSE_OPERATION)
            else:
                call.view(signal, student=str(row["student"]))
            signals.append(signal)
        return rpc.ListSignalsResponse(signals=signals, next_page_token=following)

    # -- one case out of several reports ------------------------------------------------------------------------------

    def _earlier(self, tx: ReadTx, student: str, kind: int) -> list[RowMapping]:
        """Reports of the same student and kind within the window, the earliest first."""
        since = tx.now_us - self.policy.window_us(kind)
        return list(tx.find(_EARLIER, student=student, kind=str(kind), since=since))

    def _triage(
        self, tx: Tx, known: Known, signal: pb.Signal, pending: Sequence[RowMapping], sources: int
    ) -> pb.Triage:
        """The triage that decides about this report: that of the reports nobody has decided about, or a new one."""
        row = self._open_triage(tx, known.id, pending)
        if row is None:
            return self._new_triage(tx, known, signal)
        identifier, version = str(row["id"]), int(row["version"]) + 1
        sealer = self._door.keys.sealer(known.id)
        triage = self._door.keys.record(pb.Triage, row, table="triages")
        if not triage.signals:
            triage.signals.append(f"signals/{pending[0]['id']}")
        triage.signals.append(signal.name)
        if signal.tier > row["proposed"]:  # upwards only: whoever reports later cannot calm down who reported first
            self._propose(triage, signal)
        triage.inputs["signal.reports"] = sources
        tx.update(
            tables.triages, (identifier,), proposed=int(triage.proposed), updated_us=tx.now_us, version=version,
            sealed=sealer.seal(triage.SerializeToString(), table="triages", key=identifier),
        )  # fmt: skip
        self._hold_triage(tx, known, f"triages/{identifier}", int(triage.proposed))
        triage.name, triage.etag = f"triages/{identifier}", str(version)
        return triage

    def _open_triage(self, tx: ReadTx, student: str, pending: Sequence[RowMapping]) -> RowMapping | None:
        if not pending:
            return None
        t = tables.triages.c
        found = tx.all(
            tables.triages.select()
            .where((t.student == student) & (t.state == pb.TRIAGE_STATE_PROPOSED))
            .order_by(t.created_us, t.id)
        )
        # A broken one cannot take another report in; it stays held by itself.
        found = [row for row in found if self._door.keys.readable(pb.Triage, row, table="triages") is not None]
        for waiting in pending:
            record = self._door.keys.readable(pb.Signal, waiting, table="signals") or pb.Signal()
            subjects = {f"signals/{waiting['id']}", record.assessment} - {""}
            for row in found:
                if f"triages/{row['id']}" == record.triage or str(row["subject"]) in subjects:
                    return row
        return None

    def _new_triage(self, tx: Tx, known: Known, signal: pb.Signal) -> pb.Triage:
        identifier = new_id(tx.now_us)
        triage = pb.Triage(subject=signal.name, state=pb.TRIAGE_STATE_PROPOSED, signals=[signal.name])
        self._propose(triage, signal)
        tx.insert(
            tables.triages, identifier, known.id, known.school, triage.subject, int(triage.proposed), 0,
            int(triage.state), tx.now_us, tx.now_us, 1,
            self._door.keys.sealer(known.id).seal(triage.SerializeToString(), table="triages", key=identifier),
        )  # fmt: skip
        triage.name, triage.etag = f"triages/{identifier}", "1"
        self._hold_triage(tx, known, triage.name, int(triage.proposed))
        return triage

    def _propose(self, triage: pb.Triage, signal: pb.Signal) -> None:
        trust, reason = self.policy.trust(int(signal.source)), self.policy.reason(int(signal.kind))
        triage.proposed, triage.rule = signal.tier, "core/reported-signal"
        triage.reason_zh, triage.reason_en = f"{reason.zh}（{trust.wording_zh}）", f"{reason.en} ({trust.wording_en})"
        triage.inputs["signal.trust"] = trust.weight

    def _hold_triage(self, tx: Tx, known: Known, name: str, tier: int) -> None:
        hold(
            tx, name, kind="triage", school=known.school, holder=self._door.registry.holder(known.school),
            deadline_us=self._deadline(tier, "confirm", tx.now_us), step="confirm", tier=tier, student=known.id,
        )  # fmt: skip

    def _insert(self, tx: Tx, known: Known, signal: pb.Signal, pending: Sequence[RowMapping]) -> None:
        """Store a report and start its clock: the case has one, so the earliest deadline of its reports holds for all."""
        identifier, tier = signal.name.removeprefix("signals/"), int(signal.tier)
        stored = pb.Signal()
        stored.CopyFrom(signal)
        stored.name = ""
        tx.insert(
            tables.signals, identifier, known.id, known.school, str(int(signal.kind)), tier, int(signal.state),
            str(int(signal.source)), tx.now_us, tx.now_us, 1,
            self._door.keys.sealer(known.id).seal(stored.SerializeToString(), table="signals", key=identifier),
        )  # fmt: skip
        signal.etag, signal.create_time_us = "1", tx.now_us
        held = [row for each in pending if (row := tx.get(tables.holdings, f"signals/{each['id']}")) is not None]
        first = self._first_deadline(tier, int(signal.kind), int(signal.source), tx.now_us)
        deadline = min([first, *(int(row["deadline_us"]) for row in held)])
        holder = str(held[0]["holder"]) if held else self._door.registry.holder(known.school)
        for row in held:
            tx.update(tables.holdings, (row["item"],), deadline_us=deadline, tier=max(tier, int(row["tier"])))
        hold(
            tx, signal.name, kind="signal", school=known.school, holder=holder, deadline_us=deadline,
            step="acknowledge", tier=tier, student=known.id,
        )  # fmt: skip

    def _first_deadline(self, tier: int, kind: int, source: int, now_us: int) -> int:
        usual = self._deadline(tier, "acknowledge", now_us)
        shorter = self.policy.trust(source).acknowledge_us
        crisis = self.policy.is_crisis(kind)
        return min(usual, now_us + shorter) if crisis and shorter else usual

    def _duties(self, call: Call, known: Known, signal: pb.Signal, reporter: frozenset[int]) -> list[str]:
        """The duties to report that this signal brings; one of a kind is open at a time, under its earliest deadline."""
        d = tables.duties.c
        names: list[str] = []
        for duty in self.policy.duties(int(signal.kind), int(signal.source), reporter):
            if not self._door.bases[duty.basis].in_force(call.tx.now_us):
                continue
            open_already = call.tx.one(
                tables.duties.select().where((d.student == known.id) & (d.kind == duty.kind) & (d.state == _DUTY_OPEN))
            )
            if open_already is not None:
                names.append(f"duties/{open_already['id']}")
                continue
            names.append(
                open_duty(
                    call.tx, self._door, student=known.id, school=known.school, basis=duty.basis, item=signal.name,
                    holder=self._door.registry.holder(known.school), tier=int(signal.tier), kind=duty.kind,
                    tell=duty.tell, within_us=duty.within_us,
                )
            )  # fmt: skip
        return names

    # -- reading ------------------------------------------------------------------------------------------------------

    def _related(self, tx: ReadTx, rows: Sequence[RowMapping]) -> Mapping[str, list[str]]:
        """For each row the other reports of its student and kind within the window, the earliest first."""
        c = tables.signals.c
        students = list(dict.fromkeys(str(row["student"]) for row in rows))
        of: dict[tuple[str, str], list[RowMapping]] = {}
        for start in range(0, len(students), _CHUNK):
            found = tables.signals.select().with_only_columns(c.id, c.student, c.kind, c.created_us)
            for row in tx.all(
                found.where(c.student.in_(students[start : start + _CHUNK])).order_by(c.created_us, c.id)
            ):
                of.setdefault((str(row["student"]), str(row["kind"])), []).append(row)
        related: dict[str, list[str]] = {}
        for row in rows:
            window = self.policy.window_us(int(row["kind"]))
            related[str(row["id"])] = [
                f"signals/{other['id']}"
                for other in of.get((str(row["student"]), str(row["kind"])), [])
                if other["id"] != row["id"] and abs(int(other["created_us"]) - int(row["created_us"])) <= window
            ]
        return related

    def _name(self, call: Call, signal: pb.Signal, row: RowMapping, version: int) -> None:
        signal.name, signal.etag = f"signals/{row['id']}", str(version)
        signal.create_time_us, signal.tier = int(row["created_us"]), types.Tier.ValueType(int(row["tier"]))
        signal.student = self._door.students.name(call.caller.agency, str(row["student"]))
        if not signal.trust:
            signal.trust = self.policy.trust(int(row["source"])).id


def _check_occurred(occurred_us: int, now_us: int) -> None:
    """A day of grace: a clock in the wrong zone must not cost a child the report."""
    if occurred_us > now_us + _DAY_US:
        raise Refusal(
            "INVALID_ARGUMENT", "DATE_RANGE", "occurred_us lies in the future",
            violations=(Violation("occurred_us", "DATE_RANGE", "send microseconds since 1970 UTC, or 0"),),
        )  # fmt: skip


def _hide_the_others(response: rpc.ReportSignalResponse) -> None:
    """An agency that reports does not learn that somebody else has reported too, or what the school now owes."""
    response.signal.duplicate_of = ""
    del response.signal.related[:]
    del response.triage.signals[:]
    response.triage.inputs.clear()
    response.triage.etag = ""
    del response.duties[:]
