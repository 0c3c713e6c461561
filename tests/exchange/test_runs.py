"""Runs end to end: totals, what leaves, disagreement, repeats, rivals."""

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.exchange.conftest import EXCHANGE, GATEWAY_KEY, HOSPITAL, PERIOD, SCHOOL, Books, at, definition, student_of

from xinqiao.adapters.errors import PartnerRefused
from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.exchange.v1 import exchange_pb2 as pb
from xinqiao.api.exchange.v1 import exchange_service_pb2 as rpc
from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao.contract.errors import Refusal
from xinqiao.contract.methods import methods
from xinqiao.contract.workdays import WorkCalendar
from xinqiao.disclosure.call import Call
from xinqiao.exchange.service import Exchanges
from xinqiao.journal.append import append
from xinqiao.journal.checkpoint import Checkpointer, latest
from xinqiao.store import tables
from xinqiao.store.sql import select

SENT, WITHHELD = pb.ITEM_OUTCOME_SENT, pb.ITEM_OUTCOME_WITHHELD
REFUSED, FAILED = pb.ITEM_OUTCOME_REFUSED, pb.ITEM_OUTCOME_FAILED


def sums_up(run: pb.ExchangeRun) -> bool:
    return run.selected == run.sent + run.withheld + run.refused + run.failed + run.withdrawn


def own_only_policy(folder: Path) -> Path:
    """The school may have case references of its own students only, and of no others."""
    path = folder / "disclosure.yaml"
    path.write_text(
        'version: "t"\n'
        "grants:\n"
        "  - {id: books, roles: [SCHOOL_PLATFORM, HOSPITAL], purposes: [RECONCILIATION], relation: [OWN, PARTY, NONE],"
        " classes: [AGGREGATE], needs: none}\n"
        "  - {id: own, roles: [SCHOOL_PLATFORM], purposes: [RECONCILIATION], relation: OWN,"
        " classes: [CASE_REF], needs: none}\n",
        encoding="utf-8",
    )
    return path


def test_totals_reconcile_with_withheld_refused_and_failed_items(books: Books) -> None:
    books.policy, books.definition = own_only_policy(books.folder), definition(SCHOOL)
    books.refer_many("a", "b", "c")
    books.refer("d", (at(2026, 9, 1), 1, 2), school="moved-away")
    books.store.keys.shred(student_of("b"))
    books.desk.refuse = [(1, "NO_SUCH_CASE")]  # the second in the package, the fourth in the period
    (run,) = books.run()
    assert run.state == pb.RUN_STATE_RECONCILED
    assert (run.selected, run.sent, run.withheld, run.refused, run.failed) == (4, 1, 1, 1, 1)
    assert books.items() == [
        ("referrals/d", WITHHELD, "NOT_IN_POLICY"),
        ("referrals/a", SENT, ""),
        ("referrals/b", FAILED, "KEY_GONE"),
        ("referrals/c", REFUSED, "NO_SUCH_CASE"),
    ]
    assert (run.manifest.items, run.manifest.selected, run.receipt.accepted) == (2, 4, 1)


def test_only_what_the_door_permits_leaves(books: Books) -> None:
    books.refer("a", (at(2026, 9, 10), 1, 2), (at(2026, 9, 20), 10, 11), outcome=True)
    books.run()
    (item,) = books.desk.only()
    assert item.referral.name == "referrals/a"
    assert item.referral.student.startswith("students/")
    assert student_of("a") not in item.referral.student
    assert (item.referral.reason, item.referral.note, item.referral.outcome.diagnosis) == ("", "", "")


def test_each_party_gets_its_own_package_under_its_own_pseudonym(books: Books) -> None:
    books.definition = definition(HOSPITAL, SCHOOL)
    books.refer("a", (at(2026, 9, 10), 1, 2), (at(2026, 9, 20), 10, 11), outcome=True)
    assert [run.partner for run in books.run()] == [HOSPITAL, SCHOOL]
    names = {books.desk.items(request)[0].referral.student for request in books.desk.taken}
    advice = {a: books.desk.items(r)[0].referral.outcome.school_advice for a, r in books.desk.calls}
    assert len(names) == 2
    assert advice == {HOSPITAL: "", SCHOOL: "每周随访"}


