"""What is written for the agency: referrals and tasks as whole files, and what was not taken of its own."""

import csv
import hashlib
import io
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from google.protobuf import json_format

from xinqiao.adapters import durable, recording
from xinqiao.adapters.errors import PartnerUnavailable, RecordRejected
from xinqiao.adapters.files.exports import write_csv
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, Rejected

REPORTS = "reports"
HEADER = ("位置 place", "原因 reason", "改法 how to mend it")

_KEY = re.compile(r"[A-Za-z0-9._:-]{8,64}")


def deliver(request: DeliverRequest, outbox: Path, state: Path) -> str:
    """Write ``<request_id>.json`` once and return its name.

    ``state`` remembers what was delivered, so a file the agency has fetched is not written again.
    Raises RecordRejected for a request id in other use, PartnerUnavailable.
    """
    if _KEY.fullmatch(request.request_id) is None:
        raise RecordRejected("KEY_FORMAT", "request_id is 8 to 64 of A-Z a-z 0-9 . _ : -", "request_id")
    name = f"{request.request_id}.json"
    data = _content(request)
    digest = hashlib.sha256(data).hexdigest()
    mark = state / "delivered" / name
    try:
        mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not mark.exists():
            durable.replace(outbox / name, data)
            recording.filed("out", name, data)
            durable.replace(mark, digest.encode())
        elif mark.read_text("ascii") != digest:
            raise RecordRejected("KEY_REUSED", "other content was delivered under this request_id", "request_id")
    except OSError as error:
        raise PartnerUnavailable(f"the outbox cannot be written: {error.strerror}") from None
    return name


def report(outbox: Path, names: Mapping[str, str], rejected: Sequence[Rejected]) -> None:
    """Add each to ``reports/<file>.csv``; a repeat leaves no second line. Raises PartnerUnavailable.

    ``names`` gives the file's own name for its label; what is of no file stands in ``reports/gateway.csv``.
    """
    by_file: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for item in rejected:
        label = item.source.partition("@")[0]
        name = names.get(label, "")
        place = item.place if name else f"{label} {item.place}".strip()
        by_file[name or "gateway"].append((place, item.reason, item.message))
    try:
        for name, items in by_file.items():
            _add(outbox / REPORTS / f"{name}.csv", items)
    except OSError as error:
        raise PartnerUnavailable(f"the outbox cannot be written: {error.strerror}") from None


def check(outbox: Path) -> None:
    """See that the outbox takes files. Raises PartnerUnavailable."""
    try:
        durable.replace(outbox / ".xinqiao-check", b"")
        (outbox / ".xinqiao-check").unlink()
    except OSError as error:
        raise PartnerUnavailable(f"the outbox cannot be written: {error.strerror}") from None


def _content(request: DeliverRequest) -> bytes:
    """``request`` as protobuf JSON, the same bytes for every try."""
    once = DeliverRequest()
    once.CopyFrom(request)
    once.ClearField("attempt")
    once.ClearField("checkpoints")  # they go on while it is tried
    body = json_format.MessageToDict(once)
    if once.drill:
        body = {"!": "演练 DRILL: 无人处于危险之中 nobody is in danger", **body}  # sorts first, where it is seen
    return (json.dumps(body, ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode()


def _add(path: Path, items: Sequence[tuple[str, str, str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            known = [tuple(row) for row in csv.reader(stream)][1:]
    except FileNotFoundError:
        known = []
    lines = dict.fromkeys([*known, *items])
    text = io.StringIO(newline="")
    write_csv(text, HEADER, lines)
    durable.replace(path, text.getvalue().encode("utf-8-sig"))
