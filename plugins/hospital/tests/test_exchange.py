import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from xinqiao.adapters.errors import PartnerRefused
from xinqiao.api.exchange.v1.exchange_pb2 import Manifest, Package, PackageItem, Receipt
from xinqiao.api.referral.v1.referral_pb2 import Referral
from xinqiao_hospital.adapter import HospitalAdapter
from xinqiao_hospital.faults import FaultScript
from xinqiao_hospital.simulator import HospitalSimulator

AdapterFor = Callable[..., HospitalAdapter]
KEY = Ed25519PrivateKey.generate()


def package(count: int = 2, **manifest: Any) -> Package:
    items = b""
    for ordinal in range(count):
        item = PackageItem(ordinal=ordinal, referral=Referral(name=f"referrals/r{ordinal}")).SerializeToString()
        items += bytes([len(item)]) + item
    digest = hashlib.sha256(items).digest()
    made = Manifest(version=1, period="2026-10", items=count, items_sha256=digest, checkpoint="note")
    made.MergeFrom(Manifest(**manifest))
    data = made.SerializeToString(deterministic=True)
    return Package(manifest=data, signature=KEY.sign(data), name="monthly-2026-10-r0", items=items)


def test_a_package_brings_a_receipt_that_verifies(hospital: HospitalSimulator, adapter_for: AdapterFor) -> None:
    sent = package()
    signed = adapter_for(hospital).exchange(sent, "exchange-0001", 5)
    assert signed is not None
    key = load_pem_public_key(hospital.receipt_public_key_pem())
    assert isinstance(key, Ed25519PublicKey)
    key.verify(signed.signature, signed.receipt)
    receipt = Receipt.FromString(signed.receipt)
    assert receipt.manifest_sha256 == hashlib.sha256(sent.manifest).digest()
    assert (receipt.accepted, receipt.checkpoint) == (2, "note")


def test_a_repeat_brings_the_same_receipt_also_after_a_restart(
    hospital: HospitalSimulator, adapter_for: AdapterFor, tmp_path: Path
) -> None:
    first = adapter_for(hospital).exchange(package(), "exchange-0001", 5)
    hospital.stop()
    again = HospitalSimulator(tmp_path / "hospital")
    try:
        assert adapter_for(again).exchange(package(), "exchange-0001", 5) == first
    finally:
        again.stop()


def test_a_request_id_with_other_content_is_refused(hospital: HospitalSimulator, adapter_for: AdapterFor) -> None:
    adapter = adapter_for(hospital)
    adapter.exchange(package(), "exchange-0001", 5)
    with pytest.raises(PartnerRefused, match="EXCHANGE/CONFLICT"):
        adapter.exchange(package(3), "exchange-0001", 5)


@pytest.mark.parametrize("wrong", [{"items_sha256": b"x" * 32}, {"items": 3}])
def test_a_package_that_is_not_what_its_manifest_says_is_refused(
    hospital: HospitalSimulator, adapter_for: AdapterFor, wrong: dict[str, Any]
) -> None:
    with pytest.raises(PartnerRefused, match="EXCHANGE/REFUSED"):
        adapter_for(hospital).exchange(package(**wrong), "exchange-0001", 5)


def test_a_signature_of_another_is_refused_where_the_gateways_key_is_known(
    adapter_for: AdapterFor, tmp_path: Path
) -> None:
    other = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    strict = HospitalSimulator(tmp_path / "strict", gateway_key_pem=other)
    try:
        with pytest.raises(PartnerRefused, match="EXCHANGE/REFUSED"):
            adapter_for(strict).exchange(package(), "exchange-0001", 5)
    finally:
        strict.stop()


def test_refused_items_stand_in_the_receipt(hospital: HospitalSimulator, adapter_for: AdapterFor) -> None:
    hospital.inject(FaultScript("refuse_items", items=(1,)))
    signed = adapter_for(hospital).exchange(package(), "exchange-0001", 5)
    assert signed is not None
    receipt = Receipt.FromString(signed.receipt)
    assert (receipt.accepted, [item.ordinal for item in receipt.refused]) == (1, [1])
