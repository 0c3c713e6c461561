"""Cases about what may be known: nothing undeclared arrives, nothing withheld is made up, no error names a person."""

import re
from contextlib import suppress
from functools import partial
from itertools import product

from google.protobuf.message import Message

from xinqiao.adapters.errors import PartnerUnavailable
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.contract.fields import class_name
from xinqiao.testing.conformance import samples
from xinqiao.testing.conformance.registry import case
from xinqiao.testing.conformance.rig import NotApplicable, NotShown, Rig, expect

_MADE_UP = re.compile(r"1970-01-01|1900-01-01|(?<![A-Za-z0-9_])(?:None|undefined|NaN)(?![A-Za-z0-9_])")
"""What programs write where there is no value; a word by itself, for the base64 of a sealed token holds any three letters."""

_FREE_TEXTS = ("reason", "state_reason", "crisis_facts", "support", "what", "advice", "note", "text")
_ODD = ("=cmd|'/c calc'!A1", "小\u202e雨\u200b", "a\tb\r\nPID|x", "𠮷田\U0001f600", "<b>&amp;\"'", "\\.br\\^~&|")


@case
def silence(rig: Rig) -> None:
    told: set[str] = set()
    if "deliver" in rig.manifest.capabilities:
        for contract in rig.contracts():
            request = rig.ready(contract)
            told |= samples.telling(samples.request(contract))
            rig.attempt(partial(rig.deliver, request))
        for fault in ("unprocessable", "unavailable", "html", "drop_after", "forbidden"):
            with suppress(NotShown, NotApplicable), rig.playing(fault):
                rig.attempt(partial(rig.deliver, rig.sample(rig.contracts()[0])))
    if "read" in rig.manifest.capabilities:
        with suppress(NotShown):
            rig.can_play("wrong_code").play("wrong_code", times=1)
        with suppress(NotShown):
            rig.bring(3)
            for item in rig.read():
                told |= samples.telling(getattr(item, item.WhichOneof("body") or ""))
    said = "\n".join(rig.said())
    found = [value for value in told if len(value) > 2 and value in said]
    expect(not found, f"{len(found)} values of a record stand in an error, a receipt, a rejection or the log")


@case
def undeclared_never_arrives(rig: Rig) -> None:
    for contract in rig.contracts():
        whole = getattr(samples.request(contract), contract)
        declared = rig.manifest.written_classes(contract)
        secret = samples.telling(whole, samples.classes_in(contract) - declared)
        secret -= samples.telling(whole, declared)
        request = rig.ready(contract)
        held = "\n".join(rig.effects())  # what another contract brought there by right
        rig.deliver(request)
        new = "\n".join([*rig.effects(), *rig.said()])
        found = [value for value in secret if value in new and value not in held]
        expect(not found, f"{contract}: {len(found)} values of classes that are not declared are with the partner")


@case
def withheld(rig: Rig) -> None:
    number = 10
    for contract in rig.contracts():
        declared = rig.manifest.written_classes(contract)
        for gone in sorted(declared & samples.classes_in(contract)):
            number += 1
            whole = samples.request(contract, number)
            request = samples.released(whole, declared - {gone})
            if request is None:
                continue  # the door refuses the whole: no adapter is ever given it
            rig.ready(contract, number) if contract != "referral" else None
            held = "\n".join(rig.effects())
            before = rig.effects()
            error = rig.attempt(partial(rig.deliver, request))
            name = class_name(gone)
            expect(not isinstance(error, PartnerUnavailable), f"{contract} without {name}: tried again for ever")
            if error is not None or not rig.sees:
                continue
            new = "\n".join((rig.effects() - before).elements())
            made_up = sorted({*_MADE_UP.findall(new)} - {*_MADE_UP.findall(held)})
            expect(not made_up, f"{contract} without {name}: {', '.join(made_up)} stands where nothing may")
            hidden = samples.telling(getattr(whole, contract), {gone})
            leaked = [value for value in hidden if value in new and value not in held]
            expect(not leaked, f"{contract} without {name}: {len(leaked)} withheld values are with the partner")


@case
def odd_text(rig: Rig) -> None:
    fitting = [contract for contract in rig.contracts() if _text_in(rig.sample(contract), contract) is not None]
    if not fitting:
        raise NotApplicable("it declares no contract with a free text")
    for number, (contract, text) in enumerate(product(fitting, _ODD), start=200):
        request = rig.ready(contract, number)
        holder = _text_in(request, contract)
        assert holder is not None
        setattr(holder[0], holder[1], text)
        error = rig.attempt(partial(rig.deliver, request))
        expect(not isinstance(error, PartnerUnavailable), "a record with odd characters is tried again for ever")


def _text_in(request: DeliverRequest, contract: str) -> tuple[Message, str] | None:
    """The record and its field that a person filled with a sentence, where there is one."""
    body = getattr(request, contract)
    for record in (body, getattr(body, "referral", body), getattr(body, "task", body)):
        for name in _FREE_TEXTS:
            if name in record.DESCRIPTOR.fields_by_name and getattr(record, name):
                return record, name
    return None
