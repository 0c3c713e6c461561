"""What a withdrawal sets in motion: nothing new starts, and whoever was given something answers for it, signed."""

import copy
import random
import time
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from xinqiao.adapters.errors import PartnerUnavailable
from xinqiao.api.casefile.v1 import casefile_pb2 as case
from xinqiao.api.casefile.v1 import casefile_service_pb2 as case_rpc
from xinqiao.api.casefile.v1 import consent_pb2 as pb
from xinqiao.api.casefile.v1 import consent_service_pb2 as rpc
from xinqiao.api.common.v1 import types_pb2
from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao.contract.fields import mask_of
from xinqiao.contract.recall import sign_receipt
from xinqiao.journal.signing import public_key_pem
from xinqiao.store import tables
from xinqiao.store.claims import DeliveryState
from xinqiao.testing.pytest_plugin import DATABASES

KEY = Ed25519PrivateKey.generate()
DAY_US = 86_400_000_000


@pytest.fixture
def town(fresh_town):
    """With the hospital's key pinned."""
    room = fresh_town.gate.gateway.pipeline.rooms["xinqiao.api.casefile.v1.ConsentService"]
    room._recalls._keys[fresh_town.HOSPITAL] = public_key_pem(KEY)
    return fresh_town


def withdrawn(town, *, deliver=True):
    """A student whose referral the hospital has, and then the family takes the consent back."""
    local = town.student()
    consent = town.consent(local)
    referral = town.refer(local).referral
    if deliver:
        town.deliver_all()
    answer = town.call(town.PSYCH, case_rpc.WithdrawConsentRequest(name=consent.name))
    return local, consent, referral, answer


def receipt(recall, key=KEY, **words):
    return sign_receipt(pb.RecallReceipt(**{"recall": recall, "action": pb.RECALL_ACTION_DELETED, **words}), key)


def progress(town, consent):
    return town.call(town.PSYCH, rpc.GetWithdrawalRequest(name=consent.name))


def test_whoever_has_something_is_asked_to_delete_it_and_the_family_sees_how_far_it_is(town):
    _, consent, referral, answer = withdrawn(town)
    (name,) = answer.recalls
    (held,) = town.rows(tables.holdings, item=name)
    assert (held["holder"], held["step"], held["deadline_us"]) == (
        town.HOSPITAL, "recall", town.clock.now_us() + 15 * DAY_US
    )  # fmt: skip
    town.deliver_all()
    agency, request = town.recorder.seen[-1]
    assert (agency, request.recall.name, list(request.recall.items)) == (town.HOSPITAL, name, [referral.name])
    assert 8 in request.recall.classes
    assert request.recall.student == town.recorder.seen[0][1].referral.student.name
    found = progress(town, consent)
    assert (found.recalls[0].state, found.done) == (pb.RECALL_STATE_DELIVERED, False)
    town.call(town.HOSPITAL, rpc.ConfirmRecallRequest(name=name, receipt=receipt(name)))
    found = progress(town, consent)
    assert (found.recalls[0].state, found.recalls[0].action, found.done) == (
        pb.RECALL_STATE_CONFIRMED, pb.RECALL_ACTION_DELETED, True
    )  # fmt: skip
    assert found.recalls[0].receipt == receipt(name)
    assert found.effective_us
    assert town.rows(tables.holdings, item=name) == []
    kinds = [row["kind"] for row in town.journal(resource=name)]
    assert kinds == ["recall.opened", "recall.confirmed"]


