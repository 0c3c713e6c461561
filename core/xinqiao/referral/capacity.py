"""Which hospital is asked first: the district's services, the sender's preferences, and what hospitals say of their room."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import NamedTuple

from xinqiao.api.adapter.v1 import adapter_service_pb2 as adapter
from xinqiao.api.referral.v1 import referral_pb2 as pb
from xinqiao.api.referral.v1.referral_service_pb2 import CreateReferralRequest
from xinqiao.contract.errors import Refusal

Ask = Callable[[str, adapter.CapacityRequest], adapter.CapacityResponse | None]
"""(agency, question) -> its answer within a short time, None where it is not known."""

Answers = Mapping[str, int]
"""What each hospital answered, CAPACITY_UNSPECIFIED where it did not."""

_WORSE = (adapter.CAPACITY_ASSESSMENT_REQUIRED, adapter.CAPACITY_WAITLIST)


class Choice(NamedTuple):
    """The hospital to send to, and those to try after it, in order."""

    recipient: str
    others: tuple[str, ...]


class Capacity:
    """Asks and chooses."""

    def __init__(self, ask: Ask, services: Mapping[str, Sequence[str]]) -> None:
        self._ask = ask
        self.services = services

    def candidates(self, request: CreateReferralRequest) -> list[str]:
        """The hospitals a request names, directly or by service, in order. Raises Refusal INVALID_ARGUMENT/RECIPIENT."""
        named = [request.recipient, *request.recipients, *self.services.get(request.service, ())]
        found = list(dict.fromkeys(each for each in named if each))
        if not found:
            raise Refusal("INVALID_ARGUMENT", "RECIPIENT", "name a recipient, recipients, or a service of the district")
        return found

    def question(self, request: CreateReferralRequest) -> Callable[[], Answers] | None:
        """What to ask before the transaction; None in an emergency, which never waits, and for a draft, which can."""
        if request.urgency == pb.URGENCY_EMERGENCY or request.draft:
            return None
        named = self.candidates(request)
        asked = adapter.CapacityRequest(service=request.service, urgency=request.urgency)

        def ask() -> Answers:
            with ThreadPoolExecutor(len(named)) as threads:
                answers = list(threads.map(self._ask, named, repeat(asked)))
            return {each: answer.capacity if answer else 0 for each, answer in zip(named, answers, strict=True)}

        return ask

    def choose(self, named: Sequence[str], answers: Answers, *, red: bool) -> Choice:
        """The first with a place, else with a waiting list; not known counts as a place.

        A single hospital that was named is taken whatever it answers: it is for a person to name another. Raises Refusal
        FAILED_PRECONDITION/NO_CAPACITY where all of several have none; never for red.
        """
        free = [each for each in named if answers.get(each, 0) in (0, adapter.CAPACITY_AVAILABLE)]
        later = [each for each in named if answers.get(each, 0) in _WORSE]
        order = free + later
        if not order and len(named) > 1 and not red:
            raise Refusal(
                "FAILED_PRECONDITION", "NO_CAPACITY", "none of these hospitals has a place; name others, or one alone"
            )
        chosen = order[0] if order else named[0]
        return Choice(chosen, tuple(each for each in named if each != chosen))


def said(answer: int) -> str:
    """`AVAILABLE` for CAPACITY_AVAILABLE; `UNKNOWN` where nothing was said."""
    word = adapter.Capacity.Name(adapter.Capacity.ValueType(answer)).removeprefix("CAPACITY_")
    return "UNKNOWN" if word == "UNSPECIFIED" else word
