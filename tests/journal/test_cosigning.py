"""A second signature under each checkpoint, by a plug-in; here SM2 with SM3 (GB/T 32918, GB/T 32905) by OpenSSL."""

import subprocess
import tempfile
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SM3, Hash

from xinqiao.contract.errors import Refusal
from xinqiao.journal import cosigning
from xinqiao.journal.append import append
from xinqiao.journal.checkpoint import Checkpointer
from xinqiao.journal.note import cosigned, open_checkpoint
from xinqiao.store.engine import Store
from xinqiao.testing.cosigning import check_cosigner

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


def openssl(*arguments: str, data: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=False, timeout=20)
    return done.stdout if done.returncode == 0 else b""


class Sm2:
    """SM2 with SM3 as a district's HSM would do it: the private key is a file that only OpenSSL reads."""

    name = "kunshan.example/sm2"
    algorithm = "sm2-with-sm3"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._key = str(settings["key"])
        self._public = str(settings["public"])
        self.public_key = openssl("pkey", "-pubin", "-in", self._public, "-outform", "DER")

    def sign(self, message: bytes) -> bytes:
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(message)
            signature = openssl(*_USE, "-sign", "-inkey", self._key, "-in", file.name)
        if not signature:
            raise OSError("the HSM does not answer")
        return signature

    def verify(self, message: bytes, signature: bytes) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            text, proof = Path(folder) / "text", Path(folder) / "proof"
            text.write_bytes(message)
            proof.write_bytes(signature)
            given = ("-verify", "-pubin", "-inkey", self._public, "-in", str(text), "-sigfile", str(proof))
            return b"Verified Successfully" in openssl(*_USE, *given)


_USE = ("pkeyutl", "-rawin", "-digest", "sm3", "-pkeyopt", "distid:1234567812345678")


@pytest.fixture
def sm2(tmp_path: Path) -> Sm2:
    key, public = tmp_path / "sm2.key", tmp_path / "sm2.pub"
    openssl("ecparam", "-name", "SM2", "-genkey", "-noout", "-out", str(key))
    openssl("pkey", "-in", str(key), "-pubout", "-out", str(public))
    if not public.exists():
        pytest.skip("this OpenSSL has no SM2")
    return Sm2({"key": key, "public": public})


def test_sm2_with_sm3_passes_the_contract(sm2: Sm2) -> None:
    check_cosigner(sm2)


def test_the_digest_is_the_published_one() -> None:
    digest = Hash(SM3())
    digest.update(b"abc")  # GB/T 32905-2016, annex A.1
    assert digest.finalize().hex() == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"


class _TakesAll(Sm2):
    def verify(self, message: bytes, signature: bytes) -> bool:
        return True


class _SignsNothing(Sm2):
    def sign(self, message: bytes) -> bytes:
        return super().sign(b"always the same")


@pytest.mark.parametrize("kind", [_TakesAll, _SignsNothing])
def test_a_driver_that_takes_anything_does_not_pass(sm2: Sm2, kind: type[Sm2]) -> None:
    broken = kind({"key": sm2._key, "public": sm2._public})
    with pytest.raises((AssertionError, ValueError)):
        check_cosigner(broken)


def test_a_checkpoint_carries_both_signatures(store: Store, sm2: Sm2) -> None:
    store.run(lambda tx: append(tx, kind="T", decision="", actor="a"))
    (note,) = Checkpointer(store, KEY, "d", cosigners=[sm2]).run_once().values()
    assert cosigned(note, sm2)
    assert open_checkpoint(note, [KEY.public_key()], [sm2]).size == 1


def test_a_signer_that_fails_leaves_the_journal_unsigned_and_says_so(store: Store, sm2: Sm2) -> None:
    store.run(lambda tx: append(tx, kind="T", decision="", actor="a"))
    Path(sm2._key).unlink()
    checkpointer = Checkpointer(store, KEY, "d", cosigners=[sm2])
    with pytest.raises(OSError, match="HSM"):
        checkpointer.run_once()
    assert (checkpointer.failure, checkpointer.notes) == ("OSError", ())


def test_a_configured_signer_that_is_not_there_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refusal, match=r"journal\.cosigners\.sm2"):
        cosigning.load_cosigners({"sm2": {}})

    def installed(*, group: str) -> list[EntryPoint]:
        return [EntryPoint("sm2", f"{__name__}:Sm2", group)]

    monkeypatch.setattr(cosigning, "entry_points", installed)
    with pytest.raises(Refusal, match="KeyError"):
        cosigning.load_cosigners({"sm2": {}})
    assert cosigning.load_cosigners({"sm2": {"key": "k", "public": "p"}})[0].name == Sm2.name
