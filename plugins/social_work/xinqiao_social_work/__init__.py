"""School social work: an agency's service logs in, referrals and tasks out, answers to both back."""

from collections.abc import Sequence

from xinqiao.adapters.hookspecs import hookimpl
from xinqiao.adapters.protocols import AdapterKind
from xinqiao_social_work.adapter import SocialWorkAdapter
from xinqiao_social_work.reading import SocialWorkReader
from xinqiao_social_work.settings import SocialWorkSettings
from xinqiao_social_work.simulator import SocialWorkSimulator

__all__ = ["SocialWorkAdapter", "SocialWorkSettings", "SocialWorkSimulator", "xinqiao_adapters"]


def _hosts(settings: SocialWorkSettings) -> Sequence[str]:
    return ()


@hookimpl
def xinqiao_adapters() -> Sequence[AdapterKind]:
    """The one kind of this plugin."""
    return (
        AdapterKind(
            name="social_work",
            settings=SocialWorkSettings,
            create=SocialWorkAdapter,
            hosts=_hosts,
            simulator=SocialWorkSimulator,
            reader=SocialWorkReader(),
        ),
    )
