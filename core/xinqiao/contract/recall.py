"""What a recipient signs when it answers a recall; both sides build it from here."""

from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from xinqiao.api.casefile.v1.consent_pb2 import RecallReceipt, SignedRecallReceipt

_CONTEXT: Final = b"xinqiao recall receipt\0"
"""Stands before the receipt: no other signature of a partner can be taken for one."""


def sign_receipt(receipt: RecallReceipt, key: Ed25519PrivateKey) -> SignedRecallReceipt:
    """The answer of a recipient, over its own signature (Ed25519, RFC 8032)."""
    data = receipt.SerializeToString(deterministic=True)
    return SignedRecallReceipt(receipt=data, signature=key.sign(_CONTEXT + data))


def open_receipt(signed: SignedRecallReceipt, key: Ed25519PublicKey) -> RecallReceipt:
    """What was signed. Raises cryptography's InvalidSignature, or protobuf's DecodeError."""
    key.verify(signed.signature, _CONTEXT + signed.receipt)
    return RecallReceipt.FromString(signed.receipt)