def test_every_sent_item_has_its_disclosure_row_before_the_first_byte_leaves(books: Books) -> None:
    books.refer_many("a", "b")
    seen: list[int] = []
    books.desk.before = lambda: seen.append(books.journal("released"))
    books.run()
    assert seen == [2]
    with books.store.read() as tx:
        row = tx.one(select(tables.journal).where(tables.journal.c.resource == "referrals/a"))
    assert row is not None
    assert (row["partner"], row["reason"]) == (HOSPITAL, f"exchange:{EXCHANGE}:{PERIOD}")
    assert row["classes"] >> options.FIELD_CLASS_CASE_REF & 1
    assert row["purpose"] == options.PURPOSE_RECONCILIATION


def test_a_withheld_item_has_its_denial_row(books: Books) -> None:
    books.policy = own_only_policy(books.folder)
    books.refer_many("a")
    (run,) = books.run()
    assert (run.state, run.withheld, run.sent) == (pb.RUN_STATE_RECONCILED, 1, 0)
    assert (books.journal("refused"), books.journal("released")) == (1, 0)


def test_a_month_without_items_sends_a_nil_package(books: Books) -> None:
    (run,) = books.run()
    assert (run.state, run.selected, run.manifest.items) == (pb.RUN_STATE_RECONCILED, 0, 0)
    assert len(books.desk.taken) == 1


def test_no_nil_package_is_sent_where_none_is_wanted(books: Books) -> None:
    books.definition = definition(nil_report=False)
    (run,) = books.run()
    assert run.state == pb.RUN_STATE_ABANDONED
    assert not books.desk.calls
    assert books.holding() is None


def test_the_manifest_carries_the_newest_checkpoint_and_the_receipt_echoes_it(books: Books) -> None:
    books.definition = definition(HOSPITAL)
    books.refer_many("a")
    books.exchanges().run(EXCHANGE, "2026-08", actor="admin")
    Checkpointer(books.store, GATEWAY_KEY, "kunshan").run_once()
    (run,) = books.run()
    assert run.manifest.checkpoint.startswith("xinqiao/kunshan/")
    assert run.receipt.checkpoint == run.manifest.checkpoint


def test_the_manifest_carries_the_head_of_every_chain_and_the_partner_becomes_a_witness(books: Books) -> None:
    books.definition = definition(HOSPITAL)
    books.refer_many("a")
    books.wait(minutes=1)
    with books.store.read() as tx:
        notes = set(latest(tx).values())
    (run,) = books.run()
    assert set(run.manifest.checkpoints) == notes
    assert run.receipt.checkpoints == run.manifest.checkpoints
    with books.store.read() as tx:
        assert {row["note"] for row in tx.all(tables.witnesses.select())} == notes


def test_a_partner_that_echoes_only_the_one_checkpoint_it_knows_still_settles(books: Books) -> None:
    books.definition = definition(HOSPITAL)
    books.refer_many("a")
    books.wait(minutes=1)
    books.desk.mend = lambda receipt: receipt.ClearField("checkpoints")
    (run,) = books.run()
    assert run.state == pb.RUN_STATE_RECONCILED


def test_no_package_leaves_while_the_journal_is_unsigned_and_it_leaves_afterwards(books: Books) -> None:
    books.definition = definition(HOSPITAL)
    books.refer_many("a")
    books.store.run(lambda tx: append(tx, kind="TEST", decision="", actor="admin"))
    books.clock.advance(timedelta(hours=4, minutes=1))
    (run,) = books.run()
    holding = books.holding()
    assert (run.state, books.desk.calls) == (pb.RUN_STATE_INCOMPLETE, [])
    assert holding is not None
    assert holding[:2] == ("admin", "journal_unsigned")
    books.wait(minutes=1)
    (run,) = books.run()
    assert run.state == pb.RUN_STATE_RECONCILED
    assert books.holding() is None


