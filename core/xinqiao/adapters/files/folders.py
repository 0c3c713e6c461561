"""Folders shared with a partner: which files are complete, whole files for it to fetch, and the sheet of what was wrong."""

import csv
import hashlib
import io
import os
import re
import stat
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from xinqiao.adapters import durable, recording
from xinqiao.adapters.errors import PartnerUnavailable, RecordRejected
from xinqiao.adapters.files.exports import write_csv
from xinqiao.api.adapter.v1.adapter_service_pb2 import Rejected

MANIFEST: Final = ".manifest.json"
REPORTS: Final = "reports"
_HEADER = ("位置 place", "原因 reason", "改法 how to mend it")
# ASCII, and words that offices name their sheets with; a name outside of it may be a person's.
_PLAIN_NAME = re.compile(
    r"[A-Za-z0-9._()（） 一二三四五六七八九十年月日周第网格社区街道镇走访任务记录回执更正周报分派热线来电通话表-]{1,80}"
)
_CORRECTION = re.compile(r"[-_ ]?(更正|correction)[-_ ]?[0-9]{0,2}$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Found:
    """A file in a shared folder as listed; ``label`` stands for it in messages and is no person's name, ``series`` is
    that of the file it corrects."""

    path: Path
    size: int
    mtime_ns: int
    ctime_ns: int

    @property
    def label(self) -> str:
        return safe_label(self.path.name)

    @property
    def series(self) -> str:
        return series_of(self.path.name)


def scan(folder: Path) -> list[Found]:
    """Regular files that are not hidden, not ``.part`` and no manifest, the oldest first. Raises PartnerUnavailable."""
    found: list[Found] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.endswith((".part", ".new", MANIFEST)):
                    continue
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    found.append(Found(Path(entry.path), status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    except OSError as error:
        raise PartnerUnavailable(f"the inbox cannot be listed: {error.strerror}") from None
    return sorted(found, key=lambda file: (file.mtime_ns, file.path.name))


def whole(file: Found, most: int) -> bytes | None:
    """The file's bytes, at most ``most`` + 1; None while it is being written or gone. A link is never followed."""
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as stream:
            data = stream.read(most + 1)
            now = os.fstat(stream.fileno())
    except OSError:
        return None
    if (now.st_size, now.st_mtime_ns) != (file.size, file.mtime_ns):
        return None
    recording.filed("in", file.path.name, data)
    return data


def put(path: Path, data: bytes) -> None:
    """Write ``path``, in the outbox or a folder of it, for the partner, whole or not at all. Raises PartnerUnavailable."""
    try:
        # Not its parents: where the share is not mounted, nobody would ever fetch what is written in its place.
        path.parent.mkdir(exist_ok=True)
        part = path.with_name(path.name + ".part")
        durable.replace(part, data)
        part.chmod(0o640)
        part.replace(path)
    except OSError as error:
        raise PartnerUnavailable(f"the outbox cannot be written: {error.strerror}") from None
    recording.filed("out", path.name, data)


def put_once(path: Path, data: bytes, done: Path) -> None:
    """As ``put``, once for good: ``done`` remembers it after the partner has fetched the file.

    Raises RecordRejected (``KEY_REUSED``) where other content was written under this name, PartnerUnavailable.
    """
    digest = hashlib.sha256(data).hexdigest().encode()
    mark = done / path.name
    if mark.exists():
        if mark.read_bytes() != digest:
            raise RecordRejected("KEY_REUSED", "other content was delivered under this request_id", "request_id")
        return
    put(path, data)
    done.mkdir(parents=True, exist_ok=True)
    durable.replace(mark, digest)


def check(inbox: Path, outbox: Path) -> str:
    """See that both folders are there and the outbox takes files. Raises PartnerUnavailable."""
    for name, folder in (("inbox", inbox), ("outbox", outbox)):
        if not folder.is_dir():
            raise PartnerUnavailable(f"the {name} is not a folder that can be seen; mount or create it")
    scan(inbox)
    probe = outbox / ".xinqiao-check"
    put(probe, b"")
    probe.unlink(missing_ok=True)
    return "folder"


def table(header: Sequence[str], rows: Sequence[Sequence[str | int | None]]) -> bytes:
    """A CSV table that Excel opens as text, with formulas made harmless."""
    sink = io.StringIO(newline="")
    write_csv(sink, header, rows)
    return sink.getvalue().encode("utf-8-sig")


def report(outbox: Path, rejected: Sequence[Rejected]) -> None:
    """Add each to ``reports/<file>.csv``, a line each, never twice. Raises PartnerUnavailable."""
    by_file: dict[str, list[Rejected]] = defaultdict(list)
    for item in rejected:
        by_file[safe_label(item.source.partition("@")[0].replace("/", "-")) or "file"].append(item)
    for name, items in by_file.items():
        path = outbox / REPORTS / f"{name}.csv"
        known: list[tuple[str, ...]] = []
        if path.is_file():
            with path.open(encoding="utf-8-sig", newline="") as stream:
                known = [tuple(row) for row in csv.reader(stream)][1:]
        lines = dict.fromkeys([*known, *((item.place, item.reason, item.message) for item in items)])
        put(path, table(_HEADER, list(lines)))


def series_of(name: str) -> str:
    """The file that a file of this name corrects, by its label: `visits.csv` for `visits-更正.csv` and
    `visits-correction-2.csv`; for any other name its own."""
    path = Path(name)
    return safe_label(_CORRECTION.sub("", path.stem) + path.suffix)


def safe_label(name: str) -> str:
    """``name`` if it can hardly be a person's, else a stable stand-in."""
    if _PLAIN_NAME.fullmatch(name) and not name.startswith((".", "-")):
        return name
    suffix = Path(name).suffix
    stand_in = "file-" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return stand_in + (suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,5}", suffix) else "")
