"""The configuration of one node, read when it is first asked for."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel

from xinqiao.config.crosscheck import check_files
from xinqiao.config.district import District
from xinqiao.config.loader import load
from xinqiao.config.problems import ConfigError, Finding
from xinqiao.config.settings import Gateway, gateway_model


def load_gateway(path: Path, adapter_models: Mapping[str, type[BaseModel]]) -> Gateway:
    """Read gateway.yaml; ``adapter_models`` maps each installed plugin to its settings model. Raises ConfigError."""
    return load(path, gateway_model(adapter_models))


def load_district(path: Path) -> District:
    """Read a district overlay. Raises ConfigError."""
    return load(path, District)


class Bundle:
    """gateway.yaml and its district overlay; each is read once, on first use. Raises ConfigError on use."""

    def __init__(self, path: Path, adapter_models: Mapping[str, type[BaseModel]]) -> None:
        self.path = path
        self._adapter_models = dict(adapter_models)

    @cached_property
    def gateway(self) -> Gateway:
        """The settings of this node."""
        return load_gateway(self.path, self._adapter_models)

    @cached_property
    def district(self) -> District:
        """The overlay named by the settings, or the defaults for the district."""
        overlay = self.gateway.district_overlay
        if overlay is None:
            return District(district=self.gateway.district)
        district = load_district(overlay)
        if district.district != self.gateway.district:
            finding = Finding(
                ("district",), "CONFIG/CONFLICT", "not the district of gateway.yaml", "use the overlay of that district"
            )
            raise ConfigError([district.problem(finding)])
        unknown = [
            district.problem(Finding(loc, "CONFIG/REFERENCE", "no such partner", "name one of gateway.yaml's partners"))
            for loc, name in district.named()
            if name not in self.gateway.partners
        ]
        if unknown:
            raise ConfigError(unknown)
        return district

    def check(self, *, allow_repository: bool = False) -> None:
        """Everything that must hold before the start: both files, and the files they name. Raises ConfigError."""
        problems = check_files(self.gateway, allow_repository=allow_repository)
        overlay = self.gateway.district_overlay
        if overlay is None or overlay.exists():
            try:
                _ = self.district
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)
