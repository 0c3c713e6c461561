"""Streamed uploads: a verdict per row, once each, whatever breaks in between; and the same result as one by one."""

import itertools

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao.api.screening.v1 import screening_service_pb2 as rpc
from xinqiao.screening import upload as upload_module
from xinqiao.server.uploads import Upload
from xinqiao.store import tables

PATH = "/xinqiao.api.screening.v1.ScreeningService/UploadAssessments"
ACCEPTED, CRITICAL, RANGE, UNKNOWN = 1, 2, 3, 4
_ids = itertools.count(1)


def header(upload, instrument="PHQ-9", taken_on="2026-10-02"):
    return rpc.UploadAssessmentsRequest(header={"upload_id": upload, "instrument": instrument, "taken_on": taken_on})


def batch(number, locals_, answers):
    return rpc.UploadAssessmentsRequest(batch={"number": number, "local_ids": locals_, "answers": b"".join(answers)})


def stream(wire, *messages, partner=None):
    call = wire.gate.channel(partner or wire.SCHOOL).stream_stream(
        PATH, lambda m: m.SerializeToString(deterministic=True), rpc.UploadAssessmentsResponse.FromString
    )
    return list(call(iter(messages), timeout=30))


def school_of(wire):
    """The school as a caller, and the method it calls."""
    gateway = wire.gate.gateway
    return gateway.registry.find(wire.SCHOOL), gateway.pipeline.methods[PATH]


@pytest.fixture
def upload():
    return f"upload-{next(_ids):06d}"


@pytest.fixture(scope="module")
def pupils(wire):
    return [wire.student() for _ in range(6)]


def test_every_row_gets_its_own_verdict(wire, pupils, upload):
    answers = [bytes(9), bytes([0] * 8 + [1]), bytes([9] * 9), bytes(9)]
    _, answer = stream(wire, header(upload), batch(1, [*pupils[:3], "nobody"], answers))
    assert list(answer.verdicts) == [ACCEPTED, CRITICAL, RANGE, UNKNOWN]
    assert (answer.batch, answer.batches_stored, answer.rows_stored) == (1, 1, 2)


def test_a_pupil_of_another_school_is_unknown(wire, upload):
    theirs = wire.student(school="other-school", code="3205830002")
    assert list(stream(wire, header(upload), batch(1, [theirs], [bytes(9)]))[1].verdicts) == [UNKNOWN]


def test_after_a_disconnect_it_goes_on_where_it_was_and_a_batch_sent_again_is_not_stored_again(wire, pupils, upload):
    first, second = batch(1, pupils[:2], [bytes(9)] * 2), batch(2, pupils[2:4], [bytes([1] * 9)] * 2)
    answered = stream(wire, header(upload), first)[1]
    resumed, again, next_ = stream(wire, header(upload), first, second)
    assert (resumed.batches_stored, resumed.rows_stored) == (1, 2)
    assert again == answered
    assert (next_.batches_stored, next_.rows_stored) == (2, 4)
    assert len(wire.rows(tables.assessments, upload=f"{wire.SCHOOL}.{upload}")) == 4


def test_a_client_that_vanishes_in_the_middle_leaves_whole_batches_only(wire, pupils, upload):
    call = wire.gate.channel(wire.SCHOOL).stream_stream(
        PATH, lambda m: m.SerializeToString(deterministic=True), rpc.UploadAssessmentsResponse.FromString
    )
    calls = call(iter([header(upload), *(batch(n, pupils, [bytes(9)] * 6) for n in range(1, 9))]), timeout=30)
    next(calls)
    next(calls)
    calls.cancel()
    (resumed,) = stream(wire, header(upload))
    stored = wire.rows(tables.assessments, upload=f"{wire.SCHOOL}.{upload}")
    assert len(stored) % 6 == 0
    done = stream(wire, header(upload), *(batch(n, pupils, [bytes(9)] * 6) for n in range(1, 9)))
    assert done[-1].rows_stored == 48
    assert resumed.batches_stored >= 1
    assert len(wire.rows(tables.assessments, upload=f"{wire.SCHOOL}.{upload}")) == 48


def refused(wire, *messages):
    return wire.refused(lambda: stream(wire, *messages)).word


