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
PUPILS = 20_000
"""Forms of one upload, each of another student, as a school year's wave brings them."""

_FIRST = 100_000  # apart from the students of the other measurements


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
    prepared = list(deployment.batches(min(rows, 5 * PUPILS), BATCH, seed, _FIRST, PUPILS))

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


def register(folder: Path, port: int) -> None:
    """Put the students of the uploads into the gateway."""
    deployment.register(folder, port, _FIRST, PUPILS)


def raw(folder: Path, seed: int, *, forms_alone: bool = False) -> Ingest:
    """The rows that an upload stored by ``executemany`` into tables without indexes, a durable transaction a batch.

    All of them, or the forms alone without the triages, signals and holdings that came of them.
    """
    source = sqlite3.connect(f"file:{folder}/xinqiao.db?mode=ro", uri=True)
    since, forms = source.execute(
        "SELECT created_us, rows FROM uploads WHERE id LIKE ?", (f"%.bench-{seed:06d}",)
    ).fetchone()
    tables = {"assessments": "created_us", "triages": "created_us", "signals": "created_us", "holdings": "opened_us"}
    rows = {
        table: source.execute(f"SELECT * FROM {table} WHERE {opened} >= ?", (since,)).fetchall()
        for table, opened in tables.items()
        if table == "assessments" or not forms_alone
    }
    source.close()
    target = sqlite3.connect(folder / f"raw-{seed}-{forms_alone}.db", isolation_level=None)
    target.execute("PRAGMA journal_mode=WAL")
    target.execute("PRAGMA synchronous=FULL")
    inserts: dict[str, str] = {}
    for table, stored in rows.items():
        width = len(stored[0])
        target.execute(f"CREATE TABLE {table} ({', '.join(f'c{index}' for index in range(width))})")
        inserts[table] = f"INSERT INTO {table} VALUES ({', '.join('?' * width)})"
    transactions = forms // BATCH
    begin = time.perf_counter()
    for number in range(transactions):
        target.execute("BEGIN IMMEDIATE")
        for table, stored in rows.items():
            share = slice(len(stored) * number // transactions, len(stored) * (number + 1) // transactions)
            target.executemany(inserts[table], stored[share])
        target.execute("COMMIT")
    seconds = time.perf_counter() - begin
    target.close()
    return Ingest(forms, seconds)
