"""Bad inputs over the wire, row by row: the answer, nothing stored, and no value from the request in any text."""

import logging
import random
import time

import grpc
import pytest
from sqlalchemy import func

from xinqiao.api.casefile.v1 import casefile_service_pb2 as case
from xinqiao.api.referral.v1 import referral_service_pb2 as referral
from xinqiao.api.screening.v1 import screening_service_pb2 as scr
from xinqiao.contract.methods import methods
from xinqiao.store import tables

CANARY = "CANARY7"
PATHS = {method.request: path for path, method in methods().items()}
SUBMIT = PATHS[scr.SubmitAssessmentRequest]
KEPT = [t for t in tables.metadata.sorted_tables if t.name not in ("journal", "checkpoints", "meta")]


def good(**words):
    words = {"request_id": "bad-input-1", "instrument": "PHQ-9", "taken_on": "2026-10-01", "answers": bytes(9), **words}
    request = scr.SubmitAssessmentRequest(**words)
    request.student.local_id = CANARY
    return request


def encoded(**words):
    return good(**words).SerializeToString(deterministic=True)


def register(**words):
    request = case.RegisterStudentsRequest(request_id="bad-input-2")
    request.students.add(**{"local_id": CANARY, "school": "3205830001", "family_name": CANARY, **words})
    return request


def signal(**words):
    words = {"request_id": "bad-input-3", "source": 2, "kind": 1, "facts": CANARY, **words}
    request = scr.ReportSignalRequest(**words)
    request.student.local_id = CANARY
    return request


def groups(depth):
    return b"\x0b" * depth + b"\x0c" * depth


def consent(**words):
    request = case.RecordConsentRequest(request_id="bad-input-4")
    request.student.local_id = CANARY
    given = {"recipient": "kunshan-mental-health", "purpose": 2, "classes": [3], "not_after_us": 2**60, "signer": 3,
             "form_version": "1", "evidence_sha256": bytes(32), "state": 1}  # fmt: skip
    for name, value in {**given, **words}.items():
        if name == "classes":
            request.consent.classes.extend(value)
        else:
            setattr(request.consent, name, value)
    return request


def data(request):
    return PATHS[type(request)], request.SerializeToString(deterministic=True)


