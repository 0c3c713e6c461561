"""Records to hand to an adapter under test: full ones, of people who do not exist, cut to what a plugin declares."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import Message
from google.protobuf.proto import serialize_length_prefixed

from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.api.casefile.v1.consent_pb2 import Recall
from xinqiao.api.casefile.v1.team_pb2 import CareTask, TaskPackage, TaskState
from xinqiao.api.common.v1.options_pb2 import LANE_ROUTINE, FieldClass
from xinqiao.api.common.v1.types_pb2 import Guardian, Sex, Student, Tier
from xinqiao.api.exchange.v1.exchange_pb2 import Manifest, Package, PackageItem
from xinqiao.api.referral.v1.notice_pb2 import PoliceReport
from xinqiao.api.referral.v1.referral_pb2 import ConsentEvidence, Referral, ReferralPackage, ReferralState, Urgency
from xinqiao.api.screening.v1.screening_pb2 import (
    Assessment,
    CallerConsent,
    CallHandOff,
    HandOff,
    LocationBasis,
    Score,
    SignalUpdate,
)
from xinqiao.contract.fields import mask_of, plan, redact

_DAY_US: Final = 86_400_000_000
_CREATED_US: Final = 1_791_190_800_000_000  # 2026-10-05 17:00 in Beijing

PERSONAL: Final = frozenset(
    {
        FieldClass.FIELD_CLASS_IDENTITY,
        FieldClass.FIELD_CLASS_CONTACT,
        FieldClass.FIELD_CLASS_REFERRAL_REASON,
        FieldClass.FIELD_CLASS_DIAGNOSIS,
        FieldClass.FIELD_CLASS_TREATMENT,
        FieldClass.FIELD_CLASS_CRISIS_FACT,
        FieldClass.FIELD_CLASS_LOCATION,
        FieldClass.FIELD_CLASS_CARE_TASK,
        FieldClass.FIELD_CLASS_COUNSELLING_NOTE,
        FieldClass.FIELD_CLASS_LETTER,
    }
)
"""Classes whose values may stand in no log, error or receipt."""

_COMMON_WORDS: Final = frozenset({"mother", "father", "both", "LEAVE"})
"""Values that say nothing about anybody."""


def request(contract: str, number: int = 1, *, drill: bool = False) -> DeliverRequest:
    """A full record of ``contract`` about made-up student ``number``; the same arguments give the same bytes.

    Raises KeyError for a contract without a sample here: add one to ``_BODIES``.
    """
    made = DeliverRequest(
        request_id=f"conform-{contract}-{number:04d}{'-d' if drill else ''}",
        lane=LANE_ROUTINE,
        attempt=1,
        drill=drill,
    )
    body = _BODIES[contract](number)
    getattr(made, contract).CopyFrom(body)
    for marked in (getattr(made, contract), getattr(getattr(made, contract), "referral", None)):
        if drill and isinstance(marked, Message) and "drill" in marked.DESCRIPTOR.fields_by_name:
            setattr(marked, "drill", True)  # noqa: B010 - the field's existence was asked for
    return made


def released(whole: DeliverRequest, classes: Iterable[int]) -> DeliverRequest | None:
    """``whole`` with only ``classes`` in its record, as the door leaves it; None where it would release nothing."""
    made = DeliverRequest()
    made.CopyFrom(whole)
    body = getattr(made, made.WhichOneof("body") or "")
    kept = redact(body, mask_of(frozenset(classes)))
    return None if any(each.required for each in kept) else made


def classes_in(contract: str) -> frozenset[int]:
    """The field classes that the sample of ``contract`` really fills."""
    whole = request(contract)
    return frozenset(found for found, _ in values(getattr(whole, contract)))


def values(message: Message) -> Iterator[tuple[int, str]]:
    """Field class and text of every filled leaf that is a text, inside every record and list."""
    compiled = plan(message.DESCRIPTOR)
    for leaf in compiled.leaves:
        value: Any = getattr(message, leaf.name)
        texts: list[Any] = [value] if isinstance(value, str) else [*value] if isinstance(value, Iterable) else []
        for each in texts:
            if isinstance(each, str) and each:
                yield leaf.field_class, each
        if value and not isinstance(value, str):
            yield leaf.field_class, ""
    for branch in compiled.branches:
        if branch.repeated:
            for item in getattr(message, branch.name):
                yield from values(item)
        elif message.HasField(branch.name):
            yield from values(getattr(message, branch.name))


def telling(message: Message, classes: Iterable[int] = PERSONAL) -> frozenset[str]:
    """The texts of ``message`` in ``classes`` that tell something about the made-up person."""
    wanted = frozenset(classes)
    return frozenset(
        text for found, text in values(message) if found in wanted and len(text) > 1 and text not in _COMMON_WORDS
    )


def package(number: int = 1, *, items: int = 3) -> Package:
    """A signed monthly package of ``items`` referrals with case references only."""
    lines = b""
    for ordinal in range(items):
        referral = Referral(name=f"referrals/p{number}{ordinal}", student=_student_name(number), state=_RECEIVED)
        lines += _framed(PackageItem(ordinal=ordinal, referral=referral))
    manifest = Manifest(
        version=1, deployment="conformance", exchange="monthly", partner="under-test", period="2026-09", revision=number,
        items=items, items_sha256=hashlib.sha256(lines).digest(), selected=items, policy_version="1",
        create_time_us=_CREATED_US,
    ).SerializeToString(deterministic=True)  # fmt: skip
    name = f"under-test_monthly_2026-09_{number}"
    return Package(manifest=manifest, signature=_KEY.sign(manifest), name=name, items=lines)


def _framed(item: PackageItem) -> bytes:
    sink = BytesIO()
    serialize_length_prefixed(item, sink)
    return sink.getvalue()


_RECEIVED: Final = ReferralState.REFERRAL_STATE_RECEIVED
_KEY: Final = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"conformance").digest())


def _student_name(number: int) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return "students/" + (letters[number % 26] * 25) + letters[number // 26 % 26]


def _referral(number: int) -> Referral:
    return Referral(
        name=f"referrals/c{number}",
        student=_student_name(number),
        sender="no1-middle",
        recipient="under-test",
        state=ReferralState.REFERRAL_STATE_SENT,
        tier=Tier.TIER_RED,
        urgency=Urgency.URGENCY_EMERGENCY,
        reason=f"量表提示重度抑郁·第{number}例",
        crisis_facts=f"前日写过告别信·第{number}例",
        location=f"示范路{number}号学生宿舍",
        create_time_us=_CREATED_US + number,
        note=f"咨询室里说的话·第{number}例",
        support=f"请陪同家长就医·第{number}例",
    )


def _package_of_referral(number: int) -> ReferralPackage:
    return ReferralPackage(
        referral=_referral(number),
        student=Student(
            name=_student_name(number),
            local_id=f"2026-{number:04d}",
            family_name="欧阳",
            given_name=f"小雨{_HAN[number % len(_HAN)]}",
            birth_date="2011-03-09",
            sex=Sex.SEX_FEMALE,
            national_id="11010519491231002X",
            phone=f"1380000{number:04d}",
            guardians=[
                Guardian(full_name=f"李梅{_HAN[number % len(_HAN)]}", relation="mother", phone=f"1390000{number:04d}")
            ],
            school="SYN-SCHOOL",
            school_title="示范中学",
            grade="八年级",
            class_title="八年级2班",
        ),
        assessments=[
            Assessment(
                name=f"assessments/c{number}",
                instrument="PHQ-9",
                taken_on="2026-10-04",
                answers=bytes([2, 2, 3, 3, 3, 2, 1, 2, 1]),
                scores=[Score(id="total", value=19)],
                complete=True,
            )
        ],
        consent=ConsentEvidence(
            consent=f"consents/c{number}",
            given_us=_CREATED_US,
            expires_us=_CREATED_US + 365 * _DAY_US,
            signed_by="both",
        ),
        sender_title="示范中学",
    )


def _update(number: int) -> Referral:
    changed = _referral(number)
    changed.state = ReferralState.REFERRAL_STATE_CANCELLED
    changed.state_reason = f"家长撤回·第{number}例"
    return changed


def _recall(number: int) -> Recall:
    return Recall(
        name=f"recalls/c{number}",
        student=_student_name(number),
        recipient="under-test",
        cause=f"consents/c{number}",
        items=[f"referrals/c{number}"],
        classes=[FieldClass.FIELD_CLASS_IDENTITY, FieldClass.FIELD_CLASS_CONTACT],
        due_us=_CREATED_US + 15 * _DAY_US,
        create_time_us=_CREATED_US,
    )


def _task(number: int) -> TaskPackage:
    task = CareTask(
        name=f"tasks/c{number}",
        team=f"teams/c{number}",
        holder="under-test",
        due_us=_CREATED_US + 7 * _DAY_US,
        state=TaskState.TASK_STATE_OPEN,
        what=f"每周家访一次·第{number}例",
    )
    return TaskPackage(task=task, student=_package_of_referral(number).student)


def _police_report(number: int) -> PoliceReport:
    whole = _package_of_referral(number)
    return PoliceReport(
        notice=f"notices/c{number}",
        student=whole.student,
        crisis_facts=whole.referral.crisis_facts,
        location=whole.referral.location,
        citation="精神卫生法 第二十八条",
    )


def _signal_update(number: int) -> SignalUpdate:
    return SignalUpdate(reference=f"J-2026-{number:04d}", taken_us=_CREATED_US + number)


def _call_hand_off(number: int) -> CallHandOff:
    return CallHandOff(
        call=HandOff(
            call=f"c-2026-{number:04d}", line="12356", origin_number=f"1390000{number:04d}",
            location_basis=LocationBasis.LOCATION_BASIS_CELL, consent=CallerConsent.CALLER_CONSENT_GIVEN,
        ),
        facts="说站在桥上", location="人民桥", create_time_us=_CREATED_US + number, sender_title="心理热线",
        citation="精神卫生法 第二十八条",
    )  # fmt: skip


_HAN: Final = "甲乙丙丁戊己庚辛壬癸"
_BODIES: Final[Mapping[str, Callable[[int], Message]]] = {
    "referral": _package_of_referral,
    "referral_update": _update,
    "recall": _recall,
    "task": _task,
    "police_report": _police_report,
    "signal_update": _signal_update,
    "call_hand_off": _call_hand_off,
}
