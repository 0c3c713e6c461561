"""`xinqiao journal ...`: verifying the journal and proving single rows of it, offline and without any student's key."""

import json as codec
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from xinqiao.api.common.v1.options_pb2 import Purpose
from xinqiao.cli.files import journal_public_key, load_settings, use_password
from xinqiao.cli.output import as_json, say, warn, when
from xinqiao.cli.tables import table
from xinqiao.cli.texts import Texts
from xinqiao.contract.errors import Refusal
from xinqiao.contract.fields import class_name, classes_of
from xinqiao.journal.chain import UNREADABLE
from xinqiao.journal.entry import Entry
from xinqiao.journal.proof import ProofError, check_proof, find, prove
from xinqiao.journal.signing import KeyFileError, load_public_keys
from xinqiao.journal.verify import verify_database
from xinqiao.store.readonly import Unreadable

_MAX_PROOF = 1 << 20


def verify(texts: Texts, config: Path, database: str, keys: Path | None, receipts: Path | None, *, json: bool) -> int:
    """Verify a journal; the exit code is the report's: 0 sound, 2 changed, 3 rows missing, 4 unreadable."""
    database, keys = _where(texts, config, database, keys)
    with progress(texts) as tell:
        report = verify_database(database, keys, receipts, tell)
    if json:
        as_json(report.as_dict())
    else:
        for line in report.lines(texts.language):
            (say if report.ok else warn)(line)
    return report.code


def prove_row(
    texts: Texts, config: Path, database: str, keys: Path | None, *, name: str, file: Path | None, json: bool
) -> int:
    """Write the proof of one row, checked before it is written.

    Raises Refusal INVALID_ARGUMENT/USAGE, and lists the rows, when ``name`` is a resource with several.
    """
    database, keys = _where(texts, config, database, keys)
    try:
        entries = find(database, name)
        if not entries:
            raise ProofError("NO_ROW")
        if len(entries) > 1:
            headings = [texts(f"col.{column}") for column in ("name", "time", "kind", "reason")]
            table(headings, [(_id(each), when(each.at_us), each.kind, each.reason) for each in entries])
            raise Refusal("INVALID_ARGUMENT", "USAGE", texts("journal.several", name=name))
        entry = entries[0]
        proof = prove(database, entry.writer, entry.seq)
        check_proof(proof, *load_public_keys(keys))
    except (ProofError, Unreadable, KeyFileError) as error:
        return _failed(texts, error)
    if json:
        as_json(proof)
        return 0
    file = file or Path(f"{_id(entry).replace('/', '-')}.proof.json")
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        codec.dump(proof, out, ensure_ascii=False, indent=2)
        out.write("\n")
    say(texts("journal.proved", name=_id(entry), size=proof["size"], file=file))
    return 0


def check(texts: Texts, *, file: Path, key: Path, json: bool) -> int:
    """Check a proof with the signer's public key alone: 0 holds, 2 does not, 4 unreadable."""
    try:
        entry = check_proof(_read(file), *load_public_keys(key))
    except (ProofError, KeyFileError) as error:
        return _failed(texts, error)
    shown = {
        "row": _id(entry), "time": when(entry.at_us), "kind": entry.kind, "decision": entry.decision,
        "actor": entry.actor, "partner": entry.partner, "purpose": _purpose(entry.purpose),
        "classes": ", ".join(class_name(number) for number in classes_of(entry.classes)),
        "student": entry.student or "", "resource": entry.resource, "reason": entry.reason, "basis": entry.basis,
        "policy_version": entry.policy_version,
    }  # fmt: skip
    if json:
        as_json({"holds": True, **shown})
        return 0
    say(texts("journal.holds"))
    table([texts("col.field"), texts("col.value")], list(shown.items()))
    return 0


def _where(texts: Texts, config: Path, database: str, keys: Path | None) -> tuple[str, Path]:
    if database and keys is not None:
        return database, keys
    settings = load_settings(texts, config)
    use_password(settings)
    return database or settings.store.url, keys or journal_public_key(settings)


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as source:
            document: object = codec.loads(source.read(_MAX_PROOF))
    except (OSError, ValueError, RecursionError):
        raise ProofError("MALFORMED") from None
    if not isinstance(document, dict):
        raise ProofError("MALFORMED")
    return cast("dict[str, Any]", document)


def _failed(texts: Texts, error: ProofError | Unreadable | KeyFileError) -> int:
    warn(texts("error", text=error.say(texts.language) if isinstance(error, ProofError) else str(error)))
    return error.code if isinstance(error, ProofError) else UNREADABLE


def _id(entry: Entry) -> str:
    return f"{entry.writer}/{entry.seq}"


def _purpose(number: int) -> str:
    known = number in Purpose.values()
    return Purpose.Name(Purpose.ValueType(number)).removeprefix("PURPOSE_") if known else str(number)


@contextmanager
def progress(texts: Texts) -> Generator[Callable[[int], None] | None]:
    """A counter on a person's terminal; nothing where there is none."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(texts("verifying"), total=None)

        def tell(count: int) -> None:
            bar.update(task, description=f"{texts('verifying')} {texts('rows', count=count)}", completed=count)

        yield tell
