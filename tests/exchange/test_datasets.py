"""Plan entries and services in the monthly books: which there are, what of each goes to whom, and why others do not."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, cast, get_args

import pytest
from tests.exchange.pairs import CODE, PERIOD, SCHOOL, WOMEN, YOUTH, Pairs, pairs_in

from xinqiao.adapters.errors import PartnerUnavailable
from xinqiao.api.casefile.v1 import plan_pb2 as plan
from xinqiao.api.casefile.v1.sharing_pb2 import Share
from xinqiao.api.exchange.v1 import exchange_pb2 as pb
from xinqiao.api.exchange.v1 import exchange_service_pb2 as rpc
from xinqiao.config.settings import Dataset
from xinqiao.contract.paging import token
from xinqiao.exchange.items import DATASETS
from xinqiao.store import tables
from xinqiao.store.engine import Store

SENT, WITHHELD = pb.ITEM_OUTCOME_SENT, pb.ITEM_OUTCOME_WITHHELD


@pytest.fixture
def pairs(make_town: Callable[..., Any], database: str) -> Iterator[Pairs]:
    with pairs_in(make_town, database) as made:
        yield made


def bodies(items: list[pb.PackageItem]) -> list[str]:
    return [str(item.WhichOneof("body")) for item in items]


def test_every_dataset_that_can_be_configured_has_a_view() -> None:
    assert set(get_args(Dataset.model_fields["contract"].annotation)) == set(DATASETS)


# -- entries -----------------------------------------------------------------------------------------------------------


def test_both_get_what_either_recorded_of_a_shared_case_and_of_it_only_that_it_is_there(pairs: Pairs) -> None:
    local = pairs.shared()
    ours = pairs.entry(local, "support")
    theirs = pairs.entry(pairs.name(local, WOMEN), "home_visit", as_=WOMEN)
    runs = pairs.settle("school-women")
    for partner, run in runs.items():
        assert (run.state, run.sent, run.withheld) == (pb.RUN_STATE_RECONCILED, 2, 0)
        items = pairs.package(run)
        assert bodies(items) == ["entry", "entry"]
        found = [item.entry for item in items]
        assert [each.entry.name for each in found] == [ours.name, theirs.name]
        assert {each.student for each in found} == {pairs.name(local, partner)}
        assert [(e.entry.kind, e.entry.author, e.entry.day) for e in found] == [
            (plan.ENTRY_KIND_SUPPORT, SCHOOL, "2026-10-12"), (plan.ENTRY_KIND_HOME_VISIT, WOMEN, "2026-10-12"),
        ]  # fmt: skip
        # What was seen and done is read in the case, under the share: the books hold none of it.
        assert all(each.entry.WhichOneof("content") is None and not each.entry.plan_version for each in found)
    for run in runs.values():
        released = pairs.town.journal(kind="released", partner=run.partner, resource=ours.name)
        assert len(released) == 1


def test_what_was_never_shared_is_not_even_counted(pairs: Pairs) -> None:
    local = pairs.shared()
    pairs.entry(local, "session")  # of a class that the share does not name
    pairs.entry(pairs.student(WOMEN), "support")  # of a case that is not shared
    before = pairs.student(WOMEN)
    pairs.entry(before, "support")
    pairs.share(before, WOMEN)  # shared from now on
    runs = pairs.settle("school-women")
    assert {(run.selected, run.withheld) for run in runs.values()} == {(0, 0)}


def test_of_a_case_that_is_shared_no_more_nothing_goes_and_the_books_say_why(pairs: Pairs) -> None:
    local, other = pairs.shared(), pairs.shared()
    for each in (local, other):
        pairs.entry(each, "support")
        pairs.entry(pairs.name(each, WOMEN), "home_visit", as_=WOMEN)
    pairs.town.consent(local, recipient=WOMEN, purpose=4, state=2)
    (share,) = (row for row in pairs.town.rows(tables.shares) if row["student"] == pairs.town.inside_id(other))
    pairs.revoke(Share(name=f"shares/{share['id']}"))
    runs = pairs.settle("school-women")
    assert [told[1:] for told in pairs.items(runs[WOMEN])] == [
        (WITHHELD, "REFUSED"), (WITHHELD, "REFUSED"), (WITHHELD, "SHARE_ENDED"), (WITHHELD, "SHARE_ENDED"),
    ]  # fmt: skip
    assert runs[WOMEN].sent == 0 and runs[WOMEN].withheld == 4
    assert runs[SCHOOL].sent == 4  # they are its own students


def test_a_share_that_ends_once_the_manifest_is_written_is_heeded_before_the_package_goes(pairs: Pairs) -> None:
    local = pairs.shared()
    entry = pairs.entry(local, "support")
    share = pairs.town.rows(tables.shares)[0]["id"]
    store = pairs.town.gate.gateway.store

    class Ending:
        """As soon as the manifest for the federation stands, the school ends the share."""

        ended = False

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def run(self, command: Any, *more: Any) -> Any:
            done = store.run(command, *more)
            sealed = [row for row in pairs.town.rows(tables.exchange_runs, partner=WOMEN) if row["manifest"]]
            if sealed and not self.ended:
                self.ended = True
                store.run(lambda tx: tx.update(tables.shares, (share,), state=2, updated_us=tx.now_us))
            return done

    pairs.exchanges._store = cast(Store, Ending())
    run = pairs.settle("school-women")[WOMEN]
    assert (run.revision, run.sent, run.state) == (1, 0, pb.RUN_STATE_RECONCILED)
    assert pairs.items(run) == [(entry.name, pb.ITEM_OUTCOME_WITHDRAWN, "SHARE_ENDED")]
    assert not any(item.HasField("entry") for item in pairs.package(run))


def test_a_share_that_ends_while_the_partner_is_down_is_heeded_when_it_is_back(pairs: Pairs) -> None:
    local = pairs.shared()
    entry = pairs.entry(local, "support")
    share = pairs.town.rows(tables.shares)[0]["id"]
    pairs.desk.down = True
    assert pairs.settle("school-women")[WOMEN].state == pb.RUN_STATE_SENDING
    pairs.town.gate.gateway.store.run(lambda tx: tx.update(tables.shares, (share,), state=2, updated_us=tx.now_us))
    pairs.desk.down = False
    run = pairs.settle("school-women")[WOMEN]
    assert (run.revision, run.sent) == (1, 0)
    assert pairs.items(run) == [(entry.name, pb.ITEM_OUTCOME_WITHDRAWN, "SHARE_ENDED")]


def test_an_entry_that_comes_late_stands_in_the_books_of_the_month_in_which_it_came(pairs: Pairs) -> None:
    local = pairs.shared()
    request = pairs.entry_request(local, "support")
    request.entry.day = "2026-09-30"
    late = pairs.town.call(pairs.town.PSYCH, request).entry
    assert [item for item, _, _ in pairs.items(pairs.settle("school-women")[WOMEN])] == [late.name]
    request = pairs.entry_request(local, "support")
    request.entry.day = "2026-10-30"
    pairs.town.call(pairs.town.PSYCH, request)
    pairs.town.clock.advance(timedelta(days=33))
    pairs.town.gate.gateway.checkpointer.run_once()
    (november,) = (r for r in pairs.exchanges.run("school-women", "2026-11", actor="a") if r.partner == WOMEN)
    assert november.selected == 1


def test_a_refused_entry_goes_back_to_who_recorded_it_and_what_replaces_it_rejoins_the_period(pairs: Pairs) -> None:
    local = pairs.shared()
    entry = pairs.entry(pairs.name(local, WOMEN), "home_visit", as_=WOMEN)
    pairs.desk.refuse = [(0, "WRONG_DAY")]
    heard: list[tuple[str, str, str]] = []
    pairs.exchanges._teller = lambda who, refused: heard.extend((who, each.place, each.reason) for each in refused)
    run = pairs.settle("school-women")[SCHOOL]
    assert (run.state, run.refused) == (pb.RUN_STATE_RECONCILED, 1)
    held = pairs.hold()
    assert {(row["holder"], row["step"], row["school"]) for row in held} == {(WOMEN, "refused_wrong_day", CODE)}
    assert heard == [(WOMEN, entry.name, "WRONG_DAY")]
    assert pairs.exchanges.collect() == []
    assert len(heard) == 1
    pairs.desk.refuse = []
    request = pairs.entry_request(pairs.name(local, WOMEN), "home_visit", supersedes=entry.name)
    request.entry.day = "2026-10-11"
    mended = pairs.town.call(WOMEN, request).entry
    again = {run.partner: run for run in pairs.exchanges.collect()}
    assert {(run.revision, run.sent, run.withdrawn) for run in again.values()} == {(1, 1, 0)}
    assert pairs.items(again[SCHOOL]) == [(mended.name, SENT, "")]
    assert pairs.hold() == []


def test_an_entry_replaced_after_it_went_is_taken_back(pairs: Pairs) -> None:
    local = pairs.shared()
    entry = pairs.entry(local, "support")
    pairs.settle("school-women")
    pairs.entry(local, "support", supersedes=entry.name, what="课后陪伴两次")
    revise = rpc.Revise(revision=0, reason="CORRECTED", amend=True)
    run = pairs.settle("school-women", revise=revise)[WOMEN]
    assert (run.revision, run.withdrawn) == (1, 1)
    (stone,) = [item.tombstone for item in pairs.package(run) if item.HasField("tombstone")]
    assert stone.reason == "SUPERSEDED"


# -- services ----------------------------------------------------------------------------------------------------------


def test_services_of_both_go_as_counts_and_which_case_they_were_of_only_to_who_gave_them(pairs: Pairs) -> None:
    ours = pairs.serve(SCHOOL, "k-1", series="class/7", school=CODE, kind=5)
    theirs = pairs.serve(WOMEN, "A-1", series="case/3", crisis=True)
    runs = pairs.settle("school-women")
    for partner, run in runs.items():
        found = [item.service for item in pairs.package(run)]
        assert [f"activities/{each.agency}/{each.activity.source}" for each in found] == [ours, theirs]
        for each in found:
            own = each.agency == partner
            assert bool(each.activity.series) is own
            assert each.activity.crisis is (own and each.agency == WOMEN)
            assert each.activity.attendances == 30
    line = pairs.town.journal(kind="released", resource=theirs)[0]
    assert (line["student"], line["classes"]) == (None, 1 << 1)


def test_what_was_done_at_another_school_or_another_month_or_not_at_all_is_not_there(pairs: Pairs) -> None:
    pairs.serve(WOMEN, "else", school="3205830002")
    pairs.serve(WOMEN, "taken-back", withdrawn=True)
    pairs.town.clock.advance(timedelta(days=21))
    pairs.serve(WOMEN, "november", day="2026-11-01")
    late = pairs.serve(WOMEN, "late", day="2026-09-01")
    kept = pairs.serve(WOMEN, "october")
    runs = pairs.settle("school-women")
    assert [item for item, _, _ in pairs.items(runs[WOMEN])] == [kept]
    pairs.town.clock.advance(timedelta(days=31))
    pairs.town.gate.gateway.checkpointer.run_once()
    following = pairs.exchanges.run("school-women", "2026-11", actor="a")[0]
    assert late in [item for item, _, _ in pairs.items(following)]


def test_a_refused_service_goes_back_to_who_gave_it_and_rejoins_once_it_is_mended(pairs: Pairs) -> None:
    item = pairs.serve(WOMEN, "A-1", attendances=3000)
    pairs.desk.refuse = [(0, "TOO_MANY")]
    heard: list[tuple[str, str]] = []

    def down(who: str, refused: Any) -> None:
        heard.extend((who, each.place) for each in refused)
        raise PartnerUnavailable("down")

    pairs.exchanges._teller = down
    assert pairs.settle("school-women")[SCHOOL].refused == 1
    assert {(row["holder"], row["step"], row["student"]) for row in pairs.hold()} == {(WOMEN, "refused_too_many", None)}
    assert heard == [(WOMEN, "A-1")]  # that it could not be told changes nothing: the holding names it
    pairs.desk.refuse = []
    assert pairs.exchanges.collect() == []
    pairs.serve(WOMEN, "A-1", attendances=30)
    again = {run.partner: run for run in pairs.exchanges.collect()}
    assert [(run.revision, run.sent) for run in again.values()] == [(1, 1), (1, 1)]
    assert pairs.items(again[SCHOOL]) == [(item, SENT, "")]
    assert pairs.hold() == []


def test_a_service_taken_back_after_it_went_is_taken_back_there_too(pairs: Pairs) -> None:
    pairs.serve(WOMEN, "A-1")
    pairs.settle("school-women")
    pairs.serve(WOMEN, "A-1", withdrawn=True)
    run = pairs.settle("school-women", revise=rpc.Revise(revision=0, reason="CORRECTED", amend=True))[SCHOOL]
    assert (run.sent, run.withdrawn) == (0, 1)


def test_a_league_gets_counts_and_of_cases_nothing(pairs: Pairs) -> None:
    local = pairs.shared(to=YOUTH)
    entry = pairs.entry(local, "support")
    service = pairs.serve(YOUTH, "month/10")
    referral = pairs.town.refer(local, recipient=YOUTH, support="陪伴").referral.name
    run = pairs.settle("school-youth")[YOUTH]
    assert pairs.items(run) == [
        (referral, WITHHELD, "NOT_IN_POLICY"), (entry.name, WITHHELD, "NOT_IN_POLICY"), (service, SENT, ""),
    ]  # fmt: skip
    assert bodies(pairs.package(run)) == ["service"]
    assert run.state == pb.RUN_STATE_RECONCILED


# -- looked at beforehand ----------------------------------------------------------------------------------------------


def test_a_preview_goes_through_all_datasets_page_by_page(pairs: Pairs) -> None:
    local = pairs.shared()
    made = [pairs.entry(local, "support").name for _ in range(3)]
    made += [pairs.serve(WOMEN, f"A-{number}") for number in range(3)]
    seen: list[str] = []
    request = rpc.PreviewExchangeRequest(exchange="school-women", period=PERIOD, partner=WOMEN, page_size=2)
    for _ in range(9):
        page = pairs.town.call(pairs.town.OPERATOR, request)
        for each in page.items:
            seen.append(each.item)
            assert each.outcome == SENT
            if each.content.HasField("entry"):
                assert each.content.entry.student == pairs.name(local, pairs.town.OPERATOR)
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert seen == made


def test_a_page_of_no_dataset_is_refused(pairs: Pairs) -> None:
    request = rpc.PreviewExchangeRequest(exchange="school-women", period=PERIOD, page_token=token(0, "letters/x"))
    assert pairs.town.refusal(pairs.town.OPERATOR, request) == "INVALID_ARGUMENT/PAGE_TOKEN"


def test_the_items_of_a_run_are_listed_whatever_they_are(pairs: Pairs) -> None:
    entry = pairs.entry(pairs.shared(), "support")
    service = pairs.serve(WOMEN, "A-1")
    run = pairs.settle("school-women")[WOMEN]
    for who in (pairs.town.OPERATOR, WOMEN):
        listed = pairs.town.call(who, rpc.ListExchangeItemsRequest(run=run.name)).items
        assert [each.item for each in listed] == [entry.name, service]
