"""The configuration of one node, read when it is first asked for."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import cast

from pydantic import BaseModel

from xinqiao.config.cadence import Cadence, CadenceFile
from xinqiao.config.calendar import CalendarFile
from xinqiao.config.crosscheck import check_files
from xinqiao.config.district import District
from xinqiao.config.document import Document, read_document
from xinqiao.config.loader import judge, load
from xinqiao.config.problems import ConfigError, Finding
from xinqiao.config.settings import Gateway, gateway_model
from xinqiao.contract.workdays import WorkCalendar


def load_gateway(path: Path, adapter_models: Mapping[str, type[BaseModel]]) -> Gateway:
    """Read gateway.yaml; ``adapter_models`` maps each installed plugin to its settings model. Raises ConfigError."""
    return judge(read_document(path), gateway_model(adapter_models))


def load_district(path: Path) -> District:
    """Read a district overlay. Raises ConfigError."""
    return load(path, District)


def district_of(settings: Gateway) -> District:
    """The overlay named by the settings, or the defaults for the district. Raises ConfigError."""
    overlay = settings.district_overlay
    if overlay is None:
        return District(district=settings.district)
    district = load_district(overlay)
    if district.district != settings.district:
        finding = Finding(
            ("district",), "CONFIG/CONFLICT", "not the district of gateway.yaml", "use the overlay of that district"
        )
        raise ConfigError([district.problem(finding)])
    unknown = [
        district.problem(Finding(loc, "CONFIG/REFERENCE", "no such partner", "name one of gateway.yaml's partners"))
        for loc, name in district.named()
        if name not in settings.partners
    ]
    if unknown:
        raise ConfigError(unknown)
    return district


def calendar_of(settings: Gateway, district: District) -> WorkCalendar:
    """The district's working days and school terms; the State Council's holidays alone where it has no file.

    Raises ConfigError.
    """
    if district.calendar is None:
        return WorkCalendar()
    file = load(district.calendar, CalendarFile)
    if file.district != settings.district:
        finding = Finding(
            ("district",), "CONFIG/CONFLICT", "not the district of gateway.yaml", "use the calendar of that district"
        )
        raise ConfigError([file.problem(finding)])
    return file.calendar()


def cadences_of(district: District, calendar: WorkCalendar) -> Mapping[str, Cadence]:
    """The reports the district expects, by id. Raises ConfigError where they need terms that no calendar has."""
    if district.cadence is None:
        return {}
    file = load(district.cadence, CadenceFile)
    known = {window.id for window in calendar.windows}
    findings: list[Finding] = []
    for name, cadence in file.cadences.items():
        place = ("cadences", name)
        if cadence.every in ("term", "school_year") and not calendar.terms:
            where = (*place, "every")
            findings.append(Finding(where, "CONFIG/REFERENCE", "the calendar has no terms", "add them to the calendar"))
        for index, window in enumerate(cadence.intensified.windows if cadence.intensified else ()):
            if window not in known:
                at = (*place, "intensified", "windows", index)
                findings.append(Finding(at, "CONFIG/REFERENCE", "no such window in the calendar"))
    if findings:
        raise ConfigError([file.problem(finding) for finding in findings])
    return file.cadences


def named_adapters(document: Document) -> list[str]:
    """The kinds of adapter that a gateway.yaml names, before anything in it is judged.

    What else is installed need not even be imported: it could do harm, and costs time and memory.
    """
    entries: object = document.raw.get("adapters")
    named: set[str] = set()
    for entry in cast("dict[str, object]", entries).values() if isinstance(entries, dict) else ():
        kind = cast("dict[str, object]", entry).get("adapter") if isinstance(entry, dict) else None
        if isinstance(kind, str):
            named.add(kind)
    return sorted(named)


class Bundle:
    """gateway.yaml and its district overlay; each is read once, on first use. Raises ConfigError on use."""

    def __init__(self, source: Path | Document, adapter_models: Mapping[str, type[BaseModel]]) -> None:
        """``source`` is gateway.yaml, or what was read of it already."""
        self._source = source
        self._adapter_models = dict(adapter_models)

    @cached_property
    def gateway(self) -> Gateway:
        """The settings of this node."""
        document = read_document(self._source) if isinstance(self._source, Path) else self._source
        return judge(document, gateway_model(self._adapter_models))

    @cached_property
    def district(self) -> District:
        """The overlay named by the settings, or the defaults for the district."""
        return district_of(self.gateway)

    @cached_property
    def calendar(self) -> WorkCalendar:
        """The district's working days and school terms."""
        return calendar_of(self.gateway, self.district)

    @cached_property
    def cadences(self) -> Mapping[str, Cadence]:
        """The reports the district expects, by id."""
        return cadences_of(self.district, self.calendar)

    def check(self, *, allow_repository: bool = False) -> None:
        """Everything that must hold before the start: both files, and the files they name. Raises ConfigError."""
        problems = check_files(self.gateway, allow_repository=allow_repository)
        overlay = self.gateway.district_overlay
        if overlay is None or overlay.exists():
            try:
                _ = self.district, self.calendar, self.cadences
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)
