"""A record goes in as one signed request: one ticket whatever happens on the way, and each answer means one thing."""

import json
from pathlib import Path
from typing import Any

import pytest
from plugins.gov_share.tests.conftest import OpenDesk
from plugins.gov_share.tests.desk import Desk
from pydantic import ValidationError

from xinqiao.adapters.errors import AdapterConfigError, PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.api.casefile.v1.consent_pb2 import Recall
from xinqiao.api.casefile.v1.team_pb2 import CareTask, TaskPackage
from xinqiao.api.common.v1.options_pb2 import LANE_CRISIS
from xinqiao.api.referral.v1.notice_pb2 import PoliceReport
from xinqiao.api.referral.v1.referral_pb2 import Referral
from xinqiao.config import Secret
from xinqiao_gov_share.client import Request
from xinqiao_gov_share.faults import FaultScript, Kind
from xinqiao_gov_share.settings import GovShareSettings

PRIVATE = ("欧阳", "小雨", "13800000001", "家庭冲突", "李梅")


@pytest.mark.parametrize("algorithm", ["hmac-sha256", "hmac-sm3"])
@pytest.mark.parametrize("sealed", [True, False])
def test_a_referral_arrives_as_it_was_released(
    open_desk: OpenDesk, referral: DeliverRequest, algorithm: str, sealed: bool
) -> None:
    desk = open_desk(algorithm=algorithm, sealed=sealed)
    receipt = desk.adapter.deliver(referral, 5).receipt
    (ticket,) = desk.platform.tickets
    assert receipt == ticket["ticket"] == "GS-000001"
    assert (ticket["catalogue"], ticket["contract"], ticket["urgent"]) == ("320583-XLJK/000001", "referral", False)
    assert ticket["basis"]
    found = json.loads(desk.platform.opened(receipt))
    assert found["student"]["family_name"] == "欧阳"
    assert found["referral"]["reason"] == "家庭冲突，需要家庭教育指导"
    assert "assessments" not in found  # what the door withheld is absent
    assert "national_id" not in found["student"]


def test_sealed_the_platform_cannot_read_it(desk: Desk, referral: DeliverRequest) -> None:
    desk.adapter.deliver(referral, 5)
    kept = (desk.folder.parent / "platform" / "requests.json").read_bytes().decode()
    ticket = desk.platform.tickets[0]
    import base64

    carried = kept + base64.b64decode(ticket["content"]).decode("latin-1")
    assert not any(word in carried or word.encode().decode("latin-1") in carried for word in PRIVATE)


@pytest.mark.parametrize(
    ("body", "contract"),
    [
        ({"referral_update": Referral(name="referrals/r1")}, "referral_update"),
        ({"task": TaskPackage(task=CareTask(name="tasks/t1"))}, "task"),
        ({"police_report": PoliceReport(notice="notices/n1", crisis_facts="在桥上")}, "police_report"),
        ({"recall": Recall(name="recalls/c1")}, "recall"),
    ],
)
def test_each_contract_goes_under_its_own_catalogue_id(desk: Desk, body: dict[str, Any], contract: str) -> None:
    receipt = desk.adapter.deliver(
        DeliverRequest(request_id="delivery-0009", lane=LANE_CRISIS, drill=True, **body), 5
    ).receipt
    (ticket,) = desk.platform.tickets
    assert (ticket["contract"], ticket["catalogue"]) == (contract, desk.platform.catalogue[contract])
    assert (ticket["urgent"], ticket["drill"]) == (True, True)
    assert json.loads(desk.platform.opened(receipt))


@pytest.mark.parametrize("kind", ["drop_after", "drop_before", "unavailable", "throttled", "busy", "down"])
def test_a_repeat_after_any_failure_has_one_effect(desk: Desk, referral: DeliverRequest, kind: Kind) -> None:
    desk.simulator.inject(FaultScript(kind, seconds=7))
    with pytest.raises(PartnerUnavailable) as caught:
        desk.adapter.deliver(referral, 5)
    if kind in ("unavailable", "throttled"):
        assert caught.value.retry_after_s == 7
    desk.restart()
    assert desk.adapter.deliver(referral, 5).receipt == desk.adapter.deliver(referral, 5).receipt == "GS-000001"
    assert len(desk.platform.tickets) == 1
    assert list((desk.folder / "outgoing").iterdir()) == []


def test_a_request_that_is_known_already_has_its_ticket(desk: Desk, referral: DeliverRequest) -> None:
    desk.simulator.inject(FaultScript("duplicate"))
    assert desk.adapter.deliver(referral, 5).receipt == "GS-000001"


def test_a_request_number_with_other_content_is_refused(desk: Desk, referral: DeliverRequest) -> None:
    desk.adapter.deliver(referral, 5)
    (desk.folder / "tickets.jsonl").unlink()
    desk.restart()
    referral.referral.referral.reason = "另一件事"
    with pytest.raises(RecordRejected, match="DATA/KEY_REUSED"):
        desk.adapter.deliver(referral, 5)


def test_too_slow_is_tried_again(desk: Desk, referral: DeliverRequest) -> None:
    desk.simulator.inject(FaultScript("slow", seconds=3))
    with pytest.raises(PartnerUnavailable):
        desk.adapter.deliver(referral, 0.3)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("clock", "PARTNER/CLOCK"),
        ("html", "PARTNER/CONTENT_TYPE"),
        ("unknown_code", "PARTNER/CODE"),
        ("unauthorized", "PARTNER/UNAUTHORIZED"),
    ],
)
def test_what_a_repeat_cannot_mend_stops_and_says_so(
    desk: Desk, referral: DeliverRequest, kind: Kind, reason: str
) -> None:
    desk.simulator.inject(FaultScript(kind))
    with pytest.raises(PartnerRefused, match=reason) as caught:
        desk.adapter.deliver(referral, 5)
    assert not any(word in str(caught.value) for word in PRIVATE)


