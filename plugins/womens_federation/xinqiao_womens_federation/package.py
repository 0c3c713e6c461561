"""The monthly package as a folder of the outbox, and what the federation's side signs: receipts, and answers to recalls."""

import base64
import binascii
import hashlib
import json
import re
from typing import Final, cast

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from xinqiao.adapters.errors import PartnerRefused
from xinqiao.api.adapter.v1.adapter_service_pb2 import RecallAnswer
from xinqiao.api.casefile.v1.consent_pb2 import RecallReceipt, SignedRecallReceipt
from xinqiao.api.exchange.v1.exchange_pb2 import Manifest, Package, Receipt, SignedReceipt
from xinqiao_womens_federation.shelf import INBOX, OUTBOX, Files, json_bytes

RECEIPTS: Final = f"{INBOX}/receipts"
RECALL_ENDING: Final = ".recall.json"
_ENDING: Final = ".receipt.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MOST: Final = 4 * 1024 * 1024


def hand_over(package: Package, files: Files) -> None:
    """Write what is not there yet; ``manifest.sig`` comes last, so a folder that has it is whole.

    Raises PartnerRefused for a package name that is in use for other bytes.
    """
    place = f"{OUTBOX}/{_name(package)}"
    there = {each.name for each in files.names(place)}
    try:
        known = files.get(place, "manifest.bin") if "manifest.bin" in there else package.manifest
    except FileNotFoundError:
        known = package.manifest
    if known != package.manifest:
        message = "another package of this name was handed over; amend with a higher revision"
        raise PartnerRefused("PACKAGE_CONFLICT", message)
    if "manifest.sig" in there:
        return
    for name, data in _files(package).items():
        files.put(place, name, data)


def receipt_for(package: Package, files: Files) -> SignedReceipt | None:
    """The receipt that was signed for ``package``, or None. Its signature is the gateway's to verify.

    Raises PartnerRefused for a file that is no receipt, or one for other bytes.
    """
    name = f"{_name(package)}{_ENDING}"
    try:
        signed = SignedReceipt(**_parse(files.get(RECEIPTS, name, _MOST)))
        receipt = Receipt.FromString(signed.receipt)
    except FileNotFoundError:
        return None
    except (DecodeError, ValueError):
        raise PartnerRefused("RECEIPT_FORMAT", 'a receipt must be {"receipt": base64, "signature": base64}') from None
    if receipt.manifest_sha256 != hashlib.sha256(package.manifest).digest():
        raise PartnerRefused("RECEIPT_MISMATCH", f"{name} is for another manifest; it must be signed anew")
    return signed


def recall_answer(data: bytes, sha256: str) -> RecallAnswer:
    """What was signed about a recall. Raises ValueError for anything else."""
    try:
        signed = SignedRecallReceipt(**_parse(data))
        receipt = RecallReceipt.FromString(signed.receipt)
    except DecodeError:
        raise ValueError from None
    return RecallAnswer(recall=receipt.recall, receipt=signed, source=f"recall-{sha256[:24]}")


def signed_json(receipt: bytes, signature: bytes) -> bytes:
    """A signed file's content."""
    return json_bytes(
        {"receipt": base64.b64encode(receipt).decode(), "signature": base64.b64encode(signature).decode()}
    )


def _parse(data: bytes) -> dict[str, bytes]:
    try:
        raw = json.loads(data) if len(data) <= _MOST else None
        if not isinstance(raw, dict):
            raise TypeError
        body = cast("dict[str, str]", raw)
        return {key: base64.b64decode(body[key], validate=True) for key in ("receipt", "signature")}
    except (ValueError, RecursionError, KeyError, TypeError, binascii.Error):
        raise ValueError from None


def _name(package: Package) -> str:
    if _NAME.fullmatch(package.name) is None or package.name in ("errors", "receipts"):
        raise PartnerRefused("PACKAGE_NAME", "the package name is not 1 to 128 of A-Z a-z 0-9 . _ -")
    return package.name


def _files(package: Package) -> dict[str, bytes]:
    try:
        manifest = Manifest.FromString(package.manifest)
    except DecodeError:
        raise PartnerRefused("PACKAGE_MANIFEST", "the manifest bytes are not a Manifest") from None
    shown = json_format.MessageToDict(manifest, always_print_fields_with_no_presence=True)
    shown["itemsSha256"] = manifest.items_sha256.hex()
    return {
        "items.bin": package.items,
        "manifest.bin": package.manifest,
        "manifest.json": json_bytes(shown),
        "manifest.sig": package.signature,
    }
