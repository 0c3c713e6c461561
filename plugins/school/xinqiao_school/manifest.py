"""What a school says about a file beside it: ``<name>.manifest.json`` with its rows and SHA-256."""

import json
from pathlib import Path
from typing import BinaryIO, cast

from xinqiao.adapters.files.places import FileRefused, Place

_MAX = 64 * 1024


def check_manifest(path: Path, label: str, stream: BinaryIO, sha256: str) -> int | None:
    """The row count for the sheet at ``path``, if one is told. Raises FileRefused when the file is not the manifest's.

    ``stream`` holds the file and is left at its start, ``sha256`` is its digest.
    """
    data = manifest_bytes(path)
    if data is None:
        return None
    rows, expected = _parse(data, Place(f"{label}.manifest.json"))
    name = path.name.lower()
    if expected is not None and expected != sha256:
        if rows is not None and name.endswith(".csv") and _data_lines(stream) < rows:
            message = f"has fewer than the {rows} rows its manifest says; send it again"
            raise FileRefused("DATA/TRUNCATED", message, Place(label))
        message = "differs from the SHA-256 of its manifest; send both again"
        raise FileRefused("DATA/MANIFEST", message, Place(label))
    return None if name.endswith(".zip") else rows


def manifest_bytes(path: Path) -> bytes | None:
    """The manifest of the file at ``path``, or None."""
    try:
        with path.with_name(path.name + ".manifest.json").open("rb") as stream:
            return stream.read(_MAX + 1)
    except FileNotFoundError:
        return None


def unknown_type(label: str) -> FileRefused:
    """For a file that is neither a roster nor a sheet by its name."""
    message = "is neither .zip (OneRoster) nor .csv or .xlsx (score sheet)"
    return FileRefused("DATA/FILE_TYPE", message, Place(label))


def _parse(data: bytes, place: Place) -> tuple[int | None, str | None]:
    try:
        raw = json.loads(data) if len(data) <= _MAX else None
    except (ValueError, RecursionError):
        raw = None
    if isinstance(raw, dict):
        found = cast("dict[str, object]", raw)
        rows, sha256 = found.get("rows"), found.get("sha256")
        if (rows is None or type(rows) is int) and (sha256 is None or isinstance(sha256, str)):
            return rows, sha256.lower() if sha256 else None
    raise FileRefused("DATA/MANIFEST", 'must be {"rows": number, "sha256": hex}', place)


def _data_lines(stream: BinaryIO) -> int:
    """Lines that hold something, without the header; only to tell a cut-off file from a changed one."""
    stream.seek(0)
    count = sum(1 for line in stream if line.strip()) - 1
    stream.seek(0)
    return count
