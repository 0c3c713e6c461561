"""The hospital plugin: a referral built as a transaction, judged and serialized, against the kept library's own parse of the result."""

import statistics
import time
from collections.abc import Callable

from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.api.common.v1.types_pb2 import Guardian, Sex, Student, Tier
from xinqiao.api.referral.v1.referral_pb2 import ConsentEvidence, Referral, ReferralPackage, Urgency
from xinqiao.api.screening.v1.screening_pb2 import Assessment, Score

_TARGET = 2.5
_TIMES = 30
_CREATED_US = 1_791_190_800_000_000


def request() -> DeliverRequest:
    """A referral with all that a hospital may see."""
    name = "students/" + "a" * 26
    return DeliverRequest(
        request_id="delivery-0001",
        referral=ReferralPackage(
            referral=Referral(
                name="referrals/r1", student=name, sender="school", recipient="hospital", tier=Tier.TIER_RED,
                urgency=Urgency.URGENCY_EMERGENCY, reason="量表提示重度抑郁", crisis_facts="演示", create_time_us=_CREATED_US,
            ),
            student=Student(
                name=name, family_name="欧阳", given_name="小雨", birth_date="2011-03-09", sex=Sex.SEX_FEMALE,
                phone="13800000001", guardians=[Guardian(full_name="李梅", relation="mother", phone="13800000002")],
            ),
            assessments=[
                Assessment(name="assessments/p1", instrument="PHQ-9", taken_on="2026-10-04", complete=True,
                           answers=bytes([2, 2, 3, 3, 3, 2, 1, 2, 1]), scores=[Score(id="total", value=19)]),
                Assessment(name="assessments/g1", instrument="GAD-7", taken_on="2026-10-04", complete=True,
                           answers=bytes([1, 1, 0, 3, 2, 2, 1]), scores=[Score(id="total", value=10)]),
            ],
            consent=ConsentEvidence(consent="consents/c1", given_us=_CREATED_US, signed_by="both"),
        ),
    )  # fmt: skip


def measure(rounds: int) -> tuple[float, float]:
    """Seconds for one transaction made, judged and serialized, and for the library's parse of its bytes; in turns."""
    from fhir.resources.R4B.bundle import Bundle

    from xinqiao_hospital.adapter import transaction

    asked = request()
    body, _ = transaction(asked)
    ours: list[float] = []
    theirs: list[float] = []
    for number in range(rounds + 1):
        for work, taken in ((lambda: transaction(asked), ours), (lambda: Bundle.model_validate_json(body), theirs)):
            seconds = _timed(work)
            if number:  # the first of each is a warm-up
                taken.append(seconds)
    return statistics.median(ours), statistics.median(theirs)


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(_TIMES):
        work()
    return (time.perf_counter() - start) / _TIMES


def lines(rounds: int) -> list[tuple[str, str, str, float, str, float]]:
    """Name, figure, baseline, ratio, direction and target, as ``run.Result`` takes them."""
    ours, theirs = measure(rounds)
    name = "FHIR transaction built, judged, serialized"
    return [(name, f"{ours * 1e3:.2f} ms", f"{theirs * 1e3:.2f} ms", ours / theirs, "<=", _TARGET)]


if __name__ == "__main__":
    for line in lines(5):
        print("{}: {} against {}: ratio {:.2f}, target {} {}".format(*line))
