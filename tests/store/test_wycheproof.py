"""Project Wycheproof's vectors against the primitives that sealing, wrapping, hashing and signing really use, imported
from where they are used: whoever exchanges one there exchanges it here."""

import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.hashes import SHA256

from xinqiao.disclosure import students
from xinqiao.journal import note, signing
from xinqiao.store import keks, keys, providers, sealing

_SEALING: Any = sealing
_KEYS: Any = keys
_NOTE: Any = note

_FOLDER = Path(__file__).parents[3] / "shared" / "data" / "wycheproof"


def vectors(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    path = _FOLDER / f"{name}.json"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    for group in json.loads(path.read_text())["testGroups"]:
        for case in group["tests"]:
            yield group, case


def parts(case: dict[str, Any], *names: str) -> list[bytes]:
    return [bytes.fromhex(case[name]) for name in names]


@pytest.mark.parametrize(
    ("name", "cipher", "least"), [("aes_gcm_test", _SEALING.AESGCM, 150), ("sm4_gcm_test", sealing.Sm4Gcm, 50)]
)
def test_the_ciphers_of_sealing(name: str, cipher: Any, least: int) -> None:
    checked = 0
    for group, case in vectors(name):
        if group["ivSize"] != 96 or group["tagSize"] != 128:
            continue  # a blob has no room for them
        key, nonce, aad, plain, sealed, tag = parts(case, "key", "iv", "aad", "msg", "ct", "tag")
        checked += 1
        if case["result"] == "valid":
            assert cipher(key).encrypt(nonce, plain, aad) == sealed + tag, case["tcId"]
            assert cipher(key).decrypt(nonce, sealed + tag, aad) == plain, case["tcId"]
        else:
            with pytest.raises(InvalidTag):
                cipher(key).decrypt(nonce, sealed + tag, aad)
    assert checked >= least


@pytest.mark.parametrize("module", [keks, providers])
def test_the_wrapping_of_keys(module: Any) -> None:
    checked = 0
    for _, case in vectors("aes_wrap_test"):
        key, plain, wrapped = parts(case, "key", "msg", "ct")
        checked += 1
        if case["result"] == "valid":
            assert module.aes_key_wrap(key, plain) == wrapped, case["tcId"]
            assert module.aes_key_unwrap(key, wrapped) == plain, case["tcId"]
        elif case["result"] == "invalid":
            with pytest.raises((module.InvalidUnwrap, ValueError)):
                module.aes_key_unwrap(key, wrapped)
    assert checked > 100


@pytest.mark.parametrize("module", [sealing, students])
def test_the_keyed_hash_of_commitments_blind_ids_and_names(module: Any) -> None:
    checked = 0
    for group, case in vectors("hmac_sha256_test"):
        key, message, tag = parts(case, "key", "msg", "tag")
        if hasattr(module, "HMAC"):
            made = module.HMAC(key, SHA256())
            made.update(message)
            whole = made.finalize()
        elif len(key) <= 64:  # a sealer's own keys have 32 bytes; the shortcut takes no longer ones
            whole = module._hmac_sha256(key, message)
        else:
            continue
        ours = whole[: group["tagSize"] // 8]
        assert hmac.digest(key, message, "sha256")[: len(ours)] == ours
        assert (ours == tag) == (case["result"] == "valid"), case["tcId"]
        checked += 1
    assert checked > 100


def test_the_signatures_of_checkpoints_and_packages(tmp_path: Path) -> None:
    checked = 0
    path = tmp_path / "key.pem"
    for group, case in vectors("ed25519_test"):
        path.write_text(group["publicKeyPem"])
        (key,) = signing.load_public_keys(path)
        assert isinstance(key, _NOTE.Ed25519PublicKey)
        message, signature = parts(case, "msg", "sig")
        checked += 1
        if case["result"] == "valid":
            key.verify(signature, message)
        else:
            with pytest.raises(InvalidSignature):
                key.verify(signature, message)
    assert checked > 100


@pytest.mark.parametrize(
    ("secret", "salt", "info", "extracted", "expanded"),
    [  # RFC 5869, appendix A.1 and A.3
        (
            "0b" * 22, "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
            "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf",
        ),
        (
            "0b" * 22, "", "",
            "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d",
        ),
    ],
)  # fmt: skip
def test_the_derivation_of_the_deployments_keys(
    secret: str, salt: str, info: str, extracted: str, expanded: str
) -> None:
    root = _KEYS.HKDF.extract(SHA256(), bytes.fromhex(salt) or None, bytes.fromhex(secret))
    assert root.hex() == extracted
    assert _KEYS.HKDFExpand(SHA256(), 32, info=bytes.fromhex(info)).derive(root).hex() == expanded
