"""Two nodes on one PostgreSQL: whatever either is asked at the same moment happens once, and both see it."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import yaml

from xinqiao.api.casefile.v1 import casefile_service_pb2 as case_rpc
from xinqiao.api.referral.v1 import referral_pb2 as pb
from xinqiao.api.referral.v1 import referral_service_pb2 as rpc
from xinqiao.api.screening.v1 import screening_service_pb2 as scr
from xinqiao.contract.errors import Refusal
from xinqiao.journal.signing import load_signing_key, public_key_pem
from xinqiao.journal.verify import verify_database
from xinqiao.store import tables
from xinqiao.testing.gateway import TemporaryGateway
from xinqiao.testing.pytest_plugin import DATABASES

pytestmark = pytest.mark.skipif("postgresql" not in DATABASES, reason="several nodes need PostgreSQL")
ROUNDS = 6


@pytest.fixture
def nodes(make_town: Callable[..., Any]) -> Iterator[tuple[Any, list[Any]]]:
    """The town, and its two nodes: its own gateway and another one beside it. Nothing ticks but what the test calls."""
    with make_town("postgresql", listen=False) as town:
        settings = yaml.safe_load(town.gate.config.read_text("utf-8"))
        settings["node"] = "second"
        beside = town.gate.config.with_name("second.yaml")
        beside.write_text(yaml.safe_dump(settings, allow_unicode=True), "utf-8")
        other = TemporaryGateway(beside, host=town.recorder.kinds(town.gate.folder), clock=town.clock)
        other.start(listen=False, work=False)
        try:
            yield town, [town.gate, other]
        finally:
            other.stop()


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What calls give that begin at the same moment; a Refusal is an answer too."""
    ready = threading.Barrier(len(calls))

    def one(call: Callable[[], Any]) -> Any:
        ready.wait()
        try:
            return call()
        except Refusal as refusal:
            return f"{refusal.status}/{refusal.reason}"

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(60) for future in [pool.submit(one, call) for call in calls]]


def both(nodes: list[Any], act: Callable[[Any], Any], times: int = 1) -> list[Any]:
    return at_once(*(lambda node=node: act(node) for node in nodes for _ in range(times)))


def sound(town: Any) -> bool:
    pki = town.gate.folder / "pki"
    public = pki / "journal.pub.pem"
    public.write_bytes(public_key_pem(load_signing_key(pki / "journal.key")))
    town.gate.gateway.checkpointer.run_once()
    report = verify_database(town.gate.gateway.settings.store.url, public)
    assert report.findings == ()
    return len(report.sizes) > 1


def test_one_request_sent_to_both_nodes_is_done_once_and_answered_alike(nodes):
    town, gates = nodes
    for _ in range(ROUNDS):
        local = town.student()
        request = scr.SubmitAssessmentRequest(
            request_id=town.key(), instrument="PHQ-9", taken_on="2026-10-01", answers=bytes([2] * 9)
        )
        request.student.local_id = local
        answers = both(gates, lambda node, request=request: node.call_inside(town.SCHOOL, request), times=3)
        assert len({answer.assessment.name for answer in answers}) == 1
        assert len(town.rows(tables.assessments, student=town.inside_id(local))) == 1
    assert sound(town)


def test_a_delivery_goes_out_once_whichever_node_takes_it(nodes):
    town, gates = nodes
    names = []
    for _ in range(ROUNDS):
        local = town.student()
        town.consent(local)
        names.append(town.refer(local).referral.name)

    def work(node: Any) -> int:
        done = 0
        while any(node.gateway.delivery.deliver_one(lane, f"{node.gateway.store.node}/{lane}") for lane in (2, 1)):
            done += 1
        return done

    both(gates, work, times=2)
    sent = Counter(request.request_id for _, request in town.recorder.seen)
    assert set(sent.values()) == {1}
    packages = [r.referral.referral.name for _, r in town.recorder.seen if r.HasField("referral")]
    assert sorted(packages) == sorted(names)
    states = {row["state"] for row in town.rows(tables.referrals)}
    assert states == {int(pb.REFERRAL_STATE_RECEIVED)}
    assert sound(town)


def test_an_overdue_step_escalates_once(nodes):
    town, gates = nodes
    names = []
    for _ in range(ROUNDS):
        request = scr.ReportSignalRequest(source=2, kind=1, facts="facts")
        request.student.local_id = town.student()
        names.append(town.call(town.PSYCH, request).signal.name)
    town.clock.advance(timedelta(minutes=31))
    both(gates, lambda node: node.gateway.ladder.climb(), times=2)
    for name in names:
        assert len(town.journal(kind="escalated", resource=name)) == 1
    assert sound(town)


def test_rivals_for_one_referral_leave_one_winner_and_one_holder(nodes):
    town, gates = nodes
    for _ in range(ROUNDS):
        local = town.student()
        town.consent(local)
        name = town.refer(local).referral.name
        town.deliver_all()

        def accept(node: Any, name: str = name) -> Any:
            return node.call_inside(
                town.HOSPITAL,
                rpc.AdvanceReferralRequest(request_id=town.key(), name=name, event=pb.REFERRAL_EVENT_ACCEPT),
            )

        answers = both(gates, accept, times=2)
        assert sum(not isinstance(answer, str) for answer in answers) == 1
        assert len(town.rows(tables.holdings, item=name)) == 1
    assert sound(town)


def test_a_withdrawal_at_one_node_stops_what_the_other_is_about_to_send(nodes):
    """Whoever commits first wins; what goes after the withdrawal's commit is nothing."""
    town, gates = nodes
    for _ in range(ROUNDS):
        town.recorder.seen.clear()
        local = town.student()
        consent = town.consent(local).name
        name = town.refer(local).referral.name
        withdraw = case_rpc.WithdrawConsentRequest(request_id=town.key(), name=consent)
        gone, _ = at_once(
            lambda withdraw=withdraw: gates[0].call_inside(town.PSYCH, withdraw),
            lambda: gates[1].gateway.delivery.deliver_one(1, "second/1"),
        )
        sent = [r for _, r in town.recorder.seen if r.HasField("referral")]
        assert len(sent) + gone.cancelled_deliveries == 1, name
    assert sound(town)


def test_the_same_roster_row_and_the_same_student_at_both_nodes_is_one_student(nodes):
    town, gates = nodes
    for number in range(ROUNDS):
        request = case_rpc.RegisterStudentsRequest()
        request.students.add(
            local_id=f"twin{number}",
            birth_date="2011-05-04",
            school="3205830001",
            family_name="欧阳",
            given_name="明",
            sex=1,
        )

        def register(node: Any, request: Any = request) -> Any:
            mine = case_rpc.RegisterStudentsRequest()
            mine.CopyFrom(request)
            mine.request_id = town.key()
            return node.call_inside(town.SCHOOL, mine)

        answers = both(gates, register, times=2)
        assert len({answer.names[0] for answer in answers}) == 1
    assert sound(town)


def test_a_key_made_at_one_node_opens_at_the_other(nodes):
    town, gates = nodes
    local = town.student()
    town.submit(local)
    for gate in gates:
        request = scr.ListAssessmentsRequest()
        request.student.local_id = local
        (listed,) = gate.call_inside(town.PSYCH, request).assessments
        assert listed.instrument == "PHQ-9"