@pytest.mark.parametrize(
    ("made", "answer"),
    [
        (lambda name: receipt(name, Ed25519PrivateKey.generate()), "RECEIPT_SIGNATURE"),
        (lambda name: receipt("recalls/another"), "RECEIPT_RECALL"),
        (lambda name: receipt(name, action=0), "RECEIPT_MALFORMED"),
        (lambda name: receipt(name, action=pb.RECALL_ACTION_KEPT_BY_LAW), "CITATION_REQUIRED"),
        (lambda name: pb.SignedRecallReceipt(receipt=b"\xff", signature=bytes(64)), "RECEIPT_SIGNATURE"),
    ],
)
def test_an_answer_that_proves_nothing_leaves_the_recall_open(town, made, answer):
    name = withdrawn(town)[3].recalls[0]
    request = rpc.ConfirmRecallRequest(name=name, receipt=made(name))
    assert town.refusal(town.HOSPITAL, request) == f"FAILED_PRECONDITION/{answer}"
    assert len(town.rows(tables.holdings, item=name)) == 1


def test_an_answer_comes_once_and_its_repeat_changes_nothing(town):
    name = withdrawn(town)[3].recalls[0]
    kept = receipt(name, action=pb.RECALL_ACTION_KEPT_BY_LAW, citation="some law")
    first = town.call(town.HOSPITAL, rpc.ConfirmRecallRequest(name=name, receipt=kept))
    assert town.call(town.HOSPITAL, rpc.ConfirmRecallRequest(name=name, receipt=kept)) == first
    other = rpc.ConfirmRecallRequest(name=name, receipt=receipt(name))
    assert town.refusal(town.HOSPITAL, other) == "FAILED_PRECONDITION/STATE"


def test_a_foreign_recall_does_not_exist(town):
    name = withdrawn(town)[3].recalls[0]
    for asked in (name, "recalls/" + "0" * 32):
        request = rpc.ConfirmRecallRequest(name=asked, receipt=receipt(asked))
        assert town.refusal("other-hospital", request) == "NOT_FOUND/RECALL"
        closing = rpc.CloseRecallRequest(name=asked, action=1, how="letter")
        assert town.refusal("psych-li", closing) == "NOT_FOUND/RECALL"
    assert len(town.call(town.HOSPITAL, rpc.ListRecallsRequest()).recalls) == 1
    assert len(town.call("other-hospital", rpc.ListRecallsRequest()).recalls) == 0


def test_what_never_left_is_cancelled_and_nobody_is_asked(town):
    _, consent, _, answer = withdrawn(town, deliver=False)
    assert (answer.cancelled_deliveries, list(answer.recalls)) == (1, [])
    assert progress(town, consent).done
    town.deliver_all()
    assert town.recorder.seen == []


def test_what_was_tried_may_have_arrived(town):
    local = town.student()
    consent = town.consent(local)
    town.refer(local)
    town.recorder.down = True
    town.deliver()
    answer = town.call(town.PSYCH, case_rpc.WithdrawConsentRequest(name=consent.name))
    assert (answer.cancelled_deliveries, len(answer.recalls)) == (1, 1)


def test_a_recipient_that_cannot_be_told_by_a_machine_is_asked_by_a_person(town):
    local = town.student()
    consent = town.consent(local, recipient="other-hospital")
    name = town.refer(local, recipient="other-hospital").referral.name
    recall = town.call(town.PSYCH, case_rpc.WithdrawConsentRequest(name=consent.name)).recalls[0]
    (held,) = town.rows(tables.holdings, item=recall)
    assert held["holder"] == town.PSYCH
    town.call(town.PSYCH, rpc.CloseRecallRequest(name=recall, action=1, how="letter no. 17"))
    found = progress(town, consent).recalls[0]
    assert (found.state, found.how) == (pb.RECALL_STATE_CLOSED, "letter no. 17")
    again = rpc.CloseRecallRequest(name=recall, action=1, how="again")
    assert town.refusal(town.PSYCH, again) == "FAILED_PRECONDITION/STATE"
    assert name


def test_a_recall_that_nobody_answers_climbs_the_ladder(town):
    name = withdrawn(town)[3].recalls[0]
    town.clock.advance(timedelta(days=15, seconds=1))
    town.gate.gateway.ladder.climb()
    (held,) = town.rows(tables.holdings, item=name)
    assert (held["holder"], held["escalations"]) == (town.PSYCH, 1)


