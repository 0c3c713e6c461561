"""A town with two hospitals of its own adapters, for what needs a second one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

SECOND = "other-hospital"
OVERLAY = Path(__file__).resolve().parents[2] / "config" / "districts" / "320583.yaml"


@pytest.fixture
def two_hospitals(make_town: Callable[..., Any], tmp_path: Path) -> Iterator[Any]:
    """A town whose crisis lane has two channels; SQLite, no listener, deliveries go when the test says so."""
    with make_town(listen=False, change=lambda settings: second_channel(settings, tmp_path)) as town:
        yield town


def second_channel(settings: dict[str, Any], folder: Path, **overlay: Any) -> None:
    """Give the second hospital an adapter, and the district a crisis lane over both, with duty telephones."""
    first = next(iter(name for name, each in settings["adapters"].items() if each["adapter"] == "recorder_hospital"))
    settings["adapters"][SECOND] = {"adapter": "recorder_hospital", "settings": {}}
    district = yaml.safe_load(OVERLAY.read_text("utf-8"))
    district["calendar"] = str(OVERLAY.parent / district["calendar"])
    district["crisis"]["channels"] = [first, SECOND]
    district["services"] = {"child-psychiatry": [first, SECOND]}
    for partner, number in ((first, "051200000001"), (SECOND, "051200000002"), ("psych-chen", "051200000003")):
        district["phone_list"].append(
            {"names": {"zh": "值班室", "en": "Duty room"}, "phone": number, "partner": partner}
        )
    district |= overlay
    path = folder / "320583.yaml"
    path.write_text(yaml.safe_dump(district, allow_unicode=True), "utf-8")
    settings["district_overlay"] = str(path)
