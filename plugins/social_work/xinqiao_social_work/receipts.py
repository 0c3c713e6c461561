"""The agency's signed answer to a recall, a file of its own: ``<any name>.receipt.json``."""

import base64
import binascii
import json
import re
from typing import cast

from xinqiao.adapters.files import FileRefused, Place
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse, RecallAnswer
from xinqiao.api.casefile.v1.consent_pb2 import SignedRecallReceipt

SUFFIX = ".receipt.json"

_RECALL = re.compile(r"recalls/[A-Za-z0-9_-]{1,64}")
_MOST_BYTES = 64 * 1024


def read_receipt(data: bytes, sha256: str, label: str) -> ReadResponse:
    """The answer as it stands; whether its signature holds is the gateway's to judge. Raises FileRefused."""
    try:
        raw = json.loads(data) if len(data) <= _MOST_BYTES else None
        if not isinstance(raw, dict):
            raise TypeError
        body = cast("dict[str, str]", raw)
        recall, receipt, signature = body["recall"], _bytes(body["receipt"]), _bytes(body["signature"])
        if _RECALL.fullmatch(recall) is None:
            raise ValueError
    except (ValueError, RecursionError, KeyError, TypeError, binascii.Error):
        message = 'must be {"recall": "recalls/…", "receipt": base64, "signature": base64}'
        raise FileRefused("DATA/RECEIPT", message, Place(label)) from None
    signed = SignedRecallReceipt(receipt=receipt, signature=signature)
    return ReadResponse(recall_receipt=RecallAnswer(recall=recall, receipt=signed, source=f"{label}@{sha256[:16]}"))


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def receipt_json(recall: str, signed: SignedRecallReceipt) -> bytes:
    """The content of a receipt file."""
    told = {
        "recall": recall,
        "receipt": base64.b64encode(signed.receipt).decode(),
        "signature": base64.b64encode(signed.signature).decode(),
    }
    return (json.dumps(told, indent=2) + "\n").encode()
