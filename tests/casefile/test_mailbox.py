"""The social worker's mailbox: nothing leads from a letter to its writer, until a red rule and two persons say so."""

from datetime import timedelta
from pathlib import Path

import pytest

from xinqiao.api.casefile.v1 import casefile_service_pb2 as case
from xinqiao.api.casefile.v1 import mailbox_pb2 as pb
from xinqiao.api.casefile.v1 import mailbox_service_pb2 as rpc
from xinqiao.api.referral.v1.referral_service_pb2 import ListHoldingsRequest
from xinqiao.api.screening.v1.screening_service_pb2 import ListSignalsRequest
from xinqiao.casefile.rules import load_casefile_rules
from xinqiao.config.problems import ConfigError
from xinqiao.store import tables
from xinqiao.store.errors import KeyGone

WORKER = "worker-lu"
FILE = Path(__file__).resolve().parents[2] / "config" / "policy" / "casefile.yaml"


def letters(care, who=WORKER, **words):
    return care.town.call(who, rpc.ListLettersRequest(page_size=1000, **words)).letters


def read(care, written):
    request = rpc.ReadMailboxRequest(mailbox=written.letter.mailbox, key=written.key)
    return care.town.call(care.town.SCHOOL, request).letters


def ask(care, written, who=WORKER, rule="stated-plan"):
    request = rpc.AskUnmaskRequest(mailbox=written.letter.mailbox, red_rule=rule, facts="说今晚有打算")
    return care.town.call(who, request).mailbox


def decide(written, approve=True):
    return rpc.DecideUnmaskRequest(mailbox=written.letter.mailbox, approve=approve, reason="TALKED_WITH_WORKER")


def test_a_letter_and_its_answer_go_both_ways_and_name_nobody(care):
    local = care.town.student(family_name="欧阳")
    written = care.letter(local)
    (letter,) = [each for each in letters(care) if each.name == written.letter.name]
    assert (letter.text, letter.from_student, letter.answered) == ("我最近总是睡不好", True, False)
    care.town.call(WORKER, rpc.AnswerLetterRequest(name=letter.name, text="睡前可以试试……周二我在"))
    more = rpc.WriteLetterRequest(mailbox=written.letter.mailbox, key=written.key, text="谢谢")
    care.town.call(care.town.SCHOOL, more)
    assert [each.text for each in read(care, written)] == ["谢谢", "睡前可以试试……周二我在", "我最近总是睡不好"]
    assert [each.text for each in letters(care, mailbox=written.letter.mailbox, open_only=True)] == ["谢谢"]
    everything = str(letters(care)) + str(read(care, written))
    student = care.town.inside_id(local)
    for telling in ("欧阳", local, student, care.name(local, "social-work"), care.name(local, care.town.SCHOOL)):
        assert telling not in everything


def test_no_row_but_one_ties_a_letter_to_its_writer_and_the_students_statement_has_none_of_it(care):
    local = care.town.student()
    written = care.letter(local)
    letters(care)
    read(care, written)
    student, mailbox = care.town.inside_id(local), written.letter.mailbox.removeprefix("mailboxes/")
    assert len(care.town.journal(student=mailbox)) >= 3
    for row in care.town.journal(student=student):
        assert mailbox not in str(dict(row))
    asked = case.ListDisclosuresRequest(student={"local_id": local})
    assert "etter" not in str(care.town.call(care.town.PSYCH, asked))
    for row in care.town.rows(tables.letters, student=mailbox):
        assert student not in str(dict(row))
    for row in care.town.rows(tables.requests):
        assert not (row["method"] == "WriteLetter" and row["student"] == student)


@pytest.mark.parametrize("who", ["kunshan-no1-middle", "other-school"])
@pytest.mark.parametrize("key", [bytes(32), None])
def test_a_mailbox_opens_to_its_key_alone(care, who, key):
    written = care.letter(care.town.student())
    if who == care.town.SCHOOL and key is None:
        key = b"\1" * 32
    request = rpc.ReadMailboxRequest(mailbox=written.letter.mailbox, key=key or written.key)
    absent = rpc.ReadMailboxRequest(mailbox="mailboxes/" + "0" * 32, key=written.key)
    assert care.town.refusal(who, request) == care.town.refusal(who, absent) == "NOT_FOUND/MAILBOX"
    more = rpc.WriteLetterRequest(mailbox=written.letter.mailbox, key=key or written.key, text="x")
    assert care.town.refusal(who, more) == "NOT_FOUND/MAILBOX"


def test_neither_the_school_nor_another_agency_reads_letters(care):
    care.letter(care.town.student())
    assert care.town.refusal(care.town.PSYCH, rpc.ListLettersRequest()) == "PERMISSION_DENIED/ROLE"
    assert care.town.refusal(care.town.SCHOOL, rpc.ListLettersRequest()) == "PERMISSION_DENIED/ROLE"