def test_a_withdrawal_says_nothing_of_what_the_law_demands(town):
    local = town.student(guardians=[{"full_name": "母亲"}])
    consent = town.consent(local)
    town.refer(local, basis="life-safety", crisis_facts="CANARY", urgency=ref.URGENCY_EMERGENCY)
    town.deliver_all()
    before = len(town.recorder.seen)
    answer = town.call(town.PSYCH, case_rpc.WithdrawConsentRequest(name=consent.name))
    assert list(answer.recalls) == []  # given under a law, not under the consent
    assert len(town.rows(tables.duties, state=case.DUTY_STATE_OPEN)) == 2
    assert b"CANARY" not in progress(town, consent).SerializeToString()
    assert before == 1


def test_what_the_gateway_cited_by_itself_is_not_sent_once_somebody_has_said_no(town):
    local = town.student()
    made = town.refer(local, urgency=ref.URGENCY_EMERGENCY, crisis_facts="on the roof").referral
    assert made.basis_by_gateway
    town.consent(local, state=case.CONSENT_STATE_REFUSED)
    town.deliver_all()
    assert town.recorder.seen == []
    (row,) = town.rows(tables.deliveries, kind="referral")
    assert (row["state"], row["last_reason"]) == (DeliveryState.CANCELLED, "REFUSED")
    assert len(town.rows(tables.holdings, item=made.name)) == 1  # a person goes on


def test_what_a_person_cited_is_sent_over_a_refusal(town):
    local = town.student()
    town.refer(local, urgency=ref.URGENCY_EMERGENCY, crisis_facts="on the roof", basis="life-safety")
    town.consent(local, state=case.CONSENT_STATE_REFUSED)
    town.deliver_all()
    assert [request.WhichOneof("body") for _, request in town.recorder.seen] == ["referral"]


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.soak)])
def test_in_every_order_of_sending_and_withdrawing_nothing_starts_after_the_commit(town, count):
    """Each student is sent once and withdrawn once, in every order that chance brings: before the claim, between claim
    and send, between two tries, after. Whatever may have arrived is recalled, and nothing else."""
    luck, arrived, late = random.Random(8), set[str](), list[str]()
    consents: dict[str, str] = {}
    gone: set[str] = set()

    def withdraw(name):
        if name not in gone:
            town.call(town.PSYCH, case_rpc.WithdrawConsentRequest(name=consents[name]))
            gone.add(name)

    def before(request):
        name = request.referral.referral.name
        if not name:
            return
        if name in gone:
            late.append(name)
        arrived.add(name)
        if luck.random() < 0.2:
            withdraw(name)  # between the claim and the first byte
        if luck.random() < 0.1:
            raise PartnerUnavailable("it may have arrived, and nobody knows")

    town.recorder.before = before
    for start in range(0, count, 100):
        consents.update(queued(town, range(start, start + 100)))
        left = [name for name in consents if name not in gone]
        luck.shuffle(left)
        for step in luck.sample([True, False] * 100, 200):
            if step:
                town.deliver()
            else:
                withdraw(left.pop())
        town.clock.advance(timedelta(hours=1))
        town.gate.gateway.checkpointer.run_once()  # unsigned for hours, routine records would stay
        town.deliver_all()
    assert late == []
    assert len(gone) == count
    tried = {str(row["item"]) for row in town.rows(tables.deliveries, kind="referral") if row["attempt"]}
    assert arrived <= tried
    assert {str(row["cause"]) for row in town.rows(tables.recalls)} == {consents[name] for name in tried}
    assert 0.2 * count < len(arrived) < 0.9 * count  # both ways were gone


