"""What adapters bring is neither skipped by a crash nor left in nobody's hands."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse, Rejected
from xinqiao.api.common.v1.types_pb2 import Student
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.registry import Partner, Registry
from xinqiao.server.intake import Intake
from xinqiao.store import tables
from xinqiao.store.engine import Store

SCHOOL = Partner("school", "school", "school", frozenset(), frozenset({"S"}), "", 0, 2**62)


class _Pipeline:
    """Registers everybody but ``bad``, and stops once at ``down``, as a store does whose disk is full."""

    def __init__(self, store: Store, bad: str = "", down: str = "") -> None:
        self.store = store
        self.door = SimpleNamespace(registry=Registry([SCHOOL]))
        self.taken: list[str] = []
        self._bad, self._down = bad, down

    def call(self, path: str, request: Any, caller: Partner) -> None:
        names = [student.local_id for student in request.students]
        if self._bad in names:
            raise Refusal("PERMISSION_DENIED", "SCOPE", "not the caller's school")
        if self._down in names:
            self._down = ""
            raise Refusal("UNAVAILABLE", "COMMIT_FAILED", "the disk is full")
        self.taken += names


def _read(items: list[ReadResponse]) -> Any:
    def read(cursor: str) -> Iterator[ReadResponse]:
        yield from items[int(cursor or 0) :]

    told: list[Rejected] = []
    return SimpleNamespace(agency="school", read=read, report=told.extend, told=told)


def _students(*names: str) -> list[ReadResponse]:
    return [ReadResponse(cursor=str(n), student=Student(local_id=name)) for n, name in enumerate(names, start=1)]


def _holders(store: Store) -> list[str]:
    with store.read() as reading:
        return [str(row["holder"]) for row in reading.all(tables.holdings.select())]


def test_a_failure_among_the_students_of_a_refused_batch_skips_none_of_them(store: Store) -> None:
    pipeline: Any = _Pipeline(store, bad="bad", down="c")
    intake = Intake(pipeline, _read(_students("a", "bad", "b", "c", "d")), SCHOOL)
    intake.run_once()
    assert "d" not in pipeline.taken
    intake.run_once()
    assert {"a", "b", "c", "d"} <= set(pipeline.taken)


def test_a_transient_refusal_leaves_the_cursor_where_it_was(store: Store) -> None:
    pipeline: Any = _Pipeline(store, bad="-", down="a")
    intake = Intake(pipeline, _read(_students("a")), SCHOOL)
    intake.run_once()
    assert pipeline.taken == []
    intake.run_once()
    assert pipeline.taken == ["a"]


def test_what_is_not_taken_is_held_and_on_record_a_sheet_each(store: Store) -> None:
    items = [
        ReadResponse(cursor=str(n), rejected=Rejected(source=source, reason="DATA/NUMBER"))
        for n, source in enumerate(["a.csv@sha256:1#1", "a.csv@sha256:1#2", "b.csv@sha256:2#1"], start=1)
    ]
    pipeline: Any = _Pipeline(store, bad="-", down="-")
    Intake(pipeline, _read(items), SCHOOL).run_once()
    assert _holders(store) == ["school", "school"]
    with store.read() as reading:
        kinds = [str(row["kind"]) for row in reading.all(tables.journal.select())]
    assert kinds == ["intake.rejected"] * 3


def test_the_source_is_told_what_is_on_record(store: Store) -> None:
    item = Rejected(source="a.csv@sha256:1#1", place="row 3, column phq9", reason="DATA/NUMBER")
    handle = _read([ReadResponse(cursor="1", rejected=item)])
    pipeline: Any = _Pipeline(store, bad="-", down="-")
    Intake(pipeline, handle, SCHOOL).run_once()
    assert handle.told == [item]


def test_a_sign_of_life_is_no_item(store: Store) -> None:
    pipeline: Any = _Pipeline(store, bad="-", down="-")
    Intake(pipeline, _read([ReadResponse(), *_students("a")]), SCHOOL).run_once()
    assert pipeline.taken == ["a"]
