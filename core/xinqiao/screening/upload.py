"""Bulk screening: columnar batches checked, scored and sealed with numpy off the writer, then stored in one command."""

import hashlib
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xinqiao.api.common.v1 import types_pb2 as types
from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao.api.screening.v1 import screening_service_pb2 as rpc
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.registry import Partner
from xinqiao.disclosure.students import Known
from xinqiao.screening.batch import BatchScores, own_bytes, propose_batch, score_batch
from xinqiao.screening.cases import signal_of, signal_rows, triage_of, triage_rows
from xinqiao.screening.coding import check_coding
from xinqiao.screening.instruments import Instrument
from xinqiao.screening.scoring import Score
from xinqiao.screening.service import Screening, check_date
from xinqiao.screening.triage import proposal_of
from xinqiao.store import tables
from xinqiao.store.ids import new_ids
from xinqiao.store.sealing import Sealer
from xinqiao.store.tx import ReadTx, end_to_end

_PART = 200  # rows of a batch one command stores: some 2 ms of the writer; by place, so that a repeat is cut alike
_SUBJECT_TAG = bytes([pb.Triage.SUBJECT_FIELD_NUMBER << 3 | 2])
_ASSESSMENT_TAG = bytes([pb.Signal.ASSESSMENT_FIELD_NUMBER << 3 | 2])


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """An upload as its header opened it; ``id`` is unique over all partners."""

    id: str
    partner: str
    agency: str
    instrument: Instrument
    taken_on: str
    digest: bytes
    coding: str = ""


@dataclass(slots=True)
class Part:
    """So many forms of a batch as one command stores: per table the values of its rows end to end, in column order;
    ``commitment`` is to the forms."""

    forms: int
    verdicts: bytes
    commitment: bytes
    assessments: list[object]
    triages: list[object] = field(default_factory=list[object])
    signals: list[object] = field(default_factory=list[object])
    holdings: list[object] = field(default_factory=list[object])


@dataclass(slots=True)
class Prepared:
    """One batch, ready to store part by part: a crisis command waits for a part at most, never for a batch."""

    number: int
    digest: bytes
    parts: list[Part] = field(default_factory=list[Part])


