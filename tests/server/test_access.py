"""Looking at one record: a second person decides, one look is one token, and every step is on record."""

import logging
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from xinqiao.api.casefile.v1.casefile_service_pb2 import ListDisclosuresRequest
from xinqiao.api.gateway.v1 import access_service_pb2 as rpc
from xinqiao.api.gateway.v1 import gateway_service_pb2 as gateway
from xinqiao.api.gateway.v1 import retention_service_pb2 as keep
from xinqiao.api.screening.v1 import screening_service_pb2 as scr
from xinqiao.casefile.export import LEFT_OUT, PARTS
from xinqiao.config.problems import ConfigError
from xinqiao.disclosure import call
from xinqiao.server.access_rules import load_access_rules
from xinqiao.store import tables
from xinqiao.store.claims import DeliveryState

FILE = Path(__file__).resolve().parents[2] / "config" / "policy" / "access.yaml"
REPAIR, FAMILY = "REPAIR:ticket-4711", "FAMILY_REQUEST:letter-12"
DEAD = int(DeliveryState.DEAD)
DEPUTY, COLLEAGUE, CLERK = "bureau-deputy", "psych-zhou", "bureau-clerk"


def more_people(settings: dict[str, Any]) -> None:
    """A second operator, a second psychologist of the school, and somebody of the bureau without the role."""

    def person(name: str, like: str, **changed: Any) -> dict[str, Any]:
        return {**deepcopy(settings["partners"][like]), "spiffe": f"spiffe://xinqiao.example/partner/{name}", **changed}

    settings["partners"] |= {
        DEPUTY: person(DEPUTY, "bureau-admin", agency="bureau-admin"),
        COLLEAGUE: person(COLLEAGUE, "psych-chen"),
        CLERK: person(CLERK, "bureau-admin", agency="bureau-admin", roles=["HOTLINE"]),
    }


@pytest.fixture(scope="module")
def town(make_town: Any, database: str) -> Any:
    with make_town(database, listen=False, change=more_people) as made:
        yield made


@pytest.fixture
def dead(town: Any) -> Any:
    """The name of a dead letter, and its student."""
    local = town.student(family_name="CANARY-NAME")
    town.consent(local)
    town.recorder.refusing = True
    try:
        name = town.refer(local, reason="CANARY-REASON").referral.name
        town.deliver_all()
    finally:
        town.recorder.refusing = False
    (row,) = [each for each in town.rows(tables.deliveries, state=DEAD) if each["item"] == name]
    return f"deliveries/{row['id']}", local


def ask(town: Any, delivery: str, *, as_: str = "", reason: str = REPAIR) -> Any:
    return town.call(as_ or town.OPERATOR, rpc.RequestAccessRequest(delivery=delivery, reason=reason))


def ask_export(town: Any, local: str, *, as_: str = "") -> Any:
    return town.call(as_ or town.PSYCH, rpc.RequestAccessRequest(student={"local_id": local}, reason=FAMILY))


def decision(name: str, *, approve: bool = True) -> Any:
    return rpc.DecideAccessRequest(name=name, approve=approve, reason="TICKET_SEEN:ticket-4711")


def approved(town: Any, asked: Any, *, as_: str = "") -> str:
    """The token of an ask, approved."""
    done = town.call(as_ or DEPUTY, decision(asked.access.name))
    assert done.access.state == rpc.ACCESS_STATE_APPROVED
    return str(asked.token)


def look(delivery: str, token: str, reason: str = REPAIR) -> Any:
    return rpc.GetDeadLetterRequest(name=delivery, token=token, reason=reason)


def export(local: str, token: str, **more: Any) -> Any:
    return rpc.ExportStudentRequest(student={"local_id": local}, token=token, reason=FAMILY, **more)


def state(town: Any, asked: Any) -> int:
    (row,) = town.rows(tables.access_requests, id=asked.access.name.removeprefix("accessRequests/"))
    return int(row["state"])


