"""What the school adapter writes for the platform, and the platform's stand-in."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from google.protobuf import json_format
from google.protobuf.internal.encoder import _VarintBytes  # type: ignore[attr-defined]  # pyright: ignore
from pydantic import ValidationError

from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.adapters.manifest import load_manifest
from xinqiao.adapters.protocols import AgencyContext, Exchanger, Recipient, Source
from xinqiao.adapters.transport import HttpTransport
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, Rejected
from xinqiao.api.common.v1.options_pb2 import FIELD_CLASS_DIAGNOSIS, FIELD_CLASS_SCHOOL, FIELD_CLASS_TREATMENT
from xinqiao.api.exchange.v1.exchange_pb2 import Manifest, Package, PackageItem, Receipt
from xinqiao.api.referral.v1.referral_pb2 import Outcome, Referral
from xinqiao.contract.clock import ManualClock
from xinqiao_school import SchoolAdapter, SchoolSettings, SchoolSimulator, xinqiao_adapters

GATEWAY = Ed25519PrivateKey.generate()
GATEWAY_PEM = GATEWAY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 2, tzinfo=UTC))


@pytest.fixture
def platform(tmp_path: Path, clock: ManualClock) -> Iterator[SchoolSimulator]:
    simulator = SchoolSimulator(tmp_path / "platform", gateway_key_pem=GATEWAY_PEM, clock=clock)
    yield simulator
    simulator.stop()


@pytest.fixture
def adapter(tmp_path: Path, platform: SchoolSimulator) -> SchoolAdapter:
    settings = SchoolSettings(inbox=platform.inbox, outbox=platform.outbox, school="X1")
    return SchoolAdapter(settings, AgencyContext("s", {}, "test", cast("HttpTransport", None), tmp_path / "state"))


def advice(text: str = "每周一次减少作业", request_id: str = "req-00000001", attempt: int = 1) -> DeliverRequest:
    referral = Referral(name="referrals/r1", outcome=Outcome(school_advice=text))
    return DeliverRequest(request_id=request_id, attempt=attempt, referral_update=referral)


def package(name: str = "monthly-2026-10-r0", items: int = 3, signer: Ed25519PrivateKey = GATEWAY) -> Package:
    bodies = [
        PackageItem(ordinal=n, referral=Referral(name=f"referrals/{n}")).SerializeToString() for n in range(items)
    ]
    data = b"".join(cast("bytes", _VarintBytes(len(body))) + body for body in bodies)
    manifest = Manifest(
        version=1, exchange="monthly", items=items, items_sha256=hashlib.sha256(data).digest(), checkpoint="note"
    ).SerializeToString()
    return Package(manifest=manifest, signature=signer.sign(manifest), name=name, items=data)


def test_the_kind_offers_what_the_gateway_asks_of_an_adapter(adapter: SchoolAdapter) -> None:
    [kind] = xinqiao_adapters()
    folders = SchoolSettings(inbox=Path("in"), outbox=Path("out"), school="X1")
    assert (kind.name, kind.settings, list(kind.hosts(folders))) == ("school", SchoolSettings, [])
    assert isinstance(adapter, Recipient) and isinstance(adapter, Source) and isinstance(adapter, Exchanger)


def test_advice_arrives_as_protobuf_json_in_utf_8(adapter: SchoolAdapter, platform: SchoolSimulator) -> None:
    assert adapter.deliver(advice(), 5).receipt == "req-00000001.json"
    data = (platform.outbox / "req-00000001.json").read_bytes()
    assert "每周一次减少作业".encode() in data
    assert json_format.Parse(data, DeliverRequest()).referral_update.name == "referrals/r1"
    platform.tick()
    assert [item["referralUpdate"]["name"] for item in platform.received()] == ["referrals/r1"]


def test_a_repeat_writes_nothing_new_even_after_the_platform_took_the_file(
    adapter: SchoolAdapter, platform: SchoolSimulator
) -> None:
    adapter.deliver(advice(), 5)
    path = platform.outbox / "req-00000001.json"
    before = path.read_bytes()
    assert adapter.deliver(advice(attempt=2), 5).receipt == path.name
    assert path.read_bytes() == before
    path.unlink()
    adapter.deliver(advice(attempt=3), 5)
    assert not path.exists()


def test_a_request_id_with_other_content_is_rejected(adapter: SchoolAdapter) -> None:
    adapter.deliver(advice(), 5)
    with pytest.raises(RecordRejected, match="KEY_REUSED"):
        adapter.deliver(advice("另一条"), 5)


@pytest.mark.parametrize("request_id", ["../../etc/x", "short", "a/b/c/d/e", "x" * 65])
def test_a_request_id_cannot_leave_the_outbox(adapter: SchoolAdapter, request_id: str) -> None:
    with pytest.raises(RecordRejected, match="KEY_FORMAT"):
        adapter.deliver(advice(request_id=request_id), 5)


def test_a_missing_folder_is_unavailable_not_a_crash(adapter: SchoolAdapter, platform: SchoolSimulator) -> None:
    assert adapter.check() == "folder"
    platform.outbox.rmdir()
    with pytest.raises(PartnerUnavailable):
        adapter.check()
    with pytest.raises(PartnerUnavailable):
        adapter.deliver(advice(), 5)


def test_a_package_comes_back_with_a_receipt_signed_by_the_platform(
    adapter: SchoolAdapter, platform: SchoolSimulator
) -> None:
    sent = package()
    assert adapter.exchange(sent, "run-00000001", 5) is None
    platform.tick()
    signed = adapter.exchange(sent, "run-00000001", 5)
    assert signed is not None
    key = cast("Ed25519PublicKey", serialization.load_pem_public_key(platform.receipt_public_key_pem()))
    key.verify(signed.signature, signed.receipt)
    with pytest.raises(InvalidSignature):
        key.verify(signed.signature, signed.receipt + b"\0")
    receipt = Receipt.FromString(signed.receipt)
    assert (receipt.accepted, receipt.checkpoint) == (3, "note")
    shown: dict[str, Any] = json.loads((platform.outbox / sent.name / "manifest.json").read_bytes())
    assert shown["items"] == 3


def test_a_platform_gives_no_receipt_for_a_package_another_signed(
    adapter: SchoolAdapter, platform: SchoolSimulator
) -> None:
    forged = package(signer=Ed25519PrivateKey.generate())
    adapter.exchange(forged, "run-00000001", 5)
    platform.tick()
    assert adapter.exchange(forged, "run-00000001", 5) is None
    assert platform.problems() == ["monthly-2026-10-r0: the gateway's signature is wrong"]


def test_other_content_under_a_package_name_is_refused(adapter: SchoolAdapter) -> None:
    adapter.exchange(package(), "run-00000001", 5)
    with pytest.raises(PartnerRefused, match="PACKAGE_CONFLICT"):
        adapter.exchange(package(items=4), "run-00000002", 5)


def test_a_receipt_for_another_manifest_is_refused(adapter: SchoolAdapter, platform: SchoolSimulator) -> None:
    adapter.exchange(package(), "run-00000001", 5)
    platform.tick()
    receipts = platform.inbox / "receipts"
    (receipts / "monthly-2026-10-r0.receipt.json").rename(receipts / "monthly-2026-10-r1.receipt.json")
    with pytest.raises(PartnerRefused, match="RECEIPT_MISMATCH"):
        adapter.exchange(package("monthly-2026-10-r1", items=4), "run-00000002", 5)


def test_a_receipt_file_that_is_none_is_refused(adapter: SchoolAdapter, platform: SchoolSimulator) -> None:
    (platform.inbox / "receipts" / "monthly-2026-10-r0.receipt.json").write_bytes(b"[" * 100_000)
    with pytest.raises(PartnerRefused, match="RECEIPT_FORMAT"):
        adapter.exchange(package(), "run-00000001", 5)


def test_the_platform_can_refuse_items_and_be_late(
    adapter: SchoolAdapter, platform: SchoolSimulator, clock: ManualClock
) -> None:
    platform.faults.receipt_after_days, platform.faults.refuse_items = 3, frozenset({1})
    adapter.exchange(package(), "run-00000001", 5)
    platform.tick()
    assert adapter.exchange(package(), "run-00000001", 5) is None
    clock.advance(timedelta(days=3))
    platform.tick()
    signed = adapter.exchange(package(), "run-00000001", 5)
    assert signed is not None
    receipt = Receipt.FromString(signed.receipt)
    assert (receipt.accepted, [item.ordinal for item in receipt.refused]) == (2, [1])


def test_the_platform_can_drop_late_twice_and_cut_off(
    adapter: SchoolAdapter, platform: SchoolSimulator, tmp_path: Path
) -> None:
    header = ",".join(["id", "taken_on", *(f"phq{n}" for n in range(1, 10))])
    sheet = tmp_path / "a.csv"
    sheet.write_text(header + "\n" + "".join(f"S{n},2026-10-12,0,0,0,0,0,0,0,0,0\n" for n in range(9)))
    platform.faults.drop_late = 1
    platform.drop(sheet)
    assert list(adapter.read("")) == []
    platform.tick()
    assert len(list(adapter.read(""))) == 1
    platform.faults.drop_late, platform.faults.duplicate = 0, True
    platform.drop(sheet)
    assert len(list(adapter.read(""))) == 1
    platform.faults.truncate = 0.5
    platform.drop(sheet, name="b.csv", manifest=True)
    assert [i.rejected.reason for i in adapter.read("") if i.rejected.source.startswith("b.csv@")] == ["DATA/TRUNCATED"]


def test_the_settings_refuse_one_folder_for_both_ways(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="two folders"):
        SchoolSettings(inbox=tmp_path, outbox=tmp_path, school="X1")


def test_the_settings_refuse_a_day_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        SchoolSettings(inbox=tmp_path / "i", outbox=tmp_path / "o", school="X1", default_date="2026-02-30")


def test_the_manifest_is_one_the_core_can_enforce() -> None:
    manifest = load_manifest(Path(__file__).resolve().parents[1] / "manifest.yaml")
    assert manifest.domain == xinqiao_adapters()[0].name
    assert manifest.settings == "xinqiao_school.settings:SchoolSettings"
    told = manifest.written_classes("referral_update")
    assert FIELD_CLASS_SCHOOL in told
    assert not told & {FIELD_CLASS_DIAGNOSIS, FIELD_CLASS_TREATMENT}


def test_what_was_not_taken_of_a_file_comes_back_as_a_table_once(
    adapter: SchoolAdapter, platform: SchoolSimulator
) -> None:
    items = [
        Rejected(
            source="七年级.csv@sha256:0#1", place="row 3, PHQ-9", reason="UNKNOWN_STUDENT", message="bring the roster"
        ),
        Rejected(source="七年级.csv", place="row 4, column phq9", reason="DATA/NUMBER", message="must be a number"),
    ]
    adapter.report(items[:1])
    adapter.report(items)
    platform.tick()  # a report is no package
    [path] = (platform.outbox / "reports").iterdir()
    assert path.name == "七年级.csv.csv"
    lines = path.read_text("utf-8-sig").splitlines()
    assert [line.split('","')[:2] for line in lines[1:]] == [
        ['"row 3, PHQ-9', "UNKNOWN_STUDENT"], ['"row 4, column phq9', "DATA/NUMBER"],
    ]  # fmt: skip