class Uploads:
    """Opens, prepares and stores batches for ``Screening.UploadAssessments``."""

    def __init__(self, screening: Screening) -> None:
        self._screening = screening
        self._door = screening.door

    def open(self, header: rpc.UploadHeader, caller: Partner) -> OpenUpload:
        """Check a header. Raises Refusal NOT_FOUND/INSTRUMENT, INVALID_ARGUMENT/CODING_REQUIRED or CODING_UNKNOWN."""
        instrument = self._screening.instrument(header.instrument)
        digest = hashlib.sha256(header.SerializeToString(deterministic=True)).digest()
        identifier = f"{caller.agency}.{header.upload_id}"
        check_coding(instrument, header.coding)
        return OpenUpload(identifier, caller.id, caller.agency, instrument, header.taken_on, digest, header.coding)

    def resume(self, upload: OpenUpload, call: Call) -> rpc.UploadAssessmentsResponse:
        """Begin the upload, or say how far it got. Raises Refusal ALREADY_EXISTS/KEY_REUSED, DATE_RANGE."""
        check_date(upload.taken_on, call.tx.now_us)
        row = call.tx.get(tables.uploads, upload.id)
        if row is None:
            call.tx.insert(
                tables.uploads, upload.id, upload.agency, upload.instrument.id, upload.digest, 1, 0, 0,
                call.tx.now_us, call.tx.now_us,
            )  # fmt: skip
            call.journal("upload.opened", resource=f"uploads/{upload.id}")
            return rpc.UploadAssessmentsResponse()
        if bytes(row["digest"]) != upload.digest:
            raise Refusal("ALREADY_EXISTS", "KEY_REUSED", "this upload_id began with another instrument or date")
        return rpc.UploadAssessmentsResponse(batches_stored=row["batches"], rows_stored=row["rows"])

    def prepare(self, upload: OpenUpload, batch: rpc.AssessmentBatch, caller: Partner, reading: ReadTx) -> Prepared:
        """Score and seal a batch. Raises Refusal INVALID_ARGUMENT/BATCH_SHAPE."""
        rows, items = len(batch.local_ids), upload.instrument.items
        if len(batch.answers) != rows * items:
            raise Refusal("INVALID_ARGUMENT", "BATCH_SHAPE", f"answers needs {items} bytes for each of the local_ids")
        own = own_bytes(upload.instrument, batch.answers, upload.coding)
        answers = np.frombuffer(own, np.uint8).reshape(rows, items)
        scored = score_batch(upload.instrument, answers, coding=upload.instrument.own_coding)
        known = self._door.students.resolve_all(reading, caller, batch.local_ids)
        verdicts = np.where(scored.verdict == 0, rpc.ROW_VERDICT_ACCEPTED, rpc.ROW_VERDICT_ANSWER_RANGE).astype(
            np.uint8
        )
        verdicts[(scored.verdict == 0) & scored.critical[:, upload.instrument.plan.crisis].any(axis=1)] = (
            rpc.ROW_VERDICT_ACCEPTED_CRITICAL
        )
        verdicts[[entry is None for entry in known]] = rpc.ROW_VERDICT_UNKNOWN_STUDENT
        digest = hashlib.sha256(batch.SerializeToString(deterministic=True)).digest()
        return Prepared(batch.number, digest, self._parts(upload, own, known, scored, verdicts, reading.now_us))

    def _parts(
        self,
        upload: OpenUpload,
        answers: bytes,
        known: list[Known | None],
        scored: BatchScores,
        verdicts: np.ndarray[tuple[int], np.dtype[np.uint8]],
        now_us: int,
    ) -> list[Part]:
        instrument, items = upload.instrument, upload.instrument.items
        stored = (verdicts == rpc.ROW_VERDICT_ACCEPTED) | (verdicts == rpc.ROW_VERDICT_ACCEPTED_CRITICAL)
        places = np.flatnonzero(stored)
        at, count = places.tolist(), len(places)
        students = [known[place] or _nobody() for place in at]
        results = _results(self._screening, instrument, scored, places, now_us)
        by_student = self._door.keys.sealers([student for student, _ in students])
        sealers, identifiers = [by_student[student] for student, _ in students], new_ids(now_us, count)
        common = pb.Assessment(
            instrument=instrument.id, instrument_version=instrument.version, taken_on=upload.taken_on,
            create_time_us=now_us,
        ).SerializeToString()  # fmt: skip
        # Field and length of the answers; the answers themselves follow, then the scores: protobuf messages concatenate.
        head = common + pb.Assessment(answers=bytes(items)).SerializeToString()[:-items]
        sealed = Sealer.seal_each(
            "assessments", sealers, identifiers,
            [head + answers[place * items : (place + 1) * items] + each.scores
             for place, each in zip(at, results, strict=True)],
        )  # fmt: skip
        columns = (
            identifiers, [student for student, _ in students], [school for _, school in students],
            [instrument.id] * count, [upload.taken_on] * count, [each.tier for each in results],
            [each.crisis for each in results], [upload.agency] * count, [upload.id] * count, [now_us] * count, sealed,
        )  # fmt: skip
        width, values = len(columns), end_to_end(columns)
        parts: list[Part] = []
        ends = np.searchsorted(places, np.arange(0, len(known) + _PART, _PART)).tolist()
        for number, (start, end) in enumerate(pairwise(ends)):
            commitment = hashlib.sha256(b"".join(sealed[start:end])).digest()
            part = verdicts[number * _PART : (number + 1) * _PART].tobytes()
            parts.append(Part(end - start, part, commitment, values[start * width : end * width]))
        self._follow_up(
            [
                _Followed(parts[place // _PART], student, sealer, form, result)
                for place, student, sealer, form, result in zip(
                    at, students, sealers, identifiers, results, strict=True
                )
                if result.tier > types.TIER_GREEN
            ],
            now_us,
        )
        return parts

    def _follow_up(self, forms: "list[_Followed]", now_us: int) -> None:
        """The triages, signals and holdings that :meth:`Screening.follow_up` opens form by form, as rows of the parts."""
        holders = {school: self._door.registry.holder(school) for school in {each.known.school for each in forms}}
        identifiers = new_ids(now_us, len(forms))
        sealed = Sealer.seal_each(
            "triages", [each.sealer for each in forms], identifiers,
            [each.result.triage + _SUBJECT_TAG + each.subject_field for each in forms],
        )  # fmt: skip
        for each, identifier, blob in zip(forms, identifiers, sealed, strict=True):
            row, held = triage_rows(
                blob, each.known, identifier, each.subject, each.result.tier, holder=holders[each.known.school],
                deadline_us=each.result.confirm_us, now_us=now_us,
            )  # fmt: skip
            each.part.triages += row
            each.part.holdings += held
        forms = [each for each in forms if each.result.crisis]
        identifiers = new_ids(now_us, len(forms))
        sealed = Sealer.seal_each(
            "signals", [each.sealer for each in forms], identifiers,
            [each.result.crisis_record + _ASSESSMENT_TAG + each.subject_field for each in forms],
        )  # fmt: skip
        for each, identifier, blob in zip(forms, identifiers, sealed, strict=True):
            row, held = signal_rows(
                blob, each.known, identifier, each.result.signal, holder=holders[each.known.school],
                deadline_us=each.result.acknowledge_us, now_us=now_us,
            )  # fmt: skip
            each.part.signals += row
            each.part.holdings += held

    def store(
        self, upload: OpenUpload, prepared: Prepared, index: int, call: Call
    ) -> rpc.UploadAssessmentsResponse | None:
        """Store the part at ``index`` of a prepared batch once; the answer once all of it is stored, else None.

        A repeat of the batch is answered again, and goes on after the last part that a broken stream left. Raises
        Refusal BATCH_ORDER or KEY_REUSED.
        """
        tx, last = call.tx, index == len(prepared.parts) - 1
        whole, part = f"{upload.id}#{prepared.number}", prepared.parts[index]
        key = whole if last else f"{whole}.{index}"
        system = self._door.keys.system_sealer()
        stored = tx.get(tables.requests, upload.agency, whole) or tx.get(tables.requests, upload.agency, key)
        if stored is not None:
            if bytes(stored["digest"]) != prepared.digest:
                raise Refusal("ALREADY_EXISTS", "KEY_REUSED", "this batch number was sent with other content")
            if not last:
                return None
            answer = system.open(bytes(stored["response"]), table="requests", key=f"{upload.agency}/{whole}")
            return rpc.UploadAssessmentsResponse.FromString(answer)
        row = tx.get(tables.uploads, upload.id)
        if row is None or prepared.number != int(row["batches"]) + 1:
            raise Refusal("INVALID_ARGUMENT", "BATCH_ORDER", "send batches 1, 2, 3 ...; go on after batches_stored")
        if index:  # parts are queued together: one that was refused must stop those behind it
            before = tx.get(tables.requests, upload.agency, f"{whole}.{index - 1}")
            if before is None or bytes(before["digest"]) != prepared.digest:
                raise Refusal("ABORTED", "BATCH_BROKEN", "an earlier part of the batch was not stored: send it again")
        tx.insert_values(tables.assessments, part.assessments)
        tx.insert_values(tables.triages, part.triages)
        tx.insert_values(tables.signals, part.signals)
        tx.insert_values(tables.holdings, part.holdings)
        rows, batches = int(row["rows"]) + part.forms, int(row["batches"]) + last
        tx.update(tables.uploads, (upload.id,), batches=batches, rows=rows, updated_us=tx.now_us)
        call.journal_batch(
            "assessments.uploaded", resource=f"uploads/{upload.id}/{key.rpartition('#')[2]}",
            reason=f"rows:{part.forms}", payload=part.commitment,
        )  # fmt: skip
        response = rpc.UploadAssessmentsResponse(batch=prepared.number, batches_stored=batches, rows_stored=rows)
        # A part's verdicts are those it was stored with: after a break the roster may say otherwise of the same rows.
        for earlier in range(index) if last else ():
            named = f"{whole}.{earlier}"
            kept = tx.get(tables.requests, upload.agency, named)
            assert kept is not None  # looked for above, each by the part that follows it
            response.verdicts += system.open(bytes(kept["response"]), table="requests", key=f"{upload.agency}/{named}")
        response.verdicts += part.verdicts
        answer = system.seal(
            response.SerializeToString() if last else part.verdicts, table="requests", key=f"{upload.agency}/{key}"
        )
        tx.insert(tables.requests, upload.agency, key, call.method.name, prepared.digest, None, answer, tx.now_us)
        return response if last else None


@dataclass(frozen=True, slots=True)
class _Result:
    """What rows of the same scores share: the serialized parts of their records, the tier and the deadlines."""

    scores: bytes
    tier: int
    triage: bytes = b""
    crisis: bool = False
    signal: pb.Signal = field(default_factory=pb.Signal)
    crisis_record: bytes = b""
    confirm_us: int = 0
    acknowledge_us: int = 0


class _Followed(NamedTuple):
    """A stored form that a person must see, and the part it is stored with."""

    part: Part
    known: Known
    sealer: Sealer
    form: str
    result: _Result

    @property
    def subject(self) -> str:
        return f"assessments/{self.form}"

    @property
    def subject_field(self) -> bytes:
        """The subject as it stands in a serialized record, behind the field's tag."""
        text = self.subject.encode()
        return bytes([len(text)]) + text


def _nobody() -> Known:
    raise AssertionError("a row without its student was accepted")


def _results(
    screening: Screening, instrument: Instrument, scored: BatchScores, places: NDArray[np.intp], now_us: int
) -> list[_Result]:
    """The results of the forms at ``places``; few distinct ones exist, so each is serialized once."""
    _, rules = propose_batch(screening.pack, instrument, scored)
    columns = (
        rules, scored.category, scored.complete, scored.answered, *scored.critical.T, *scored.totals.values()
    )  # fmt: skip
    told = np.stack([column[places] for column in columns], axis=1, dtype=np.int16)
    keys: list[bytes] = told.view(f"V{told.itemsize * len(columns)}").ravel().tolist()
    known = {
        key: _result(screening, instrument, list(scored.totals), now_us, told[at].tolist())
        for key, at in dict(zip(keys, range(len(keys)), strict=True)).items()
    }
    return [known[key] for key in keys]


def _result(
    screening: Screening, instrument: Instrument, names: list[str], now_us: int, told: list[int]
) -> _Result:  # fmt: skip
    rule, category, complete, answered, *more = told
    critical, totals = more[: len(instrument.critical)], more[len(instrument.critical) :]
    fired = tuple(each.id for each, hit in zip(instrument.critical, critical, strict=True) if hit)
    values = {name: value if value >= 0 else None for name, value in zip(names, totals, strict=True)}
    word = instrument.category_ids[category] if category >= 0 else None
    score = Score(values, word, fired, bool(complete), answered)
    scores = pb.Assessment(
        scores=[pb.Score(id=name, value=value) for name, value in values.items()],
        category=word or "",
        critical=fired,
        complete=score.complete,
    ).SerializeToString()
    proposal = proposal_of(screening.pack, rule, score)
    if proposal.tier <= types.TIER_GREEN:
        return _Result(scores, proposal.tier)
    deadline, signal = screening.deadline, signal_of(proposal)
    return _Result(
        scores, proposal.tier, triage_of(proposal).SerializeToString(), proposal.crisis, signal,
        signal.SerializeToString(),
        deadline(proposal.tier, "confirm", now_us), deadline(types.TIER_RED, "acknowledge", now_us),
    )  # fmt: skip
