"""The contract test of a cosigner: what a driver for SM2 with SM3, an HSM or a KMS must pass before a district uses it."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from xinqiao.journal.note import Checkpoint, Cosigner, NoteError, cosigned, make_checkpoint, open_checkpoint


def check_cosigner(cosigner: Cosigner) -> None:
    """Sign and verify through real notes. Raises AssertionError that says which part of the contract does not hold."""
    key = Ed25519PrivateKey.generate()
    head = Checkpoint("contract", "main", 7, bytes(range(32)))
    note = make_checkpoint(key, head, (cosigner,))
    assert note.count("\n— ") == 2, "one line more under the note"
    assert cosigned(note, cosigner), "the line is found by name and key"
    assert open_checkpoint(note, [key.public_key()], [cosigner]) == head, "its own signature verifies"
    assert open_checkpoint(note, [key.public_key()]) == head, "who does not know the algorithm still reads the note"
    other = make_checkpoint(key, head._replace(size=8), (cosigner,))
    moved = note.rpartition("\n— ")[0] + "\n— " + other.rpartition("\n— ")[2]
    try:
        open_checkpoint(moved, [key.public_key()], [cosigner])
    except NoteError:
        pass
    else:
        raise AssertionError("a signature over another head is taken for this one's")
    for broken in (b"", b"\0", bytes(64), bytes(4096)):
        assert cosigner.verify(b"message", broken) is False, "bytes that are no signature are refused, not raised"
    assert not cosigner.verify(b"other", cosigner.sign(b"message")), "a signature is for its message only"
    assert 0 < len(cosigner.public_key) <= 4096, "the public key makes the key id"
