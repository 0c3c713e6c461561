"""The conformance suite sees each fault that it is there for, and no fault where there is none."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from xinqiao.adapters import manifest
from xinqiao.testing.conformance import (
    Outcome,
    Report,
    Rig,
    Subject,
    conduct,
    conform,
    registry,
    report,
    rules,
    run_case,
    samples,
)
from xinqiao.testing.conformance.registry import Rules, tier_of
from xinqiao.testing.conformance.report import quality_file
from xinqiao.testing.simulators import FAULTS
from xinqiao_hospital.adapter import HospitalAdapter

ROOT = Path(__file__).resolve().parents[2]
SEND = "        body = wire.record_bytes(request)\n"
KEY = '"Idempotency-Key": request_id}'
EVERY_TRY_ANEW = '"Idempotency-Key": request_id + str(__import__("time").monotonic_ns())}'


def before_sending(*lines: str) -> tuple[str, str, str]:
    return ("adapter.py", SEND, SEND + "".join(f"        {line}\n" for line in lines))


FLAWS: list[tuple[str, str, tuple[tuple[str, str, str], ...]]] = [
    ("names", "the manifest has another name", (("manifest.yaml", "domain: ", "domain: other_"),)),
    ("check", "says nothing", (("adapter.py", 'http 1"', '\\n"'),)),
    ("hands_over", "no receipt", (("adapter.py", "DeliverResponse(receipt=receipt)", "DeliverResponse()"),)),
    ("hands_over", "another type", (("adapter.py", "return DeliverResponse(receipt=receipt)", "return answer"),)),
    ("hands_over", "breaks", (before_sending('raise KeyError("a name")'),)),
    ("hands_over", "sends nothing", (before_sending('return DeliverResponse(receipt="r")'),)),
    ("reads", "no cursor", (("adapter.py", 'f"news/{number}", str(number)', 'f"news/{number}", ""'),)),
    ("reads", "an undeclared class", (("manifest.yaml", "    - contract: referral\n      classes: [CASE_REF, REFERRAL_REASON]\nhosts",
                                       "    - contract: referral\n      classes: [CASE_REF]\nhosts"),
                                      ("wire.py", "event=event, source", 'event=event, reason="r", source"'[:-1]))),
    ("silence", "logs the record", (before_sending('__import__("logging").getLogger("x").info(body.decode())'),)),
    ("silence", "quotes the record", (before_sending('raise RecordRejected("A/B", body.decode(), "record")'),)),
    ("undeclared_never_arrives", "knows more", (("wire.py", '"request_id": request.request_id}', '"at": "示范路1号学生宿舍"}'),)),
    ("own_hosts", "calls elsewhere", (before_sending('__import__("socket").socket().connect_ex(("127.0.0.1", 9))'),)),
    ("own_folder", "reads another's", (
        ("adapter.py", "self._http = context.http", 'self._other = context.folder.parent / "another-partner" / "register"\n        self._http = context.http'),
        before_sending("self._other.read_text()"))),
    ("own_folder", "writes elsewhere", (
        ("adapter.py", "self._http = context.http", 'self._other = context.folder.parent.parent / "note"\n        self._http = context.http'),
        before_sending('self._other.write_text("x")'))),
    ("no_programs", "starts a program", (before_sending('__import__("subprocess").run(["true"])'),)),
    ("no_store", "opens the store", (before_sending('__import__("xinqiao.store.engine")'),)),
    ("stays", "ends the process", (before_sending('__import__("os")._exit(0)'),)),
    ("stays", "hangs", (before_sending('__import__("time").sleep(60)'),)),
    ("one_effect", "a new key each time", (("adapter.py", KEY, EVERY_TRY_ANEW),)),
    ("lost_answer", "a new key each time", (("adapter.py", KEY, EVERY_TRY_ANEW),)),
    ("at_once", "a new key each time", (("adapter.py", KEY, EVERY_TRY_ANEW),)),
    ("recall", "a new key each time", (("adapter.py", KEY, EVERY_TRY_ANEW),)),
    ("cancelled_task", "keeps it open", (before_sending("if b'TASK_STATE_CANCELLED' in body:", '    return DeliverResponse(receipt="r")'),)),
    ("reordering", "skips the older", (
        before_sending('self._newest = max(getattr(self, "_newest", ""), request.request_id)',
                       "if request.request_id < self._newest:", '    return DeliverResponse(receipt="old")'),)),
    ("slow_partner", "ignores the time-out", (("adapter.py", "body=body, timeout_s=timeout_s)", "body=body, timeout_s=60.0)"),)),
    ("three_days_down", "gives up", (("adapter.py", "        _judge(answer)\n        return answer", "        return answer"),
                                     ("adapter.py", "        answer = self._http.request(",
                                      "        try:\n            self._http.request('GET', self._base + '/status', headers={}, body=None, timeout_s=5)\n"
                                      "        except PartnerUnavailable:\n            raise PartnerRefused('A/B', 'no') from None\n"
                                      "        answer = self._http.request("))),
    ("refusals", "takes 422 for the partner", (("adapter.py", "in (400, 422)", "in (400, 499)"),)),
    ("refusals", "forgets Retry-After", (("adapter.py", "tried again later\", seconds)", "tried again later\")"),)),
    ("cursors", "a cursor past what is to come", (("adapter.py", 'f"news/{number}", str(number)', 'f"news/{number}", str(max(items))'),)),
    ("cursors", "begins anew", (("adapter.py", 'after = cursor or "0"', 'after = "0"'),)),
    ("withheld", "writes None", (("wire.py", "    if request.drill:", '    shown["why"] = str(record.get("reason", record.get("referral", {}).get("reason")))\n    if request.drill:'),)),
    ("withheld", "tries for ever", (before_sending("if b'phone' not in body:", '    raise PartnerUnavailable("later")'),)),
    ("wrong_code", "one bad item stops all", (("wire.py", "    except RecordRejected as error:", "    except KeyError as error:"),)),
    ("wrong_code", "guesses", (("wire.py", 'EVENTS.get(_text(fields, "event"))', 'EVENTS.get(_text(fields, "event"), ReferralEvent.REFERRAL_EVENT_ACCEPT)'),)),
    ("partner_repeats", "one source for all", (("wire.py", 'source=_text(fields, "id")', 'source="news"'),)),
    ("partner_out_of_order", "drops the older", (
        ("adapter.py", "in sorted(items.items()):", "in list(items.items())[:1]:"),)),
    ("nonsense_answer", "takes anything", (("adapter.py", "answer = wire.parsed(self._send(\"POST\", \"/records\", timeout_s, body, request.request_id).body)",
                                            'self._send("POST", "/records", timeout_s, body, request.request_id)\n        answer = {"receipt": "r"}'),
                                           ("adapter.py", 'if answer.headers.get("content-type", "")', 'if False and answer.headers.get("content-type", "")'))),
    ("drill_is_visible", "hides it", (("wire.py", "    if request.drill:", '    record.pop("drill", 0), record.get("referral", {}).pop("drill", 0)\n    if False:'),)),
    ("many_at_once", "one key for all", (("adapter.py", KEY, '"Idempotency-Key": "same"}'),)),
    ("odd_text", "tries for ever", (before_sending("if '\\u202e' in body.decode():", '    raise PartnerUnavailable("later")'),)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("case", "flaw", "changes"),
    # Each takes seconds: a third of them in every run, all of them in a soak.
    [pytest.param(*each, marks=[pytest.mark.soak] if index % 3 else []) for index, each in enumerate(FLAWS)],
    ids=[f"{case}: {flaw}" for case, flaw, _ in FLAWS],
)
def test_it_sees(workshop: Any, monkeypatch: pytest.MonkeyPatch, case: str, flaw: str, changes: Any):
    monkeypatch.setattr(conduct, "_DEADLINE_S", 2.0)
    outcome = run_case(workshop.make("flawed", *changes), case)
    assert outcome.result == "failed", outcome
    assert outcome.text


def test_a_sealed_text_may_hold_the_letters_of_a_made_up_word(workshop: Any):
    sealed = (
        "wire.py",
        "    if request.drill:",
        '    shown["token"] = "eyJhbGciOiJkaXIi.QmNaNryVkrNone8n"\n    if request.drill:',
    )
    assert run_case(workshop.make("sealed", sealed), "withheld").result == "passed"


def test_it_sees_an_exchange_that_is_never_settled(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(HospitalAdapter, "exchange", lambda self, package, request_id, timeout_s: None)
    assert run_case(Subject("hospital"), "exchange_twice").result == "failed"


def test_every_case_has_a_flaw_that_only_it_is_there_for():
    assert {case for case, _, _ in FLAWS} | {"exchange_twice"} == set(rules().cases)


def test_every_rule_has_code_and_all_code_a_rule():
    assert registry.implemented() == set(rules().cases)


def test_every_contract_that_can_be_declared_has_a_sample():
    for contract in manifest.WRITTEN:
        made = samples.package() if contract == manifest.PACKAGE else samples.request(contract)
        assert made.ByteSize()


def test_a_sample_is_the_same_every_time_and_holds_every_class_it_can():
    assert samples.request("referral", 7) == samples.request("referral", 7)
    assert samples.request("referral", 7) != samples.request("referral", 8)
    assert len(samples.classes_in("referral")) >= 10


def test_nothing_of_a_class_is_left_in_a_released_sample():
    whole = samples.request("referral")
    for gone in samples.classes_in("referral"):
        released = samples.released(whole, samples.classes_in("referral") - {gone})
        if released is not None:
            assert not samples.telling(released.referral, {gone})


TWO = {"a": {"tier": "bronze"}, "b": {"tier": "silver"}, "c": {"tier": "platinum"}}


@pytest.mark.parametrize(
    ("results", "tier"),
    [
        (("failed", "passed", "passed"), "none"),
        (("passed", "failed", "passed"), "bronze"),
        (("passed", "not_shown", "passed"), "bronze"),
        (("passed", "passed", "not_shown"), "gold"),
        (("passed", "not_applicable", "passed"), "platinum"),
        (("passed", "passed", "not_declared"), "gold"),
        (("passed", "not_declared", "passed"), "gold"),
    ],
)
def test_a_tier_needs_all_its_cases_and_those_below(results: tuple[Any, ...], tier: str):
    words = {"zh": "x", "en": "x"}
    known = Rules.model_validate(
        {"suite": 1, "cases": {n: {**r, "title": words, "mend": words} for n, r in TWO.items()}}
    )
    outcomes = {name: Outcome(name, result) for name, result in zip(known.cases, results, strict=True)}
    assert tier_of(outcomes, known) == tier
    assert f"tier: {tier}\n" in Report("x", known, outcomes).quality_yaml()


@pytest.mark.parametrize(
    "folder", sorted((ROOT / "plugins").glob("*/pyproject.toml")), ids=lambda path: path.parent.name
)
def test_every_plugin_is_judged_by_the_suite_and_never_by_itself(folder: Path):
    project = folder.parent
    text = quality_file(project)
    assert text.startswith(f"# Computed by `xinqiao adapters conform {project.name} --write`")
    assert re.search(rf"^suite: {rules().suite}$", text, re.MULTILINE), "the suite grew: compute it anew"
    called = [
        ast.unparse(node)
        for path in (project / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "conformance"
    ]
    assert called == [f"conformance('{project.name}')"]


def test_an_adapter_that_ends_its_process_is_not_run_in_this_one(workshop: Any):
    outcome = run_case(workshop.make("flawed", before_sending('__import__("os")._exit(0)')), "no_store")
    assert outcome.result == "not_shown"
    outcome = run_case(
        workshop.make("fatal", ("adapter.py", SEND, SEND + "        raise SystemExit(3)\n")), "hands_over"
    )
    assert outcome.result == "failed"


def test_a_deadly_adapter_leaves_the_cases_that_would_run_it_here_unshown(
    workshop: Any, monkeypatch: pytest.MonkeyPatch
):
    ran: list[str] = []
    monkeypatch.setitem(registry._ON_RIG, "hands_over", lambda rig: ran.append("hands_over"))
    outcome = run_case(workshop.make("deadly", before_sending('__import__("os")._exit(0)')), "hands_over")
    assert (outcome.result, ran) == ("not_shown", [])


WAYS = """            simulator=FlawedSimulator,
            variants={"lost": Forgetful},
