"""What goes through the platform: the gateway's own messages, as protobuf JSON; sealed where the agency gave a key.

One contract: an agency's system reads the same schema (``protos/``) whatever road a record takes. A monthly package
goes as protobuf bytes, because its manifest is signed as bytes.
"""

from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from xinqiao.adapters.errors import RecordRejected
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, RecallAnswer, ReferralUpdate
from xinqiao.api.casefile.v1.team_service_pb2 import ReportTaskRequest
from xinqiao.api.exchange.v1.exchange_pb2 import Package, SignedReceipt
from xinqiao_gov_share.wire import WireRefused, parse

BINARY: Final = "application/x-protobuf"
_JSON: Final = "application/json"
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)

KINDS: Final[dict[str, type[Message]]] = {
    "referral": ReferralUpdate,
    "recall_receipt": RecallAnswer,
    "task_report": ReportTaskRequest,
    "package_receipt": SignedReceipt,
}
"""What an agency may answer with, by the word the platform carries."""


def content_of(request: DeliverRequest) -> tuple[str, str, bytes]:
    """``(contract, name of the item, content)`` of a delivery; the same request always gives the same bytes.

    Raises RecordRejected for a body this transport does not know.
    """
    contract = request.WhichOneof("body")
    if contract == "referral":
        return contract, request.referral.referral.name, to_json(request.referral)
    if contract == "referral_update":
        return contract, request.referral_update.name, to_json(request.referral_update)
    if contract == "task":
        return contract, request.task.task.name, to_json(request.task)
    if contract == "police_report":
        return contract, request.police_report.notice, to_json(request.police_report)
    if contract == "recall":
        return contract, request.recall.name, to_json(request.recall)
    raise RecordRejected("DATA/REQUIRED", "this body cannot go through the platform", "DeliverRequest.body")


def content_type(contract: str, message: str) -> str:
    """The media type with the message's full name, so that nobody has to guess."""
    return f"{BINARY if contract == 'package' else _JSON}; message={message}"


def message_name(request: DeliverRequest | Package) -> str:
    """Full name of the message that is carried."""
    if isinstance(request, Package):
        return Package.DESCRIPTOR.full_name
    found: Message = getattr(request, request.WhichOneof("body") or "")
    return str(found.DESCRIPTOR.full_name)


def is_drill(request: DeliverRequest) -> bool:
    """Whether nobody is in danger."""
    return request.drill or request.task.drill or request.police_report.drill


def to_json(message: Message) -> bytes:
    """Protobuf JSON with the names of ``protos/``; what the door withheld is absent."""
    found = json_format.MessageToJson(message, preserving_proto_field_name=True, indent=None, ensure_ascii=False)
    return found.encode("utf-8")


def from_json(kind: str, content: bytes) -> Any:
    """The message of ``kind`` that ``content`` is. Raises WireRefused; nothing of a value is in it."""
    if kind not in KINDS:
        raise WireRefused("DATA/KIND", f"an answer is one of {', '.join(KINDS)}", "kind")
    found = parse(content)
    try:
        return json_format.ParseDict(found, KINDS[kind](), max_recursion_depth=16)
    except (json_format.ParseError, DecodeError, ValueError, TypeError, AttributeError):
        # From None: these quote the value.
        raise WireRefused("DATA/PROFILE", f"not a {KINDS[kind].DESCRIPTOR.full_name}", "content") from None


def seal(content: bytes, key: X25519PublicKey, *, catalogue: str, request_no: str) -> bytes:
    """HPKE (RFC 9180; X25519, HKDF-SHA256, AES-256-GCM), bound to the catalogue id and the request number."""
    return _SUITE.encrypt(content, key, _info(catalogue, request_no))


def unseal(sealed: bytes, key: X25519PrivateKey, *, catalogue: str, request_no: str) -> bytes:
    """What the agency does with it. Raises cryptography's InvalidTag."""
    return _SUITE.decrypt(sealed, key, _info(catalogue, request_no))


def _info(catalogue: str, request_no: str) -> bytes:
    return f"xinqiao gov_share 1\n{catalogue}\n{request_no}".encode()
