"""A rest-hook Subscription at the hospital: it tells us that some Task changed, and then we ask. It never carries data."""

import threading
import time
from collections.abc import Callable
from urllib.parse import quote

from xinqiao.adapters.errors import AdapterError
from xinqiao_hospital import codes
from xinqiao_hospital.client import FhirClient
from xinqiao_hospital.wire import Json, as_list, as_object, as_text, dump

_TIMEOUT_S = 10.0
_LOOK_AGAIN_S = 300.0
_DEAD = frozenset({"error", "off"})


class Subscriber:
    """Keeps one Subscription alive and says when the hospital is to be asked.

    ``endpoint`` is our address as the hospital reaches it. ``header`` gives the header it must send with each notice.
    A hospital that has no subscriptions is asked at every look, as if there were no subscriber.
    """

    def __init__(self, client: FhirClient, endpoint: str, header: Callable[[], str | None], poll_s: float) -> None:
        self._client = client
        self._endpoint = endpoint
        self._header = header
        self._poll_s = poll_s
        self._noticed = threading.Event()
        self._noticed.set()  # Whatever happened while we were not there.
        self._kept_at: float | None = None
        self._asked_at = 0.0
        self._active = False

    def notified(self) -> None:
        """The hospital says that something changed."""
        self._noticed.set()

    def due(self) -> bool:
        """Whether to ask now: after a notice, after ``poll_s`` without one, and always while nobody would give notice."""
        self._keep()
        if self._active and not self._noticed.is_set() and time.monotonic() - self._asked_at < self._poll_s:
            return False
        # Cleared before asking: a notice that comes meanwhile means another look.
        self._noticed.clear()
        self._asked_at = time.monotonic()
        return True

    def failed(self) -> None:
        """The look that was due did not succeed: it stays due."""
        self._noticed.set()

    def _keep(self) -> None:
        now = time.monotonic()
        if self._kept_at is not None and now - self._kept_at < _LOOK_AGAIN_S:
            return
        self._kept_at = now
        try:
            self._active = self._register()
        except AdapterError:
            self._active = False  # No news must be missed for want of a notice: ask at every look, register later.

    def _register(self) -> bool:
        by_url = f"url={quote(self._endpoint, safe='')}"
        page = self._client.get_if_offered(f"{self._client.base}/Subscription?{by_url}", _TIMEOUT_S)
        if page is None:
            return False
        entries = [as_object(as_object(e).get("resource")) for e in as_list(as_object(page.clean()).get("entry"))]
        ours = [s for s in entries if as_object(s.get("channel")).get("endpoint") == self._endpoint]
        wanted = self._wanted()
        if not ours:
            made = self._client.write(
                "POST", f"{self._client.base}/Subscription", dump(wanted), _TIMEOUT_S, if_none_exist=by_url
            )
            return as_text(made.get("status")) not in _DEAD
        found = ours[0]
        if found.get("status") in _DEAD or found.get("criteria") != wanted["criteria"]:
            id_ = as_text(found.get("id"))
            self._client.write(
                "PUT",
                f"{self._client.base}/Subscription/{quote(id_, safe='')}",
                dump({**wanted, "id": id_}),
                _TIMEOUT_S,
            )
        return True

    def _wanted(self) -> Json:
        # No payload: a notice is a bell. What it is about is fetched from the hospital, with our own token.
        channel: Json = {"type": "rest-hook", "endpoint": self._endpoint}
        header = self._header()
        if header:
            channel["header"] = [header]
        return {
            "resourceType": "Subscription",
            "status": "requested",
            "reason": "XinQiao referrals",
            "criteria": f"Task?identifier={codes.REFERRAL}|",
            "channel": channel,
        }
