"""A folder shared with a partner: nothing is written where no share is mounted."""

from pathlib import Path

import pytest

from xinqiao.adapters.errors import PartnerUnavailable
from xinqiao.adapters.files.folders import put


def test_an_outbox_that_is_away_is_not_made_anew(tmp_path: Path) -> None:
    """Its mount point would take the record, the gateway would have a receipt, and nobody would ever fetch it."""
    with pytest.raises(PartnerUnavailable):
        put(tmp_path / "outbox" / "tasks" / "task-1.csv", b"x")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "outbox").mkdir()
    put(tmp_path / "outbox" / "tasks" / "task-1.csv", b"x")
    assert (tmp_path / "outbox" / "tasks" / "task-1.csv").read_bytes() == b"x"
