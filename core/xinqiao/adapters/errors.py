"""What an adapter may raise, named for what the gateway does next.

========================================================= ======================== ================================
Situation                                                 Raise                    The gateway then
========================================================= ======================== ================================
No answer, time-out, 5xx, "try later"                     ``PartnerUnavailable``   retries with back-off
The partner understood and said no (401, 403, 404, 422)   ``PartnerRefused``       stops and tells the administrator
One record is wrong, the others may go on                 ``RecordRejected``       lists it, goes on or refuses all
A whole file cannot be trusted                            ``FileRefused``          refuses the file, imports nothing
A setting is missing or contradicts another               ``AdapterConfigError``   does not start
========================================================= ======================== ================================

``FileRefused`` is in ``xinqiao.adapters.files``. Messages name what, where and how to mend; they never hold a value
that a partner sent, because they end in logs and in answers.
"""


class AdapterError(Exception):
    """Base of all that an adapter raises on purpose; anything else is a fault of the adapter itself."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class PartnerUnavailable(AdapterError):
    """The partner could not be reached or asked to come back; the same call may succeed later.

    ``retry_after_s`` is the partner's own wish in seconds, ``None`` when it gave none.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PartnerRefused(AdapterError):
    """The partner said no and would say no again: no retry, a person must look.

    ``reason`` is an UPPER_SNAKE word for machines, such as ``EGRESS/HOST_KEY``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class RecordRejected(AdapterError):
    """One record is refused; its neighbours are not affected.

    ``reason`` looks like ``DATA/NUMBER``. ``place`` is anything whose text says where: a file ``Place``, or a path
    such as ``PID-3`` or ``Bundle.entry[4]``.
    """

    def __init__(self, reason: str, message: str, place: object) -> None:
        super().__init__(message)
        self.reason = reason
        self.place: object = place

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}: {self.message}"


class AdapterConfigError(AdapterError):
    """A setting of the adapter is unusable; raised at start, before any partner is reached."""