def test_a_letter_is_held_until_it_is_answered_and_then_by_nobody(fresh_care):
    town = fresh_care.town
    written = fresh_care.letter(town.student())
    (held,) = town.rows(tables.holdings, item=written.letter.name)
    assert (held["holder"], held["step"], held["tier"]) == ("social-work", "answer", 0)
    assert held["deadline_us"] == town.clock.now_us() + 2 * 86_400_000_000
    assert written.letter.name in [h.item for h in town.call(WORKER, ListHoldingsRequest()).holdings]
    town.clock.advance(timedelta(days=2, minutes=1))
    town.gate.gateway.ladder.climb()
    assert [r["holder"] for r in town.rows(tables.holdings, item=written.letter.name)] == [town.PSYCH]
    town.call(WORKER, rpc.AnswerLetterRequest(name=written.letter.name, text="a"))
    assert town.rows(tables.holdings, item=written.letter.name) == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("我真的不想活了", "wants-to-die"), ("不 想 活", "wants-to-die"), ("不.想-活", "wants-to-die"), ("昨晚又割腕了", "self-harm"),
        ("这是给你的最后一封信", "farewell"), ("爸爸喝酒就打我，又被打了", "harmed-by-others"), ("数学考砸了", ""),
    ],
)  # fmt: skip
def test_red_words_put_a_letter_on_the_red_clock_and_only_the_worker_is_told_why(care, text, rule):
    written = care.letter(care.town.student(), text)
    assert written.letter.red_rule == ""
    assert {each.red_rule for each in read(care, written)} == {""}
    (letter,) = [each for each in letters(care) if each.name == written.letter.name]
    assert letter.red_rule == rule
    (held,) = care.town.rows(tables.holdings, item=letter.name)
    assert (held["step"], held["tier"]) == (("answer_red", 4) if rule else ("answer", 0))
    assert bool(rule) == (held["deadline_us"] - held["opened_us"] == 30 * 60_000_000)


def test_two_persons_unmask_a_writer_and_a_red_signal_is_raised_for_the_student(fresh_care):
    care, town = fresh_care, fresh_care.town
    local = town.student(family_name="欧阳")
    written = care.letter(local, "今晚我就走了")
    box = ask(care, written)
    assert box.state == pb.MAILBOX_STATE_UNMASK_ASKED
    (held,) = town.rows(tables.holdings, item=box.name)
    assert (held["holder"], held["step"], held["tier"]) == (town.PSYCH, "decide_unmask", 4)
    (waiting,) = town.call(town.PSYCH, rpc.ListMailboxesRequest()).mailboxes
    assert (waiting.facts, waiting.red_rule, waiting.asked_by) == ("说今晚有打算", "stated-plan", WORKER)
    assert "今晚我就走了" not in str(waiting)
    decided = town.call(town.PSYCH, decide(written))
    assert (decided.student.family_name, decided.mailbox.state) == ("欧阳", pb.MAILBOX_STATE_UNMASKED)
    (signal,) = town.call(town.PSYCH, ListSignalsRequest()).signals
    assert (signal.name, signal.facts, signal.tier) == (decided.signal, "说今晚有打算", 4)
    assert town.rows(tables.holdings, item=signal.name)[0]["holder"] == town.PSYCH
    assert town.rows(tables.holdings, item=box.name) == []
    student, mailbox = town.inside_id(local), box.name.removeprefix("mailboxes/")
    (first,) = town.journal(kind="mailbox.unmask_asked", student=mailbox)
    (second,) = town.journal(kind="mailbox.unmask_decided", student=mailbox)
    (unmasked,) = town.journal(kind="mailbox.unmasked", student=student)
    assert (first["actor"], second["actor"], unmasked["actor"]) == (WORKER, town.PSYCH, town.PSYCH)
    assert unmasked["reason"] == f"stated-plan:{WORKER}"
    again = rpc.AskUnmaskRequest(mailbox=box.name, red_rule="stated-plan", facts="f")
    assert town.refusal(WORKER, again) == "FAILED_PRECONDITION/STATE"


