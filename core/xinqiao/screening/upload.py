"""Bulk screening: columnar batches checked, scored and sealed with numpy off the writer, then stored in one command."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from xinqiao.api.common.v1 import types_pb2 as types
from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao.api.screening.v1 import screening_service_pb2 as rpc
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.registry import Partner
from xinqiao.disclosure.students import Known
from xinqiao.screening.batch import BatchScores, own_bytes, propose_batch, score_batch
from xinqiao.screening.cases import Row, signal_of, signal_rows, triage_of, triage_rows
from xinqiao.screening.coding import check_coding
from xinqiao.screening.instruments import Instrument
from xinqiao.screening.scoring import Score
from xinqiao.screening.service import Screening, check_date
from xinqiao.screening.triage import proposal_of
from xinqiao.store import tables
from xinqiao.store.ids import new_id, new_ids
from xinqiao.store.sealing import Sealer
from xinqiao.store.tx import ReadTx

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
    """So many forms of a batch as one command stores, rows per table in column order; ``commitment`` is to them."""

    assessments: list[Row] = field(default_factory=list[Row])
    triages: list[Row] = field(default_factory=list[Row])
    signals: list[Row] = field(default_factory=list[Row])
    holdings: list[Row] = field(default_factory=list[Row])
    verdicts: bytes = b""
    commitment: bytes = b""


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
        prepared = Prepared(batch.number, digest)
        self._rows(upload, own, known, scored, verdicts, prepared, reading.now_us)
        return prepared

    def _rows(
        self,
        upload: OpenUpload,
        answers: bytes,
        known: list[Known | None],
        scored: BatchScores,
        verdicts: np.ndarray[tuple[int], np.dtype[np.uint8]],
        prepared: Prepared,
        now_us: int,
    ) -> None:
        instrument, items = upload.instrument, upload.instrument.items
        tiers, rules = propose_batch(self._screening.pack, instrument, scored)
        sealers = self._door.keys.sealers([entry.id for entry in known if entry is not None])
        common = pb.Assessment(
            instrument=instrument.id, instrument_version=instrument.version, taken_on=upload.taken_on,
            create_time_us=now_us,
        ).SerializeToString()  # fmt: skip
        # Field and length of the answers; the answers themselves follow, then the scores: protobuf messages concatenate.
        head = common + pb.Assessment(answers=bytes(items)).SerializeToString()[:-items]
        results = _results(self._screening, instrument, scored, rules, now_us)
        identifiers = new_ids(now_us, len(known))
        places = range(0, len(answers), items)
        forms = list(zip(identifiers, known, results, tiers.tolist(), verdicts.tolist(), places, strict=True))
        agency, upload_id, instrument_id, taken_on = upload.agency, upload.id, instrument.id, upload.taken_on
        for start in range(0, len(forms), _PART):
            part = Part(verdicts=verdicts[start : start + _PART].tobytes())
            prepared.parts.append(part)
            stored = [
                (identifier, entry, result, tier, at)
                for identifier, entry, result, tier, verdict, at in forms[start : start + _PART]
                if entry is not None and verdict != rpc.ROW_VERDICT_ANSWER_RANGE
            ]
            sealed = Sealer.seal_each(
                "assessments",
                [sealers[entry.id] for _, entry, _, _, _ in stored],
                [identifier for identifier, _, _, _, _ in stored],
                [head + answers[at : at + items] + result.scores for _, _, result, _, at in stored],
            )
            part.commitment = hashlib.sha256(b"".join(sealed)).digest()
            part.assessments = [
                (identifier, student, school, instrument_id, taken_on, tier, result.crisis, agency, upload_id, now_us,
                 blob)
                for (identifier, (student, school), result, tier, _), blob in zip(stored, sealed, strict=True)
            ]  # fmt: skip
            for identifier, entry, result, tier, _ in stored:
                if tier > types.TIER_GREEN:
                    self._follow_up(part, entry, sealers[entry.id], f"assessments/{identifier}", result, now_us)

    def _follow_up(
        self, part: Part, known: Known, sealer: Sealer, subject: str, result: "_Result", now_us: int
    ) -> None:  # fmt: skip
        """The triage, signal and holdings that :meth:`Screening.follow_up` opens for one form, as rows."""
        holder = self._door.registry.holder(known.school)
        text = subject.encode()
        length = bytes([len(text)])
        row, held = triage_rows(
            sealer, known, new_id(now_us), subject, result.tier, result.triage + _SUBJECT_TAG + length + text,
            holder=holder, deadline_us=result.confirm_us, now_us=now_us,
        )  # fmt: skip
        part.triages.append(row)
        part.holdings.append(held)
        if result.crisis:
            row, held = signal_rows(
                sealer, known, new_id(now_us), result.signal, result.crisis_record + _ASSESSMENT_TAG + length + text,
                holder=holder, deadline_us=result.acknowledge_us, now_us=now_us,
            )  # fmt: skip
            part.signals.append(row)
            part.holdings.append(held)

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
        tx.insert_many(tables.assessments, part.assessments)
        tx.insert_many(tables.triages, part.triages)
        tx.insert_many(tables.signals, part.signals)
        tx.insert_many(tables.holdings, part.holdings)
        rows, batches = int(row["rows"]) + len(part.assessments), int(row["batches"]) + last
        tx.update(tables.uploads, (upload.id,), batches=batches, rows=rows, updated_us=tx.now_us)
        call.journal_batch(
            "assessments.uploaded", resource=f"uploads/{upload.id}/{key.rpartition('#')[2]}",
            reason=f"rows:{len(part.assessments)}", payload=part.commitment,
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
    tier: int = 0
    triage: bytes = b""
    crisis: bool = False
    signal: pb.Signal = field(default_factory=pb.Signal)
    crisis_record: bytes = b""
    confirm_us: int = 0
    acknowledge_us: int = 0


def _results(
    screening: Screening, instrument: Instrument, scored: BatchScores, rules: np.ndarray[tuple[int], np.dtype[np.int16]],
    now_us: int,
) -> list[_Result]:  # fmt: skip
    """The results of a batch; few distinct ones exist, so each is serialized once. Protobuf messages concatenate."""
    critical: list[list[bool]] = scored.critical.tolist()
    columns = [column.tolist() for column in scored.totals.values()]
    keys = zip(
        rules.tolist(), scored.category.tolist(), scored.complete.tolist(), scored.answered.tolist(),
        map(tuple, critical), zip(*columns, strict=True) if columns else [()] * len(critical), strict=True,
    )  # fmt: skip
    known: dict[object, _Result] = {}
    results: list[_Result] = []
    for key in keys:
        result = known.get(key)
        if result is None:
            result = known[key] = _result(screening, instrument, list(scored.totals), now_us, *key)
        results.append(result)
    return results


def _result(
    screening: Screening, instrument: Instrument, names: list[str], now_us: int,
    rule: int, category: int, complete: bool, answered: int, critical: tuple[bool, ...], totals: tuple[int, ...],
) -> _Result:  # fmt: skip
    if rule < 0:  # a row that is not accepted
        return _Result(b"")
    fired = tuple(each.id for each, hit in zip(instrument.critical, critical, strict=True) if hit)
    values = {name: value if value >= 0 else None for name, value in zip(names, totals, strict=True)}
    word = instrument.category_ids[category] if category >= 0 else None
    score = Score(values, word, fired, complete, answered)
    scores = pb.Assessment(
        scores=[pb.Score(id=name, value=value) for name, value in values.items()],
        category=word or "",
        critical=fired,
        complete=complete,
    ).SerializeToString()
    proposal = proposal_of(screening.pack, rule, score)
    if proposal.tier <= types.TIER_GREEN:
        return _Result(scores)
    deadline, signal = screening.deadline, signal_of(proposal)
    return _Result(
        scores, proposal.tier, triage_of(proposal).SerializeToString(), proposal.crisis, signal,
        signal.SerializeToString(),
        deadline(proposal.tier, "confirm", now_us), deadline(types.TIER_RED, "acknowledge", now_us),
    )  # fmt: skip
