"""``xinqiao adapters read hospital``: any file is understood as something or refused with reason and place."""

import json
from collections import Counter
from pathlib import Path

import pytest

from xinqiao.adapters.protocols import Accepted, Refused
from xinqiao_hospital import files
from xinqiao_hospital.files import HospitalReader, ReadingSettings

DATA = Path(__file__).parents[4] / "shared" / "data"
FOLDERS = ("fhir-r4-core", "fhir-us-core", "sdohcc-state-machine", "sdohcc-stu1-json", "sdohcc-stu2-xml", "bser-fsh")


def read(path: Path) -> list[Accepted | Refused]:
    return list(HospitalReader().read_file(path, ReadingSettings()))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "DATA/EMPTY"),
        (b'<?xml version="1.0"?><Task xmlns="http://hl7.org/fhir"/>', "DATA/FILE_TYPE"),
        (b"<!doctype html><html>", "DATA/FILE_TYPE"),
        (b"PK\x03\x04....", "DATA/FILE_TYPE"),
        (b"Instance: task\nInstanceOf: Task\n", "DATA/FILE_TYPE"),
        (b"name,class\n", "DATA/FILE_TYPE"),
        (b'\xef\xbb\xbf{"resourceType":"Task"}', "DATA/ENCODING"),
        (b'{"resourceType":"Task","resourceType":"Task"}', "DATA/JSON_DUP_KEY"),
        (b'{"resourceType":"Bundle","type":"collection"}', "DATA/EMPTY"),
        (b"[1]", "DATA/PROFILE"),
    ],
)
def test_what_is_no_fhir_json_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "f").write_bytes(content)
    [item] = read(tmp_path / "f")
    assert isinstance(item, Refused)
    assert item.reason == reason


def test_a_file_too_large_is_refused_before_it_is_read_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILE", 1000)
    (tmp_path / "f").write_bytes(b'{"resourceType":"Binary","data":"' + b"A" * 2000 + b'"}')
    [item] = read(tmp_path / "f")
    assert (item.reason, isinstance(item, Refused)) == ("DATA/TOO_LARGE", True)


def test_fifty_thousand_entries_are_refused(tmp_path: Path) -> None:
    entry = {"resource": {"resourceType": "Basic", "code": {"text": "x"}}}
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [entry] * 50_000}
    (tmp_path / "f").write_text(json.dumps(bundle))
    [item] = read(tmp_path / "f")
    assert (item.reason, item.place) == ("DATA/TOO_LARGE", "entry")


def test_what_we_send_is_understood_when_it_is_read_back() -> None:
    items = read(Path(__file__).parent / "golden_bundle.json")
    assert [item.kind for item in items if isinstance(item, Accepted)] == [
        "student",
        "consent: permit",
        "answers",
        "score: PHQ-9 total",
        "score: PHQ-9 item 9",
        "answers",
        "score: GAD-7 total",
        "risk",
        "referral order",
        "status update: nothing new",
    ]


def test_hl7_is_told_by_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_bytes(b"\x0bMSH|^~\\&|A|B|C|D|20261006||ADT^A01|1|P|2.5.1\r")
    [item] = read(tmp_path / "f.json")
    assert (item.reason, item.place) == ("DATA/MESSAGE_TYPE", "MSH-9")


@pytest.mark.skipif(not DATA.exists(), reason="the shared sample data is not here")
def test_every_sample_file_is_understood_or_refused_with_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    table: Counter[tuple[str, str, str]] = Counter()
    whole: dict[str, list[Accepted | Refused]] = {}
    for path in sorted(path for folder in FOLDERS for path in (DATA / folder).iterdir() if path.is_file()):
        whole[path.name] = read(path)
        for item in whole[path.name]:
            word = item.kind if isinstance(item, Accepted) else item.reason
            assert word, path.name
            assert isinstance(item, Accepted) or (item.message and (item.place or item.reason == "DATA/FILE_TYPE"))
            table[path.parent.name, "accepted" if isinstance(item, Accepted) else "refused", word] += 1
    with capsys.disabled():
        print()
        for (folder, state, word), number in sorted(table.items()):
            print(f"  {folder:22} {state:9} {word:24} {number:4}")
    assert all(whole.values())
    accepted = {name: [i.kind for i in items if isinstance(i, Accepted)] for name, items in whole.items()}
    assert accepted["QuestionnaireResponse-phq-9-example.json"] == ["answers"]
    assert accepted["Consent-consent-example-Out.json"] == ["consent: deny"]
    assert accepted["Consent-consent-example-notThis.json"] == ["consent: deny"]
    assert accepted["Consent-consent-example-basic.json"] == ["consent: none"]
    assert accepted["ServiceRequest-example.json"] == ["referral order"]
    assert {items[0].reason for name, items in whole.items() if name.endswith((".xml", ".fsh"))} == {"DATA/FILE_TYPE"}
