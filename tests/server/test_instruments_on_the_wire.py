"""Instruments that need more than a sum, through a running gateway: declared codings, voids, concerns and crises."""

import pytest

from xinqiao.api.common.v1 import types_pb2 as types
from xinqiao.api.screening.v1 import screening_service_pb2 as rpc
from xinqiao.store import tables

PATH = "/xinqiao.api.screening.v1.ScreeningService/UploadAssessments"
OVERLAYS = {
    "scl-90": 'id: SCL-90\nenabled: true\nlicence: {record: "contract 7"}\nconfirmed: {critical: by the test}\n',
    "mht": 'id: MHT\nenabled: true\nlicence: {record: "contract 8"}\nconfirmed: {scores: by it, bands: by it}\n',
}


@pytest.fixture(scope="module")
def wire(make_town, tmp_path_factory):
    overlay = tmp_path_factory.mktemp("overlay")
    for name, text in OVERLAYS.items():
        (overlay / f"{name}.yaml").write_text(text, encoding="utf-8")
    with make_town(change=lambda settings: settings.update(instruments_overlay=str(overlay))) as made:
        yield made


def form(wire, instrument, answers, coding=""):
    request = rpc.SubmitAssessmentRequest(
        instrument=instrument, taken_on="2026-10-02", answers=bytes(answers), coding=coding
    )
    request.student.local_id = wire.student()
    return request


def upload(wire, name, answers, coding=""):
    header = {"upload_id": name, "instrument": "SCL-90", "taken_on": "2026-10-02", "coding": coding}
    batch = {"number": 1, "local_ids": [wire.student() for _ in answers], "answers": b"".join(map(bytes, answers))}
    call = wire.gate.channel(wire.SCHOOL).stream_stream(
        PATH, rpc.UploadAssessmentsRequest.SerializeToString, rpc.UploadAssessmentsResponse.FromString
    )
    messages = [rpc.UploadAssessmentsRequest(header=header), rpc.UploadAssessmentsRequest(batch=batch)]
    return list(call(iter(messages), timeout=30)), batch["local_ids"]


@pytest.mark.parametrize(
    ("answers", "coding", "refusal"),
    [
        ([1] * 90, "", "CODING_REQUIRED"),
        ([1] * 90, "1-4", "CODING_UNKNOWN"),
        ([1] * 89 + [0], "1-5", "CODING_MISMATCH"),
        ([0] * 89 + [5], "0-4", "CODING_MISMATCH"),
        ([1] * 89 + [6], "1-5", "ANSWER_RANGE"),
        ([1] * 89, "1-5", "ANSWER_COUNT"),
    ],
)
def test_scl90_is_taken_only_in_the_coding_it_is_declared_in(wire, answers, coding, refusal):
    assert wire.refusal(wire.SCHOOL, form(wire, "SCL-90", answers, coding)) == f"INVALID_ARGUMENT/{refusal}"


def test_scl90_is_kept_in_one_coding_whatever_it_came_in(wire):
    first = wire.call(wire.SCHOOL, form(wire, "SCL-90", [1] * 89 + [3], "1-5")).assessment
    other = wire.call(wire.SCHOOL, form(wire, "SCL-90", [0] * 89 + [2], "0-4")).assessment
    assert first.answers == other.answers == bytes([1] * 89 + [3])
    assert [(score.id, score.value) for score in first.scores] == [(score.id, score.value) for score in other.scores]


def test_an_uploaded_sheet_declares_its_coding_once_for_all_rows(wire):
    (_, answer), pupils = upload(wire, "scl-sheet-01", [[0] * 90, [0] * 14 + [1] + [0] * 75], "0-4")
    assert list(answer.verdicts) == [rpc.ROW_VERDICT_ACCEPTED, rpc.ROW_VERDICT_ACCEPTED_CRITICAL]
    (row,) = wire.rows(tables.signals, student=wire.inside_id(pupils[1]))
    assert row["tier"] == types.TIER_RED


@pytest.mark.parametrize(
    ("name", "answers", "coding", "refusal"),
    [
        ("scl-sheet-02", [[1] * 90], "", "CODING_REQUIRED"),
        ("scl-sheet-03", [[2] * 90, [2] * 89 + [0]], "1-5", "CODING_MISMATCH"),
    ],
)
def test_a_sheet_without_its_coding_or_with_another_is_refused_whole(wire, name, answers, coding, refusal):
    assert wire.refused(lambda: upload(wire, name, answers, coding)).word == f"INVALID_ARGUMENT/{refusal}"


def test_a_void_mht_is_stored_as_void_and_somebody_must_see_to_the_retest(wire):
    answers = [0] * 100
    for item in range(82, 96, 2):
        answers[item - 1] = 1
    done = wire.call(wire.SCHOOL, form(wire, "MHT", answers))
    assert (done.assessment.category, done.assessment.complete) == ("void", True)
    assert [score.id for score in done.assessment.scores if score.HasField("value")] == ["validity"]
    assert (done.triage.proposed, done.triage.rule) == (types.TIER_YELLOW, "default@1/mht-void")
    assert wire.rows(tables.holdings, item=done.triage.name)


@pytest.mark.parametrize(
    ("answers", "tier", "crisis"),
    [
        ([1, 1, 1, 0, 0, 255, 255], types.TIER_ORANGE, False),
        ([0, 0, 255, 255, 255, 1, 0], types.TIER_ORANGE, False),
        ([1, 1, 1, 1, 0, 255, 255], types.TIER_RED, True),
        ([0, 0, 255, 255, 255, 1, 1], types.TIER_RED, True),
    ],
)
def test_cssrs_raises_a_crisis_signal_on_high_risk_and_a_triage_on_a_concern(wire, answers, tier, crisis):
    done = wire.call(wire.SCHOOL, form(wire, "C-SSRS", answers))
    assert (done.triage.proposed, bool(done.signal)) == (tier, crisis)
    assert list(done.assessment.critical)