def test_what_breaks_the_order_or_the_shape_is_refused(wire, pupils, upload):
    one = batch(1, pupils[:1], [bytes(9)])
    assert refused(wire, one) == "INVALID_ARGUMENT/HEADER"
    assert refused(wire, header(upload), header(upload)) == "INVALID_ARGUMENT/HEADER"
    assert refused(wire, header(upload), batch(2, pupils[:1], [bytes(9)])) == "INVALID_ARGUMENT/BATCH_ORDER"
    assert refused(wire, header(upload), batch(1, pupils[:1], [bytes(8)])) == "INVALID_ARGUMENT/BATCH_SHAPE"
    assert refused(wire, header(upload, "NOPE-1")) == "NOT_FOUND/INSTRUMENT"
    assert refused(wire, header(upload, taken_on="2026-12-31")) == "INVALID_ARGUMENT/DATE_RANGE"
    assert wire.rows(tables.assessments, upload=f"{wire.SCHOOL}.{upload}") == []


def test_other_content_under_a_used_batch_number_or_upload_id_is_refused(wire, pupils, upload):
    stream(wire, header(upload), batch(1, pupils[:1], [bytes(9)]))
    other = batch(1, pupils[:1], [bytes([1] * 9)])
    assert refused(wire, header(upload), other) == "ALREADY_EXISTS/KEY_REUSED"
    assert refused(wire, header(upload, "GAD-7")) == "ALREADY_EXISTS/KEY_REUSED"
    assert refused(wire, header(upload, taken_on="2026-10-03")) == "ALREADY_EXISTS/KEY_REUSED"
    assert len(wire.rows(tables.assessments, upload=f"{wire.SCHOOL}.{upload}")) == 1


def test_a_batch_in_line_behind_a_refused_one_is_not_stored(wire, pupils, upload):
    store, (school, method) = wire.gate.gateway.store, school_of(wire)
    state = Upload(wire.gate.gateway.pipeline, method, school)
    one, other, two = (batch(n, pupils[:1], [bytes([a] * 9)]) for n, a in ((1, 0), (1, 1), (2, 0)))
    commands = [command for message in (header(upload), one, other, two) for command in state.prepare_message(message)]
    outcomes = [store.write(command).exception() for command in commands]
    assert [error and error.reason for error in outcomes] == [None, None, "KEY_REUSED", "BATCH_BROKEN"]
    assert len(wire.rows(tables.assessments, upload=f"{wire.SCHOOL}.{upload}")) == 1
    assert stream(wire, header(upload), one, two)[-1].batches_stored == 2


def test_every_batch_before_a_refused_one_is_answered(wire, pupils, upload):
    call = wire.gate.channel(wire.SCHOOL).stream_stream(
        PATH, lambda m: m.SerializeToString(deterministic=True), rpc.UploadAssessmentsResponse.FromString
    )
    good = [batch(n, pupils, [bytes(9)] * 6) for n in range(1, 5)]
    answers, numbers = call(iter([header(upload), *good, batch(5, pupils[:1], [bytes(8)])]), timeout=30), []
    with pytest.raises(grpc.RpcError):
        numbers.extend(answer.batch for answer in answers)
    assert numbers == [0, 1, 2, 3, 4]


def test_two_partners_may_use_the_same_upload_id(wire, pupils, upload):
    stream(wire, header(upload), batch(1, pupils[:1], [bytes(9)]))
    theirs = wire.student(school="other-school", code="3205830002")
    answer = stream(wire, header(upload), batch(1, [theirs], [bytes(9)]), partner="other-school")[-1]
    assert answer.rows_stored == 1


def test_an_upload_is_not_for_hospitals(wire, upload):
    with pytest.raises(grpc.RpcError):
        stream(wire, header(upload), partner=wire.HOSPITAL)


def everything(wire, local):
    """What the gateway concluded about a pupil, without ids and times."""
    inside = wire.inside_id(local)
    sealer = wire.gate.gateway.store.keys.sealer(inside)
    found = []
    for table, kind in ((tables.assessments, pb.Assessment), (tables.triages, pb.Triage), (tables.signals, pb.Signal)):
        for row in wire.rows(table, student=inside):
            message = kind.FromString(sealer.open(bytes(row["sealed"]), table=table.name, key=row["id"]))
            for name in ("subject", "assessment", "create_time_us", "inputs"):
                if name in message.DESCRIPTOR.fields_by_name:
                    message.ClearField(name)
            plain = {k: row[k] for k in ("tier", "critical", "proposed", "state", "kind", "source") if k in row}
            found.append((table.name, message.SerializeToString(deterministic=True), sorted(plain.items())))
    held = wire.rows(tables.holdings, student=inside)
    found += [(h["kind"], h["holder"], h["step"], h["tier"]) for h in held]
    return sorted(found, key=repr)


