"""What each kind of answer means, over a transport that answers as told."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, cast

import pytest

from xinqiao.adapters.errors import AdapterError, PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.transport import HttpResponse, HttpTransport
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.config import Secret
from xinqiao.contract.clock import ManualClock
from xinqiao_hospital.adapter import HospitalAdapter
from xinqiao_hospital.settings import HospitalSettings, hosts

SECRET = "张三 13812345678"
JSON = {"content-type": "application/fhir+json"}


class Told:
    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.answer = HttpResponse(status, headers, body)
        self.sent: dict[str, Any] = {}

    def request(self, method: str, url: str, **sent: Any) -> HttpResponse:
        self.sent = {"method": method, "url": url, **sent}
        return self.answer


def told(status: int, headers: Mapping[str, str], body: bytes) -> tuple[HospitalAdapter, Told]:
    http = Told(status, headers, body)
    os.environ["XQ_TEST_TOKEN"] = "t0ken"
    settings = HospitalSettings(base_url="https://fhir.example.cn/r4/", token=Secret("env", "XQ_TEST_TOKEN"))
    context = AgencyContext("h", {}, "test", cast(HttpTransport, http), Path(mkdtemp(prefix="xinqiao-test-")))
    return HospitalAdapter(settings, context, ManualClock(datetime(2026, 10, 1, tzinfo=UTC))), http


def outcome(code: str, expression: str) -> bytes:
    text = f'"diagnostics":"{SECRET}","details":{{"text":"{SECRET}"}},"expression":["{expression}"]'
    return f'{{"resourceType":"OperationOutcome","issue":[{{"severity":"error","code":"{code}",{text}}}]}}'.encode()


@pytest.mark.parametrize(
    ("status", "code", "expression", "kind", "reason", "place"),
    [
        (422, "required", "Patient.name[0].family", RecordRejected, "FHIR/REQUIRED", "Patient.name[0].family"),
        (400, "value", f"Patient.name.where(text='{SECRET}')", RecordRejected, "FHIR/VALUE", "unknown"),
        (412, "multiple-matches", "Patient", RecordRejected, "FHIR/MULTIPLE_MATCHES", "Patient"),
        (422, SECRET, "Task.status", RecordRejected, "FHIR/UNSPECIFIED", "Task.status"),
        (400, "forbidden", "Task", PartnerRefused, "FHIR/FORBIDDEN", ""),
        (409, "lock-error", "Task", PartnerUnavailable, "", ""),
        (401, "login", "Task", PartnerRefused, "PARTNER/UNAUTHORIZED", ""),
        (503, "transient", "Task", PartnerUnavailable, "", ""),
    ],
)
def test_a_refusal_gives_code_and_path_and_never_the_partners_text(
    request_: DeliverRequest,
    status: int,
    code: str,
    expression: str,
    kind: type[AdapterError],
    reason: str,
    place: str,
) -> None:
    adapter, _ = told(status, JSON, outcome(code, expression))
    with pytest.raises(kind) as refused:
        adapter.deliver(request_, 5)
    assert getattr(refused.value, "reason", "") == reason and getattr(refused.value, "place", "") == place
    assert "张三" not in str(refused.value) and "138" not in str(refused.value)


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        ({"content-type": "application/fhir+xml"}, b"<Bundle/>", "PARTNER/CONTENT_TYPE"),
        ({"content-type": "text/html"}, b"<html>", "PARTNER/CONTENT_TYPE"),
        ({}, b"{}", "PARTNER/CONTENT_TYPE"),
        ({"content-type": "application/fhir+json; fhirVersion=5.0"}, b"{}", "PARTNER/FHIR_VERSION"),
        (JSON, b'{"a":1,"a":2}', "DATA/JSON_DUP_KEY"),
        (JSON, b"[" * 70, "DATA/DEPTH"),
        (JSON, b"[]", "DATA/PROFILE"),
        (JSON, b'{"resourceType":"CapabilityStatement","fhirVersion":"5.0.0"}', "PARTNER/FHIR_VERSION"),
        (JSON, b'{"resourceType":"CapabilityStatement","fhirVersion":"3.0.2"}', "PARTNER/FHIR_VERSION"),
    ],
)
def test_an_answer_that_is_not_r4_json_is_refused(headers: dict[str, str], body: bytes, reason: str) -> None:
    with pytest.raises(PartnerRefused) as refused:
        told(200, headers, body)[0].check()
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("120", 120), ("Thu, 01 Oct 2026 00:00:30 GMT", 30), ("Wed, 30 Sep 2026 00:00:00 GMT", 0), ("soon", None)],
)
def test_retry_after_is_read_as_seconds_or_date(text: str, seconds: float | None) -> None:
    with pytest.raises(PartnerUnavailable) as busy:
        told(429, {"retry-after": text}, b"")[0].check()
    assert busy.value.retry_after_s == seconds


def test_a_faulty_task_does_not_hold_up_its_neighbours() -> None:
    task = '"resourceType":"Task","identifier":[{"system":"urn:xinqiao:referral","value":"referrals/r%d"}]'
    meta = '"meta":{"versionId":"1","lastUpdated":"2026-10-01T10:00:0%dZ"},"status":"accepted"'
    one = "{" + task % 1 + "," + meta % 1 + ',"id":"1","id":"1"}'
    two = "{" + task % 2 + "," + meta % 2 + ',"id":"2"}'
    page = f'{{"resourceType":"Bundle","entry":[{{"resource":{one}}},{{"resource":{two}}}]}}'
    adapter, _ = told(200, JSON, page.encode())
    refused, taken = adapter.read("")
    assert (refused.rejected.reason, refused.rejected.place) == ("DATA/JSON_DUP_KEY", "entry[0].resource")
    assert taken.referral.referral == "referrals/r2"


def test_a_next_page_elsewhere_is_never_fetched() -> None:
    page = b'{"resourceType":"Bundle","link":[{"relation":"next","url":"https://evil.example/x"}]}'
    with pytest.raises(PartnerRefused, match="DATA/REFERENCE"):
        list(told(200, JSON, page)[0].read(""))


def test_the_token_travels_as_bearer_and_is_not_shown(request_: DeliverRequest) -> None:
    adapter, http = told(503, {}, b"")
    with pytest.raises(PartnerUnavailable) as e:
        adapter.deliver(request_, 5)
    assert http.sent["headers"]["Authorization"] == "Bearer t0ken" and "t0ken" not in str(e.value)
    assert http.sent["headers"]["Content-Type"].startswith("application/fhir+json")
    with pytest.raises(ValueError, match="must not be written"):
        HospitalSettings.model_validate({"base_url": "https://a.cn", "token": "t0ken"})


def test_settings_name_the_hosts_they_need() -> None:
    given = {"base_url": "https://a.cn/r4", "exchange_url": "http://127.0.0.1:81/x"}
    assert hosts(HospitalSettings.model_validate(given)) == ["127.0.0.1:81", "a.cn:443"]


@pytest.mark.parametrize(
    "url", ["ftp://a.cn", "https://u@a.cn", "https://a.cn?x", "https://a.cn:99999", "a.cn", "https://a#b"]
)
def test_an_address_with_anything_odd_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must"):
        HospitalSettings.model_validate({"base_url": url})