def held(town: Any, asked: Any) -> list[tuple[str, str, int]]:
    rows = town.rows(tables.holdings, item=asked.access.name)
    return [(row["holder"], row["step"], row["deadline_us"]) for row in rows]


def in_order(town: Any, **equal: object) -> list[Any]:
    return sorted(town.journal(**equal), key=lambda row: (int(row["at_us"]), int(row["seq"])))


def refused(town: Any, asked: Any) -> list[str]:
    """Reasons of refused looks on record, by this ask."""
    return [row["reason"] for row in in_order(town, kind="refused", basis=asked.access.name)]


# -- a dead letter --------------------------------------------------------------------------------------------------------


def test_two_persons_one_look_and_four_rows(town: Any, dead: Any) -> None:
    name, local = dead
    asked = ask(town, name)
    assert held(town, asked) == [(town.PSYCH, "decide_access", asked.access.due_us)]
    assert asked.holder == town.PSYCH
    token = approved(town, asked, as_=town.PSYCH)
    assert [row[:2] for row in held(town, asked)] == [(town.OPERATOR, "use_access")]
    seen = town.call(town.OPERATOR, look(name, token))
    assert (seen.delivery.name, seen.delivery.state) == (name, DEAD)
    assert held(town, asked) == []
    rows = [row for row in in_order(town, resource=asked.access.name) if row["kind"].startswith("access.")]
    assert [(row["kind"], row["actor"]) for row in rows] == [
        ("access.asked", town.OPERATOR), ("access.decided", town.PSYCH), ("access.used", town.OPERATOR)
    ]  # fmt: skip
    assert {row["student"] for row in rows} == {town.inside_id(local)}
    assert rows[0]["reason"] == f"{REPAIR} for {name}"
    assert rows[2]["classes"] & ~(1 << 1 | 1 << 2 | 1 << 6) == 0  # what the row says is what was shown
    assert rows[2]["classes"]


def test_an_operator_sees_of_it_what_operating_needs_and_the_school_its_own(town: Any, dead: Any, caplog: Any) -> None:
    name, _ = dead
    seen = town.call(town.OPERATOR, look(name, approved(town, ask(town, name))))
    assert "let pass" not in caplog.text  # the room itself cut it down
    assert seen.content.referral.referral.name
    assert b"CANARY" not in seen.SerializeToString()
    assert {each.field_class for each in seen.withheld} >= {3, 8}
    asked = ask(town, name, as_=town.PSYCH)
    own = town.call(town.PSYCH, look(name, approved(town, asked)))
    assert own.content.referral.referral.reason == "CANARY-REASON"


def test_without_a_token_nobody_sees_it(town: Any, dead: Any) -> None:
    name, local = dead
    for token in ("", "x" * 43):
        assert town.refusal(town.OPERATOR, look(name, token)) == "PERMISSION_DENIED/ACCESS_TOKEN"
        assert town.refusal(town.PSYCH, export(local, token)) == "PERMISSION_DENIED/ACCESS_TOKEN"
    assert [row["resource"] for row in in_order(town, kind="refused", reason="ACCESS_TOKEN")][-2:] == [
        "GetDeadLetter", "ExportStudent"
    ]  # fmt: skip


def test_an_ask_alone_opens_nothing_and_a_no_neither(town: Any, dead: Any) -> None:
    name, _ = dead
    asked = ask(town, name)
    assert town.refusal(town.OPERATOR, look(name, asked.token)) == "PERMISSION_DENIED/ACCESS_NOT_APPROVED"
    town.call(DEPUTY, decision(asked.access.name, approve=False))
    assert held(town, asked) == []
    assert town.refusal(town.OPERATOR, look(name, asked.token)) == "PERMISSION_DENIED/ACCESS_NOT_APPROVED"
    assert town.refusal(DEPUTY, decision(asked.access.name)) == "FAILED_PRECONDITION/STATE"
    assert refused(town, asked) == ["ACCESS_NOT_APPROVED"] * 2


