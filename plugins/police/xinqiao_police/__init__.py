"""XinQiao adapter for the police (公安 110): crisis alerts in, rescue and escort requests out, by signed webhooks."""

from collections.abc import Sequence

from xinqiao.adapters.hookspecs import hookimpl
from xinqiao.adapters.protocols import AdapterKind
from xinqiao_police.adapter import PoliceAdapter
from xinqiao_police.files import PoliceReader
from xinqiao_police.settings import PoliceSettings, hosts, listens
from xinqiao_police.simulator import Centre110

__all__ = ["Centre110", "PoliceAdapter", "PoliceSettings", "xinqiao_adapters"]


@hookimpl
def xinqiao_adapters() -> Sequence[AdapterKind]:
    """One kind: ``police``."""
    return [
        AdapterKind(
            "police",
            PoliceSettings,
            PoliceAdapter,
            hosts,
            Centre110,
            listens=listens,
            reader=PoliceReader(),
            variants={"cap": lambda folder: Centre110(folder, wire="cap")},
        )
    ]
