"""A made-up social-work agency: keeps its logs in a folder, fetches what it is sent, and answers it."""

import csv
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import escape

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from xinqiao.adapters import durable
from xinqiao.api.casefile.v1.consent_pb2 import RECALL_ACTION_DELETED, RecallReceipt
from xinqiao.contract.recall import sign_receipt
from xinqiao.testing.simulators import Faults as Played
from xinqiao_social_work import receipts, wire, year

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_PARTS = {
    "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
    f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_TYPE}.worksheet+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="r1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}">'
    '<sheets><sheet name="Sheet1" sheetId="1" r:id="r1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="r1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
}
GB18030 = "*-gb18030.csv"
_COLUMNS = (wire.ROW, wire.DAY, wire.LETTERS, wire.ATTENDANCES, wire.PERSONS, wire.STUDENT)


@dataclass(slots=True)
class Faults:
    """What goes wrong: ``cut`` keeps only this part of each file's rows; ``twice`` drops each file again under another
    name; ``unfinished`` leaves it as ``.part``; ``mojibake`` writes GB 18030 under a name that is declared UTF-8.
    """

    cut: float = 1.0
    twice: bool = False
    unfinished: bool = False
    mojibake: bool = False


class SocialWorkSimulator:
    """The agency, in ``folder``."""

    plays = frozenset({"down", "duplicate", "out_of_order", "wrong_code"})

    def __init__(self, folder: Path) -> None:
        self._played = Played()
        self._news: list[tuple[str, ...]] = []
        self.inbox = folder / "inbox"
        self.outbox = folder / "outbox"
        self.faults = Faults()
        self._answers: list[tuple[str, ...]] = []
        self._logs: dict[str, tuple[tuple[str, ...], list[tuple[str, ...]]]] = {}
        self._books = 0
        self._fetched: dict[str, dict[str, Any]] = {}
        self._key = Ed25519PrivateKey.generate()
        for path in (self.inbox, self.outbox):
            path.mkdir(parents=True, exist_ok=True)

    def start(self) -> dict[str, Any]:
        """Settings for an adapter; a folder needs nothing that runs."""
        return {
            "inbox": str(self.inbox),
            "outbox": str(self.outbox),
            "files": [{"match": GB18030, "encoding": "gb18030"}],
        }

    def stop(self) -> None:
        """Nothing runs."""

    def receipt_public_key_pem(self) -> bytes:
        """The key that checks its answers to recalls."""
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    # -- for the conformance suite ----------------------------------------------------------------------------------

    def play(self, fault: str, *, times: int = 1, seconds: float = 0.0) -> None:
        """Play a fault; ``down`` takes the folders away until ``calm``."""
        self._played.play(fault, times=times, seconds=seconds)
        if fault == "down":
            for path in (self.inbox, self.outbox):
                path.rename(path.with_suffix(".away"))

    def calm(self) -> None:
        """End every fault."""
        self._played.calm()
        for path in (self.inbox, self.outbox):
            if path.with_suffix(".away").exists():
                path.with_suffix(".away").rename(path)

    def effects(self) -> list[str]:
        """What lies in the outbox."""
        return [path.read_text("utf-8") for path in sorted(self.outbox.glob("*.json"))]

    def bring(self, count: int) -> None:
        """Answers to the tasks it has, or to one it made up, as lines of a log that is sent again whole."""
        found = [json.loads(text).get("task", {}).get("task", {}).get("name", "") for text in self.effects()]
        known = [name for name in found if name] or ["tasks/any"]
        fresh = len(self._news)
        self._news += [
            (f"n-{fresh + number}", known[number % len(known)], "已完成", "去过了") for number in range(count)
        ]  # fmt: skip
        if self._played.take("wrong_code") is not None:
            self._news.append((f"n-{len(self._news)}", known[0], "另表代码", "x"))
        rows = list(self._news)
        if self._played.take("duplicate") is not None:
            rows = [row for row in rows for _ in range(2)]
        if self._played.take("out_of_order") is not None:
            rows.reverse()
        self.drop("答复-news.csv", tuple(column.name for column in wire.ANSWER_COLUMNS[:4]), rows)

    # -- towards the gateway ----------------------------------------------------------------------------------------

    def drop_year(self) -> list[Path]:
        """Drop the logs of the whole invented year: UTF-8, GB 18030 and workbooks in turn."""
        endings = (".csv", "-gb18030.csv", ".xlsx")
        return [
            self.drop(f"{table.word}-{year.YEAR}{endings[number % len(endings)]}", table.header, table.rows)
            for number, table in enumerate(year.tables())
        ]

    def drop(
        self, name: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, manifest: bool = False
    ) -> Path:  # fmt: skip
        """Write a log whole, as ``.part`` first; with ``manifest`` its rows and SHA-256 stand beside it."""
        rows = rows[: int(len(rows) * self.faults.cut)]
        self._logs[name] = (tuple(header), [tuple(row) for row in rows])
        if name.endswith(".xlsx"):
            data = workbook([header, *rows])
        else:
            gb = self.faults.mojibake or Path(name).match(GB18030)
            data = _csv([header, *rows]).encode("gb18030" if gb else "utf-8")
        target = self.inbox / name
        if manifest:
            about = {"rows": len(rows), "sha256": hashlib.sha256(data).hexdigest()}
            durable.replace(self.inbox / f"{name}.manifest.json", json.dumps(about).encode())
        part = self.inbox / f"{name}.part"
        part.write_bytes(data)
        if not self.faults.unfinished:
            part.replace(target)
        if self.faults.twice:
            stem, dot, ending = name.rpartition(".")
            durable.replace(self.inbox / f"{stem}-again{dot}{ending}", data)
        return target

    def keep_books(self, month: str, fault: Literal["", "differing", "missing"] = "") -> Path:
        """Drop the agency's own books of a month: what its logs hold of it; or one figure otherwise, or one left out."""
        lines = [line for name, log in self._logs.items() for line in _of_month(name, *log, month)]
        if fault == "differing":
            lines[-1][5] = str(int(lines[-1][5] or 0) + 100)
        elif fault == "missing":
            lines.pop()
        self._books += 1
        header = tuple(column.name for column in wire.BOOK_COLUMNS)
        path = self.drop(f"月度台账-{month}-{self._books}.csv", header, lines or [[month, *[""] * 9, "是"]])
        at = path.stat().st_mtime + self._books  # a clerk is slower than a machine: no two books of one second
        os.utime(path, (at, at))
        return path

    # -- from the gateway -------------------------------------------------------------------------------------------

    def fetch(self) -> list[dict[str, Any]]:
        """Take what lies in the outbox away; everything ever fetched, one entry a request id."""
        for path in sorted(self.outbox.glob("*.json")):
            found = json.loads(path.read_text("utf-8"))
            self._fetched.setdefault(found["requestId"], found)
            path.unlink()
        return list(self._fetched.values())

    def answer(self, item: str, result: str, words: str = "", **more: str) -> None:
        """Add a line to the answers: ``more`` may be ``code``, ``advice`` and ``care``."""
        row = (f"a-{len(self._answers)}", item, result, words, *(more.get(k, "") for k in ("code", "advice", "care")))
        self._answers.append(row)
        self.drop("答复.csv", tuple(column.name for column in wire.ANSWER_COLUMNS), self._answers)

    def delete(self, recall: str) -> Path:
        """Say, signed, that everything a recall names was deleted."""
        signed = sign_receipt(RecallReceipt(recall=recall, action=RECALL_ACTION_DELETED), self._key)
        target = self.inbox / f"{recall.replace('/', '-')}{receipts.SUFFIX}"
        durable.replace(target, receipts.receipt_json(recall, signed))
        return target


