"""What the signer remembers of its own, beside its key and apart from the database: the last head it signed.

A database that was rolled back to an older snapshot, its checkpoints too, looks sound to itself. The signer's memory
does not roll back with it. It also spares a restarted signer the reading of every row.
"""

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from xinqiao.contract.errors import Refusal
from xinqiao.journal.merkle import Frontier


class Head(NamedTuple):
    """One writer's last signed head: the note, the Merkle frontier under it, and the hash of its last row."""

    note: str
    frontier: Frontier
    last: bytes


class Memory:
    """Heads by writer, in a file of mode 0600; without a path, in this process only."""

    def __init__(self, path: Path | None) -> None:
        """Read the file if there is one. Raises Refusal FAILED_PRECONDITION/SIGNER_MEMORY when it cannot be read."""
        self.path = path
        self.heads: dict[str, Head] = {}
        if path is not None and path.exists():
            self.heads = _read(path)

    def keep(self, heads: Mapping[str, Head]) -> None:
        """Remember ``heads``, durably, in place of what was remembered of their writers. Raises OSError."""
        self.heads.update(heads)
        if self.path is None or not heads:
            return
        document = {
            writer: {
                "note": head.note,
                "frontier": b64encode(head.frontier.to_bytes()).decode(),
                "last": b64encode(head.last).decode(),
            }
            for writer, head in sorted(self.heads.items())
        }
        fresh = self.path.with_name(self.path.name + ".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)


def _read(path: Path) -> dict[str, Head]:
    try:
        document: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
        return {
            writer: Head(each["note"], Frontier.from_bytes(b64decode(each["frontier"])), b64decode(each["last"]))
            for writer, each in document.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        raise Refusal(
            "FAILED_PRECONDITION",
            "SIGNER_MEMORY",
            f"{path} cannot be read: it holds the last journal heads that were signed here. Verify the journal, with "
            "the receipts of partners, and then move this file away",
        ) from None
