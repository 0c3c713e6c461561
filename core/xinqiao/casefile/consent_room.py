"""The consent contract: how far a withdrawal is, recalls answered, emergency access."""

from xinqiao.api.casefile.v1 import casefile_pb2 as case
from xinqiao.api.casefile.v1 import consent_pb2 as pb
from xinqiao.api.casefile.v1 import consent_service_pb2 as rpc
from xinqiao.casefile.consents import Consents
from xinqiao.casefile.overrides import Overrides
from xinqiao.casefile.recalls import Recalls
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.call import Call

_DONE = (pb.RECALL_STATE_CONFIRMED, pb.RECALL_STATE_CLOSED)


class ConsentRoom:
    """The functions behind ``ConsentService``."""

    def __init__(self, consents: Consents, recalls: Recalls, overrides: Overrides) -> None:
        self._consents = consents
        self._recalls = recalls
        self.list_recalls = recalls.list_recalls
        self.confirm_recall = recalls.confirm_recall
        self.close_recall = recalls.close_recall
        self.break_glass = overrides.break_glass
        self.decide_override = overrides.decide_override
        self.list_overrides = overrides.list_overrides

    def get_withdrawal(self, request: rpc.GetWithdrawalRequest, call: Call) -> rpc.GetWithdrawalResponse:
        """What has become of a withdrawal. Nothing of what a law demands: a report to the police about a guardian must
        not be read off here by that guardian."""
        row = self._consents.own(call, request.name)
        if row["state"] != case.CONSENT_STATE_WITHDRAWN:
            raise Refusal("FAILED_PRECONDITION", "STATE", "the consent was not withdrawn")
        student, door = str(row["student"]), self._consents.door
        call.student = student
        consent = door.keys.record(case.Consent, row, table="consents")
        consent.name, consent.etag, consent.state = request.name, str(row["version"]), case.CONSENT_STATE_WITHDRAWN
        consent.student = door.students.name(call.caller.agency, student)
        recalls = self._recalls.of(call.reading, request.name, call.caller.agency)
        response = rpc.GetWithdrawalResponse(
            consent=consent, effective_us=int(row["updated_us"]), recalls=recalls,
            done=all(recall.state in _DONE for recall in recalls),
        )  # fmt: skip
        call.view(response, student=student)
        return response