def _of_month(
    name: str, header: tuple[str, ...], rows: Sequence[Sequence[str]], month: str
) -> Iterator[list[str]]:  # fmt: skip
    """The lines of the books for the rows of one log."""
    log = wire.log_of(name)
    if log is None:
        return
    names = [
        next(each for each in (*_COLUMNS, None) if each is None or word in (each.name, *each.aliases))
        for word in header
    ]
    for cells in rows:
        by = {column.name: cell for column, cell in zip(names, cells, strict=False) if column is not None}
        if by[wire.DAY.name].startswith(month):
            figures = [by.get(each.name, "") for each in (wire.LETTERS, wire.ATTENDANCES, wire.PERSONS, wire.STUDENT)]
            yield [month, log.words[0], by[wire.ROW.name], by[wire.DAY.name], *figures, "", "", ""]


def workbook(rows: Sequence[Sequence[str]]) -> bytes:
    """A plain one-sheet XLSX: texts inline, whole numbers as numbers."""
    lines = "".join(
        f'<row r="{number}">{"".join(_cell(text, column, number) for column, text in enumerate(row))}</row>'
        for number, row in enumerate(rows, start=1)
    )
    sheet = f'<worksheet xmlns="{_MAIN}"><sheetData>{lines}</sheetData></worksheet>'
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {**_PARTS, "xl/worksheets/sheet1.xml": sheet}.items():
            about = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            about.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(about, f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode())
    return buffer.getvalue()


def _cell(text: str, column: int, row: int) -> str:
    place = f"{chr(ord('A') + column)}{row}"
    if text.isdigit() and len(text) < 10:
        return f'<c r="{place}"><v>{text}</v></c>'
    return f'<c r="{place}" t="inlineStr"><is><t>{escape(text)}</t></is></c>' if text else ""


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()
