"""Legal bases as data: which article allows a disclosure without consent, for what, to whom, and what it then owes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.contract import plainyaml
from xinqiao.contract.clock import local_date
from xinqiao.disclosure.policy import PolicyError, mask_of_names, numbers_of


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

    def in_force(self, now_us: int) -> bool:
        """Whether it is law on this business date."""
        today = local_date(now_us)
        return self.start <= today and (self.end is None or today <= self.end)

    def state(self, purpose: int, roles: frozenset[int], now_us: int) -> str:
        """VALID, or what stands against it: EXPIRED, PURPOSE or RECIPIENT."""
        if not self.in_force(now_us):
            return "EXPIRED"
        if purpose not in self.purposes:
            return "PURPOSE"
        return "VALID" if not self.recipients.isdisjoint(roles) else "RECIPIENT"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str
    version: str
    citation: dict[str, str]
    effective_from: date
    effective_to: date | None = None
    purposes: tuple[str, ...]
    recipients: tuple[str, ...]
    classes: tuple[str, ...]
    needs_facts: bool = True
    notice_hours: int


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    bases: tuple[_Entry, ...]


def load_bases(path: Path) -> Mapping[str, Basis]:
    """Read `legal_bases.yaml`. Raises PolicyError naming the entry."""
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
        )
    return found
