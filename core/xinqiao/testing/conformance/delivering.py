"""Cases about what is handed over: one effect a request, whatever happens on the way."""

import threading
import time
from collections.abc import Callable
from functools import partial

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from google.protobuf.message import DecodeError

from xinqiao.adapters.errors import AdapterError, PartnerUnavailable
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.api.casefile.v1.team_pb2 import TaskState
from xinqiao.api.exchange.v1.exchange_pb2 import Package, Receipt, SignedReceipt
from xinqiao.contract.decode import validate
from xinqiao.contract.errors import Refusal
from xinqiao.testing.conformance import samples
from xinqiao.testing.conformance.registry import case
from xinqiao.testing.conformance.rig import NotApplicable, NotDeclared, Rig, expect, fail, until_answered

_RECEIPT_WAIT_S = 3.0
_MANY = 8


@case
def names(rig: Rig) -> None:
    """That the rig could be made says it: names in five places, manifest, settings, start."""
    shown = rig.manifest.names
    expect(shown.zh != shown.en, "its manifest has the same name in zh and en")


@case
def check(rig: Rig) -> None:
    answer = rig.handle.check()
    expect(0 < len(answer) <= 200 and answer.isprintable(), "check must say in one short line what answered")


@case
def hands_over(rig: Rig) -> None:
    for contract in rig.contracts():
        request = rig.ready(contract)
        before = rig.effects()
        answer = rig.deliver(request)
        expect(answer.receipt, f"{contract}: no receipt; return the partner's own id for it")
        try:
            validate(answer)
        except Refusal as refusal:
            fail(f"{contract}: the answer is not valid: {refusal.message}")
        if rig.sees:
            expect(rig.seen(before), f"{contract}: a receipt came back, but the partner has nothing of it")


@case
def one_effect(rig: Rig) -> None:
    for contract in rig.contracts():
        request = rig.ready(contract)
        first = rig.deliver(request)
        held = rig.effects()
        again = DeliverRequest()
        again.CopyFrom(request)
        again.attempt = 2
        expect(rig.deliver(again).receipt == first.receipt, f"{contract}: a repeat got another receipt")
        expect(rig.effects() == held, f"{contract}: a repeat had a second effect at the partner")
        rig.open()
        expect(rig.deliver(again).receipt == first.receipt, f"{contract}: after a restart a repeat got another receipt")
        expect(rig.effects() == held, f"{contract}: after a restart a repeat had a second effect")


@case
def at_once(rig: Rig) -> None:
    contract = rig.contracts()[0]
    alone = _growth(rig, partial(rig.deliver, rig.ready(contract, 1)))
    request = rig.ready(contract, 2)
    before = rig.effects()
    _together(rig, [request, request])
    answered = until_answered(rig, partial(rig.deliver, request)).receipt
    expect(answered, "no receipt")
    grown = sum((rig.effects() - before).values())
    expect(grown == alone, f"the same request twice at once had {grown} effects, alone it has {alone}")


@case
def many_at_once(rig: Rig) -> None:
    contract = rig.contracts()[0]
    alone = _growth(rig, partial(rig.deliver, rig.ready(contract, 1)))
    requests = [rig.ready(contract, number) for number in range(2, 2 + _MANY)]
    before = rig.effects()
    _together(rig, requests)
    receipts = [until_answered(rig, partial(rig.deliver, request)).receipt for request in requests]
    expect(len(set(receipts)) == _MANY, "different records sent at once got the same receipt")
    grown = sum((rig.effects() - before).values())
    expect(grown == alone * _MANY, f"{_MANY} records at once had {grown} effects, one has {alone}")


@case
def lost_answer(rig: Rig) -> None:
    contract = rig.contracts()[0]
    rig.over_network()
    alone = _growth(rig, partial(rig.deliver, rig.ready(contract, 1)))
    request = rig.ready(contract, 2)
    before = rig.effects()
    with rig.playing("drop_after", times=1):
        error = rig.attempt(partial(rig.deliver, request))
        said = "a receipt" if error is None else type(error).__name__
        expect(isinstance(error, PartnerUnavailable), f"the answer was lost on the way and deliver gave {said}")
    until_answered(rig, partial(rig.deliver, request))
    grown = sum((rig.effects() - before).values())
    expect(grown == alone, f"with the answer lost and tried again it had {grown} effects, else it has {alone}")


@case
def reordering(rig: Rig) -> None:
    contracts = rig.contracts()
    if "referral_update" in contracts and "referral" in contracts:
        early = rig.sample("referral_update", 2)
        rig.attempt(partial(rig.deliver, early))  # before its referral: any clean answer will do
        rig.deliver(rig.sample("referral", 2))
        expect(rig.deliver(early).receipt, "a change that came too early is not taken later either")
    contract = contracts[0]
    newer, older = rig.ready(contract, 4), rig.ready(contract, 3)
    first = rig.deliver(newer)
    held = rig.effects()
    rig.deliver(older)
    expect(not rig.sees or rig.seen(held), "the older of two records that came in the wrong order is lost")
    expect(rig.deliver(newer).receipt == first.receipt, "a repeat after another record got another receipt")


