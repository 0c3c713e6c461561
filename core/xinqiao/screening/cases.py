"""What follows from a scored form, a triage and on a crisis a signal: one shape for a single form and for a batch."""

from typing import Any

from xinqiao.api.common.v1 import types_pb2 as types
from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao.disclosure.students import Known
from xinqiao.screening.triage import Proposal
from xinqiao.store.holdings import opened

Row = tuple[Any, ...]


def triage_of(proposal: Proposal) -> pb.Triage:
    """The triage a proposal asks a person for; its ``subject`` is still to be set."""
    return pb.Triage(
        proposed=types.Tier.ValueType(proposal.tier),
        state=pb.TRIAGE_STATE_PROPOSED,
        rule=f"{proposal.pack}@{proposal.version}/{proposal.rule}",
        reason_zh=proposal.reason_zh,
        reason_en=proposal.reason_en,
        inputs=proposal.inputs,
    )


def signal_of(proposal: Proposal) -> pb.Signal:
    """The crisis signal of a critical answer; its ``assessment`` is still to be set."""
    return pb.Signal(
        source=pb.SIGNAL_SOURCE_SCREENING,
        kind=pb.SIGNAL_KIND_SUICIDAL,
        facts=f"{proposal.reason_zh} / {proposal.reason_en}",
        state=pb.SIGNAL_STATE_OPEN,
    )


def triage_rows(
    sealed: bytes, known: Known, identifier: str, subject: str, tier: int, *, holder: str, deadline_us: int, now_us: int
) -> tuple[Row, Row]:
    """Rows of ``triages`` and ``holdings`` for a proposed triage, whose record is ``sealed`` under ``identifier``."""
    row = (
        identifier, known.id, known.school, subject, tier, 0, pb.TRIAGE_STATE_PROPOSED, now_us, now_us, 1, sealed,
    )  # fmt: skip
    held = opened(
        f"triages/{identifier}", kind="triage", school=known.school, holder=holder, deadline_us=deadline_us,
        step="confirm", now_us=now_us, tier=tier, student=known.id,
    )  # fmt: skip
    return row, held


def signal_rows(
    sealed: bytes, known: Known, identifier: str, signal: pb.Signal, *, holder: str, deadline_us: int, now_us: int
) -> tuple[Row, Row]:
    """Rows of ``signals`` and ``holdings`` for an open signal, whose record is ``sealed`` under ``identifier``."""
    row = (
        identifier, known.id, known.school, str(int(signal.kind)), types.TIER_RED, pb.SIGNAL_STATE_OPEN,
        str(int(signal.source)), now_us, now_us, 1, sealed,
    )  # fmt: skip
    held = opened(
        f"signals/{identifier}", kind="signal", school=known.school, holder=holder, deadline_us=deadline_us,
        step="acknowledge", now_us=now_us, tier=types.TIER_RED, student=known.id,
    )  # fmt: skip
    return row, held
