"""Making a pack: count while verifying, write the tables, one page for people, and a manifest over all of it."""

import csv
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Final

from xinqiao import __version__
from xinqiao.config.settings import Gateway
from xinqiao.contract.clock import Clock
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.bases import Basis, check_signature, load_bases
from xinqiao.disclosure.policy import PolicyError
from xinqiao.journal.checkpoint import STOP_AFTER_US
from xinqiao.journal.entry import Entry
from xinqiao.journal.signing import load_public_keys, public_key_pem
from xinqiao.journal.verify import Report, StoredCheckpoint, verify
from xinqiao.server.audit.page import page
from xinqiao.server.audit.record import Recorded
from xinqiao.server.audit.rules import AuditFile, load_audit_rules
from xinqiao.server.audit.sections import Section, Sources, months, sections
from xinqiao.server.audit.tally import Tally, Year
from xinqiao.server.rules import bases_keys
from xinqiao.store import tables
from xinqiao.store.keycounts import key_counts
from xinqiao.store.readonly import JournalReader, open_journal
from xinqiao.store.sql import select

FORMAT: Final = "xinqiao-audit-pack/1"
MANIFEST: Final = "manifest.json"
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Pack:
    """What was made: the manifest as written, and the verification of the journal it stands on."""

    manifest: Mapping[str, Any]
    report: Report


def make_pack(
    settings: Gateway, clock: Clock, *, year: int, folder: Path, public_key: Path, by: str, recorded: Recorded,
    progress: Callable[[int], None] | None = None,
) -> Pack:  # fmt: skip
    """Write the pack of ``year`` into ``folder``, which must be new or empty. No student's key is opened.

    The journal and the records are read in one snapshot. An unsound journal is no reason to keep silent: the pack says
    so, and ``report`` does. Raises Refusal, ConfigError, PolicyError, KeyFileError, Unreadable and OSError.
    """
    span = Year(year)
    if clock.now_us() < span.start_us:
        raise Refusal("INVALID_ARGUMENT", "PERIOD", f"the year {year} has not begun")
    rules = load_audit_rules(settings.policy / "audit.yaml")
    bases, signer = _law(settings)
    keys = key_counts(settings.store.keys_url, span.start_us, span.end_us)
    with open_journal(settings.store.url) as journal:
        tally, report, heads = _count(journal, span, public_key, progress)
        sources = Sources(span, tally, journal, keys, settings, bases, signer, rules)
        found, chart = sections(sources), months(sources)
    about = _about(settings, clock, rules, span, by, recorded, report, tally, heads)
    return Pack(_write(folder, about, found, chart), report)


def _count(
    journal: JournalReader, year: Year, public_key: Path, progress: Callable[[int], None] | None
) -> tuple[Tally, Report, dict[str, str]]:
    c = tables.checkpoints.c
    signed, marks, heads = list[StoredCheckpoint](), defaultdict[str, list[tuple[int, int]]](list), dict[str, str]()
    asked = select(c.writer, c.size, c.note, c.at_us).order_by(c.writer, c.size)
    for writer, size, note, at_us in journal.ask(asked):
        signed.append(StoredCheckpoint(writer, size, note))
        marks[writer].append((size, at_us))
        heads[writer] = note
    tally = Tally(year, marks, STOP_AFTER_US)
    rows = tally.watch(map(Entry._make, journal.rows()))
    keys = load_public_keys(public_key)
    return tally, verify(rows, signed, keys, receipts=journal.witnesses(), progress=progress), heads


def _law(settings: Gateway) -> tuple[Mapping[str, Basis], str]:
    """The legal bases and who signed them: the SHA-256 of the signer's public key."""
    path, keys = Path(settings.legal_bases), bases_keys(settings)
    bases = load_bases(path, keys)
    for key in keys or ():
        try:
            check_signature(path, [key])
        except PolicyError:
            continue
        return bases, f"sha256:{hashlib.sha256(public_key_pem(key)).hexdigest()}"
    return bases, "UNSIGNED"


def _about(
    settings: Gateway, clock: Clock, rules: AuditFile, year: Year, by: str, recorded: Recorded, report: Report,
    tally: Tally, heads: Mapping[str, str],
) -> dict[str, Any]:  # fmt: skip
    return {
        "format": FORMAT, "program": __version__, "deployment": settings.deployment, "node": settings.node,
        "year": year.number, "whole_year": clock.now_us() >= year.end_us, "made_us": clock.now_us(), "made_by": by,
        "journal_row": recorded.row, "not_journalled": recorded.why,
        "small_counts": {"least": rules.least_count, "version": rules.version},
        "journal": {
            "sound": report.ok, "rows_of_year": tally.rows, "verification": report.as_dict(), "checkpoints": dict(heads),
        },
    }  # fmt: skip


def _write(
    folder: Path, about: dict[str, Any], found: Sequence[Section], chart: list[dict[str, object]]
) -> dict[str, Any]:
    files = {f"{section.name}.csv": _csv(section) for section in found}
    files["months.csv"] = _csv(Section("months", ("month", "disclosures"), chart))
    files["pack.json"] = _json(about | {"sections": {each.name: each.rows for each in found}, "months": chart})
    files["index.html"] = page(about, found, chart)
    sums = {name: hashlib.sha256(text).hexdigest() for name, text in files.items()}
    manifest = about | {"files": sums}
    new_folder(folder)
    for name, content in files.items():
        _put(folder / name, content)
    _put(folder / MANIFEST, _json(manifest))  # last: a folder without it is no pack
    return manifest


def prepare(settings: Gateway, folder: Path, public_key: Path) -> None:
    """Fail now where a pack would fail, so that no row tells of one that was never made. Raises as :func:`make_pack`."""
    load_audit_rules(settings.policy / "audit.yaml")
    _law(settings)
    load_public_keys(public_key)
    new_folder(folder)


def new_folder(folder: Path) -> None:
    """Make it, or take an empty one. Raises Refusal ALREADY_EXISTS/FOLDER, for a pack replaces nothing."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(folder.iterdir()):
        raise Refusal("ALREADY_EXISTS", "FOLDER", f"{folder}: not empty; name a new folder, a pack replaces nothing")


def _put(file: Path, content: bytes) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(content)


def _json(value: object) -> bytes:
    return _bytes(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def _csv(section: Section) -> bytes:
    """With a byte order mark, for spreadsheets that read Chinese wrongly without; no cell is a formula to them."""
    out = StringIO()
    writer = csv.DictWriter(out, section.columns, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in section.rows)
    return b"\xef\xbb\xbf" + _bytes(out.getvalue())


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _bytes(text: str) -> bytes:
    # A tampered database may hold text that is no text.
    return text.encode("utf-8", "backslashreplace")
