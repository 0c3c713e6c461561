"""Bulk screening: columnar batches checked, scored and sealed with numpy off the writer, then stored in one command."""

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from xinqiao.api.common.v1 import types_pb2 as types
from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao.api.screening.v1 import screening_service_pb2 as rpc
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.registry import Partner
from xinqiao.screening.coding import check_coding, own_bytes
from xinqiao.screening.instruments import Instrument
from xinqiao.screening.scoring import BatchScores, score_batch
from xinqiao.screening.service import Screening, check_date
from xinqiao.screening.triage import propose_batch
from xinqiao.store import tables
from xinqiao.store.sealing import Sealer
from xinqiao.store.tx import ReadTx

_CHUNK = 900  # values in one IN (...)
_ANSWERS_TAG = bytes([pb.Assessment.ANSWERS_FIELD_NUMBER << 3 | 2])
Row = tuple[object, ...]
T = TypeVar("T")


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
class Prepared:
    """One batch, ready to store: rows per table in column order, but for the time and version the writer gives."""

    number: int
    digest: bytes
    verdicts: bytes
    assessments: list[Row] = field(default_factory=list[Row])
    triages: list[Row] = field(default_factory=list[Row])
    signals: list[Row] = field(default_factory=list[Row])
    holdings: list[Row] = field(default_factory=list[Row])
    commitment: bytes = b""


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
        known = self._known(reading, caller, batch.local_ids)
        verdicts = np.where(scored.verdict == 0, rpc.ROW_VERDICT_ACCEPTED, rpc.ROW_VERDICT_ANSWER_RANGE).astype(
            np.uint8
        )
        verdicts[(scored.verdict == 0) & scored.critical[:, upload.instrument.plan.crisis].any(axis=1)] = (
            rpc.ROW_VERDICT_ACCEPTED_CRITICAL
        )
        verdicts[[entry is None for entry in known]] = rpc.ROW_VERDICT_UNKNOWN_STUDENT
        digest = hashlib.sha256(batch.SerializeToString(deterministic=True)).digest()
        prepared = Prepared(batch.number, digest, verdicts.tobytes())
        self._rows(upload, own, known, scored, verdicts, prepared, reading.now_us)
        return prepared

    def _known(
        self, reading: ReadTx, caller: Partner, local_ids: Sequence[str]
    ) -> list[tuple[str, str, Sealer] | None]:
        """(student, school, sealer) a row, None for a student that is not on the caller's roster."""
        blinds = [self._door.students.blind(caller.agency, local_id) for local_id in local_ids]
        ids, students = tables.local_ids.c, tables.students.c
        by_blind: dict[bytes, str] = {}
        for chunk in _chunks(blinds):
            found = tables.local_ids.select().with_only_columns(ids.blind, ids.student)
            for row in reading.all(found.where((ids.partner == caller.agency) & ids.blind.in_(chunk))):
                by_blind[bytes(row["blind"])] = str(row["student"])
        schools: dict[str, str] = {}
        for names in _chunks(list(dict.fromkeys(by_blind.values()))):
            found = tables.students.select().with_only_columns(students.id, students.school)
            for row in reading.all(found.where(students.id.in_(names))):
                if str(row["school"]) in caller.schools:
                    schools[str(row["id"])] = str(row["school"])
        sealers = self._door.keys.sealers(list(schools))
        known: list[tuple[str, str, Sealer] | None] = []
        for blind in blinds:
            student = by_blind.get(blind, "")
            sealer = sealers.get(student)
            known.append((student, schools[student], sealer) if sealer is not None else None)
        return known

    def _rows(
        self,
        upload: OpenUpload,
        answers: bytes,
        known: list[tuple[str, str, Sealer] | None],
        scored: BatchScores,
        verdicts: np.ndarray[tuple[int], np.dtype[np.uint8]],
        prepared: Prepared,
        now_us: int,
    ) -> None:
        instrument, items = upload.instrument, upload.instrument.items
        tiers, rules = propose_batch(self._screening.pack, instrument, scored)
        common = pb.Assessment(
            instrument=instrument.id, instrument_version=instrument.version, taken_on=upload.taken_on,
            create_time_us=now_us,
        ).SerializeToString()  # fmt: skip
        head = common + _ANSWERS_TAG + bytes([items])
        tails = _Tails(instrument, scored)
        identifiers = _identifiers(len(known))
        sealed_hash = hashlib.sha256()
        for index, entry in enumerate(known):
            if entry is None or verdicts[index] == rpc.ROW_VERDICT_ANSWER_RANGE:
                continue
            student, school, sealer = entry
            identifier, tier = identifiers[index], int(tiers[index])
            critical = verdicts[index] == rpc.ROW_VERDICT_ACCEPTED_CRITICAL
            record = head + answers[index * items : (index + 1) * items] + tails.of(index)
            sealed = sealer.seal(record, table="assessments", key=identifier)
            sealed_hash.update(sealed)
            prepared.assessments.append(
                (identifier, student, school, instrument.id, upload.taken_on, tier, bool(critical), upload.agency,
                 upload.id, now_us, sealed)
            )  # fmt: skip
            if tier > types.TIER_GREEN:
                self._follow_up(prepared, entry, identifier, tier, int(rules[index]), critical, now_us)
        prepared.commitment = sealed_hash.digest()

    def _follow_up(
        self,
        prepared: Prepared,
        entry: tuple[str, str, Sealer],
        assessment: str,
        tier: int,
        rule_index: int,
        critical: bool,
        now_us: int,
    ) -> None:
        """The same triage, signal and holdings as one form brings, as rows."""
        student, school, sealer = entry
        pack = self._screening.pack
        rule = pack.rules[rule_index]
        subject = f"assessments/{assessment}"
        holder = self._door.registry.holder(school)
        triage = pb.Triage(
            subject=subject,
            proposed=types.Tier.ValueType(tier),
            state=pb.TRIAGE_STATE_PROPOSED,
            rule=f"{pack.id}@{pack.version}/{rule.id}",
            reason_zh=rule.reason.zh,
            reason_en=rule.reason.en,
        )
        identifier = secrets.token_hex(16)
        sealed = sealer.seal(triage.SerializeToString(), table="triages", key=identifier)
        prepared.triages.append(
            (identifier, student, school, subject, tier, 0, int(triage.state), now_us, now_us, 1, sealed)
        )
        deadline = self._screening.deadline(tier, "confirm", now_us)
        prepared.holdings.append(
            (f"triages/{identifier}", "triage", student, school, holder, deadline, "confirm", tier, now_us, 0)
        )
        if not critical and rule.signal != "crisis":
            return
        signal = pb.Signal(
            source=pb.SIGNAL_SOURCE_SCREENING,
            kind=pb.SIGNAL_KIND_SUICIDAL,
            facts=f"{rule.reason.zh} / {rule.reason.en}",
            assessment=subject,
            state=pb.SIGNAL_STATE_OPEN,
        )
        identifier = secrets.token_hex(16)
        sealed = sealer.seal(signal.SerializeToString(), table="signals", key=identifier)
        prepared.signals.append(
            (identifier, student, school, str(int(signal.kind)), types.TIER_RED, int(signal.state),
             str(int(signal.source)), now_us, now_us, 1, sealed)
        )  # fmt: skip
        deadline = self._screening.deadline(types.TIER_RED, "acknowledge", now_us)
        prepared.holdings.append(
            (f"signals/{identifier}", "signal", student, school, holder, deadline, "acknowledge", types.TIER_RED,
             now_us, 0)
        )  # fmt: skip

    def store(self, upload: OpenUpload, prepared: Prepared, call: Call) -> rpc.UploadAssessmentsResponse:
        """Store a prepared batch once; a repeat is answered again. Raises Refusal BATCH_ORDER or KEY_REUSED."""
        tx, key = call.tx, f"{upload.id}#{prepared.number}"
        system = self._door.keys.system_sealer()
        stored = tx.get(tables.requests, upload.agency, key)
        if stored is not None:
            if bytes(stored["digest"]) != prepared.digest:
                raise Refusal("ALREADY_EXISTS", "KEY_REUSED", "this batch number was sent with other content")
            answer = system.open(bytes(stored["response"]), table="requests", key=f"{upload.agency}/{key}")
            return rpc.UploadAssessmentsResponse.FromString(answer)
        row = tx.get(tables.uploads, upload.id)
        if row is None or prepared.number != int(row["batches"]) + 1:
            raise Refusal("INVALID_ARGUMENT", "BATCH_ORDER", "send batches 1, 2, 3 ...; go on after batches_stored")
        tx.insert_many(tables.assessments, prepared.assessments)
        tx.insert_many(tables.triages, prepared.triages)
        tx.insert_many(tables.signals, prepared.signals)
        tx.insert_many(tables.holdings, prepared.holdings)
        rows = int(row["rows"]) + len(prepared.assessments)
        tx.update(tables.uploads, (upload.id,), batches=prepared.number, rows=rows, updated_us=tx.now_us)
        call.journal_batch(
            "assessments.uploaded", resource=f"uploads/{upload.id}/{prepared.number}",
            reason=f"rows:{len(prepared.assessments)}", payload=prepared.commitment,
        )  # fmt: skip
        response = rpc.UploadAssessmentsResponse(
            batch=prepared.number, batches_stored=prepared.number, verdicts=prepared.verdicts, rows_stored=rows
        )
        answer = system.seal(response.SerializeToString(), table="requests", key=f"{upload.agency}/{key}")
        tx.insert(tables.requests, upload.agency, key, call.method.name, prepared.digest, None, answer, tx.now_us)
        return response


