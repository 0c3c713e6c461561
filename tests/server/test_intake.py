"""What adapters bring is neither skipped by a crash nor left in nobody's hands."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from xinqiao.adapters.errors import PartnerUnavailable
from xinqiao.api.adapter.v1.adapter_service_pb2 import FormSheet, ReadResponse, ReferralUpdate, Rejected
from xinqiao.api.common.v1.types_pb2 import Student
from xinqiao.api.screening.v1.screening_service_pb2 import ReportSignalRequest
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.registry import Partner, Registry
from xinqiao.server.intake import Intake
from xinqiao.server.not_taken import Tally
from xinqiao.store import tables
from xinqiao.store.engine import Store

SCHOOL = Partner("school", "school", "school", frozenset(), frozenset({"S"}), "", 0, 2**62)


def _deadline(tier: int, step: str, now_us: int) -> int:
    raise AssertionError(f"nothing here is red: {step}")


class _Pipeline:
    """Registers everybody but ``bad``, and stops once at ``down``, as a store does whose disk is full."""

    def __init__(self, store: Store, bad: str = "", down: str = "") -> None:
        self.store = store
        self.door = SimpleNamespace(registry=Registry([SCHOOL]))
        self.taken: list[str] = []
        self._bad, self._down = bad, down

    def prepare(self, path: str, request: Any, caller: Partner) -> Any:
        return SimpleNamespace(submit=lambda: None, result=lambda: self.call(path, request, caller))

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
    intake = Intake(pipeline, _read(_students("a", "bad", "b", "c", "d")), SCHOOL, _deadline)
    intake.run_once()
    assert "d" not in pipeline.taken
    intake.run_once()
    assert {"a", "b", "c", "d"} <= set(pipeline.taken)


def test_a_transient_refusal_leaves_the_cursor_where_it_was(store: Store) -> None:
    pipeline: Any = _Pipeline(store, bad="-", down="a")
    intake = Intake(pipeline, _read(_students("a")), SCHOOL, _deadline)
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
    Intake(pipeline, _read(items), SCHOOL, _deadline).run_once()
    assert _holders(store) == ["school", "school"]
    with store.read() as reading:
        kinds = [str(row["kind"]) for row in reading.all(tables.journal.select())]
    assert kinds == ["intake.rejected"] * 3


# -- on a real gateway ------------------------------------------------------------------------------------------------

PASSING = ["UNAVAILABLE", "ABORTED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "INTERNAL"]
LASTING = ["INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "PERMISSION_DENIED", "ALREADY_EXISTS"]


def _items(town: Any, kind: str) -> list[ReadResponse]:
    """One item of a kind, from the agency that brings it."""
    if kind == "student":
        student = Student(local_id="new-1", school="3205830001", birth_date="2011-05-04", family_name="欧阳")
        return [ReadResponse(cursor="1", student=student)]
    local = town.student()
    if kind == "forms":
        sheet = FormSheet(
            source="a.csv", instrument="PHQ-9", taken_on="2026-10-02", local_ids=[local], answers=bytes(9)
        )
        return [ReadResponse(cursor="1", forms=sheet)]
    town.consent(local)
    update = ReferralUpdate(source="u-1", referral=town.refer(local).referral.name, event=3)
    return [ReadResponse(cursor="1", referral=update)]


def _intake(town: Any, kind: str, items: list[ReadResponse]) -> tuple[Intake, str]:
    agency = town.HOSPITAL if kind == "referral" else town.SCHOOL
    read = _read(items)
    read.agency = agency
    return Intake(
        town.gate.gateway.pipeline, read, town.gate.gateway.registry.find(agency), town.gate.gateway.clocks.deadline
    ), agency


@pytest.mark.parametrize("kind", ["student", "forms", "referral"])
@pytest.mark.parametrize("status", PASSING)
def test_what_is_refused_for_a_reason_that_passes_is_tried_again_and_never_on_record_as_refused(
    fresh_town: Any, monkeypatch: pytest.MonkeyPatch, kind: str, status: str
) -> None:
    town = fresh_town
    intake, agency = _intake(town, kind, _items(town, kind))
    with monkeypatch.context() as broken:
        broken.setattr(town.gate.gateway.pipeline, "admit", _refuse(status))
        tally = intake.run_once()
    assert tally.rejected == []
    assert town.rows(tables.cursors, agency=agency) == []
    assert town.rows(tables.holdings, kind="intake") == town.journal(kind="intake.rejected") == []
    tally = intake.run_once()
    assert (tally.students + tally.forms + tally.updates, tally.rejected) == (1, [])
    assert [row["value"] for row in town.rows(tables.cursors, agency=agency)] == ["1"]


@pytest.mark.parametrize("kind", ["student", "forms", "referral"])
@pytest.mark.parametrize("status", LASTING)
def test_what_is_refused_for_good_is_on_record_and_held_and_what_follows_is_taken(
    fresh_town: Any, monkeypatch: pytest.MonkeyPatch, kind: str, status: str
) -> None:
    town = fresh_town
    intake, agency = _intake(town, kind, _items(town, kind))
    monkeypatch.setattr(town.gate.gateway.pipeline, "admit", _refuse(status))
    assert [item.reason for item in intake.run_once().rejected] == ["TEST"]
    assert [row["value"] for row in town.rows(tables.cursors, agency=agency)] == ["1"]
    assert len(town.rows(tables.holdings, kind="intake")) == len(town.journal(kind="intake.rejected")) == 1


@pytest.mark.parametrize("others_first", [False, True])
def test_a_refused_signal_is_held_as_red_and_no_longer_than_one_that_is_taken(
    fresh_town: Any, *, others_first: bool
) -> None:
    town = fresh_town
    request = ReportSignalRequest(student={"local_id": "nobody"}, source=2, kind=1, facts="facts")
    refused = ReadResponse(cursor="1", signal=request)
    sheet = ReadResponse(cursor="2", rejected=Rejected(source="a.csv", reason="DATA/NUMBER"))
    intake, _ = _intake(town, "signal", [sheet, refused] if others_first else [refused, sheet])
    assert len(intake.run_once().rejected) == 2
    red, ordinary = sorted(town.rows(tables.holdings, kind="intake"), key=lambda row: row["deadline_us"])
    now_us = town.clock.now_us()
    assert (red["tier"], ordinary["tier"]) == (4, 0)
    assert red["deadline_us"] <= town.gate.gateway.clocks.deadline(4, "acknowledge", now_us) < ordinary["deadline_us"]


def _refuse(status: str) -> Any:
    def admit(*_: object) -> None:
        raise Refusal(status, "TEST", "test")

    return admit


def test_an_update_to_a_broken_record_does_not_hold_up_the_updates_after_it(fresh_town: Any) -> None:
    town = fresh_town
    broken, sound = _items(town, "referral")[0], _items(town, "referral")[0]
    sound.cursor, sound.referral.source = "2", "u-2"
    identifier = broken.referral.referral.removeprefix("referrals/")
    town.gate.gateway.store.run(lambda tx: tx.update(tables.referrals, (identifier,), sealed=b"altered"))
    tally = _intake(town, "referral", [broken, sound])[0].run_once()
    assert (tally.updates, [item.reason for item in tally.rejected]) == (1, ["SEAL_BROKEN"])
    assert [row["holder"] for row in town.rows(tables.holdings, kind="intake")] == [town.OPERATOR]


# -- rows 50 and 67 of the bad inputs, as far as the core goes --------------------------------------------------------


def _sheet(source: str, answers: bytes, *locals_: str) -> FormSheet:
    return FormSheet(
        source=source, instrument="PHQ-9", taken_on="2026-10-02", local_ids=locals_, answers=answers * len(locals_)
    )  # fmt: skip


def _read_sheets(town: Any, *sheets: FormSheet) -> Tally:
    items = [ReadResponse(cursor=str(n), forms=sheet) for n, sheet in enumerate(sheets, start=1)]
    return _intake(town, "forms", items)[0].run_once()


def test_row_50_a_student_that_is_not_on_the_roster_is_told_and_held_and_the_others_are_taken(fresh_town: Any) -> None:
    town = fresh_town
    tally = _read_sheets(town, _sheet("a.csv@1#1", bytes(9), town.student(), "nobody", town.student()))
    assert (tally.forms, tally.unknown) == (2, 1)
    (told,) = tally.rejected
    assert (told.reason, told.place) == ("UNKNOWN_STUDENT", "form 2 of PHQ-9")
    assert "nobody" not in str(told)
    assert len(town.rows(tables.holdings, kind="intake")) == 1
    assert len(town.rows(tables.assessments)) == 2


def test_row_50_a_pupil_with_the_code_of_another_partners_school_is_out_of_scope_and_not_registered(
    fresh_town: Any,
) -> None:
    town = fresh_town
    foreign = Student(local_id="x-1", school="3205830002", birth_date="2011-05-04", family_name="欧阳")
    ours = Student(local_id="x-2", school="3205830001", birth_date="2011-05-04", family_name="欧阳")
    items = [ReadResponse(cursor="1", student=foreign), ReadResponse(cursor="2", student=ours)]
    tally = _intake(town, "student", items)[0].run_once()
    assert (tally.students, [told.reason for told in tally.rejected]) == (1, ["SCOPE"])
    assert [row["school"] for row in town.rows(tables.students)] == ["3205830001"]


def test_row_67_the_same_sheet_read_again_gets_its_first_verdicts_and_stores_nothing(fresh_town: Any) -> None:
    town = fresh_town
    sheet = _sheet("a.csv@1#1", bytes([0] * 8 + [1]), town.student(), town.student(), "nobody")
    first, again = _read_sheets(town, sheet), _rewound(town, sheet)
    assert (first.forms, first.critical, first.rejected) == (again.forms, again.critical, again.rejected)
    assert len(town.rows(tables.assessments)) == len(town.rows(tables.signals)) == 2
    assert len(town.rows(tables.uploads)) == 1


def test_row_67_another_content_under_the_same_name_is_another_sheet_and_never_overwrites_the_first(
    fresh_town: Any,
) -> None:
    """Whether the second may come at all is the adapter's to say (FILE_CONFLICT): it alone knows file names."""
    town = fresh_town
    local = town.student()
    _read_sheets(town, _sheet("a.csv@1#1", bytes(9), local))
    (before,) = town.rows(tables.assessments)
    _rewound(town, _sheet("a.csv@1#1", bytes([1] * 9), local))
    assert before in town.rows(tables.assessments)
    assert len(town.rows(tables.uploads)) == 2


