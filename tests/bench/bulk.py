"""Bulk ingest: the streamed upload against a raw ``executemany`` of the rows it stored, and the memory it takes."""

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import deployment

from xinqiao.api.screening.v1 import screening_service_pb2 as screening
from xinqiao.api.screening.v1 import screening_service_pb2_grpc as screening_grpc

BATCH = 2_000
_PROBE_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Ingest:
    """What an upload took. Rows a second; ``verdicts`` counts the rows that were stored."""

    rows: int
    seconds: float

    @property
    def rate(self) -> float:
        """Rows a second, each durable."""
        return self.rows / self.seconds


def upload(folder: Path, port: int, rows: int, seed: int) -> Ingest:
    """Send ``rows`` forms as one upload, batches sent ahead of their answers as a school's platform would."""
    prepared = list(deployment.batches(min(rows, 100_000), BATCH, seed))

    def requests() -> Iterator[screening.UploadAssessmentsRequest]:
        header = screening.UploadHeader(upload_id=f"bench-{seed:06d}", instrument="PHQ-9", taken_on="2026-10-02")
        yield screening.UploadAssessmentsRequest(header=header)
        for number in range(1, (rows + BATCH - 1) // BATCH + 1):
            batch = prepared[(number - 1) % len(prepared)]
            batch.number = number
            yield screening.UploadAssessmentsRequest(batch=batch)

    stored = 0
    with deployment.channel(folder, port) as channel:
        begin = time.perf_counter()
        for answer in screening_grpc.ScreeningServiceStub(channel).UploadAssessments(requests()):
            stored = answer.rows_stored
        seconds = time.perf_counter() - begin
    if stored != rows:
        raise RuntimeError(f"{rows} rows were sent and {stored} stored")
    return Ingest(rows, seconds)


def raw(folder: Path, rows: int, seed: int) -> Ingest:
    """The same bytes by ``executemany`` into a table without indexes, a durable transaction for each batch."""
    source = sqlite3.connect(f"file:{folder}/xinqiao.db?mode=ro", uri=True)
    query = "SELECT * FROM assessments WHERE upload IS NOT NULL LIMIT ?"
    values = source.execute(query, (_PROBE_ROWS,)).fetchall()
    source.close()
    values = (values * (rows // len(values) + 1))[:rows]
    target = sqlite3.connect(folder / f"raw-{seed}.db", isolation_level=None)
    target.execute("PRAGMA journal_mode=WAL")
    target.execute("PRAGMA synchronous=FULL")
    width = len(values[0])
    target.execute(f"CREATE TABLE raw ({', '.join(f'c{index}' for index in range(width))})")
    insert = f"INSERT INTO raw VALUES ({', '.join('?' * width)})"
    begin = time.perf_counter()
    for start in range(0, rows, BATCH):
        target.execute("BEGIN IMMEDIATE")
        target.executemany(insert, values[start : start + BATCH])
        target.execute("COMMIT")
    seconds = time.perf_counter() - begin
    target.close()
    return Ingest(rows, seconds)
