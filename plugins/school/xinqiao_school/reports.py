"""What the school gets back about its files: a table of places, reasons and remedies, never a value."""

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from xinqiao.adapters.errors import PartnerUnavailable
from xinqiao.adapters.files.exports import write_csv
from xinqiao.api.adapter.v1.adapter_service_pb2 import Rejected
from xinqiao_school.wire import write_whole

FOLDER = "reports"
HEADER = ("位置 place", "原因 reason", "改法 how to mend it")


def write(outbox: Path, names: Mapping[str, str], rejected: Sequence[Rejected]) -> None:
    """Add each to the report of its file; ``names`` gives the file's own name for its label.

    Raises PartnerUnavailable when the outbox cannot be written.
    """
    by_file: dict[str, list[Rejected]] = defaultdict(list)
    for item in rejected:
        label = item.source.partition("@")[0]
        by_file[names.get(label, label)].append(item)
    try:
        for name, items in by_file.items():
            _add(outbox / FOLDER / f"{Path(name).name or 'file'}.csv", items)
    except OSError as error:
        raise PartnerUnavailable(f"the outbox cannot be written: {error.strerror}") from None


def _add(path: Path, items: Sequence[Rejected]) -> None:
    path.parent.mkdir(exist_ok=True)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            known = [tuple(row) for row in csv.reader(stream)][1:]
    except FileNotFoundError:
        known = []
    lines = dict.fromkeys([*known, *((item.place, item.reason, item.message) for item in items)])
    text = io.StringIO(newline="")
    write_csv(text, HEADER, lines)
    write_whole(path, text.getvalue().encode("utf-8-sig"))
