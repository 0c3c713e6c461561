"""For what a hospital may decline: where a mental disorder is suspected it may not refuse to diagnose (draft art. 36)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from xinqiao.api.common.v1.types_pb2 import TIER_ORANGE
from xinqiao.contract.errors import Refusal


class Permitted(NamedTuple):
    """One reason: its words, and whether it is permitted also for a suspected disorder."""

    words: tuple[str, ...]
    suspected: bool


@dataclass(frozen=True)
class Refusals:
    """The district's list. ``suspected_from`` is the tier from which a referral is for a suspected disorder."""

    suspected_from: int = TIER_ORANGE
    reasons: Mapping[str, Permitted] = field(default_factory=dict[str, Permitted])

    def code(self, tier: int, code: str, reason: str) -> str:
        """The code of a refusal, found by its words where the partner sends none; empty where none is needed.

        Raises Refusal INVALID_ARGUMENT/REASON_CODE for an unknown code, FAILED_PRECONDITION/MAY_NOT_REFUSE where the
        district does not permit this reason for this referral.
        """
        if code and code not in self.reasons:
            raise Refusal("INVALID_ARGUMENT", "REASON_CODE", f"reason_code is one of {', '.join(self.reasons)}")
        said = reason.strip().casefold()
        found = code or next(
            (each for each, permitted in self.reasons.items()
             if said == each or said in (word.casefold() for word in permitted.words)), ""
        )  # fmt: skip
        if tier >= self.suspected_from and not (found and self.reasons[found].suspected):
            allowed = ", ".join(each for each, permitted in self.reasons.items() if permitted.suspected)
            raise Refusal(
                "FAILED_PRECONDITION", "MAY_NOT_REFUSE",
                f"a suspected disorder may not be refused; accept, waitlist, or give a reason_code of {allowed}",
            )  # fmt: skip
        return found
