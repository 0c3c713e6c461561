"""Signed notes and the signer's key files."""

import os
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from xinqiao.journal.note import Checkpoint, NoteError, make_checkpoint, open_checkpoint
from xinqiao.journal.signing import (
    KeyFileError,
    create_signing_key,
    load_public_keys,
    load_signing_key,
    public_key_pem,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = [KEY.public_key()]
HEAD = Checkpoint("wuhan", "main", 7, sha256(b"root").digest())
NOTE = make_checkpoint(KEY, HEAD)


def test_a_note_has_the_shape_of_the_c2sp_specification() -> None:
    raw = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    text = f"xinqiao/wuhan/main\n7\n{b64encode(HEAD.root).decode()}\n"
    key_id = sha256(b"xinqiao/wuhan\n\x01" + raw).digest()[:4]
    signature = b64encode(key_id + KEY.sign(text.encode())).decode()
    assert f"{text}\n— xinqiao/wuhan {signature}\n" == NOTE


def test_a_note_opens_to_what_was_signed() -> None:
    assert open_checkpoint(NOTE, PUBLIC) == HEAD


def test_a_cosignature_of_an_unknown_witness_is_passed_over() -> None:
    assert open_checkpoint(NOTE + f"— witness {b64encode(b'x' * 68).decode()}\n", PUBLIC) == HEAD


def test_a_note_signed_by_another_key_is_refused() -> None:
    with pytest.raises(NoteError, match="no valid signature"):
        open_checkpoint(make_checkpoint(Ed25519PrivateKey.generate(), HEAD), PUBLIC)


def test_every_changed_character_of_a_note_is_refused() -> None:
    for at, character in enumerate(NOTE):
        changed = NOTE[:at] + ("B" if character != "B" else "C") + NOTE[at + 1 :]
        with pytest.raises(NoteError):
            open_checkpoint(changed, PUBLIC)


@pytest.mark.parametrize(
    "note",
    ["", "\n\n", NOTE[:-1], NOTE.replace("\n7\n", "\n07\n"), NOTE.replace("\n", "\r\n"), "x" * 20_000, "\ud800" + NOTE,
     NOTE.replace("\n\n", "\nextension\n\n"), NOTE.replace("\n7\n", "\n\uff17\n")],
)  # fmt: skip
def test_a_malformed_note_is_refused(note: str) -> None:
    with pytest.raises(NoteError):
        open_checkpoint(note, PUBLIC)


@pytest.mark.parametrize(
    "head", [HEAD._replace(deployment="a/b"), HEAD._replace(writer="a\nb"), HEAD._replace(writer="")]
)
def test_a_name_that_could_forge_a_line_is_never_signed(head: Checkpoint) -> None:
    with pytest.raises(NoteError):
        make_checkpoint(KEY, head)


def test_a_created_key_loads_again_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "signer.pem"
    key = create_signing_key(path)
    assert load_signing_key(path).private_bytes_raw() == key.private_bytes_raw()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    create_signing_key(tmp_path / "signer.pem")
    with pytest.raises(KeyFileError, match="exists already"):
        create_signing_key(tmp_path / "signer.pem")


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_private_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    create_signing_key(tmp_path / "signer.pem")
    (tmp_path / "signer.pem").chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load_signing_key(tmp_path / "signer.pem")


def test_public_keys_load_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_bytes(public_key_pem(KEY))
    assert open_checkpoint(NOTE, load_public_keys(tmp_path)) == HEAD


def test_a_public_key_of_another_kind_or_a_missing_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="no public key given"):
        load_public_keys(tmp_path)
    with pytest.raises(KeyFileError, match="cannot be read"):
        load_public_keys(tmp_path / "absent.pem")
    ec = generate_private_key(SECP256R1()).public_key()
    (tmp_path / "ec.pem").write_bytes(ec.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(KeyFileError, match="not an Ed25519"):
        load_public_keys(tmp_path)
    (tmp_path / "ec.pem").write_bytes(b"junk")
    with pytest.raises(KeyFileError, match="not a PEM"):
        load_public_keys(tmp_path)
