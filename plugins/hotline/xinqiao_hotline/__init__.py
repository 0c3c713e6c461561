"""Helplines: call records in as signals by codes and as counts, call-backs out, closure and coverage checked."""

from collections.abc import Sequence

from xinqiao.adapters.hookspecs import hookimpl
from xinqiao.adapters.protocols import AdapterKind
from xinqiao_hotline.adapter import HotlineAdapter
from xinqiao_hotline.reading import CallReader
from xinqiao_hotline.settings import HotlineSettings, hosts
from xinqiao_hotline.simulator import HotlineSimulator

__all__ = ["HotlineAdapter", "HotlineSettings", "HotlineSimulator", "xinqiao_adapters"]


@hookimpl
def xinqiao_adapters() -> Sequence[AdapterKind]:
    """The one kind of this plugin."""
    return (
        AdapterKind(
            name="hotline",
            settings=HotlineSettings,
            create=HotlineAdapter,
            hosts=hosts,
            simulator=HotlineSimulator,
            reader=CallReader(),
        ),
    )
