"""Files through a whole gateway: verdicts come back to the school, repeats change nothing, nothing is lost in between."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from xinqiao.adapters.host import AdapterHost
from xinqiao.server.intake import Intake, Tally
from xinqiao.store import tables
from xinqiao.testing.gateway import TemporaryGateway, make_deployment
from xinqiao_school.synthetic import make_school

EXAMPLE = Path(__file__).resolve().parents[3] / "config" / "gateway.example.yaml"
SCHOOL = "kunshan-no1-middle"
PHQ = ",".join(f"phq{n}" for n in range(1, 10))


class Gate:
    """A gateway with one school platform, read when a test says so."""

    def __init__(self, folder: Path, gate: TemporaryGateway) -> None:
        self.inbox, self.outbox = folder / "inbox", folder / "outbox"
        self.gate = gate

    def read(self) -> Tally:
        gateway = self.gate.gateway
        partner = gateway.registry.find(SCHOOL)
        assert partner is not None
        return Intake(gateway.pipeline, gateway.host.agencies[SCHOOL], partner, gateway.clocks.deadline).run_once()

    def drop(self, name: str, *rows: str) -> Path:
        path = self.inbox / name
        path.write_text("\n".join([f"student_id,taken_on,{PHQ}", *rows, ""]), "utf-8")
        return path

    def count(self, table: Any) -> int:
        with self.gate.gateway.store.read() as reading:
            return len(reading.all(table.select()))

    def forget_cursor(self) -> None:
        """As after a crash between storing a file's items and keeping how far that was."""
        self.gate.gateway.store.run(lambda tx: tx.delete(tables.cursors, SCHOOL, "read"))


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    def change(settings: dict[str, Any]) -> None:
        about = {"inbox": str(tmp_path / "inbox"), "outbox": str(tmp_path / "outbox"), "school": "3205830001"}
        about |= {"sheets": [{"match": "*gb18030*", "encoding": "gb18030"}]}  # type: ignore[dict-item]
        settings["adapters"] = {SCHOOL: {"adapter": "school", "settings": about}}

    for name in ("inbox", "outbox"):
        (tmp_path / name).mkdir()
    config = make_deployment(tmp_path, EXAMPLE, change=change)
    gateway = TemporaryGateway(config, host=AdapterHost.load(["school"]))
    gateway.start(listen=False, work=False)
    made = Gate(tmp_path, gateway)
    files = make_school(tmp_path / "school", students=9)
    (made.inbox / "roster.zip").write_bytes(files.roster.read_bytes())
    assert made.read().students == 9
    yield made
    gateway.stop()


def test_row_50_a_student_not_in_the_roster_is_named_by_the_sheets_row_and_told_to_the_school(gate: Gate) -> None:
    gate.drop("a.csv", "SYN-00001,2026-10-12,0,0,0,0,0,0,0,0,0", "NOBODY,2026-10-12,0,0,0,0,0,0,0,0,3")
    tally = gate.read()
    assert (tally.forms, [(item.reason, item.place) for item in tally.rejected]) == (
        1, [("UNKNOWN_STUDENT", "row 3, PHQ-9")],
    )  # fmt: skip
    report = (gate.outbox / "reports" / "a.csv.csv").read_text("utf-8-sig")
    assert "row 3, PHQ-9" in report
    assert "NOBODY" not in report


def test_row_50_a_school_code_of_another_partner_is_refused(gate: Gate, tmp_path: Path) -> None:
    gateway = gate.gate.gateway
    stranger = gateway.registry.find(SCHOOL)
    assert stranger is not None
    before = gate.count(tables.students)
    from xinqiao.api.casefile.v1.casefile_service_pb2 import RegisterStudentsRequest
    from xinqiao.contract.errors import Refusal

    request = RegisterStudentsRequest(request_id="scope-test-1")
    request.students.add(local_id="X", school="9999999999")
    with pytest.raises(Refusal) as caught:
        gate.gate.call_inside(SCHOOL, request)
    assert f"{caught.value.status}/{caught.value.reason}" == "PERMISSION_DENIED/SCOPE"
    assert gate.count(tables.students) == before


def test_row_67_the_same_file_twice_is_stored_once_whatever_its_name(gate: Gate) -> None:
    path = gate.drop("a.csv", "SYN-00001,2026-10-12,1,1,1,1,1,1,1,1,0")
    gate.read()
    (gate.inbox / "b.csv").write_bytes(path.read_bytes())
    tally = gate.read()
    assert (tally.forms, tally.rejected) == (0, [])
    assert gate.count(tables.assessments) == 1


def test_row_67_other_content_under_a_taken_name_is_a_conflict_and_stores_nothing(gate: Gate) -> None:
    gate.drop("a.csv", "SYN-00001,2026-10-12,1,1,1,1,1,1,1,1,0")
    gate.read()
    gate.drop("a.csv", "SYN-00002,2026-10-12,1,1,1,1,1,1,1,1,0")
    tally = gate.read()
    assert [item.reason for item in tally.rejected] == ["FILE_CONFLICT"]
    assert gate.count(tables.assessments) == 1


def test_row_67_a_file_read_again_after_a_crash_replays_its_receipt(gate: Gate) -> None:
    gate.drop("a.csv", "SYN-00001,2026-10-12,1,1,1,1,1,1,1,1,0", "SYN-00002,2026-10-12,3,3,3,3,3,3,3,3,3")
    first = gate.read()
    stored = (gate.count(tables.assessments), gate.count(tables.triages), gate.count(tables.students))
    gate.forget_cursor()
    again = gate.read()
    assert (again.forms, again.critical) == (first.forms, first.critical) == (2, 1)
    assert (gate.count(tables.assessments), gate.count(tables.triages), gate.count(tables.students)) == stored


def test_observations_are_signals_once_whatever_is_read_again(gate: Gate) -> None:
    (gate.inbox / "observations.csv").write_text("student_id,date,codes\nSYN-00001,2026-10-12,C01;S01\n", "utf-8")
    tally = gate.read()
    assert (tally.updates, tally.rejected) == (2, [])
    assert gate.count(tables.signals) == 2
    gate.forget_cursor()
    gate.read()
    assert gate.count(tables.signals) == 2