def _rewound(town: Any, sheet: FormSheet) -> Tally:
    """Read after the cursor was lost, as from a restored backup of the adapter's folder."""
    town.gate.gateway.store.run(lambda tx: tx.delete(tables.cursors, town.SCHOOL, "read"))
    return _read_sheets(town, sheet)


def test_the_source_is_told_what_is_on_record(store: Store) -> None:
    item = Rejected(source="a.csv@sha256:1#1", place="row 3, column phq9", reason="DATA/NUMBER")
    handle = _read([ReadResponse(cursor="1", rejected=item)])
    pipeline: Any = _Pipeline(store, bad="-", down="-")
    Intake(pipeline, handle, SCHOOL, _deadline).run_once()
    assert handle.told == [item]


def test_a_sign_of_life_is_no_item(store: Store) -> None:
    pipeline: Any = _Pipeline(store, bad="-", down="-")
    Intake(pipeline, _read([ReadResponse(), *_students("a")]), SCHOOL, _deadline).run_once()
    assert pipeline.taken == ["a"]


def test_a_batch_is_in_line_only_when_the_one_before_is_stored_so_the_later_word_on_a_student_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xinqiao.server.intake._STUDENTS", 2)
    told: list[str] = []

    class Slow(_Pipeline):
        def prepare(self, path: str, request: Any, caller: Partner) -> Any:
            names = "".join(student.local_id for student in request.students)
            told.append(f"prepare {names}")

            def result() -> None:
                told.append(f"stored {names}")
                self.call(path, request, caller)

            return SimpleNamespace(submit=lambda: told.append(f"submit {names}"), result=result)

    pipeline: Any = Slow(store, bad="-", down="a")
    intake = Intake(pipeline, _read(_students(*"abcde")), SCHOOL, _deadline)
    intake.run_once()
    assert told == ["prepare ab", "submit ab", "prepare cd", "stored ab"]
    told.clear()
    assert intake.run_once().students == 5
    assert told == ["prepare ab", "submit ab", "prepare cd", "stored ab", "submit cd", "prepare e", "stored cd",
                    "submit e", "stored e"]  # fmt: skip
    with store.read() as reading:
        assert [row["value"] for row in reading.all(tables.cursors.select())] == ["5"]


