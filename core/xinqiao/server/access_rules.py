"""Who may decide on a look at a record, for what it may be asked and how long: `config/policy/access.yaml`, checked."""

from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field

from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.config.fields import Duration, matching
from xinqiao.config.loader import FileModel, Strict, load

_US: Final = 1_000_000
_CLIENT_BYTES: Final = 4_000_000
"""A gRPC client takes 4 MiB unless told otherwise."""

Approver = Literal["SCHOOL_PSYCHOLOGIST", "OPERATOR"]
Reason = Annotated[str, matching(r"[A-Z][A-Z0-9_]{2,63}", "an upper-case word, as in REPAIR")]


class LookTerms(Strict):
    """How one kind of record is looked at."""

    reasons: tuple[Reason, ...] = Field(min_length=1, description="For what it may be asked.")
    approvers: tuple[Approver, ...] = Field(min_length=1, description="Roles of the second person, first asked first.")
    decide_within: Duration = Field(description="From the ask until it ends by itself.")
    open_for: Duration = Field(description="From the approval until its token opens nothing any more.")


class AccessFile(FileModel):
    """config/policy/access.yaml."""

    version: int = Field(ge=1, le=1, description="Version of this file's form.")
    dead_letter: LookTerms = Field(description="The content of a dead delivery.")
    student_export: LookTerms = Field(description="All that is held of a student.")
    export_bytes: int = Field(ge=10_000, le=_CLIENT_BYTES, description="Largest export in one answer, bytes.")


class Look(NamedTuple):
    """The terms of one kind of record, by numbers of the contract."""

    reasons: frozenset[str]
    approvers: tuple[int, ...]
    decide_us: int
    open_us: int


class AccessRules:
    """The answers of the file."""

    def __init__(self, file: AccessFile) -> None:
        self.dead_letter = _look(file.dead_letter)
        self.student_export = _look(file.student_export)
        self.export_bytes = file.export_bytes


def _look(terms: LookTerms) -> Look:
    return Look(
        frozenset(terms.reasons),
        tuple(int(options.Role.Value(f"ROLE_{role}")) for role in terms.approvers),
        int(terms.decide_within.total_seconds()) * _US,
        int(terms.open_for.total_seconds()) * _US,
    )


def load_access_rules(path: Path) -> AccessRules:
    """Read `access.yaml`. Raises ConfigError with file, line and key."""
    return AccessRules(load(path, AccessFile))
