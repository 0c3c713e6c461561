from pathlib import Path
from typing import Any

import pytest
from plugins.police.tests.test_cap import SECRET, alert
from pydantic import ValidationError

from xinqiao.adapters.protocols import Accepted, Refused
from xinqiao.config import Secret
from xinqiao_police.files import PoliceReader
from xinqiao_police.settings import PoliceSettings, hosts, listens

GIVEN: dict[str, Any] = {"url": "https://110.example.cn/hooks", "sign_with": [Secret("env", "A")]}
DOOR = {"listen": "127.0.0.1:8443"}


def test_what_it_may_reach_and_listen_at_is_what_is_named() -> None:
    made = PoliceSettings.model_validate({**GIVEN, "receiver": DOOR, "verify_with": [Secret("env", "B")]})
    assert (hosts(made), listens(made), made.wire) == (["110.example.cn:443"], ["127.0.0.1:8443"], "json")


@pytest.mark.parametrize(
    "change",
    [
        {"url": "http://110.example.cn/"}, {"sign_with": []}, {"sign_with": ["whsec_hunter2"]}, {"wire": "soap"},
        {"receiver": DOOR}, {"unknown": 1}, {"kinds": {"31": "MURDER"}},
        {"receiver": {**DOOR, "key": "k.pem"}, "verify_with": [Secret("env", "B")]},
        {"receiver": {**DOOR, "client_authority": "k.pem"}, "verify_with": [Secret("env", "B")]},
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused_without_a_secret(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        PoliceSettings.model_validate({**GIVEN, **change})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (alert(), Accepted("alert.created", "envelope")), (alert(status="Exercise"), Accepted("alert.created", "envelope", "DRILL", "a drill")),
        (b'{"type":"ping","timestamp":"2026-10-12T09:00:00+08:00"}', Accepted("ping", "envelope")),
        (b"", "DATA/EMPTY"), (b"PK\x03\x04", "DATA/FILE_TYPE"), (b" " * 300_000, "DATA/TOO_LARGE"), (alert(scope="Public"), "DATA/SCOPE"),
    ],
)  # fmt: skip
def test_a_file_is_judged_as_the_adapter_would(tmp_path: Path, body: bytes, wanted: Any) -> None:
    path = tmp_path / "m"
    path.write_bytes(body)
    reader = PoliceReader()
    (item,) = reader.read_file(path, reader.settings())
    assert SECRET not in str(item)
    assert item == wanted or (isinstance(item, Refused) and item.reason == wanted)