@case
def drill_is_visible(rig: Rig) -> None:
    for contract in rig.contracts():
        request = rig.ready(contract, 1, drill=True)
        before = rig.effects()
        rig.deliver(request)
        new = rig.seen(before)
        marked = any("drill" in text.lower() or "演练" in text for text in new)
        expect(marked, f"{contract}: what the partner sees of a drill does not say that it is one")
        plain = rig.ready(contract, 2)
        before = rig.effects()
        rig.deliver(plain)
        true_case = [text for text in rig.seen(before) if "演练" in text]
        expect(not true_case, f"{contract}: what is no drill is shown as one")


@case
def recall(rig: Rig) -> None:
    if not rig.manifest.takes("recall"):
        given = frozenset[int]().union(*(rig.manifest.written_classes(each) for each in rig.contracts()))
        personal = given & samples.PERSONAL  # what is given of a person must be asked back when consent is withdrawn
        raise NotDeclared("does not declare recall") if personal else NotApplicable("is given nothing of a person")
    request = rig.ready("recall")
    before = rig.effects()
    receipt = rig.deliver(request).receipt
    held = rig.effects()
    expect(receipt, "a recall has no receipt; return the partner's own id for it")
    if rig.sees:
        new = "".join(rig.seen(before))
        expect(
            request.recall.name in new, "what the partner has of a recall does not name it, so it cannot be answered"
        )
    expect(rig.deliver(request).receipt == receipt, "a repeated recall got another receipt")
    expect(rig.effects() == held, "a repeated recall had a second effect")


@case
def exchange_twice(rig: Rig) -> None:
    rig.needs("exchange")
    package = samples.package()
    receipt = _receipt(rig, package)
    if receipt is None:
        fail(f"no counter-signed receipt within {_RECEIPT_WAIT_S:g} s; its simulator must sign one")
    _check_receipt(rig, package, receipt)
    held = rig.effects()
    again = _receipt(rig, package)
    expect(again == receipt, "the same package again brought another receipt")
    rig.open()
    expect(_receipt(rig, package) == receipt, "after a restart the same package brought another receipt")
    expect(rig.effects() == held, "the same package again had a second effect at the partner")


@case
def cancelled_task(rig: Rig) -> None:
    if not rig.manifest.takes("task"):
        raise NotApplicable("is given no task")
    given = rig.ready("task")
    receipt = rig.deliver(given).receipt
    held = rig.effects()
    request = DeliverRequest()
    request.CopyFrom(given)
    request.request_id = f"{given.request_id}-cancelled"
    request.task.task.state = TaskState.TASK_STATE_CANCELLED
    expect(rig.deliver(request).receipt, "that a task is cancelled has no receipt; return the partner's own id for it")
    after = rig.effects()
    if rig.sees:
        expect(after != held, "a task is cancelled, and what the partner has is as before")
    rig.deliver(request)
    expect(rig.effects() == after, "that a task is cancelled, said again, had a second effect")
    late = DeliverRequest()
    late.CopyFrom(given)
    late.attempt = 2
    expect(rig.deliver(late).receipt == receipt, "the task's first request, repeated later, got another receipt")
    expect(rig.effects() == after, "a repeat of its first request brings a cancelled task back")


def _receipt(rig: Rig, package: Package) -> SignedReceipt | None:
    until = time.monotonic() + _RECEIPT_WAIT_S
    while True:
        found = rig.handle.exchange(package, "conform-exchange-1")
        if found is not None or time.monotonic() > until:
            return found
        time.sleep(0.05)


def _check_receipt(rig: Rig, package: Package, signed: SignedReceipt) -> None:
    try:
        receipt = Receipt.FromString(signed.receipt)
    except DecodeError:
        fail("the receipt is not a Receipt")
    expect(receipt.accepted + len(receipt.refused) == 3, "the receipt does not count the package's three items")
    pem = rig.simulator.receipt_public_key_pem()
    if not pem:
        return
    key = load_pem_public_key(pem)
    assert isinstance(key, Ed25519PublicKey)
    try:
        key.verify(signed.signature, signed.receipt)
    except InvalidSignature:
        fail(f"the receipt of {package.name} is not signed by its partner")


def _growth(rig: Rig, work: Callable[[], object]) -> int:
    """How many effects one delivery has."""
    before = rig.effects()
    work()
    return sum((rig.effects() - before).values())


def _together(rig: Rig, requests: list[DeliverRequest]) -> None:
    """Deliver from as many threads; one that finds no free worker is tried again by the caller."""
    broken: list[Exception] = []

    def one(request: DeliverRequest) -> None:
        try:
            rig.deliver(request)
        except AdapterError:
            return
        except Exception as error:
            broken.append(error)

    threads = [threading.Thread(target=one, args=(request,)) for request in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in broken:
        raise error
