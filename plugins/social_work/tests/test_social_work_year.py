"""A whole invented year through a real gateway: every figure of the printed report, and what is referred comes back."""

from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.exchange import kunshan

from xinqiao.adapters.host import AdapterHost
from xinqiao.api.exchange.v1 import report_service_pb2 as rpc
from xinqiao.server.intake import Intake, Tally
from xinqiao.store import tables
from xinqiao.testing.gateway import TemporaryGateway, make_deployment
from xinqiao_social_work import year
from xinqiao_social_work.simulator import SocialWorkSimulator

EXAMPLE = Path(__file__).resolve().parents[3] / "config" / "gateway.example.yaml"
ROWS = sum(len(table.rows) for table in year.tables())
AIDE = "kunshan-aide"


class Gate:
    """A gateway with one social-work agency, read when a test says so."""

    def __init__(self, gate: TemporaryGateway, agency: SocialWorkSimulator) -> None:
        self.gate, self.agency = gate, agency

    def read(self) -> Tally:
        gateway = self.gate.gateway
        partner = gateway.registry.find(AIDE)
        assert partner is not None
        return Intake(gateway.pipeline, gateway.host.agencies[AIDE], partner, gateway.clocks.deadline).run_once()

    def rows(self, table: Any) -> list[Any]:
        with self.gate.gateway.store.read() as reading:
            return list(reading.all(table.select()))

    def figures(self) -> dict[str, int]:
        request = rpc.MakeReportRequest(request_id=f"report-{next(_keys):04}", report="yearly", period="2025")
        report = self.gate.call_inside("bureau-admin", request).report
        return {each.id: each.value for each in report.figures}


_keys = iter(range(10_000))


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    agency = SocialWorkSimulator(tmp_path / "agency")

    def change(settings: dict[str, Any]) -> None:
        settings["partners"][AIDE] = {
            "kind": "social_work", "names": {"zh": "示范社工服务社", "en": "Model Aide"}, "roles": ["SOCIAL_WORK"],
            "spiffe": f"spiffe://xinqiao.example/partner/{AIDE}",
            "agreement": {"number": "KS-2026-003", "valid_from": date(2026, 1, 1), "valid_to": date(2028, 12, 31)},
        }  # fmt: skip
        settings["adapters"] = {AIDE: {"adapter": "social_work", "settings": agency.start()}}

    config = make_deployment(tmp_path, EXAMPLE, change=change)
    gateway = TemporaryGateway(config, host=AdapterHost.load(["social_work"]))
    gateway.start(listen=False, work=False)
    yield Gate(gateway, agency)
    gateway.stop()


def test_a_whole_year_of_logs_gives_every_figure_of_the_printed_report(gate: Gate) -> None:
    gate.agency.drop_year()
    tally = gate.read()
    assert (tally.rejected, len(gate.rows(tables.activities))) == ([], ROWS)
    figures = gate.figures()
    assert {key: figures[key] for key in kunshan.FIGURES} == kunshan.FIGURES
    assert {key: figures[key] for key in year.FIGURES} == year.FIGURES
    assert {key for key, value in figures.items() if value} == set(year.FIGURES)


def test_the_years_logs_are_those_of_the_reports_own_test_thing_by_thing(gate: Gate) -> None:
    gate.agency.drop_year()
    gate.read()
    names = ("kind", "audience", "times", "attendances", "persons", "crisis")
    kept = Counter(
        tuple(int(row[name]) for name in names) for row in gate.rows(tables.activities) if int(row["kind"]) != 10
    )

    # Where the log has a row a day or a contact, one is said or counted; it is the same figure.
    def told(one: Any) -> tuple[int, ...]:
        times = 0 if one.kind == 9 else one.times
        attendances = 1 if one.kind == 2 else one.attendances
        audience = 1 if one.kind in (1, 2) else one.audience
        return (one.kind, audience, times, attendances, one.persons, int(one.crisis))

    assert kept == Counter(map(told, kunshan.logs()))


def test_a_correction_that_goes_back_to_earlier_figures_counts_too(gate: Gate) -> None:
    for letters in ("7", "8", "7"):
        gate.agency.drop("社工信箱.csv", ("编号", "日期", "回信数"), [("l-1", "2025-05-05", letters)])
        gate.read()
        assert gate.figures()["letters_answered"] == int(letters)


def test_a_row_removed_from_a_newer_full_file_counts_no_more(gate: Gate) -> None:
    header, rows = ("编号", "日期", "人次"), [(f"m-{number}", f"2025-0{number}-01", "9") for number in range(1, 5)]
    gate.agency.drop("联席会议.xlsx", header, rows)
    gate.read()
    gate.agency.drop("联席会议.xlsx", header, rows[:3])
    gate.read()
    assert gate.figures()["joint_meetings"] == 3
    assert [row["source"] for row in gate.rows(tables.activities) if row["withdrawn"]] == ["meeting/m-4"]


def test_a_file_that_cannot_be_taken_is_held_by_somebody_and_told_to_the_agency(gate: Gate) -> None:
    gate.agency.drop("联席会议.csv", ("编号", "日期", "人次"), [("m-1", "2025-05-32", "9")])
    tally = gate.read()
    assert [(item.reason, item.place) for item in tally.rejected] == [("DATA/DATE", "row 2, column 日期")]
    assert [row["kind"] for row in gate.rows(tables.holdings) if str(row["item"]).startswith("intake/")] == ["intake"]
    assert (gate.agency.outbox / "reports" / "联席会议.csv.csv").exists()


def test_a_crash_between_storing_and_keeping_the_cursor_changes_nothing(gate: Gate) -> None:
    gate.agency.drop_year()
    gate.read()
    before = gate.figures()
    gate.gate.gateway.store.run(lambda tx: tx.delete(tables.cursors, AIDE, "read"))
    gate.read()
    assert gate.figures() == before
    assert len(gate.rows(tables.activities)) == ROWS