def queued(town, numbers):
    """Students with a consent and a referral in the hospital's queue; the referral's name -> the consent's."""
    door, school = town.gate.gateway.door, town.gate.gateway.registry.find(town.SCHOOL)
    hospital = town.gate.gateway.registry.find(town.HOSPITAL)
    students = [
        types_pb2.Student(local_id=f"w{n}", birth_date="2011-05-04", school="3205830001", family_name="x")
        for n in numbers
    ]

    def make(tx):
        made = {}
        for n, known in zip(numbers, door.students.register_all(tx, school, students), strict=True):
            consent = case.Consent(recipient=hospital.id, purpose=2, classes=[2, 3, 6, 8, 14], signer=1, state=1)
            sealed = door.keys.sealer(known.id).seal(consent.SerializeToString(), table="consents", key=f"c{n}")
            tx.insert(
                tables.consents, f"c{n}", known.id, hospital.id, 2, mask_of(list(consent.classes)), 1, tx.now_us,
                tx.now_us + 30 * DAY_US, tx.now_us, tx.now_us, 1, sealed,
            )  # fmt: skip
            package = ref.ReferralPackage(referral=ref.Referral(name=f"referrals/r{n}", reason="why", tier=2))
            package.student.name = door.students.name(hospital.id, known.id)
            package.student.family_name = "x"
            door.release(
                tx, package, recipient=hospital, purpose=2, student=known.id, relation="PARTY", kind="referral",
                item=f"referrals/r{n}", actor=town.PSYCH, key=f"referrals.r{n}.v1",
            )  # fmt: skip
            made[f"referrals/r{n}"] = f"consents/c{n}"
        return made

    return town.gate.gateway.store.run(make)


def test_a_family_takes_its_consent_back_itself_and_follows_what_becomes_of_it(make_town):
    def portal(settings):
        settings["partners"]["family-portal"] = {
            **copy.deepcopy(settings["partners"]["family"]), "spiffe": "spiffe://xinqiao.example/partner/family-portal",
            "agency": "kunshan-no1-middle", "schools": ["3205830001"],
        }  # fmt: skip

    with make_town(listen=False, change=portal) as town:
        local = town.student(guardians=[{"full_name": "母亲"}])
        kept = town.consent(local, as_="family-portal")
        assert (kept.recipient, kept.evidence.guardian_name) == (town.HOSPITAL, "母亲")
        town.refer(local)
        town.deliver_all()
        answer = town.call("family-portal", case_rpc.WithdrawConsentRequest(name=kept.name))
        assert (answer.consent.state, len(answer.recalls)) == (case.CONSENT_STATE_WITHDRAWN, 1)
        found = town.call("family-portal", rpc.GetWithdrawalRequest(name=kept.name))
        assert (found.consent.recipient, found.recalls[0].recipient, found.done) == (town.HOSPITAL,) * 2 + (False,)
        town.consent(local, as_="family-portal")  # who comes by itself is not asked


@pytest.mark.parametrize("kind", DATABASES)
def test_withdrawing_while_workers_send_leaves_nothing_that_arrived_without_a_recall(make_town, kind):
    """The same on the clock of the wall, with the workers' threads, on each database."""
    luck, arrived = random.Random(4), set[str]()
    with make_town(kind, listen=False, work=True) as town:
        town.recorder.before = lambda request: arrived.add(request.referral.referral.name)
        consents = {}
        for n in range(40):
            made = queued(town, range(n, n + 1))
            consents.update(made)
            door = town.gate.gateway.door
            door.enqueued(1)
            time.sleep(luck.random() * 0.01)
            for name in made.values():
                town.call(town.PSYCH, case_rpc.WithdrawConsentRequest(name=name))
        deadline = time.monotonic() + 30
        busy = (DeliveryState.PENDING, DeliveryState.RUNNING)
        while time.monotonic() < deadline and any(row["state"] in busy for row in town.rows(tables.deliveries)):
            town.clock.advance(
                timedelta(seconds=5)
            )  # whoever found all of the adapter's threads busy tries again later
            time.sleep(0.05)
        arrived.discard("")  # recalls
        recalled = {str(row["cause"]) for row in town.rows(tables.recalls)}
        assert {consents[name] for name in arrived} <= recalled
        assert town.rows(tables.deliveries, state=int(DeliveryState.PENDING)) == []
        assert arrived