def test_the_asker_never_decides_nor_anybody_without_the_role_or_of_another_school(town: Any, dead: Any) -> None:
    asked = ask(town, dead[0])
    own = decision(asked.access.name)
    assert town.refusal(town.OPERATOR, own) == "PERMISSION_DENIED/SECOND_PERSON"
    assert refused(town, asked) == ["SECOND_PERSON"]
    assert town.refusal(CLERK, own) == "PERMISSION_DENIED/ROLE"  # of the same agency, without its role
    assert town.refusal("psych-li", own) == "NOT_FOUND/ACCESS"
    assert town.refusal("psych-li", decision("accessRequests/" + "0" * 32)) == "NOT_FOUND/ACCESS"
    assert state(town, asked) == rpc.ACCESS_STATE_ASKED
    approved(town, asked)


def test_a_token_is_used_once_also_under_the_same_request_id(town: Any, dead: Any) -> None:
    name, _ = dead
    asked = ask(town, name)
    request = look(name, approved(town, asked))
    town.call(town.OPERATOR, request)
    assert town.refusal(town.OPERATOR, request) == "PERMISSION_DENIED/ACCESS_USED"
    assert town.refusal(town.OPERATOR, look(name, asked.token)) == "PERMISSION_DENIED/ACCESS_USED"
    assert refused(town, asked) == ["ACCESS_USED"] * 2
    assert town.rows(tables.requests, method="GetDeadLetter") == []  # no copy of the content is kept for a repeat


def test_a_token_is_good_for_its_asker_record_and_reason_alone(town: Any, dead: Any) -> None:
    name, local = dead
    asked = ask(town, name)
    token = approved(town, asked)
    assert town.refusal(DEPUTY, look(name, token)) == "PERMISSION_DENIED/ACCESS_ASKER"
    assert town.refusal(town.PSYCH, look(name, token)) == "PERMISSION_DENIED/ACCESS_ASKER"
    assert town.refusal(town.OPERATOR, look("deliveries/" + "0" * 32, token)) == "PERMISSION_DENIED/ACCESS_RESOURCE"
    assert town.refusal(town.OPERATOR, look(name, token, "AUDIT:4")) == "PERMISSION_DENIED/ACCESS_PURPOSE"
    assert refused(town, asked) == ["ACCESS_ASKER", "ACCESS_ASKER", "ACCESS_RESOURCE", "ACCESS_PURPOSE"]
    mine = ask(town, name, as_=town.PSYCH)
    assert town.refusal(town.PSYCH, export(local, approved(town, mine))) == "PERMISSION_DENIED/ACCESS_RESOURCE"
    assert town.call(town.OPERATOR, look(name, token)).delivery.name == name  # what was refused has spent nothing


def test_an_approval_ends_by_the_clock_also_before_the_tick(town: Any, dead: Any) -> None:
    name, _ = dead
    asked = ask(town, name)
    token = approved(town, asked)
    town.clock.advance(timedelta(minutes=30))
    assert town.refusal(town.OPERATOR, look(name, token)) == "PERMISSION_DENIED/ACCESS_EXPIRED"
    assert town.gate.gateway.access.end_due() >= 1
    assert (state(town, asked), held(town, asked)) == (rpc.ACCESS_STATE_EXPIRED, [])
    assert [row["reason"] for row in town.journal(kind="access.expired", resource=asked.access.name)] == ["NOT_USED"]
    assert town.refusal(town.OPERATOR, look(name, token)) == "PERMISSION_DENIED/ACCESS_EXPIRED"