"""
FORGETFUL = """class Forgetful(FlawedSimulator):
    def effects(self):
        return []


@hookimpl
"""


def test_each_way_of_a_kind_is_judged_apart_and_the_tier_is_the_lowest(workshop: Any, monkeypatch: pytest.MonkeyPatch):
    subject = workshop.make(
        "flawed",
        ("__init__.py", "            simulator=FlawedSimulator,\n", WAYS),
        ("__init__.py", "@hookimpl\n", FORGETFUL),
    )
    few = {name: rules().cases[name] for name in ("names", "hands_over", "recall")}
    monkeypatch.setattr(report, "rules", lambda: rules().model_copy(update={"cases": few}))
    found = conform(subject)
    assert found.own_tier == "platinum" and found.variants["lost"].tier == found.tier == "none"
    assert [each.case for each in found.failed] == ["hands_over", "recall"]
    text = found.quality_yaml()
    assert "tier: none\nown_tier: platinum\n" in text and "variants:\n  lost:\n    tier: none\n    cases:\n" in text
    assert found.plain()["variants"]["lost"]["own_tier"] == "none"


def test_a_plugin_that_could_have_declared_a_recall_is_told_so(workshop: Any):
    subject = workshop.make("flawed", ("manifest.yaml", "    - contract: recall\n      classes: [CASE_REF]\n", ""))
    assert run_case(subject, "recall").result == "not_declared"
    assert run_case(Subject("school"), "recall").result == "not_applicable", "it is given nothing of a person"


def test_a_protocol_is_not_asked_for_what_it_cannot_say(tmp_path: Path):
    for variant, fault in (("hl7", "throttled"), ("", "")):
        with Rig(Subject("hospital", variant=variant), tmp_path / (variant or "fhir"), rules().unspoken) as rig:
            assert [each for each in FAULTS if not rig.can_say(each)] == (
                ["throttled", "unauthorized"] if fault else []
            )


def test_whatever_has_no_words_is_a_fault_that_there_is():
    assert {word for words in rules().unspoken.values() for word in words} <= FAULTS.keys()
