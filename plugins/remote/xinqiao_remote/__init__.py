"""A partner that serves ``xinqiao.api.adapter.v1`` itself, in any language; the gateway is the client."""

from collections.abc import Sequence

from xinqiao.adapters.hookspecs import hookimpl
from xinqiao.adapters.protocols import AdapterKind
from xinqiao_remote.adapter import RemoteAdapter
from xinqiao_remote.settings import RemoteSettings, declared, hosts
from xinqiao_remote.simulator import RemoteSimulator

__all__ = ["RemoteAdapter", "RemoteSettings", "RemoteSimulator", "xinqiao_adapters"]


@hookimpl
def xinqiao_adapters() -> Sequence[AdapterKind]:
    """One kind: ``remote``."""
    return [AdapterKind("remote", RemoteSettings, RemoteAdapter, hosts, RemoteSimulator, manifest=declared)]
