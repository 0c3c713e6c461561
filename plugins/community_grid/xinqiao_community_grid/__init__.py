"""Community grid stations: visit tasks out, visit records and weekly reports in, by REST, CSV folder or phone form."""

from collections.abc import Sequence

from xinqiao.adapters.hookspecs import hookimpl
from xinqiao.adapters.protocols import AdapterKind
from xinqiao_community_grid.adapter import CommunityGridAdapter
from xinqiao_community_grid.reading import VisitReader
from xinqiao_community_grid.settings import CommunityGridSettings, hosts, listens
from xinqiao_community_grid.simulator import CommunityGridSimulator

__all__ = ["CommunityGridAdapter", "CommunityGridSettings", "CommunityGridSimulator", "xinqiao_adapters"]


@hookimpl
def xinqiao_adapters() -> Sequence[AdapterKind]:
    """The one kind of this plugin."""
    return (
        AdapterKind(
            name="community_grid",
            settings=CommunityGridSettings,
            create=CommunityGridAdapter,
            hosts=hosts,
            simulator=CommunityGridSimulator,
            listens=listens,
            reader=VisitReader(),
            variants={"csv": lambda folder: CommunityGridSimulator(folder, source="folder")},
        ),
    )
