"""XinQiao adapter for agencies that are reached only through the city's government data-sharing platform (政务数据共享平台)."""

from collections.abc import Sequence

from xinqiao.adapters.hookspecs import hookimpl
from xinqiao.adapters.protocols import AdapterKind
from xinqiao_gov_share.adapter import GovShareAdapter
from xinqiao_gov_share.settings import GovShareSettings, hosts
from xinqiao_gov_share.simulator import GovShareSimulator

__all__ = ["GovShareAdapter", "GovShareSettings", "GovShareSimulator", "xinqiao_adapters"]


@hookimpl
def xinqiao_adapters() -> Sequence[AdapterKind]:
    """One kind: ``gov_share``."""
    return [AdapterKind("gov_share", GovShareSettings, GovShareAdapter, hosts, GovShareSimulator)]
