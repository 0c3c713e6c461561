"""Cases about a partner that is slow, away, refuses, or answers nonsense."""

import time
from functools import partial

from xinqiao.adapters.errors import AdapterError, PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.api.gateway.v1.gateway_service_pb2 import AGENCY_STATE_READY, AGENCY_STATE_RETRYING
from xinqiao.testing.conformance.registry import case
from xinqiao.testing.conformance.rig import Rig, expect, until_answered

_SHORT_S = 1.0
_SLOW_S = 4.0
_MARGIN_S = 1.5
_RETRY_AFTER_S = 7.0
_WANTED: dict[str, tuple[type[AdapterError], str]] = {
    "unauthorized": (PartnerRefused, "401: the partner said no, an administrator must look"),
    "forbidden": (PartnerRefused, "403: the partner said no, an administrator must look"),
    "unprocessable": (RecordRejected, "422: this record only, the others go on"),
    "throttled": (PartnerUnavailable, "429: later"),
    "unavailable": (PartnerUnavailable, "503: later"),
}


@case
def slow_partner(rig: Rig) -> None:
    contract = rig.contracts()[0]
    rig.over_network()
    rig.can_play("slow")
    rig.deliver(rig.ready(contract, 1))
    rig.open(deadline_s=_SHORT_S)
    request = rig.ready(contract, 2)
    with rig.playing("slow", times=1, seconds=_SLOW_S):
        began = time.monotonic()
        error = rig.attempt(partial(rig.deliver, request))
        took = time.monotonic() - began
    said = "a receipt" if error is None else type(error).__name__
    expect(isinstance(error, PartnerUnavailable), f"a partner that is too slow gave {said}")
    expect(took < _SHORT_S + _MARGIN_S, f"the call came back after {took:.1f} s with a deadline of {_SHORT_S:g} s")
    expect(rig.handle.workers.hung == 0 or _freed(rig), "the adapter ignores timeout_s: its thread hung on")
    rig.open()
    expect(until_answered(rig, partial(rig.deliver, request)).receipt, "no receipt after the partner was fast again")


@case
def three_days_down(rig: Rig) -> None:
    contract = rig.contracts()[0]
    request = rig.ready(contract)
    before = rig.effects()
    with rig.playing("down"):
        error = rig.attempt(rig.handle.check)
        expect(isinstance(error, PartnerUnavailable), "check says that a partner which is down can be reached")
        for passed in rig.three_days():
            error = rig.attempt(partial(rig.deliver, request))
            said = "a receipt" if error is None else type(error).__name__
            expect(
                isinstance(error, PartnerUnavailable),
                f"{passed} after the partner went down deliver gave {said}, which ends the tries",
            )
        expect(rig.handle.state == AGENCY_STATE_RETRYING, "the agency's state does not show that its partner is down")
    receipt = until_answered(rig, partial(rig.deliver, request)).receipt
    expect(receipt, "no receipt after the partner was back")
    expect(rig.handle.state == AGENCY_STATE_READY, "the agency is not ready although its partner is back")
    if rig.sees:
        expect(rig.seen(before), "the partner is back, a receipt came, but it has nothing")
    held = rig.effects()
    expect(
        rig.deliver(request).receipt == receipt and rig.effects() == held, "a repeat after the outage is not harmless"
    )


@case
def refusals(rig: Rig) -> None:
    contract = rig.contracts()[0]
    rig.over_network()
    asked = {fault: wanted for fault, wanted in _WANTED.items() if rig.can_say(fault)}
    for fault in asked:
        rig.can_play(fault)
    for number, (fault, (wanted, meaning)) in enumerate(asked.items(), start=1):
        request = rig.ready(contract, number)
        with rig.playing(fault, seconds=_RETRY_AFTER_S):
            error = rig.attempt(partial(rig.deliver, request))
        said = "a receipt" if error is None else type(error).__name__
        expect(isinstance(error, wanted), f"{meaning}: raise {wanted.__name__}, not {said}")
        if fault == "throttled" and isinstance(error, PartnerUnavailable):
            expect(error.retry_after_s == _RETRY_AFTER_S, "429: the partner's Retry-After is not passed on")
        if isinstance(error, RecordRejected):
            expect(str(error.place), "a rejected record needs a place")


@case
def nonsense_answer(rig: Rig) -> None:
    contract = rig.contracts()[0]
    rig.over_network()
    request = rig.ready(contract)
    with rig.playing("html"):
        error = rig.attempt(partial(rig.deliver, request))
    expect(error is not None, "a web page in place of an answer was taken for a receipt")
    expect("<" not in str(error), "the error quotes what the partner answered")
    expect(until_answered(rig, partial(rig.deliver, request)).receipt, "no receipt after the partner was itself again")


def _freed(rig: Rig) -> bool:
    """Whether the hanging thread came back soon."""
    until = time.monotonic() + _MARGIN_S
    while rig.handle.workers.hung and time.monotonic() < until:
        time.sleep(0.02)
    return rig.handle.workers.hung == 0
