"""The hooks: few, and they only declare. Work is done by objects typed in ``xinqiao.adapters.protocols``."""

from collections.abc import Sequence

import pluggy

from xinqiao.adapters.protocols import AdapterKind

hookspec = pluggy.HookspecMarker("xinqiao")
hookimpl = pluggy.HookimplMarker("xinqiao")


@hookspec
def xinqiao_adapters() -> Sequence[AdapterKind]:  # type: ignore[empty-body]
    """Return the kinds of adapter this plugin offers, usually one.

    Called once, at start. If it raises, the plugin is listed as failed with the reason and every other plugin loads.
    """
