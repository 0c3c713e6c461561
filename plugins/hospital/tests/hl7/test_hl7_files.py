"""`xinqiao adapters read hospital FILE...`: what real files look like, and what is said of each message in them."""

from pathlib import Path
from types import ModuleType

import pytest

from xinqiao.adapters.protocols import Accepted, FileItem, Refused
from xinqiao_hospital.hl7.files import Hl7Reader
from xinqiao_hospital.hl7.message import parse

SHARED = Path(__file__).parents[5] / "shared" / "data" / "hl7v2"
REF = (
    "MSH|^~\\&|EMR|SCHOOLS|HIS|HOSPITAL|202610051620+0000||{kind}|1|P|2.8\n"
    "RF1|P^Pending^HL70283|R^Routine^HL70280|||O|226839^EMR|20261005\n"
    "PRD|RP^Referring Provider^HL70286|李\nPRD|RT^Referred to Provider^HL70286|王\n"
    "PID|1||P1^^^SCHOOLS^MR||欧阳^小雨\nNTE|||Test \\T\\ notes\n"
)


def read(path: Path, data: bytes, **settings: object) -> list[FileItem]:
    path.write_bytes(data)
    reader = Hl7Reader()
    return list(reader.read_file(path, reader.settings(**settings)))


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b"\x0b"], ids=["plain", "BOM", "framed"])
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"], ids=["LF", "CR", "CRLF"])
@pytest.mark.parametrize("kind", ["REF^I12^REF_I12", "REF^I14^REF_I14", "REF^I14^REF_I12", "REF^I12"])
def test_harmless_defects_of_real_files_are_read_past(tmp_path: Path, start: bytes, end: str, kind: str) -> None:
    text = REF.format(kind=kind).replace("\n", end)
    stop = b"\x1c\r" if start == b"\x0b" else b""
    assert read(tmp_path / "m.hl7", start + text.encode() + stop) == [Accepted(kind[:7], "MSH")]


def test_a_file_may_hold_many_messages_good_and_bad(tmp_path: Path, hl: ModuleType) -> None:
    good, bad = hl.rri(), hl.rri("Q^?^L", control="M2")
    result = hl.oru(hl.DIAGNOSIS)
    assert read(tmp_path / "m.hl7", (good + "\n" + bad + "\n" + result).encode()) == [
        Accepted("RRI^I12", "message 1"),
        Refused("DATA/CODE", "message 2 RF1-1", "the referral status is not of table 0283, nor one agreed"),
        Accepted("ORU^R01", "message 3"),
    ]


def test_the_headers_and_trailers_of_a_batch_are_read_past(tmp_path: Path, hl: ModuleType) -> None:
    batch = f"FHS|^~\\&|HIS\rBHS|^~\\&|HIS\r{hl.rri()}{hl.rri(control='M2')}BTS|2\rFTS|1\r"
    first, second = read(tmp_path / "m.hl7", batch.encode())
    assert first == Accepted("RRI^I12", "message 1") and isinstance(second, Accepted)


def test_what_was_read_past_is_said(tmp_path: Path, hl: ModuleType) -> None:
    message = hl.rri("A", "ZXX|1", "PV1|1", when="202610060900")
    (item,) = read(tmp_path / "m.hl7", message.encode())
    assert isinstance(item, Accepted)
    assert (item.reason, item.note) == (
        "DATA/IGNORED", "no zone: read as Asia/Shanghai at MSH-7; not read: PV1 1, ZXX 1",
    )  # fmt: skip


def test_gb_18030_is_read_by_agreement_never_by_guess(tmp_path: Path, hl: ModuleType) -> None:
    data = hl.rri("R", "NTE|1||床位已满").encode("gb18030")
    (refused,) = read(tmp_path / "m.hl7", data)
    (accepted,) = read(tmp_path / "m.hl7", data, charset="GB18030")
    assert isinstance(refused, Refused) and refused.reason == "DATA/ENCODING"
    assert isinstance(accepted, Accepted)


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\x0b\x1c\r"])
def test_an_empty_file_is_refused(tmp_path: Path, data: bytes) -> None:
    assert [item.reason for item in read(tmp_path / "m.hl7", data)] == ["DATA/EMPTY"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not here")
def test_every_shared_sample_is_accepted_or_refused_with_a_reason_and_a_place() -> None:
    reader = Hl7Reader()
    found: dict[str, str] = {}
    for path in sorted(SHARED.glob("*.hl7")):
        for processing in ("P", "T"):
            for item in reader.read_file(path, reader.settings(processing_id=processing)):
                said = item.kind if isinstance(item, Accepted) else f"{item.reason} {item.place}"
                if said != "DATA/PROCESSING_ID MSH-11":
                    found[path.name] = said
                    print(f"{path.name:18} {said}")
    other = "DATA/MESSAGE_TYPE MSH-9"
    assert found == {
        "ADT-A01-01.hl7": other,
        "ADT-A03-01.hl7": other,
        "ADT-A04-01.hl7": other,
        "ADT-A08-01.hl7": other,
        "ADT-A40-01.hl7": other,
        "ADT01-28.hl7": other,
        "ADT04-28.hl7": other,
        "LAB-ORU-1.hl7": "DATA/IDENTIFIER PID-3",
        "MDM-T02-01.hl7": other,
        "ORU-R01-01.hl7": "DATA/IDENTIFIER PID-3",
        "REF-I12-01.hl7": "REF^I12",
        "REF-I14-01.hl7": "REF^I14",
        "SIU-S12-01.hl7": other,
    }


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not here")
@pytest.mark.parametrize("name", ["ORU-R01-01.hl7", "REF-I12-01.hl7", "LAB-ORU-1.hl7", "ADT-A01-01.hl7"])
def test_the_samples_segments_are_all_there(name: str) -> None:
    raw = (SHARED / name).read_bytes()
    message = parse(raw, "utf-8")
    assert len(message.segments) + message.ignored.total() == len([line for line in raw.splitlines() if line.strip()])


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not here")
def test_the_ampersand_of_the_sample_is_read() -> None:
    notes = parse((SHARED / "ORU-R01-01.hl7").read_bytes(), "utf-8").all("NTE")
    assert any("&" in note.text(3) for note in notes)
