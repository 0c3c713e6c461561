"""Sealing: a blob opens only where it was sealed, unaltered, with its own suite."""

import hmac

import pytest

from xinqiao.store.errors import SealBroken
from xinqiao.store.sealing import AES_256_GCM, SM4_GCM, SUITES, Sealer, Sm4Gcm, seal_first

_KEY = bytes(range(32))
_PLACE = {"table": "signals", "key": "id1"}


def _sealer(suite: int = AES_256_GCM, student: str = "s1", key: bytes = _KEY) -> Sealer:
    return Sealer(student, {1: (suite, key)})


@pytest.mark.parametrize("suite", [AES_256_GCM, SM4_GCM])
def test_a_sealed_record_opens_in_its_place(suite: int) -> None:
    sealer = _sealer(suite)
    blob = sealer.seal("心情".encode(), **_PLACE)
    assert sealer.open(blob, **_PLACE) == "心情".encode()
    assert blob[:4] == bytes([1, suite, 0, 1])
    assert len(blob) == 4 + 12 + len("心情".encode()) + 16


@pytest.mark.parametrize("suite", [AES_256_GCM, SM4_GCM])
@pytest.mark.parametrize(("table", "key"), [("referrals", "id1"), ("signals", "id2"), ("signal", "sid1")])
def test_a_blob_moved_to_another_row_or_table_is_refused(suite: int, table: str, key: str) -> None:
    sealer = _sealer(suite)
    blob = sealer.seal(b"x", **_PLACE)
    with pytest.raises(SealBroken, match="another place"):
        sealer.open(blob, table=table, key=key)


def test_a_blob_of_another_student_is_refused_even_under_the_same_key() -> None:
    blob = _sealer(student="s1").seal(b"x", **_PLACE)
    with pytest.raises(SealBroken):
        _sealer(student="s2").open(blob, **_PLACE)


@pytest.mark.parametrize("suite", [AES_256_GCM, SM4_GCM])
def test_a_change_of_any_single_byte_is_noticed(suite: int) -> None:
    sealer = _sealer(suite)
    blob = sealer.seal(b"secret", **_PLACE)
    for position in range(len(blob)):
        changed = bytearray(blob)
        changed[position] ^= 1
        with pytest.raises(SealBroken):
            sealer.open(bytes(changed), **_PLACE)


@pytest.mark.parametrize("length", [0, 3, 31])
def test_a_cut_blob_is_refused(length: int) -> None:
    sealer = _sealer()
    with pytest.raises(SealBroken, match="too short"):
        sealer.open(sealer.seal(b"x", **_PLACE)[:length], **_PLACE)


def test_a_downgrade_to_another_suite_is_refused() -> None:
    sealer = _sealer(AES_256_GCM)
    blob = bytearray(sealer.seal(b"x", **_PLACE))
    blob[1] = SM4_GCM
    with pytest.raises(SealBroken, match="suite"):
        sealer.open(bytes(blob), **_PLACE)


@pytest.mark.parametrize(("seals", "other"), [(AES_256_GCM, SM4_GCM), (SM4_GCM, AES_256_GCM)])
def test_no_header_makes_a_blob_open_under_the_other_suite_of_a_key_that_has_both(seals: int, other: int) -> None:
    sealer = Sealer("", {suite: (suite, _KEY) for suite in SUITES}, seals=seals)
    blob = bytearray(sealer.seal(b"x", **_PLACE))
    assert (blob[1], blob[3]) == (seals, seals)
    assert sealer.open(bytes(blob), **_PLACE) == b"x"
    for suite, version in ((other, seals), (seals, other), (other, other), (0, seals), (3, 3)):
        blob[1], blob[3] = suite, version
        with pytest.raises(SealBroken):
            sealer.open(bytes(blob), **_PLACE)


def test_an_older_key_version_still_opens_and_the_newest_seals() -> None:
    old = Sealer("s1", {1: (AES_256_GCM, _KEY)})
    both = Sealer("s1", {1: (AES_256_GCM, _KEY), 2: (SM4_GCM, bytes(32))})
    assert both.open(old.seal(b"x", **_PLACE), **_PLACE) == b"x"
    assert both.seal(b"x", **_PLACE)[:4] == bytes([1, SM4_GCM, 0, 2])
    assert both.commit("w", 1, b"x") == old.commit("w", 1, b"x")


def test_the_same_text_is_never_sealed_to_the_same_blob() -> None:
    sealer = _sealer()
    assert len({sealer.seal(b"x", **_PLACE) for _ in range(100)}) == 100


@pytest.mark.parametrize("size", [0, 1, 55, 64, 5000])
def test_a_commitment_is_two_hmacs_under_the_students_first_key(size: int) -> None:
    first, payload = bytes(range(32)), b"p" * size
    sealer = Sealer("s", {1: (AES_256_GCM, first), 2: (AES_256_GCM, bytes(32))})
    once = hmac.digest(first, b"journal" + b"\0\0\0\1w" + (7).to_bytes(8, "big"), "sha256")
    assert sealer.commit("w", 7, payload) == hmac.digest(once, payload, "sha256")


def test_a_commitment_depends_on_key_writer_place_and_payload() -> None:
    one = _sealer()
    same = one.commit("w", 1, b"p")
    others = {
        one.commit("w", 2, b"p"),
        one.commit("v", 1, b"p"),
        one.commit("w", 1, b"q"),
        _sealer(key=bytes(32)).commit("w", 1, b"p"),
    }
    assert same == one.commit("w", 1, b"p")
    assert len(others | {same}) == 5


@pytest.mark.parametrize("suite", [AES_256_GCM, SM4_GCM])
def test_the_first_record_of_a_new_key_opens_as_any_other_and_only_in_its_place(suite: int) -> None:
    [_, blob] = seal_first([("s0", b""), ("s1", "心情".encode())], 1, suite, [bytes(32), _KEY], table="students")
    assert _sealer(suite).open(blob, table="students", key="s1") == "心情".encode()
    for sealer, place in (
        (_sealer(suite), {"table": "students", "key": "s2"}),
        (_sealer(suite), {"table": "signals", "key": "s1"}),
        (_sealer(suite, "s2"), {"table": "students", "key": "s1"}),
    ):
        with pytest.raises(SealBroken):
            sealer.open(blob, **place)


def test_a_sealer_does_not_show_its_key() -> None:
    assert "s1" not in repr(_sealer())
    assert _KEY.hex() not in repr(_sealer())


def test_sm4_gcm_matches_the_vector_of_rfc_8998() -> None:
    key = bytes.fromhex("0123456789abcdeffedcba9876543210")
    nonce = bytes.fromhex("00001234567800000000abcd")
    aad = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    plain = bytes.fromhex(
        "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccddddddddddddddddeeeeeeeeeeeeeeeeffffffffffffffffeeeeeeeeeeeeeeeeaaaaaaaaaaaaaaaa"
    )
    sealed = bytes.fromhex(
        "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735"
        "d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d"
        "83de3541e4c2b58177e065a9bf7b62ec"
    )
    assert Sm4Gcm(key).encrypt(nonce, plain, aad) == sealed
    assert Sm4Gcm(key).decrypt(nonce, sealed, aad) == plain
