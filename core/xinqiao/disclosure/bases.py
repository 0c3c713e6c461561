"""Legal bases as data: which article allows a disclosure without consent, for what, to whom, and what it then owes."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import yaml
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, ValidationError

from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.contract import plainyaml
from xinqiao.contract.clock import local_date
from xinqiao.disclosure.policy import PolicyError, mask_of_names, numbers_of

_CONTEXT = b"xinqiao legal bases\0"


@dataclass(frozen=True, slots=True)
class Basis:
    """One entry of the registry. Valid on business dates ``start`` to ``end`` inclusive; ``end`` None = open."""

    id: str
    version: str
    citation: dict[str, str]
    start: date
    end: date | None
    purposes: frozenset[int]
    recipients: frozenset[int]
    classes: int
    needs_facts: bool
    notice_hours: int
    needs_approver: bool = False

    def in_force(self, now_us: int) -> bool:
        """Whether it is law on this business date."""
        today = local_date(now_us)
        return self.start <= today and (self.end is None or today <= self.end)

    def state(self, purpose: int, roles: frozenset[int], now_us: int) -> str:
        """VALID, or what stands against it: NOT_YET, EXPIRED, PURPOSE or RECIPIENT."""
        if not self.in_force(now_us):
            return "NOT_YET" if local_date(now_us) < self.start else "EXPIRED"
        if purpose not in self.purposes:
            return "PURPOSE"
        return "VALID" if not self.recipients.isdisjoint(roles) else "RECIPIENT"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    id: str
    version: str
    citation: dict[str, str]
    effective_from: date
    effective_to: date | None = None
    purposes: tuple[str, ...]
    recipients: tuple[str, ...]
    classes: tuple[str, ...]
    needs_facts: bool = True
    needs_approver: bool = False
    notice_hours: int


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    bases: tuple[_Entry, ...]


def sign_bases(path: Path, key: Ed25519PrivateKey) -> Path:
    """Write the detached signature beside the file, as `legal_bases.yaml.sig`; the file must be sound."""
    load_bases(path)
    signature = path.with_name(f"{path.name}.sig")
    signature.write_bytes(base64.b64encode(key.sign(_CONTEXT + path.read_bytes())) + b"\n")
    return signature


def check_signature(path: Path, keys: Iterable[Ed25519PublicKey]) -> None:
    """Raises PolicyError unless the file, byte for byte, bears a signature of one of ``keys``."""
    beside = path.with_name(f"{path.name}.sig")
    how = "have it checked and run `xinqiao policy sign`"
    try:
        signature = base64.b64decode(beside.read_bytes().strip(), validate=True)
    except OSError:
        raise PolicyError(f"{path.name}: not signed: there is no {beside.name}; {how}") from None
    except binascii.Error:
        raise PolicyError(f"{beside.name}: not a signature in base64; {how}") from None
    for key in keys:
        try:
            key.verify(signature, _CONTEXT + path.read_bytes())
        except InvalidSignature:
            continue
        return
    raise PolicyError(f"{path.name}: changed since it was signed, or signed by another key; {how}")


def load_bases(path: Path, keys: Iterable[Ed25519PublicKey] | None = None) -> Mapping[str, Basis]:
    """Read `legal_bases.yaml`. With ``keys`` it must be signed by one of them. Raises PolicyError naming the entry."""
    if keys is not None:
        check_signature(path, keys)
    try:
        parsed = _File.model_validate(plainyaml.load(path.read_bytes()))
    except (ValidationError, yaml.YAMLError) as error:
        raise PolicyError(f"{path.name}: {error}") from None
    found: dict[str, Basis] = {}
    for entry in parsed.bases:
        where = f"{path.name}: {entry.id}"
        if entry.id in found:
            raise PolicyError(f"{where}: the id stands twice")
        if not 0 < entry.notice_hours <= 24:
            raise PolicyError(f"{where}: notice_hours is 1 to 24: who was not asked must be told promptly (PIPL 18)")
        if entry.effective_to is not None and entry.effective_to < entry.effective_from:
            raise PolicyError(f"{where}: effective_to lies before effective_from")
        found[entry.id] = Basis(
            entry.id,
            entry.version,
            entry.citation,
            entry.effective_from,
            entry.effective_to,
            frozenset(numbers_of(options.Purpose, "PURPOSE_", entry.purposes, where)),
            frozenset(numbers_of(options.Role, "ROLE_", entry.recipients, where)),
            mask_of_names(entry.classes, where),
            entry.needs_facts,
            entry.notice_hours,
            entry.needs_approver,
        )
    return found