class _Tails:
    """The score part of a record; few distinct ones exist, so each is serialized once."""

    def __init__(self, instrument: Instrument, scored: BatchScores) -> None:
        self._names = list(scored.totals)
        self._columns = [scored.totals[name].tolist() for name in self._names]
        self._categories: list[int] = scored.category.tolist()
        self._words: tuple[str, ...] = instrument.category_ids
        rows: list[list[bool]] = scored.critical.tolist()
        self._critical = [tuple(row) for row in rows]
        self._complete = scored.complete.tolist()
        self._rules = [rule.id for rule in instrument.critical]
        self._cache: dict[tuple[object, ...], bytes] = {}

    def of(self, index: int) -> bytes:
        """Serialized scores, category, critical and complete of one row; protobuf messages concatenate."""
        values = tuple(column[index] for column in self._columns)
        key = (values, self._categories[index], self._critical[index], self._complete[index])
        tail = self._cache.get(key)
        if tail is None:
            category = self._categories[index]
            message = pb.Assessment(
                scores=[
                    pb.Score(id=name, value=value if value >= 0 else None)
                    for name, value in zip(self._names, values, strict=True)
                ],
                category=self._words[category] if category >= 0 else "",
                critical=[rule for rule, hit in zip(self._rules, self._critical[index], strict=True) if hit],
                complete=self._complete[index],
            )
            tail = self._cache[key] = message.SerializeToString()
        return tail


def _identifiers(count: int) -> list[str]:
    text = secrets.token_hex(16 * count)
    return [text[start : start + 32] for start in range(0, len(text), 32)]


def _chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]