def test_running_again_changes_nothing(books: Books) -> None:
    books.refer_many("a", "b")
    first = books.run()
    rows, calls = books.journal(), len(books.desk.calls)
    assert books.run() == first
    assert (books.journal(), len(books.desk.calls)) == (rows, calls)


def test_a_referral_that_changed_again_later_stays_in_its_month_as_it_was(books: Books) -> None:
    books.refer("old", (at(2026, 8, 1), 1, 2))
    books.refer("then-and-later", (at(2026, 9, 10), 1, 2), (at(2026, 10, 5), 10, 11), outcome=True)
    books.refer("only-later", (at(2026, 8, 10), 1, 2), (at(2026, 10, 5), 3, 4))
    books.refer("next", (at(2026, 10, 1, 0), 1, 2))
    books.run()
    (item,) = books.desk.only()
    assert (item.referral.name, item.referral.state) == ("referrals/then-and-later", 2)
    assert len(item.referral.history) == 1
    assert not item.referral.HasField("outcome")


def test_an_outcome_that_was_corrected_later_is_settled_as_it_was(books: Books) -> None:
    books.definition = definition(SCHOOL)
    told = (int(ref.REFERRAL_EVENT_REPORT_OUTCOME), int(ref.REFERRAL_STATE_OUTCOME_REPORTED))
    first, later = (at(2026, 9, 20), *told), (at(2026, 10, 5), *told)
    books.refer("a", (at(2026, 9, 10), 1, 2), first, later, outcome=True, earlier="休息一周")
    books.refer("b", (at(2026, 9, 10), 1, 2), first, (at(2026, 9, 25), *told), outcome=True, earlier="休息一周")
    books.run()
    (request,) = books.desk.taken
    shown = [item.referral for item in books.desk.items(request)]
    assert [each.outcome.school_advice for each in shown] == ["休息一周", "每周随访"]
    assert not any(each.earlier_outcomes for each in shown)


