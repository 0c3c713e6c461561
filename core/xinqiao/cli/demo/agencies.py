"""The other agencies of the district: who they are, and the simulators that stand in for them."""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from xinqiao.adapters.host import AdapterHost
from xinqiao.config import Secret

POLICE, GRID, WOMEN, HOTLINE = "kunshan-110", "yushan-grid", "kunshan-women", "suzhou-12355"
SOCIAL_WORK, YOUTH, PLATFORM = "kunshan-aide", "kunshan-youth", "kunshan-welfare"


@dataclass(frozen=True, slots=True)
class Agency:
    """One agency: the plugin it is reached with, its role, its names for people."""

    id: str
    plugin: str
    role: str
    zh: str
    en: str
    schools: bool = False

    def partner(self, schools: list[str]) -> dict[str, Any]:
        """Its entry under ``partners``."""
        return {
            "kind": self.plugin, "names": {"zh": self.zh, "en": self.en}, "roles": [self.role],
            "spiffe": f"spiffe://xinqiao.example/partner/{self.id}", **({"schools": schools} if self.schools else {}),
            "agreement": {"number": f"KS-{self.id}", "valid_from": "2026-01-01", "valid_to": "2028-12-31"},
        }  # fmt: skip


AGENCIES: Final = (
    Agency(POLICE, "police", "POLICE", "昆山市公安局 110 指挥中心", "Kunshan police, 110 centre"),
    Agency(GRID, "community_grid", "GRID", "玉山镇网格中心", "Yushan grid station"),
    Agency(WOMEN, "womens_federation", "WOMENS_FEDERATION", "昆山市妇联", "Kunshan women's federation"),
    Agency(HOTLINE, "hotline", "HOTLINE", "苏州 12355 热线", "Suzhou hotline 12355"),
    Agency(SOCIAL_WORK, "social_work", "SOCIAL_WORK", "昆山示范社工机构", "Kunshan model social workers", schools=True),
    Agency(YOUTH, "youth_league", "YOUTH_LEAGUE", "昆山团市委", "Kunshan youth league"),
    Agency(
        PLATFORM,
        "gov_share",
        "SOCIAL_WORK",
        "昆山市儿童福利机构",
        "Kunshan child welfare, by the city's platform",
    ),
)
"""All that the story knows; those whose plugin is not installed stay out of it."""


def present(host: AdapterHost) -> list[Agency]:
    """The agencies whose plugins are there."""
    return [agency for agency in AGENCIES if agency.plugin in host.kinds]


class Simulators:
    """The partners' stand-ins, by agency; started with ``start``, each in a folder of its own."""

    def __init__(self, host: AdapterHost, folder: Path) -> None:
        self.agencies = present(host)
        self.receivers: dict[str, tuple[str, int]] = {}
        """Where the gateway listens for an agency that pushes."""
        self._all = {each.id: host.kinds[each.plugin].simulator(folder / each.id) for each in self.agencies}

    def start(self) -> dict[str, dict[str, Any]]:
        """The entries under ``adapters``."""
        # A partner that is back is tried again at once: three days of the story are seconds of the machine.
        return {
            each.id: {
                "adapter": each.plugin,
                "settings": self._settings(each.id),
                "breaker": {"failures": 5, "reset_s": 1},
            }
            for each in self.agencies
        }

    def _settings(self, agency: str) -> dict[str, Any]:
        settings: dict[str, Any] = self._all[agency].start()
        if "receiver" in settings:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.receivers[agency] = ("127.0.0.1", int(free.getsockname()[1]))
            settings["receiver"] = {**settings["receiver"], "listen": "{}:{}".format(*self.receivers[agency])}
        return settings

    def get(self, agency: str) -> Any:
        """The stand-in of an agency; None where its plugin is not installed."""
        return self._all.get(agency)

    def signing(self) -> list[tuple[str, Any]]:
        """Those that take monthly packages, and sign for them."""
        return [(agency, self._all[agency]) for agency in (WOMEN,) if agency in self._all]

    def exchanges(self, school: str) -> dict[str, dict[str, Any]]:
        """The monthly exchanges of the school with them (Fang County's model): each gets what it may hold, both bring
        their books where they keep any."""
        both = ("plan-entries", "service-log")
        found = {
            "school-women-monthly": _exchange(
                "校与妇联月度对账", "School and women's federation", school, WOMEN,
                [("referrals", WOMEN), *((dataset, to) for dataset in both for to in (WOMEN, school))],
            ),
            "school-youth-monthly": _exchange(
                "校与团委月度对账", "School and youth league", school, YOUTH, [("service-log", school)]
            ),
        }  # fmt: skip
        return {name: each for name, each in found.items() if each["parties"][1] in self._all}

    def stop(self) -> None:
        """Stop them all."""
        for simulator in self._all.values():
            simulator.stop()


def _exchange(zh: str, en: str, school: str, other: str, datasets: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "names": {"zh": zh, "en": en}, "parties": [school, other],
        "datasets": [{"contract": contract, "to": to, "purpose": "reconciliation"} for contract, to in datasets],
        "period": "month",
        "schedule": {"run": {"day": 1, "working": True, "at": "02:00"}, "close_after_days": 10},
        "nil_report": True, "expects": [other],
    }  # fmt: skip


class SettingsDumper(yaml.SafeDumper):
    """Writes secrets as an administrator writes them: where they lie, never what they are; and each value out."""

    def ignore_aliases(self, data: Any) -> bool:
        """The configuration takes no anchors."""
        del data
        return True


def _secret(dumper: yaml.SafeDumper, secret: Secret) -> yaml.Node:
    kind, _, name = repr(secret).partition(" ")
    node: yaml.Node = dumper.represent_scalar(kind, name)  # pyright: ignore[reportUnknownMemberType]
    return node


SettingsDumper.add_representer(Secret, _secret)
SettingsDumper.add_representer(tuple, lambda dumper, items: dumper.represent_list(list(items)))