RNG = random.Random(7)
ROWS = {
    "row-01-random-bytes": (SUBMIT, RNG.randbytes(64), "INVALID_ARGUMENT/DECODE"),
    "row-01-truncated-varint": (SUBMIT, encoded() + b"\x80", "INVALID_ARGUMENT/DECODE"),
    "row-02-invalid-utf-8": (SUBMIT, b"\x0a\x08\xff\xfe\xfdabcde", "INVALID_ARGUMENT/DECODE"),
    "row-03-nested-101-deep": (SUBMIT, groups(101), "INVALID_ARGUMENT/DEPTH"),
    "row-03-nested-100000-deep": (SUBMIT, groups(100_000), "INVALID_ARGUMENT/DEPTH"),
    "row-04-wrong-wire-type-for-field-1": (SUBMIT, b"\x08\x07" + encoded(), "INVALID_ARGUMENT/UNKNOWN_FIELD"),
    "row-05-unknown-field-500": (SUBMIT, encoded() + b"\xa0\x1f\x01", "INVALID_ARGUMENT/UNKNOWN_FIELD"),
    "row-06-same-field-twice": (SUBMIT, encoded() + b"\x1a\x05PHQ-9", "INVALID_ARGUMENT/NON_CANONICAL"),
    "row-07-one-byte-over-a-mebibyte": (SUBMIT, bytes(1024 * 1024 + 1), "RESOURCE_EXHAUSTED/TOO_LARGE"),
    "row-07-five-mebibytes": (SUBMIT, bytes(5 * 1024 * 1024), "RESOURCE_EXHAUSTED"),
    "row-09-nul": (*data(register(given_name=f"{CANARY}\0")), "INVALID_ARGUMENT/CHARSET"),
    "row-09-right-to-left": (*data(register(given_name=f"\u202e{CANARY}")), "INVALID_ARGUMENT/CHARSET"),
    "row-09-zero-width": (*data(register(class_title=f"{CANARY}\u200b")), "INVALID_ARGUMENT/CHARSET"),
    "row-09-lone-control": (*data(signal(facts=f"{CANARY}\x1b[2J")), "INVALID_ARGUMENT/CHARSET"),
    "row-14-missing-key": (SUBMIT, encoded(request_id=""), "INVALID_ARGUMENT/KEY_FORMAT"),
    "row-14-blank-key": (SUBMIT, encoded(request_id="        "), "INVALID_ARGUMENT/KEY_FORMAT"),
    "row-14-huge-key": (SUBMIT, encoded(request_id="k" * 1_000_000), "INVALID_ARGUMENT/KEY_FORMAT"),
    "row-17-school-says-police": (*data(signal(source=6)), "PERMISSION_DENIED/PARTNER_MISMATCH"),
    "row-21-enum-unspecified": (*data(signal(kind=0)), "INVALID_ARGUMENT/ENUM"),
    "row-21-enum-99": (*data(signal(kind=99)), "INVALID_ARGUMENT/ENUM"),
    "row-21-sex-99": (*data(register(sex=99)), "INVALID_ARGUMENT/ENUM"),
    "row-22-birth-date-2031": (*data(register(birth_date="2031-01-01")), "INVALID_ARGUMENT/DATE_RANGE"),
    "row-22-birth-date-1900": (*data(register(birth_date="1900-01-01")), "INVALID_ARGUMENT/DATE_RANGE"),
    "row-22-birth-date-30-february": (*data(register(birth_date="2026-02-30")), "INVALID_ARGUMENT/DATE_RANGE"),
    "row-22-taken-tomorrow": (SUBMIT, encoded(taken_on="2026-12-31"), "INVALID_ARGUMENT/DATE_RANGE"),
    "row-22-taken-30-february": (SUBMIT, encoded(taken_on="2026-02-30"), "INVALID_ARGUMENT/DATE_RANGE"),
    "row-22-taken-in-year-10000": (SUBMIT, encoded(taken_on="10000-01-01"), "INVALID_ARGUMENT/DATE_RANGE"),
    "row-23-answer-above-the-scale": (SUBMIT, encoded(answers=bytes([9] * 9)), "INVALID_ARGUMENT/ANSWER_RANGE"),
    "row-23-answers-too-many": (SUBMIT, encoded(answers=bytes(10)), "INVALID_ARGUMENT/ANSWER_COUNT"),
    "row-26-signal-without-facts": (*data(signal(facts=" ")), "INVALID_ARGUMENT/FACTS_REQUIRED"),
    "row-30-consent-to-share-notes": (*data(consent(classes=[15])), "INVALID_ARGUMENT/CLASS_NEVER_SHARED"),
    "unknown-instrument": (SUBMIT, encoded(instrument="MADE-UP"), "NOT_FOUND/INSTRUMENT"),
    "no-student-named": (*data(scr.ListAssessmentsRequest()), "INVALID_ARGUMENT/REQUIRED"),
    "page-of-a-million": (*data(scr.ListTriagesRequest(page_size=10**6)), "INVALID_ARGUMENT/INT32_GTE_LTE"),
}


@pytest.fixture(scope="module", autouse=True)
def known(wire):
    """The canary student exists, so that every refusal below is for the reason of its row."""
    wire.student(local_id=CANARY, family_name=CANARY)


def stored(wire):
    with wire.gate.gateway.store.read() as tx:
        return {t.name: tx.scalar(t.select().with_only_columns(func.count())) for t in KEPT}


def send(wire, path, body, partner=None, timeout=20.0, metadata=()):
    channel = wire.gate.channel(partner or wire.SCHOOL)
    return channel.unary_unary(path)(body, timeout=timeout, metadata=metadata)


@pytest.mark.parametrize("row", ROWS)
def test_a_bad_input_gets_its_answer_and_leaves_nothing(wire, caplog, row):
    path, body, expected = ROWS[row]
    caplog.set_level(logging.DEBUG)
    before = stored(wire)
    answers = [wire.refused(lambda: send(wire, path, body)) for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0].word == expected
    assert stored(wire) == before
    assert CANARY.encode() not in answers[0].text
    assert CANARY not in caplog.text