def test_more_items_than_a_page_all_go_once_and_in_order(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("items", "building"):
        monkeypatch.setattr(f"xinqiao.exchange.{module}.PAGE", 2)
    books.refer_many("a", "b", "c", "d", "e")
    books.store.keys.shred(student_of("b"))
    (run,) = books.run()
    assert (run.selected, run.sent, run.failed) == (5, 4, 1)
    assert [(item.ordinal, item.referral.name[-1]) for item in books.desk.only()] == list(enumerate("acde"))


@pytest.mark.parametrize(
    ("reason", "script"),
    [
        ("RECEIPT_SIGNATURE", {"wrong_key": True}),
        ("RECEIPT_COUNT", {"mend": lambda receipt: setattr(receipt, "accepted", 1)}),
        ("RECEIPT_MANIFEST", {"mend": lambda receipt: setattr(receipt, "manifest_sha256", bytes(32))}),
        ("RECEIPT_CHECKPOINT", {"mend": lambda receipt: setattr(receipt, "checkpoint", "another")}),
        ("RECEIPT_CHECKPOINT", {"mend": lambda receipt: receipt.checkpoints.append("another")}),
        ("RECEIPT_ITEMS", {"refuse": [(7, "X")]}),
        ("RECEIPT_ITEMS", {"refuse": [(0, "X"), (0, "X")]}),
    ],
)
def test_a_receipt_that_does_not_agree_gives_the_run_to_the_operator(
    books: Books, reason: str, script: dict[str, Any]
) -> None:
    books.refer_many("a", "b")
    for name, value in script.items():
        setattr(books.desk, name, value)
    (run,) = books.run()
    assert run.state == pb.RUN_STATE_INCOMPLETE
    assert sums_up(run)
    holding = books.holding()
    assert holding is not None
    assert holding[:2] == ("admin", reason.lower())
    assert holding[2] > books.clock.now_us()
    rows = books.journal()
    (again,) = books.run()
    assert (again.state, books.journal()) == (pb.RUN_STATE_INCOMPLETE, rows)


def test_a_forged_receipt_is_never_shown_as_the_partners(books: Books) -> None:
    books.desk.wrong_key = True
    (run,) = books.run()
    assert not run.HasField("receipt")
    assert books.rows()[0]["receipt"], "kept as evidence"


def test_free_text_in_a_partners_reason_is_not_kept(books: Books) -> None:
    books.refer_many("a")
    books.desk.refuse = [(0, "张三 does not exist")]
    books.run()
    assert books.items() == [("referrals/a", REFUSED, "OTHER")]


def test_a_run_waits_for_its_receipt_with_the_partner_as_holder(books: Books) -> None:
    books.refer_many("a")
    books.desk.waiting = True
    (run,) = books.run()
    assert run.state == pb.RUN_STATE_AWAIT_RECEIPT
    assert books.holding() == (HOSPITAL, "await_receipt", run.deadline_us)
    rows = books.journal()
    assert books.exchanges().collect() == []
    assert books.journal() == rows
    books.desk.waiting = False
    assert [run.state for run in books.exchanges().collect()] == [pb.RUN_STATE_RECONCILED]
    assert books.holding() is None
    assert len(books.desk.taken) == 1


def test_a_receipt_that_misses_its_deadline_is_the_operators_and_still_settles_later(books: Books) -> None:
    books.refer_many("a")
    books.desk.waiting = True
    (run,) = books.run()
    books.wait(days=10)
    assert books.clock.now_us() >= run.deadline_us
    assert [run.state for run in books.exchanges().collect()] == [pb.RUN_STATE_INCOMPLETE]
    holding, rows = books.holding(), books.journal()
    assert holding is not None
    assert holding[:2] == ("admin", "receipt_overdue")
    assert books.exchanges().collect() == []
    assert books.journal() == rows
    books.desk.waiting = False
    assert [run.state for run in books.exchanges().collect()] == [pb.RUN_STATE_RECONCILED]
    assert books.journal("released") == 1


def test_a_partner_that_is_down_is_asked_again_with_the_same_request(books: Books) -> None:
    books.refer_many("a")
    books.desk.down = True
    assert books.run()[0].state == pb.RUN_STATE_SENDING
    books.desk.down = False
    assert books.run()[0].state == pb.RUN_STATE_RECONCILED
    assert books.journal("released") == 1


def test_a_partner_that_says_no_leaves_the_run_to_a_person(books: Books) -> None:
    def no() -> None:
        raise PartnerRefused("PARTNER/FORBIDDEN", "no")

    books.desk.before = no
    (run,) = books.run()
    holding = books.holding()
    assert run.state == pb.RUN_STATE_INCOMPLETE
    assert holding is not None
    assert holding[:2] == ("admin", "partner_refused")
    assert books.exchanges().collect() == []
    assert books.exchanges().due(books.clock.now_us()) == []
    books.desk.before = lambda: None
    assert books.run()[0].state == pb.RUN_STATE_RECONCILED


def test_one_partners_fault_does_not_keep_the_other_waiting(books: Books) -> None:
    books.definition = definition(HOSPITAL, SCHOOL)

    def fail_for_the_first() -> None:
        if not books.desk.calls and not books.desk.taken:
            books.desk.before = lambda: None
            raise RuntimeError("a fault")

    books.desk.before = fail_for_the_first
    with pytest.raises(RuntimeError, match="a fault"):
        books.run()
    assert [row["state"] for row in books.rows()] == [pb.RUN_STATE_SENDING, pb.RUN_STATE_RECONCILED]


def test_what_may_no_longer_go_is_never_sent_again_but_revised(books: Books) -> None:
    books.refer_many("a", "b")
    books.desk.waiting = True
    books.run()
    books.store.keys.shred(student_of("b"))
    books.wait(seconds=10)
    books.desk.waiting = False
    (run,) = books.run()
    assert (run.revision, run.state, run.sent, run.withdrawn) == (1, pb.RUN_STATE_RECONCILED, 1, 1)
    old, new = books.rows()
    assert old["state"] == pb.RUN_STATE_ABANDONED
    assert [request for _, request in books.desk.calls] == [f"exchange-{old['id']}", f"exchange-{new['id']}"]
    assert books.holding() is None


def test_a_later_change_of_a_referral_does_not_alter_what_is_sent_again(books: Books) -> None:
    books.refer("a", (at(2026, 9, 10), 1, 2))
    books.desk.waiting = True
    books.run()
    books.refer("a", (at(2026, 9, 10), 1, 2), (at(2026, 10, 13), 10, 11), outcome=True)
    books.desk.waiting = False
    (run,) = books.run()
    assert (run.revision, run.state) == (0, pb.RUN_STATE_RECONCILED)
    assert len(books.desk.taken) == 1


def test_nothing_goes_to_a_partner_without_an_agreement(books: Books) -> None:
    books.refer_many("a")
    books.hospital_until_us = books.clock.now_us()
    (run,) = books.run()
    assert (run.state, run.withheld) == (pb.RUN_STATE_INCOMPLETE, 1)
    assert sums_up(run)
    assert not books.desk.calls
    books.hospital_until_us = 2**60
    (run,) = books.run()
    assert (run.revision, run.state, run.sent) == (1, pb.RUN_STATE_RECONCILED, 1)


def test_two_rivals_make_one_run(books: Books) -> None:
    books.refer_many("a", "b", "c")
    outcomes: list[str] = []
    gate = threading.Barrier(2)

    def rival() -> None:
        exchanges = books.exchanges()
        gate.wait()
        try:
            outcomes.append(str(exchanges.run(EXCHANGE, PERIOD, actor="admin")[0].state))
        except Refusal as refusal:
            outcomes.append(refusal.reason)

    threads = [threading.Thread(target=rival) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert str(pb.RUN_STATE_RECONCILED) in outcomes
    assert set(outcomes) <= {str(pb.RUN_STATE_RECONCILED), "RUNNING"}
    assert len(books.rows()) == 1
    assert len(books.desk.calls) == 1
    assert books.journal("released") == 3


def test_a_rival_is_told_that_it_runs_already(books: Books) -> None:
    reasons: list[str] = []

    def rival() -> None:
        books.desk.before = lambda: None
        with pytest.raises(Refusal) as caught:
            books.run()
        reasons.append(caught.value.reason)

    books.desk.before = rival
    assert books.run()[0].state == pb.RUN_STATE_RECONCILED
    assert reasons == ["RUNNING"]
    assert len(books.desk.calls) == 1


@pytest.mark.parametrize(
    ("exchange", "period", "reason"),
    [("none", PERIOD, "EXCHANGE"), (EXCHANGE, "2026-10", "PERIOD"), (EXCHANGE, "2027-01", "PERIOD"),
     (EXCHANGE, "soon", "PERIOD")],
)  # fmt: skip
def test_a_run_that_cannot_be_is_refused_and_leaves_nothing(
    books: Books, exchange: str, period: str, reason: str
) -> None:
    with pytest.raises(Refusal) as caught:
        books.exchanges().run(exchange, period, actor="admin")
    assert caught.value.reason == reason
    assert books.rows() == []
    assert books.journal() == 0


def test_due_periods_come_oldest_first_and_say_when_they_are_late(books: Books) -> None:
    books.refer("a", (at(2026, 7, 10), 1, 2))
    due = books.exchanges().due(books.clock.now_us())
    assert [(one.period, one.late) for one in due] == [("2026-07", True), ("2026-08", True), ("2026-09", False)]
    for one in due:
        (run,) = books.exchanges().run(one.exchange, one.period, actor="gateway")
        assert run.late == one.late
        assert run.deadline_us > books.clock.now_us()
    assert books.exchanges().due(books.clock.now_us()) == []


def test_a_period_is_not_due_before_its_start(books: Books) -> None:
    assert books.exchanges().due(at(2026, 10, 8, 1)) == []
    assert [one.period for one in books.exchanges().due(at(2026, 10, 8, 2))] == ["2026-09"]


def test_a_period_is_due_until_its_package_was_handed_over(books: Books) -> None:
    books.desk.down = True
    books.run()
    assert [one.period for one in books.exchanges().due(books.clock.now_us())] == ["2026-09"]
    books.desk.down, books.desk.waiting = False, True
    books.run()
    assert books.exchanges().due(books.clock.now_us()) == []


def test_a_closed_period_is_refused_when_lateness_is_not_allowed(books: Books) -> None:
    with pytest.raises(Refusal, match="PERIOD_CLOSED"):
        books.exchanges().run(EXCHANGE, "2026-07", actor="admin", late_ok=False)


def listed(books: Books, caller: str, **fields: Any) -> rpc.ListExchangeRunsResponse:
    method = methods()["/xinqiao.api.exchange.v1.ExchangeService/ListExchangeRuns"]
    partner = books.door.registry.find(caller)
    assert partner is not None
    with books.store.read() as tx:
        call = Call(partner, method, tx, books.door)
        return books.exchanges().list_exchange_runs(rpc.ListExchangeRunsRequest(**fields), call)


def test_an_operator_lists_all_runs_and_a_partner_its_own(books: Books) -> None:
    books.definition = definition(HOSPITAL, SCHOOL)
    books.run()
    assert {run.partner for run in listed(books, "admin").runs} == {HOSPITAL, SCHOOL}
    assert [run.partner for run in listed(books, SCHOOL).runs] == [SCHOOL]


def test_runs_are_listed_in_pages_newest_first(books: Books) -> None:
    for period in ("2026-07", "2026-08", "2026-09"):
        books.exchanges().run(EXCHANGE, period, actor="admin")
        books.wait(seconds=1)
    page = listed(books, "admin", page_size=2)
    rest = listed(books, "admin", page_size=2, page_token=page.next_page_token)
    assert [run.period for run in [*page.runs, *rest.runs]] == ["2026-09", "2026-08", "2026-07"]
    assert not rest.next_page_token


def test_a_partner_without_agreement_lists_nothing(books: Books) -> None:
    books.run()
    books.hospital_until_us = books.clock.now_us()
    with pytest.raises(Refusal, match="AGREEMENT_EXPIRED"):
        listed(books, HOSPITAL)


def test_the_rpc_runs_outside_a_transaction_and_answers_the_runs(books: Books) -> None:
    books.refer_many("a")
    exchanges = books.exchanges()
    assert getattr(exchanges.run_exchange, "outside_transaction", False) is True
    admin = books.door.registry.find("admin")
    assert admin is not None
    method = methods()["/xinqiao.api.exchange.v1.ExchangeService/RunExchange"]
    with books.store.read() as tx:
        call = Call(admin, method, tx, books.door, request_id="request-1")
        answer = exchanges.run_exchange(
            rpc.RunExchangeRequest(request_id="request-1", exchange=EXCHANGE, period=PERIOD), call
        )
    assert [run.state for run in answer.runs] == [pb.RUN_STATE_RECONCILED]
    assert call.rows == 1


def test_an_exchange_that_cannot_work_is_refused_at_start(books: Books) -> None:
    stray = definition().model_copy(update={"parties": (SCHOOL, "nobody")})
    with pytest.raises(Refusal, match="EXCHANGE_PARTY"):
        Exchanges(books.store, books.door, {"w": stray}, GATEWAY_KEY, "kunshan", books.desk, {}, WorkCalendar())
