"""The refusals of the store, each a :class:`~xinqiao.contract.errors.Refusal` with a fixed reason."""

from xinqiao.contract.errors import Refusal


class StoreBusy(Refusal):
    """Another process (or another store in this one) already writes here."""

    def __init__(self, what: str) -> None:
        super().__init__(
            "FAILED_PRECONDITION",
            "ALREADY_RUNNING",
            f"{what} is in use: a gateway is already running on it. Stop that one, or give this one its own place.",
        )


class StoreClosed(Refusal):
    """The store no longer takes commands."""

    def __init__(self) -> None:
        super().__init__("UNAVAILABLE", "STORE_CLOSED", "the store is closing; repeat the request after the restart")


class CommitFailed(Refusal):
    """The database did not confirm the commit: nothing of the batch may be believed, a retry decides.

    The cause is in ``__cause__``. Repeating with the same request id is safe.
    """

    def __init__(self) -> None:
        super().__init__(
            "UNAVAILABLE",
            "COMMIT_FAILED",
            "the database did not confirm the commit; repeat the request with the same request id",
            retry_after_s=1.0,
        )


class StoreContended(Refusal):
    """PostgreSQL kept refusing the transaction because others changed the same rows."""

    def __init__(self, attempts: int) -> None:
        super().__init__(
            "ABORTED",
            "STORE_CONTENDED",
            f"the same records kept changing during {attempts} attempts; repeat the request with the same request id",
            retry_after_s=1.0,
        )


class SchemaMismatch(Refusal):
    """The database has another schema version than this program."""

    def __init__(self, what: str, found: str | None, wanted: str) -> None:
        if found is None:
            detail = "has no schema yet. Run the migration first."
        elif found < wanted:
            detail = f"has the older schema {found}, this program needs {wanted}. Run the migration first."
        else:
            detail = f"has the newer schema {found}, this program knows {wanted}. Start the newer program."
        super().__init__("FAILED_PRECONDITION", "SCHEMA_VERSION", f"the {what} database {detail}")
        self.found = found
        self.wanted = wanted


class KeyGone(Refusal):
    """There is no key for the student: never created, or shredded. What was sealed with it stays unreadable."""

    def __init__(self) -> None:
        super().__init__("NOT_FOUND", "KEY_GONE", "the student has no key: unknown here, or erased")


class SealBroken(Refusal):
    """A sealed record was altered, moved to another place, or is not a sealed record at all."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            "INTERNAL", "SEAL_BROKEN", f"a sealed record cannot be trusted: {detail}. Compare with the last backup."
        )
