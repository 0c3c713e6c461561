"""Calls that a helpline hands to the police: their number and place, at once, under a law; the report stands whatever
becomes of that."""

from collections.abc import Callable

from xinqiao.api.common.v1.options_pb2 import PURPOSE_RESCUE, ROLE_HOTLINE, ROLE_POLICE
from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao.api.screening.v1 import screening_service_pb2 as rpc
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.duties import open_duty
from xinqiao.disclosure.registry import Partner, Reader
from xinqiao.disclosure.students import Known
from xinqiao.journal.append import append
from xinqiao.screening.trust import SignalPolicy

_CONTRACT = "call_hand_off"


class HandOffs:
    """Asks the first police whose adapter takes such calls."""

    def __init__(self, door: Door, reads: Reader, policy: Callable[[], SignalPolicy]) -> None:
        """``policy`` gives the one in force."""
        self._door, self._reads, self._policy = door, reads, policy

    def check(self, request: rpc.ReportSignalRequest, caller: Partner) -> None:
        """Raises Refusal PERMISSION_DENIED/PARTNER_MISMATCH, INVALID_ARGUMENT/HAND_OFF."""
        if not request.HasField("hand_off"):
            return
        if ROLE_HOTLINE not in caller.roles:
            raise Refusal("PERMISSION_DENIED", "PARTNER_MISMATCH", "only a helpline hands calls to the police")
        if not self._policy().is_crisis(int(request.kind)):
            raise Refusal("INVALID_ARGUMENT", "HAND_OFF", "only a call about danger is handed to the police")

    def send(self, request: rpc.ReportSignalRequest, call: Call, subject: str, item: str) -> str:
        """Ask the police; the agency, or empty where none can be. ``subject`` is the student, or the alert."""
        if not request.HasField("hand_off"):
            return ""
        basis, tx = self._policy().hand_off_basis, call.tx
        police = next(filter(self._takes, self._door.registry.with_role(ROLE_POLICE)), None)
        reason = "NO_POLICE" if police is None else "" if basis else "NO_BASIS"
        if police is not None and basis:
            found = self._door.bases.get(basis)
            message = pb.CallHandOff(
                call=request.hand_off, facts=request.facts, location=request.location, create_time_us=tx.now_us,
                sender_title=call.caller.names.get("zh", ""), citation=found.citation.get("zh", "") if found else "",
            )  # fmt: skip
            try:
                self._door.release(
                    tx, message, recipient=police, purpose=PURPOSE_RESCUE, student=subject, relation="PARTY",
                    kind=_CONTRACT, item=item, actor=call.caller.id, key=f"{item.replace('/', '.')}.hand-off",
                    basis=basis, declared=self._reads(police.agency, _CONTRACT) or 0, lane="crisis",
                )  # fmt: skip
            except Refusal as refusal:
                reason = refusal.reason
            else:
                return police.agency
        append(
            tx, kind="refused", decision="deny", actor=call.caller.id, partner=police.agency if police else "",
            purpose=PURPOSE_RESCUE, student=subject, resource=item, reason=reason, basis=basis,
            policy_version=self._door.policy.version,
        )  # fmt: skip
        return ""

    def owe(self, call: Call, known: Known, signal: pb.Signal) -> str:
        """Who the caller is about is known: the guardians must be told of it, and a second person decide on it."""
        basis = self._policy().hand_off_basis
        if not signal.handed_to or basis not in self._door.bases:
            return ""
        return open_duty(
            call.tx, self._door, student=known.id, school=known.school, basis=basis, item=signal.name,
            holder=self._door.registry.holder(known.school), tier=int(signal.tier), actor=signal.reporter,
            recipient=signal.handed_to, purpose=PURPOSE_RESCUE, facts=signal.facts,
        )  # fmt: skip

    def _takes(self, police: Partner) -> bool:
        return police.id == police.agency and self._reads(police.agency, _CONTRACT) is not None