def test_row_05_the_answer_names_the_unknown_numbers(wire):
    assert b"500" in wire.refused(lambda: send(wire, SUBMIT, encoded() + b"\xa0\x1f\x01")).text


def test_row_08_twenty_kilobytes_of_metadata_are_refused_by_the_core_and_nine_by_us(wire):
    big = wire.refused(lambda: send(wire, SUBMIT, encoded(), metadata=[("x-big", "a" * 20_000)]))
    assert big.code == "RESOURCE_EXHAUSTED"
    ours = wire.refused(lambda: send(wire, SUBMIT, encoded(), metadata=[("x-big", "a" * 9_000)]))
    assert ours.word == "RESOURCE_EXHAUSTED/METADATA"


def test_row_09_the_answer_names_the_code_point_and_its_place(wire):
    request = register(given_name="ab\u200b")
    assert b"U+200B at index 2" in wire.refused(lambda: send(wire, *data(request))).text


def test_row_10_a_call_without_a_deadline_is_refused(wire):
    answer = wire.refused(lambda: send(wire, SUBMIT, encoded(), timeout=None))
    assert answer.word == "INVALID_ARGUMENT/DEADLINE_REQUIRED"


def test_row_10_a_deadline_of_an_hour_is_capped_and_the_trailer_says_so(wire):
    path, body = data(scr.ListTriagesRequest())
    call = wire.gate.channel(wire.PSYCH).unary_unary(path)
    _, info = call.with_call(body, timeout=3600)
    assert ("xinqiao-deadline-capped-s", "30") in [tuple(item) for item in info.trailing_metadata()]


def test_row_11_a_deadline_that_passes_before_the_answer_loses_nothing(wire):
    local = wire.student()
    request = good(request_id=wire.key())
    request.student.local_id = local
    store = wire.gate.gateway.store
    busy = [store.write(lambda tx: time.sleep(0.6)) for _ in store.writer_ids]
    late = wire.refused(lambda: send(wire, *data(request), timeout=0.25))
    assert late.code == "DEADLINE_EXCEEDED"
    for job in busy:
        job.result()
    answer = scr.SubmitAssessmentResponse.FromString(send(wire, *data(request)))
    (row,) = wire.rows(tables.assessments, student=wire.inside_id(local))
    assert answer.assessment.name == f"assessments/{row['id']}"


def test_row_13_the_same_key_for_one_byte_more_is_refused(wire):
    first, other = good(request_id="row13-key"), good(request_id="row13-key", answers=bytes([1] + [0] * 8))
    send(wire, *data(first))
    before = stored(wire)
    assert wire.refused(lambda: send(wire, *data(other))).word == "ALREADY_EXISTS/KEY_REUSED"
    assert stored(wire) == before


def test_row_13_a_key_cannot_be_used_for_another_method_either(wire):
    send(wire, *data(good(request_id="row13-key-2")))
    used = register()
    used.request_id = "row13-key-2"
    assert wire.refused(lambda: send(wire, *data(used))).word == "ALREADY_EXISTS/KEY_REUSED"


def test_row_17_a_hospital_cannot_speak_as_the_police(wire):
    answer = wire.refused(lambda: send(wire, *data(signal(source=6)), partner=wire.HOSPITAL))
    assert answer.word == "PERMISSION_DENIED/PARTNER_MISMATCH"


@pytest.mark.parametrize(
    "path",
    [
        "/grpc.health.v1.Health/Check", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/xinqiao.api.screening.v1.ScreeningService/Nothing", "/", "/a/b/c",
    ],
)  # fmt: skip
def test_row_19_what_is_not_for_partners_does_not_exist(wire, path):
    assert wire.refused(lambda: send(wire, path, b"")).code == "UNIMPLEMENTED"


def test_row_19_an_operator_may_probe(wire):
    assert send(wire, "/grpc.health.v1.Health/Check", b"", partner=wire.OPERATOR) == b"\x08\x01"


