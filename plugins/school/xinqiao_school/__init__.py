"""School platforms: OneRoster rosters by folder or REST and score sheets in, advice and packages out."""

from collections.abc import Sequence

from xinqiao.adapters.hookspecs import hookimpl
from xinqiao.adapters.protocols import AdapterKind
from xinqiao_school.adapter import SchoolAdapter
from xinqiao_school.reading import SchoolReader
from xinqiao_school.settings import SchoolSettings, hosts
from xinqiao_school.simulator import RestSchoolSimulator, SchoolSimulator

__all__ = ["SchoolAdapter", "SchoolSettings", "SchoolSimulator", "xinqiao_adapters"]


@hookimpl
def xinqiao_adapters() -> Sequence[AdapterKind]:
    """The one kind of this plugin."""
    return (
        AdapterKind(
            name="school",
            settings=SchoolSettings,
            create=SchoolAdapter,
            hosts=hosts,
            simulator=SchoolSimulator,
            reader=SchoolReader(),
            variants={"rest": RestSchoolSimulator},
        ),
    )