def test_an_ask_that_nobody_decides_ends_by_itself_and_climbs_no_ladder(town: Any, dead: Any) -> None:
    asked = ask(town, dead[0])
    town.clock.advance(timedelta(days=1))
    assert town.refusal(DEPUTY, decision(asked.access.name)) == "FAILED_PRECONDITION/STATE"
    listed = town.call(town.OPERATOR, rpc.ListAccessRequestsRequest()).requests
    assert [each.state for each in listed if each.name == asked.access.name] == [rpc.ACCESS_STATE_EXPIRED]
    town.gate.gateway.climb()
    assert held(town, asked) == []
    assert [row["reason"] for row in town.journal(kind="access.expired", resource=asked.access.name)] == ["NOT_DECIDED"]
    assert town.journal(kind="escalated", resource=asked.access.name) == []
    assert town.gate.gateway.access.end_due() == 0


def test_a_fault_of_the_asks_keeps_no_red_item_from_climbing(town: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = town.gate.gateway
    climbed: list[bool] = []

    def fault() -> int:
        raise OSError

    monkeypatch.setattr(gateway.access, "end_due", fault)
    monkeypatch.setattr(gateway.ladder, "climb", lambda: climbed.append(True))
    with pytest.raises(OSError):
        gateway.climb()
    assert climbed == [True]


@pytest.mark.parametrize(
    ("as_", "reason", "answer"),
    [
        ("bureau-admin", "CURIOSITY:ticket-1", "INVALID_ARGUMENT/PURPOSE_WORD"),
        ("bureau-admin", FAMILY, "INVALID_ARGUMENT/PURPOSE_WORD"),
        ("bureau-admin", "REPAIR", "INVALID_ARGUMENT/REASON"),
        ("psych-li", REPAIR, "NOT_FOUND/DELIVERY"),
        ("police", REPAIR, "PERMISSION_DENIED/ROLE"),
    ],
)
def test_what_is_asked_needs_a_word_a_reference_and_a_right(
    town: Any, dead: Any, as_: str, reason: str, answer: str
) -> None:
    assert town.refusal(as_, rpc.RequestAccessRequest(delivery=dead[0], reason=reason)).upper() == answer


def test_only_what_is_dead_and_still_there_is_looked_at(town: Any, dead: Any) -> None:
    name, _ = dead
    asked = ask(town, name)
    token = approved(town, asked)
    town.call(town.OPERATOR, gateway.RetryDeliveryRequest(name=name))
    assert town.refusal(town.OPERATOR, look(name, token)) == "FAILED_PRECONDITION/STATE"
    assert state(town, asked) == rpc.ACCESS_STATE_APPROVED  # nothing was shown, so nothing is spent
    alive = rpc.RequestAccessRequest(delivery=name, reason=REPAIR)
    assert town.refusal(town.OPERATOR, alive) == "FAILED_PRECONDITION/STATE"
    absent = rpc.RequestAccessRequest(delivery="deliveries/" + "0" * 32, reason=REPAIR)
    assert town.refusal(town.OPERATOR, absent) == "NOT_FOUND/DELIVERY"
    town.deliver_all()


def test_who_decides_sees_the_ask_and_never_the_token(town: Any, dead: Any) -> None:
    asked = ask(town, dead[0])
    for who in (town.OPERATOR, DEPUTY, town.PSYCH):
        page = town.call(who, rpc.ListAccessRequestsRequest(open_only=True))
        (found,) = [each for each in page.requests if each.name == asked.access.name]
        assert (found.asker, found.resource, found.reason) == (town.OPERATOR, dead[0], REPAIR)
        assert asked.token.encode() not in page.SerializeToString()
    assert not town.call("psych-li", rpc.ListAccessRequestsRequest()).requests


def test_a_token_stands_nowhere_in_the_clear(make_town: Any, caplog: Any) -> None:
    with make_town("sqlite", listen=True) as wire, caplog.at_level(logging.DEBUG):
        local = wire.student()
        request = rpc.RequestAccessRequest(request_id=wire.key(), student={"local_id": local}, reason=FAMILY)
        asked = wire.gate.call(wire.PSYCH, request)
        assert wire.gate.call(wire.PSYCH, request).token == asked.token  # a repeat is the same ask
        bad = export(local, asked.token)
        bad.request_id = wire.key()
        assert wire.refused(lambda: wire.gate.call(wire.PSYCH, bad)).word == "PERMISSION_DENIED/ACCESS_NOT_APPROVED"
        yes = decision(asked.access.name)
        yes.request_id = wire.key()
        wire.gate.call(wire.OPERATOR, yes)
        bad.request_id = wire.key()
        assert wire.gate.call(wire.PSYCH, bad).export.student.local_id == local
        assert asked.token not in caplog.text
        stored = b"".join(path.read_bytes() for path in sorted(wire.gate.folder.glob("*.db*")))
        assert b"access_requests" in stored
        assert asked.token.encode() not in stored


@pytest.mark.parametrize("step", ["asked", "decided", "used"])
def test_no_row_no_step(town: Any, dead: Any, monkeypatch: Any, step: str) -> None:
    name, _ = dead
    asked = ask(town, name) if step != "asked" else None
    token = approved(town, asked) if step == "used" else ""
    before, append = (town.rows(tables.access_requests), call.append)

    def full(tx: Any, **words: Any) -> None:
        if words["kind"] == f"access.{step}":
            raise OSError("no room for the row")
        append(tx, **words)

    monkeypatch.setattr(call, "append", full)
    for_step = {
        "asked": lambda: ask(town, name), "decided": lambda: town.call(DEPUTY, decision(asked.access.name)),
        "used": lambda: town.call(town.OPERATOR, look(name, token)),
    }  # fmt: skip
    with pytest.raises(OSError, match="no room"):
        for_step[step]()
    assert town.rows(tables.access_requests) == before


# -- a student's export ---------------------------------------------------------------------------------------------------


def test_the_family_gets_all_that_is_held_and_nothing_that_is_not_for_it(town: Any) -> None:
    mother = {"full_name": "CANARY-MOTHER", "phone": "13900000001"}
    father = {"full_name": "CANARY-FATHER", "phone": "13900000002", "in_conflict": True}
    local = town.student(family_name="CANARY-NAME", guardians=[father, mother])
    town.submit(local)
    town.confirmed(local)
    town.consent(local, guardian="CANARY-MOTHER", guardian_relation="mother")
    town.refer(local)
    town.deliver_all()
    harmed = scr.ReportSignalRequest(student={"local_id": local}, source=2, kind=4, facts="CANARY-HARM")
    town.call(town.PSYCH, harmed)
    asked = ask_export(town, local)
    assert asked.holder == town.OPERATOR or asked.holder == COLLEAGUE
    answer = town.call(town.PSYCH, export(local, approved(town, asked)))
    got, text = answer.export, answer.SerializeToString()
    assert (got.student.family_name, [g.full_name for g in got.student.guardians]) == ("CANARY-NAME", ["CANARY-MOTHER"])
    assert got.assessments[0].answers == bytes([3] * 9)
    assert got.referrals[0].reason == "reason"
    for part in ("assessments", "signals", "triages", "referrals", "consents", "disclosures"):
        assert len(getattr(got, part)), part
    assert {each.student for part in PARTS for each in getattr(got, part)} <= {got.student.name, ""}
    assert b"CANARY-HARM" not in text
    assert b"CANARY-FATHER" not in text
    assert "police" not in {each.partner for each in got.disclosures}
    assert not [duty for duty in got.duties if duty.kind == "mandatory-report"]
    assert town.rows(tables.duties, student=town.inside_id(local), kind="mandatory-report")
    assert "note" not in [each.note for each in got.triages]
    assert {each.field_class for each in answer.withheld} == {15}  # of what there is, only notes are kept back
    assert answer.unreadable == 0
    shown = town.call(town.PSYCH, ListDisclosuresRequest(student={"local_id": local})).disclosures
    assert [each.resource for each in shown if each.kind == "access.used"] == [asked.access.name]


def test_an_export_is_for_the_own_school_alone_and_its_psychologist(town: Any) -> None:
    local = town.student()
    request = rpc.RequestAccessRequest(student={"local_id": local}, reason=FAMILY)
    assert town.refusal("psych-li", request) == "NOT_FOUND/STUDENT"
    assert town.refusal(town.OPERATOR, request) == "NOT_FOUND/STUDENT"
    assert town.refusal(town.OPERATOR, export(local, "x")) == "PERMISSION_DENIED/ROLE"
    asked = ask_export(town, local)
    token = approved(town, asked, as_=COLLEAGUE)
    assert town.refusal(COLLEAGUE, export(local, token)) == "PERMISSION_DENIED/ACCESS_ASKER"
    other = town.student()
    assert town.refusal(town.PSYCH, export(other, token)) == "PERMISSION_DENIED/ACCESS_RESOURCE"


def test_a_record_too_large_for_one_answer_is_given_by_time_and_spends_no_token(town: Any, monkeypatch: Any) -> None:
    local = town.student()
    for _ in range(12):
        town.submit(local, bytes(9))
    middle = town.clock.now_us()
    town.clock.advance(timedelta(days=1))
    town.submit(local, bytes(9))
    asked = ask_export(town, local)
    token = approved(town, asked)
    monkeypatch.setattr(town.gate.gateway.access._rules, "export_bytes", 2500)
    assert town.refusal(town.PSYCH, export(local, token)) == "RESOURCE_EXHAUSTED/EXPORT_TOO_LARGE"
    assert state(town, asked) == rpc.ACCESS_STATE_APPROVED
    got = town.call(town.PSYCH, export(local, token, from_us=middle + 1)).export
    assert len(got.assessments) == 1


def test_every_kind_of_record_is_in_an_export_or_left_out_for_a_reason() -> None:
    sealed = {table.name for table in tables.metadata.tables.values() if "sealed" in table.c}
    assert sealed == set(PARTS) | set(LEFT_OUT)
    fields = set(rpc.StudentExport.DESCRIPTOR.fields_by_name)
    assert fields == set(PARTS) | {"student", "disclosures"}


# -- the rest -------------------------------------------------------------------------------------------------------------


def test_where_nobody_else_may_decide_nothing_can_be_asked(fresh_town: Any) -> None:
    town, local = fresh_town, fresh_town.student()
    everybody = town.gate.gateway.registry._by_id
    for operator in town.gate.gateway.registry.with_role(10):
        everybody.pop(operator.id)
    request = rpc.RequestAccessRequest(student={"local_id": local}, reason=FAMILY)
    assert town.refusal(town.PSYCH, request) == "FAILED_PRECONDITION/NO_SECOND_PERSON"


def test_asks_are_kept_as_long_as_the_law_says(town: Any) -> None:
    kept = {each.contract for each in town.call(town.OPERATOR, keep.GetRetentionRequest()).contracts}
    assert "access_requests" in kept


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("approvers: [SCHOOL_PSYCHOLOGIST, OPERATOR]", "approvers: [HOSPITAL]"),
        ("approvers: [SCHOOL_PSYCHOLOGIST, OPERATOR]", "approvers: []"),
        ("open_for: PT30M", "open_for: PT0S"),
        ("reasons: [FAMILY_REQUEST, COURT_ORDER]", "reasons: [please]"),
        ("export_bytes: 3000000", "export_bytes: 30000000"),
    ],
)
def test_a_rule_that_opens_too_much_is_refused_with_its_line(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "access.yaml"
    text = FILE.read_text("utf-8")
    assert before in text
    path.write_text(text.replace(before, after), "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_access_rules(path)
    assert all(problem.line for problem in caught.value.problems)
