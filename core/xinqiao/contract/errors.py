"""Refusals: one exception type from every room, mapped to a gRPC status by the edge and to an exit code by the CLI."""

from dataclasses import dataclass
from typing import Literal

Status = Literal[
    "INVALID_ARGUMENT",
    "FAILED_PRECONDITION",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "RESOURCE_EXHAUSTED",
    "ABORTED",
    "UNIMPLEMENTED",
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "INTERNAL",
]


@dataclass(frozen=True, slots=True)
class Violation:
    """One field at fault: its path in the request, an UPPER_SNAKE rule, and how to mend it (never the value)."""

    field: str
    reason: str
    description: str


class Refusal(Exception):
    """A precise "no" to a caller.

    ``status`` is a gRPC status name, ``reason`` an UPPER_SNAKE word for machines (``google.rpc.ErrorInfo.reason``),
    ``message`` a sentence for people. Neither ever holds a value from the request. ``subject`` is the internal id of
    the student a refused disclosure was about: for the journal only, never for the caller.
    """

    def __init__(
        self,
        status: Status,
        reason: str,
        message: str,
        *,
        violations: tuple[Violation, ...] = (),
        retry_after_s: float | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status}/{reason}: {message}")
        self.status: Status = status
        self.reason = reason
        self.message = message
        self.violations = violations
        self.retry_after_s = retry_after_s
        self.metadata = metadata or {}
        self.subject: str | None = None
