"""Women's federations: a monthly workbook that a clerk fills in, through a folder or by SFTP."""

from collections.abc import Sequence

from xinqiao.adapters.hookspecs import hookimpl
from xinqiao.adapters.protocols import AdapterKind
from xinqiao_womens_federation.adapter import FederationAdapter
from xinqiao_womens_federation.reading import FederationReader
from xinqiao_womens_federation.settings import FederationSettings, hosts
from xinqiao_womens_federation.simulator import FederationSimulator, SftpFederation

__all__ = ["FederationAdapter", "FederationSettings", "FederationSimulator", "xinqiao_adapters"]


@hookimpl
def xinqiao_adapters() -> Sequence[AdapterKind]:
    """The one kind of this plugin."""
    return (
        AdapterKind(
            name="womens_federation",
            settings=FederationSettings,
            create=FederationAdapter,
            hosts=hosts,
            simulator=lambda folder: FederationSimulator(folder, signs=True),
            reader=FederationReader(),
            variants={"sftp": SftpFederation},
        ),
    )
