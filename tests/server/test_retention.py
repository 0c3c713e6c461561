"""What is past its time goes, what must stay stays, and the report proves it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from xinqiao.api.gateway.v1 import gateway_service_pb2 as gateway
from xinqiao.api.gateway.v1 import retention_service_pb2 as rpc
from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao.api.referral.v1 import referral_service_pb2 as ref_rpc
from xinqiao.config.problems import ConfigError
from xinqiao.server.retention import RetentionFile, load_retention
from xinqiao.store import tables
from xinqiao.store.claims import DeliveryState
from xinqiao.store.retention import KEPT

FILE = Path(__file__).resolve().parents[2] / "config" / "policy" / "retention.yaml"
CALM = bytes([0] * 9)


@pytest.fixture
def town(make_town: Any, database: str) -> Any:
    def for_long(settings: dict[str, Any]) -> None:
        for partner in settings["partners"].values():
            partner["agreement"] = {**partner["agreement"], "valid_to": "2060-12-31"}

    with make_town(database, listen=False, change=for_long) as made:
        yield made


def years(town: Any, count: float) -> None:
    town.clock.advance(timedelta(days=365.25 * count))


def tick(town: Any) -> int:
    return int(town.gate.gateway.retention.tick())


def report(town: Any) -> dict[str, Any]:
    return {each.contract: each for each in town.call(town.OPERATOR, rpc.GetRetentionRequest()).contracts}


def place(town: Any, local: str, as_: str = "") -> str:
    request = rpc.PlaceLegalHoldRequest(reason="POLICE_INQUIRY:case-118")
    request.student.local_id = local
    return str(town.call(as_ or town.PSYCH, request).name)


def settle(town: Any) -> None:
    """Close by hand whatever is still open, as a school does in three years."""
    with town.gate.gateway.store.read() as tx:
        items = [row["item"] for row in tx.all(tables.holdings.select())]
    town.gate.gateway.store.run(lambda tx: [tx.delete(tables.holdings, item) for item in items])


def test_what_is_past_its_time_goes_and_what_is_not_stays(town: Any) -> None:
    old = town.student()
    town.submit(old, CALM)
    years(town, 2)
    young = town.student()
    town.submit(young, CALM)
    settle(town)
    years(town, 1.1)
    assert report(town)["assessments"].past == 1
    tick(town)
    held = [row["student"] for row in town.rows(tables.assessments)]
    assert held == [town.inside_id(young)]
    shown = report(town)["assessments"]
    assert (shown.rows, shown.past) == (1, 0)
    assert shown.oldest_us == town.rows(tables.assessments)[0]["created_us"]
    reasons = {row["resource"]: row["reason"] for row in town.journal(kind="retention.erased")}
    assert reasons["retention/assessments"].startswith("rows:1 days:1095")


def test_once_a_day_and_no_row_of_the_journal_goes(town: Any) -> None:
    town.submit(town.student(), CALM)
    settle(town)
    years(town, 8)
    before = len(town.journal())
    assert tick(town) > 0
    assert tick(town) == 0
    assert len(town.journal()) >= before
    assert all(each.past == 0 for each in report(town).values())


def test_of_a_student_with_anything_open_nothing_goes(town: Any) -> None:
    local = town.student()
    town.submit(local, bytes([3] * 9))
    years(town, 8)
    tick(town)
    assert len(town.rows(tables.assessments)) == 1
    settle(town)
    years(town, 0.01)
    tick(town)
    assert town.rows(tables.assessments) == []


def test_a_legal_hold_keeps_everything_until_it_is_released_by_whoever_placed_it(town: Any) -> None:
    local = town.student()
    town.submit(local, CALM)
    settle(town)
    name = place(town, local)
    years(town, 8)
    tick(town)
    assert len(town.rows(tables.assessments)) == 1
    assert town.call(town.OPERATOR, rpc.GetRetentionRequest()).holds == 1
    release = rpc.ReleaseLegalHoldRequest(name=name, reason="INQUIRY_CLOSED")
    assert town.refusal("psych-li", release) == "NOT_FOUND/HOLD"
    assert town.refusal("police", release) == "NOT_FOUND/HOLD"
    close = gateway.CloseHoldingRequest(item=name, reason="NOT_MINE")
    assert town.refusal(town.OPERATOR, close) == "FAILED_PRECONDITION/OWN_CALL"
    town.call(town.PSYCH, release)
    tick(town)
    assert town.rows(tables.assessments) == []
    assert [row["reason"] for row in town.journal(kind="legal_hold.placed")] == ["POLICE_INQUIRY:case-118"]


def test_a_hold_has_a_holder_and_is_looked_at_again(town: Any) -> None:
    name = place(town, town.student())
    years(town, 1.1)
    town.gate.gateway.ladder.climb()
    assert town.journal(kind="escalated", resource=name)


def test_the_content_of_a_dead_letter_goes_and_that_it_died_stays(town: Any) -> None:
    town.recorder.refusing = True
    local = town.student()
    town.consent(local)
    town.refer(local)
    town.deliver_all()
    (dead,) = town.rows(tables.deliveries, state=int(DeliveryState.DEAD))
    town.clock.advance(timedelta(days=91))
    tick(town)
    (blank,) = town.rows(tables.deliveries, state=int(DeliveryState.DEAD))
    assert (dead["payload"] is not None, blank["payload"]) == (True, None)
    assert town.rows(tables.holdings, item=f"deliveries/{dead['id']}")
    retry = gateway.RetryDeliveryRequest(name=f"deliveries/{dead['id']}")
    assert town.refusal(town.OPERATOR, retry) == "FAILED_PRECONDITION/ERASED"


def test_a_legal_hold_keeps_the_content_of_a_dead_letter_too(town: Any) -> None:
    town.recorder.refusing = True
    local = town.student()
    town.consent(local)
    town.refer(local)
    town.deliver_all()
    name = place(town, local)
    town.clock.advance(timedelta(days=91))
    tick(town)
    (dead,) = town.rows(tables.deliveries, state=int(DeliveryState.DEAD))
    assert dead["payload"] is not None
    town.call(town.PSYCH, rpc.ReleaseLegalHoldRequest(name=name, reason="INQUIRY_CLOSED"))
    tick(town)
    (dead,) = town.rows(tables.deliveries, state=int(DeliveryState.DEAD))
    assert dead["payload"] is None


def test_a_whole_closed_case_goes_and_the_next_one_is_untouched(town: Any) -> None:
    local = town.student()
    town.consent(local)
    name = town.refer(local).referral.name
    town.deliver_all()
    town.advance(town.HOSPITAL, name, ref.REFERRAL_EVENT_ACCEPT)
    town.call(town.HOSPITAL, ref_rpc.ReportOutcomeRequest(name=name, outcome={"school_advice": "rest"}))
    town.advance(town.PSYCH, name, ref.REFERRAL_EVENT_CLOSE)
    town.deliver_all()
    settle(town)
    years(town, 8)
    after = town.student()
    town.submit(after, CALM)
    tick(town)
    for table in (tables.referrals, tables.triages, tables.signals, tables.consents, tables.duties, tables.deliveries):
        assert town.rows(table) == [], table.name
    assert town.refusal(town.PSYCH, ref_rpc.GetReferralRequest(name=name)) == "NOT_FOUND/REFERRAL"
    assert len(town.rows(tables.assessments)) == 1


def changed(folder: Path, **of: dict[str, Any]) -> Path:
    raw = yaml.safe_load(FILE.read_text("utf-8"))
    raw["rules"] = [{**rule, **of.get(rule["contract"], {})} for rule in raw["rules"]]
    path = folder / "retention.yaml"
    path.write_text(yaml.safe_dump(raw, allow_unicode=True), "utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"consents": {"keep_days": 30}}, "CONFIG/BELOW_LEGAL_MINIMUM"),
        ({"requests": {"keep_days": 399}}, "CONFIG/BELOW_LEGAL_MINIMUM"),
        ({"requests": {"since": "ended"}}, "CONFIG/CONFLICT"),
        ({"signals": {"contract": "assessments"}}, "CONFIG/REFERENCE"),
        ({"signals": {"contract": "diaries"}}, "CONFIG/MISSING"),
        ({"signals": {"keep_days": 0}}, "CONFIG/"),
    ],
)
def test_a_rule_that_keeps_too_little_or_names_nothing_is_refused_with_its_line(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_retention(changed(tmp_path, **change))
    assert any(problem.reason.startswith(reason) and problem.line for problem in caught.value.problems)


def test_every_kind_of_record_has_its_rule() -> None:
    file: RetentionFile = load_retention(FILE)
    assert {rule.contract for rule in file.rules} == set(KEPT)
    sealed = {table.name for table in tables.metadata.tables.values() if "sealed" in table.c} - {"students"}
    assert sealed <= set(KEPT)
