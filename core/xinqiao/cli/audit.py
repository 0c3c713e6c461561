"""`xinqiao audit ...`: the yearly audit pack, and how far a breach reaches; both offline, from the node's own store."""

import csv
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from xinqiao.api.common.v1.options_pb2 import ROLE_OPERATOR, Role
from xinqiao.cli.exits import DATA
from xinqiao.cli.files import journal_public_key, load_settings, partner_certificate, use_password
from xinqiao.cli.journal import progress
from xinqiao.cli.output import as_json, say, warn, when
from xinqiao.cli.tables import table
from xinqiao.cli.texts import Texts
from xinqiao.config.settings import Gateway
from xinqiao.contract.clock import BEIJING, SystemClock, to_us
from xinqiao.contract.errors import Refusal
from xinqiao.journal.scope import DIMENSIONS, Figures, Scope, Shown, Sought, scope
from xinqiao.server.audit.pack import MANIFEST, make_pack, prepare
from xinqiao.server.audit.record import Recorded, record
from xinqiao.store.readonly import Unreadable, open_journal

_READ_ONLY: Final = "READ_ONLY"
_OPERATOR: Final = Role.Name(ROLE_OPERATOR).removeprefix("ROLE_")


def pack(texts: Texts, config: Path, *, year: int, folder: Path, by: str, read_only: bool, json: bool) -> int:
    """Make the pack of a year; 65 where the journal it stands on does not verify."""
    settings = load_settings(texts, config)
    use_password(settings)
    by, clock = _operator(texts, settings, by), SystemClock()
    public_key = journal_public_key(settings)
    prepare(settings, folder, public_key)
    recorded = Recorded("", _READ_ONLY) if read_only else record(settings, clock, year=year, by=by)
    try:
        with progress(texts) as tell:
            made = make_pack(
                settings, clock, year=year, folder=folder, public_key=public_key, by=by, recorded=recorded,
                progress=tell,
            )  # fmt: skip
    except Unreadable as error:
        raise _unreadable(error) from None
    if json:
        as_json({"folder": str(folder), **made.manifest})
    else:
        say(texts("audit.packed", folder=folder, count=len(made.manifest["files"]), manifest=MANIFEST))
        if recorded.row:
            say(texts("audit.journalled", row=recorded.row))
        else:
            warn(texts(f"audit.not_journalled.{recorded.why}"))
        for line in made.report.lines(texts.language):
            (say if made.report.ok else warn)(line)
    return 0 if made.report.ok else DATA


def breach(
    texts: Texts, config: Path, *, database: str, partner: str, actor: str, serial: str, since: str, until: str,
    rows: str, students: Path | None, json: bool,
) -> int:  # fmt: skip
    """Say whom a breach reaches. Raises Refusal INVALID_ARGUMENT/USAGE where nothing narrows it."""
    if not any((partner, actor, serial, since, until, rows)):
        raise Refusal("INVALID_ARGUMENT", "USAGE", texts("audit.nothing"))
    writer, first, last = _rows(texts, rows)
    since_us, until_us = _day(texts, since), _day(texts, until, following=True)
    settings = load_settings(texts, config) if serial or not database else None
    if serial and settings is not None:
        name, start_us, end_us = _certificate(texts, settings, serial)
        if actor not in ("", name):
            raise Refusal("INVALID_ARGUMENT", "USAGE", texts("audit.other_actor", name=name))
        actor, since_us, until_us = name, max(since_us, start_us), min(until_us or end_us, end_us)
    if settings is not None:
        use_password(settings)
        database = database or settings.store.url
    sought = Sought(partner, actor, since_us, until_us, writer, first, last)
    try:
        with open_journal(database) as journal, _listing(students) as each:
            found = scope(journal, sought, each)
    except Unreadable as error:
        raise _unreadable(error) from None
    if json:
        as_json({"sought": sought._asdict(), "serial_upper_bound": bool(serial), **asdict(found)})
    else:
        _print(texts, found, students, serial=bool(serial))
    return 0


def _print(texts: Texts, found: Scope, students: Path | None, *, serial: bool) -> None:
    whole = found.whole
    say(texts("audit.reach", students=whole.students, rows=whole.disclosures, first=when(whole.first_us) or "-",
              last=when(whole.last_us) or "-"))  # fmt: skip
    if found.nameless:
        say(texts("audit.nameless", count=found.nameless))
    for dimension in DIMENSIONS:
        _figures(texts, dimension, found.by[dimension])
    if serial:
        warn(texts("audit.serial"))
    if students is not None:
        say(texts("audit.students", file=students))


