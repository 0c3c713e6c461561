import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from plugins.womens_federation.tests.conftest import Desk

from xinqiao.adapters.errors import PartnerRefused
from xinqiao.api.exchange.v1.exchange_pb2 import Manifest, Package, PackageItem, Receipt
from xinqiao.api.referral.v1.referral_pb2 import Referral
from xinqiao_womens_federation.simulator import FederationSimulator

KEY = Ed25519PrivateKey.generate()


def package(count: int = 2, **manifest: Any) -> Package:
    items = b""
    for ordinal in range(count):
        item = PackageItem(ordinal=ordinal, referral=Referral(name=f"referrals/r{ordinal}")).SerializeToString()
        items += bytes([len(item)]) + item
    made = Manifest(
        version=1, period="2026-10", items=count, items_sha256=hashlib.sha256(items).digest(), checkpoint="note"
    )
    made.MergeFrom(Manifest(**manifest))
    data = made.SerializeToString(deterministic=True)
    return Package(manifest=data, signature=KEY.sign(data), name="monthly-2026-10-r0", items=items)


@pytest.mark.parametrize("sftp", [False, True])
def test_a_package_comes_back_with_a_receipt_that_the_federation_signed(
    desk_for: Callable[..., Desk], sftp: bool
) -> None:
    desk, sent = desk_for(sftp=sftp), package()
    assert desk.adapter.exchange(sent, "exchange-0001", 5) is None
    assert desk.sim.tick() == []
    signed = desk.adapter.exchange(sent, "exchange-0001", 5)
    assert signed is not None
    key = load_pem_public_key(desk.sim.receipt_public_key_pem())
    assert isinstance(key, Ed25519PublicKey)
    key.verify(signed.signature, signed.receipt)
    receipt = Receipt.FromString(signed.receipt)
    assert (receipt.manifest_sha256, receipt.accepted) == (hashlib.sha256(sent.manifest).digest(), 2)
    assert desk.sim.tick() == []
    assert desk.restart().exchange(sent, "exchange-0001", 5) == signed, "a package is signed for once, not at each look"


def test_a_package_of_that_name_with_other_bytes_is_a_conflict(desk: Desk) -> None:
    desk.adapter.exchange(package(), "exchange-0001", 5)
    with pytest.raises(PartnerRefused, match="PACKAGE_CONFLICT"):
        desk.adapter.exchange(package(3), "exchange-0001", 5)


def test_a_receipt_for_other_bytes_or_in_another_form_is_refused(desk: Desk) -> None:
    desk.adapter.exchange(package(), "exchange-0001", 5)
    desk.sim.tick()
    path = desk.sim.inbox / "receipts" / "monthly-2026-10-r0.receipt.json"
    changed = package(checkpoint="other")
    for each in (desk.sim.outbox / "monthly-2026-10-r0").iterdir():
        each.unlink()
    with pytest.raises(PartnerRefused, match="RECEIPT_MISMATCH"):
        desk.adapter.exchange(changed, "exchange-0002", 5)
    for bad in (b"{}", b"[1]", b"\xff", b'{"receipt": "!", "signature": "!"}'):
        path.write_bytes(bad)
        with pytest.raises(PartnerRefused, match="RECEIPT_FORMAT"):
            desk.adapter.exchange(changed, "exchange-0002", 5)


@pytest.mark.parametrize("wrong", [{"items_sha256": b"x" * 32}, {"items": 3}])
def test_the_signing_tool_signs_nothing_that_is_not_what_its_manifest_says(desk: Desk, wrong: dict[str, Any]) -> None:
    desk.adapter.exchange(package(**wrong), "exchange-0001", 5)
    assert desk.sim.tick() == ["monthly-2026-10-r0: the items are not those of the manifest"]
    assert desk.adapter.exchange(package(**wrong), "exchange-0001", 5) is None


def test_the_signing_tool_knows_the_gateways_signature(desk: Desk) -> None:
    other = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    desk.adapter.exchange(package(), "exchange-0001", 5)
    strict = FederationSimulator(desk.folder / "federation", gateway_key_pem=other)
    assert strict.tick() == ["monthly-2026-10-r0: the gateway's signature is wrong"]


def test_a_package_name_that_is_a_path_is_refused(desk: Desk) -> None:
    sent = package()
    for name in ("../x", "errors", "receipts", ""):
        sent.name = name
        with pytest.raises(PartnerRefused, match="PACKAGE_NAME"):
            desk.adapter.exchange(sent, "exchange-0001", 5)