def test_one_person_alone_unmasks_nobody(make_town):
    def both(settings):  # a psychologist who is a social worker too, and one of the worker's own agency
        settings["partners"]["psych-chen"]["roles"].append("SOCIAL_WORK")
        settings["partners"]["psych-chen"]["agency"] = "social-work"

    with make_town(listen=False, change=both) as town:
        from_care = rpc.WriteLetterRequest(student={"local_id": town.student()}, text="t")
        written = town.call(town.SCHOOL, from_care)
        for who in ("psych-chen", WORKER):
            asked = rpc.AskUnmaskRequest(mailbox=written.letter.mailbox, red_rule="stated-plan", facts="f")
            town.call(who, asked)
            assert town.refusal("psych-chen", decide(written)) == "FAILED_PRECONDITION/SECOND_PERSON"
            if who == "psych-chen":
                (row,) = town.rows(tables.mailboxes)
                town.gate.gateway.store.run(lambda tx, row=row: tx.update(tables.mailboxes, (row["id"],), state=1))
        assert town.rows(tables.signals) == []


def test_a_refusal_leaves_the_writer_unknown_and_can_be_asked_again(care):
    written = care.letter(care.town.student())
    ask(care, written)
    answer = care.town.call(care.town.PSYCH, decide(written, approve=False))
    assert (answer.student.ByteSize(), answer.signal, answer.mailbox.state) == (0, "", pb.MAILBOX_STATE_OPEN)
    assert care.town.rows(tables.holdings, item=written.letter.mailbox) == []
    assert care.town.refusal(care.town.PSYCH, decide(written)) == "FAILED_PRECONDITION/STATE"
    assert ask(care, written).state == pb.MAILBOX_STATE_UNMASK_ASKED


def test_without_a_red_rule_nobody_may_even_ask(care):
    written = care.letter(care.town.student())
    request = rpc.AskUnmaskRequest(mailbox=written.letter.mailbox, red_rule="curiosity", facts="f")
    assert care.town.refusal(WORKER, request) == "INVALID_ARGUMENT/RED_RULE"
    absent = rpc.AskUnmaskRequest(mailbox="mailboxes/" + "0" * 32, red_rule="stated-plan", facts="f")
    assert care.town.refusal(WORKER, absent) == "NOT_FOUND/MAILBOX"
    for who in ("psych-li",):
        assert care.town.refusal(who, decide(written)) == "NOT_FOUND/MAILBOX"


def test_a_school_without_a_social_worker_says_so(care):
    local = care.town.student(school="other-school", code="3205830002")
    request = rpc.WriteLetterRequest(student={"local_id": local}, text="t")
    assert care.town.refusal("other-school", request) == "NOT_FOUND/WORKER"
    request.worker = "social-work"
    assert care.town.call("other-school", request).letter.name


def test_letters_cannot_be_read_in_the_database(care):
    text = "QZXLETTER 谁也不知道"
    written = care.letter(care.town.student(), text)
    for row in care.town.rows(tables.letters, id=written.letter.name.removeprefix("letters/")):
        assert text.encode() not in bytes(row["sealed"])
    mailbox = written.letter.mailbox.removeprefix("mailboxes/")
    (row,) = care.town.rows(tables.mailboxes, id=mailbox)
    assert written.key not in bytes(row["key_hash"])
    care.town.gate.gateway.store.keys.shred(mailbox)
    assert {each.text for each in letters(care) if each.mailbox == written.letter.mailbox} == {""}


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("review: P30D", "review: soon", "review"),
        ("  RESCUER: {roles: [VOLUNTEER], classes: [CASE_REF, CARE_TASK]}\n", "", "RESCUER"),
        ("classes: [CASE_REF, CARE_TASK]}\n  RESCUER", "classes: [CARE_TASK]}\n  RESCUER", "VOLUNTEER"),
        ("[CASE_REF, IDENTITY, CARE_TASK]", "[CASE_REF, COUNSELLING_NOTE]", "YOUTH_LEAGUE"),
        ("[CASE_REF, IDENTITY, CARE_TASK]", "[CASE_REF, LETTER]", "YOUTH_LEAGUE"),
        ("kind: ABUSE", "kind: CONCERN", "harmed-by-others"), ("roles: [POLICE]", "roles: [POLIZEI]", "POLICE"),
    ],
)  # fmt: skip
def test_a_broken_file_of_rules_is_refused_with_its_key(tmp_path, old, new, what):
    text = FILE.read_text("utf-8")
    assert old in text
    path = tmp_path / "casefile.yaml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_casefile_rules(path)
    assert any(what in problem.key for problem in caught.value.problems)
    assert all(problem.line for problem in caught.value.problems)


def test_who_erases_the_writer_erases_the_letters(care):
    town = care.town
    local = town.student()
    written = care.letter(local)
    mailbox = written.letter.mailbox.removeprefix("mailboxes/")
    request = case.ShredStudentRequest(reason="GUARDIAN_ASKED:letter-118", confirm=local)
    request.student.local_id = local
    town.call(town.PSYCH, request)
    with pytest.raises(KeyGone):
        town.gate.gateway.door.keys.sealer(mailbox)
    assert [each.text for each in letters(care, mailbox=written.letter.mailbox)] in ([], [""])