def _figures(texts: Texts, dimension: str, by: Mapping[str, Figures]) -> None:
    headings = [
        texts(f"audit.{dimension}"),
        *(texts(f"audit.col.{name}") for name in ("students", "rows", "first", "last")),
    ]
    rows = [
        (name, each.students, each.disclosures, when(each.first_us), when(each.last_us))
        for name, each in sorted(by.items(), key=lambda item: (-item[1].students, item[0]))
    ]
    table(headings, rows, numbers=(1, 2))


@contextmanager
def _listing(file: Path | None) -> Generator[Callable[[Shown], None] | None]:
    """Writes each student and recipient to a new file of mode 0600, as they come."""
    if file is None:
        yield None
        return
    with os.fdopen(
        os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", newline="",
        errors="backslashreplace",
    ) as out:  # fmt: skip
        writer = csv.writer(out)
        writer.writerow((*Shown._fields[:-2], "first", "last"))

        def put(shown: Shown) -> None:
            writer.writerow(
                (shown.student, shown.partner, " ".join(shown.classes), shown.disclosures, when(shown.first_us),
                 when(shown.last_us))
            )  # fmt: skip

        yield put


def _operator(texts: Texts, settings: Gateway, by: str) -> str:
    """Who makes the pack: the first operator, or one that is named."""
    operators = [name for name, partner in settings.partners.items() if _OPERATOR in partner.roles]
    if by and by not in operators:
        raise Refusal("INVALID_ARGUMENT", "USAGE", texts("audit.no_operator", names=", ".join(operators)))
    if not operators:
        raise Refusal("INVALID_ARGUMENT", "USAGE", texts("no_operator"))
    return by or operators[0]


def _rows(texts: Texts, rows: str) -> tuple[str, int, int]:
    """``main/100-2000``: a chain and its first and last number; either may be missing."""
    if not rows:
        return "", 0, 0
    writer, _, span = rows.rpartition("/")
    first, dash, last = span.partition("-")
    numbers = [each for each in (first, last) if each]
    if not writer or not all(each.isascii() and each.isdigit() and len(each) < 19 for each in numbers):
        raise Refusal("INVALID_ARGUMENT", "USAGE", texts("audit.rows"))
    return writer, int(first or 0), int(last or 0) if dash else int(first or 0)


def _day(texts: Texts, day: str, *, following: bool = False) -> int:
    """The start of a day in Beijing, or of the one after it; also a whole moment in ISO 8601, Beijing where it names no
    zone."""
    if not day:
        return 0
    try:
        if len(day) == len("2026-11-27"):
            whole = date.fromisoformat(day) + timedelta(days=1 if following else 0)
            return to_us(datetime.combine(whole, time(), BEIJING))
        moment = datetime.fromisoformat(day)
    except (ValueError, OverflowError):
        raise Refusal("INVALID_ARGUMENT", "USAGE", texts("audit.day")) from None
    return to_us(moment if moment.tzinfo is not None else moment.replace(tzinfo=BEIJING))


def _certificate(texts: Texts, settings: Gateway, serial: str) -> tuple[str, int, int]:
    """Whose certificate bears ``serial``, and from when to when it could be used: found among those that `keys init`
    issued, for the journal names the caller and not the certificate."""
    try:
        wanted = int(serial.replace(":", ""), 16)
    except ValueError:
        raise Refusal("INVALID_ARGUMENT", "USAGE", texts("audit.serial_unknown")) from None
    for name in settings.partners:
        file = partner_certificate(settings, name)[0]
        if not file.is_file():
            continue
        for certificate in x509.load_pem_x509_certificates(file.read_bytes()):
            if certificate.serial_number == wanted:
                return name, to_us(certificate.not_valid_before_utc), to_us(certificate.not_valid_after_utc)
    raise Refusal("NOT_FOUND", "SERIAL", texts("audit.serial_unknown"))


def _unreadable(error: Unreadable) -> Refusal:
    return Refusal("FAILED_PRECONDITION", "UNREADABLE", str(error))