def refer(wire, local, **words):
    request = wire.refer_request(local, **words)
    request.request_id = wire.key()
    return wire.refused(lambda: wire.gate.call(wire.PSYCH, request)).word


def test_row_24_a_referral_without_consent_and_basis(wire):
    assert refer(wire, wire.student()) == "FAILED_PRECONDITION/NO_CONSENT"


@pytest.mark.parametrize(("basis", "reason"), [("unheard-of", "UNKNOWN"), ("mandatory-report", "PURPOSE")])
def test_row_25_a_basis_that_does_not_apply(wire, basis, reason):
    word = refer(wire, wire.student(), basis=basis, crisis_facts="f")
    assert word == f"FAILED_PRECONDITION/BASIS_{reason}"


def test_row_26_an_emergency_without_facts(wire):
    assert refer(wire, wire.student(), urgency=3) == "INVALID_ARGUMENT/FACTS_REQUIRED"


def test_row_27_a_consent_withdrawn_a_moment_earlier(wire):
    local = wire.student()
    name = wire.consent(local).name
    wire.gate.call(wire.PSYCH, case.WithdrawConsentRequest(request_id=wire.key(), name=name))
    assert refer(wire, local) == "FAILED_PRECONDITION/WITHDRAWN"


def test_row_28_under_fourteen_with_the_students_consent_only(wire):
    request = wire.consent_request(wire.student(born="2014-01-01"), signer=2)
    request.request_id = wire.key()
    answer = wire.refused(lambda: wire.gate.call(wire.PSYCH, request))
    assert answer.word == "FAILED_PRECONDITION/GUARDIAN_REQUIRED"


def test_row_29_two_guardians_disagree(wire):
    local = wire.student()
    wire.consent(local)
    wire.consent(local, state=5, signer=1)
    assert refer(wire, local) == "FAILED_PRECONDITION/DISPUTED"


def test_row_31_one_partners_open_streams_cannot_take_the_places_of_another(wire):
    path = PATHS[scr.UploadAssessmentsRequest]
    stream = wire.gate.channel(wire.SCHOOL).stream_stream(path)
    release = []

    def hang():
        while not release:
            time.sleep(0.05)
        yield b""

    calls = [stream(hang(), timeout=20) for _ in range(70)]
    try:
        refused = 0
        for call in calls[64:]:
            with pytest.raises(grpc.RpcError) as caught:
                next(call)
            refused += caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused == 6
        path, body = data(referral.ListReferralsRequest())
        send(wire, path, body, partner=wire.HOSPITAL)
        assert wire.gate.call(wire.SCHOOL, signal(request_id=wire.key())).signal.name  # crisis has places of its own
    finally:
        release.append(True)
        for call in calls:
            call.cancel()


def test_row_33_closed_cannot_be_left_and_a_stale_version_is_told(wire):
    local = wire.student()
    wire.consent(local)
    made = wire.refer(local).referral
    jump = referral.AdvanceReferralRequest(request_id=wire.key(), name=made.name, event=12)
    assert wire.refused(lambda: wire.gate.call(wire.PSYCH, jump)).word == "FAILED_PRECONDITION/STATE"
    stale = referral.AdvanceReferralRequest(request_id=wire.key(), name=made.name, event=3, etag="9")
    assert wire.refused(lambda: wire.gate.call(wire.HOSPITAL, stale)).word == "ABORTED/VERSION"


def test_an_error_inside_tells_a_reference_and_nothing_else(wire, caplog, monkeypatch):
    def broken(request, call):
        raise ValueError(f"cannot store {CANARY}")

    monkeypatch.setitem(wire.gate.gateway.pipeline._functions, SUBMIT, broken)
    caplog.set_level(logging.DEBUG)
    answer = wire.refused(lambda: send(wire, SUBMIT, encoded(request_id=wire.key())))
    assert answer.code == "INTERNAL"
    assert CANARY.encode() not in answer.text
    assert CANARY not in caplog.text
    assert "reference" in caplog.text
