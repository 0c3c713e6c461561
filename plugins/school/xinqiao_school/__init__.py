"""School platforms that exchange files in folders: OneRoster rosters and score sheets in, advice and packages out."""

from collections.abc import Sequence

from xinqiao.adapters.hookspecs import hookimpl
from xinqiao.adapters.protocols import AdapterKind
from xinqiao_school.adapter import SchoolAdapter
from xinqiao_school.reading import SchoolReader
from xinqiao_school.settings import SchoolSettings
from xinqiao_school.simulator import SchoolSimulator

__all__ = ["SchoolAdapter", "SchoolSettings", "SchoolSimulator", "xinqiao_adapters"]


def _no_hosts(settings: SchoolSettings) -> Sequence[str]:
    """Folders only: the adapter never opens a socket."""
    return ()


@hookimpl
def xinqiao_adapters() -> Sequence[AdapterKind]:
    """The one kind of this plugin."""
    return (
        AdapterKind(
            name="school",
            settings=SchoolSettings,
            create=SchoolAdapter,
            hosts=_no_hosts,
            simulator=SchoolSimulator,
            reader=SchoolReader(),
        ),
    )