# -- an instrument that comes in two codings ------------------------------------------------------------------------------

SCL_90 = 'id: SCL-90\nenabled: true\nlicence: {record: "contract 7"}\nconfirmed: {critical: by the test}\n'


@pytest.fixture(scope="module")
def licensed(make_town: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    overlay = tmp_path_factory.mktemp("overlay")
    (overlay / "scl-90.yaml").write_text(SCL_90, encoding="utf-8")
    with make_town(change=lambda settings: settings.update(instruments_overlay=str(overlay)), listen=False) as made:
        yield made


@pytest.mark.parametrize(("coding", "answer"), [("0-4", 0), ("1-5", 1)])
def test_a_sheet_hands_its_coding_on(licensed: Any, coding: str, answer: int) -> None:
    sheet = FormSheet(
        source=f"{coding}.csv", instrument="SCL-90", taken_on="2026-10-02", local_ids=[licensed.student()],
        answers=bytes([answer]) * 90, coding=coding,
    )  # fmt: skip
    tally = _rewound(licensed, sheet)
    assert (tally.forms, tally.rejected) == (1, [])


def test_a_sheet_of_such_an_instrument_without_a_coding_is_refused_and_held(licensed: Any) -> None:
    sheet = FormSheet(
        source="none.csv", instrument="SCL-90", taken_on="2026-10-02", local_ids=[licensed.student()], answers=bytes(90)
    )  # fmt: skip
    tally = _rewound(licensed, sheet)
    assert (tally.forms, [told.reason for told in tally.rejected]) == (0, ["CODING_REQUIRED"])


def test_the_students_before_a_failure_are_registered(store: Store) -> None:
    pipeline: Any = _Pipeline(store)

    def read(cursor: str) -> Iterator[ReadResponse]:
        yield from _students("a", "b")[int(cursor or 0) :]
        raise PartnerUnavailable("one file of the inbox cannot be read")

    tally = Intake(
        pipeline, SimpleNamespace(agency="school", read=read, report=lambda kept: None), SCHOOL, _deadline
    ).run_once()
    assert (pipeline.taken, tally.students) == (["a", "b"], 2)


def test_what_was_not_taken_before_there_is_any_cursor_is_on_record_and_held(store: Store) -> None:
    item = ReadResponse(rejected=Rejected(reason="DATA/STATUS", message="not a status", source="Task/1"))
    Intake(cast("Any", _Pipeline(store)), _read([item]), SCHOOL, _deadline).run_once()
    assert len(_holders(store)) == 1
    with store.read() as reading:
        assert [row["reason"] for row in reading.all(tables.journal.select())] == ["DATA/STATUS:1"]
        assert reading.all(tables.cursors.select()) == []