def test_a_clock_that_is_six_minutes_off_is_refused_by_the_platform(desk: Desk, referral: DeliverRequest) -> None:
    from datetime import UTC, datetime, timedelta

    from xinqiao.contract.clock import ManualClock

    desk.simulator.clock = ManualClock(datetime.fromtimestamp(desk.clock.now_us() / 1e6, UTC) + timedelta(seconds=301))
    with pytest.raises(PartnerRefused, match="PARTNER/CLOCK"):
        desk.adapter.deliver(referral, 5)


def test_check_names_the_platform_and_sees_a_clock_that_drifts(desk: Desk) -> None:
    from datetime import UTC, datetime, timedelta

    from xinqiao.contract.clock import ManualClock

    assert desk.adapter.check() == "gov-share 1"
    desk.simulator.clock = ManualClock(datetime.fromtimestamp(desk.clock.now_us() / 1e6, UTC) + timedelta(seconds=90))
    with pytest.raises(PartnerRefused, match="PARTNER/CLOCK"):
        desk.adapter.check()


def test_a_wrong_secret_is_refused(desk: Desk, tmp_path: Path, referral: DeliverRequest) -> None:
    path = tmp_path / "wrong"
    path.touch(mode=0o600)
    path.write_text("another")
    desk.settings = desk.settings.model_copy(update={"secret": Secret("file", str(path))})
    desk.restart()
    with pytest.raises(PartnerRefused, match="PARTNER/UNAUTHORIZED") as caught:
        desk.adapter.deliver(referral, 5)
    assert "another" not in str(caught.value)


@pytest.mark.parametrize("change", ["method", "path", "timestamp", "nonce", "body", "app"])
def test_rows_107_and_111_any_change_on_the_way_breaks_the_signature(desk: Desk, change: str) -> None:
    from xinqiao_gov_share.platform import Refused
    from xinqiao_gov_share.signing import APP, signed_headers

    now = str(desk.clock.now_us() // 1_000_000)
    sent = {"method": "POST", "path": "/api/v1/requests", "timestamp": now, "nonce": "n1", "body": b"{}"}
    headers = signed_headers("hmac-sha256", "xinqiao", desk.simulator.secret, **sent)  # type: ignore[arg-type]
    got = {**sent, "path": "/api/v1/status"} if change == "path" else dict(sent)
    got |= {"method": "PUT"} if change == "method" else {}
    got |= {"body": b"{ }"} if change == "body" else {}
    if change in ("timestamp", "nonce"):
        name = "X-Share-Timestamp" if change == "timestamp" else "X-Share-Nonce"
        headers[name] = str(int(now) + 1) if change == "timestamp" else "n2"
    if change == "app":
        headers[APP] = "other"
    with pytest.raises(Refused) as caught:
        desk.simulator.authenticate(str(got["method"]), str(got["path"]), headers, bytes(got["body"]))  # type: ignore[arg-type]
    assert caught.value.code in (1001, 1002)


def test_row_109_the_same_signed_request_again_is_no_second_one(desk: Desk) -> None:
    from xinqiao_gov_share.platform import Refused
    from xinqiao_gov_share.signing import signed_headers

    now = str(desk.clock.now_us() // 1_000_000)
    headers = signed_headers(
        "hmac-sha256", "xinqiao", desk.simulator.secret, method="GET", path="/p", timestamp=now, nonce="n", body=b""
    )
    desk.simulator.authenticate("GET", "/p", headers, b"")
    with pytest.raises(Refused) as caught:
        desk.simulator.authenticate("GET", "/p", headers, b"")
    assert caught.value.code == 1004


def test_a_withdrawn_right_stops(desk: Desk, referral: DeliverRequest) -> None:
    desk.platform.withdrawn.add(desk.platform.catalogue["referral"])
    with pytest.raises(PartnerRefused, match="PARTNER/NOT_AUTHORIZED"):
        desk.adapter.deliver(referral, 5)


def test_a_contract_without_a_catalogue_id_is_not_sent(open_desk: OpenDesk, referral: DeliverRequest) -> None:
    desk = open_desk(catalogue={"task": {"id": "320583-XLJK/000003", "basis": "b"}})
    with pytest.raises(PartnerRefused, match="GOV_SHARE/NO_CATALOGUE"):
        desk.adapter.deliver(referral, 5)
    assert desk.platform.tickets == []


def test_the_same_request_has_the_same_bytes(desk: Desk) -> None:
    entry = desk.settings.catalogue["referral"]
    request = Request("delivery-0001", "referral", entry, b"{}", "application/json", sealed=False)
    assert request.body("X") == request.body("X")


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "http://share.example.gov.cn/api"},
        {"base_url": "https://user@share.example.gov.cn"},
        {"algorithm": "hmac-md5"},
        {"agency_code": "abc"},
        {"secret": "in-clear"},
        {"catalogue": {}},
        {"catalogue": {"forms": {"id": "320583-1", "basis": "b"}}},
        {"catalogue": {"task": {"id": "320583-1"}}},
        {"answer_days": 0},
        {"purposs": 1},
    ],
)
def test_settings_that_cannot_work_are_refused(desk: Desk, wrong: dict[str, Any]) -> None:
    right = {**desk.simulator.start(), **wrong}
    with pytest.raises(ValidationError) as caught:
        GovShareSettings.model_validate(right)
    assert "in-clear" not in str(caught.value)


def test_a_key_that_is_none_fails_the_agency_at_start(open_desk: OpenDesk, tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no key")
    with pytest.raises(AdapterConfigError, match="seal_to"):
        open_desk(seal_to=str(tmp_path / "bad.pem"))
