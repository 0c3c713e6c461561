"""`xinqiao adapters read`: what an adapter would make of a partner's files, one line an item, nothing stored."""

import json as jsonlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files import FileRefused
from xinqiao.adapters.host import AdapterHost
from xinqiao.adapters.protocols import Accepted, AdapterKind, FileItem, FileReader, Refused
from xinqiao.cli.exits import DATA, NO_INPUT
from xinqiao.cli.files import load_bundle
from xinqiao.cli.output import clean, say, warn
from xinqiao.cli.texts import Texts
from xinqiao.cli.words import explained
from xinqiao.config.document import read_document
from xinqiao.config.loader import load
from xinqiao.contract.errors import Refusal

_WIDTHS = (9, 24, 14, 40)


@dataclass(slots=True)
class _Count:
    accepted: int = 0
    noted: int = 0
    refused: int = 0
    unreadable: int = 0

    def add(self, item: FileItem) -> None:
        if isinstance(item, Refused):
            self.refused += 1
        else:
            self.accepted += 1
            self.noted += bool(item.reason)


def read(texts: Texts, name: str, files: Sequence[Path], settings: Path | None, *, json: bool) -> int:
    """Read ``files`` as the plugin ``name`` does; 65 when an item was refused, 66 when a file cannot be read."""
    host = AdapterHost.load([name])
    if name in host.failures:
        raise Refusal("UNAVAILABLE", "PLUGIN", texts("plugin.failed", name=name, why=host.failures[name]))
    kind = host.kinds.get(name)
    if kind is None or kind.reader is None:
        readers = [other for other, found in AdapterHost.load(None).kinds.items() if found.reader is not None]
        raise Refusal("INVALID_ARGUMENT", "USAGE", texts("read.no_kind", kind=name, kinds=", ".join(readers)))
    chosen = _settings(texts, kind, kind.reader, settings)
    count = _Count()
    if not json:
        _line([texts(f"col.{column}") for column in ("state", "reason", "kind", "place", "message")])
    for file in files:
        try:
            for item in _items(kind.reader, file, chosen):
                count.add(item)
                if json:
                    print(jsonlib.dumps(_plain(file, item), ensure_ascii=False))
                else:
                    _line(_cells(texts, file, item))
        except OSError as error:
            count.unreadable += 1
            warn(texts("read.unreadable", file=file, why=error.strerror or type(error).__name__))
    warn(texts("read.total", accepted=count.accepted, noted=count.noted, refused=count.refused,
               unreadable=count.unreadable))  # fmt: skip
    if count.unreadable:
        return NO_INPUT
    return DATA if count.refused else 0


def _settings(texts: Texts, kind: AdapterKind, reader: FileReader, file: Path | None) -> Any:
    if file is None:
        return reader.settings()
    if "adapters" not in read_document(file).raw:
        return load(file, reader.settings)
    entries = load_bundle(texts, file, AdapterHost.load(None)).gateway.adapters.values()
    mine = [entry.settings for entry in entries if entry.adapter == kind.name]
    if len(mine) != 1:
        message = texts("read.agencies", file=file, count=len(mine), kind=kind.name)
        raise Refusal("INVALID_ARGUMENT", "USAGE", message)
    return mine[0]


def _items(reader: FileReader, file: Path, settings: Any) -> Iterator[FileItem]:
    try:
        yield from reader.read_file(file, settings)
    except RecordRejected as error:
        yield Refused(error.reason, str(error.place), error.message)
        for row in error.rows if isinstance(error, FileRefused) else ():
            yield Refused(row.reason, str(row.place), row.message)


def _plain(file: Path, item: FileItem) -> dict[str, str]:
    if isinstance(item, Accepted):
        return {"file": str(file), "status": "accepted", "kind": item.kind, "reason": item.reason,
                "place": item.place, "message": item.note}  # fmt: skip
    return {"file": str(file), "status": "refused", "kind": "", "reason": item.reason, "place": item.place,
            "message": item.message}  # fmt: skip


def _cells(texts: Texts, file: Path, item: FileItem) -> list[str]:
    inside = item.place.removeprefix(file.name).lstrip(":, ")  # some readers name the file, some only the place in it
    place = f"{file.name}: {inside}" if inside else file.name
    if isinstance(item, Accepted):
        return [texts("read.accepted"), item.reason, item.kind, place, _told(texts, item.reason, item.note)]
    return [texts("read.refused"), item.reason, "", place, _told(texts, item.reason, item.message)]


def _told(texts: Texts, reason: str, message: str) -> str:
    """What is said of a record, in English, after what its reason means to a reader of Chinese."""
    zh = explained(texts, reason) if texts.language == "zh" else ""
    return f"{zh}（{message}）" if zh and message else zh or message


def _line(cells: Sequence[str]) -> None:
    """One row of the table, printed at once: a roster has a million of them."""
    cleaned = [clean(cell) for cell in cells]
    fixed = [set_cell_size(cell, max(width, cell_len(cell))) for cell, width in zip(cleaned, _WIDTHS, strict=False)]
    say("  ".join([*fixed, *cleaned[len(_WIDTHS) :]]).rstrip())
