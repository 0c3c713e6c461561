"""The youth league: what a student needs, without who it is, out; answers and monthly counts of volunteers in."""

from collections.abc import Sequence

from xinqiao.adapters.hookspecs import hookimpl
from xinqiao.adapters.protocols import AdapterKind
from xinqiao_youth_league.adapter import YouthLeagueAdapter
from xinqiao_youth_league.settings import YouthLeagueSettings, hosts
from xinqiao_youth_league.simulator import YouthLeagueSimulator

__all__ = ["YouthLeagueAdapter", "YouthLeagueSettings", "YouthLeagueSimulator", "xinqiao_adapters"]


@hookimpl
def xinqiao_adapters() -> Sequence[AdapterKind]:
    """The one kind of this plugin."""
    return (
        AdapterKind(
            name="youth_league",
            settings=YouthLeagueSettings,
            create=YouthLeagueAdapter,
            hosts=hosts,
            simulator=YouthLeagueSimulator,
        ),
    )