# The instruments that are switched on.
SHAPES = {"PHQ-9": (9, 3), "GAD-7": (7, 3), "WHO-5": (5, 5), "PSC-17": (17, 2), "ASQ": (5, 2), "C-SSRS": (7, 1)}
forms = st.sampled_from(sorted(SHAPES)).flatmap(
    lambda name: st.tuples(
        st.just(name),
        st.lists(st.one_of(st.integers(0, SHAPES[name][1]), st.just(255)), min_size=SHAPES[name][0],
                 max_size=SHAPES[name][0]).map(bytes),
    )
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(forms)
def test_a_form_in_a_batch_and_one_by_itself_come_to_the_same(wire, form):
    instrument, answers = form
    alone, listed = wire.student(), wire.student()
    request = rpc.SubmitAssessmentRequest(instrument=instrument, taken_on="2026-10-02", answers=answers)
    request.student.local_id = alone
    wire.call(wire.SCHOOL, request)
    name = f"upload-{next(_ids):06d}"
    stream(wire, header(name, instrument), batch(1, [listed], [answers]))
    assert everything(wire, alone) == everything(wire, listed)


# -- a batch is stored part by part, so that red waits for a part at most ----------------------------------------------


def parts_of(wire, upload, message):
    """The commands of one batch as the edge gets them, on an upload of its own."""
    gateway, (school, method) = wire.gate.gateway, school_of(wire)
    stream_state = Upload(gateway.pipeline, method, school)
    for command in stream_state.prepare_message(header(upload)):
        gateway.store.run(command)
    return stream_state.prepare_message(message)


def test_a_batch_broken_between_its_parts_goes_on_there_and_stores_no_row_twice(wire, pupils, upload, monkeypatch):
    monkeypatch.setattr(upload_module, "_PART", 2)
    store, message = wire.gate.gateway.store, batch(1, pupils, [bytes([0] * 8 + [1])] * 6)
    first, *_rest = parts_of(wire, upload, message)
    assert store.run(first) is None  # no answer before the last part
    (resumed,) = stream(wire, header(upload))
    assert (resumed.batches_stored, resumed.rows_stored) == (0, 2)
    answer = stream(wire, header(upload), message)[1]
    assert (answer.batches_stored, answer.rows_stored, list(answer.verdicts)) == (1, 6, [CRITICAL] * 6)
    stored = wire.rows(tables.assessments, upload=f"{wire.SCHOOL}.{upload}")
    assert len({row["student"] for row in stored}) == len(stored) == 6
    assert stream(wire, header(upload), message)[1] == answer
    assert len(wire.journal(kind="assessments.uploaded", resource=f"uploads/{wire.SCHOOL}.{upload}/1.0")) == 1


@pytest.mark.parametrize("change", ["a pupil left", "a pupil came"])
def test_whoever_comes_or_goes_before_the_repeat_nobody_is_told_of_a_red_form_that_is_not_stored(
    wire, upload, monkeypatch, change
):
    monkeypatch.setattr(upload_module, "_PART", 2)
    store, locals_ = wire.gate.gateway.store, [wire.student() for _ in range(6)]
    students = [wire.inside_id(local) for local in locals_]

    def move(school):
        store.run(lambda tx: tx.update(tables.students, (students[0],), school=school))

    message = batch(1, locals_, [bytes([0] * 8 + [3])] * 6)
    if change == "a pupil came":
        move("3205830002")
    store.run(parts_of(wire, upload, message)[0])  # and here the stream breaks
    move("3205830002" if change == "a pupil left" else "3205830001")
    answer = stream(wire, header(upload), message)[1]
    told = [student for student, verdict in zip(students, answer.verdicts, strict=True) if verdict == CRITICAL]
    assert len(answer.verdicts) == 6
    assert set(told) >= set(students[1:])
    for student in students:
        stored = wire.rows(tables.assessments, student=student)
        assert len(stored) == len(wire.rows(tables.signals, student=student)) == (student in told)
    assert answer.rows_stored == len(told)


def test_a_batch_broken_between_its_parts_cannot_go_on_with_other_content(wire, pupils, upload, monkeypatch):
    monkeypatch.setattr(upload_module, "_PART", 2)
    wire.gate.gateway.store.run(parts_of(wire, upload, batch(1, pupils, [bytes(9)] * 6))[0])
    other = batch(1, pupils, [bytes([1] * 9)] * 6)
    assert wire.refused(lambda: stream(wire, header(upload), other)).word == "ALREADY_EXISTS/KEY_REUSED"


def test_no_part_of_a_batch_is_longer_than_a_crisis_may_wait_for(wire, pupils, upload):
    message = batch(1, pupils * 250, [bytes(9)] * 1500)
    assert len(parts_of(wire, upload, message)) == -(-1500 // upload_module._PART)
    assert upload_module._PART <= 500
