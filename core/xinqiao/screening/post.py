"""What the reporter of a signal is told: that a person has taken it."""

from xinqiao.api.common.v1.options_pb2 import PURPOSE_RESCUE
from xinqiao.api.screening.v1.screening_pb2 import SignalUpdate
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.registry import Reader
from xinqiao.journal.append import append
from xinqiao.store.tx import Tx

_CONTRACT = "signal_update"


class SignalPost:
    """Tells agencies whose adapter takes such news; any other asks a person."""

    def __init__(self, door: Door, reads: Reader) -> None:
        self._door = door
        self._reads = reads

    def taken(self, tx: Tx, agency: str, reference: str, subject: str, item: str, actor: str) -> None:
        """A person took the report that ``agency`` numbers ``reference``; ``subject`` is the student, or the alert.

        Nothing of whom it is about goes back, so nothing tells whether the description fitted anybody.
        """
        recipient = self._door.registry.find(agency)
        declared = self._reads(agency, _CONTRACT)
        if recipient is None or declared is None or not reference:
            return
        try:
            self._door.release(
                tx, SignalUpdate(reference=reference, taken_us=tx.now_us), recipient=recipient, purpose=PURPOSE_RESCUE,
                student=subject, relation="PARTY", kind=_CONTRACT, item=item, actor=actor,
                key=f"{item.replace('/', '.')}.taken", declared=declared, lane="crisis",
            )  # fmt: skip
        except Refusal as refusal:  # an agency without an agreement is told nothing; the case goes on all the same
            append(
                tx, kind="refused", decision="deny", actor=actor, partner=agency, purpose=PURPOSE_RESCUE,
                student=subject, resource=item, reason=refusal.reason, policy_version=self._door.policy.version,
            )  # fmt: skip
