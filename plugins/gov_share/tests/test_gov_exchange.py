"""A monthly package goes as one sealed attachment; its receipt comes by asking, signed by the agency."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from plugins.gov_share.tests.desk import Desk

from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable
from xinqiao.api.exchange.v1.exchange_pb2 import Manifest, Package, PackageItem, Receipt
from xinqiao.api.referral.v1.referral_pb2 import Referral
from xinqiao_gov_share.faults import FaultScript


def package(*, honest: bool = True) -> Package:
    item = PackageItem(ordinal=0, referral=Referral(name="referrals/r0")).SerializeToString()
    items = bytes([len(item)]) + item
    digest = hashlib.sha256(items if honest else b"other").digest()
    manifest = Manifest(version=1, period="2026-10", items=1, items_sha256=digest).SerializeToString()
    return Package(manifest=manifest, signature=b"s" * 64, name="monthly-2026-10-r0", items=items)


def test_the_receipt_comes_when_the_agency_has_signed_it(desk: Desk) -> None:
    sent = package()
    assert desk.adapter.exchange(sent, "exchange-0001", 5) is None
    assert desk.adapter.exchange(sent, "exchange-0001", 5) is None
    assert desk.platform.sign_receipts() == 1
    signed = desk.adapter.exchange(sent, "exchange-0001", 5)
    assert signed is not None
    key = load_pem_public_key(desk.simulator.receipt_public_key_pem())
    assert isinstance(key, Ed25519PublicKey)
    key.verify(signed.signature, signed.receipt)
    assert Receipt.FromString(signed.receipt).manifest_sha256 == hashlib.sha256(sent.manifest).digest()
    (ticket,) = desk.platform.tickets
    assert ticket["sealed"]
    assert sent.items not in desk.platform.path.read_bytes()


def test_a_package_whose_answer_was_lost_is_one_package_with_the_same_bytes(desk: Desk) -> None:
    desk.simulator.inject(FaultScript("drop_after"))
    with pytest.raises(PartnerUnavailable):
        desk.adapter.exchange(package(), "exchange-0001", 5)
    desk.restart()
    assert desk.adapter.exchange(package(), "exchange-0001", 5) is None
    assert len(desk.platform.tickets) == 1


def test_a_package_that_is_not_what_its_manifest_says_is_refused_with_the_article(desk: Desk) -> None:
    assert desk.adapter.exchange(package(honest=False), "exchange-0001", 5) is None
    desk.platform.sign_receipts()
    with pytest.raises(PartnerRefused, match=r"EXCHANGE/REFUSED.*第22条"):
        desk.adapter.exchange(package(honest=False), "exchange-0001", 5)


def test_a_package_is_not_asked_for_by_reading(desk: Desk) -> None:
    desk.adapter.exchange(package(), "exchange-0001", 5)
    desk.simulator.stop()
    assert desk.read() == []
