"""Controls that a cold review found missing: remove one and its test goes red."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from xinqiao.contract.clock import ManualClock
from xinqiao.contract.errors import Refusal
from xinqiao.contract.paging import position, token
from xinqiao.disclosure.registry import Partner, Registry
from xinqiao.server.identity import Identity
from xinqiao.store import tables
from xinqiao.store.claims import DeliveryState, claim, waiting
from xinqiao.store.engine import Store
from xinqiao.store.holdings import hold
from xinqiao.store.tx import Tx

ROUTINE, CRISIS = 1, 2


def _queue(tx: Tx, name: str, lane: int, created_us: int, not_before_us: int) -> None:
    tx.insert(
        tables.deliveries, name, "hospital", lane, "referral", "student", f"referrals/{name}",
        int(DeliveryState.PENDING), 0, not_before_us, 0, "", f"key-{name}", "", "", created_us, created_us, 2, "", b"x",
    )  # fmt: skip


def _claimed(store: Store, lane: int) -> list[str]:
    rows = store.run(lambda tx: claim(tx, lanes=[lane], recipients=None, owner="w", limit=9, lease_us=1))
    return [str(row["id"]) for row in rows]


def test_a_red_delivery_does_not_wait_behind_an_older_routine_one_in_back_off(store: Store) -> None:
    def queue(tx: Tx) -> None:
        _queue(tx, "routine", ROUTINE, tx.now_us - 10, tx.now_us + 36_000_000_000)
        _queue(tx, "red", CRISIS, tx.now_us, tx.now_us)

    store.run(queue)
    with store.read() as reading:
        assert waiting(reading, CRISIS)
    assert _claimed(store, CRISIS) == ["red"]


def test_a_routine_delivery_still_waits_for_the_red_one_before_it(store: Store) -> None:
    def queue(tx: Tx) -> None:
        _queue(tx, "red", CRISIS, tx.now_us - 10, tx.now_us + 36_000_000_000)
        _queue(tx, "routine", ROUTINE, tx.now_us, tx.now_us)

    store.run(queue)
    with store.read() as reading:
        assert not waiting(reading, ROUTINE)
    assert _claimed(store, ROUTINE) == []


def _hold(tx: Tx, holder: str, deadline_us: int, step: str) -> None:
    hold(
        tx, "referrals/x", kind="referral", school="s", holder=holder, deadline_us=deadline_us, step=step, tier=4,
        student="student",
    )  # fmt: skip


def _held(store: Store) -> Any:
    with store.read() as reading:
        row = reading.get(tables.holdings, "referrals/x")
    assert row is not None
    return row


def test_an_event_without_progress_neither_wins_time_nor_undoes_an_escalation(store: Store) -> None:
    store.run(lambda tx: _hold(tx, "hospital", 1000, "accept"))
    store.run(lambda tx: tx.update(tables.holdings, ("referrals/x",), holder="operator", escalations=1))
    store.run(lambda tx: _hold(tx, "hospital", 9000, "accept"))
    row = _held(store)
    assert (row["holder"], row["deadline_us"], row["escalations"]) == ("operator", 1000, 1)


def test_a_new_step_starts_its_own_clock_with_its_own_holder(store: Store) -> None:
    store.run(lambda tx: _hold(tx, "hospital", 1000, "accept"))
    store.run(lambda tx: _hold(tx, "hospital", 9000, "outcome"))
    row = _held(store)
    assert (row["step"], row["deadline_us"]) == ("outcome", 9000)


@pytest.mark.parametrize("key", ["a\0b", "", "x" * 201])
def test_a_page_token_with_an_impossible_key_is_refused(key: str) -> None:
    with pytest.raises(Refusal, match="PAGE_TOKEN"):
        position(token(1, key))


def test_a_page_token_past_every_time_is_refused() -> None:
    with pytest.raises(Refusal, match="PAGE_TOKEN"):
        position(token(2**63, "referrals/x"))


@pytest.mark.parametrize("content", ["not a serial\n", None])
def test_a_deny_list_that_cannot_be_read_denies_everybody_every_time(
    tmp_path: Path, clock: ManualClock, content: str | None
) -> None:
    path = tmp_path / "denied.txt"
    if content is not None:
        path.write_text(content)
    partner = Partner("h", "hospital", "h", frozenset(), frozenset(), "spiffe://x/partner/h", 0, 2**62)
    identity = Identity(Registry([partner]), clock, path)
    for _ in range(3):
        with pytest.raises(Refusal, match="DENY_LIST"):
            identity.caller({"peer_spiffe_id": [b"spiffe://x/partner/h"], "x509_pem_cert": [b""]})


def test_a_deny_list_that_breaks_later_goes_on_as_it_was_and_is_an_alarm_each_time(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "denied.txt"
    revoked, good = _certificate(7), _certificate(8)
    path.write_text("07 # lost laptop\n")
    partner = Partner("h", "hospital", "h", frozenset(), frozenset(), "spiffe://x/partner/h", 0, 2**62)
    identity = Identity(Registry([partner]), clock, path)

    def calls(pem: bytes) -> Partner:
        return identity.caller({"peer_spiffe_id": [b"spiffe://x/partner/h"], "x509_pem_cert": [pem]})

    for broken in ("", "not a serial", None):
        if broken:
            path.write_text(broken)
        elif broken is None:
            path.unlink()
        clock.advance(timedelta(seconds=31))
        caplog.clear()
        assert calls(good) is partner
        with pytest.raises(Refusal, match="REVOKED"):
            calls(revoked)
        assert ("ALARM" in caplog.text) == (broken != "")


def _certificate(serial: int) -> bytes:
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    day = datetime(2026, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), serial, day, day + timedelta(days=1)).sign(key, None)
    return made.public_bytes(Encoding.PEM)
