"""What is written for the platform and read back from it: advice, packages, receipts; always whole files."""

import base64
import binascii
import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import cast

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from xinqiao.adapters import recording
from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.api.exchange.v1.exchange_pb2 import Manifest, Package, Receipt, SignedReceipt

RECEIPTS = "receipts"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{8,64}")
_PACKAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MAX_RECEIPT = 4 * 1024 * 1024


def advice_bytes(request: DeliverRequest) -> bytes:
    """``request`` as protobuf JSON, the same bytes for every try."""
    once = DeliverRequest()
    once.CopyFrom(request)
    once.ClearField("attempt")
    once.ClearField("checkpoints")  # they go on while it is tried; the school keeps those of its monthly package
    body = json_format.MessageToDict(once)
    return (json.dumps(body, ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode()


def deliver_file(request: DeliverRequest, outbox: Path, state: Path) -> str:
    """Write the request's file once and return its name.

    ``state`` remembers what was delivered, so a file the platform has already fetched is not written again.
    Raises RecordRejected for a request id in other use, PartnerUnavailable.
    """
    if _REQUEST_ID.fullmatch(request.request_id) is None:
        raise RecordRejected("KEY_FORMAT", "request_id is 8 to 64 of A-Z a-z 0-9 . _ : -", "request_id")
    name = f"{request.request_id}.json"
    data = advice_bytes(request)
    try:
        if not _remembered(state / "delivered" / name, data):
            if _differs(outbox / name, data):
                raise RecordRejected("KEY_REUSED", "the outbox has other content under this request_id", "request_id")
            write_whole(outbox / name, data)
            recording.filed("out", name, data)
            _remember(state / "delivered" / name, data)
    except OSError as error:
        raise _unavailable("outbox", error) from None
    except _OtherContent:
        raise RecordRejected("KEY_REUSED", "other content was delivered under this request_id", "request_id") from None
    return name


def hand_over(package: Package, outbox: Path, state: Path) -> None:
    """Write the package's folder once, whole or not at all.

    Raises PartnerRefused for a package name in other use, PartnerUnavailable.
    """
    name = _package_name(package)
    files = _package_files(package)
    mark = b"".join(hashlib.sha256(files[part]).digest() for part in sorted(files))
    target, part = outbox / name, outbox / f"{name}.part"
    try:
        if _remembered(state / "packages" / name, mark):
            return
        if target.exists():
            if any(_differs(target / file, data) for file, data in files.items()):
                raise _OtherContent
        else:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            for file, data in files.items():
                _write(part / file, data)
            _sync_folder(part)
            part.rename(target)
            _sync_folder(outbox)
        _remember(state / "packages" / name, mark)
    except OSError as error:
        raise _unavailable("outbox", error) from None
    except _OtherContent:
        message = "another package of this name was handed over; amend with a higher revision"
        raise PartnerRefused("PACKAGE_CONFLICT", message) from None


def receipt_for(package: Package, inbox: Path) -> SignedReceipt | None:
    """The receipt the platform wrote for ``package``, or None. Its signature is the gateway's to verify.

    Raises PartnerRefused for a receipt that is none or is for other bytes, PartnerUnavailable.
    """
    path = inbox / RECEIPTS / f"{_package_name(package)}.receipt.json"
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_RECEIPT + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unavailable("inbox", error) from None
    signed = _parse_receipt(data)
    try:
        receipt = Receipt.FromString(signed.receipt)
    except DecodeError:
        raise _bad_receipt("the receipt bytes are not a Receipt") from None
    if receipt.manifest_sha256 != hashlib.sha256(package.manifest).digest():
        raise PartnerRefused(
            "RECEIPT_MISMATCH", f"{path.name} is for another manifest; the platform must write it anew"
        )
    return signed


def receipt_json(signed: SignedReceipt) -> bytes:
    """The receipt file's content."""
    body = {
        "receipt": base64.b64encode(signed.receipt).decode(),
        "signature": base64.b64encode(signed.signature).decode(),
    }
    return (json.dumps(body, indent=2) + "\n").encode()


def write_whole(path: Path, *data: bytes | memoryview) -> None:
    """Write ``path`` so that a reader, or a power cut, sees all of it or nothing. Raises OSError."""
    part = path.with_name(path.name + ".part")
    _write(part, *data)
    part.replace(path)
    _sync_folder(path.parent)


class _OtherContent(Exception):
    """The key is in use for other bytes."""


def _remembered(path: Path, data: bytes) -> bool:
    try:
        mark = path.read_text("ascii")
    except FileNotFoundError:
        return False
    if mark != hashlib.sha256(data).hexdigest():
        raise _OtherContent
    return True


def _remember(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, hashlib.sha256(data).hexdigest().encode())


def _differs(path: Path, data: bytes) -> bool:
    """Whether ``path`` is there and holds something else."""
    try:
        return path.read_bytes() != data
    except FileNotFoundError:
        return False


def _write(path: Path, *data: bytes | memoryview) -> None:
    with path.open("wb") as stream:
        for part in data:
            stream.write(part)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; where folders cannot be opened (Windows) the rename alone must do."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _package_name(package: Package) -> str:
    if _PACKAGE_NAME.fullmatch(package.name) is None or package.name.endswith(".part"):
        raise PartnerRefused("PACKAGE_NAME", "the package name is not 1 to 128 of A-Z a-z 0-9 . _ -")
    return package.name


def _package_files(package: Package) -> dict[str, bytes]:
    try:
        manifest = Manifest.FromString(package.manifest)
    except DecodeError:
        raise PartnerRefused("PACKAGE_MANIFEST", "the manifest bytes are not a Manifest") from None
    shown = json_format.MessageToDict(manifest, always_print_fields_with_no_presence=True)
    shown["itemsSha256"] = manifest.items_sha256.hex()
    return {
        "items.bin": package.items,
        "manifest.bin": package.manifest,
        "manifest.json": (json.dumps(shown, ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode(),
        "manifest.sig": package.signature,
    }


def _parse_receipt(data: bytes) -> SignedReceipt:
    if len(data) > _MAX_RECEIPT:
        raise _bad_receipt(f"it is larger than {_MAX_RECEIPT} bytes")
    try:
        raw = json.loads(data)
        if not isinstance(raw, dict):
            raise TypeError
        body = cast("dict[str, str]", raw)
        receipt, signature = (base64.b64decode(body[key], validate=True) for key in ("receipt", "signature"))
    except (ValueError, RecursionError, KeyError, TypeError, binascii.Error):
        raise _bad_receipt('it must be {"receipt": base64, "signature": base64}') from None
    return SignedReceipt(receipt=receipt, signature=signature)


def _bad_receipt(why: str) -> PartnerRefused:
    return PartnerRefused("RECEIPT_FORMAT", f"the receipt file cannot be used: {why}")


def _unavailable(folder: str, error: OSError) -> PartnerUnavailable:
    return PartnerUnavailable(f"the {folder} cannot be used: {error.strerror}")
